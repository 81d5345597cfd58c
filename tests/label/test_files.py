"""Answers as files, videos, the terminal, and the reward that learns meanwhile."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from robopref.cli import label_page
from robopref.cli import main as cli
from robopref.data.robomimic import load_dataset, save_dataset
from robopref.data.segments import whole_episodes
from robopref.errors import InputError
from robopref.label.export import ANSWERS, PREFERENCES, export, preferences_of
from robopref.label.fit import held_out
from robopref.label.learner import Learner, is_flat
from robopref.label.learning import LearningConfig
from robopref.label.pictures import SIZE, Source, drawn
from robopref.label.questions import PAIR, TEXTS, Piece, Question, piece_of
from robopref.label.store import Answer, Store
from robopref.label.terminal import ask_in_terminal
from robopref.label.videos import FRAMES, VideoCache, frame_step
from robopref.preferences.dataset import ALONE, load_preferences
from robopref.preferences.queries import uniform_pairs
from tests.label.conftest import pairs

A, B, C = Piece(0, 0, 12), Piece(1, 2, 5), Piece(2, 0, 12)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def given(kind: str, pieces: Any, answer: dict[str, Any], attribute: str = "") -> Answer:
    return Answer(7, Question(kind, "?", pieces, attribute), "ana", answer, "so", 1.5, NOW)


def test_answers_become_preferences(dataset: Any, tmp_path: Path) -> None:
    answers = [
        given("pair", (A, B), {"choice": "second"}),
        given("pair", (B, C), {"choice": "equal"}),
        given("pair", (A, C), {"skip": True}),
        given("ranking", (A, B, C), {"order": [2, 0, 1]}),
        given("score", (A,), {"score": 3}),
        given("attribute", (A, B), {"choice": "first"}, "gentler"),
    ]
    assert export(answers, dataset, tmp_path) == 5
    found = load_preferences(tmp_path / PREFERENCES)
    assert found.labels.tolist() == [1.0, 0.5, 0.0, 1.0, 0.0]
    assert found.first.episodes.tolist() == [0, 1, 2, 1, 0]
    assert found.second.starts.tolist() == [2, 0, 0, 0, 2]
    assert found.ranking.tolist() == [ALONE, ALONE, 3, 3, 3]
    assert found.confidence.tolist() == [1.0, 1.0] + [pytest.approx(2 / 3)] * 3
    assert set(found.source) == {"human"} and set(found.annotator) == {"ana"}
    assert found.created_at[0] == np.datetime64("2026-01-02T03:04:05.678901")
    assert set(found.first_dataset) == {dataset.fingerprint}
    gentler = load_preferences(tmp_path / "preferences-gentler.parquet")
    assert gentler.labels.tolist() == [0.0]
    table = pq.read_table(tmp_path / ANSWERS).to_pylist()
    assert len(table) == 6 and json.loads(table[4]["answer"]) == {"score": 3}
    assert table[0]["reason"] == "so" and json.loads(table[0]["pieces"])[1] == [1, 2, 5]
    export(answers[:1], dataset, tmp_path, earlier=found)
    assert len(load_preferences(tmp_path / PREFERENCES)) == 6


def test_no_answers_are_an_empty_file(dataset: Any, tmp_path: Path) -> None:
    assert export([], dataset, tmp_path) == 0
    assert len(load_preferences(tmp_path / PREFERENCES)) == 0


def test_drawings_of_recordings_without_pictures(points: Path, dataset: Any) -> None:
    assert [frame_step(length) for length in (1, FRAMES, FRAMES + 1, 500)] == [1, 1, 2, 11]
    frames = np.stack([*Source(points).frames(Piece(0, 2, 6))])  # the toy task cannot render itself
    assert frames.shape == (7, SIZE, SIZE, 3) and frames.dtype == np.uint8
    assert not np.array_equal(frames[0], frames[-1])
    still = [*drawn(dataset[0], {}, [3, 3])]
    np.testing.assert_array_equal(still[0], still[1])
    with pytest.raises(InputError, match="episode 0 has no step 13"):
        next(Source(points).frames(Piece(0, 2, 11)))


def test_recorded_pictures_are_shown(tmp_path: Path) -> None:
    from robopref.data.collect import collect

    path = tmp_path / "seen.hdf5"
    collect("toy/point-mass-v0", {"cameras": ["top"]}, {"shares": {"expert": 1.0}}, 2, 0, path,
            workers=1)  # fmt: skip
    seen = load_dataset(path)
    frames = np.stack([*Source(path).frames(Piece(1, 0, 10))])
    expected = cv2.resize(seen[1].observations["top_image"][4], (SIZE, SIZE), interpolation=3)
    np.testing.assert_array_equal(frames[4], expected)


def test_videos_are_made_beside_and_kept(points: Path, tmp_path: Path) -> None:
    cache = VideoCache(points, tmp_path, workers=1)
    try:
        assert cache.path(A) is None
        cache.prepare([A, B, Piece(0, 0, 99)])
        end = time.monotonic() + 60
        while cache.path(B) is None:
            assert time.monotonic() < end
            time.sleep(0.05)
        video = cv2.VideoCapture(str(cache.path(A)))
        assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 13
        with pytest.raises(InputError, match="video 0-0-99: cannot be made"):
            while time.monotonic() < end:
                cache.path(Piece(0, 0, 99))
                time.sleep(0.05)
    finally:
        cache.close()
    later = VideoCache(points, tmp_path, workers=1)
    assert later.path(A) is not None
    later.wait([C], 60.0)
    assert later.path(C) is not None
    later.close()


def test_videos_survive_their_processes(points: Path, tmp_path: Path) -> None:
    cache = VideoCache(points, tmp_path, workers=1)
    try:
        cache.wait([A], 60.0)
        for process in cache._pool._processes.values():
            process.kill()
        end = time.monotonic() + 60
        cache.prepare([B])
        while cache.path(B) is None:
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        cache.close()


def test_a_failed_video_is_tried_again(points: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    cache = VideoCache(points, folder, workers=1)
    try:
        folder.rmdir()
        folder.write_text("")  # as a full disk: no video can be written
        cache.wait([A], 60.0)
        with pytest.raises(InputError, match="video 0-0-12: cannot be made"):
            cache.path(A)
        folder.unlink()
        cache.wait([A], 60.0)
        assert cache.path(A) is not None
    finally:
        cache.close()


class ReadyVideos:
    """One video for all pieces."""

    def __init__(self, folder: Path) -> None:
        from robopref.report.video import write_mp4

        self._path = folder / "video.mp4"
        write_mp4(self._path, np.zeros((4, 64, 64, 3), np.uint8))

    def prepare(self, pieces: Any) -> None:
        list(pieces)

    def path(self, piece: Piece) -> Path:
        return self._path


def test_in_the_terminal(store: Store, tmp_path: Path) -> None:
    more = [
        Question("ranking", TEXTS["ranking"], (A, B, C)),
        Question("score", TEXTS["score"], (A,)),
        Question("success", TEXTS["success"], (A,)),
    ]
    store.add_questions([*pairs(3), *more])
    typed = iter(["x", "l", "u", "r", "s", "e", "cab", "11", "7.5", "y 40", "y 4"])
    shown: list[str] = []
    videos: Any = ReadyVideos(tmp_path)
    stored = ask_in_terminal(store, videos, "ana", tmp_path, lambda _: next(typed), shown.append)
    assert stored == 6 and "no question is left; thank you" in shown
    assert [answer.answer for answer in store.answers()] == [
        {"choice": "second"}, {"skip": True}, {"choice": "equal"}, {"order": [2, 0, 1]},
        {"score": 7.5}, {"success": True, "step": 4},
    ]  # fmt: skip
    assert cv2.imread(str(tmp_path / "now-A.png")).shape == (128, 512, 3)
    assert sum("is none to a" in line for line in shown) == 3  # x, 11 and y 40
    store.add_questions(pairs(4)[3:])
    assert ask_in_terminal(store, videos, "ana", tmp_path, lambda _: "q", shown.append) == 0


def test_in_the_terminal_there_may_be_nothing_to_take_back(store: Store, tmp_path: Path) -> None:
    store.add_questions(pairs(1))
    typed, shown = iter(["u", "l"]), list[str]()
    videos: Any = ReadyVideos(tmp_path)
    assert ask_in_terminal(store, videos, "ana", tmp_path, lambda _: next(typed), shown.append) == 1
    assert "there is none to take back" in shown
    assert [answer.answer for answer in store.answers()] == [{"choice": "first"}]


def test_when_accuracies_are_flat() -> None:
    assert not is_flat([0.6, 0.6, 0.6], 0) and not is_flat([0.6, 0.6], 2)
    assert is_flat([0.6, 0.7, 0.7, 0.705], 2) and not is_flat([0.6, 0.7, 0.7, 0.72], 2)


def test_the_same_pairs_are_held_out_every_time(dataset: Any) -> None:
    first, second = uniform_pairs(whole_episodes(dataset), 60, np.random.default_rng(0))
    asked = [
        given("pair", (piece_of(first, i), piece_of(second, i)), {"choice": "first"})
        for i in range(60)
    ]
    exchanged = [given("pair", a.question.pieces[::-1], {"choice": "second"}) for a in asked]
    chosen = held_out(preferences_of(asked, dataset))
    assert 4 <= chosen.sum() <= 22
    np.testing.assert_array_equal(chosen[:30], held_out(preferences_of(asked[:30], dataset)))
    np.testing.assert_array_equal(chosen, held_out(preferences_of(exchanged, dataset)))


@pytest.mark.parametrize("strategy", ["uniform", "disagreement"])
def test_the_reward_learns_and_asks(
    points: Path, dataset: Any, store: Store, tmp_path: Path, strategy: str
) -> None:
    first, second = uniform_pairs(whole_episodes(dataset), 40, np.random.default_rng(0))
    chosen = [(piece_of(first, i), piece_of(second, i)) for i in range(40)]
    store.add_questions([Question(PAIR, "?", pair) for pair in chosen])
    config = LearningConfig(strategy, every=40, epochs=20)
    learner = Learner(config, store, dataset, points, 0, 60, "?", tmp_path / "learning", 0)
    ana = store.annotator("ana")
    try:
        while (leased := store.next_question(ana)) is not None:
            returns = [dataset.returns[piece.episode] for piece in leased.question.pieces]
            choice = "first" if returns[0] > returns[1] else "second"
            store.answer(ana, leased.place, f"answer-{leased.place:04}", {"choice": choice})
            learner.on_answer()
        end = time.monotonic() + 90
        while not learner.curve and time.monotonic() < end:
            time.sleep(0.1)
        (point,) = learner.summary()["curve"]
        assert point["answers"] == 40 and point["accuracy"] > 0.7
        time.sleep(0.5)
        asked = store.questions()
        assert len(asked) == (40 if strategy == "uniform" else 60)
        assert len({frozenset(question.pieces) for question in asked}) == len(asked)
    finally:
        learner.close()
    again = Learner(config, store, dataset, points, 0, 60, "?", tmp_path / "learning", 0)
    assert again.curve == learner.curve
    again.close()


def test_answers_that_teach_nothing_do_not_end_the_questions(
    points: Path, dataset: Any, store: Store, tmp_path: Path
) -> None:
    store.add_questions(pairs(10))
    config = LearningConfig("disagreement", every=10)
    learner = Learner(config, store, dataset, points, 0, 20, "?", tmp_path / "learning", 0)
    ana = store.annotator("ana")
    while (leased := store.next_question(ana)) is not None:
        store.answer(ana, leased.place, f"answer-{leased.place:04}", {"choice": "equal"})
    learner.on_answer()
    end = time.monotonic() + 60
    while len(store.questions()) < 20 and time.monotonic() < end:
        time.sleep(0.1)
    learner.close()
    assert len(store.questions()) == 20 and learner.curve[0]["accuracy"] == 0.5


def test_states_without_their_simulator_are_drawn(tmp_path: Path, dataset: Any) -> None:
    from dataclasses import replace

    path = tmp_path / "unknown.hdf5"
    save_dataset(path, replace(dataset, env_args={"env_name": "nobody/knows-v0", "type": 2}))
    assert np.stack([*Source(path).frames(A)]).shape == (13, SIZE, SIZE, 3)


def test_a_missing_package_is_told_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(label_page, "PACKAGES", ("fastapi", "robopref_is_not_this"))
    assert cli.main(["label", "none.hdf5"]) == 2
    assert capsys.readouterr().err == (
        "robopref: label: needs the package robopref_is_not_this; pip install 'robopref[label]'\n"
    )
    assert not list(tmp_path.iterdir())
