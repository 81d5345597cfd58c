"""`robopref train policy=dpo images=true` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from robopref.cli import main as cli
from robopref.networks import pretrained
from robopref.policies.registry import load_policy
from robopref.policies.visual import VisualPolicy

SHORT = ("dataset=points.hdf5", "training.updates=20", "training.log_every=10",
         "training.checkpoint_every=10", "evaluation.episodes=0")  # fmt: skip
CLONE = ("train", *SHORT, "policy=behavior_cloning", "behavior_cloning.hidden=[8]")
TUNE = ("train", *SHORT, "policy=dpo", "preferences=labels.parquet")
LOOKING, BLIND = (f"dpo.pretrained=runs/train/{name}/policy" for name in ("looking", "blind"))


@pytest.fixture(autouse=True)
def points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten())
    monkeypatch.setattr(pretrained, "_load", lambda name: network)
    monkeypatch.chdir(tmp_path)
    made = ("mix=expert", "horizon=10", "episodes=6", "cameras=[top]", "image_size=16", "workers=1")
    assert cli.main(["collect", "env=toy/point-mass-v0", *made, "output=points.hdf5"]) == 0
    assert cli.main(["label", "dataset=points.hdf5", "pairs=12", "output=labels.parquet"]) == 0


@pytest.mark.parametrize("encoder", ["", "small"])
def test_it_is_tuned_resumed_and_played(encoder: str) -> None:
    looks = ("images=true", f"encoder.pretrained={encoder}", "encoder.crop=1")
    assert cli.main([*CLONE, *looks, "name=looking"]) == 0
    features = sorted(Path().glob("points.hdf5.*.npy"))
    assert len(features) == bool(encoder)
    made = [path.stat().st_mtime_ns for path in features]
    tune = [*TUNE, LOOKING, "images=true"]
    assert cli.main([*tune, "name=whole"]) == 0
    assert cli.main([*tune, "training.updates=10", "name=part"]) == 0
    assert cli.main(["train", "resume=runs/train/part", "training.updates=20"]) == 0
    assert [path.stat().st_mtime_ns for path in features] == made  # encoded once for all
    policies = {name: load_policy(f"runs/train/{name}/policy") for name in ("whole", "part")}
    weights = [policy.state_dict() for policy in policies.values()]
    assert isinstance(policies["whole"], VisualPolicy)
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    play = ("dataset=points.hdf5", "episodes=2", "workers=1")
    assert cli.main(["evaluate", "policy=runs/train/whole/policy", *play]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([BLIND, "images=true"], "policy: does not look at images; leave out images="),
        ([LOOKING], "policy: looks at images; give images=true"),
        ([LOOKING, "images=true", "encoder.crop=2"], "encoder=: policy=dpo keeps the pre-trained"),
        ([LOOKING, "images=true", "dataset=small.hdf5"], "those of the dataset are (3, 8, 8)"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*CLONE, "name=blind"]) == 0
    assert cli.main([*CLONE, "images=true", "encoder.crop=1", "name=looking"]) == 0
    small = ("cameras=[top]", "image_size=8", "mix=expert", "episodes=1", "workers=1")
    assert cli.main(["collect", "env=toy/point-mass-v0", *small, "output=small.hdf5"]) == 0
    capsys.readouterr()
    assert cli.main([*TUNE, *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and message in said
