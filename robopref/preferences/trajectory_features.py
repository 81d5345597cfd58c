"""Features of segments that mean the same on every task of a robot.

What a hand does differs from task to task; that it reaches the object, moves it, and brings it to
the goal does not. A dataset says in `env_args["entities"]` where the positions of `hand`,
`object` and `goal` are (metres, three numbers each): `key` and `first` name a key of the
observations and the first index there; `position` is a fixed place; `offset` is counted from
where the object lay at the start, such as 10 cm above it. An object that the simulator drops on
the table has `settled`, the steps until it lies. With hand h, object o, goal g, and subscript 0
for the episode's start:

    reach    = 1 - |h - o| / |h_0 - o_0|        the hand has come to the object
    move     = |o - o_0| / 10 cm, at most 1     the object has moved
    place    = 1 - |o - g| / |o_0 - g|          the object has come to the goal
    approach = 1 - |h - g| / |h_0 - g|          the hand has come to the goal
    overall  = reach + move + max(place, 0) + max(approach, 0)

Each signal is summed up by its mean, its maximum and its mean over the last tenth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import step_indices
from robopref.errors import InputError
from robopref.structures import Segments

Features = NDArray[np.float64]

LEAST_DISTANCE = 0.05
"""Metres; shorter starting distances count as this, so that noise is not read as progress."""
MOVED = 0.1
"""Metres of object motion that count as fully moved."""


def progress_features(dataset: TrajectoryDataset, segments: Segments) -> dict[str, Features]:
    """Summaries of the progress signals.

    Args:
        dataset: the episodes; `env_args["entities"]` names `hand`, and `object` or `goal`.
        segments: (B,) segments.

    Returns:
        Signal name to (B, 3): mean, maximum, mean over the last tenth. Signals whose entities
        the dataset lacks are left out.

    Raises:
        InputError: if the dataset does not say where its entities are.
    """
    signals, mask = progress_signals(dataset, segments)
    if not signals:
        raise InputError(
            f"{dataset.source}: env_args has no 'entities' (hand with object or goal), which "
            "transfer by progress needs; add them to the file, or use transfer=pearl_paper"
        )
    signals["overall"] = sum(
        (np.maximum(s, 0.0) if name in ("place", "approach") else s for name, s in signals.items()),
        start=np.zeros(mask.shape),
    )
    return {name: _summary(signal, mask) for name, signal in signals.items()}


def progress_signals(
    dataset: TrajectoryDataset, segments: Segments
) -> tuple[dict[str, Features], NDArray[np.bool_]]:
    """`reach`, `place`, `approach` and `move` after each step of segments.

    Args:
        dataset: the episodes; signals of entities that its `env_args` lacks are left out.
        segments: (B,) segments.

    Returns:
        Signal name to (B, T), and (B, T) which steps are real.
    """
    indices, mask = step_indices(dataset, segments)
    rows = indices + segments.episodes[:, None]
    # Progress is measured from the start of the episode, so that a segment in which nothing
    # happens any more, because the task is done, counts as progress and not as standstill.
    entities = ("hand", "object", "goal")
    places = {name: _positions(dataset, name, rows + 1, segments.episodes) for name in entities}
    starts = {name: _start(dataset, name, segments.episodes) for name in entities}
    signals: dict[str, Features] = {}

    def progress(mover: str, aim: str) -> Features | None:
        now, begin, end, end_begin = places[mover], starts[mover], places[aim], starts[aim]
        if now is None or begin is None or end is None or end_begin is None:
            return None
        initial = np.linalg.norm(begin - end_begin, axis=2)
        moved: Features = 1.0 - np.linalg.norm(now - end, axis=2) / np.maximum(
            initial, LEAST_DISTANCE
        )
        return np.clip(moved, -1.0, 1.0)

    for name, mover, aim in (
        ("reach", "hand", "object"),
        ("place", "object", "goal"),
        ("approach", "hand", "goal"),
    ):
        signal = progress(mover, aim)
        if signal is not None:
            signals[name] = signal
    thing, thing_begin = places["object"], starts["object"]
    if thing is not None and thing_begin is not None:
        signals["move"] = np.minimum(np.linalg.norm(thing - thing_begin, axis=2) / MOVED, 1.0)
    return signals, mask


def _start(dataset: TrajectoryDataset, entity: str, episodes: NDArray[np.int64]) -> Features | None:
    """(B, 1, 3): where an entity is at the start of its episode, once it lies still."""
    settled = int(dict(dataset.env_args.get("entities", {})).get(entity, {}).get("settled", 0))
    steps = np.minimum(settled, dataset.lengths[episodes])
    rows = dataset.offsets[episodes] + episodes + steps
    return _positions(dataset, entity, rows[:, None], episodes)


def _positions(
    dataset: TrajectoryDataset,
    entity: str,
    rows: NDArray[np.int64],
    episodes: NDArray[np.int64],
) -> Features | None:
    """(B, T, 3) positions of an entity, None when the dataset has no such entity.

    Args:
        dataset: the episodes.
        entity: its name.
        rows: (B, T) rows of the observations.
        episodes: (B,) of the same rows.
    """
    place = dict(dataset.env_args.get("entities", {})).get(entity)
    if place is None:
        return None
    if "position" in place:
        return np.broadcast_to(_point(dataset, entity, place["position"]), (*rows.shape, 3))
    if "offset" in place:
        begin = _start(dataset, "object", episodes)
        offset = _point(dataset, entity, place["offset"])
        return None if begin is None else np.broadcast_to(begin + offset, (*rows.shape, 3))
    key, first = str(place["key"]), int(place.get("first", 0))
    if key not in dataset.observations or dataset.observations[key].shape[-1] < first + 3:
        raise InputError(
            f"{dataset.source}: entity {entity!r} should lie in observations[{key!r}] from index "
            f"{first}, which the file does not have; mend env_args['entities']"
        )
    return dataset.observations[key][rows, first : first + 3].astype(np.float64)


def _point(dataset: TrajectoryDataset, entity: str, numbers: object) -> Features:
    """(3,): checked numbers of an entity."""
    try:
        point = np.asarray(numbers, dtype=np.float64)
    except (TypeError, ValueError):
        point = np.empty(0)
    if point.shape != (3,) or not np.isfinite(point).all():
        raise InputError(
            f"{dataset.source}: entity {entity!r} needs three numbers in metres, found {numbers}; "
            "mend env_args['entities']"
        )
    return point


def _summary(signal: Features, mask: NDArray[np.bool_]) -> Features:
    """(B, 3): mean, maximum, and mean over the last tenth of the real steps."""
    lengths = mask.sum(axis=1, keepdims=True)
    last = mask & (np.arange(mask.shape[1]) >= np.floor(0.9 * lengths))
    return np.stack(
        [
            (signal * mask).sum(axis=1) / lengths[:, 0],
            np.where(mask, signal, -np.inf).max(axis=1),
            (signal * last).sum(axis=1) / last.sum(axis=1),
        ],
        axis=1,
    )


def align_features(
    source: dict[str, Features], target: dict[str, Features]
) -> tuple[Features, Features]:
    """Puts two tasks' features on one scale and stacks them.

    Each is centred in its own task, since tasks differ in what is usual, and divided by the mean
    spread of both, so that a signal that one task never uses does not become noise there. `overall`
    weighs as much as all the others together: it keeps the alignment from turning over when a
    signal is idle on one side.

    Args:
        source: signal to (N, F).
        target: signal to (M, F).

    Returns:
        (N, D) and (M, D).
    """
    shared = [name for name in source if name in target]
    parts: list[tuple[Features, Features]] = []
    others = sum(source[name].shape[1] for name in shared if name != "overall")
    for name in shared:
        left, right = source[name], target[name]
        spread = np.sqrt((left.var(axis=0) + right.var(axis=0)) / 2) + 1e-8
        weight = np.sqrt(0.5 / (left.shape[1] if name == "overall" else others))
        parts.append(
            (
                weight * (left - left.mean(axis=0)) / spread,
                weight * (right - right.mean(axis=0)) / spread,
            )
        )
    return (
        np.concatenate([left for left, _ in parts], axis=1),
        np.concatenate([right for _, right in parts], axis=1),
    )


def state_action_features(dataset: TrajectoryDataset, segments: Segments) -> Features:
    """The segments' states and actions, standardised over the dataset and flattened: (B, T * D).

    Raises:
        InputError: if the segments differ in length.
    """
    indices, mask = step_indices(dataset, segments)
    if not mask.all():
        raise InputError(
            f"{dataset.source}: segments differ in length ({segments.lengths.min()} to "
            f"{segments.lengths.max()}), which flattened trajectories cannot; use equal lengths"
        )
    rows = indices + segments.episodes[:, None]
    steps = np.concatenate([dataset.flat_observations[rows], dataset.actions[indices]], axis=2)
    steps = steps.astype(np.float64)
    steps = (steps - steps.mean(axis=(0, 1))) / (steps.std(axis=(0, 1)) + 1e-6)
    flat: Features = steps.reshape(len(steps), -1)
    return flat
