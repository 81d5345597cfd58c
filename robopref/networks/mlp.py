"""Multilayer perceptrons: one network, and several of the same shape in one matrix product."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from robopref.networks.onednn import Linear, ensemble_linear, large


def mlp(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """ReLU layers and a linear output: (..., inputs) to (..., outputs)."""
    sizes = [inputs, *hidden]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, Linear(sizes[-1], outputs))


class EnsembleLinear(nn.Module):
    """`E` linear layers at once: (E, B, inputs) to (E, B, outputs)."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(inputs)  # as `nn.Linear` starts
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs).uniform_(-bound, bound))

    def forward(self, inputs: Tensor) -> Tensor:
        """Applies member `e` to `inputs[e]`."""
        if large(inputs[0], [self.weight]):
            return ensemble_linear(inputs, self.weight, self.bias)
        return torch.baddbmm(self.bias, inputs, self.weight)


class EnsembleMLP(nn.Module):
    """`E` ReLU networks of the same shape, each with its own weights.

    Faster than a loop over members, most of all where networks and batches are small.
    """

    def __init__(
        self,
        members: int,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        layer_norm: bool = False,
    ) -> None:
        """
        Args:
            members: `E`.
            inputs: input features.
            hidden: width of each hidden layer.
            outputs: output features.
            layer_norm: whether hidden layers are normalised before the ReLU.
        """
        super().__init__()
        self.members = members
        sizes = [inputs, *hidden, outputs]
        self.layers = nn.ModuleList(
            EnsembleLinear(members, before, after) for before, after in itertools.pairwise(sizes)
        )
        self.norms = nn.ModuleList(
            EnsembleLayerNorm(members, width) for width in (hidden if layer_norm else ())
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, inputs), shared by all members, or (E, B, inputs), to (E, B, outputs)."""
        x = inputs if inputs.ndim == 3 else inputs.expand(self.members, *inputs.shape)
        for number, layer in enumerate(self.layers[:-1]):
            x = layer(x)
            x = functional.relu(self.norms[number](x) if self.norms else x)
        last: Tensor = self.layers[-1](x)
        return last

    @property
    def linear_layers(self) -> list[EnsembleLinear]:
        """First to last."""
        return [layer for layer in self.layers if isinstance(layer, EnsembleLinear)]

    @property
    def norm_layers(self) -> list[EnsembleLayerNorm]:
        """After each hidden layer, or none."""
        return [norm for norm in self.norms if isinstance(norm, EnsembleLayerNorm)]


class EnsembleLayerNorm(nn.Module):
    """Layer normalisation (Ba, Kiros and Hinton 2016), each member with its own scale and shift."""

    def __init__(self, members: int, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(members, 1, width))
        self.shift = nn.Parameter(torch.zeros(members, 1, width))

    def forward(self, inputs: Tensor) -> Tensor:
        """(E, B, width) to the same."""
        normal = functional.layer_norm(inputs, inputs.shape[-1:])
        return torch.addcmul(self.shift, normal, self.scale)


@torch.no_grad()
def move_towards(follower: nn.Module, leader: nn.Module, rate: float) -> None:
    """Moves the weights of `follower` by `rate` of the way to those of `leader`."""
    torch._foreach_lerp_(tuple(follower.parameters()), tuple(leader.parameters()), rate)
