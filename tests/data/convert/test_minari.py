from __future__ import annotations

import h5py
import numpy as np
import pytest
from gymnasium import spaces

from robopref.data.convert.registry import convert
from robopref.data.robomimic import load_dataset, read_env_args, read_trajectories
from robopref.errors import InputError
from robopref.files import read_json, write_json
from tests.data.convert.round_trip import (
    ENV_ARGS,
    assert_equal_files,
    robomimic_file,
    there_and_back,
)


def test_round_trip(tmp_path, make_trajectory, rng):
    arrays = {
        "observations": {
            "state": np.arange(8.0).reshape(4, 2),
            "camera": rng.integers(0, 256, (4, 32, 33, 3), dtype=np.uint8),
            "small": rng.integers(0, 256, (4, 4, 4, 3), dtype=np.uint8),
        },
        "interventions": np.array([True, False, False]),
    }
    episodes = [make_trajectory(3, **arrays) for _ in range(11)]
    source = robomimic_file(tmp_path / "a.hdf5", episodes)
    back, there, again = there_and_back(source, "minari")
    assert_equal_files(source, back)
    assert read_env_args(back) == ENV_ARGS
    assert (there.notes, again.notes) == ((), ())


def test_minari_opens_what_is_written(tmp_path, make_trajectory, rng):
    minari = pytest.importorskip("minari")
    images = rng.integers(0, 256, (4, 32, 40, 3), dtype=np.uint8)
    episode = make_trajectory(3, observations={"camera": images, "flat": np.ones((4, 2))})
    source = robomimic_file(tmp_path / "a.hdf5", [episode, episode])
    convert(source, tmp_path / "mine-v1", target_format="minari")
    dataset = minari.MinariDataset(tmp_path / "mine-v1" / "data")
    assert (dataset.total_episodes, dataset.total_steps, dataset.id) == (2, 6, "mine-v1")
    read = dataset[1]
    assert np.array_equal(read.observations["camera"], images)
    assert np.array_equal(read.observations["flat"], np.ones((4, 2)))
    assert np.array_equal(read.actions, episode.actions)
    assert np.array_equal(read.rewards, episode.rewards)
    assert np.array_equal(read.truncations, episode.truncated)
    assert np.array_equal(read.infos["states"], episode.states)
    assert dataset.observation_space.contains(
        {name: values[0] for name, values in read.observations.items()}
    )


@pytest.fixture
def written_by_minari(tmp_path, monkeypatch, rng):
    """A dataset as the library writes it: nested observations, a picture, text, infos."""
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    observations = {
        "arm": {"angles": rng.normal(size=(3, 2))},
        "camera": np.full((3, 32, 32, 3), 128, dtype=np.uint8),
        "task": ["lift"] * 3,
    }
    space = spaces.Dict(
        {
            "arm": spaces.Dict({"angles": spaces.Box(-9, 9, (2,))}),
            "camera": spaces.Box(0, 255, (32, 32, 3), np.uint8),
            "task": spaces.Text(9),
        }
    )
    from minari.data_collector import EpisodeBuffer

    buffer = EpisodeBuffer(
        seed=5,
        observations=observations,
        actions=np.array([0, 1]),
        rewards=np.array([0.0, 1.0]),
        terminations=np.array([False, True]),
        truncations=np.array([False, False]),
        infos={"success": np.array([False, False, True]), "qpos": np.ones((3, 2))},
    )
    minari.create_dataset_from_buffers(
        "test/robot-v0", [buffer], observation_space=space, action_space=spaces.Discrete(2)
    )
    return tmp_path / "test" / "robot-v0"


@pytest.mark.filterwarnings("ignore::UserWarning:minari")
def test_a_dataset_of_the_library(written_by_minari, tmp_path):
    notes = convert(written_by_minari, tmp_path / "x.hdf5").notes
    assert notes == ("lost: task, which is text",)
    dataset = load_dataset(tmp_path / "x.hdf5")
    assert dataset.seeds == (5,)
    assert {name: v.shape for name, v in dataset.observations.items()} == {
        "arm_angles": (3, 2),
        "camera": (3, 32, 32, 3),
    }
    assert np.abs(dataset.observations["camera"].astype(int) - 128).max() < 4  # JPEG
    assert dataset.actions.tolist() == [[0.0], [1.0]]
    assert dataset.terminated.tolist() == dataset.success.tolist() == [False, True]
    assert set(next(read_trajectories(tmp_path / "x.hdf5")).extras) == {"infos/qpos"}


@pytest.fixture
def folder(tmp_path, make_trajectory, rng):
    images = rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    episode = make_trajectory(3, observations={"camera": images, "flat": np.ones((4, 2))})
    convert(robomimic_file(tmp_path / "a.hdf5", [episode]), tmp_path / "m", target_format="minari")
    return tmp_path / "m"


def test_the_environment_is_read_from_its_spec(folder, tmp_path):
    path = folder / "data" / "metadata.json"
    metadata = read_json(path)
    del metadata["env_args"]
    write_json(path, {**metadata, "env_spec": '{"id": "Reach-v0", "kwargs": {"n": 1}}'})
    convert(folder / "data", tmp_path / "x.hdf5")
    expected = {"env_name": "Reach-v0", "type": 2, "env_kwargs": {"n": 1}}
    assert read_env_args(tmp_path / "x.hdf5") == expected
    write_json(path, {**metadata, "env_spec": "Reach"})
    with pytest.raises(InputError, match="env_spec in metadata.json"):
        convert(folder, tmp_path / "y.hdf5")


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        ("actions", None, "has no 'actions'"),
        ("actions/x", np.ones((3, 1)), "actions are a Dict or Tuple"),
        ("rewards", np.ones(2), "rewards must be"),
        ("rewards", np.full(3, np.nan), "holds NaN"),
        ("observations/camera", np.full((4, 9), list(b"\x89PNG12345"), np.uint8), "is damaged"),
        ("observations/flat", np.ones((9, 2)), "has 9 rows"),
    ],
)
def test_malformed_input(folder, tmp_path, path, values, message):
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        group = file["episode_0"]
        del group["actions" if path == "actions/x" else path]
        if values is not None:
            group[path] = values
    with pytest.raises(InputError, match=message):
        convert(folder, tmp_path / "x.hdf5")
    assert not (tmp_path / "x.hdf5").exists()


def test_other_forms_are_refused(folder, tmp_path):
    path = folder / "data" / "metadata.json"
    write_json(path, {"data_format": "arrow"})
    with pytest.raises(InputError, match="not in Minari's HDF5 form"):
        convert(folder, tmp_path / "x.hdf5")
    path.unlink()
    with pytest.raises(InputError, match=r"metadata.json: no such file"):
        convert(folder, tmp_path / "x.hdf5")
