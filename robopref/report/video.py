"""Videos: pictures into H.264, and recorded episodes into pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robopref.environments import make_env
from robopref.errors import InputError
from robopref.files import atomic_path
from robopref.structures import Trajectory

FRAMES_PER_SECOND = 25
EVERY = 2
"""Steps between two pictures."""


def video_speed(env_id: str, env_kwargs: Mapping[str, Any]) -> float | None:
    """How many times faster than the robot a video is; None if the environment does not say."""
    env = make_env(env_id, **env_kwargs)
    steps_per_second = env.metadata.get("render_fps")
    env.close()
    return FRAMES_PER_SECOND * EVERY / steps_per_second if steps_per_second else None


def write_mp4(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    fps: int = FRAMES_PER_SECOND,
    preset: str = "slow",
) -> None:
    """Writes H.264 that browsers play, atomically.

    Args:
        path: the file.
        frames: each (height, width, 3), one or more, height and width even. An iterator may make
            each while the one before is compressed, in a process of its own.
        fps: frames per second.
        preset: x264's trade of time for size.
    """
    from imageio_ffmpeg import write_frames

    remaining = iter(frames)
    first = next(remaining)
    height, width = first.shape[:2]
    options = ["-crf", "26", "-preset", preset, "-threads", "1", "-movflags", "+faststart"]
    with atomic_path(path) as temporary:
        writer = write_frames(
            temporary,
            (width, height),
            fps=fps,
            codec="libx264",
            quality=None,
            macro_block_size=2,
            output_params=options,
            ffmpeg_log_level="error",
        )
        with closing(writer):
            writer.send(None)
            for frame in chain([first], remaining):
                writer.send(np.ascontiguousarray(frame))


def replay(
    trajectory: Trajectory, env_id: str, env_kwargs: Mapping[str, Any], every: int = EVERY
) -> NDArray[np.uint8]:
    """Pictures of a recorded episode, from its simulator states.

    Args:
        trajectory: with `states`.
        env_id: Gymnasium id of the environment it was recorded in.
        env_kwargs: arguments of the environment, such as camera and image size.
        every: steps between two pictures.

    Returns:
        (frames, height, width, 3)

    Raises:
        InputError: if there are no states or no picture can be taken.
    """
    if trajectory.states is None:
        raise InputError("the episode has no simulator states to show; load them with the data")
    env = make_env(env_id, **{**env_kwargs, "render_mode": "rgb_array"})
    base: Any = env.unwrapped
    try:
        frames = []
        env.reset(seed=trajectory.seed)
        for state in trajectory.states[:-1:every]:
            base.set_state(state)
            frames.append(base.render())
    finally:
        env.close()
    return np.stack(frames)
