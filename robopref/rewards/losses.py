"""Losses of reward learning from pairs and ranked lists. Each is one equation.

Shape letters: `E` members of an ensemble, `B` pairs, `T` steps, `K` samples; of ranked lists `L`
lists and `K` places, where `scores` are the sums of a segment's rewards. `labels` (B,) are the
probability `y` that the second segment is preferred, `confidence` (B,) weighs the pairs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

LEAST_SCORE = 1e-3
"""Added to scores, so that none is 0."""
LEAST_LOGIT = -1e9
"""Log-odds of what cannot be chosen."""


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


def linear_preference_loss(
    first: Tensor, second: Tensor, labels: Tensor, confidence: Tensor
) -> Tensor:
    """Cross entropy of a model that is linear in the scores.

    Choi et al.: LiRE, Listwise Reward Estimation, ICML 2024, arXiv 2408.04190:
    `P = s(second) / (s(first) + s(second))` with positive scores `s`. Where Bradley-Terry tells
    apart what lies close, this tells apart what lies far: a score twice as large is a chance of
    two in three, wherever it is.

    Args:
        first: (E, B) scores of the first segments, at least 0.
        second: (E, B) of the second ones.
        labels: (B,)
        confidence: (B,)

    Returns:
        (E,): mean over pairs.
    """
    first, second = first + LEAST_SCORE, second + LEAST_SCORE
    total = (first + second).log()
    losses = labels * (total - second.log()) + (1.0 - labels) * (total - first.log())
    return (confidence * losses).mean(-1)


def rao_kupper_loss(
    logits: Tensor, log_threshold: Tensor, labels: Tensor, confidence: Tensor
) -> Tensor:
    """Cross entropy of a Bradley-Terry model with ties, by a threshold on what can be told apart.

    Rao and Kupper: Ties in Paired-Comparison Experiments, JASA 1967:
    `P(second) = sigmoid(d - log theta)`, `P(first) = sigmoid(-d - log theta)`, a tie otherwise.
    A label `y` is a tie in the share `1 - |2 y - 1|`.

    Args:
        logits: (E, B), difference `d` of the two sums.
        log_threshold: () `log theta`, above 0.
        labels: (B,)
        confidence: (B,)

    Returns:
        (E,): mean over pairs.
    """
    log_second = functional.logsigmoid(logits - log_threshold)
    log_first = functional.logsigmoid(-logits - log_threshold)
    # 1 - P(first) - P(second) = (theta^2 - 1) P(first) P(second)
    log_tie = torch.log(torch.expm1(2.0 * log_threshold)) + log_first + log_second
    return _with_ties(log_first, log_tie, log_second, labels, confidence)


def davidson_loss(logits: Tensor, log_tie: Tensor, labels: Tensor, confidence: Tensor) -> Tensor:
    """Cross entropy of a Bradley-Terry model with ties, likelier the closer the two are.

    Davidson: On Extending the Bradley-Terry Model to Accommodate Ties, JASA 1970: the odds
    of first, tie and second are `1 : nu exp(d / 2) : exp(d)`.

    Args:
        logits: (E, B), difference `d` of the two sums.
        log_tie: () `log nu`.
        labels: (B,)
        confidence: (B,)

    Returns:
        (E,): mean over pairs.
    """
    odds = torch.stack([torch.zeros_like(logits), log_tie + logits / 2.0, logits])
    log_first, log_middle, log_second = odds.log_softmax(0)
    return _with_ties(log_first, log_middle, log_second, labels, confidence)


def _with_ties(
    log_first: Tensor, log_tie: Tensor, log_second: Tensor, labels: Tensor, confidence: Tensor
) -> Tensor:
    """(E,): cross entropy of labels of which 0.5 is a tie."""
    decided = 2.0 * labels - 1.0
    likelihood = (
        functional.relu(decided) * log_second
        + functional.relu(-decided) * log_first
        + (1.0 - decided.abs()) * log_tie
    )
    return -(confidence * likelihood).mean(-1)


def plackett_luce_loss(scores: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Negative log-likelihood of ranked lists, place after place.

    Plackett 1975, Luce 1959; Song et al.: Preference Ranking Optimization for Human Alignment
    (PRO), AAAI 2024, arXiv 2306.17492, eq. 5: the best of what is left is chosen with probability
    `exp(s_k) / sum_{j >= k} exp(s_j)`. For lists of two this is the Bradley-Terry loss.

    Args:
        scores: (E, L, K), the best first.
        mask: (L, K), whether a place is taken.
        weights: (L,)

    Returns:
        (E,): mean over lists of the sum over places.
    """
    left = scores.masked_fill(~mask, LEAST_LOGIT).flip(-1).logcumsumexp(-1).flip(-1)
    return (((left - scores) * mask).sum(-1) * weights).mean(-1)


def lambda_loss(scores: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Bradley-Terry losses of the pairs of ranked lists, weighted by what a swap would cost.

    Liu et al.: LiPO, Listwise Preference Optimization through Learning-to-Rank, 2024, arXiv
    2402.01878, eq. 8 (LambdaLoss): the weight of a pair is `|G_i - G_j| |1 / D_i - 1 / D_j|` with
    gains `G = 2^psi - 1` of the labels (1 for the best, 0 for the last) and discounts
    `D = log(1 + rank)` of the ranks that the scores give now. So errors at the top count most.

    Args:
        scores: (E, L, K), the best first.
        mask: (L, K), whether a place is taken.
        weights: (L,)

    Returns:
        (E,): mean over lists of the sum over pairs.
    """
    places, sizes = torch.arange(mask.shape[1], device=mask.device), mask.sum(-1, keepdim=True)
    gains = torch.exp2(1.0 - places / (sizes - 1.0)) - 1.0
    with torch.no_grad():
        masked = scores.masked_fill(~mask, -torch.inf)
        ranks = 1.0 + (masked.unsqueeze(-2) > masked.unsqueeze(-1)).sum(-1)
        discounts = torch.log1p(ranks).reciprocal()
        change = (discounts.unsqueeze(-1) - discounts.unsqueeze(-2)).abs()
        cost = (gains.unsqueeze(-1) - gains.unsqueeze(-2)).abs() * change
        pairs = mask.unsqueeze(-1) & mask.unsqueeze(-2) & (places[:, None] < places)
    losses = cost * functional.softplus(scores.unsqueeze(-2) - scores.unsqueeze(-1))
    return ((losses * pairs).sum((-1, -2)) * weights).mean(-1)


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
