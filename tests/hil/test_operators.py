"""Operators and what becomes of their corrections."""

from datetime import UTC, datetime

import numpy as np
import pytest

from robopref.environments import make_env
from robopref.errors import InputError
from robopref.evaluation.rollout import flatten
from robopref.hil.corrections import correction_preferences
from robopref.hil.keyboard import HELD_S, KeyboardOperator
from robopref.hil.operators import SyntheticOperator, SyntheticOperatorConfig
from robopref.hil.steps import Steps, session_dataset
from tests.hil.steps import episode

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_keyboard_moves_while_keys_are_held() -> None:
    now = [0.0]
    keyboard = KeyboardOperator(4, clock=lambda: now[0])
    assert keyboard.read() is None
    keyboard.press("w")
    keyboard.press("d")
    np.testing.assert_array_equal(keyboard.read(), [1.0, 1.0, 0.0, 0.0])
    now[0] = 0.2
    keyboard.press("C")
    np.testing.assert_array_equal(keyboard.read(), [1.0, 1.0, 0.0, 1.0])
    now[0] = 0.2 + HELD_S - 0.01
    np.testing.assert_array_equal(keyboard.read(), [0.0, 0.0, 0.0, 1.0])
    now[0] = 1.0
    keyboard.press("x")  # no key of ours
    assert keyboard.read() is None
    with pytest.raises(InputError, match="at least 4 dimensions"):
        KeyboardOperator(2)


def test_the_synthetic_operator_takes_over_after_its_patience_and_lets_go() -> None:
    env = make_env("toy/point-mass-v0")
    found, _ = env.reset(seed=0)
    config = SyntheticOperatorConfig(patience=4, hold=3, delay=1)
    operator = SyntheticOperator(config, env, np.random.default_rng(0))
    operator.start(found)
    taken = []
    for _ in range(14):
        action = operator.read()
        taken.append(action is not None)
        operator.watch(found, 0.0, False)  # nothing changes, whatever is done
    # The first watch is progress (from nothing); then five without it.
    assert taken == [False] * 6 + [True] * 3 + [False] * 2 + [True] * 3
    operator.watch(found, 1.0, True)
    assert operator.read() is None  # done


def lift_action(drift: float, flat: bool = False) -> np.ndarray:  # type: ignore[type-arg]
    """(7,): the scripted person's first, without other noise."""
    pytest.importorskip("robosuite")
    env = make_env("robosuite/lift")
    found, _ = env.reset(seed=0)
    config = SyntheticOperatorConfig(patience=1, delay=0, noise=0.0, drift=drift, speed=0.5)
    operator = SyntheticOperator(config, env, np.random.default_rng(0))
    seen = flatten(found) if flat else found
    operator.start(seen)
    for _ in range(2):
        operator.watch(seen, 0.0, False)
    action = operator.read()
    env.close()
    assert action is not None
    return action


def test_the_synthetic_operator_strays_in_place_alone() -> None:
    straight, astray = lift_action(drift=0.0), lift_action(drift=0.5)
    assert (straight[:3] != astray[:3]).all()
    np.testing.assert_array_equal(straight[3:], astray[3:])
    assert np.abs(straight[3:6]).max() > 0.0  # it does turn the hand


def test_the_synthetic_operator_reads_what_a_robot_behind_a_network_sends() -> None:
    np.testing.assert_array_equal(lift_action(0.0), lift_action(0.0, flat=True))


def test_an_environment_without_an_expert_is_refused() -> None:
    import gymnasium

    with pytest.raises(InputError, match="has no scripted expert"):
        SyntheticOperator(
            SyntheticOperatorConfig(), gymnasium.make("CartPole-v1"), np.random.default_rng(0)
        )


def test_each_takeover_is_a_comparison() -> None:
    people = (4, 5, 6, 7, 12, 13)  # the second after five of the policy's, for two steps alone
    steps = Steps.join([episode(1, 20, people=people), episode(21, 12, people=(8, 9, 10, 11))])
    labels = correction_preferences(session_dataset([steps], "session"), 3, NOW)
    assert len(labels) == 2
    assert labels.source.tolist() == ["intervention"] * 2
    assert labels.labels.tolist() == [1.0, 0.0]
    assert labels.first.episodes.tolist() == [0, 1]
    assert (labels.first.starts.tolist(), labels.second.starts.tolist()) == ([1, 8], [4, 5])
    assert labels.first.lengths.tolist() == [3, 3]


def test_a_session_without_takeovers_has_nothing_to_compare() -> None:
    with pytest.raises(InputError, match="nobody took over"):
        correction_preferences(session_dataset([episode(1, 9)], "session"), 3, NOW)
    with pytest.raises(InputError, match="nobody took over"):  # from the first step on
        everything = episode(1, 9, people=tuple(range(9)))
        correction_preferences(session_dataset([everything], "session"), 3, NOW)
