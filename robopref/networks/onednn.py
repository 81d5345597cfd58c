"""Passes through linear layers and members of ensembles by oneDNN, where large for a CPU.

PyTorch multiplies float32 matrices with MKL, which runs AMD's processors at half their rate;
oneDNN, which is in PyTorch too, does not, and adds the bias and applies the ReLU while it is at it.
A call costs more, and has no form for several members at once: small layers stay in
`networks.explicit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LARGE = 2**21
"""Multiplications of a layer from which this is faster (measured: a quarter of it is equal)."""
NARROW = 16
"""Outputs up to which the transposed product of a gradient is faster by MKL."""

relu_backward: Any = torch.ops.aten.threshold_backward.grad_input
"""Writes into a given tensor; has no public name."""
Parts = Sequence[tuple[Tensor, Tensor]]


def _available() -> bool:
    operators = torch._C._dispatch_get_all_op_names()
    return torch.backends.mkldnn.is_available() and "mkldnn::_linear_pointwise" in operators


AVAILABLE = _available()


def large(inputs: Tensor, weights: Sequence[Tensor]) -> bool:
    """Whether a pass of (B, D) inputs through these weights (E, in, out) is for this file."""
    here = AVAILABLE and inputs.device.type == "cpu" and inputs.dtype == torch.float32
    return here and len(inputs) * max(weight[0].numel() for weight in weights) >= LARGE


def _product(left: Tensor, right: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """(B, K) times the transpose of (N, K), plus (N,)."""
    found: Tensor = torch.ops.mkldnn._linear_pointwise(
        left, right, bias, "relu" if relu else "none", [], ""
    )
    return found


def ensemble_linear(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(E, B, in) times (E, in, out) plus (E, 1, out), with gradients; for `large` layers."""
    found: Tensor = _EnsembleLinear.apply(inputs, weight, bias)
    return found


class _EnsembleLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        parts = zip(inputs, weight, bias, strict=True)
        return torch.stack([_product(x, w.T, b[0]) for x, w, b in parts])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        inputs, weight = ctx.saved_tensors
        to_inputs = None
        if ctx.needs_input_grad[0]:
            to_inputs = torch.stack([_product(g, w) for g, w in zip(gradient, weight, strict=True)])
        to_weight = torch.stack([
            _product(x.T, g.T) for x, g in zip(inputs, gradient, strict=True)
        ])  # fmt: skip
        return to_inputs, to_weight, gradient.sum(1, keepdim=True)


class Linear(nn.Linear):
    """`torch.nn.Linear`, large passes by oneDNN."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        rows = inputs.flatten(0, -2)
        if not large(rows, [self.weight[None]]):
            return super().forward(inputs)
        found: Tensor = _Linear.apply(rows, self.weight, self.bias)
        return found.view(*inputs.shape[:-1], -1)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        return _product(inputs, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        inputs, weight = ctx.saved_tensors
        to_inputs = _product(gradient, weight.T) if ctx.needs_input_grad[0] else None
        to_bias = gradient.sum(0) if ctx.needs_input_grad[2] else None
        return to_inputs, _product(gradient.T, inputs.T), to_bias


class MemberPasses:
    """A forward pass of one member, and the backward pass that follows it."""

    def __init__(self, layers: Parts, norms: Parts, member: int) -> None:
        """
        Args:
            layers: weights (E, in, out) and biases (E, 1, out), with gradients if they learn.
            norms: scales and shifts (E, 1, width) after each hidden layer, or none.
            member: which one of `E`.
        """
        self._layers, self._norms, self._member = layers, norms, member
        self._below: list[Tensor] = []
        """Inputs of each layer."""
        self._normal: list[tuple[Tensor, ...]] = []
        """Of each normalised layer: before, after, mean and 1 / standard deviation."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs)."""
        x, one = inputs, self._member
        for number, (weight, bias) in enumerate(self._layers):
            self._below.append(x)
            last = number == len(self._layers) - 1
            relu = not last and not self._norms
            x = _product(x, weight[one].T, bias[one, 0], relu)
            if self._norms and not last:
                scale, shift = (part[one] for part in self._norms[number])
                normal, mean, rstd = torch.native_layer_norm(x, x.shape[-1:], None, None, 1e-5)
                self._normal.append((x, normal, mean, rstd))
                x = torch.addcmul(shift, normal, scale).relu_()
        return x

    def backward(self, gradients: Tensor, learn: slice) -> None:
        """Sets the member's gradients.

        Args:
            gradients: (R, outputs) for the first `R` rows of the forward pass.
            learn: the rows that the parameters learn from.
        """
        g, rows, one = gradients, len(gradients), self._member
        for number in reversed(range(len(self._layers))):
            weight, bias = self._layers[number]
            below = self._below[number]
            assert weight.grad is not None
            assert bias.grad is not None
            if g.shape[1] <= NARROW:
                product = torch.mm(g[learn].T, below[learn]).T
            else:
                product = _product(below[learn].T, g[learn].T)
            weight.grad[one].copy_(product)
            torch.sum(g[learn], 0, out=bias.grad[one, 0])
            if not number:
                break
            g = g * weight[one].T if g.shape[1] == 1 else _product(g, weight[one])
            relu_backward(g, below[:rows], 0, grad_input=g)
            if self._norms:
                g = self._through_norm(number - 1, g, learn)
        self._first = g

    def input_gradients(self, rows: slice, columns: slice) -> Tensor:
        """(rows, columns) of the gradient with respect to the inputs."""
        weight, _ = self._layers[0]
        return self._first[rows] @ weight[self._member, columns].T

    def _through_norm(self, number: int, g: Tensor, learn: slice) -> Tensor:
        scale, shift = self._norms[number]
        before, normal, mean, rstd = (values[: len(g)] for values in self._normal[number])
        assert scale.grad is not None
        assert shift.grad is not None
        torch.sum(g[learn], 0, out=shift.grad[self._member, 0])
        torch.sum(g[learn] * normal[learn], 0, out=scale.grad[self._member, 0])
        through: Tensor = torch.ops.aten.native_layer_norm_backward(
            g.mul_(scale[self._member]), before, g.shape[-1:], mean, rstd, None, None,
            [True, False, False],
        )[0]  # fmt: skip
        return through
