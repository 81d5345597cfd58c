"""Frames out of MP4 files of unknown origin."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robopref.errors import InputError
from robopref.files import existing_file
from robopref.structures import Array


def read_frames(path: Path, start: float, count: int, fps: float) -> Array:
    """Reads successive frames, with the ffmpeg that comes with imageio (it knows AV1; OpenCV's
    does not).

    Args:
        path: the file.
        start: time of the first frame, seconds.
        count: number of frames.
        fps: frames per second.

    Returns:
        (count, height, width, 3) uint8

    Raises:
        InputError: if the file is missing or damaged, or ends too early.
    """
    import imageio_ffmpeg

    # To seek is to pass over frames before that time: half a frame early is never one too late.
    seek = max(0.0, start - 0.5 / fps)
    frames = imageio_ffmpeg.read_frames(
        str(existing_file(path).resolve()),
        # Named, so that ffmpeg does not take a playlist for a video and open what it lists.
        input_params=["-f", "mov", "-ss", f"{seek:.6f}"],
        output_params=["-frames:v", str(count), "-fps_mode", "passthrough"],
    )
    try:
        width, height = next(frames)["size"]
        found = [np.frombuffer(frame, dtype=np.uint8).reshape(height, width, 3) for frame in frames]
    except (OSError, RuntimeError, ValueError, KeyError, StopIteration) as error:
        raise InputError(f"{path}: damaged or not an MP4 video; get it again") from error
    if len(found) != count:
        raise InputError(
            f"{path}: has {len(found)} frames from {start:.3f} s on, but {count} are needed; get "
            "it again"
        )
    return np.stack(found)
