"""Updates of a policy on a GPU, recorded once as a CUDA graph and replayed.

A learner of small networks makes a hundred small steps per update, and a GPU finishes each in less
time than the program takes to ask for it. A graph asks once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robopref.policies.base import BatchSource, Policy
from robopref.structures import TransitionBatch

PLAIN_UPDATES = 3
"""Updates before the recording, in which libraries choose their kernels and take their memory."""


class RecordedUpdates:
    """Makes a policy's updates: plain ones, or replayed ones where it is on a GPU.

    Both give the same numbers. A policy takes part whose `recordable` is true.
    """

    def __init__(self, policy: Policy, generator: torch.Generator) -> None:
        """
        Args:
            policy: the state of its optimizer is not replaced from the first update on.
            generator: source of randomness, on the policy's device.
        """
        self._policy, self._generator = policy, generator
        self._recordable = policy.recordable and policy.device.type == "cuda"
        self._batch: TransitionBatch | None = None
        self._plain = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._names: list[str] = []
        self._values = torch.empty(0)

    def from_batch(self, batch: TransitionBatch) -> dict[str, Tensor]:
        """One update from a batch of the caller's own, equally large at every call."""
        if not self._recordable:
            return self._policy.update(batch, self._generator)
        if self._batch is None:
            self._batch = batch  # its memory takes the ones to come
        else:
            self._batch.copy_(batch)
        kept = self._batch
        return self._update(lambda: kept)

    def from_source(self, source: BatchSource, size: int) -> dict[str, Tensor]:
        """One update from `size` drawn rows, the same source and size at every call."""
        if not (self._recordable and isinstance(source, TransitionBatch)):
            return self._policy.update(source.draw(size, self._generator), self._generator)
        return self._update(lambda: source.draw(size, self._generator))

    def _update(self, draw: Callable[[], TransitionBatch]) -> dict[str, Tensor]:
        if self._plain < PLAIN_UPDATES:
            self._plain += 1
            return self._policy.update(draw(), self._generator)
        if self._graph is None:
            self._graph = torch.cuda.CUDAGraph()
            self._graph.register_generator_state(self._generator)
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                metrics = self._policy.update(draw(), self._generator)
                self._names, self._values = list(metrics), torch.stack(list(metrics.values()))
        self._graph.replay()
        # The next replay writes over its own results.
        return dict(zip(self._names, self._values.clone().unbind(), strict=True))
