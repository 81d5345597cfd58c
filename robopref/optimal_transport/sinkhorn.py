"""Entropic optimal transport between many pairs of sequences at once.

min_P <P, C> - reg * H(P) with given marginals (Cuturi 2013, arXiv 1306.0895), solved by Sinkhorn's
scaling. The scaling runs as batched matrix products on a kernel that is made anew from the dual
potentials every few rounds (Schmitzer 2019, arXiv 1610.06519, section 3.2: absorption), so that it
is as safe as one in the log domain and needs an exponential only then.

Shape letters: `B` pairs, `T` and `S` points of the first and second side, padded.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 10
"""Scalings between two absorptions, few enough that single precision does not overflow."""
TINY = 1e-30


@torch.no_grad()
def sinkhorn_plans(
    costs: Tensor,
    first: Tensor,
    second: Tensor,
    regularization: float,
    tolerance: float = 1e-6,
    most_rounds: int = 2_000,
) -> Tensor:
    """Transport plans of a batch of problems.

    Args:
        costs: (B, T, S), finite.
        first: (B, T) masses of the first side; 0 on padding.
        second: (B, S) masses of the second side; 0 on padding, with the same sums.
        regularization: weight of the entropy, in the unit of the costs.
        tolerance: largest sum of the errors of the second side's masses, of any pair.
        most_rounds: scalings at most.

    Returns:
        (B, T, S) plans; rows sum to `first`, columns to `second` within the tolerance.
    """
    u, kernel, v, _ = _scaled(costs, first, second, regularization, tolerance, most_rounds)
    return u.mT * kernel * v


@torch.no_grad()
def sinkhorn_potentials(
    costs: Tensor,
    first: Tensor,
    second: Tensor,
    regularization: float,
    tolerance: float = 1e-6,
    most_rounds: int = 2_000,
) -> Tensor:
    """Dual potentials of the second side, in units of the regularisation and up to a constant each.

    They carry any further point of the first side, as its row of the plan would: its share of
    point `j` is the softmax over `j` of `g_j - cost_j / regularization` (Seguy et al. 2018, arXiv
    1711.02283, section 2). Arguments are those of `sinkhorn_plans`.

    Returns:
        (B, S) potentials.
    """
    _, _, v, g = _scaled(costs, first, second, regularization, tolerance, most_rounds)
    return g + v.squeeze(1).clamp_min(TINY).log()


def _scaled(
    costs: Tensor,
    first: Tensor,
    second: Tensor,
    regularization: float,
    tolerance: float,
    most_rounds: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scalings (B, 1, T) and (B, 1, S) of a kernel (B, T, S), and (B, S) potentials within it."""
    scaled = costs / -regularization
    # Potentials, in units of the regularisation; as such that no kernel entry exceeds 1.
    f = -scaled.amax(2)
    g = torch.zeros_like(second)
    rows, columns = first.unsqueeze(1), second.unsqueeze(1)
    u, v = torch.ones_like(rows), torch.ones_like(columns)
    for _ in range(max(most_rounds // ROUNDS, 1)):
        f = f + u.squeeze(1).clamp_min(TINY).log()
        g = g + v.squeeze(1).clamp_min(TINY).log()
        kernel = torch.add(scaled, f.unsqueeze(2)).add_(g.unsqueeze(1)).exp_()
        # A row vector times a matrix is six times as fast as a matrix times a column vector.
        transposed = kernel.mT.contiguous()
        v = torch.ones_like(columns)
        for _ in range(ROUNDS):
            u = rows / torch.bmm(v, transposed).clamp_min_(TINY)
            reached = torch.bmm(u, kernel)
            # The rows are exact now, so what the columns lack is the error.
            error = (v * reached).sub_(columns).abs_().sum(2).amax()
            if error < tolerance:
                return u, kernel, v, g
            v = columns / reached.clamp_min_(TINY)
    return u, kernel, v, g
