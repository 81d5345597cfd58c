"""RAPL: a visual representation aligned by preferences, paid by optimal transport to good videos.

Tian, Xu, Tomizuka, Malik, Bajcsy: What Matters to You? Towards Visual Representation Alignment for
Robot Learning, ICLR 2024, arXiv 2310.07932; extended in arXiv 2412.04835. All labels go into the
representation: a linear head on a frozen encoder is trained until videos that people prefer lie
nearer, by optimal transport, to the best ones than others do. A frame's reward is then what it
costs to carry it there. Works on vectors too (`reward.encoder=`).

Different here: the best videos are those of the highest Bradley-Terry strength, and all videos are
compared with all of them; with `reward.contrast` the distance to the worst counts against that.
Where whole episodes are labelled this matters: frames that every video has, such as the first
ones, are paid best without it. Representations have length 1, so that the entropy's weight has a
meaning of its own, and the distance is the same in training and in the reward. A step's plan is
that by which the labelled videos as a whole are carried to the expert, extended to its frame, so
that it needs no frame but its own: a robot that learns while it acts is paid as a recording is.

Shape letters: `B` segments or pairs, `T` steps, `F` frames looked at, `E` experts, `M` labelled
videos, `D` features of a frame, `K` size of the representation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from robopref.data.dataset import TrajectoryDataset
from robopref.data.normalization import Standardizer
from robopref.data.segments import check_segments, whole_episodes
from robopref.data.spans import segment_spans, steps_in_parts
from robopref.errors import InputError
from robopref.networks.pretrained import SPATIAL, FrozenEncoder
from robopref.optimal_transport.sinkhorn import sinkhorn_plans, sinkhorn_potentials
from robopref.preferences.dataset import Preferences, check_dataset, check_informative
from robopref.preferences.queries import distinct_segments
from robopref.preferences.strengths import segment_strengths
from robopref.preferences.triplets import NONE, Triplets
from robopref.rewards.base import OnEpoch, RewardModel, RewardPrediction
from robopref.rewards.data_parallel import gradient_step
from robopref.rewards.views import other_views
from robopref.rewards.visual import SeenDataset
from robopref.seeding import torch_generator
from robopref.structures import SegmentBatch, Segments

LOG_LIKELIHOOD, PROBABILITY = "log_likelihood", "probability"
TOLERANCE = 1e-4
"""Of the plans' marginals."""


@dataclass
class RaplConfig:
    """Settings of the representation, its training, and the transport."""

    encoder: str = SPATIAL
    """Frozen encoder of the images: efficientnet_lite0_spatial, efficientnet_lite0, a network of
    torchvision such as resnet18, or timm/NAME; empty for a reward of the state."""
    aligned: bool = True
    """Whether the labels train the head; without, the encoder's own features are compared."""
    contrast: bool = False
    """Whether the distance to the worst videos counts too: for labels of whole episodes."""
    size: int = 32
    """Of the aligned representation."""
    frames: int = 20
    """Looked at in each video, evenly spread."""
    views: int = 0
    """Copies of each labelled video, cropped at random and in other light, that the head learns
    from too."""
    experts: int = 30
    """Best videos (and, with contrast, worst ones) that others are compared with, chosen by the
    labels: at most half of those that are labelled."""
    expert_episodes: list[int] = field(default_factory=list)
    """Numbers of the dataset's episodes to take for the best ones instead."""
    regularization: float = 1.0
    """Weight of the plans' entropy, where distances lie in [0, 2]."""
    loss: str = LOG_LIKELIHOOD
    """Of a pair's probability P: log_likelihood (the paper's), or probability (1 - P, as the
    authors' code has it, which bears wrong labels better)."""
    epochs: int = 20
    """Passes over the pairs."""
    batch_size: int = 16
    """Pairs per update."""
    learning_rate: float = 3e-4
    """Of Adam."""

    def __post_init__(self) -> None:
        self.expert_episodes = [int(episode) for episode in self.expert_episodes]
        for name in (
            "size", "frames", "experts", "regularization", "epochs", "batch_size", "learning_rate",
        ):  # fmt: skip
            if getattr(self, name) <= 0:
                raise InputError(f"reward.{name}={getattr(self, name)}: must be positive")
        if self.views < 0 or (self.views and not (self.encoder and self.aligned)):
            raise InputError(
                f"reward.views={self.views}: must be at least 0, and 0 where there are no images "
                "(reward.encoder=) or nothing learns from them (reward.aligned=false)"
            )
        if self.loss not in (LOG_LIKELIHOOD, PROBABILITY):
            raise InputError(f"reward.loss={self.loss}: choose {LOG_LIKELIHOOD} or {PROBABILITY}")

    @property
    def most_experts(self) -> int:
        """How many videos others are compared with at most."""
        best = len(self.expert_episodes) or self.experts
        return best + (self.experts if self.contrast else 0)


class RaplReward(RewardModel):
    """Minus what it costs to carry each step's frame to the best videos rather than the worst.

    In log-odds: P(second preferred) = sigmoid(sum of its rewards minus the first's).
    """

    name = "rapl"
    looks_back = False
    config: RaplConfig
    experts: Tensor
    """(E, F, D): standardised frames of the videos that others are compared with."""
    signs: Tensor
    """(E,): weight of the distance to each; they sum to 1 over the best, to -1 over the worst, and
    are 0 where there are fewer videos."""
    potentials: Tensor
    """(E, F): of the experts' frames, where the labelled videos are carried to them."""
    length: Tensor
    """(): steps of a labelled video, on average."""

    def __init__(self, config: RaplConfig, observation_dim: int, action_dim: int) -> None:
        super().__init__(config, observation_dim, action_dim)
        self.standardizer = Standardizer(observation_dim)
        self.head: nn.Module = nn.Identity()
        if config.aligned:
            linear = nn.Linear(observation_dim, config.size, bias=False)
            # A random projection keeps distances, so training starts from the encoder's own.
            nn.init.normal_(linear.weight, std=observation_dim**-0.5)
            self.head = linear
        self.log_scale = nn.Parameter(torch.tensor(2.0))
        count = config.most_experts
        self.register_buffer("experts", torch.zeros(count, config.frames, observation_dim))
        self.register_buffer("signs", torch.zeros(count))
        self.register_buffer("potentials", torch.zeros(count, config.frames))
        self.register_buffer("length", torch.ones(()))

    def represent(self, frames: Tensor) -> Tensor:
        """(..., D) standardised frames to (..., K) representations of length 1."""
        return functional.normalize(self.head(frames), dim=-1)

    def transport(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Entropic transport between videos (B, F, K) and (B, F', K), all frames alike.

        Returns:
            Plans (B, F, F'), whose entries sum to 1, and costs (B, F, F'). A distance is the sum of
            their product; its gradient takes the plan as given, as that of the entropic problem's
            value does (envelope theorem).
        """
        costs = torch.cdist(first, second)
        even, also = (
            torch.full(side.shape[:2], 1.0 / side.shape[1], device=side.device)
            for side in (first, second)
        )
        plans = sinkhorn_plans(costs.detach(), even, also, self.config.regularization, TOLERANCE)
        return plans, costs

    def frame_costs(self, frames: Tensor) -> Tensor:
        """(...): cost of carrying represented frames (..., K) to the best videos, not the worst."""
        experts = self.represent(self.experts)
        costs = torch.cdist(frames.flatten(0, -2), experts.flatten(0, 1)).unflatten(
            1, experts.shape[:2]
        )
        rows = torch.softmax(self.potentials - costs / self.config.regularization, 2)
        total: Tensor = (rows * costs).sum(2) @ self.signs
        return total.view(frames.shape[:-1])

    def fit(
        self,
        preferences: Preferences,
        dataset: TrajectoryDataset,
        seed: int,
        on_epoch: OnEpoch = lambda epoch, metrics: None,
        triplets: Triplets = NONE,
    ) -> dict[str, float]:
        """Chooses the experts, then trains the head, and the scale of the reward with it.

        Of a triplet, P(second closer) = sigmoid(scale * (D(anchor, first) - D(anchor, second))): it
        says what videos have in common, not which are good, and counts as much as a pair.
        """
        check_informative(preferences)
        check_dataset(preferences, dataset)
        self.check_sizes(dataset.flat_observations.shape[1], dataset.actions.shape[1])
        self.standardizer.fit(dataset.flat_observations)
        experts = self._choose_experts(preferences, dataset)
        self.experts[: len(experts)] = self._frames(dataset, experts)
        sides = preferences.first, preferences.second
        segments, (own, *among) = distinct_segments(
            experts, *sides, triplets.anchors, triplets.first, triplets.second
        )
        places = torch.full((len(self.experts),), -1)
        places[: len(own)] = torch.from_numpy(own)
        first, second, *of_triplets = (torch.from_numpy(each).to(self.device) for each in among)
        confidence = torch.tensor(preferences.confidence, dtype=torch.float32)
        answers = _Answers(
            torch.stack([first, second], dim=1),
            torch.stack(of_triplets, dim=1),
            places.to(self.device),
            torch.from_numpy(np.concatenate([preferences.labels, triplets.labels]))
            .float()
            .to(self.device),
            torch.cat([confidence / confidence.mean(), torch.ones(len(triplets))]).to(self.device),
        )
        videos = self._frames(dataset, segments)
        views = self._views(dataset, segments, seed) if self.config.views else None
        table = None
        if not self.config.aligned:
            with torch.no_grad():
                table = self._from_experts(videos)

        def lesson(rows: Tensor) -> tuple[Tensor, Tensor]:
            loss, logits = self._loss(shown, answers, rows.to(self.device), table)
            return loss, ((logits > 0) == (answers.labels[rows] > 0.5)).sum()

        optimizer = torch.optim.Adam(self.parameters(), lr=self.config.learning_rate)
        generator = torch_generator(seed, "reward")
        metrics: dict[str, float] = {}
        for epoch in range(1, self.config.epochs + 1):
            total, right = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
            count = len(answers.labels)
            shown = videos if views is None else _one_of(videos, views, generator)
            order = torch.randperm(count, generator=generator)
            for rows in order.split(self.config.batch_size):
                loss, found = gradient_step(lesson, rows, optimizer, self.parameters())
                total += loss * len(rows)
                right += found
            metrics = {"train/loss": float(total) / count, "train/accuracy": float(right) / count}
            on_epoch(epoch, metrics)
        self._fix_plans(videos)
        self.length.fill_(float(np.mean([side.lengths for side in sides])))
        return metrics

    @torch.no_grad()
    def _fix_plans(self, videos: Tensor) -> None:
        """How the frames of all labelled videos (M, F, D) together are carried to each expert."""
        frames = self.represent(videos).flatten(0, 1)
        even = torch.full((1, len(frames)), 1.0 / len(frames), device=self.device)
        for place, expert in enumerate(self.represent(self.experts)):
            self.potentials[place] = sinkhorn_potentials(
                torch.cdist(frames, expert)[None],
                even,
                torch.full((1, len(expert)), 1.0 / len(expert), device=self.device),
                self.config.regularization,
                TOLERANCE,
            )[0]

    def _distances(self, first: Tensor, second: Tensor) -> Tensor:
        """(B,): between represented videos (B, F, K) and (B, F, K)."""
        plans, costs = self.transport(first, second)
        return (plans * costs).sum((1, 2))

    def _from_experts(self, videos: Tensor) -> Tensor:
        """(U, E): of videos (U, F, D) to every expert."""
        represented, experts = self.represent(videos), self.represent(self.experts)
        count = len(experts)
        distances = self._distances(
            represented.repeat_interleave(count, 0), experts.repeat(len(videos), 1, 1)
        )
        return distances.view(len(videos), count)

    def _loss(
        self, videos: Tensor, answers: _Answers, rows: Tensor, table: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Mean loss of answers (B,), and their log-odds; `table` (M, E) holds known distances."""
        of_pairs = rows < len(answers.pairs)
        further = torch.zeros(len(rows), device=self.device)
        if of_pairs.any():
            further[of_pairs] = self._further_from_best(videos, answers, rows[of_pairs], table)
        if not of_pairs.all():
            places = answers.triplets[rows[~of_pairs] - len(answers.pairs)]
            anchors, first, second = (self.represent(videos[each]) for each in places.T)
            further[~of_pairs] = self._distances(anchors, first) - self._distances(anchors, second)
        logits = self.log_scale.exp() * further
        labels = answers.labels[rows]
        if self.config.loss == PROBABILITY:
            losses = torch.lerp(logits.sigmoid(), (-logits).sigmoid(), labels)
        else:
            losses = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        return (losses * answers.confidence[rows]).mean(), logits.detach()

    def _further_from_best(
        self, videos: Tensor, answers: _Answers, rows: Tensor, table: Tensor | None
    ) -> Tensor:
        """(B,): how much further from the experts the first of a pair is than the second."""
        sides = answers.pairs[rows]
        chosen, places = torch.unique(sides, return_inverse=True)
        distances = self._from_experts(videos[chosen]) if table is None else table[chosen]
        # A video's distance to itself is 0 by any representation, and says nothing.
        others = (sides[..., None] != answers.experts).all(1)
        return ((distances[places[:, 0]] - distances[places[:, 1]]) * others) @ self.signs

    def _choose_experts(self, preferences: Preferences, dataset: TrajectoryDataset) -> Segments:
        """The best videos, then the worst, with their signs."""
        segments, strengths = segment_strengths(preferences)
        order = np.argsort(-strengths, kind="stable")
        if len(order) < 2:
            raise InputError("preferences: name one video only, so none can be compared with it")
        # Never the same video among the best and the worst.
        count = min(self.config.experts, len(order) // 2)
        best = segments[order[:count]]
        if self.config.expert_episodes:
            episodes = np.array(self.config.expert_episodes, dtype=np.int64)
            if episodes.min() < 0 or episodes.max() >= len(dataset):
                raise InputError(
                    f"reward.expert_episodes={self.config.expert_episodes}: {dataset.source} has "
                    f"the episodes 0 to {len(dataset) - 1}"
                )
            best = whole_episodes(dataset, episodes)
        self.signs.zero_()
        self.signs[: len(best)] = 1.0 / len(best)
        if not self.config.contrast:
            return best
        self.signs[len(best) : len(best) + count] = -1.0 / count
        return best.join(segments[order[-count:]])

    def _frames(self, dataset: TrajectoryDataset, segments: Segments) -> Tensor:
        """(B, F, D): standardised frames, evenly spread over each segment."""
        rows = self._rows(dataset, segments)
        frames = torch.from_numpy(dataset.flat_observations[rows]).to(self.device)
        standardized: Tensor = self.standardizer(frames)
        return standardized

    def _rows(self, dataset: TrajectoryDataset, segments: Segments) -> NDArray[np.int64]:
        """(B, F): of the dataset's observations."""
        check_segments(dataset, segments, "segments")
        starts, lengths = segment_spans(dataset, segments)
        steps = starts[:, None] + steps_in_parts(lengths, self.config.frames, None)
        rows: NDArray[np.int64] = dataset.observation_rows[steps.numpy()]
        return rows

    def _views(self, dataset: TrajectoryDataset, segments: Segments, seed: int) -> Tensor:
        """(V, B, F, D): standardised frames of altered copies of each segment."""
        if not isinstance(dataset, SeenDataset):
            raise InputError(
                f"reward.views={self.config.views}: {dataset.source} is not seen through "
                "reward.encoder (robopref.rewards.visual.as_seen)"
            )
        encoder = FrozenEncoder(self.config.encoder).to(self.device)
        rows = self._rows(dataset, segments)
        found = other_views(dataset, rows, encoder, self.config.views, seed, self.device)
        standardized: Tensor = self.standardizer(found.to(self.device))
        return standardized

    @property
    def bound(self) -> float:
        """As `RewardModel.bound`: representations of length 1 are at most 2 apart."""
        return 2.0 * float(self.log_scale.detach().exp())

    @torch.no_grad()
    def predict(self, segments: SegmentBatch) -> RewardPrediction:
        """Each step by its own frame; there is no deviation."""
        self.check_sizes(segments.observations.shape[-1], segments.actions.shape[-1])
        frames = self.represent(self.standardizer(segments.observations))
        rewards = -self.log_scale.exp() / self.length * self.frame_costs(frames)
        return RewardPrediction(rewards * segments.mask, None)


def _one_of(videos: Tensor, views: Tensor, generator: torch.Generator) -> Tensor:
    """(M, F, D): of each video (M, F, D) itself or one of its copies (V, M, F, D)."""
    chosen = torch.randint(len(views) + 1, (len(videos),), generator=generator).to(views.device)
    found = views[chosen - 1, torch.arange(len(videos), device=views.device)]
    found[chosen == 0] = videos[chosen == 0]
    return found


class _Answers(NamedTuple):
    """Labelled pairs and triplets, `B` in all, as positions among the `M` videos."""

    pairs: Tensor
    """(., 2): first and second."""
    triplets: Tensor
    """(., 3): anchor, first and second; they come after the pairs."""
    experts: Tensor
    """(E,): positions of the experts, -1 where there are fewer."""
    labels: Tensor
    """(B,)"""
    confidence: Tensor
    """(B,): of the pairs 1 on average, of triplets 1."""
