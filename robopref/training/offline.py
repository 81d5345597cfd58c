"""Learning a policy from a fixed set of data."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robopref.errors import InputError
from robopref.policies.base import BatchSource, Policy
from robopref.policies.recorded import RecordedUpdates
from robopref.seeding import torch_generator
from robopref.structures import TransitionBatch
from robopref.training.checkpoint import restore_checkpoint, save_checkpoint
from robopref.training.logger import MetricsLogger


@dataclass
class OfflineTrainingConfig:
    """How long to train and how often to look."""

    updates: int = 10_000
    batch_size: int = 256
    seed: int = 0
    """Seed of the batches."""
    log_every: int = 500
    """Updates between two lines of metrics, each the mean since the line before."""
    checkpoint_every: int = 2_000
    """Updates between two checkpoints; a multiple of `log_every`, so that none cuts a line."""

    def __post_init__(self) -> None:
        for name in ("updates", "batch_size", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise InputError(f"training.{name}: must be at least 1, is {getattr(self, name)}")
        if self.checkpoint_every % self.log_every:
            raise InputError(
                f"training.checkpoint_every={self.checkpoint_every}: must be a multiple of "
                f"log_every={self.log_every}"
            )


def train_offline(
    policy: Policy,
    batches: BatchSource,
    config: OfflineTrainingConfig,
    run_dir: Path,
    on_metrics: Callable[[int, Mapping[str, float]], None] = lambda step, metrics: None,
) -> dict[str, float]:
    """Trains `policy` in place; goes on from the newest checkpoint in `run_dir`.

    A resumed run equals an uninterrupted one bit for bit on the CPU.

    Args:
        policy: as made; its weights are replaced when the run is resumed.
        batches: the data, on the policy's device.
        config: length and seed.
        run_dir: gets `metrics.jsonl`, TensorBoard events and `checkpoints/`.
        on_metrics: told updates done and metrics at every line.

    Returns:
        The last metrics.

    Raises:
        InputError: if the data are not finite, the training diverges, or the checkpoint belongs
            to a run with other settings.
    """
    if isinstance(batches, TransitionBatch):
        _check_finite(batches)
    generator = torch_generator(config.seed, "batches", policy.device)
    settings = {
        "batch_size": config.batch_size,
        "seed": config.seed,
        "log_every": config.log_every,
        "transitions": len(batches),
        "policy": dataclasses.asdict(policy.config),
    }
    folder = run_dir / "checkpoints"
    step = restore_checkpoint(folder, policy, generator, settings)
    updates = RecordedUpdates(policy, generator)
    size = config.batch_size * policy.batches_per_update
    with MetricsLogger(run_dir, step) as logger:
        metrics = logger.last
        while step < config.updates:
            count = min(config.log_every, config.updates - step)
            start = time.monotonic()
            metrics = _train(updates, batches, size, count)
            step += count
            check_metrics(metrics, step, count)
            metrics["updates_per_second"] = count / (time.monotonic() - start)
            logger.log(step, metrics)
            if step % config.checkpoint_every == 0 or step == config.updates:
                save_checkpoint(folder, policy, generator, step, settings)
            on_metrics(step, metrics)
    return metrics


def _train(
    updates: RecordedUpdates, batches: BatchSource, size: int, count: int
) -> dict[str, float]:
    """Makes `count` updates and returns the mean of their metrics."""
    history: list[Tensor] = []
    names: list[str] = []
    for _ in range(count):
        update = updates.from_source(batches, size)
        names = list(update)
        history.append(torch.stack(list(update.values())))
    means = torch.stack(history).double().mean(0).tolist()
    return dict(zip(names, means, strict=True))


def _check_finite(transitions: TransitionBatch) -> None:
    for name, values in vars(transitions).items():
        if values is not None and not torch.isfinite(values).all():
            row = int((~torch.isfinite(values)).nonzero()[0, 0])
            raise InputError(
                f"transitions.{name}: NaN or infinity, first at row {row}; "
                "validate the dataset or train the reward model again"
            )


def check_metrics(metrics: Mapping[str, Any], step: int, count: int) -> None:
    """Raises `InputError` if a mean over the last `count` updates is not finite."""
    for name, value in metrics.items():
        if not torch.isfinite(torch.tensor(value)):
            raise InputError(
                f"training diverged: {name} is {value} between updates {step - count} and {step}; "
                "lower the policy's learning_rate or the scale of the rewards"
            )
