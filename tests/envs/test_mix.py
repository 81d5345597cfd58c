from __future__ import annotations

import numpy as np
import pytest
import yaml

from robopref.cli.config import shipped_folder
from robopref_envs.demonstrators import BEHAVIOURS
from robopref_envs.mix import Mix
from robopref_envs.xmagical_experts import BEHAVIOURS as PUSHERS

PRESETS = sorted((shipped_folder("configs") / "mix").glob("*.yaml"))
PRESETS = [path for path in PRESETS if path.stem != "policy"]  # of no scripted behaviour


def test_behaviours_are_drawn_by_their_shares(rng):
    mix = Mix.parse({"shares": {"a": 3, "b": 1, "c": 0}}, ("a", "b", "c"))
    drawn = [mix.draw(rng)[0] for _ in range(2000)]
    assert drawn.count("a") / 2000 == pytest.approx(0.75, abs=0.04)
    assert drawn.count("c") == 0


def test_noise_is_of_one_distribution_except_for_noisy(rng):
    mix = Mix.parse(
        {"shares": {"good": 1, "bad": 1, "noisy": 1}, "noise": 0.2, "noisy_noise": 1.0},
        ("good", "bad", "noisy"),
    )
    noise: dict[str, list[float]] = {"good": [], "bad": [], "noisy": []}
    for _ in range(3000):
        behaviour, level = mix.draw(rng)
        noise[behaviour].append(level)
    for behaviour, low, high in (("good", 0.0, 0.2), ("bad", 0.0, 0.2), ("noisy", 0.5, 1.0)):
        assert low <= min(noise[behaviour]) and max(noise[behaviour]) <= high
        assert np.mean(noise[behaviour]) == pytest.approx((low + high) / 2, rel=0.1)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_presets_are_sound(path):
    known = PUSHERS if path.stem == "xmagical" else BEHAVIOURS
    mix = Mix.parse(yaml.safe_load(path.read_text()), known)
    assert sum(mix.shares.values()) == pytest.approx(1.0)
