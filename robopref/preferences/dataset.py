"""Preferences: one row per comparison of two segments, kept as Parquet.

A label is the probability that the SECOND segment is preferred; 0.5 is a tie. Both sides name
their dataset by fingerprint, so labels are never applied to data that they were not given for.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import check_segments, gather
from robopref.errors import InputError
from robopref.files import atomic_path, check_expansion, existing_file
from robopref.structures import PreferenceBatch, Segments

if TYPE_CHECKING:
    import torch

SOURCES = ("human", "scripted", "heron", "reward", "transferred", "intervention")
"""Where a label can come from."""

SCHEMA = pa.schema(
    [
        *(
            pa.field(f"{side}_{name}", kind, nullable=False)
            for side in ("first", "second")
            for name, kind in (
                ("dataset", pa.string()),
                ("episode", pa.int64()),
                ("start", pa.int64()),
                ("length", pa.int64()),
            )
        ),
        pa.field("label", pa.float64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("annotator", pa.string(), nullable=False),
        pa.field("confidence", pa.float64(), nullable=False),
        pa.field("created_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("response_time_s", pa.float64(), nullable=True),
        pa.field("ranking", pa.int64(), nullable=True),
    ]
)
"""Columns of the Parquet file."""
LATER = ("ranking",)
"""Columns that a file may lack, since it may be older than they are: all cells are empty."""
ALONE = -1
"""Number of a pair that comes from no ranked list."""
LONGEST_TEXT = 200
"""Letters of a name."""
ROW_BYTES = 200
"""What a row takes in memory."""


@dataclass(frozen=True)
class Preferences:
    """`B` comparisons. Build them with `from_labels` or `load_preferences`."""

    first: Segments
    second: Segments
    first_dataset: NDArray[np.str_]
    """(B,): fingerprint of the dataset of each first segment."""
    second_dataset: NDArray[np.str_]
    """(B,): fingerprint of the dataset of each second segment."""
    labels: NDArray[np.float64]
    """(B,) in [0, 1]: probability that the second segment is preferred."""
    source: NDArray[np.str_]
    """(B,): one of `SOURCES`."""
    annotator: NDArray[np.str_]
    """(B,): who judged, such as a person's name, a teacher's preset or a method."""
    confidence: NDArray[np.float64]
    """(B,) in [0, 1]: weight of the comparison."""
    created_at: NDArray[np.datetime64]
    """(B,): UTC, microseconds."""
    response_time_s: NDArray[np.float64]
    """(B,): seconds until the answer; NaN where nobody was timed."""
    ranking: NDArray[np.int64]
    """(B,): number of the ranked list that a pair comes from, all of whose pairs are there; `ALONE`
    for a pair that was asked about by itself."""

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) > 1:
            raise InputError(f"preferences: columns differ in length: {lengths}")
        for name in ("labels", "confidence"):
            values = getattr(self, name)
            wrong = np.flatnonzero(~((values >= 0.0) & (values <= 1.0)))  # True for NaN as well
            if len(wrong):
                row = int(wrong[0])
                raise InputError(
                    f"preferences: {name} must lie in [0, 1], found {values[row]} in row {row}; "
                    "drop or mend the row"
                )
        unknown = sorted(set(self.source.tolist()) - set(SOURCES))
        if unknown:
            raise InputError(
                f"preferences: unknown source {unknown[0]!r}; choose from {', '.join(SOURCES)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice | NDArray[Any]) -> Preferences:
        return Preferences(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def join(self, other: Preferences) -> Preferences:
        """The rows of both, these first; the other's ranked lists are numbered after these."""

        def both(one: Any, two: Any) -> Any:
            return one.join(two) if isinstance(one, Segments) else np.concatenate([one, two])

        joined = Preferences(
            **{f.name: both(getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        )
        known = max(self.ranking, default=ALONE) + 1
        later = np.where(other.ranking == ALONE, ALONE, other.ranking + known)
        return replace(joined, ranking=np.concatenate([self.ranking, later]))

    @staticmethod
    def from_labels(
        dataset: TrajectoryDataset,
        first: Segments,
        second: Segments,
        labels: NDArray[np.floating[Any]],
        *,
        source: str,
        annotator: str,
        created_at: datetime,
        confidence: NDArray[np.floating[Any]] | float = 1.0,
    ) -> Preferences:
        """Builds preferences over one dataset, all by one annotator at one time.

        Args:
            dataset: the dataset of both sides.
            first: (B,) first segments.
            second: (B,) second segments.
            labels: (B,) probability that the second is preferred.
            source: one of `SOURCES`.
            annotator: who or what judged.
            created_at: when; a time zone other than UTC is converted.
            confidence: (B,) or one number, weight of each comparison.

        Raises:
            InputError: if a segment lies outside the dataset or a value is out of range.
        """
        count = len(labels)
        check_segments(dataset, first, "first segments")
        check_segments(dataset, second, "second segments")
        fingerprints = np.full(count, dataset.fingerprint)
        return Preferences(
            first=first,
            second=second,
            first_dataset=fingerprints,
            second_dataset=fingerprints,
            labels=np.asarray(labels, dtype=np.float64),
            source=np.full(count, source),
            annotator=np.full(count, annotator),
            confidence=np.broadcast_to(np.asarray(confidence, dtype=np.float64), (count,)),
            created_at=np.full(count, _microseconds(created_at), dtype="datetime64[us]"),
            response_time_s=np.full(count, np.nan),
            ranking=np.full(count, ALONE),
        )

    def to_batch(
        self, dataset: TrajectoryDataset, device: torch.device | str = "cpu"
    ) -> PreferenceBatch:
        """Contents of all comparisons as tensors, each side padded to its longest segment.

        Raises:
            InputError: if the preferences belong to another dataset.
        """
        import torch

        check_dataset(self, dataset)
        return PreferenceBatch(
            first=gather(dataset, self.first, device),
            second=gather(dataset, self.second, device),
            labels=torch.as_tensor(self.labels, dtype=torch.float32).to(device),
            confidence=torch.tensor(self.confidence, dtype=torch.float32).to(device),
        )


def check_dataset(preferences: Preferences, dataset: TrajectoryDataset) -> None:
    """Checks that preferences were given for this dataset.

    Raises:
        InputError: if a fingerprint differs or a segment lies outside the dataset.
    """
    for side in ("first", "second"):
        names = getattr(preferences, f"{side}_dataset")
        other = np.flatnonzero(names != dataset.fingerprint)
        if len(other):
            raise InputError(
                f"preferences: row {int(other[0])} was given for dataset {names[other[0]]}, but "
                f"{dataset.source} is {dataset.fingerprint}; use the dataset that was labelled"
            )
        check_segments(dataset, getattr(preferences, side), f"preferences, {side}")


def check_informative(preferences: Preferences) -> None:
    """Checks that something can be learned from the labels.

    Raises:
        InputError: if fewer than two pairs have a label of positive confidence, or all labels
            are equal.
    """
    labels = preferences.labels[preferences.confidence > 0.0]
    if len(labels) < 2:
        raise InputError(
            f"preferences: {len(labels)} labelled pairs of positive confidence, but at least 2 "
            "are needed; label more pairs"
        )
    if np.ptp(labels) == 0.0:
        raise InputError(
            f"preferences: all {len(labels)} labels are {labels[0]:g}, so nothing can be learned; "
            "label other pairs, or swap the sides of some"
        )


def save_preferences(path: Path, preferences: Preferences) -> None:
    """Writes preferences as Parquet, atomically; equal preferences give equal bytes."""
    columns: dict[str, Any] = {}
    for side in ("first", "second"):
        segments: Segments = getattr(preferences, side)
        columns[f"{side}_dataset"] = getattr(preferences, f"{side}_dataset")
        columns[f"{side}_episode"] = segments.episodes
        columns[f"{side}_start"] = segments.starts
        columns[f"{side}_length"] = segments.lengths
    columns["label"] = preferences.labels
    columns["source"] = preferences.source
    columns["annotator"] = preferences.annotator
    columns["confidence"] = preferences.confidence
    columns["created_at"] = preferences.created_at
    columns["response_time_s"] = preferences.response_time_s
    columns["ranking"] = preferences.ranking
    empty = {"ranking": preferences.ranking == ALONE}
    arrays = [
        # NaN becomes null
        pa.array(columns[f.name], type=f.type, from_pandas=True, mask=empty.get(f.name))
        for f in SCHEMA
    ]
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(arrays, schema=SCHEMA), temporary)


def load_preferences(path: Path | str) -> Preferences:
    """Reads preferences.

    Raises:
        InputError: if the file is missing, damaged, lacks a column, or a value is missing or
            out of range.
    """
    path = existing_file(path)
    try:
        check_expansion(path, ROW_BYTES * pq.read_metadata(path).num_rows)
        table = pq.read_table(path)
        for name in LATER:
            if name not in table.column_names:
                table = table.append_column(SCHEMA.field(name), pa.nulls(len(table), pa.int64()))
        missing = [name for name in SCHEMA.names if name not in table.column_names]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: damaged or not a Parquet file ({reason}); write the labels again"
        ) from error
    if missing:
        raise InputError(
            f"{path}: has no column {', '.join(missing)}; a preferences file has "
            f"{', '.join(SCHEMA.names)}"
        )
    try:
        table = table.select(SCHEMA.names).cast(SCHEMA)
        table.validate(full=True)  # text that is no UTF-8 passes the cast
    except (pa.ArrowException, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: a column has a wrong type or an empty cell ({reason}); mend the file"
        ) from error
    for field in SCHEMA:
        if not field.nullable and table[field.name].null_count:
            raise InputError(f"{path}: column {field.name} has empty cells; mend or drop the rows")

    def column(name: str) -> Any:
        return np.array(table[name].to_numpy())  # a copy: Arrow's memory is read-only

    def text(name: str) -> NDArray[np.str_]:
        # NumPy gives every row the room of the longest text.
        if (pc.max(pc.utf8_length(table[name])).as_py() or 0) > LONGEST_TEXT:
            raise InputError(f"column {name} has a text of over {LONGEST_TEXT} letters; shorten it")
        values: NDArray[np.str_] = column(name).astype(np.str_)
        return values

    def segments(side: str) -> Segments:
        return Segments(*(column(f"{side}_{name}") for name in ("episode", "start", "length")))

    try:
        return Preferences(
            first=segments("first"),
            second=segments("second"),
            first_dataset=text("first_dataset"),
            second_dataset=text("second_dataset"),
            labels=column("label"),
            source=text("source"),
            annotator=text("annotator"),
            confidence=column("confidence"),
            created_at=column("created_at"),
            response_time_s=column("response_time_s").astype(np.float64),
            ranking=np.array(table["ranking"].fill_null(ALONE).to_numpy()),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _microseconds(moment: datetime) -> np.datetime64:
    """UTC microseconds; `created_at` must know its time zone."""
    if moment.tzinfo is None:
        raise InputError("created_at needs a time zone, such as datetime.now(UTC)")
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
