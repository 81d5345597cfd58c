"""Training one reward model in several processes, as `torchrun` starts them.

Every process takes its share of each batch, and all take the same step along the mean gradient: the
result is that of one process with the same batches, but for the order of sums. A model that draws
something at random in its loss (steps of a segment, noise) draws it in each process for itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn

Lesson = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Rows of a batch to their mean loss, and to how many come out right."""


@contextmanager
def processes_of_torchrun(device: torch.device) -> Iterator[int]:
    """Joins the other processes that `torchrun` started; yields this one's rank, 0 when alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield 0
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield distributed.get_rank()
    finally:
        distributed.destroy_process_group()


def gradient_step(
    lesson: Lesson,
    rows: Tensor,
    optimizer: torch.optim.Optimizer,
    parameters: Iterable[nn.Parameter],
) -> tuple[Tensor, Tensor]:
    """One step of the optimizer along the gradient of the mean loss of a batch.

    Args:
        lesson: what to learn.
        rows: (B,) of the whole batch, the same in all processes.
        optimizer: of the parameters.
        parameters: the same in all processes.

    Returns:
        Mean loss () of the whole batch, and how many of its rows came out right.
    """
    optimizer.zero_grad(set_to_none=True)
    if not distributed.is_initialized():
        loss, right = lesson(rows)
        loss.backward()
        optimizer.step()
        return loss.detach(), right
    rank, count = distributed.get_rank(), distributed.get_world_size()
    own = rows[rank::count]
    share = len(own) / len(rows)
    # A process that gets none of a short batch takes part with a weight of zero.
    loss, right = lesson(own if len(own) else rows[:1])
    (loss * share).backward()
    sums = torch.stack([loss.detach() * share, right.float() if len(own) else right.float() * 0.0])
    gradients = [each.grad for each in parameters if each.grad is not None]
    flat = torch.cat([sums, *(gradient.reshape(-1) for gradient in gradients)])
    distributed.all_reduce(flat)
    start = len(sums)
    for gradient in gradients:
        end = start + gradient.numel()
        gradient.copy_(flat[start:end].view_as(gradient))
        start = end
    optimizer.step()
    return flat[0], flat[1]
