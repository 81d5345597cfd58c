"""What a suite measures: three tables, and the cells that they fall into.

A cell is one training or one transfer, and its figure one number in [0, 1]. It depends on the suite
and the cell alone, so that cells can be made in any order, anywhere, and in any number of goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import permutations, product

from robopref.benchmark import policies, rewards, transfers
from robopref.benchmark.cell import Cell, DataConfig, short_name
from robopref.errors import InputError


@dataclass
class PolicyTable:
    """Success of policies on data of which about a fifth of the episodes succeed."""

    tasks: list[str] = field(default_factory=list)
    """Gymnasium ids."""
    methods: list[str] = field(default_factory=lambda: [*policies.WAYS])
    """Ways from labels to a policy."""
    labels: list[int] = field(default_factory=lambda: [200])
    """Pairs of episodes that are labelled."""
    sources: dict[str, str] = field(default_factory=dict)
    """Task (name without its package) to the Gymnasium id of the task that transferred labels come
    from; tasks that have none are passed over by methods that need one."""
    seeds: int = 3
    """Of labels and training."""
    updates: int = 3_000
    """Of each policy."""
    episodes: int = 50
    """Played by each policy in the end."""


@dataclass
class RewardTable:
    """Right answers of learned rewards on pairs of held-out episodes."""

    tasks: list[str] = field(default_factory=list)
    """Gymnasium ids."""
    methods: list[str] = field(default_factory=lambda: [*rewards.METHODS])
    """Models and losses."""
    labels: list[int] = field(default_factory=lambda: [50, 200])
    """Pairs of pieces of episodes that are labelled."""
    teachers: list[str] = field(default_factory=lambda: [*rewards.TEACHERS])
    """Who answers: clean, flipped, myopic."""
    seeds: int = 3
    """Of labels and training."""


@dataclass
class TransferTable:
    """Right labels among those that are carried over, for every ordered pair of tasks."""

    tasks: list[str] = field(default_factory=list)
    """Gymnasium ids."""
    methods: list[str] = field(default_factory=lambda: [*transfers.METHODS])
    """Presets of `robopref transfer`, and a control without transport."""
    labels: list[int] = field(default_factory=lambda: [1_000])
    """Pairs of episodes that are labelled on the source."""


@dataclass
class SuiteConfig:
    """A suite."""

    name: str = ""
    """Its name."""
    data: DataConfig = field(default_factory=DataConfig)
    policies: PolicyTable = field(default_factory=PolicyTable)
    rewards: RewardTable = field(default_factory=RewardTable)
    transfers: TransferTable = field(default_factory=TransferTable)

    def __post_init__(self) -> None:
        checks = (
            ("policies.methods", self.policies.methods, policies.METHODS),
            ("rewards.methods", self.rewards.methods, rewards.METHODS),
            ("rewards.teachers", self.rewards.teachers, rewards.TEACHERS),
            ("transfers.methods", self.transfers.methods, transfers.METHODS),
        )
        for name, chosen, known in checks:
            unknown = [one for one in chosen if one not in known]
            if unknown:
                raise InputError(f"suite.{name}: no {unknown[0]}; choose from {', '.join(known)}")


def cells(suite: SuiteConfig) -> list[Cell]:
    """All cells of a suite, seed by seed, so that tables broken off are whole for some seeds."""
    seeds = max(suite.policies.seeds, suite.rewards.seeds, 1)
    return [cell for seed in range(seeds) for cell in _cells_of_seed(suite, seed)]


def _cells_of_seed(suite: SuiteConfig, seed: int) -> Iterator[Cell]:
    if not seed:
        carried = suite.transfers
        for (source, task), method, labels in product(
            permutations(carried.tasks, 2), carried.methods, carried.labels
        ):
            yield Cell(transfers.TABLE, task, method, labels, source=source)
    learned = suite.rewards
    if seed < learned.seeds:
        for method, task, teacher, labels in product(
            learned.methods, learned.tasks, learned.teachers, learned.labels
        ):
            yield Cell(rewards.TABLE, task, method, labels, seed, teacher)
    played = suite.policies
    if seed < played.seeds:
        for task, name in product(played.tasks, played.methods):
            way, source = policies.METHODS[name], played.sources.get(short_name(task), "")
            if not way.transfer:
                source = ""
            elif not source:
                continue
            for labels in played.labels if way.labels else [0]:
                yield Cell(policies.TABLE, task, name, labels, seed, source=source)
