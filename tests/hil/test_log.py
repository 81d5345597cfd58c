"""Steps on disk: each once, in order, and whole."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from robopref.errors import InputError
from robopref.hil.link import MOST_REQUEST_BYTES
from robopref.hil.log import StepLog
from robopref.hil.steps import Sizes, Steps, session_dataset
from tests.hil.steps import IMAGE_SHAPE, episode


def test_steps_are_read_back_after_reopening(tmp_path: Path) -> None:
    log = StepLog(tmp_path / "a.steps", 2, 1)
    assert log.append(episode(1)) == 5
    assert log.append(episode(6, 3)) == 8
    log.close()
    again = StepLog(tmp_path / "a.steps", 2, 1)
    assert again.last == 8
    steps = again.all()
    assert steps is not None
    np.testing.assert_array_equal(steps.sequence, np.arange(1, 9))
    np.testing.assert_array_equal(steps.observations[:, 0], np.arange(1, 9))
    np.testing.assert_array_equal(np.flatnonzero(steps.starts), [0, 5])


def test_images_are_kept_once_and_stay_with_their_steps(tmp_path: Path) -> None:
    log = StepLog(tmp_path / "a.steps", 2, 1, IMAGE_SHAPE)
    log.append(Steps.join([episode(1, looks=True), episode(6, 3, looks=True)]))
    log.append(episode(7, 4, looks=True))  # 7 and 8 are known
    steps = log.after(3)
    assert steps is not None
    assert steps.first_images[:, 0, 0, 0].tolist() == [6]
    assert steps.next_images[:, 0, 0, 0].tolist() == [5, 6, 7, 8, 9, 10, 11]
    session = log.all()
    assert session is not None
    dataset = session_dataset([session], "session", ["hand_image"])
    assert dataset.observations["hand_image"].shape == (12, 16, 16, 3)
    shown = dataset.observations["hand_image"][:, 0, 0, 0]
    np.testing.assert_array_equal(shown, dataset.observations["flat"][:, 0])
    small = Sizes(2, 1, (3, 8, 8))
    with pytest.raises(InputError, match=r"_images is .* uint8, expected"):
        Steps.from_bytes(session.to_bytes(), small, "message")


def test_messages_with_images_stay_small(tmp_path: Path) -> None:
    shape = (6, 128, 128)
    log = StepLog(tmp_path / "a.steps", 2, 1, shape)
    picture = np.zeros(shape, np.uint8)
    for number in range(1, 61):
        step = episode(number, 1)
        log.append(dataclasses.replace(step, first_images=picture[None], next_images=picture[None]))
    found = log.after(0)
    assert found is not None
    assert 1 < len(found) < 60
    assert len(found.to_bytes()) < MOST_REQUEST_BYTES


def test_a_session_starts_with_an_episode(tmp_path: Path) -> None:
    log = StepLog(tmp_path / "a.steps", 2, 1)
    steps = episode(1)
    steps.starts[0] = False
    with pytest.raises(InputError, match="the first step must start an episode"):
        log.append(steps)


def test_steps_sent_twice_are_stored_once(tmp_path: Path) -> None:
    log = StepLog(tmp_path / "a.steps", 2, 1)
    log.append(episode(1))
    assert log.append(episode(1)) == 5
    assert log.append(episode(3, 6)) == 8  # 3 to 5 are known
    steps = log.all()
    assert steps is not None
    np.testing.assert_array_equal(steps.sequence, np.arange(1, 9))


def test_a_gap_is_refused(tmp_path: Path) -> None:
    log = StepLog(tmp_path / "a.steps", 2, 1)
    with pytest.raises(InputError, match="got step 4 after step 0"):
        log.append(episode(4))


@pytest.mark.parametrize("cut", range(1, 400, 37))
def test_a_kill_in_the_middle_of_a_write_leaves_whole_steps(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.steps"
    log = StepLog(path, 2, 1)
    for first in range(1, 6):
        log.append(episode(first, 1))
    log.close()
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    again = StepLog(path, 2, 1)
    assert again.last in (3, 4)
    assert again.append(episode(again.last + 1, 2)) == again.last
    steps = StepLog(path, 2, 1, writes=False).all()
    assert steps is not None
    np.testing.assert_array_equal(steps.sequence, np.arange(1, len(steps) + 1))


def test_whoever_looks_changes_nothing_and_only_one_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.steps"
    log = StepLog(path, 2, 1)
    log.append(episode(1))
    with open(path, "ab") as file:
        file.write(b"half a frame")  # as while another one is being written
    size = path.stat().st_size
    assert StepLog(path, 2, 1, writes=False).last == 5
    assert path.stat().st_size == size
    with pytest.raises(InputError, match="another process is writing it"):
        StepLog(path, 2, 1)
    with pytest.raises(InputError, match="cannot be read"):
        StepLog(tmp_path / "none.steps", 2, 1, writes=False)
    log.close()
    again = StepLog(path, 2, 1)
    assert again.last == 5
    assert path.stat().st_size < size


def test_what_follows_a_step(tmp_path: Path) -> None:
    log = StepLog(tmp_path / "a.steps", 2, 1)
    for first in range(1, 21):
        log.append(episode(first, 1))
    found = log.after(7, most=4)
    assert found is not None
    np.testing.assert_array_equal(found.sequence, [8, 9, 10, 11])
    assert log.after(20) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda steps: steps.to_bytes()[:50], "not steps"),
        (lambda steps: b"", "not steps"),
        (lambda steps: b"\xff" * 200, "not steps"),
    ],
)
def test_malformed_steps_are_refused(change, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        Steps.from_bytes(change(episode(1)), Sizes(2, 1), "message")


def test_steps_of_other_sizes_or_with_nan_are_refused() -> None:
    steps = episode(1)
    with pytest.raises(InputError, match=r"observations is \(5, 2\)"):
        Steps.from_bytes(steps.to_bytes(), Sizes(3, 1), "message")
    steps.rewards[2] = np.nan
    with pytest.raises(InputError, match="rewards holds numbers that are not finite"):
        Steps.from_bytes(steps.to_bytes(), Sizes(2, 1), "message")


def test_a_session_is_a_dataset_of_episodes() -> None:
    steps = Steps.join([episode(1, 5, people=(1, 2)), episode(6, 4, ended=False)])
    dataset = session_dataset([steps], "session")
    assert dataset.lengths.tolist() == [5, 4]
    assert dataset.interventions is not None
    assert np.flatnonzero(dataset.interventions).tolist() == [1, 2]
    assert dataset.observations["flat"][5].tolist() == [6.0, 0.5]
    assert dataset.truncated[[4, 8]].all()
