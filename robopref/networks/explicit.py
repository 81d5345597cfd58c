"""Forward and backward passes of an `EnsembleMLP`, written out.

A learner that updates small networks hundreds of times a second spends much of its time on
autograd's records and on fresh memory for every result. These passes compute the same numbers in
buffers that are made once, and write gradients where the optimizer reads them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from robopref.networks.lanes import Lane
from robopref.networks.mlp import EnsembleMLP
from robopref.networks.onednn import MemberPasses, large, relu_backward

# The form that writes into given tensors has no public name.
_layer_norm: Any = torch.ops.aten.native_layer_norm.out


class ExplicitMLP:
    """Passes of one network, whose parameters have gradients already (see `FlatParameters`)."""

    def __init__(self, network: EnsembleMLP, workspace: Workspace) -> None:
        """
        Args:
            network: its parameters are read at every pass.
            workspace: for the hidden layers. Networks that share one take turns: a forward pass
                ends what `backward` can do for any other of them.
        """
        self._workspace = workspace
        self._layers: list[tuple[Tensor, Tensor]] = [
            (layer.weight, layer.bias) for layer in network.linear_layers
        ]
        self._norms: list[tuple[Tensor, Tensor]] = [
            (norm.scale, norm.shift) for norm in network.norm_layers
        ]
        self._buffers: dict[tuple[int, int], _Buffers] = {}
        self.learning = Lane(self._layers[0][0].device)
        """Where the parameters' gradients are computed; join it before they are read."""

    @torch.no_grad()
    def forward(self, inputs: Tensor, members: Tensor | None = None) -> Tensor:
        """Applies the network and remembers what `backward` needs.

        Args:
            inputs: (B, inputs), the same for every member.
            members: (M,) members to apply; all when None.

        Returns:
            (E, B, outputs), or (M, B, outputs); this network's next pass over as many rows
            overwrites it.
        """
        self._members = None
        if large(inputs, [weight for weight, _ in self._layers]):
            chosen = range(len(self._layers[0][0])) if members is None else members.tolist()
            self._members = [MemberPasses(self._layers, self._norms, one) for one in chosen]
            return torch.stack([member.forward(inputs) for member in self._members])
        layers, norms = self._layers, self._norms
        if members is not None:
            layers = [(weight[members], bias[members]) for weight, bias in layers]
            norms = [(scale[members], shift[members]) for scale, shift in norms]
        shape = (len(layers[0][0]), len(inputs))
        if shape not in self._buffers:
            self._buffers[shape] = _Buffers(self._workspace, layers, inputs, bool(norms))
        buffers = self._last = self._buffers[shape]
        x = buffers.inputs = inputs.expand(shape[0], *inputs.shape)
        for number, (weight, bias) in enumerate(layers[:-1]):
            x = torch.baddbmm(bias, x, weight, out=buffers.outputs[number])
            if norms:
                scale, shift = norms[number]
                normal, mean, rstd = buffers.norms[number]
                _layer_norm(x, x.shape[-1:], None, None, 1e-5, out0=normal, out1=mean, out2=rstd)
                x = torch.addcmul(shift, normal, scale, out=buffers.activations[number])
            x = x.relu_()
        # Few outputs: matrix libraries are several times faster at the transposed product.
        weight, bias = (part.transpose(1, 2) for part in layers[-1])
        return torch.baddbmm(bias, weight, x.transpose(1, 2), out=buffers.last).transpose(1, 2)

    @torch.no_grad()
    def backward(self, gradients: Tensor, learning: int | None = None) -> None:
        """Sets the gradients of all parameters, after a forward pass of all members.

        Args:
            gradients: (E, R, outputs) of the loss, for the first `R` rows of the forward pass.
            learning: parameters learn from so many of the first rows; from all `R` when None.
        """
        rows = gradients.shape[1]
        learn = slice(rows if learning is None else learning)
        if self._members is not None:
            for member, gradient in zip(self._members, gradients, strict=True):
                member.backward(gradient, learn)
            return
        buffers, g = self._last, gradients
        for number in reversed(range(len(self._layers))):
            weight, bias = self._layers[number]
            below = buffers.activations[number - 1] if number else buffers.inputs
            with self.learning.beside():
                if number == len(self._layers) - 1:
                    product = torch.bmm(g[:, learn].transpose(1, 2), below[:, learn])
                    assert weight.grad is not None
                    weight.grad.copy_(product.transpose(1, 2))
                else:
                    torch.bmm(below[:, learn].transpose(1, 2), g[:, learn], out=weight.grad)
                torch.sum(g[:, learn], 1, keepdim=True, out=bias.grad)
            if not number:
                break
            into = buffers.gradients[number - 1][:, :rows]
            back = weight.transpose(1, 2)
            multiply = torch.mul if g.shape[2] == 1 else torch.bmm  # the same, and faster
            g = multiply(g, back, out=into)
            relu_backward(g, below[:, :rows], 0, grad_input=g)
            if self._norms:
                g = self._through_norm(number - 1, g, learn)
        self._first = g

    @torch.no_grad()
    def input_gradients(self, rows: slice, columns: slice) -> Tensor:
        """(rows, columns) of the gradient with respect to the inputs, after `backward`."""
        if self._members is not None:
            parts = [member.input_gradients(rows, columns) for member in self._members]
            return torch.stack(parts).sum(0)
        weight, _ = self._layers[0]
        return torch.bmm(self._first[:, rows], weight[:, columns].transpose(1, 2)).sum(0)

    def _through_norm(self, number: int, g: Tensor, learn: slice) -> Tensor:
        buffers, rows = self._last, g.shape[1]
        scale, shift = self._norms[number]
        normal, mean, rstd = (values[:, :rows] for values in buffers.norms[number])
        # Done before `g` changes.
        torch.sum(g[:, learn], 1, keepdim=True, out=shift.grad)
        torch.sum(g[:, learn] * normal[:, learn], 1, keepdim=True, out=scale.grad)
        before = buffers.outputs[number][:, :rows]
        through: Tensor = torch.ops.aten.native_layer_norm_backward(
            g.mul_(scale), before, g.shape[-1:], mean, rstd, None, None, [True, False, False]
        )[0]
        return through


class Workspace:
    """Memory for hidden layers, used again and again so that it stays in the processor's cache."""

    def __init__(self) -> None:
        self._flat: dict[str, Tensor] = {}

    def take(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """A tensor of this shape, whose memory every tensor of the same name has in common."""
        size = math.prod(shape)
        if name not in self._flat or len(self._flat[name]) < size:
            self._flat[name] = like.new_empty(size)
        return self._flat[name][:size].view(shape)


def workspaces_in_turn(count: int, device: torch.device) -> list[Workspace]:
    """A workspace for each of `count` networks that take turns: one for all, but for a GPU, where
    they may run side by side.
    """
    if device.type == "cpu":
        return [Workspace()] * count
    return [Workspace() for _ in range(count)]


class _Buffers:
    """What the passes over one number of members and rows write into."""

    def __init__(
        self, workspace: Workspace, layers: list[tuple[Tensor, Tensor]], inputs: Tensor, norms: bool
    ) -> None:
        members, rows = len(layers[0][0]), len(inputs)
        *hidden, outputs = [weight.shape[2] for weight, _ in layers]

        def take(name: str, number: int, width: int) -> Tensor:
            return workspace.take(f"{name} {number}", inputs, members, rows, width)

        def take_all(name: str) -> list[Tensor]:
            return [take(name, number, width) for number, width in enumerate(hidden)]

        self.inputs = inputs
        self.outputs = take_all("output")
        """Of the hidden linear layers; without normalisation also the activations, in place."""
        self.last = inputs.new_empty(members, outputs, rows)
        self.gradients = take_all("gradient")
        self.activations = take_all("activation") if norms else self.outputs
        self.norms = [
            (normal, take("mean", number, 1), take("rstd", number, 1))
            for number, normal in enumerate(take_all("normal") if norms else [])
        ]
