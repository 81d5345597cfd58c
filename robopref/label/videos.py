"""Videos of pieces of episodes: made once, in background processes, and kept as files.

A picture comes from the simulator, put into the recorded states; else from the recording's own
camera; else it is a drawing of how hand and object move.
"""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from robopref.data.robomimic import load_dataset
from robopref.environments import make_env, recorded_env
from robopref.errors import InputError
from robopref.label.questions import Piece
from robopref.processes import end_with_parent, interrupts_ignored
from robopref.report.video import write_mp4
from robopref.structures import Trajectory

FRAMES, FRAMES_PER_SECOND, SIZE = 48, 16, 256
"""Most pictures of a video, how many a second, and their width and height."""
MOST_CRASHES = 2
"""How often the making of a video may end with its process before it is given up."""
INK, PAPER, FAINT = (40, 40, 40), (250, 250, 250), (205, 205, 205)
COLOURS = {"hand": (30, 90, 200), "object": (200, 60, 40), "goal": (30, 150, 70)}
"""RGB."""


def frame_step(length: int) -> int:
    """Steps between two pictures of a piece of so many steps."""
    return max(-(-length // FRAMES), 1)


@dataclass
class Source:
    """What pictures of one dataset are made from; opened once per process."""

    path: Path

    def __post_init__(self) -> None:
        self._env: Any = None
        self._env_failed = ""

    def frames(self, piece: Piece) -> NDArray[np.uint8]:
        """(frames, SIZE, SIZE, 3): the pictures of a piece, the first and the last step included.

        Raises:
            InputError: if the recording cannot be read or has no such piece.
        """
        dataset = load_dataset(self.path, states=True, episodes=[piece.episode])
        episode = dataset[0]
        end = piece.start + piece.length
        if end > len(episode):
            raise InputError(f"{self.path}: episode {piece.episode} has no step {end}")
        rows = [*range(piece.start, end, frame_step(piece.length)), end]
        if episode.states is not None and self._simulator(dataset.env_args, episode):
            return self._simulated(episode, rows)
        images = [name for name in sorted(episode.observations) if _is_images(episode, name)]
        if images:
            return np.stack([_resized(episode.observations[images[0]][row]) for row in rows])
        return drawn(episode, dict(dataset.env_args), rows)

    def close(self) -> None:
        """Closes the simulator."""
        if self._env is not None:
            self._env.close()

    def _simulator(self, env_args: Mapping[str, Any], episode: Trajectory) -> bool:
        """Whether there is one to put into states; tried once."""
        if self._env is None and not self._env_failed:
            try:
                env_id, kwargs = recorded_env(env_args, episode.observations, images=False)
                with warnings.catch_warnings():  # of those that cannot render
                    warnings.simplefilter("ignore")
                    env = make_env(env_id, **{**kwargs, "render_mode": "rgb_array"})
                env.reset(seed=0)
                if not hasattr(env.unwrapped, "set_state"):
                    raise InputError(f"env={env_id}: cannot restore states")
                env.unwrapped.render()
            except (InputError, NotImplementedError) as error:
                self._env_failed = str(error)
            else:
                self._env = env
        return self._env is not None

    def _simulated(self, episode: Trajectory, rows: list[int]) -> NDArray[np.uint8]:
        base, frames = self._env.unwrapped, []
        assert episode.states is not None
        if "model_file" in episode.attributes and hasattr(base, "load_model"):
            base.load_model(episode.attributes["model_file"])
        for row in rows:
            base.set_state(episode.states[row])
            frames.append(_resized(base.render()))
        return np.stack(frames)


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
        # Not fork: OpenMP and OpenGL do not survive it.
        pool = ProcessPoolExecutor(
            self._workers, get_context("spawn"), _start_worker, (self._dataset, self._folder)
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
    cv2.setNumThreads(1)
    os.nice(10)  # answers come first
    _worker.update(source=Source(dataset), folder=folder)


def _warm_up() -> None:
    """Opens the simulator, so that the first video is there sooner."""
    try:
        _worker["source"].frames(Piece(0, 0, 1))
    except InputError:
        pass  # whoever asks for a video is told


def _make(piece: Piece) -> None:
    frames = _worker["source"].frames(piece)
    write_mp4(_worker["folder"] / f"{piece.key}.mp4", frames, FRAMES_PER_SECOND, preset="veryfast")


def drawn(episode: Trajectory, env_args: Mapping[str, Any], rows: list[int]) -> NDArray[np.uint8]:
    """(frames, SIZE, SIZE, 3): hand and object from above and from the side, with their ways.

    Args:
        episode: whose low-dimensional observations are drawn.
        env_args: may say where hand, object and goal stand in them.
        rows: steps to draw.
    """
    points = _points(episode, env_args)
    everything = np.concatenate(list(points.values()))
    low, high = everything.min(axis=0), everything.max(axis=0)
    scale = (SIZE / 2 - 24) / max(float((high - low).max()), 1e-6)
    middle = (low + high) / 2
    frames = []
    for row in rows:
        frame = np.full((SIZE, SIZE, 3), PAPER, dtype=np.uint8)
        cv2.line(frame, (0, SIZE // 2), (SIZE, SIZE // 2), FAINT, 1)
        for panel, (name, axes) in enumerate((("from above", (0, 1)), ("from the side", (0, 2)))):
            centre = np.array([SIZE / 2, SIZE / 4 + panel * SIZE / 2])
            cv2.putText(
                frame, name, (8, 14 + panel * SIZE // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.38, INK, 1,
                cv2.LINE_AA,
            )  # fmt: skip
            for label, values in points.items():
                flat = values[:, axes] - middle[list(axes)]
                places = (centre + flat * scale * (0.95, -0.45)).round().astype(np.int32)
                colour = COLOURS[label]
                cv2.polylines(frame, [places[: row + 1]], False, colour, 1, cv2.LINE_AA)
                cv2.circle(frame, places[row].tolist(), 5, colour, -1, cv2.LINE_AA)
        frames.append(frame)
    return np.stack(frames)


def _points(episode: Trajectory, env_args: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Name to positions (T + 1, 3); of plain vectors the first numbers."""
    found: dict[str, NDArray[np.float64]] = {}
    entities = env_args.get("entities", {})
    for name in COLOURS:
        place = entities.get(name)
        if isinstance(place, Mapping) and place.get("key") in episode.observations:
            first = int(place.get("first", 0))
            found[name] = _three(episode.observations[place["key"]], first)
    keys = {"hand": "robot0_eef_pos", "object": "object"}
    for name, key in keys.items():
        if name not in found and key in episode.observations:
            found[name] = _three(episode.observations[key], 0)
    if not found:
        key = next(k for k in sorted(episode.observations) if not _is_images(episode, k))
        found["hand"] = _three(episode.observations[key], 0)
    return found


def _three(values: Any, first: int) -> NDArray[np.float64]:
    chosen = np.asarray(values, dtype=np.float64).reshape(len(values), -1)[:, first : first + 3]
    return np.pad(chosen, ((0, 0), (0, 3 - chosen.shape[1])))


def _is_images(episode: Trajectory, name: str) -> bool:
    values = episode.observations[name]
    return values.dtype == np.uint8 and values.ndim == 4


def _resized(image: Any) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA), np.uint8)
