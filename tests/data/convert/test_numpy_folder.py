from __future__ import annotations

import numpy as np
import pytest

from robopref.data.convert.registry import convert
from robopref.data.robomimic import load_dataset, read_env_args
from robopref.errors import InputError
from robopref.files import write_json
from tests.data.convert.round_trip import (
    ENV_ARGS,
    assert_equal_files,
    robomimic_file,
    there_and_back,
)


def test_round_trip_keeps_every_array(tmp_path, make_trajectory):
    images = np.arange(4 * 4 * 5 * 3, dtype=np.uint8).reshape(4, 4, 5, 3)
    arrays = {
        "observations": {"flat": np.ones((4, 2)), "camera": images},
        "interventions": np.array([True, False, False]),
        "attributes": {"model_file": "<mujoco/>", "gains": np.ones(2)},
        "extras": {"action_dict/gripper": np.zeros((3, 1)), "dones": np.array([0, 1, 1])},
    }
    source = robomimic_file(tmp_path / "a.hdf5", [make_trajectory(3, **arrays) for _ in range(2)])
    back, there, again = there_and_back(source, "numpy")
    assert_equal_files(source, back)
    assert read_env_args(back) == ENV_ARGS
    assert (there.notes, again.notes, again.episodes) == ((), (), 2)


def test_one_observation_has_no_key(tmp_path, make_trajectory):
    episode = make_trajectory(3, observations={"flat": np.ones((4, 2))})
    source = robomimic_file(tmp_path / "a.hdf5", [episode], train=(0,))
    there = convert(source, tmp_path / "n", target_format="numpy")
    assert there.notes == ("lost: filter keys",)
    assert "observations" in np.load(tmp_path / "n" / "episode_000000.npz").files


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    for number in (10, 9):
        np.savez(
            folder / f"take{number}.npz",
            observations=np.full((4, 2), number),
            actions=np.zeros((4, 1)),
        )
    return folder


def test_what_is_missing_is_assumed_and_said(folder, tmp_path):
    write_json(folder / "env.json", {"env_name": "my-robot"})
    notes = convert(folder, tmp_path / "x.hdf5").notes
    assert len(notes) == 4
    assert "the one before stands twice" in notes[0]
    dataset = load_dataset(tmp_path / "x.hdf5")
    assert dataset.env_args == {"env_name": "my-robot"}
    assert dataset.observations["flat"][:, 0].tolist() == [9.0] * 5 + [10.0] * 5
    assert not dataset.rewards.any() and not dataset.success.any() and not dataset.terminated.any()
    assert dataset.truncated.tolist() == [False, False, False, True] * 2


GOOD = {"observations": np.zeros((4, 2)), "actions": np.zeros((3, 1))}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"observations": np.zeros((4, 2))}, "has no array actions; it holds none"),
        ({"actions": np.zeros((3, 1))}, "has no array observations, nor obs/<key>"),
        ({**GOOD, "observations": np.zeros((7, 2))}, "has 7 rows"),
        ({**GOOD, "rewards": np.zeros(4)}, r"rewards must be \(3,\)"),
        (
            {**GOOD, "rewards": np.array([0, np.nan, 0])},
            "rewards holds NaN or infinity, first at s",
        ),
        ({**GOOD, "success": np.array(["a"] * 3)}, "success is no array of numbers"),
        ({**GOOD, "x": np.array([None] * 3)}, "no npz file of arrays"),
        ({**GOOD, "seed": np.zeros(2)}, "one value each"),
        ({**GOOD, "seed": np.array(1.5)}, "seed must be a whole number"),
        ({**GOOD, "../x": np.zeros(3)}, "is no name for an array"),
        ({**GOOD, "actions": np.zeros((0, 1))}, "T > 0"),
        ({**GOOD, "observations": np.zeros((4, 3))}, r"observation flat is \(3,\), but \(2,\)"),
    ],
)
def test_malformed_input_is_refused_in_one_line(folder, tmp_path, arrays, message):
    np.savez(folder / "take11.npz", **arrays)
    with pytest.raises(InputError, match=message) as error:
        convert(folder, tmp_path / "x.hdf5")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "x.hdf5").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["recordings"]


def test_a_failed_folder_leaves_nothing(folder, tmp_path):
    (folder / "take11.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="no npz file"):
        convert(folder, tmp_path / "copy", target_format="numpy")
    assert [path.name for path in tmp_path.iterdir()] == ["recordings"]
