"""`robopref label` and `robopref train-reward` as a user meets them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from robopref.cli import main as cli
from robopref.data.robomimic import save_dataset
from robopref.preferences.dataset import load_preferences
from robopref.rewards.registry import REWARDS, load_reward
from tests.preferences.small_data import random_dataset

DATA = "dataset=data.hdf5"


@pytest.fixture(autouse=True)
def in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_dataset(Path("data.hdf5"), random_dataset(12, steps=10))
    save_dataset(Path("other.hdf5"), random_dataset(12, steps=10, seed=1))


def test_label_then_learn(capsys):
    asked = ("label", DATA, "labeler=mistake", "labeler.mistake=0.2", "pairs=40")
    assert cli.main([*asked, "output=a.parquet"]) == 0
    assert cli.main([*asked, "output=b.parquet"]) == 0
    first, second = load_preferences("a.parquet"), load_preferences("b.parquet")
    assert first.labels.tolist() == second.labels.tolist()
    assert set(first.annotator) == {"mistake"}
    assert cli.main(["label", DATA, "segment_length=4", "name=test", "seed=1"]) == 0
    test = "test_preferences=runs/label/test/preferences.parquet"
    for reward in REWARDS:
        learn = ["train-reward", DATA, "preferences=a.parquet", test, "reward.epochs=2"]
        if reward == "groups":
            learn.append("reward.groups=1")  # there is one annotator
        if reward == "rapl":
            learn.append("reward.encoder=")  # there are no images
        assert cli.main([*learn, f"reward={reward}", f"name={reward}"]) == 0, capsys.readouterr()
        folder = Path("runs/train-reward") / reward
        assert load_reward(folder / "reward").name == reward
        metrics = json.loads((folder / "metrics.json").read_text())
        assert 0.0 <= metrics["test/accuracy"] <= 1.0
        assert 0.0 <= metrics["test/calibration_error"] <= 1.0
        assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
        assert (folder / "config.yaml").is_file()


def test_one_annotators_reward(capsys):
    for name, labeler in (("ana", "oracle"), ("ben", "mistake")):
        more = [] if name == "ana" else ["preferences=ana.parquet", "labeler.mistake=1"]
        asked = ["label", DATA, "pairs=30", f"labeler={labeler}", f"annotator={name}", *more]
        assert cli.main([*asked, f"output={name}.parquet"]) == 0
    learn = ["train-reward", DATA, "preferences=ben.parquet", "reward.epochs=2", "name=both"]
    assert cli.main([*learn, "reward=groups"]) == 0, capsys.readouterr()
    train = ["train", DATA, "evaluation.episodes=0", "training.updates=20", "iql.hidden=[8]"]
    train += ["training.log_every=20", "training.checkpoint_every=20"]
    both = "rewards=runs/train-reward/both/reward"
    assert cli.main([*train, both]) == 0 and cli.main([*train, both, "whose=ben"]) == 0
    capsys.readouterr()
    assert cli.main([*train, both, "whose=eve"]) == 2
    assert "choose from ana, ben" in capsys.readouterr().err
    assert cli.main([*train, "rewards=true", "whose=ana"]) == 2
    assert "whose=ana: is about a reward that was learned before" in capsys.readouterr().err


def test_triplets_are_for_rapl(capsys):
    assert cli.main(["label", DATA, "pairs=20", "output=a.parquet"]) == 0
    learn = ["train-reward", DATA, "preferences=a.parquet", "triplets=none.parquet"]
    capsys.readouterr()
    assert cli.main([*learn, "reward=bradley_terry"]) == 2
    assert "reward bradley_terry learns from none; choose rapl" in capsys.readouterr().err
    assert cli.main([*learn, "reward=rapl", "reward.encoder="]) == 2
    assert "triplets=none.parquet: cannot be read as answers" in capsys.readouterr().err


def test_doubtful_labels_are_dropped(capsys):
    asked = ("label", DATA, "labeler=mistake", "labeler.mistake=0.3", "pairs=60")
    assert cli.main([*asked, "output=a.parquet"]) == 0
    learn = ["train-reward", DATA, "preferences=a.parquet", "reward=bradley_terry"]
    assert cli.main([*learn, "doubtful=drop", "doubtful_share=0.2"]) == 0
    said = capsys.readouterr().out
    assert 48 <= int(re.search(r"from (\d+) pairs, rank", said)[1]) < 60


def test_pessimism_takes_a_deviation_off(capsys):
    assert cli.main(["label", DATA, "pairs=20", "output=a.parquet"]) == 0
    train = ["train", DATA, "pessimism=1", "evaluation.episodes=0", "training.updates=20"]
    train += ["training.log_every=20", "training.checkpoint_every=20", "iql.hidden=[8]"]
    for name, members, code in (("several", 3, 0), ("one", 1, 2)):
        learn = ["train-reward", DATA, "preferences=a.parquet", "reward.epochs=2", f"name={name}"]
        assert cli.main([*learn, "reward=bradley_terry", f"reward.members={members}"]) == 0
        metrics = json.loads(Path(f"runs/train-reward/{name}/metrics.json").read_text())
        looks = {key: share for key, share in metrics.items() if key.startswith("looks_at/")}
        assert len(looks) == 5 and 0.5 < sum(looks.values()) <= 1.0
        capsys.readouterr()
        assert cli.main([*train, f"rewards=runs/train-reward/{name}/reward"]) == code
    assert "predicts no standard deviation" in capsys.readouterr().err


def test_asking_what_the_reward_so_far_disagrees_about(capsys):
    assert cli.main(["label", DATA, "pairs=20", "output=a.parquet"]) == 0
    learn = ["train-reward", DATA, "preferences=a.parquet", "reward.epochs=2", "name=first"]
    assert cli.main(learn) == 0
    so_far = ["rewards=runs/train-reward/first/reward", "preferences=a.parquet"]
    ask = ["label", DATA, "strategy=disagreement", *so_far, "pairs=46", "output=b.parquet"]
    assert cli.main(ask) == 0, capsys.readouterr()
    assert "46 of 46 pairs labelled by oracle, beside 20 earlier ones" in capsys.readouterr().out
    both = load_preferences("b.parquet")
    pairs = {frozenset(p) for p in zip(both.first.episodes, both.second.episodes, strict=True)}
    assert len(both) == len(pairs) == 66  # every pair of 12 episodes, none twice


RANKED = ("label", DATA, "labeler=heron", "pairs=40")


def test_a_ranking_labels_and_shows_its_tree(capsys):
    first = "+labeler.functions.first={key: state, at: [0]}"
    ranking = ("labeler.ranking=[success,first,energy]", "labeler.margins=[0.5,0.5,0]", first)
    assert cli.main([*RANKED, *ranking, "output=a.parquet", "name=ranked"]) == 0, (
        capsys.readouterr()
    )
    folder, said = Path("runs/label/ranked"), capsys.readouterr().out
    preferences = load_preferences("a.parquet")
    metrics = json.loads((folder / "metrics.json").read_text())
    decided = [metrics[f"decided_by/{name}"] for name in ("success", "first", "energy")]
    assert set(preferences.annotator) == {"heron"} and set(preferences.source) == {"heron"}
    assert sum(decided) == len(preferences) and min(decided[1:]) > 0
    assert f"success: decides {decided[0]} of 40 pairs" in said
    assert (folder / "hierarchy.png").stat().st_size > 1_000
    assert cli.main(["train-reward", DATA, "preferences=a.parquet", "reward.epochs=2"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*RANKED, "labeler.ranking=[succes]"), "ranking names succes, which data.hdf5 lacks"),
        (RANKED, "ranking=[]: name at least one factor"),
        ((*RANKED, "labeler.ranking=[energy,energy]"), "energy more than once"),
        ((*RANKED, "labeler.ranking=[energy]", "labeler.margins=[-1]"), "margins holds -1.0"),
        ((*RANKED, "labeler.ranking=[energy]", "labeler.margins=[99]"), "none of 40 pairs"),
        (
            (*RANKED, "labeler.ranking=[a]", "+labeler.functions.a={kee: flat, at: [0]}"),
            "is of the form {key: flat",
        ),
        ((*RANKED, "labeler.ranking=[a]", "+labeler.functions.a={key: b, at: [0]}"), "'b'"),
        (("label", DATA, "pairs=100"), "pairs=100: 12 segments give between 1 and 66"),
        (("label", DATA, "segment_length=11"), "segment_length=11: the longest episode"),
        (("label", "dataset=none.hdf5"), "none.hdf5: no such file"),
        (("label", DATA, "labeler=guess"), "labeler"),
        (("label", DATA, "strategy=guess"), "strategy=guess: no such way to ask; choose from"),
        (("label", DATA, "strategy=entropy", "pairs=9"), "strategy=entropy: looks at a reward"),
        (("label", DATA, "preferences=a.parquet", "pairs=47"), "between 1 and 46 different pairs"),
        (("label", "dataset=other.hdf5", "preferences=a.parquet"), "was given for dataset"),
        (("train-reward", DATA, "preferences=none.parquet"), "none.parquet: no such file"),
        (("train-reward", "dataset=other.hdf5", "preferences=a.parquet"), "was given for dataset"),
        (("train-reward", DATA, "preferences=a.parquet", "reward.epochs=0"), "reward.epochs=0"),
        (("train-reward", DATA, "preferences=data.hdf5"), "not a Parquet file"),
        (("train-reward", DATA, "preferences=a.parquet", "doubtful=guess"), "no such way"),
    ],
)
def test_wrong_input_is_one_line(arguments, message, capsys):
    assert cli.main(["label", DATA, "pairs=20", "output=a.parquet", "name=made"]) == 0
    capsys.readouterr()
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said
    assert [path.name for path in Path("runs").rglob("*") if path.is_dir()] == ["label", "made"]
