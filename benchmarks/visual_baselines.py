"""What RAPL is measured beside in the visual benchmark: features over time, RLHF, and pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from robopref.data.dataset import TrajectoryDataset
from robopref.data.images import camera_images, named_images
from robopref.data.normalization import Standardizer
from robopref.data.spans import segment_spans, steps_in_parts
from robopref.networks.image_encoder import ImageEncoder
from robopref.networks.pretrained import SPATIAL
from robopref.preferences.dataset import Preferences
from robopref.rewards.base import OnEpoch, RewardModel, RewardPrediction
from robopref.rewards.rapl import RaplConfig, RaplReward
from robopref.rewards.registry import make_reward
from robopref.rewards.visual import SeenDataset
from robopref.seeding import torch_generator
from robopref.structures import SegmentBatch

RLHF_FRAMES = 45
PIXEL_FRAMES, PIXEL_STRIDE, PIXEL_FEATURES, PIXEL_SIZE = 15, 2, 50, 56


def time_contrastive(preferences: Preferences, dataset: SeenDataset, seed: int) -> RewardModel:
    """Trains RAPL's head without labels: frames near in time together, others of the video apart.

    Sermanet et al. 2018, Time-Contrastive Networks, arXiv 1704.06888, single view, with the
    cross entropy over a batch in the triplets' place (van den Oord et al. 2018).
    """
    model = make_reward(RaplConfig(), dataset, seed)
    assert isinstance(model, RaplReward)
    generator = torch_generator(seed, "time contrastive")
    model.standardizer.fit(dataset.flat_observations)
    optimizer = torch.optim.Adam(model.head.parameters(), lr=1e-3)
    frames = model.standardizer(torch.from_numpy(dataset.flat_observations))
    for _ in range(1_000):
        episode = int(torch.randint(len(dataset), (1,), generator=generator))
        rows = dataset.row_slice(episode)
        length = rows.stop - rows.start
        anchors = torch.randperm(length - 4, generator=generator)[:32]
        near = anchors + 1 + torch.randint(3, anchors.shape, generator=generator)
        first, second = (model.represent(frames[rows.start + each]) for each in (anchors, near))
        loss = functional.cross_entropy(first @ second.T / 0.1, torch.arange(len(anchors)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    model.head.requires_grad_(False)
    model.fit(preferences, dataset, seed)
    return model


@dataclass
class _Looks:
    """What an online run asks of a reward's config."""

    encoder: str


class LinearReward(RewardModel):
    """Tian et al.'s RLHF: a linear head, 45 frames, Adam at 1e-4, 50 passes, batches of 10."""

    name = "linear"
    looks_back = False

    def __init__(self, dataset: SeenDataset, seed: int) -> None:
        size = dataset.flat_observations.shape[1]
        super().__init__(_Looks(SPATIAL), size, dataset.actions.shape[1])
        self.standardizer = Standardizer(size)
        self.head = nn.Linear(size, 1, bias=False)

    def fit(
        self, preferences: Preferences, dataset: TrajectoryDataset, seed: int,
        on_epoch: OnEpoch = lambda epoch, metrics: None,
    ) -> dict[str, float]:  # fmt: skip
        """As `RewardModel.fit`."""
        generator = torch_generator(seed, "rlhf")
        self.standardizer.fit(dataset.flat_observations)
        with torch.no_grad():
            drawn = torch.randn(self.head.weight.shape, generator=generator)
            self.head.weight.copy_(drawn * 0.01)
        rows = _rows_of_pairs(preferences, dataset, RLHF_FRAMES)
        frames = self.standardizer(torch.from_numpy(dataset.flat_observations[rows]))

        def score(chosen: Tensor) -> Tensor:
            return self.head(frames[:, chosen]).sum((2, 3))  # type: ignore[no-any-return]

        _bradley_terry(preferences, self.head, score, 1e-4, 50, 10, generator)
        return {}

    @torch.no_grad()
    def predict(self, segments: SegmentBatch) -> RewardPrediction:
        """As `RewardModel.predict`."""
        found = self.head(self.standardizer(segments.observations))[..., 0]
        return RewardPrediction(found * segments.mask, None)


class PixelReward(RewardModel):
    """The library's small encoder, trained by the labels from scratch, at half the resolution.

    Its observations are pictures (3 * 56 * 56), flat.
    """

    name = "pixels"
    looks_back = False

    def __init__(self, dataset: SeenDataset, seed: int) -> None:
        shape = (3, PIXEL_SIZE, PIXEL_SIZE)
        super().__init__(_Looks(""), int(np.prod(shape)), dataset.actions.shape[1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = ImageEncoder(shape, PIXEL_FEATURES)
            self.network = nn.Sequential(encoder, nn.Linear(PIXEL_FEATURES, 1))

    def fit(
        self, preferences: Preferences, dataset: TrajectoryDataset, seed: int,
        on_epoch: OnEpoch = lambda epoch, metrics: None,
    ) -> dict[str, float]:  # fmt: skip
        """As `RewardModel.fit`."""
        rows = _rows_of_pairs(preferences, dataset, PIXEL_FRAMES)
        frames = _pictures(dataset, rows.ravel()).unflatten(0, rows.shape)

        def score(chosen: Tensor) -> Tensor:
            part = frames[:, chosen]
            found: Tensor = self.network(part.flatten(0, 2))
            return found.view(part.shape[:3]).sum(2)

        generator = torch_generator(seed, "pixels")
        _bradley_terry(preferences, self.network, score, 3e-4, 20, 16, generator)
        return {}

    @torch.no_grad()
    def predict(self, segments: SegmentBatch) -> RewardPrediction:
        """As `RewardModel.predict`."""
        shape = (-1, 3, PIXEL_SIZE, PIXEL_SIZE)
        found = self.network(segments.observations.to(torch.uint8).view(shape))
        return RewardPrediction(found.view(segments.mask.shape) * segments.mask, None)

    @torch.no_grad()
    def rewards_of(self, dataset: SeenDataset) -> NDArray[np.float32]:
        """(N,): of every step, read from the pictures and not from features."""
        every = np.arange(len(dataset.flat_observations))
        parts = [
            self.network(_pictures(dataset, every[i : i + 500]))[:, 0]
            for i in range(0, len(every), 500)
        ]
        return np.asarray(torch.cat(parts).numpy()[dataset.observation_rows])


def small_picture(observation: object) -> NDArray[np.float32]:
    """(3 * 56 * 56,): what `PixelReward` sees of an environment's observation."""
    small = camera_images(observation)[:, ::PIXEL_STRIDE, ::PIXEL_STRIDE]
    return np.asarray(small, dtype=np.float32).ravel()


def _bradley_terry(
    preferences: Preferences, network: nn.Module, score: Callable[[Tensor], Tensor], rate: float,
    epochs: int, batch: int, generator: torch.Generator,
) -> None:  # fmt: skip
    """Fits sums of rewards: `score` of pairs (B,) gives those of both sides (2, B)."""
    labels = torch.from_numpy(preferences.labels).float()
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    for _ in range(epochs):
        for chosen in torch.randperm(len(labels), generator=generator).split(batch):
            first, second = score(chosen)
            loss = functional.binary_cross_entropy_with_logits(second - first, labels[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()


def _rows_of_pairs(
    preferences: Preferences, dataset: TrajectoryDataset, frames: int
) -> NDArray[np.int64]:
    """(2, B, frames): rows of observations, evenly spread over both sides of each pair."""
    found = []
    for side in (preferences.first, preferences.second):
        starts, lengths = segment_spans(dataset, side)
        steps = starts[:, None] + steps_in_parts(lengths, frames, None)
        found.append(dataset.observation_rows[steps.numpy()])
    return np.stack(found)


def _pictures(dataset: TrajectoryDataset, rows: NDArray[np.int64]) -> Tensor:
    """(R, C, H, W) uint8 of rows (R,)."""
    distinct, places = np.unique(rows, return_inverse=True)
    images = {name: values[distinct] for name, values in named_images(dataset.observations).items()}
    small = camera_images(images)[:, :, ::PIXEL_STRIDE, ::PIXEL_STRIDE]
    return torch.from_numpy(np.ascontiguousarray(small[places]))
