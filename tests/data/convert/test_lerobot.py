from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robopref.data.convert.registry import convert
from robopref.data.robomimic import load_dataset, read_env_args, read_trajectories
from robopref.errors import InputError
from robopref.files import read_json, write_json
from tests.data.convert.round_trip import ENV_ARGS, assert_equal, robomimic_file, there_and_back

SOLID = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (120, 120, 120), (220, 220, 20)]
DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


def test_round_trip(tmp_path, make_trajectory, rng):
    episodes = [
        make_trajectory(
            steps,
            observations={
                "flat": rng.normal(size=(steps + 1, 3)),
                "one": rng.normal(size=(steps + 1, 1)).astype(np.float32),
                "grid": rng.normal(size=(steps + 1, 2, 2)).astype(np.float32),
                "camera": rng.integers(0, 256, (steps + 1, 5, 4, 3), dtype=np.uint8),
            },
            interventions=rng.random(steps) < 0.5,
            attributes={"task": f"lift it {steps} times"},
        )
        for steps in (3, 1, 2)
    ]
    source = robomimic_file(tmp_path / "a.hdf5", episodes)
    back, there, again = there_and_back(source, "lerobot")
    but = ("behaviour", "seed", "states", "observations")
    pairs = zip(read_trajectories(source), read_trajectories(back), strict=True)
    for ours, theirs in pairs:
        assert_equal(ours, theirs, *but)
        assert set(ours.observations) == set(theirs.observations)
        for name, values in ours.observations.items():
            assert values.dtype == theirs.observations[name].dtype
            assert np.array_equal(values[:-1], theirs.observations[name][:-1])
    assert read_env_args(back) == ENV_ARGS
    assert [note for note in there.notes if note.startswith("lost")] == [
        "lost: simulator states",
        "lost: names of the behaviours",
        "lost: seeds",
        "lost: the observation after each last action",
    ]
    assert len(again.notes) == 1 and "stands twice" in again.notes[0]


@pytest.fixture
def folder(tmp_path, make_trajectory, rng):
    episodes = [
        make_trajectory(steps, observations={"state": rng.normal(size=(steps + 1, 2))})
        for steps in (2, 3)
    ]
    convert(robomimic_file(tmp_path / "a.hdf5", episodes), tmp_path / "l", target_format="lerobot")
    return tmp_path / "l"


def test_the_layout_is_that_of_v3(folder, tmp_path):
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "meta/info.json", "meta/stats.json", "meta/tasks.parquet", "meta/robopref.json",
        EPISODES, DATA,
    }  # fmt: skip
    info = read_json(folder / "meta/info.json")
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"]) == (
        "v3.0",
        2,
        5,
    )
    state = {"dtype": "float64", "shape": [2], "names": None}
    assert info["features"]["observation.state"] == state
    data = pd.read_parquet(folder / DATA)
    assert data["episode_index"].tolist() == [0, 0, 1, 1, 1]
    assert data["frame_index"].tolist() == [0, 1, 0, 1, 2]
    assert data["index"].tolist() == [0, 1, 2, 3, 4]
    assert np.allclose(data["timestamp"], [0, 0.1, 0, 0.1, 0.2])
    stats = read_json(folder / "meta/stats.json")
    values = np.concatenate([e.observations["state"][:-1] for e in _episodes(tmp_path)])
    for name in ("min", "max", "mean", "std"):
        expected = getattr(values, name)(axis=0)
        assert np.allclose(stats["observation.state"][name], expected), name
    tasks = pd.read_parquet(folder / "meta/tasks.parquet")
    assert tasks.loc["toy/point-mass-v0"].task_index == 0


def _episodes(tmp_path):
    return list(read_trajectories(tmp_path / "a.hdf5"))


def edit(path, **columns):
    """Replaces columns of a Parquet file; those that are None are removed."""
    table = pq.read_table(path)
    for name, values in columns.items():
        name = name.replace("__", "/")
        if name in table.column_names:
            table = table.drop_columns([name])
        if values is not None:
            table = table.append_column(name, pa.array(values))
    pq.write_table(table, path)


@pytest.fixture
def with_video(folder):
    """The dataset with a camera: both episodes in one file, which begins with another's frame."""
    import imageio_ffmpeg

    key = "observation.images.top"
    path = folder / f"videos/{key}/chunk-000/file-000.mp4"
    path.parent.mkdir(parents=True)
    writer = imageio_ffmpeg.write_frames(
        path, (32, 16), fps=10, codec="libx264", macro_block_size=2, ffmpeg_log_level="error"
    )
    writer.send(None)
    for color in [(0, 0, 0), *SOLID]:
        writer.send(np.full((16, 32, 3), color, dtype=np.uint8))
    writer.close()
    info = read_json(folder / "meta/info.json")
    info["features"][key] = {"dtype": "video", "shape": [16, 32, 3], "names": None}
    write_json(folder / "meta/info.json", info)
    columns = {"chunk_index": [0, 0], "file_index": [0, 0], "from_timestamp": [0.1, 0.3]}
    edit(folder / EPISODES, **{f"videos__{key}__{name}": v for name, v in columns.items()})
    return path


def test_videos(with_video, folder, tmp_path):
    convert(folder, tmp_path / "x.hdf5")
    first, second = (episode.observations["top"] for episode in load_dataset(tmp_path / "x.hdf5"))
    assert (first.shape, second.shape) == ((3, 16, 32, 3), (4, 16, 32, 3))
    shown = np.concatenate([first[:-1], second[:-1]]).astype(int)
    assert np.abs(shown - np.array(SOLID)[:, None, None]).max() < 12
    # Other frames would be off by over a hundred.


def test_damaged_videos(with_video, folder, tmp_path):
    whole = with_video.read_bytes()
    with_video.write_bytes(b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
    with pytest.raises(InputError, match="damaged or not an MP4 video"):
        convert(folder, tmp_path / "x.hdf5")
    with_video.write_bytes(whole)
    edit(folder / EPISODES, **{"videos__observation.images.top__from_timestamp": [0.1, 0.4]})
    with pytest.raises(InputError, match=r"has 2 frames from 0.400 s on, but 3 are needed"):
        convert(folder, tmp_path / "x.hdf5")
    with_video.unlink()
    with pytest.raises(InputError, match="no such file"):
        convert(folder, tmp_path / "x.hdf5")


def test_a_dataset_of_lerobot_itself(folder, tmp_path):
    """Without what robopref adds; rewards and flags are rare in recordings of people."""
    (folder / "meta/robopref.json").unlink()
    absent = {name: None for name in ("next.reward", "next.terminated", "next.truncated")}
    edit(folder / DATA, **absent, **{"next.success": None, "note": ["x"] * 5, "effort": [1.0] * 5})
    notes = convert(folder, tmp_path / "x.hdf5").notes
    assert "lost: note, which is text or of another kind than numbers" in notes
    assert any(note.startswith("no rewards were recorded") for note in notes)
    dataset = load_dataset(tmp_path / "x.hdf5", states=True)
    assert dataset.env_args == {
        "env_name": "toy/point-mass-v0", "type": 2, "env_kwargs": {}, "fps": 10,
    }  # fmt: skip
    assert dataset.truncated.tolist() == [False, True, False, False, True]
    assert dataset.attributes[0] == {"task": "toy/point-mass-v0"}
    assert set(next(read_trajectories(tmp_path / "x.hdf5")).extras) == {"effort"}


@pytest.mark.parametrize(
    ("file", "columns", "message"),
    [
        (DATA, {"action": None}, "has no column 'action'"),
        (DATA, {"action": [[1.0], [1.0, 2.0], [1.0], [1.0], [1.0]]}, "lists of lengths"),
        (DATA, {"action": ["a"] * 5}, "has no column 'action'"),
        (DATA, {"action": [None, 1.0, 1.0, 1.0, 1.0]}, "has gaps"),
        (DATA, {"action": [np.nan] * 5}, "holds NaN"),
        (DATA, {"observation.state": None}, "has no column 'observation.<key>'"),
        (DATA, {"episode_index": None}, "has no column 'episode_index'"),
        (DATA, {"episode_index": [0, 0, 1, 1, 2]}, "has 2 steps in data, but 3 by meta"),
        (EPISODES, {"length": None}, "has no 'length'"),
        (EPISODES, {"data__file_index": [0, 7]}, "file-007.parquet: no such file"),
        (EPISODES, {"data__chunk_index": ["..", ".."]}, "has no 'data/chunk_index'"),
        ("meta/tasks.parquet", {"task_index": ["a"]}, "no numbers"),
    ],
)
def test_malformed_input(folder, tmp_path, file, columns, message):
    edit(folder / file, **columns)
    with pytest.raises(InputError, match=message) as error:
        convert(folder, tmp_path / "x.hdf5")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "x.hdf5").exists()


def test_other_versions_and_damage(folder, tmp_path):
    info = read_json(folder / "meta/info.json")
    write_json(folder / "meta/info.json", {**info, "codebase_version": "v2.1"})
    with pytest.raises(InputError, match="of version v2.1, and robopref reads v3.0"):
        convert(folder, tmp_path / "x.hdf5")
    video = {"dtype": "video", "shape": [1, 1, 3]}
    write_json(folder / "meta/info.json", {**info, "features": {"../../x": video}})
    with pytest.raises(InputError, match="with a slash"):
        convert(folder, tmp_path / "x.hdf5")
    write_json(folder / "meta/info.json", {**info, "fps": 0})
    with pytest.raises(InputError, match="lacks features or fps"):
        convert(folder, tmp_path / "x.hdf5")
    write_json(folder / "meta/info.json", info)
    (folder / DATA).write_bytes(b"PAR1")
    with pytest.raises(InputError, match="damaged or not a Parquet file"):
        convert(folder, tmp_path / "x.hdf5")
    shutil.rmtree(folder / "meta/episodes")
    with pytest.raises(InputError, match="has no meta/episodes"):
        convert(folder, tmp_path / "x.hdf5")
