from __future__ import annotations

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest

from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import (
    append_trajectories,
    count_episodes,
    find_problems,
    load_dataset,
    read_env_args,
    save_dataset,
)
from robopref.errors import InputError

ENV_ARGS = {"env_name": "toy/point-mass-v0", "type": 2, "env_kwargs": {"horizon": 5}}


@pytest.fixture
def dataset(make_trajectory):
    trajectories = [make_trajectory(length) for length in (4, 2, 3)]
    return TrajectoryDataset.from_trajectories(trajectories, ENV_ARGS)


@pytest.fixture
def path(tmp_path, dataset):
    path = tmp_path / "data.hdf5"
    save_dataset(path, dataset)
    return path


def test_round_trip(path, dataset):
    read = load_dataset(path, states=True)
    assert read.fingerprint == dataset.fingerprint
    assert read.env_args == ENV_ARGS == read_env_args(path)
    assert read.behaviours == dataset.behaviours
    assert read.seeds == dataset.seeds
    for name in ("rewards", "terminated", "truncated", "success", "states", "lengths"):
        assert np.array_equal(getattr(read, name), getattr(dataset, name)), name
    assert np.array_equal(read.factors["distance"], dataset.factors["distance"])


def test_interventions_and_images_round_trip(tmp_path, make_trajectory):
    images = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
    given = make_trajectory(
        2, observations={"image": images}, interventions=np.array([True, False])
    )
    append_trajectories(tmp_path / "x.hdf5", [given], ENV_ARGS)
    read = load_dataset(tmp_path / "x.hdf5")[0]
    assert read.observations["image"].dtype == np.uint8
    assert np.array_equal(read.observations["image"], images)
    assert read.interventions.tolist() == [True, False]


def test_appending_keeps_order_beyond_ten_episodes(tmp_path, make_trajectory):
    path = tmp_path / "many.hdf5"
    for first in range(0, 12, 4):
        added = [make_trajectory(1 + index) for index in range(first, first + 4)]
        assert append_trajectories(path, added, ENV_ARGS) == first + 4
    assert load_dataset(path).lengths.tolist() == list(range(1, 13))
    assert load_dataset(path, episodes=[10, 2]).lengths.tolist() == [11, 3]
    with h5py.File(path) as file:
        assert file["data"].attrs["total"] == sum(range(1, 13))


def test_saving_over_a_file_is_refused(path, dataset):
    with pytest.raises(InputError, match="already exists"):
        save_dataset(path, dataset)


def published_style(path, *, next_obs: bool, dones=(0, 1, 0, 1)) -> None:
    """A file as robomimic's own scripts write it, without robopref's additions."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {}})
        demo = data.create_group("demo_0")
        demo.attrs["num_samples"] = 4
        demo["actions"] = np.zeros((4, 7))
        demo["rewards"] = np.array([0.0, 1.0, 0.0, 1.0])
        demo["dones"] = np.array(dones)
        demo["states"] = np.zeros((4, 6))
        demo["obs/eef"] = np.arange(8.0).reshape(4, 2)
        if next_obs:
            demo["next_obs/eef"] = np.arange(2.0, 10.0).reshape(4, 2)


def test_published_files_are_read(tmp_path):
    published_style(tmp_path / "lift.hdf5", next_obs=True)
    episode = load_dataset(tmp_path / "lift.hdf5", states=True)[0]
    assert episode.observations["eef"][-1].tolist() == [8.0, 9.0]
    # robomimic marks success in the middle as done; only the end of the recording terminates
    assert episode.terminated.tolist() == [False, False, False, True]
    assert episode.truncated.tolist() == [False] * 4
    assert episode.success.tolist() == [False, True, False, True]
    assert episode.behaviour == ""


def test_an_episode_that_was_cut_off_is_truncated(tmp_path):
    published_style(tmp_path / "lift.hdf5", next_obs=True, dones=(0, 0, 0, 0))
    episode = load_dataset(tmp_path / "lift.hdf5")[0]
    assert episode.terminated.tolist() == [False] * 4
    assert episode.truncated.tolist() == [False, False, False, True]


def test_without_next_obs_the_last_observation_stands_twice(tmp_path):
    published_style(tmp_path / "raw.hdf5", next_obs=False)
    episode = load_dataset(tmp_path / "raw.hdf5")[0]
    assert len(episode) == 4
    assert episode.observations["eef"].tolist()[-2:] == [[6.0, 7.0], [6.0, 7.0]]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda demo: demo.__delitem__("actions"), "has no 'actions'"),
        (lambda demo: demo.__delitem__("obs"), "has no 'obs'"),
        (lambda demo: demo.__delitem__("next_obs/goal"), "has obs but not 'next_obs/goal'"),
        (lambda demo: demo["rewards"].__setitem__(1, np.nan), "rewards: holds NaN .* step 1"),
        (
            lambda demo: demo["obs/flat"].__setitem__((0, 2), np.inf),
            "obs/flat: holds NaN .* step 0",
        ),
        (lambda demo: resize(demo, "rewards", 1), "rewards has 1 rows"),
        (lambda demo: resize(demo, "next_obs/flat", 1), r"differs from obs"),
        (lambda demo: resize(demo, "actions", 0), "T > 0"),
    ],
)
def test_a_damaged_episode_is_named(path, damage, message):
    with h5py.File(path, "a") as file:
        damage(file["data/demo_1"])
    with pytest.raises(InputError, match=rf"data\.hdf5: data/demo_1.*{message}"):
        load_dataset(path)
    problems = find_problems(path)
    assert len(problems) == 1
    assert "demo_1" in problems[0]


def resize(demo: h5py.Group, name: str, rows: int) -> None:
    values = demo[name][:rows]
    del demo[name]
    demo[name] = values


def test_every_problem_is_found(path):
    with h5py.File(path, "a") as file:
        del file["data/demo_0/actions"]
        file["data/demo_2/rewards"][0] = np.nan
    assert [line.split(":")[1].strip()[:11] for line in find_problems(path)] == [
        "data/demo_0",
        "data/demo_2",
    ]


def test_a_sound_file_has_no_problem(path):
    assert find_problems(path) == []


def test_files_that_are_no_datasets_are_refused(tmp_path, path):
    with pytest.raises(InputError, match="no such file"):
        load_dataset(tmp_path / "missing.hdf5")
    (tmp_path / "text.hdf5").write_text("not HDF5")
    with pytest.raises(InputError, match="damaged or not an HDF5 file"):
        load_dataset(tmp_path / "text.hdf5")
    with h5py.File(tmp_path / "empty.hdf5", "w") as file:
        file.create_group("data")
    with pytest.raises(InputError, match="has no episodes under data/"):
        load_dataset(tmp_path / "empty.hdf5")
    with h5py.File(path, "a") as file:
        file["data"].attrs["env_args"] = "{not json"
    with pytest.raises(InputError, match=r"env_args.* is not JSON"):
        load_dataset(path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_truncated_files_are_refused(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="damaged or not an HDF5 file"):
        load_dataset(path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data["demo_1"].create_group("actions"),
        lambda data: data["demo_1"].create_dataset("actions", data="text"),
        lambda data: data["demo_1"].create_dataset("actions", data=["a", "b"]),
        lambda data: data["demo_1"].create_dataset("actions", data=h5py.Empty("f")),
        lambda data: data.create_dataset("demo_9", data=1.0),
    ],
)
def test_things_of_the_wrong_kind_are_refused(path, spoil):
    with h5py.File(path, "a") as file:
        del file["data/demo_1/actions"]
        spoil(file["data"])
    with pytest.raises(InputError):
        load_dataset(path)
    assert find_problems(path)


def test_a_failed_append_keeps_the_file(path, make_trajectory, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr(
        "robopref.data.robomimic._write", lambda *_: (_ for _ in ()).throw(RuntimeError("full"))
    )
    with pytest.raises(RuntimeError):
        append_trajectories(path, [make_trajectory(2)], ENV_ARGS)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_counting(path, tmp_path):
    assert count_episodes(path) == 3
    assert count_episodes(tmp_path / "missing.hdf5") == 0


def test_robomimic_itself_reads_our_files(path):
    pytest.importorskip("robomimic")
    from robomimic.utils.dataset import SequenceDataset
    from robomimic.utils.file_utils import get_env_metadata_from_dataset

    assert get_env_metadata_from_dataset(str(path))["env_name"] == ENV_ARGS["env_name"]
    sequences = SequenceDataset(
        str(path),
        obs_keys=["flat", "goal"],
        dataset_keys=["actions", "rewards", "dones"],
        load_next_obs=True,
        seq_length=1,
        frame_stack=1,
    )
    assert len(sequences) == 9
    ours = load_dataset(path)
    sample = sequences[4]  # the first step of the second episode
    assert np.allclose(sample["obs"]["flat"][0], ours[1].observations["flat"][0])
    assert np.allclose(sample["next_obs"]["goal"][0], ours[1].observations["goal"][1])
    assert np.allclose(sample["actions"][0], ours[1].actions[0])


def test_robomimics_own_tool_describes_our_files(path):
    pytest.importorskip("robomimic")
    command = [sys.executable, "-m", "robomimic.scripts.get_dataset_info", "--dataset", path]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "total transitions: 9" in said
    assert "total trajectories: 3" in said
