"""The layouts of robomimic's published files (v0.1 to v1.5), written here in small."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest

from robopref.data.robomimic import (
    append_trajectories,
    load_dataset,
    read_env_args,
    read_filter_keys,
    read_trajectories,
)
from robopref.errors import InputError

EPISODES = 12
TRAIN = (0, 1, 10, 11, 2)
"""Members of `train`, in the order of their names' letters, as robomimic stores them."""
FAILED = (4, 5)
"""Episodes without success where the data are machine-generated."""


@dataclass(frozen=True)
class Layout:
    """How a kind of published file differs from the others."""

    dense: bool = False
    """Shaped rewards."""
    ends_done: bool = True
    """Whether the last step is done in any case (human data), or on success only (mg)."""
    image: bool = False
    next_obs: bool = True
    version: str = "0.1"
    """Files of v1.5 hold `ep_meta` and absolute actions too."""
    masks: tuple[str, ...] = ("train", "valid")


LAYOUTS = {
    "ph": Layout(masks=("20_percent", "50_percent", "train", "valid")),
    "ph v1.5": Layout(version="1.5", masks=("20_percent", "train", "valid")),
    "mh": Layout(masks=("better", "okay_better", "train", "valid", "worse_train")),
    "mg sparse": Layout(ends_done=False),
    "mg dense": Layout(ends_done=False, dense=True),
    "paired": Layout(masks=("train", "valid")),
    "image": Layout(image=True),
    "image v1.5": Layout(image=True, version="1.5"),
    "no next_obs": Layout(next_obs=False, version="1.5"),
}


def succeeds(layout: Layout, episode: int) -> bool:
    return layout.ends_done or episode not in FAILED


def write_published(path: Path, layout: Layout) -> Path:
    """Writes a file as robomimic's `dataset_states_to_obs` and `split_train_val` do."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        for episode in range(EPISODES):
            steps = 4 + episode
            success = (np.arange(steps) >= steps - 3) & succeeds(layout, episode)
            last = np.arange(steps) == steps - 1
            demo = data.create_group(f"demo_{episode}")
            demo["actions"] = rng.uniform(-1, 1, (steps, 7))
            demo["states"] = rng.normal(size=(steps, 32))
            demo["rewards"] = rng.uniform(0.1, 0.9, steps) if layout.dense else success * 1.0
            demo["dones"] = (success | (last & layout.ends_done)).astype(np.int64)
            observations = {
                "object": rng.normal(size=(steps + 1, 10)),
                "robot0_eef_pos": rng.normal(size=(steps + 1, 3)),
            }
            if layout.image:
                pixels = rng.integers(0, 256, (steps + 1, 8, 8, 3), dtype=np.uint8)
                observations["agentview_image"] = pixels
            for key, values in observations.items():
                demo[f"obs/{key}"] = values[:-1]
                if layout.next_obs:
                    demo[f"next_obs/{key}"] = values[1:]
            demo.attrs["model_file"] = f"<mujoco>{episode}</mujoco>"
            demo.attrs["num_samples"] = steps
            if layout.version == "1.5":
                demo["actions_abs"] = rng.normal(size=(steps, 7))
                demo["action_dict/abs_pos"] = rng.normal(size=(steps, 3)).astype(np.float32)
                demo.attrs["ep_meta"] = "{}"
        data.attrs["total"] = sum(4 + episode for episode in range(EPISODES))
        settings = {"reward_shaping": layout.dense, "camera_heights": 8}
        arguments = {"env_name": "Lift", "type": 1, "env_kwargs": settings}
        data.attrs["env_args"] = json.dumps(arguments, indent=4)
        for key in layout.masks:
            members = TRAIN if key == "train" else (3, len(key) % 3)
            file[f"mask/{key}"] = np.array([f"demo_{episode}" for episode in members], dtype="S")
    return path


@pytest.fixture(params=LAYOUTS)
def layout(request) -> Layout:
    return LAYOUTS[request.param]


@pytest.fixture
def path(tmp_path, layout) -> Path:
    return write_published(tmp_path / "published.hdf5", layout)


def contents(path: Path) -> dict[str, tuple]:
    """Every array and attribute of a file with its type, by path; attributes after an `@`."""
    found: dict[str, tuple] = {}

    def visit(name: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = (node.dtype, node.shape, node[()].tobytes())
        for key, value in node.attrs.items():
            found[f"{name}@{key}"] = (type(value), value)

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def copy(source: Path, target: Path) -> Path:
    keys = read_filter_keys(source)
    append_trajectories(target, read_trajectories(source), read_env_args(source), keys)
    return target


def test_every_layout_reads_right(path, layout):
    dataset = load_dataset(path)
    assert dataset.names == tuple(f"demo_{episode}" for episode in range(EPISODES))
    assert list(dataset.lengths) == [4 + episode for episode in range(EPISODES)]
    with h5py.File(path) as file:
        for episode in range(EPISODES):
            demo, read = file[f"data/demo_{episode}"], dataset[episode]
            following = "next_obs" if layout.next_obs else "obs"
            for key in demo["obs"]:
                values = read.observations[key]
                assert len(values) == len(read) + 1
                assert np.allclose(values[:-1], demo[f"obs/{key}"][()])
                assert np.allclose(values[-1], demo[f"{following}/{key}"][-1])
            assert np.allclose(read.actions, demo["actions"][()])
            assert np.allclose(read.rewards, demo["rewards"][()])
            succeeded = succeeds(layout, episode)
            expected = (np.arange(len(read)) >= len(read) - 3) & succeeded
            assert np.array_equal(read.success, expected)
            assert read.terminated[-1] == succeeded
            assert read.truncated[-1] != succeeded
            assert not (read.terminated | read.truncated)[:-1].any()
            if layout.image:
                assert read.observations["agentview_image"].dtype == np.uint8


def test_filter_keys_name_episodes(path, layout):
    keys = read_filter_keys(path)
    assert set(keys) == set(layout.masks)
    assert keys["train"] == TRAIN
    in_order = tuple(f"demo_{episode}" for episode in sorted(TRAIN))
    train = load_dataset(path, filter_key="train")
    assert train.names == in_order
    assert train.fingerprint == load_dataset(path, episodes=sorted(TRAIN)).fingerprint
    assert tuple(t.name for t in read_trajectories(path, filter_key="train")) == in_order
    assert load_dataset(path, filter_key="train", episodes=[3]).names == ("demo_10",)


def test_round_trip_keeps_every_array_and_attribute(path, tmp_path):
    before, after = contents(path), contents(copy(path, tmp_path / "copy.hdf5"))
    for name, value in before.items():
        assert after[name] == value, name
    own = {name.split("/")[2] for name in after.keys() - before.keys()}
    assert own <= {"terminated", "truncated", "success", "next_obs"}


def test_a_second_round_trip_changes_nothing(path, tmp_path):
    once = copy(path, tmp_path / "once.hdf5")
    assert contents(copy(once, tmp_path / "twice.hdf5")) == contents(once)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_round_trip_keeps_the_type_of_dones(tmp_path, dtype):
    path = write_published(tmp_path / "published.hdf5", Layout())
    with h5py.File(path, "a") as file:
        for demo in file["data"].values():
            last = np.arange(len(demo["actions"])) == len(demo["actions"]) - 1
            del demo["dones"]
            demo["dones"] = last.astype(dtype)
    assert contents(copy(path, tmp_path / "copy.hdf5")).items() >= contents(path).items()


@pytest.mark.parametrize("read", [load_dataset, lambda *a, **k: list(read_trajectories(*a, **k))])
def test_unknown_filter_key_is_refused(tmp_path, read):
    path = write_published(tmp_path / "published.hdf5", Layout())
    with pytest.raises(InputError) as refused:
        read(path, filter_key="trian")
    assert str(refused.value) == f"{path}: has no filter key 'trian'; it has train, valid"


def test_raw_file_is_refused_with_the_way_out(tmp_path):
    path = write_published(tmp_path / "demo.hdf5", Layout())
    with h5py.File(path, "a") as file:
        for demo in file["data"].values():
            for part in ("obs", "next_obs", "rewards", "dones"):
                del demo[part]
    with pytest.raises(InputError, match=r"has no 'obs'.*states only.*dataset_states_to_obs") as it:
        load_dataset(path)
    assert "\n" not in str(it.value)


def test_episodes_are_numbered_from_zero(tmp_path):
    path = write_published(tmp_path / "published.hdf5", Layout())
    with h5py.File(path, "a") as file:
        del file["data/demo_0"], file["data/demo_5"], file["mask"]
        file["mask/train"] = np.array(["demo_10", "demo_1"], dtype="S")
    assert read_filter_keys(path) == {"train": (8, 0)}
    target = copy(path, tmp_path / "copy.hdf5")
    assert load_dataset(target).fingerprint == load_dataset(path).fingerprint
    with h5py.File(target) as file:
        assert list(file["mask/train"]) == [b"demo_8", b"demo_0"]
        assert file["data/demo_8"].attrs["model_file"] == "<mujoco>10</mujoco>"
