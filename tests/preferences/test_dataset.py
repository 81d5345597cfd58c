from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robopref.data.segments import whole_episodes
from robopref.errors import InputError
from robopref.preferences.dataset import (
    Preferences,
    check_dataset,
    check_informative,
    load_preferences,
    save_preferences,
)
from robopref.preferences.queries import all_pairs
from tests.preferences.small_data import dataset_of

NOW = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
DATASET = dataset_of([[1, 2, 3, 4], [5, 6], [7, 8, 9]])


@pytest.fixture
def preferences() -> Preferences:
    first, second = all_pairs(whole_episodes(DATASET))
    return Preferences.from_labels(
        DATASET,
        first,
        second,
        np.array([1.0, 0.5, 0.25]),
        source="transferred",
        annotator="cpa",
        created_at=NOW,
        confidence=np.array([1.0, 0.0, 0.5]),
    )


def test_round_trip(preferences: Preferences, tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    save_preferences(path, preferences)
    loaded = load_preferences(path)
    for name in ("labels", "confidence", "source", "annotator", "created_at", "first_dataset"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(preferences, name))
    np.testing.assert_array_equal(loaded.second.lengths, [2, 3, 3])
    assert np.isnan(loaded.response_time_s).all()
    assert str(loaded.created_at[0]) == "2026-01-02T03:04:05.000006"
    save_preferences(tmp_path / "again.parquet", loaded)
    assert (tmp_path / "again.parquet").read_bytes() == path.read_bytes()
    assert sorted(tmp_path.iterdir()) == [tmp_path / "again.parquet", path]  # no leftovers


def test_batch_holds_both_sides(preferences: Preferences) -> None:
    batch = preferences.to_batch(DATASET)
    assert batch.first.observations[:, 0, 0].tolist() == [1.0, 1.0, 5.0]
    assert batch.second.mask.sum(1).tolist() == [2.0, 3.0, 3.0]
    assert batch.labels.tolist() == [1.0, 0.5, 0.25]
    assert batch.confidence.tolist() == [1.0, 0.0, 0.5]


def test_selection(preferences: Preferences) -> None:
    chosen = preferences[preferences.confidence > 0]
    assert len(chosen) == 2
    assert chosen.second.episodes.tolist() == [1, 2]


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.1])
def test_labels_out_of_range(preferences: Preferences, value: float) -> None:
    with pytest.raises(InputError, match=r"labels must lie in \[0, 1\].* in row 2"):
        replace(preferences, labels=np.array([0.0, 1.0, value]))


def test_unknown_source(preferences: Preferences) -> None:
    with pytest.raises(InputError, match="unknown source 'guess'; choose from human"):
        replace(preferences, source=np.full(3, "guess"))


def test_columns_of_different_length(preferences: Preferences) -> None:
    with pytest.raises(InputError, match="columns differ in length"):
        replace(preferences, labels=np.zeros(2))


def test_other_dataset(preferences: Preferences) -> None:
    other = dataset_of([[1, 2, 3, 4], [5, 6], [7, 8, 9]], seed=1)
    with pytest.raises(InputError, match=f"row 0 was given for dataset {DATASET.fingerprint}"):
        preferences.to_batch(other)


def test_segment_outside_the_dataset(preferences: Preferences) -> None:
    shifted = replace(preferences.second, starts=preferences.second.starts + 1)
    with pytest.raises(InputError, match="preferences, second: segment 0"):
        check_dataset(replace(preferences, second=shifted), DATASET)


def test_nothing_to_learn(preferences: Preferences) -> None:
    check_informative(preferences)
    with pytest.raises(InputError, match="1 labelled pairs"):
        check_informative(preferences[:2])  # the second has no confidence
    with pytest.raises(InputError, match="all 3 labels are 1, so nothing can be learned"):
        check_informative(replace(preferences, labels=np.ones(3), confidence=np.ones(3)))


def test_missing_and_damaged_files(preferences: Preferences, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_preferences(tmp_path / "none.parquet")
    path = tmp_path / "labels.parquet"
    save_preferences(path, preferences)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"labels.parquet: damaged or not a Parquet file"):
        load_preferences(path)


def test_missing_columns_and_empty_cells(preferences: Preferences, tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    save_preferences(path, preferences)
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["label"]), path)
    with pytest.raises(InputError, match=r"labels.parquet: has no column label"):
        load_preferences(path)
    holes = pa.array([1.0, None, 0.0])
    position = table.column_names.index("label")
    pq.write_table(table.set_column(position, "label", holes), path)
    with pytest.raises(InputError, match=r"labels.parquet: .*empty cell"):
        load_preferences(path)
    words = pa.array(["first", "second", "first"])
    pq.write_table(table.set_column(position, "label", words), path)
    with pytest.raises(InputError, match=r"labels.parquet: a column has a wrong type"):
        load_preferences(path)
    wrong = pa.array([1.0, float("nan"), 0.0])
    pq.write_table(table.set_column(position, "label", wrong), path)
    with pytest.raises(InputError, match=r"labels.parquet: preferences: labels must lie in"):
        load_preferences(path)


def test_time_without_zone_is_refused() -> None:
    first, second = all_pairs(whole_episodes(DATASET))
    with pytest.raises(InputError, match="time zone"):
        Preferences.from_labels(
            DATASET,
            first,
            second,
            np.zeros(3),
            source="human",
            annotator="me",
            created_at=datetime(2026, 1, 1),
        )
