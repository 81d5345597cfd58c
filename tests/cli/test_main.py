"""The command line as a user meets it: exit codes, one-line errors, help."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import yaml

from robopref.cli import main as cli
from robopref.data.robomimic import count_episodes, load_dataset

TOY = ("collect", "env=toy/point-mass-v0", "mix=expert", "horizon=10", "workers=1")


@pytest.fixture(autouse=True)
def in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def robopref(capsys):
    """Runs a command; returns its exit code, output and errors."""

    def run(*arguments):
        code = cli.main(arguments)
        said = capsys.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err)

    return run


def test_help_lists_the_commands(robopref):
    said = robopref("--help")
    assert said.code == 0
    assert all(f"\n  {name} " in said.out for name in cli.COMMANDS)
    assert robopref().code == 2
    assert robopref("--version").out.startswith("robopref 0.")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help_with_examples(robopref, command):
    said = robopref(command, "--help")
    assert said.code == 0
    assert f"Examples:\n  robopref {command} " in said.out


def test_help_shows_every_option_with_its_default(robopref):
    out = robopref("collect", "--help").out
    assert "  episodes=120\n      Episodes that the file is to hold." in out
    assert "  mix=expert|mixed|mixed_noisy|multi_human|policy|scarce|scarce_noisy|xmagical\n" in out
    assert "  env=(must be given)\n" in out


def test_collect_writes_the_file_and_the_run(robopref, tmp_path):
    said = robopref(*TOY, "episodes=3", "mix.noise=0.0", "name=first")
    assert said.code == 0, said.err
    path = tmp_path / "data" / "toy" / "point-mass-v0-expert.hdf5"
    assert said.out.splitlines()[-1].startswith(
        "data/toy/point-mass-v0-expert.hdf5: 3 episodes, 30 steps, "
    )
    dataset = load_dataset(path)
    assert dataset.env_args["collected"] == {
        "seed": 0,
        "mix": {"shares": {"expert": 1.0}, "noise": 0.0},
    }
    config = yaml.safe_load((tmp_path / "runs/collect/first/config.yaml").read_text())
    assert config["episodes"] == 3
    assert config["output"] == "data/toy/point-mass-v0-expert.hdf5"
    metrics = json.loads((tmp_path / "runs/collect/first/metrics.json").read_text())
    assert metrics["steps"] == 30
    assert metrics["success_rate"] == dataset.episode_success.mean()


def test_collect_goes_on_with_a_file(robopref):
    assert robopref(*TOY, "episodes=2", "output=x.hdf5").code == 0
    assert robopref(*TOY, "episodes=5", "output=x.hdf5").code == 0
    assert load_dataset("x.hdf5").lengths.tolist() == [10] * 5


def test_sweeps_run_every_combination(robopref, tmp_path):
    said = robopref(*TOY, "-m", "episodes=1,2", "seed=0,1", "output='e${episodes}s${seed}.hdf5'")
    assert said.code == 0, said.err
    assert [count_episodes(tmp_path / f"e{e}s{s}.hdf5") for e in (1, 2) for s in (0, 1)] == [
        1, 1, 2, 2
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["colect"], "colect: no such command; choose from collect"),
        (["collect"], "env=: must be given"),
        ([*TOY, "episods=3"], "episods: no such option"),
        ([*TOY, "+new=3"], "new: no such option"),
        ([*TOY, "mix.shares={random:1}"], "mix.shares.random: not there yet; +mix.shares.random="),
        ([*TOY, "episodes=many"], "'many' of type 'str' could not be converted to Integer"),
        ([*TOY, "episodes=0"], "episodes=0: must be at least 1"),
        ([*TOY, "episodes"], "episodes: is not of the form option=value"),
        ([*TOY, "--episodes=3"], "--episodes=3: is not of the form option=value"),
        ([*TOY, "mix=best"], "Available options in 'mix': expert mixed"),
        ([*TOY, "mix=null"], "must be a string or a list"),
        ([*TOY, "mix=mixed"], "no such behaviour; choose from expert, random, stop"),
        ([*TOY, "seed=1,2"], "Ambiguous value for argument 'seed=1,2'"),
        ([*TOY, "-m", "--seed=1,2"], "--seed=1,2: is not of the form option=value"),
        ([*TOY, "-m", "seed=1,x"], "could not be converted to Integer"),
        ([*TOY, "env=toy/point-mas-v0"], "did you mean toy/point-mass-v0"),
        ([*TOY, "env=point-mass-v0"], "did you mean toy/point-mass-v0"),
        ([*TOY, "env=CartPole-v1"], "does not take all of horizon"),
        ([*TOY, "output=."], "a folder, not a file"),
        ([*TOY, "output=taken/x.hdf5"], "cannot be written"),
        ([*TOY, "output=taken"], "damaged or not an HDF5 file"),
        (["data", "inform", "x"], "data inform: no such action; choose from info, validate"),
        (["data", "info"], "needs one file, found 0"),
        (["data", "info", "missing.hdf5"], "missing.hdf5: no such file"),
        (["data", "info", "taken"], "damaged or not an HDF5 file"),
        (["data", "validate", "taken"], "damaged or not an HDF5 file"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(robopref, tmp_path, arguments, message):
    (tmp_path / "taken").write_text("a text")
    said = robopref(*arguments)
    assert said.code == 2
    assert said.err.splitlines()[-1].startswith("robopref: ")
    assert message in said.err.splitlines()[-1]
    assert "Traceback" not in said.err
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "multirun.yaml"]
    assert left == [tmp_path / "taken"]


def test_a_run_is_never_overwritten(robopref):
    assert robopref(*TOY, "episodes=1", "name=one").code == 0
    said = robopref(*TOY, "episodes=1", "name=one", "output=other.hdf5")
    assert (said.code, said.err) == (
        2,
        "robopref: runs/collect/one: this run exists already; choose another name=\n",
    )


def test_a_run_that_was_killed_before_it_began_can_begin_again(robopref, tmp_path):
    """An earlier version made the folder first and wrote the config into it a moment later."""
    folder = tmp_path / "runs" / "collect" / "one"
    folder.mkdir(parents=True)
    assert robopref(*TOY, "episodes=1", "name=one").code == 0
    assert sorted(path.name for path in folder.parent.iterdir()) == ["one"]
    assert (folder / "config.yaml").is_file()


def test_defects_keep_their_traceback(monkeypatch):
    def broken(arguments):
        raise RuntimeError("a defect")

    monkeypatch.setattr("robopref.cli.data.main", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        cli.main(["data"])


def test_data_info_and_validate(robopref):
    robopref(*TOY, "episodes=4", "output=x.hdf5")
    out = robopref("data", "info", "x.hdf5").out
    dataset = load_dataset("x.hdf5")
    for fact in (
        "toy/point-mass-v0", dataset.fingerprint, "4 of 10 to 10 steps", "expert 4",
        "observations/flat", "(4,) float32", f"{100 * dataset.episode_success.mean():.1f} %",
    ):  # fmt: skip
        assert fact in out, fact
    said = robopref("data", "validate", "x.hdf5")
    assert (said.code, said.out) == (0, "x.hdf5: sound, 4 episodes\n")


def test_validate_lists_every_problem(robopref, tmp_path):
    import h5py

    robopref(*TOY, "episodes=3", "output=x.hdf5")
    with h5py.File(tmp_path / "x.hdf5", "a") as file:
        file["data/demo_0/rewards"][2] = float("nan")
        del file["data/demo_2/actions"]
    said = robopref("data", "validate", "x.hdf5")
    assert said.code == 2
    assert "demo_0/rewards: holds NaN" in said.out
    assert "demo_2: has no 'actions'" in said.out
    assert said.err == "robopref: x.hdf5: 2 problem(s), listed above\n"
