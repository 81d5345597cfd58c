"""Losses of reward learning from pairs. Each is one equation.

Shape letters: `E` members of an ensemble, `B` pairs, `T` steps, `K` samples. `labels` (B,) are the
probability `y` that the second segment is preferred, `confidence` (B,) weighs the pairs.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional


def bradley_terry_loss(logits: Tensor, labels: Tensor, confidence: Tensor) -> Tensor:
    """Cross entropy of the Bradley-Terry model with soft labels.

    Christiano et al.: Deep RL from Human Preferences, NeurIPS 2017, eq. 1:
    `-[y log P + (1 - y) log(1 - P)]` with `P = sigmoid(sum_t r_t(second) - sum_t r_t(first))`.

    Args:
        logits: (E, B), difference of the two sums.
        labels: (B,)
        confidence: (B,)

    Returns:
        (E,): mean over pairs of confidence times cross entropy; log 2 where sums are equal.
    """
    assert logits.shape[-1:] == labels.shape == confidence.shape
    losses = functional.binary_cross_entropy_with_logits(
        logits, labels.expand_as(logits), reduction="none"
    )
    return (confidence * losses).mean(-1)


def gaussian_preference_loss(
    mean: Tensor, std: Tensor, noise: Tensor, labels: Tensor, confidence: Tensor
) -> Tensor:
    """Cross entropy of a Bradley-Terry model whose step rewards are Gaussian.

    Liu et al.: PEARL, ICML 2024 (arXiv 2306.03615), robust reward learning: step rewards
    `r_t = mu_t + sigma_t eps_t`, `P_k = sigmoid(sum_t r_t(second) - sum_t r_t(first))` per sample,
    and the cross entropy of `mean_k P_k`. The difference of sums of independent Gaussians is
    Gaussian itself, so one number per pair and sample is drawn instead of one per step.

    Averaging before the logarithm is the likelihood of the Gaussian model. A wide Gaussian makes
    it nearly linear in the mean, so a pair with a flipped label pulls no harder than another.

    Args:
        mean: (E, B), mean of the difference of the two sums.
        std: (E, B), its standard deviation.
        noise: (K, E, B), standard normal.
        labels: (B,)
        confidence: (B,)

    Returns:
        (E,): mean over pairs.
    """
    assert mean.shape == std.shape == noise.shape[1:]
    assert mean.shape[-1:] == labels.shape == confidence.shape
    logits = mean + std * noise
    log_samples = math.log(len(noise))
    log_second = functional.logsigmoid(logits).logsumexp(0) - log_samples
    log_first = functional.logsigmoid(-logits).logsumexp(0) - log_samples
    return -(confidence * (labels * log_second + (1.0 - labels) * log_first)).mean(-1)


def entropy_hinge(log_std: Tensor, preset_log_std: Tensor, weights: Tensor) -> Tensor:
    """Keeps the predicted Gaussians from collapsing: `max(0, h0 - h(N(mu_t, sigma_t^2)))`.

    PEARL pushes the uncertainty to a preset value. The differential entropy is
    `h = log sigma + log(2 pi e) / 2`, so the gap of entropies is the gap of log sigmas.

    Args:
        log_std: (E, B, T)
        preset_log_std: scalar.
        weights: (B, T), 0 on padding.

    Returns:
        (E,): weighted mean over steps.
    """
    gap = functional.relu(preset_log_std - log_std)
    return (gap * weights).sum((-2, -1)) / weights.sum()
