"""What a policy does, recorded: `robopref collect mix=policy`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from robopref.cli import main as cli
from robopref.data.images import camera_images
from robopref.data.robomimic import load_dataset
from robopref.policies.behavior_cloning import BehaviorCloningConfig
from robopref.policies.iql import IQLConfig
from robopref.policies.registry import new_policy
from robopref.policies.visual import VisualConfig

OWN = ("collect", "env=toy/point-mass-v0", "mix=policy", "mix.policy=saved", "workers=1",
       "horizon=8", "output=own.hdf5")  # fmt: skip
LOOKS = ("cameras=[top]", "image_size=16")


@pytest.fixture(autouse=True)
def looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    config = VisualConfig("behavior_cloning", BehaviorCloningConfig([16]), [3, 16, 16])
    policy = new_policy(config, 2, 2, 0)
    policy.save(Path("saved"))
    return policy


def test_it_is_what_the_policy_does(looking: Any) -> None:
    assert cli.main([*OWN, *LOOKS, "episodes=3"]) == 0
    assert cli.main([*OWN, *LOOKS, "episodes=5", "workers=2"]) == 0  # goes on
    whole = [*OWN, *LOOKS, "episodes=5", "output=whole.hdf5"]
    assert cli.main(whole) == 0
    own = load_dataset("own.hdf5", states=True)
    assert own.fingerprint == load_dataset("whole.hdf5").fingerprint
    assert own.states is not None and own.env_args["collected"].keys() == {"seed", "policy"}
    assert own.lengths.tolist() == [8] * 5 and set(own.behaviours) == {"policy"}
    images, rows = camera_images(own.observations), own.observation_rows
    means = looking.act(own.flat_observations[rows], images=images[rows])
    spread = (own.actions - means).std()
    assert 0.05 < spread < 2.0  # drawn at random, around what the policy means to do


def test_other_weights_are_other_settings(looking: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*OWN, *LOOKS, "episodes=1"]) == 0
    new_policy(looking.config, 2, 2, 1).save(Path("saved"))
    assert cli.main([*OWN, *LOOKS, "episodes=2"]) == 2
    assert "was collected with other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*OWN[:3]], "mix.policy=: must be given"),
        ([*OWN, "mix.policy=none"], "none/policy.json: no such file"),
        ([*OWN, "+mix.noise=0.1"], "takes mix.policy and nothing beside it"),
        ([*OWN], "images: the observations have none"),
        ([*OWN, *LOOKS, "image_size=8"], "expects images (B, *(3, 16, 16)), found (3, 8, 8)"),
        ([*OWN, "mix.policy=other"], "takes actions (2,), but the policy gives (3,)"),
        ([*OWN, "env=toy/point-mas-v0"], "did you mean toy/point-mass-v0"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new_policy(IQLConfig([8]), 4, 3, 0).save(Path("other"))
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and message in said
    assert not Path("own.hdf5").exists()
