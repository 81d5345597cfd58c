"""Steps on disk: each once, in order, and whole."""

from pathlib import Path

import numpy as np
import pytest

from robopref.errors import InputError
from robopref.hil.log import StepLog
from robopref.hil.steps import Steps, session_dataset
from tests.hil.steps import episode


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
    steps = StepLog(path, 2, 1).all()
    assert steps is not None
    np.testing.assert_array_equal(steps.sequence, np.arange(1, len(steps) + 1))


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
        Steps.from_bytes(change(episode(1)), 2, 1, "message")


def test_steps_of_other_sizes_or_with_nan_are_refused() -> None:
    steps = episode(1)
    with pytest.raises(InputError, match=r"observations is \(5, 2\)"):
        Steps.from_bytes(steps.to_bytes(), 3, 1, "message")
    steps.rewards[2] = np.nan
    with pytest.raises(InputError, match="rewards holds numbers that are not finite"):
        Steps.from_bytes(steps.to_bytes(), 2, 1, "message")


def test_a_session_is_a_dataset_of_episodes() -> None:
    steps = Steps.join([episode(1, 5, people=(1, 2)), episode(6, 4, ended=False)])
    dataset = session_dataset([steps], "session")
    assert dataset.lengths.tolist() == [5, 4]
    assert dataset.interventions is not None
    assert np.flatnonzero(dataset.interventions).tolist() == [1, 2]
    assert dataset.observations["flat"][5].tolist() == [6.0, 0.5]
    assert dataset.truncated[[4, 8]].all()
