from __future__ import annotations

import h5py
import numpy as np
import pytest

from robopref.data.convert.registry import convert
from robopref.data.robomimic import load_dataset, read_env_args, read_trajectories
from robopref.errors import InputError
from tests.data.convert.round_trip import (
    ENV_ARGS,
    assert_equal_files,
    robomimic_file,
    there_and_back,
)


def test_round_trip(tmp_path, make_trajectory, rng):
    episodes = [
        make_trajectory(
            steps,
            observations={"flat": rng.normal(size=(steps + 1, 3))},
            terminated=np.arange(steps) == steps - 1,
            truncated=np.zeros(steps, dtype=bool),
            interventions=rng.random(steps) < 0.5,
        )
        for steps in (3, 1)
    ] + [make_trajectory(2, observations={"flat": np.ones((3, 3))}, interventions=np.ones(2, bool))]
    source = robomimic_file(tmp_path / "a.hdf5", episodes)
    back, there, again = there_and_back(source, "d4rl")
    assert_equal_files(source, back, "behaviour", "seed", "states")
    for ours, theirs in zip(read_trajectories(source), read_trajectories(back), strict=True):
        assert np.array_equal(ours.states[:-1], theirs.states[:-1])
    assert read_env_args(back) == ENV_ARGS
    assert there.notes == (
        "lost: names of the behaviours",
        "lost: seeds",
        "lost: the simulator state after each last action",
    )
    assert again.notes == ()


def test_what_has_no_place_is_said(tmp_path, make_trajectory):
    images = np.zeros((4, 4, 4, 3), dtype=np.uint8)
    observations = {"b": np.ones((4, 1)), "a": np.zeros((4, 2, 1)), "image": images}
    source = robomimic_file(tmp_path / "a.hdf5", [make_trajectory(3, observations=observations)])
    notes = convert(source, tmp_path / "d.hdf5", target_format="d4rl").notes
    assert "lost: images of image" in notes
    assert "lost: names of observations; a, b stand side by side" in notes
    with h5py.File(tmp_path / "d.hdf5") as file:
        assert file["observations"][()].tolist() == [[0.0, 0.0, 1.0]] * 3


@pytest.fixture
def arrays():
    """Two episodes and a half, as of a published file."""
    return {
        "observations": np.arange(14, dtype=np.float32).reshape(7, 2),
        "actions": np.zeros((7, 1), dtype=np.float32),
        "rewards": np.ones(7, dtype=np.float32),
        "terminals": np.array([0, 0, 1, 0, 0, 0, 0], dtype=bool),
        "timeouts": np.array([0, 0, 0, 0, 1, 0, 0], dtype=bool),
        "infos/qpos": np.ones((7, 4)),
        "infos/goal": np.ones((7, 2)),
        "metadata/algorithm": np.array(1),
    }


def write(path, arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


def test_a_published_file(tmp_path, arrays):
    notes = convert(write(tmp_path / "d.hdf5", arrays), tmp_path / "x.hdf5").notes
    dataset = load_dataset(tmp_path / "x.hdf5")
    assert dataset.lengths.tolist() == [3, 2, 2]
    assert dataset.terminated.tolist() == [False, False, True] + [False] * 4
    assert dataset.truncated.tolist() == [False] * 4 + [True, False, True]
    assert dataset.observations["flat"][2:4].tolist() == [[4.0, 5.0], [4.0, 5.0]]
    assert {"infos/qpos", "infos/goal"} == set(next(read_trajectories(tmp_path / "x.hdf5")).extras)
    assert len(notes) == 3  # last observation, last episode, success


def test_next_observations(tmp_path, arrays):
    following = np.roll(arrays["observations"], -1, axis=0)
    following[[2, 4, 6]] = 99
    write(tmp_path / "d.hdf5", {**arrays, "next_observations": following})
    notes = convert(tmp_path / "d.hdf5", tmp_path / "x.hdf5").notes
    dataset = load_dataset(tmp_path / "x.hdf5")
    assert dataset.observations["flat"][[3, 6, 9]].tolist() == [[99.0, 99.0]] * 3
    assert not any("next_observations" in note for note in notes)
    following[0] = -1  # of a file that was relabelled
    write(tmp_path / "e.hdf5", {**arrays, "next_observations": following})
    notes = convert(tmp_path / "e.hdf5", tmp_path / "y.hdf5").notes
    assert any("kept beside them" in note for note in notes)
    first = next(read_trajectories(tmp_path / "y.hdf5"))
    assert np.array_equal(first.extras["next_obs/flat"], following[:3])


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("actions", None, "holds none of the formats"),
        ("rewards", np.ones(6), "rewards has shape"),
        ("rewards", np.array([np.nan] * 7), "holds NaN or infinity"),
        ("observations", np.array(1.0), "observations has shape"),
        ("next_observations", np.ones((7, 3)), "differ in shape"),
        ("infos/success", np.ones((7, 2)), "success must be"),
    ],
)
def test_malformed_input(tmp_path, arrays, name, values, message):
    arrays[name] = values
    write(tmp_path / "d.hdf5", {key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(InputError, match=message):
        convert(tmp_path / "d.hdf5", tmp_path / "x.hdf5")
    assert not (tmp_path / "x.hdf5").exists()


def test_a_file_without_steps(tmp_path, arrays):
    write(tmp_path / "d.hdf5", {name: values[:0] for name, values in arrays.items() if values.ndim})
    with pytest.raises(InputError, match="holds no episode"):
        convert(tmp_path / "d.hdf5", tmp_path / "x.hdf5")
