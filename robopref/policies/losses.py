"""Equations of policy learning as functions of tensors.

IQL is Kostrikov, Nair and Levine 2021, "Offline Reinforcement Learning with Implicit
Q-Learning", arXiv 2110.06169. SAC is Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and
Applications", arXiv 1812.05905. CPL is Hejna et al. 2024, "Contrastive Preference Learning", arXiv
2310.13639.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

MAXIMUM_WEIGHT = 100.0
"""Advantage weights are clipped here, as in the code published with the paper."""


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """Asymmetric squared error `|expectile - 1(u < 0)| u^2` (IQL, eq. 5 with eq. 4's `L_2^tau`).

    Args:
        difference: (B,) `u = Q(s, a) - V(s)`, target minus prediction.
        expectile: in (0, 1). At 0.5 the minimum is the mean; towards 1 it nears the maximum.

    Returns:
        () mean over the batch.
    """
    return (torch.where(difference < 0, 1.0 - expectile, expectile) * difference.square()).mean()


def td_target(rewards: Tensor, discount: float, terminated: Tensor, next_values: Tensor) -> Tensor:
    """(B,) `r + discount * V(s')` (IQL, eq. 6); no value follows a terminated step.

    A truncated step is not a terminated one: its value goes on.

    Args:
        rewards: (B,)
        discount: in [0, 1].
        terminated: (B,) 1 where the task ended at this step.
        next_values: (B,) values of the next observations.
    """
    return rewards + discount * (1.0 - terminated) * next_values


def critic_loss(values: Tensor, targets: Tensor) -> Tensor:
    """Squared error of `E` critics (IQL, eq. 6): summed over critics, mean over the batch.

    Args:
        values: (E, B) predicted `Q(s, a)`.
        targets: (B,) no gradient flows into them.
    """
    return (values - targets.detach()).square().mean(1).sum()


def advantage_weights(advantages: Tensor, inverse_temperature: float) -> Tensor:
    """(B,) `exp(inverse_temperature * A(s, a))` (IQL, eq. 7), at most 100."""
    return (inverse_temperature * advantages).exp().clamp(max=MAXIMUM_WEIGHT)


def weighted_regression_loss(log_probs: Tensor, weights: Tensor) -> Tensor:
    """() mean of `-w log pi(a | s)` (IQL, eq. 7). Equal weights of 1 make it behaviour cloning.

    Args:
        log_probs: (B,)
        weights: (B,) no gradient flows into them.
    """
    return -(weights.detach() * log_probs).mean()


def soft_value(values: Tensor, log_probs: Tensor, temperature: Tensor | float) -> Tensor:
    """(B,) `min_e Q_e(s', a') - alpha log pi(a' | s')` (SAC, eq. 3, with the smaller critic).

    Args:
        values: (E, B) of the target critics at an action drawn from the policy.
        log_probs: (B,) of that action.
        temperature: alpha; 0 leaves the entropy out of the backup.
    """
    return values.amin(0) - temperature * log_probs


def soft_actor_loss(values: Tensor, log_probs: Tensor, temperature: Tensor) -> Tensor:
    """() mean of `alpha log pi(a | s) - Q(s, a)` (SAC, eq. 7), `a` drawn with gradient.

    Args:
        values: (B,)
        log_probs: (B,)
        temperature: () no gradient flows into it.
    """
    return (temperature.detach() * log_probs - values).mean()


def cloning_loss(mean_actions: Tensor, actions: Tensor, weights: Tensor) -> Tensor:
    """() squared distance from demonstrated actions, averaged over those that count.

    With weights of 1 where the critics value the demonstrated action above the policy's own, and 0
    elsewhere, it is the cloning loss with Q-filter of Nair et al. 2018 (arXiv 1709.10089, eq. 4).

    Args:
        mean_actions: (B, A) of the policy.
        actions: (B, A)
        weights: (B,) of 0 and 1.
    """
    distances = (mean_actions - actions).square().sum(-1)
    return (weights * distances).sum() / weights.sum().clamp(min=1.0)


def temperature_loss(log_temperature: Tensor, log_probs: Tensor, target_entropy: float) -> Tensor:
    """() `-log alpha * (log pi + target entropy)` (SAC, eq. 18, on log alpha as in its code).

    Args:
        log_temperature: ()
        log_probs: (B,) no gradient flows into them.
        target_entropy: in nats; the temperature grows while the policy's entropy is below it.
    """
    return -log_temperature * (log_probs.detach().mean() + target_entropy)


def contrastive_loss(
    first: Tensor, second: Tensor, labels: Tensor, confidence: Tensor, bias: float
) -> Tensor:
    """`-log(exp(S+) / (exp(S+) + exp(lambda S-)))` (CPL; a bias below 1 is its conservative form).

    A label between 0 and 1 mixes the losses of both orders.

    Args:
        first: (P,) `S`: how well the policy agrees with the first segments.
        second: (P,) with the second segments.
        labels: (P,) probability that the second is preferred.
        confidence: (P,) weights.
        bias: `lambda`; below 1, agreeing with neither segment costs more than agreeing with both.

    Returns:
        () weighted mean over pairs.
    """
    if_first = functional.softplus(bias * second - first)
    if_second = functional.softplus(bias * first - second)
    return (((1.0 - labels) * if_first + labels * if_second) * confidence).mean()


@torch.no_grad()
def preference_accuracy(first: Tensor, second: Tensor, labels: Tensor) -> Tensor:
    """() share of the pairs, ties left out, whose preferred segment scores higher.

    Args:
        first: (P,) scores of the first segments.
        second: (P,) of the second segments.
        labels: (P,) probability that the second is preferred.
    """
    decided = (labels != 0.5).float()
    right = ((second > first) == (labels > 0.5)).float() * decided
    return right.sum() / decided.sum().clamp(min=1.0)
