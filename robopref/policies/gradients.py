"""Losses of IQL and SAC with their gradients by hand, with respect to what the networks put out.

The equations are in `losses`; tests compare each gradient here with autograd's of its loss there.
The networks' own passes take over from here (`networks.explicit`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from robopref.networks.actor_critic import LOG_STD_RANGE
from robopref.policies.losses import cloning_loss


def expectile_gradient(difference: Tensor, expectile: float) -> tuple[Tensor, Tensor]:
    """`expectile_loss` () of `Q - V` (B,), and its gradient (B,) with respect to `V`."""
    asymmetry = torch.where(difference < 0, 1.0 - expectile, expectile)
    gradient = asymmetry.mul_(difference).mul_(-2.0 / len(difference))
    return torch.dot(gradient, difference).mul_(-0.5), gradient


def critic_gradient(values: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """`critic_loss` () of `values` (E, B), and its gradient (E, B) with respect to them."""
    errors = values - targets
    loss = errors.square().sum().div_(values.shape[1])
    return loss, errors.mul_(2.0 / values.shape[1])


class WeightedRegression(NamedTuple):
    """`weighted_regression_loss` of a `GaussianActor`, and its gradients."""

    loss: Tensor
    """()"""
    trunk: Tensor
    """(B, A) gradient with respect to what its trunk puts out."""
    log_std: Tensor
    """(A,) gradient with respect to its log standard deviations."""


def weighted_regression_gradients(
    outputs: Tensor, log_std: Tensor, actions: Tensor, weights: Tensor
) -> WeightedRegression:
    """The loss under a Gaussian with mean `tanh(outputs)`, and its gradients.

    Args:
        outputs: (B, A) of the actor's trunk.
        log_std: (A,) as stored, clamped here as the actor does.
        actions: (B, A)
        weights: (B,)
    """
    clamped = log_std.clamp(*LOG_STD_RANGE)
    inverse_std = torch.exp(-clamped)
    means = torch.tanh(outputs)
    errors = (actions - means).mul_(inverse_std)
    squares = errors.square()
    constant = clamped.sum() + 0.5 * outputs.shape[1] * math.log(2.0 * math.pi)
    shares = weights / -len(weights)  # of each row in the gradient of the log-probabilities
    loss = torch.dot(squares.sum(-1).mul_(-0.5).sub_(constant), shares)
    within = clamped == log_std
    log_std_gradient = torch.mv(squares.sub_(1.0).T, shares).mul_(within)
    errors.mul_(inverse_std).mul_(shares.unsqueeze(-1))
    trunk = errors.addcmul_(errors, means.square_(), value=-1.0)
    return WeightedRegression(loss, trunk, log_std_gradient)


class SquashedActions(NamedTuple):
    """Actions drawn by a `SquashedGaussianActor`, with what their gradients need."""

    actions: Tensor
    """(B, A) in [-1, 1]."""
    log_probs: Tensor
    """(B,)"""
    spread: Tensor
    """(B, A) noise times standard deviation."""
    within: Tensor
    """(B, A) 1 where the log standard deviation is not clamped."""
    mean: Tensor
    """(B, A) before the tanh."""


def squashed_actions(outputs: Tensor, noise: Tensor) -> SquashedActions:
    """Draws actions from what the trunk of a `SquashedGaussianActor` puts out.

    Args:
        outputs: (B, 2A) means and log standard deviations.
        noise: (B, A) standard normal.
    """
    mean, raw = outputs.chunk(2, dim=-1)
    log_std = raw.clamp(*LOG_STD_RANGE)
    spread = log_std.exp().mul_(noise)
    before = mean + spread
    # As in `SquashedGaussianActor.sample`: log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u)).
    density = (before + functional.softplus(-2.0 * before)).mul_(2.0)
    density.sub_(log_std).addcmul_(noise, noise, value=-0.5)
    constant = (2.0 * math.log(2.0) + 0.5 * math.log(2.0 * math.pi)) * noise.shape[1]
    within = (log_std == raw).to(outputs.dtype)
    return SquashedActions(torch.tanh(before), density.sum(-1) - constant, spread, within, mean)


def soft_actor_gradients(
    drawn: SquashedActions, action_gradients: Tensor, temperature: Tensor
) -> Tensor:
    """(B, 2A) gradient of `soft_actor_loss` with respect to what the actor's trunk puts out.

    With `a = tanh(u)` the derivative of log pi along `u` is `2 a`, and `u` moves with the mean
    by 1 and with the log standard deviation by `spread`, which also enters log pi itself by -1.

    Args:
        drawn: `B` actions.
        action_gradients: (B, A) gradient of `-mean Q(s, a)` with respect to the actions.
        temperature: ()
    """
    actions = drawn.actions
    share = temperature / len(actions)
    before = action_gradients.mul(1.0 - actions.square()).add_(actions * (2.0 * share))
    log_std = (before * drawn.spread).sub_(share).mul_(drawn.within)
    return torch.cat([before, log_std], dim=-1)


def cloning_gradient(mean: Tensor, actions: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """() `cloning_loss` of the actions `tanh(mean)`, and its (B, A) gradient by `mean`.

    Args:
        mean: (B, A) before the tanh.
        actions: (B, A)
        weights: (B,) of 0 and 1.
    """
    own = torch.tanh(mean)
    share = (weights / weights.sum().clamp(min=1.0)).unsqueeze(-1)
    gradient = (1.0 - own.square()).mul_(own - actions).mul_(2.0 * share)
    return cloning_loss(own, actions, weights), gradient
