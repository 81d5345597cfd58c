"""What DPPO learns from: a judge of segments, fitted to the labels, and all data scored by it.

An et al. 2023: the judge is a preference transformer, and its scores of a segment and
of the same segment shifted by a few steps are kept alike.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from robopref.data.dataset import TrajectoryDataset
from robopref.data.normalization import Standardizer
from robopref.data.spans import Spans
from robopref.data.transitions import transitions
from robopref.networks.transformer import PreferenceTransformer
from robopref.policies.dppo import DPPOConfig, ScoredBatch
from robopref.policies.pair_labels import PairLabels
from robopref.policies.segment_pairs import segment_rows
from robopref.preferences.dataset import Preferences
from robopref.seeding import torch_generator

MOST_SEGMENTS = 20_000
"""Segments of the data that are scored; they begin at steps evenly spread."""
SCORED_AT_ONCE = 512


class Judge(nn.Module):
    """Scores segments: preference attention over a causal transformer."""

    def __init__(self, observation_dim: int, action_dim: int, width: int, heads: int) -> None:
        super().__init__()
        self.standardizer = Standardizer(observation_dim)
        self.transformer = PreferenceTransformer(observation_dim + action_dim, width, 1, heads, 1)

    def forward(self, observations: Tensor, actions: Tensor, weights: Tensor) -> Tensor:
        """(P,): scores of segments (P, S, ...), of which steps of weight 0 are padding."""
        inputs = torch.cat([self.standardizer(observations), actions], dim=-1)
        values, attention = self.transformer(inputs, (weights > 0).float())
        scores: Tensor = (values.squeeze(-1) * attention).sum(1)
        return scores


class DPPOBatches:
    """Fits the judge, scores segments of all data, and draws among them."""

    def __init__(
        self,
        dataset: TrajectoryDataset,
        preferences: Preferences,
        config: DPPOConfig,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """
        Args:
            dataset: the data.
            preferences: labels of its segments.
            config: of the policy and the judge.
            seed: of the judge.
            device: where batches are wanted.

        Raises:
            InputError: if the preferences say nothing or are of another dataset.
        """
        labels = PairLabels.of(preferences, dataset, device)
        self.config = config
        self._steps = transitions(dataset, np.zeros(dataset.num_steps)).to(device)
        length = int(np.median(preferences.first.lengths))
        self._starts, self._lengths, self._slack = _everywhere(dataset, length, device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_generator(seed, "judge weights").initial_seed())
            sizes = self._steps.observations.shape[1], self._steps.actions.shape[1]
            judge = Judge(*sizes, config.predictor_width, config.predictor_heads).to(device)
        judge.standardizer.fit(self._steps.observations)
        self._fit(judge, labels, torch_generator(seed, "judge", device))
        with torch.no_grad():
            self.scores = torch.cat(
                [
                    judge(*self._segments(rows, None))
                    for rows in torch.arange(len(self._starts), device=device).split(SCORED_AT_ONCE)
                ]
            )
        """(segments,): of all data."""

    def __len__(self) -> int:
        return len(self.scores)

    def draw(self, count: int, generator: torch.Generator) -> ScoredBatch:
        """Draws `config.segments` segments; `count` is of transitions, which are not needed."""
        rows = self._rows(self.config.segments, generator)
        return ScoredBatch(*self._segments(rows, generator), self.scores[rows])

    def _fit(self, judge: Judge, labels: PairLabels, generator: torch.Generator) -> None:
        config = self.config
        optimizer = torch.optim.AdamW(
            judge.parameters(), lr=config.predictor_learning_rate, fused=True
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.predictor_updates)
        for _ in range(config.predictor_updates):
            drawn = labels.draw(config.predictor_pairs, generator)
            first, second = (
                judge(*self._steps_of(span, generator)) for span in (drawn.first, drawn.second)
            )
            loss = functional.binary_cross_entropy_with_logits(
                second - first, drawn.labels, drawn.confidence
            )
            if config.smoothness:
                loss = loss + config.smoothness * self._roughness(judge, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    def _roughness(self, judge: Judge, generator: torch.Generator) -> Tensor:
        """(): mean squared difference of scores of segments and of the same ones shifted."""
        rows = self._rows(self.config.predictor_pairs, generator)
        noise = torch.randn(len(rows), generator=generator, device=rows.device)
        moved = self._starts[rows] + (noise * self.config.shift).round().long()
        first, room = self._slack
        moved = torch.minimum(torch.maximum(moved, first[rows]), first[rows] + room[rows])
        shifted = self._steps_of((moved, self._lengths[rows]), generator)
        difference = judge(*self._segments(rows, generator)) - judge(*shifted)
        squared: Tensor = difference.square().mean()
        return squared

    def _rows(self, count: int, generator: torch.Generator) -> Tensor:
        device = self._starts.device
        return torch.randint(len(self._starts), (count,), generator=generator, device=device)

    def _segments(
        self, rows: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        return self._steps_of((self._starts[rows], self._lengths[rows]), generator)

    def _steps_of(
        self, spans: Spans, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(P, S, D), (P, S, A), (P, S): observations, actions and weights of segments."""
        rows, weights = segment_rows(spans, self.config.segment_steps, generator)
        return self._steps.observations[rows], self._steps.actions[rows], weights


def _everywhere(
    dataset: TrajectoryDataset, length: int, device: torch.device | str
) -> tuple[Tensor, Tensor, Spans]:
    """Segments that begin all over the data: first steps, lengths, and how far each can move.

    Returns:
        (segments,) first steps; (segments,) lengths, those of short episodes below `length`; and
        (segments,) the first step of each one's episode with the places that there are after it.
    """
    lengths = np.minimum(dataset.lengths, length)
    room = dataset.lengths - lengths
    episodes = np.repeat(np.arange(len(dataset)), room + 1)
    within = np.arange(len(episodes)) - np.repeat(np.cumsum(room + 1) - room - 1, room + 1)
    chosen = np.linspace(0, len(episodes) - 1, min(len(episodes), MOST_SEGMENTS)).astype(np.int64)
    episodes, within = episodes[chosen], within[chosen]
    first = dataset.offsets[:-1][episodes]
    found = [first + within, lengths[episodes], first, room[episodes]]
    starts, sizes, begins, rooms = (torch.from_numpy(values).to(device) for values in found)
    return starts, sizes, (begins, rooms)
