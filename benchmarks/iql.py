"""Updates per second of robopref's IQL beside a plain implementation of the same algorithm.

The plain one does what single-file implementations do: two critics called one after the other,
an optimizer per network, three backward passes, and the losses read as Python numbers at every
update. Both get the same batches, sampling included, on one thread.

    python benchmarks/iql.py [--quick] [--json results/iql.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

import copy
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from results import parse_arguments, write_results
from robopref.policies.iql import IQLConfig
from robopref.policies.registry import make_policy
from robopref.structures import TransitionBatch

OBSERVATION_DIM, ACTION_DIM, TRANSITIONS = 39, 4, 100_000


class PlainIQL:
    """IQL written straight from the paper, one step after the other."""

    def __init__(self, config: IQLConfig) -> None:
        def network(inputs: int, outputs: int) -> nn.Sequential:
            first, second = config.hidden
            return nn.Sequential(
                nn.Linear(inputs, first),
                nn.ReLU(),
                nn.Linear(first, second),
                nn.ReLU(),
                nn.Linear(second, outputs),
            )

        self.config = config
        self.value = network(OBSERVATION_DIM, 1)
        self.critics = nn.ModuleList(network(OBSERVATION_DIM + ACTION_DIM, 1) for _ in range(2))
        self.targets = copy.deepcopy(self.critics)
        self.actor = network(OBSERVATION_DIM, ACTION_DIM)
        self.log_std = nn.Parameter(torch.zeros(ACTION_DIM))
        adam = torch.optim.Adam
        self.value_optimizer = adam(self.value.parameters(), lr=config.learning_rate)
        self.critic_optimizer = adam(self.critics.parameters(), lr=config.learning_rate)
        self.actor_optimizer = adam(
            [*self.actor.parameters(), self.log_std], lr=config.learning_rate
        )

    def update(self, batch: TransitionBatch) -> dict[str, float]:
        """One update of value, critics, actor and target critics."""
        config = self.config
        pairs = torch.cat([batch.observations, batch.actions], -1)
        with torch.no_grad():
            target_q = torch.min(self.targets[0](pairs), self.targets[1](pairs)).squeeze(-1)
            next_v = self.value(batch.next_observations).squeeze(-1)
        advantage = target_q - self.value(batch.observations).squeeze(-1)
        weight = torch.abs(config.expectile - (advantage < 0).float())
        value_loss = (weight * advantage**2).mean()
        self._step(self.value_optimizer, value_loss)

        target = batch.rewards + config.discount * (1 - batch.terminated) * next_v
        errors = [functional.mse_loss(q(pairs).squeeze(-1), target) for q in self.critics]
        critic_loss = errors[0] + errors[1]
        self._step(self.critic_optimizer, critic_loss)

        mean = torch.tanh(self.actor(batch.observations))
        distribution = torch.distributions.Normal(mean, self.log_std.exp())
        log_prob = distribution.log_prob(batch.actions).sum(-1)
        weights = torch.exp(config.inverse_temperature * advantage.detach()).clamp(max=100.0)
        actor_loss = -(weights * log_prob).mean()
        self._step(self.actor_optimizer, actor_loss)

        rate = config.target_update_rate
        for target_parameter, parameter in zip(
            self.targets.parameters(), self.critics.parameters(), strict=True
        ):
            target_parameter.data.copy_((1 - rate) * target_parameter.data + rate * parameter.data)
        return {
            "value_loss": value_loss.item(),
            "critic_loss": critic_loss.item(),
            "actor_loss": actor_loss.item(),
        }

    @staticmethod
    def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def random_transitions(count: int) -> TransitionBatch:
    """Numbers of the right shapes; speed does not depend on their values."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return TransitionBatch(
        normal(count, OBSERVATION_DIM),
        normal(count, ACTION_DIM).tanh(),
        normal(count),
        normal(count, OBSERVATION_DIM),
        torch.zeros(count),
    )


def updates_per_second(
    update: Callable[[TransitionBatch], object], data: TransitionBatch, batch: int, seconds: float
) -> float:
    """Rate over at least `seconds`, sampling included."""
    generator = torch.Generator().manual_seed(0)
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        update(data[torch.randint(len(data), (batch,), generator=generator)])
        count += 1
    return count / elapsed


def main() -> None:
    """Measures and prints."""
    arguments = parse_arguments(__doc__.splitlines()[0], "iql")
    rounds, seconds = (3, 2.0) if arguments.quick else (5, 10.0)
    torch.set_num_threads(1)
    data = random_transitions(TRANSITIONS)
    table = []
    for batch, width in ((256, 256), (64, 64)):
        config = IQLConfig(hidden=[width, width])
        learners = {"robopref": make_policy(config, data, seed=0), "plain": PlainIQL(config)}
        rates = {name: 0.0 for name in learners}
        for _ in range(rounds):  # in turns, so that a busy machine slows both alike
            for name, learner in learners.items():
                rate = updates_per_second(learner.update, data, batch, seconds)
                rates[name] = max(rates[name], rate)
        for name, rate in rates.items():
            row = {"batch": batch, "hidden": f"2x{width}", "learner": name}
            table.append({**row, "updates_per_second": round(rate, 1)})
            print(f"batch {batch:4}  hidden 2x{width:<4} {name:9} {rate:8.1f} updates/s")
    headline = {
        "updates_per_second": table[0]["updates_per_second"],
        "times_plain": round(table[0]["updates_per_second"] / table[1]["updates_per_second"], 2),
    }
    print(f"at batch 256: {headline['times_plain']} times the plain implementation")
    write_results(arguments.json, headline, table, ["torch"])


if __name__ == "__main__":
    main()
