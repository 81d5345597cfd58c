"""Videos hold the pictures they were given, upright and in order."""

from __future__ import annotations

import imageio.v2 as imageio
import numpy as np
import pytest

from robopref.environments import make_env
from robopref.errors import InputError
from robopref.report.video import replay, write_mp4


def test_mp4_holds_the_frames(tmp_path):
    frames = np.zeros((6, 32, 48, 3), dtype=np.uint8)
    frames[:, :16, :, 0] = 200  # red above
    for index, frame in enumerate(frames):
        frame[16:, :, 2] = 40 * index  # ever bluer below
    path = tmp_path / "clip.mp4"
    write_mp4(path, frames)
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.mp4"]
    assert b"avc1" in path.read_bytes()  # H.264, which browsers play
    with imageio.get_reader(path) as reader:
        shown = np.stack([frame for frame in reader])  # its length is unknown
    assert shown.shape == frames.shape
    assert abs(shown[:, 4:12].mean((0, 1, 2)) - [200, 0, 0]).max() < 15
    assert (np.diff(shown[:, 20:28, :, 2].mean((1, 2))) > 20).all()


def test_replay_needs_states(make_trajectory):
    with pytest.raises(InputError, match="no simulator states"):
        replay(make_trajectory(5, states=None), "toy/point-mass-v0", {})


@pytest.mark.sim
def test_replay_shows_the_recorded_states(tmp_path):
    from robopref.data.collect import record_episode

    kwargs = {"horizon": 6, "render_size": 64}
    env = make_env("metaworld/drawer-open-v3", **kwargs, render_mode="rgb_array")
    rng = np.random.default_rng(0)
    trajectory = record_episode(env, lambda _: rng.uniform(-1, 1, 4), seed=3)
    env.reset(seed=4)
    env.unwrapped.set_state(trajectory.states[4])
    picture = env.unwrapped.render()
    env.close()
    try:
        frames = replay(trajectory, "metaworld/drawer-open-v3", kwargs)
    except InputError as error:
        pytest.skip(str(error))
    assert frames.shape == (3, 64, 64, 3)
    np.testing.assert_array_equal(frames[2], picture)
