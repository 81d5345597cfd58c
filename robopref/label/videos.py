"""Videos of pieces of episodes: made once, in background processes, and kept as files."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from robopref.errors import InputError
from robopref.label.early import video_processes
from robopref.label.questions import Piece
from robopref.processes import end_with_parent, interrupts_ignored

FRAMES, FRAMES_PER_SECOND = 48, 16
"""Most pictures of a video, and how many a second."""
MOST_CRASHES = 2
"""How often the making of a video may end with its process before it is given up."""


def frame_step(length: int) -> int:
    """Steps between two pictures of a piece of so many steps."""
    return max(-(-length // FRAMES), 1)


class VideoCache:
    """A dataset's videos as files in a folder, made by background processes when asked for."""

    def __init__(self, dataset: Path, folder: Path, workers: int = 2) -> None:
        """
        Args:
            dataset: the HDF5 file.
            folder: where the videos lie; of this dataset alone.
            workers: processes; they start at once.
        """
        self._dataset, self._folder, self._workers = dataset, folder, workers
        folder.mkdir(parents=True, exist_ok=True)
        self._futures: dict[Piece, Future[None]] = {}
        self._crashes: Counter[Piece] = Counter()
        self._lock = threading.Lock()  # the server asks from several threads
        self._pool = self._started_pool()

    def _started_pool(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(
            self._workers, video_processes(), _start_worker, (self._dataset, self._folder)
        )
        with interrupts_ignored():
            for _ in range(self._workers):
                pool.submit(_warm_up)
        return pool

    def prepare(self, pieces: Iterable[Piece]) -> None:
        """Has the videos made that are not there yet; one that failed is tried again."""
        with self._lock, interrupts_ignored():
            for piece in pieces:
                future = self._futures.get(piece)
                failed = future is not None and future.done() and future.exception() is not None
                if (future is None or failed) and not self._file(piece).exists():
                    self._futures[piece] = self._submitted(piece)

    def _submitted(self, piece: Piece) -> Future[None]:
        try:
            return self._pool.submit(_make, piece)
        except BrokenProcessPool:  # one of its processes was killed, as for want of memory
            self._pool = self._started_pool()
            return self._pool.submit(_make, piece)

    def path(self, piece: Piece) -> Path | None:
        """The video's file, None while it is not made.

        Raises:
            InputError: if it cannot be made.
        """
        path = self._file(piece)
        if path.exists():
            return path
        future = self._futures.get(piece)
        error = future.exception() if future is not None and future.done() else None
        if isinstance(error, BrokenProcessPool) and self._crashes[piece] < MOST_CRASHES:
            self._crashes[piece] += 1
            self.prepare([piece])
        elif error is not None:
            raise InputError(f"video {piece.key}: cannot be made ({error})") from error
        return path if path.exists() else None

    def wait(self, pieces: Iterable[Piece], seconds: float) -> None:
        """Has the videos made, and waits for them, but no longer than so."""
        self.prepare(chosen := list(pieces))
        futures = [self._futures[piece] for piece in chosen if piece in self._futures]
        wait(futures, timeout=seconds)

    def close(self) -> None:
        """Ends the processes."""
        for process in list((self._pool._processes or {}).values()):
            process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _file(self, piece: Piece) -> Path:
        return self._folder / f"{piece.key}.mp4"


_worker: dict[str, Any] = {}


def _start_worker(dataset: Path, folder: Path) -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a later pool is started from a thread
    import cv2  # with what follows, imported by the process that this one is a copy of

    from robopref.label.pictures import Source

    cv2.setNumThreads(1)
    os.nice(10)  # answers come first
    # Rendering would import torch's compiler before OpenGL, in case that both are needed.
    sys.modules["triton"] = None  # type: ignore[assignment]
    _worker.update(source=Source(dataset), folder=folder)


def _warm_up() -> None:
    """Opens the simulator, so that the first video is there sooner."""
    try:
        _worker["source"].open()
    except InputError:
        pass  # whoever asks for a video is told


def _make(piece: Piece) -> None:
    from robopref.report.video import write_mp4

    frames = _worker["source"].frames(piece)
    write_mp4(_worker["folder"] / f"{piece.key}.mp4", frames, FRAMES_PER_SECOND, preset="veryfast")
