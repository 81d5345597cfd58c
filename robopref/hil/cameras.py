"""Cameras, each read by a thread of its own, so that the newest picture is there."""

from __future__ import annotations

import threading
import time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from robopref.errors import InputError
from robopref.hil.realsense import SCHEME, RealSenseCapture

OLD_S = 0.5
"""Age from which on a picture says nothing about now."""
FIRST_S = 5.0
"""How long a camera may take to give its first picture."""


class StaleFrameError(Exception):
    """A camera has shown nothing new for too long."""


class Camera:
    """One camera. Reading it takes no time: the picture is there already, or too old."""

    def __init__(self, name: str, source: str, image_size: int, old_s: float = OLD_S) -> None:
        """
        Args:
            name: for messages.
            source: number of the device, a file such as /dev/video0 or of a video, or an address
                that OpenCV reads, such as rtsp://…; or realsense: and a serial number.
            image_size: width and height of the pictures, which are cut to a square from the middle.
            old_s: age from which on a picture is refused.

        Raises:
            InputError: if it cannot be opened or gives no picture.
        """
        self.name, self._size, self._old_s = name, image_size, old_s
        self._capture: cv2.VideoCapture | RealSenseCapture
        if source.startswith(SCHEME):
            self._capture = RealSenseCapture(source.removeprefix(SCHEME))
        else:
            self._capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
            if not self._capture.isOpened():
                raise InputError(
                    f"camera {name}: cannot open {source!r}; give the number of a device, a file "
                    "or an address, and see that no other program has it"
                )
            self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._newest: tuple[NDArray[np.uint8], float] | None = None
        self._ending = threading.Event()
        self._arrived = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True, name=f"camera {name}")
        self._thread.start()
        if not self._arrived.wait(FIRST_S):
            self.close()
            raise InputError(f"camera {name}: {source!r} gives no picture within {FIRST_S:.0f} s")

    def read(self) -> NDArray[np.uint8]:
        """(image_size, image_size, 3) RGB: the newest picture.

        Raises:
            StaleFrameError: if it is too old.
        """
        assert self._newest is not None
        picture, taken = self._newest
        age = time.monotonic() - taken
        if age > self._old_s:
            raise StaleFrameError(f"camera {self.name} has shown nothing new for {age:.1f} s")
        return picture

    def close(self) -> None:
        """Lets the device go."""
        self._ending.set()
        self._thread.join(2.0)
        self._capture.release()

    def _read(self) -> None:
        while not self._ending.is_set():
            good, frame = self._capture.read()
            if not good:  # unplugged, or a video's end; `read` says so when the picture is old
                self._ending.wait(0.05)
                continue
            self._newest = self._square(frame), time.monotonic()
            self._arrived.set()

    def _square(self, frame: Any) -> NDArray[np.uint8]:
        height, width = frame.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        middle = frame[top : top + side, left : left + side]
        small = cv2.resize(middle, (self._size, self._size), interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(small[..., ::-1])
