"""RLPD: reinforcement learning with prior data (Ball, Smith, Kostrikov and Levine 2023).

arXiv 2302.02948, Algorithm 1: SAC with an ensemble of ten critics whose hidden layers are
normalised, targets from random pairs of them, many critic steps per step of the robot, and batches
half from demonstrations (`training.online`). Everything is SAC's; only the defaults differ.
"""

from __future__ import annotations

from dataclasses import dataclass

from robopref.policies.sac import SAC, SACConfig


@dataclass
class RLPDConfig(SACConfig):
    """The paper's settings, with fewer critic steps, as two cores have no GPU to hide twenty."""

    critics: int = 10
    layer_norm: bool = True
    actor_reads_mean: bool = True
    critic_steps: int = 4


class RLPD(SAC):
    """SAC under another name, so that a saved policy says how it was trained."""

    name = "rlpd"
