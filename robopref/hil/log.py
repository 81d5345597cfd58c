"""An append-only file of steps, which both sides of the network keep.

The actor writes each step there before it is sent, the learner before it is acknowledged. A frame
is its length, its checksum and its content; what a kill left of a last frame is cut off when the
file is opened, so a file never holds half a step.
"""

from __future__ import annotations

import bisect
import fcntl
import math
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

from robopref.errors import InputError
from robopref.hil.steps import Sizes, Steps

HEADER = struct.Struct("<II")
"""Length and CRC-32 of the content."""
MOST_BYTES = 64 * 2**20
MOST_SENT_BYTES = 2**22
"""Of images, in one message."""


class StepLog:
    """Steps of one actor on disk, in order and each once. Safe to use from several threads."""

    def __init__(
        self,
        path: Path,
        observation_dim: int,
        action_dim: int,
        image_shape: tuple[int, ...] = (0,),
        writes: bool = True,
    ) -> None:
        """Opens the file, makes it when missing, and mends its end.

        Args:
            path: the file.
            observation_dim: size of a flat observation.
            action_dim: size of an action.
            image_shape: (C, H, W) of the images; (0,) without any.
            writes: False to look at it, as it is now, while somebody else may be writing.

        Raises:
            InputError: if it cannot be written, another process writes it, or it holds steps of
                other sizes.
        """
        self.path = path
        self.sizes = Sizes(observation_dim, action_dim, image_shape)
        self._lock = threading.Lock()
        self.last = 0
        """Sequence number of the last step; 0 when there is none."""
        self.newest_version = 0
        """Highest version of the weights that any step was taken with."""
        self._frames: list[tuple[int, int]] = []  # (first sequence number, place) of each
        try:
            if writes:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "a+b" if writes else "rb")  # noqa: SIM115 - as long as the log
            if writes:  # two who mended its end would cut off each other's steps
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise InputError(
                f"{path}: another process is writing it; end that one first, or give another name="
            ) from error
        except OSError as error:
            doing = "written" if writes else "read"
            raise InputError(f"{path}: cannot be {doing} ({error.strerror})") from error
        end = 0
        for steps, place, following in self._scan():
            self._frames.append((int(steps.sequence[0]), place))
            self.last, end = int(steps.sequence[-1]), following
            self.newest_version = max(self.newest_version, int(steps.version.max()))
        if writes:
            self._file.truncate(end)

    def append(self, steps: Steps, durable: bool = False) -> int:
        """Adds what is new of these steps.

        Args:
            steps: in order; those that are there already are passed over.
            durable: whether to wait until they are on the disk.

        Returns:
            The sequence number of the last step that is stored.

        Raises:
            InputError: if steps between are missing.
        """
        with self._lock:
            first = int(steps.sequence[0])
            if first > self.last + 1:
                raise InputError(
                    f"{self.path.name}: got step {first} after step {self.last}; those between are "
                    "missing"
                )
            if not self.last and not steps.starts[0]:
                raise InputError(f"{self.path.name}: the first step must start an episode")
            new = steps[max(self.last + 1 - first, 0) :]
            if len(new):
                content = new.to_bytes()
                place = self._file.seek(0, os.SEEK_END)
                self._file.write(HEADER.pack(len(content), zlib.crc32(content)) + content)
                self._file.flush()
                self._frames.append((int(new.sequence[0]), place))
                if durable:
                    os.fsync(self._file.fileno())
                self.last = int(new.sequence[-1])
                self.newest_version = max(self.newest_version, int(new.version.max()))
            return self.last

    def after(self, sequence: int, most: int = 0) -> Steps | None:
        """The steps that follow `sequence`; None when there is none.

        Args:
            sequence: number of a step.
            most: about how many; as go into a message when 0.
        """
        images = max(math.prod(self.sizes.image_shape), 1)
        most = most or min(max(MOST_SENT_BYTES // images, 1), 256)
        with self._lock:
            if sequence >= self.last:
                return None
            index = bisect.bisect_right(self._frames, sequence + 1, key=lambda frame: frame[0]) - 1
            parts, count = [], 0
            while index < len(self._frames) and count < most:
                steps, _ = self._read(self._frames[index][1])
                assert steps is not None  # was whole when the file was opened
                parts.append(steps)
                count += len(steps)
                index += 1
            found = Steps.join(parts)
        return found[sequence + 1 - int(found.sequence[0]) :]

    def all(self) -> Steps | None:
        """Every step; None when there is none."""
        return self.after(0, most=self.last)

    def close(self) -> None:
        """Waits until everything is on the disk."""
        with self._lock:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def _scan(self) -> Iterator[tuple[Steps, int, int]]:
        """Frames with their places and those of what follows, up to the first that is not whole."""
        place = 0
        while True:
            steps, following = self._read(place)
            if steps is None:
                return
            yield steps, place, following
            place = following

    def _read(self, place: int) -> tuple[Steps | None, int]:
        self._file.seek(place)
        header = self._file.read(HEADER.size)
        if len(header) < HEADER.size:
            return None, place
        length, checksum = HEADER.unpack(header)
        if length > MOST_BYTES:
            return None, place
        content = self._file.read(length)
        if len(content) < length or zlib.crc32(content) != checksum:
            return None, place
        steps = Steps.from_bytes(content, self.sizes, str(self.path))
        return steps, place + HEADER.size + length
