from __future__ import annotations

import subprocess
import sys

import h5py
import numpy as np
import pytest

from robopref.data.batches import Sequences
from robopref.data.dataset import TrajectoryDataset
from robopref.data.lazy import MappedFrames, PackedFrames, load_dataset_lazily
from robopref.data.robomimic import load_dataset, save_dataset
from robopref.errors import InputError


@pytest.fixture
def path(tmp_path, make_trajectory, rng):
    episodes = [
        make_trajectory(
            steps,
            observations={
                "camera": rng.integers(0, 256, (steps + 1, 6, 5, 3), dtype=np.uint8),
                "hand": rng.integers(0, 256, (steps + 1, 4, 4, 3), dtype=np.uint8),
                "flat": rng.normal(size=(steps + 1, 3)).astype(np.float32),
            },
        )
        for steps in (4, 7, 3, 9)
    ]
    path = tmp_path / "images.hdf5"
    save_dataset(path, TrajectoryDataset.from_trajectories(episodes))
    return path


def rewrite(path, edit) -> None:
    """Writes every image array of the file again, as `edit(group, name, values)` does it."""
    with h5py.File(path, "a") as file:
        for demo in file["data"].values():
            for name in ("obs/camera", "next_obs/camera", "obs/hand", "next_obs/hand"):
                if name in demo:
                    values = demo[name][()]
                    del demo[name]
                    edit(demo, name, values)


def compress(path) -> None:
    rewrite(
        path,
        lambda demo, name, values: demo.create_dataset(
            name, data=values, compression="gzip", chunks=(2, *values.shape[1:])
        ),
    )


def drop_next_observations(path) -> None:
    with h5py.File(path, "a") as file:
        for demo in file["data"].values():
            del demo["next_obs"]


@pytest.mark.parametrize(
    ("edit", "kind"),
    [
        (lambda path: None, MappedFrames),
        (compress, PackedFrames),
        (drop_next_observations, MappedFrames),
    ],
)
def test_lazy_images_equal_those_in_memory(path, edit, kind, rng):
    edit(path)
    whole, lazy = load_dataset(path), load_dataset_lazily(path)
    assert lazy.fingerprint == whole.fingerprint
    for name in ("camera", "hand"):
        frames, values = lazy.observations[name], whole.observations[name]
        assert isinstance(frames, kind)
        assert frames.shape == values.shape
        assert (frames.ndim, frames.dtype, len(frames)) == (values.ndim, values.dtype, len(values))
        for _ in range(5):
            rows = rng.integers(0, len(values), (4, 3))
            assert np.array_equal(frames[rows], values[rows])
        assert np.array_equal(frames[2:11:3], values[2:11:3])
    assert np.array_equal(lazy.observations["flat"], whole.observations["flat"])
    assert np.array_equal(lazy[2].observations["camera"], whole[2].observations["camera"])


def test_a_choice_of_episodes(path):
    whole, lazy = load_dataset(path), load_dataset_lazily(path, episodes=[3, 0])
    assert np.array_equal(lazy[0].observations["hand"], whole[3].observations["hand"])
    assert np.array_equal(lazy[1].observations["hand"], whole[0].observations["hand"])


@pytest.mark.parametrize("lazily", [False, True])
def test_sequences_are_slices_of_their_episodes(path, lazily):
    dataset = (load_dataset_lazily if lazily else load_dataset)(path)
    sequences = Sequences(dataset, length=4)
    assert len(sequences) == dataset.num_steps
    starts = np.arange(dataset.num_steps)
    batch = sequences.batch(starts)
    for start in starts:
        episode = int(np.searchsorted(dataset.offsets, start, side="right")) - 1
        trajectory, first = dataset[episode], start - dataset.offsets[episode]
        real = min(4, len(trajectory) - first)
        assert batch.mask[start].tolist() == [True] * real + [False] * (4 - real)
        for key, values in trajectory.observations.items():
            shown, following = batch.observations[key][start], batch.next_observations[key][start]
            assert np.array_equal(shown[:real], values[first : first + real])
            assert np.array_equal(following[:real], values[first + 1 : first + real + 1])
            assert np.array_equal(following[real:], np.repeat(values[-1:], 4 - real, axis=0))
        assert np.array_equal(batch.actions[start][:real], trajectory.actions[first:][:real])
        assert (batch.actions[start][real:] == batch.actions[start][real - 1]).all()
        assert np.array_equal(batch.rewards[start][:real], trajectory.rewards[first:][:real])


def test_an_epoch_has_every_sequence_once_and_the_same_seed_the_same_order(path):
    sequences = Sequences(load_dataset(path), length=2, keys=["flat"])
    epochs = [list(sequences.epoch(5, np.random.default_rng(3))) for _ in range(2)]
    assert [len(batch) for batch in epochs[0]] == [5, 5, 5, 5, 3]
    seen = np.concatenate([batch.actions[:, 0].numpy() for batch in epochs[0]])
    assert sorted(map(tuple, seen)) == sorted(map(tuple, sequences.dataset.actions))
    for one, other in zip(*epochs, strict=True):
        assert np.array_equal(one.observations["flat"], other.observations["flat"])


def test_wrong_choices_are_refused(path):
    dataset = load_dataset(path)
    with pytest.raises(InputError, match="length=0"):
        Sequences(dataset, 0)
    with pytest.raises(InputError, match="no observation 'lamp'; choose from .*camera"):
        Sequences(dataset, 1, ["lamp"])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d, n, v: d.create_dataset(n, data=v[:-1]), "actions need"),
        (lambda d, n, v: d.create_dataset(n, data=v[..., None][:, :0]), "no pixels"),
        (
            lambda d, n, v: d.create_dataset(n, data=v[:, :3] if "next" in n else v),
            "differ in shape",
        ),
        (lambda d, n, v: d.create_dataset(n, (len(v), 10**7), "u1"), "claims"),
    ],
)
def test_wrong_images_are_refused(path, edit, message):
    rewrite(path, edit)
    with pytest.raises(InputError, match=message):
        load_dataset_lazily(path)


def test_lazy_reading_takes_little_memory(tmp_path):
    """Growth of the peak in a process of its own, over two epochs of a file of 60 MB."""
    path = tmp_path / "large.hdf5"
    with h5py.File(path, "w") as file:
        for index in range(30):
            demo = file.create_group(f"data/demo_{index}")
            demo["actions"] = np.zeros((50, 7))
            for name in ("obs", "next_obs"):
                demo[f"{name}/camera"] = np.full((50, 100, 100, 2), index, dtype=np.uint8)
                demo[f"{name}/flat"] = np.zeros((50, 3))
    program = f"""
import re
import numpy as np
from robopref.data.lazy import load_dataset_lazily
from robopref.data.batches import Sequences
def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
def epochs(episodes, count):
    sequences = Sequences(load_dataset_lazily({str(path)!r}, episodes=episodes), 2)
    for _ in range(count):
        for batch in sequences.epoch(8, np.random.default_rng(0)):
            pass
epochs([0], 1)  # what the libraries take once
before = peak()
epochs(None, 2)
print(peak() - before)
"""
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(said.stdout) < 0.1 * path.stat().st_size


@pytest.mark.parametrize("lazily", [False, True])
def test_batches_equal_robomimics(path, lazily):
    pytest.importorskip("robomimic")
    from robomimic.utils.dataset import SequenceDataset
    from robomimic.utils.obs_utils import initialize_obs_utils_with_obs_specs

    modalities = {"low_dim": ["flat"], "rgb": ["camera", "hand"]}
    initialize_obs_utils_with_obs_specs({"obs": modalities})
    theirs = SequenceDataset(
        str(path),
        obs_keys=["flat", "camera", "hand"],
        dataset_keys=["actions", "rewards"],
        load_next_obs=True,
        seq_length=3,
        frame_stack=1,
        get_pad_mask=True,
        hdf5_cache_mode="low_dim",
    )
    ours = Sequences((load_dataset_lazily if lazily else load_dataset)(path), 3)
    assert len(theirs) == len(ours)
    batch = ours.batch(np.arange(len(ours)))
    for index in range(len(ours)):
        sample, real = theirs[index], batch.mask[index].numpy()
        assert np.array_equal(sample["obs"]["pad_mask"][:, 0], real)
        assert np.allclose(sample["actions"], batch.actions[index])
        assert np.allclose(sample["rewards"][real], batch.rewards[index][real])
        for key in ("flat", "camera", "hand"):
            # Padding repeats another row here: it is masked, and not to be learned from.
            assert np.array_equal(sample["obs"][key][real], batch.observations[key][index][real])
            assert np.array_equal(sample["next_obs"][key], batch.next_observations[key][index])
