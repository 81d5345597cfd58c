"""More from few labels: pseudo-labels of sure pairs, and segments cut shorter at random.

Park, Seo, Shin, Lee, Abbeel, Lee: SURF: Semi-supervised Reward Learning with Data Augmentation for
Feedback-efficient Preference-based Reinforcement Learning, ICLR 2022 (arXiv 2203.10050).

Shape letters: `B` pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robopref.data.dataset import TrajectoryDataset
from robopref.data.spans import Spans, random_places


def crop_pairs(
    first: Spans, second: Spans, share: float, generator: torch.Generator
) -> tuple[Spans, Spans]:
    """Cuts both sides of each pair by the same random share, at places of their own.

    SURF, section 4.2 (temporal cropping): what is preferred stays so if a little of both is left
    out. The paper cuts segments of 60 steps to between 45 and 55.

    Args:
        first: spans of the first sides.
        second: of the second ones.
        share: largest share that is cut; each pair's is uniform below it.
        generator: source of randomness.
    """
    kept = 1.0 - share * torch.rand(len(first[0]), generator=generator)

    def cut(side: Spans) -> Spans:
        starts, lengths = side
        shorter = (kept * lengths).ceil().long().clamp(min=1)
        return starts + random_places(lengths - shorter + 1, generator), shorter

    return cut(first), cut(second)


def random_spans(dataset: TrajectoryDataset, lengths: Tensor, generator: torch.Generator) -> Spans:
    """Segments of the given lengths anywhere in the dataset; cut to episodes that are shorter.

    Args:
        dataset: the episodes.
        lengths: (B,)
        generator: source of randomness.
    """
    offsets = torch.from_numpy(dataset.offsets)
    anywhere = torch.randint(int(offsets[-1]), (len(lengths),), generator=generator)
    episodes = torch.searchsorted(offsets, anywhere, right=True) - 1
    steps = (offsets[1:] - offsets[:-1])[episodes]
    lengths = torch.minimum(lengths, steps)
    return offsets[episodes] + random_places(steps - lengths + 1, generator), lengths


def pseudo_labels(logits: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """What the ensemble is sure of, taken for the truth: SURF, eq. 4 and 5.

    Args:
        logits: (B,), mean log-odds over members of the second being preferred.
        threshold: probability above which a pair is taught.

    Returns:
        Labels (B,) of 0 or 1, and weights (B,): 1 where the ensemble is sure, else 0.
    """
    probabilities = torch.sigmoid(logits)
    sure = torch.maximum(probabilities, 1.0 - probabilities) > threshold
    return (probabilities > 0.5).float(), sure.float()
