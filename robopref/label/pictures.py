"""Pictures of pieces of episodes.

They come from the simulator, put into the recorded states; else from the recording's own camera;
else they are drawings of how hand and object move.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from robopref.data.robomimic import load_dataset
from robopref.environments import make_env, recorded_env
from robopref.errors import InputError
from robopref.label.questions import Piece
from robopref.label.videos import frame_step
from robopref.structures import Trajectory

SIZE = 256
"""Width and height."""
INK, PAPER, FAINT = (40, 40, 40), (250, 250, 250), (205, 205, 205)
COLOURS = {"hand": (30, 90, 200), "object": (200, 60, 40), "goal": (30, 150, 70)}
"""RGB."""


@dataclass
class Source:
    """What pictures of one dataset are made from; opened once per process."""

    path: Path

    def __post_init__(self) -> None:
        self._env: Any = None
        self._env_failed = ""

    def frames(self, piece: Piece) -> Iterator[NDArray[np.uint8]]:
        """Yields the pictures of a piece, (SIZE, SIZE, 3), the first and the last step's included.

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
            yield from self._simulated(episode, rows)
            return
        images = [name for name in sorted(episode.observations) if _is_images(episode, name)]
        if images:
            for row in rows:
                yield _resized(episode.observations[images[0]][row])
            return
        yield from drawn(episode, dict(dataset.env_args), rows)

    def open(self) -> None:
        """Starts the simulator, so that the first pictures are there sooner."""
        dataset = load_dataset(self.path, states=True, episodes=[0])
        if dataset[0].states is not None:
            self._simulator(dataset.env_args, dataset[0])

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

    def _simulated(self, episode: Trajectory, rows: list[int]) -> Iterator[NDArray[np.uint8]]:
        base = self._env.unwrapped
        assert episode.states is not None
        if "model_file" in episode.attributes and hasattr(base, "load_model"):
            base.load_model(episode.attributes["model_file"])
        for row in rows:
            base.set_state(episode.states[row])
            yield _resized(base.render())


def drawn(
    episode: Trajectory, env_args: Mapping[str, Any], rows: list[int]
) -> Iterator[NDArray[np.uint8]]:
    """Yields (SIZE, SIZE, 3): hand and object from above and from the side, with their ways.

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
        yield frame


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
