"""Colour images of an Intel RealSense camera, through librealsense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robopref.errors import InputError

SCHEME = "realsense:"
"""What such a camera's source begins with."""
WAIT_MS = 200
"""How long one read waits for a picture."""


class RealSenseCapture:
    """Stands where OpenCV's `VideoCapture` stands."""

    def __init__(self, source: str) -> None:
        """
        Args:
            source: serial number of a camera, or the file of a recording (.db3 or .bag), which
                plays at its own rate, again and again.

        Raises:
            InputError: if pyrealsense2 is missing, or the camera or file cannot be opened.
        """
        try:
            import pyrealsense2
        except ModuleNotFoundError as error:
            raise InputError(
                f"camera {SCHEME}{source}: needs the package pyrealsense2; pip install "
                "'robopref[realsense]'"
            ) from error
        self._pipeline: Any = pyrealsense2.pipeline()
        config = pyrealsense2.config()
        color, bgr = pyrealsense2.stream.color, pyrealsense2.format.bgr8
        if Path(source).suffix in (".db3", ".bag"):
            config.enable_device_from_file(source)
            config.enable_stream(color)
        else:
            serial = pyrealsense2.camera_info.serial_number
            found = [each.get_info(serial) for each in pyrealsense2.context().query_devices()]
            if source not in found:  # librealsense would wait a quarter of a minute for it
                raise InputError(
                    f"camera {SCHEME}{source}: is not plugged in; there are: "
                    f"{', '.join(found) or 'none'}"
                )
            config.enable_device(source)
            config.enable_stream(color, bgr)
        try:
            profile = self._pipeline.start(config).get_stream(color)
        except RuntimeError as error:
            raise InputError(f"camera {SCHEME}{source}: {error}") from error
        known = {bgr: slice(None), pyrealsense2.format.rgb8: slice(None, None, -1)}
        if profile.format() not in known:
            self.release()
            raise InputError(f"camera {SCHEME}{source}: its colours are {profile.format()}; "
                             "record rgb8 or bgr8")  # fmt: skip
        self._order = known[profile.format()]

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        """Whether there is a new picture, and it: (height, width, 3), BGR as OpenCV has it."""
        try:
            frame = self._pipeline.wait_for_frames(WAIT_MS).get_color_frame()
        except RuntimeError:  # none in time, or unplugged
            return False, None
        if not frame:
            return False, None
        # A copy: librealsense takes the memory back for a later picture.
        return True, np.array(frame.get_data(), np.uint8)[..., self._order]

    def release(self) -> None:
        """Lets the camera go."""
        self._pipeline.stop()
