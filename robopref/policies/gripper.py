"""A critic of its own for the gripper, which opens or closes rather than moving by so much.

HIL-SERL (Luo, Xu, Wu and Levine 2024, arXiv 2410.21845): the hand's motion stays SAC's, and the
last dimension of the action is chosen among a few commands by a network that values each of them,
trained by double Q-learning (van Hasselt, Guez and Silver 2016, arXiv 1509.06461). A command that
turns the gripper round costs a little, in this critic's reward alone, so that it does not chatter.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robopref.errors import InputError
from robopref.networks.explicit import ExplicitMLP, Workspace
from robopref.networks.flat import FlatParameters
from robopref.networks.mlp import EnsembleMLP
from robopref.policies.gradients import critic_gradient
from robopref.policies.losses import td_target
from robopref.structures import TransitionBatch


@dataclass
class GripperConfig:
    """What the gripper, the last dimension of the action, can be told. It closes above 0."""

    commands: list[float] = field(default_factory=list)
    """Values of the action, such as [-1, 0, 1]; none moves the gripper as it does the hand."""
    penalty: float = 0.0
    """Added to the gripper's reward when a command turns it round; HIL-SERL has -0.02."""
    observation: int = -1
    """Which entry of the flat observation says how far the gripper is open."""
    open_from: float = 0.5
    """From this value of it on it is open."""

    def __post_init__(self) -> None:
        self.commands = [float(command) for command in self.commands]
        if self.commands and (
            len(set(self.commands)) < 2 or max(abs(command) for command in self.commands) > 1.0
        ):
            raise InputError(
                f"gripper.commands={self.commands}: give two or more values within [-1, 1]"
            )
        if self.penalty > 0.0:
            raise InputError(
                f"gripper.penalty={self.penalty}: is added to the reward, so it must not be above 0"
            )
        if self.penalty and self.observation < 0:
            raise InputError(
                "gripper.penalty: needs gripper.observation, the entry of the observation that "
                "says how far the gripper is open"
            )


class GripperCritic(nn.Module):
    """The value of each command in each state."""

    commands: Tensor

    def __init__(
        self, config: GripperConfig, observation_dim: int, hidden: Sequence[int], layer_norm: bool
    ) -> None:
        """
        Args:
            config: commands and penalty.
            observation_dim: size of a flat observation.
            hidden: width of each hidden layer.
            layer_norm: whether hidden layers are normalised.

        Raises:
            InputError: if the observation has no such entry.
        """
        super().__init__()
        if config.observation >= observation_dim:
            raise InputError(
                f"gripper.observation={config.observation}: the observation has "
                f"{observation_dim} entries"
            )
        self.config = config
        self.register_buffer("commands", torch.tensor(config.commands))
        self.values = EnsembleMLP(1, observation_dim, hidden, len(config.commands), layer_norm)
        self.target_values = copy.deepcopy(self.values).requires_grad_(False)

    def forward(self, observations: Tensor) -> Tensor:
        """(B, D) standardised observations to (B, 1): the best command."""
        return self.commands[self.values(observations)[0].argmax(-1, keepdim=True)]

    def given(self, actions: Tensor) -> Tensor:
        """(B,) int64: which command the gripper's actions (B,) come nearest to."""
        return (actions.unsqueeze(-1) - self.commands).abs().argmin(-1)

    def penalties(self, observations: Tensor, given: Tensor) -> Tensor:
        """(B,): what turning the gripper round costs, from raw observations (B, D)."""
        command = self.commands[given]
        is_open = observations[:, self.config.observation] >= self.config.open_from
        turns = torch.where(is_open, command > 0, command < 0)
        return self.config.penalty * turns


class GripperLearner:
    """Gradients of a `GripperCritic`, whose parameters are laid out flat for an optimizer."""

    def __init__(self, critic: GripperCritic) -> None:
        self._critic = critic
        self.flat = FlatParameters(critic.values.parameters())
        self._target = FlatParameters(critic.target_values.parameters(), learning=False)
        self.values = ExplicitMLP(critic.values, Workspace())
        self._target_values = ExplicitMLP(critic.target_values, Workspace())

    def learn(self, states: Tensor, batch: TransitionBatch, discount: float) -> Tensor:
        """Sets the gradients of `[r + penalty + discount Q'(s', argmax Q(s', .)) - Q(s, a)]^2`.

        Args:
            states: (2B, D) standardised observations, then the next ones.
            batch: `B` transitions with whole actions.
            discount: of values.

        Returns:
            () mean of it.
        """
        critic, size = self._critic, len(batch)
        now, following = self.values.forward(states)[0].split(size)
        best = following.argmax(-1, keepdim=True)
        next_values = self._target_values.forward(states[size:])[0].gather(1, best).squeeze(-1)
        given = critic.given(batch.actions[:, -1])
        rewards = batch.rewards + critic.penalties(batch.observations, given)
        targets = td_target(rewards, discount, batch.terminated, next_values)
        chosen = given.unsqueeze(-1)
        loss, gradient = critic_gradient(now.gather(1, chosen).T, targets)
        self.values.backward(torch.zeros_like(now).scatter_(1, chosen, gradient.T).unsqueeze(0))
        return loss

    def follow(self, rate: float) -> None:
        """Moves the target towards the values."""
        self._target.move_towards(self.flat.values, rate)
