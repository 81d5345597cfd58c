"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905), with the options of its successors.

Twin critics or larger ensembles are one batched matrix product; the target is the smaller of a
random subset of them (REDQ: Chen, Wang, Zhou and Ross 2021, arXiv 2101.05982); hidden layers may be
normalised (RLPD: Ball et al. 2023, arXiv 2302.02948); the temperature follows a target entropy.

Critics, actor and temperature use the networks as they stood before the update, in one step of
one optimizer, where the paper takes them one after the other.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robopref.errors import InputError
from robopref.networks.actor_critic import SquashedGaussianActor
from robopref.networks.explicit import ExplicitMLP, Workspace, workspaces_in_turn
from robopref.networks.flat import FlatParameters, flat_adam
from robopref.networks.lanes import Lane
from robopref.networks.mlp import EnsembleMLP
from robopref.policies.base import Policy
from robopref.policies.gradients import (
    SquashedActions,
    cloning_gradient,
    critic_gradient,
    soft_actor_gradients,
    squashed_actions,
)
from robopref.policies.gripper import GripperConfig, GripperCritic, GripperLearner
from robopref.policies.losses import soft_actor_loss, soft_value, td_target
from robopref.structures import TransitionBatch


@dataclass
class SACConfig:
    """Defaults are the paper's, for two critics."""

    hidden: list[int] = field(default_factory=lambda: [256, 256])
    """Width of each hidden layer of actor and critics."""
    critics: int = 2
    target_critics: int = 2
    """How many of them, drawn anew for each update, the smaller target is taken of."""
    layer_norm: bool = False
    """Whether hidden layers of the critics are normalised."""
    discount: float = 0.99
    target_update_rate: float = 0.005
    """Share of the critics that enters the target critics per update."""
    learning_rate: float = 3e-4
    initial_temperature: float = 1.0
    entropy_per_action: float = -1.0
    """Target entropy in nats per dimension of the action."""
    backup_entropy: bool = True
    """Whether the entropy counts in the value of the next step."""
    actor_reads_mean: bool = False
    """Whether the actor climbs the mean of the critics instead of the smallest."""
    critic_steps: int = 1
    """Steps of the critics per update, each on its own part of the batch; the last one moves actor
    and temperature too."""
    cloning_weight: float = 0.0
    """Weight of the squared distance of the actor's mean from a demonstrated action, where the
    critics value that above the actor's own."""
    gripper: GripperConfig = field(default_factory=GripperConfig)
    """Commands of the gripper, if it has a critic of its own."""

    def __post_init__(self) -> None:
        if isinstance(self.gripper, dict):  # from a saved policy
            self.gripper = GripperConfig(**self.gripper)
        self.hidden = list(self.hidden)
        if not self.hidden or min(self.hidden) < 1:
            raise InputError(f"sac.hidden: needs positive widths, found {self.hidden}")
        if not 1 <= self.target_critics <= self.critics:
            raise InputError(
                f"sac.target_critics={self.target_critics}: must lie within 1 and "
                f"sac.critics={self.critics}"
            )
        for name in ("discount", "target_update_rate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"sac.{name}: must be within [0, 1], found {getattr(self, name)}")
        if self.cloning_weight < 0.0:
            raise InputError(
                f"sac.cloning_weight={self.cloning_weight}: at least 0, which clones nothing"
            )
        for name in ("learning_rate", "initial_temperature", "critic_steps"):
            if getattr(self, name) <= 0:
                raise InputError(f"sac.{name}: must be positive, found {getattr(self, name)}")


class SAC(Policy[TransitionBatch]):
    """The learner and its policy."""

    name = "sac"
    recordable = True
    config: SACConfig

    def __init__(self, config: SACConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim)
        self.gripper: GripperCritic | None = None
        self._moves = action_dim
        """Dimensions of the action that the actor chooses."""
        if config.gripper.commands:
            if action_dim < 2:
                raise InputError("gripper.commands: the action has no dimension beside the gripper")
            self.gripper = GripperCritic(
                config.gripper, observation_dim, config.hidden, config.layer_norm
            )
            self._moves -= 1
        self.actor = SquashedGaussianActor(observation_dim, config.hidden, self._moves, False)
        self.critic = EnsembleMLP(
            config.critics, observation_dim + self._moves, config.hidden, 1, config.layer_norm
        )
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.initial_temperature)))
        self._made: _Learner | None = None

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam over critics, actor, temperature, and the gripper's critic."""
        return self._learner.optimizer

    def mean_actions(self, observations: Tensor) -> Tensor:
        """(B, D) standardised observations to (B, A)."""
        return self._with_gripper(observations, self.actor(observations))

    def sample_actions(self, observations: Tensor, generator: torch.Generator | None) -> Tensor:
        """(B, D) standardised observations to (B, A) random actions."""
        return self._with_gripper(observations, self.actor.sample(observations, generator)[0])

    def _with_gripper(self, observations: Tensor, moves: Tensor) -> Tensor:
        # The command is the best one also where moves are drawn, as in HIL-SERL's code.
        return torch.cat([moves, self.gripper(observations)], -1) if self.gripper else moves

    @property
    def batches_per_update(self) -> int:
        """`critic_steps`."""
        return self.config.critic_steps

    @torch.no_grad()
    def update(
        self, batch: TransitionBatch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """`critic_steps` steps on as many parts of the batch; the last one is on all networks."""
        *_, last = parts = range(self.config.critic_steps)
        metrics: dict[str, Tensor] = {}
        to_observations = None
        if batch.observations.requires_grad:
            to_observations = batch.observations.grad = torch.empty_like(batch.observations)
        # Every n-th row: a batch starts with its demonstrations, and each part gets its share.
        for number in parts:
            rows = slice(number, None, last + 1)
            into = None if to_observations is None else to_observations[rows]
            metrics = self._step(batch[rows], generator, number == last, into)
        return metrics

    def _step(
        self,
        batch: TransitionBatch,
        generator: torch.Generator | None,
        with_actor: bool,
        to_observations: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """One step; writes the gradient of the critics' loss into `to_observations` (B, D)."""
        config, learner, size = self.config, self._learner, len(batch)
        states = self.standardizer(torch.cat([batch.observations, batch.next_observations]))
        now, following = states.split(size)
        gripper_loss = (
            learner.gripper.learn(states, batch, config.discount) if learner.gripper else None
        )
        moves = batch.actions[:, : self._moves]
        temperature = self.log_temperature.exp()
        drawn = self._draw(states if with_actor else following, generator)

        with learner.lane.beside():
            next_values = self._next_values(following, drawn, temperature, generator)
            targets = td_target(batch.rewards, config.discount, batch.terminated, next_values)
        # The data's actions and, where the actor learns too, its own go through the critics at
        # once; critics learn from the first alone.
        pairs = torch.cat([now, moves], dim=-1)
        if with_actor:
            pairs = torch.cat([pairs, torch.cat([now, drawn.actions[:size]], dim=-1)])
        values = learner.critic.forward(pairs).squeeze(-1)
        learner.lane.join()
        q_loss, gradients = critic_gradient(values[:, :size], targets)
        if with_actor:
            own = self._own_value_gradients(values[:, size:])
            gradients = torch.cat([gradients, own], dim=1)
        learner.critic.backward(gradients.unsqueeze(-1), learning=size)
        if to_observations is not None:
            observed = slice(size), slice(self.observation_dim)
            gradient = learner.critic.input_gradients(*observed)
            torch.mul(gradient, self.standardizer.scale, out=to_observations)
        metrics = {"critic_loss": q_loss, "value": values[:, :size].mean()}
        if gripper_loss is not None:
            metrics["gripper_loss"] = gripper_loss
        if with_actor:
            metrics |= self._actor_gradients(drawn, values, temperature, batch)
        learner.step(config, with_actor)
        return metrics

    def _draw(self, states: Tensor, generator: torch.Generator | None) -> SquashedActions:
        outputs = self._learner.actor.forward(states)[0]
        shape = (len(states), self._moves)
        return squashed_actions(
            outputs, torch.randn(shape, generator=generator, device=states.device)
        )

    def _next_values(
        self,
        following: Tensor,
        drawn: SquashedActions,
        temperature: Tensor,
        generator: torch.Generator | None,
    ) -> Tensor:
        config, size = self.config, len(following)
        members = None
        if config.target_critics < config.critics:
            order = torch.randperm(config.critics, generator=generator, device=following.device)
            members = order[: config.target_critics]
        pairs = torch.cat([following, drawn.actions[-size:]], dim=-1)
        values = self._learner.target_critic.forward(pairs, members).squeeze(-1)
        weight = temperature if config.backup_entropy else 0.0
        return soft_value(values, drawn.log_probs[-size:], weight)

    def _own_value_gradients(self, values: Tensor) -> Tensor:
        """(E, B): of `-mean Q`, where `Q` is the mean or the smallest of the critics."""
        critics, size = values.shape
        if self.config.actor_reads_mean:
            return torch.full_like(values, -1.0 / (critics * size))
        smallest = values.min(0, keepdim=True).indices  # ten times faster than argmin
        return torch.zeros_like(values).scatter_(0, smallest, -1.0 / size)

    def _actor_gradients(
        self, drawn: SquashedActions, values: Tensor, temperature: Tensor, batch: TransitionBatch
    ) -> dict[str, Tensor]:
        """Moves the actor; `values` (E, 2B) are those of the batch's actions and of its own."""
        config, learner, size = self.config, self._learner, len(batch)
        of_batch, values = values.split(size, dim=1)
        action_gradients = learner.critic.input_gradients(
            slice(size, None), slice(self.observation_dim, None)
        )
        own = SquashedActions(*(part[:size] for part in drawn))
        with learner.lane.beside():
            entropy = -own.log_probs.mean()
            # Of `temperature_loss`, which is linear in the log temperature.
            learner.log_temperature_gradient.copy_(
                entropy - config.entropy_per_action * self.action_dim
            )
            value = values.mean(0) if config.actor_reads_mean else values.amin(0)
            loss = soft_actor_loss(value, own.log_probs, temperature)
        gradients = soft_actor_gradients(own, action_gradients, temperature)
        metrics = {"actor_loss": loss, "entropy": entropy, "temperature": temperature}
        if config.cloning_weight and batch.demonstrated is not None:
            better = of_batch.mean(0) > values.mean(0)
            cloning_loss, gradient = cloning_gradient(
                own.mean, batch.actions[:, : self._moves], batch.demonstrated * better
            )
            gradients[:, : self._moves].add_(gradient, alpha=config.cloning_weight)
            metrics["cloning_loss"] = cloning_loss
        learner.actor.backward(gradients.unsqueeze(0))
        return metrics

    @property
    def _learner(self) -> _Learner:
        # Made at first use, when the policy is on its device, and again after a move or copy.
        if self._made is None or self._made.critics.moved:
            self._made = _Learner(self, self._made)
        return self._made


class _Learner:
    """Parameters laid out flat, their optimizer, and the passes of the networks."""

    def __init__(self, policy: SAC, former: _Learner | None) -> None:
        self.critics = FlatParameters(policy.critic.parameters())
        self._actor_side = FlatParameters([*policy.actor.parameters(), policy.log_temperature])
        self._target = FlatParameters(policy.target_critic.parameters(), learning=False)
        device = self.critics.values.device
        self.lane = Lane(device)
        self.gripper = GripperLearner(policy.gripper) if policy.gripper else None
        learned = [self.critics, self._actor_side, *([self.gripper.flat] if self.gripper else [])]
        self.optimizer: torch.optim.Optimizer = flat_adam(
            learned, policy.config.learning_rate, former.optimizer if former else None
        )
        # The targets are computed before the critics' passes.
        workspaces = workspaces_in_turn(2, device)
        self.target_critic = ExplicitMLP(policy.target_critic, workspaces[0])
        self.critic = ExplicitMLP(policy.critic, workspaces[1])
        self.actor = ExplicitMLP(policy.actor.trunk, Workspace())
        gradient = policy.log_temperature.grad
        assert gradient is not None  # `FlatParameters` made it
        self.log_temperature_gradient = gradient

    def step(self, config: SACConfig, with_actor: bool) -> None:
        """Moves the networks along their gradients, and the targets after the critics."""
        networks = [self.critic, self.actor, *([self.gripper.values] if self.gripper else [])]
        for lane in (self.lane, *(network.learning for network in networks)):
            lane.join()
        actor_side = self._actor_side
        # The optimizer leaves parameters without gradient as they are.
        actor_side.values.grad = actor_side.gradients if with_actor else None
        self.optimizer.step()
        self._target.move_towards(self.critics.values, config.target_update_rate)
        if self.gripper:
            self.gripper.follow(config.target_update_rate)
