from __future__ import annotations

import pickle
import shutil
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import segment_returns
from robopref.errors import InputError
from robopref.preferences.importers.imported import agreement_with
from robopref.preferences.importers.lire import import_lire
from robopref.preferences.importers.positions import Layout, episode_runs, locate
from robopref.preferences.importers.preference_transformer import import_preference_transformer
from robopref.preferences.importers.uni_rlhf import import_uni_rlhf
from robopref.preferences.importers.uni_rlhf_export import import_uni_rlhf_export

SAMPLES = Path(__file__).parents[3] / "assets" / "labels"
LIFT = SAMPLES / "preference_transformer" / "Lift_ph"
CHEETAH = SAMPLES / "uni_rlhf"
NOW = datetime(2025, 1, 1, tzinfo=UTC)


def dataset_of(lengths, rewards=None, terminated=()) -> TrajectoryDataset:
    """Episodes of these lengths with one observation feature; all are cut off but a few."""
    lengths = np.asarray(lengths, dtype=np.int64)
    steps = int(lengths.sum())
    ends = np.cumsum(lengths) - 1
    last = np.zeros(steps, dtype=bool)
    last[ends] = True
    end_of_task = np.zeros(steps, dtype=bool)
    end_of_task[ends[list(terminated)]] = True
    return TrajectoryDataset(
        observations={"state": np.zeros((steps + len(lengths), 1), dtype=np.float32)},
        actions=np.arange(steps, dtype=np.float32)[:, None],
        rewards=np.zeros(steps, dtype=np.float32)
        if rewards is None
        else np.asarray(rewards, dtype=np.float32),
        terminated=end_of_task,
        truncated=last & ~end_of_task,
        success=np.zeros(steps, dtype=bool),
        lengths=lengths,
    )


def flat_rows(dataset: TrajectoryDataset, layout: Layout) -> np.ndarray:
    """Steps of the dataset in the order of the flat arrays, built step by step."""
    names = [f"demo_{i}" for i in range(len(dataset))]
    order = sorted(names) if layout is Layout.ROBOMIMIC else names
    rows = []
    for name in order:
        episode = names.index(name)
        for step in range(int(dataset.offsets[episode]), int(dataset.offsets[episode + 1])):
            last = step + 1 == dataset.offsets[episode + 1]
            if layout is Layout.ROBOMIMIC and last:
                continue
            if layout is Layout.D4RL and dataset.truncated[step]:
                continue
            rows.append(step)
    return np.array(rows)


@pytest.mark.parametrize("layout", Layout)
def test_positions_count_the_steps_of_the_flat_arrays(layout, rng):
    dataset = dataset_of(rng.integers(5, 9, 23), terminated=(3, 7))
    rows = flat_rows(dataset, layout)
    assert episode_runs(dataset, layout)[1].sum() == len(rows)
    starts = np.arange(len(rows) - 2)
    segments, inside = locate(dataset, starts, np.full(len(starts), 3), layout, "labels")
    assert np.array_equal(dataset.offsets[segments.episodes] + segments.starts, rows[starts])
    # A segment lies in one episode if its three rows do.
    episode_of = np.repeat(np.arange(len(dataset)), dataset.lengths)[rows]
    assert np.array_equal(inside, episode_of[:-2] == episode_of[2:])
    assert not inside.all()


def test_positions_beyond_the_dataset_are_refused():
    dataset = dataset_of([10, 10])
    lengths = np.array([5, 5])
    with pytest.raises(InputError, match=r"row 1 \(position 15, 5 steps\).* 19 steps? of|18 steps"):
        locate(dataset, np.array([0, 15]), lengths, Layout.D4RL, "labels")
    with pytest.raises(InputError, match="row 0"):
        locate(dataset, np.array([-1, 0]), lengths, Layout.STEPS, "labels")
    with pytest.raises(InputError, match="whole numbers"):
        locate(dataset, np.array([0.5, 0]), lengths, Layout.STEPS, "labels")


@pytest.fixture(scope="module")
def lift() -> TrajectoryDataset:
    """As large as Lift-PH: 200 episodes, 9666 steps; the reward grows within each episode."""
    lengths = np.full(200, 48)
    lengths[:66] += 1
    return dataset_of(lengths, np.concatenate([np.arange(n) for n in lengths]))


def test_preference_transformer(lift):
    imported = import_preference_transformer(LIFT, lift, NOW, length=20)
    labels = imported.preferences.labels
    assert len(labels) + imported.crossing == 100
    # All 100 labels: 55 ties, 35 first, 10 second.
    everything = import_preference_transformer(LIFT, dataset_of([9667]), NOW)
    assert everything.crossing == 0
    assert [int((everything.preferences.labels == v).sum()) for v in (0.5, 0.0, 1.0)] == [
        55,
        35,
        10,
    ]
    assert set(everything.preferences.first.lengths) == {50}
    assert set(everything.preferences.source) == {"human"}
    assert everything.agreement is None
    assert "35 prefer the first, 10 the second, 55 ties; true rewards unknown" in (
        everything.summary()
    )


def test_agreement_with_the_true_return(lift):
    imported = import_preference_transformer(LIFT, lift, NOW, length=20)
    preferences = imported.preferences
    first, second = (segment_returns(lift, s) for s in (preferences.first, preferences.second))
    agree = [
        (label == 1.0) == (b > a)
        for label, a, b in zip(preferences.labels, first, second, strict=True)
        if label != 0.5 and a != b
    ]
    assert imported.agreement == pytest.approx(np.mean(agree))
    assert f"{imported.crossing} dropped" in imported.summary()


def test_a_dataset_that_was_not_labelled_is_refused():
    with pytest.raises(InputError, match="lies outside the 4998 steps"):
        import_preference_transformer(LIFT, dataset_of([2500, 2500]), NOW)


def pt_folder(tmp_path: Path, first, second, labels, suffix="num5") -> Path:
    for name, value in (
        (f"indices_{suffix}", np.array(first)),
        (f"indices_2_{suffix}", np.array(second)),
        ("label_human", list(labels)),
    ):
        (tmp_path / name).write_bytes(pickle.dumps(value))
    return tmp_path


def test_more_positions_than_labels_is_as_published(tmp_path):
    folder = pt_folder(tmp_path, [0, 7, 3, 1], [20, 30, 40, 50], [1, 0, -1])
    imported = import_preference_transformer(folder, dataset_of([300]), NOW)
    assert imported.preferences.labels.tolist() == [1.0, 0.0, 0.5]
    assert imported.preferences.first.starts.tolist() == [0, 7, 3]
    assert imported.preferences.second.starts.tolist() == [20, 30, 40]
    assert imported.preferences.first.lengths.tolist() == [100] * 3  # D4RL's, where unnamed


@pytest.mark.parametrize(
    ("first", "second", "labels", "message"),
    [
        ([0, 1], [2, 3], [1, 0, 1], "3 labels for 2 first"),
        ([0, 1], [2], [1], "2 first and 1 second"),
        ([0, 1], [2, 3], [1, 2], "found 2.* in row 1"),
        ([0.5, 1], [2, 3], [1, 1], "whole numbers"),
        ([200, 0], [2, 3], [1, 1], "lies outside the 299"),
    ],
)
def test_wrong_folders_are_refused(tmp_path, first, second, labels, message):
    folder = pt_folder(tmp_path, first, second, labels)
    with pytest.raises(InputError, match=message):
        import_preference_transformer(folder, dataset_of([300]), NOW)


def test_the_last_position_that_fits_is_taken(tmp_path):
    folder = pt_folder(tmp_path, [200], [0], [1])
    assert len(import_preference_transformer(folder, dataset_of([301]), NOW).preferences) == 1


def test_a_folder_without_its_files_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has 0 files indices_num"):
        import_preference_transformer(tmp_path, dataset_of([300]), NOW)


def test_uni_rlhf_crowd():
    # As halfcheetah-medium-expert: 2000 episodes of 1000 steps, all cut off by the time limit.
    cheetah = dataset_of(np.full(2000, 1000))
    path = next(CHEETAH.glob("human*"))
    imported = import_uni_rlhf(path, cheetah, NOW)
    labels = imported.preferences.labels
    assert [int((labels == value).sum()) for value in (0.5, 0.0, 1.0)] == [159, 967, 874]
    assert set(imported.preferences.annotator) == {"uni-rlhf:crowd"}
    assert set(imported.preferences.first.lengths) == {200}
    # People were shown segments within episodes, so the right layout crosses none.
    assert imported.crossing == 0
    assert import_uni_rlhf(path, cheetah, NOW, layout=Layout.STEPS).crossing == 715


def test_scripted_labels_are_not_joined_to_rows_of_another_order():
    with pytest.raises(InputError, match="in another order"):
        import_uni_rlhf(next(CHEETAH.glob("fake*")), dataset_of([1_998_001]), NOW)


def test_uni_rlhf_scripted(tmp_path):
    suffix = "domain_mujoco_env_x_num_2000_len_200_abc.pkl"
    shutil.copy(next(CHEETAH.glob("fake*")), tmp_path / f"fake_label_{suffix}")
    for side in (1, 2):
        source = next(CHEETAH.glob(f"indices_{side}*"))
        shutil.copy(source, tmp_path / f"indices_{side}_{suffix}")
    imported = import_uni_rlhf(tmp_path, dataset_of([1_998_001]), NOW)
    counts = [int((imported.preferences.labels == v).sum()) for v in (0.5, 0.0, 1.0)]
    assert counts == [75, 973, 952]
    assert set(imported.preferences.source) == {"scripted"}


def test_labels_are_compared_pair_by_pair_not_row_by_row(tmp_path):
    dataset = dataset_of([500])
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text("1 2 3\n5 6 1\n7 8 2\n9 10 3\n")
    other.write_text("9 10 1\n7 8 3\n5 6 1\n1 2 3\n20 30 1\n")
    first, second = (import_lire(path, dataset, NOW).preferences for path in (one, other))
    count, share = agreement_with(first, second)
    assert (count, share) == (3, pytest.approx(2 / 3))
    assert agreement_with(first[:0], second) == (0, None)


def uni_files(folder: Path, first, second, labels) -> Path:
    suffix = "domain_d_env_e_num_3_len_4_id.pkl"
    for name, value in (("indices_1", first), ("indices_2", second), ("human_label", labels)):
        (folder / f"{name}_{suffix}").write_bytes(pickle.dumps(np.array(value)))
    return folder


def test_wrong_uni_rlhf_files_are_refused(tmp_path):
    dataset = dataset_of([30])
    assert len(
        import_uni_rlhf(uni_files(tmp_path, [5, 9], [0, 3], [1, -1]), dataset, NOW).preferences
    )
    for first, labels, message in (
        (["0", "1"], [1, 0], "only numbers"),
        ([1, 0], [1, 0], "numbers of queries"),
        ([5, 9], [1, 0, 1], "3 labels for 2"),
        ([5, 9], [[0.5, 0.2], [1.0, 0.0]], "add up to 1"),
        ([5, 9], [7, 0], "found 7"),
    ):
        with pytest.raises(InputError, match=message):
            import_uni_rlhf(uni_files(tmp_path, first, [0, 3], labels), dataset, NOW)
    (tmp_path / "human_label_other_len_4.pkl").write_bytes(b"")
    with pytest.raises(InputError, match="has 2 label files"):
        import_uni_rlhf(tmp_path, dataset, NOW)
    with pytest.raises(InputError, match="is not named like"):
        import_uni_rlhf(tmp_path / "labels.pkl", dataset, NOW)


HEADER = (
    "id,query_id,end_indices_1,start_indices_1,query_id,start_indices_2,end_indices_2,"
    "feedback_type,label,annotator_name"
)


def export(path: Path, *rows: str, header: str = HEADER) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta_data.json", "{}")
        archive.writestr("label.csv", "\n".join([header, *rows]))
    return path


OPTIONS = {"0": 0, "1": 1, "2": -1}


def test_uni_rlhf_export(tmp_path):
    path = export(
        tmp_path / "export.zip",
        "0,q,14,10,q,20,24,comparison,\"{7: {'0': 0}, 8: {'0': 1}}\",Ada",
        "1,q,4,0,q,3,7,comparison,{7: {'0': 2}},Ada",
        "2,q,4,0,q,3,7,comparison,,Ada",
    )
    imported = import_uni_rlhf_export(path, dataset_of([40]), NOW, OPTIONS)
    preferences = imported.preferences
    assert preferences.labels.tolist() == [0.0, 1.0, 0.5]
    assert preferences.annotator.tolist() == ["7", "8", "7"]
    assert preferences.first.starts.tolist() == [10, 10, 0]
    assert preferences.second.starts.tolist() == [20, 20, 3]
    swapped = import_uni_rlhf_export(path, dataset_of([40]), NOW, {"0": 1, "1": 0, "2": -1})
    assert swapped.preferences.labels.tolist() == [1.0, 0.0, 0.5]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0,q,14,10,q,20,24,c,{7: {'0': 5}},A", "has the answer 5, which is none of"),
        ("0,q,14,10,q,20,24,c,{7: {'1': 0}},A", "has the answer None"),
        ("0,q,14,10,q,20,24,c,{7: [1]},A", "has the answer None"),
        ("0,q,14,10,q,20,25,c,{7: {'0': 0}},A", "differ in length"),
        ("0,q,14,x,q,20,24,c,{7: {'0': 0}},A", "is not readable"),
        ("0,q,14,10,q,20,24,c,__import__('os'),A", "is not readable"),
        ("0,q,14,10,q,20,24,c,[1],A", "is not readable"),
        ("0,q,14,10,q,20,24,c,,A", "no comparison is answered"),
        ("0,q,14,10,q,20", "no comparison is answered"),
    ],
)
def test_wrong_answers_are_refused(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        import_uni_rlhf_export(export(tmp_path / "x.zip", row), dataset_of([40]), NOW, OPTIONS)


def test_wrong_exports_are_refused(tmp_path):
    dataset = dataset_of([40])
    path = export(tmp_path / "x.zip", "0,1,2", header="id,label,start_indices")
    with pytest.raises(InputError, match="has no column start_indices_1"):
        import_uni_rlhf_export(path, dataset, NOW, OPTIONS)
    path.write_bytes(b"no zip")
    with pytest.raises(InputError, match="no export"):
        import_uni_rlhf_export(path, dataset, NOW, OPTIONS)
    export(path, "0" * 50_000_000)
    with pytest.raises(InputError, match="claims 5000"):
        import_uni_rlhf_export(path, dataset, NOW, OPTIONS)


def test_lire_pairs_and_lists(tmp_path):
    dataset = dataset_of([500, 500])
    path = tmp_path / "x_Independent.txt"
    path.write_text("3 510 1\n700 20 2\n1 2 3\n490 0 3\n")
    imported = import_lire(path, dataset, NOW)
    assert imported.preferences.labels.tolist() == [0.0, 0.5, 1.0]
    assert imported.crossing == 1  # 490 to 515
    assert imported.preferences.second.episodes.tolist() == [1, 0, 0]
    assert imported.preferences.second.starts.tolist() == [10, 20, 2]
    path.write_text("3\t510\t3\n")
    assert import_lire(path, dataset, NOW).preferences.labels.tolist() == [1.0]
    path.write_text("1 [40]\n0 [30, 20]\n2 [10]\n")
    preferences = import_lire(path, dataset, NOW).preferences
    found = zip(
        preferences.first.starts, preferences.second.starts, preferences.labels, strict=True
    )
    assert [tuple(map(float, row)) for row in found] == [
        (30, 20, 0.5), (40, 30, 0), (30, 10, 1), (40, 20, 0), (20, 10, 1), (10, 40, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["1 2 4\n", "1 2\n", "a b c\n", "0 [1, 2\n", "0 [x]\n", "x [1]\n", "0 1 [1]\n", "\xff"]
)
def test_wrong_lines_are_refused(tmp_path, text):
    path = tmp_path / "x.txt"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="a line is neither"):
        import_lire(path, dataset_of([500]), NOW)
