"""The parameters of several networks in one tensor, and their gradients in another.

Optimizers and moving averages then take one step over one tensor where they would take one for
every weight and bias, which costs more than the arithmetic where networks are small.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


class FlatParameters:
    """Parameters that stay where they are in their networks, as views of one tensor."""

    def __init__(self, parameters: Iterable[nn.Parameter], learning: bool = True) -> None:
        """
        Args:
            parameters: on one device, in the order in which they are laid out.
            learning: whether they get gradients, views of `values.grad`.
        """
        parts = list(parameters)
        with torch.no_grad():
            self.values = nn.Parameter(torch.cat([part.reshape(-1) for part in parts]), learning)
        if learning:
            self.values.grad = torch.zeros_like(self.values)
        self.gradients = self.values.grad
        """As laid out, also while `values.grad` is None so that an optimizer passes it over."""
        self._first = parts[0]
        start = 0
        for part in parts:
            end = start + part.numel()
            part.data = self.values.data[start:end].view(part.shape)
            if self.gradients is not None:
                part.grad = self.gradients[start:end].view(part.shape)
            start = end

    @property
    def moved(self) -> bool:
        """Whether the networks have tensors of their own now: they were moved or copied since."""
        return self._first.data_ptr() != self.values.data_ptr()

    def __len__(self) -> int:
        return self.values.numel()

    @torch.no_grad()
    def move_towards(self, leader: Tensor, rate: float) -> None:
        """Moves the values by `rate` of the way to those of `leader`, laid out alike."""
        self.values.lerp_(leader, rate)


def flat_adam(
    parts: Sequence[FlatParameters], learning_rate: float, former: torch.optim.Optimizer | None
) -> torch.optim.Optimizer:
    """Adam over flat parameters.

    Args:
        parts: on one device.
        learning_rate: of all of them.
        former: Adam over the same parts, whose state it takes over, from whatever device.
    """
    on_gpu = parts[0].values.is_cuda
    values = [part.values for part in parts]
    optimizer = torch.optim.Adam(values, lr=learning_rate, fused=True, capturable=on_gpu)
    if former:
        state = former.state_dict()
        for group in state["param_groups"]:
            group["capturable"] = on_gpu
        optimizer.load_state_dict(state)
    return optimizer
