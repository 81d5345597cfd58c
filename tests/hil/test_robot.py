"""A robot behind a network: limits, watchdog, emergency stop, and one driver."""

import time
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from robopref.cli.hil_outcome import numbers, told
from robopref.errors import InputError
from robopref.hil.actor import EpisodeOutcome
from robopref.hil.link import LinkConfig
from robopref.hil.operators import Teleoperator
from robopref.hil.remote_robot import RemoteRobot, emergency_stop
from robopref.hil.robot import Limiter, LimitsConfig, RobotServer

WATCHDOG_S = 0.2
LIMITS = {
    "low": [-0.1, -0.1, 0.0], "high": [0.1, 0.1, 0.3], "speed": 0.4, "step": 2.0,
    "per_action": 0.02,
}  # fmt: skip


class Hand(gymnasium.Env[Any, Any]):
    """A hand that goes where it is told, 2 cm at most in a step; a fourth number is the gripper."""

    def __init__(self) -> None:
        self.observation_space = Box(-1.0, 1.0, (4,), np.float32)
        self.action_space = Box(-1.0, 1.0, (4,), np.float32)
        self.env_args = {"env_name": "hand", "entities": {"hand": {"key": "flat", "first": 0}}}
        self.steps = 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.place, self.now = np.array([0.0, 0.0, 0.1, 0.0], np.float32), 0
        return self.place.copy(), {}

    def step(self, action: Any) -> Any:
        self.steps, self.now = self.steps + 1, self.now + 1
        self.place[:3] += 0.02 * action[:3]
        return self.place.copy(), 1.0, False, self.now >= 100, {"success": False}


@pytest.fixture
def server() -> Iterator[RobotServer]:
    server = RobotServer(Hand(), LinkConfig("127.0.0.1:0"), LimitsConfig(**LIMITS), 50, WATCHDOG_S)
    yield server
    server.close()


class SeenHand(Hand):
    """The same, with a camera whose picture counts the steps."""

    def reset(self, **options: Any) -> Any:
        found, info = super().reset(**options)
        return self._seen(found), info

    def step(self, action: Any) -> Any:
        found, *rest = super().step(action)
        return self._seen(found), *rest

    def _seen(self, found: Any) -> Any:
        return {"flat": found, "wrist_image": np.full((4, 6, 3), self.steps, np.uint8)}


def link(server: RobotServer) -> LinkConfig:
    return LinkConfig(f"127.0.0.1:{server.port}")


def forward(speed: float = 1.0) -> Any:
    return np.array([speed, 0.0, 0.0, 0.0], np.float32)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("low", "does not start without the box"),
        ("speed", "limits.speed=0.0: a robot does not start without it"),
        ("step", "limits.step=0.0"),
        ("per_action", "limits.per_action=0.0"),
    ],
)
def test_a_robot_does_not_start_without_limits(missing: str, message: str) -> None:
    given = {name: value for name, value in LIMITS.items() if name != missing}
    with pytest.raises(InputError, match=message):
        LimitsConfig(**given).check()  # type: ignore[arg-type]


def test_limits_are_kept_and_counted() -> None:
    limits = LimitsConfig(**{**LIMITS, "speed": 0.2, "step": 0.5})
    limiter = Limiter(limits, rate_hz=20.0)  # 1 cm a step: half an action
    hand = np.array([0.0, 0.0, 0.1])
    first = limiter.allowed(np.array([1.0, 0.0, 0.0, 0.4], np.float32), hand)
    np.testing.assert_allclose(first, [0.5, 0.0, 0.0, 0.4])  # step
    second = limiter.allowed(np.array([0.9, 0.0, 0.0, 0.4], np.float32), hand)
    np.testing.assert_allclose(second, [0.5, 0.0, 0.0, 0.4])  # speed
    third = limiter.allowed(second, np.array([0.096, 0.0, 0.1]))
    np.testing.assert_allclose(third[0], 0.2, atol=1e-6)  # 4 mm to the wall
    assert limiter.counts == {"step": 1, "speed": 1, "box": 1}
    outside = limiter.allowed(np.zeros(4, np.float32), np.array([0.2, 0.0, 0.1]))
    np.testing.assert_allclose(outside[0], -0.5)  # brought back, within the speed


def test_the_hand_stays_in_its_box(server: RobotServer) -> None:
    robot = RemoteRobot(link(server), "arm")
    robot.reset(seed=0)
    for _ in range(20):
        observation, reward, terminated, truncated, info = robot.step(forward())
    assert observation[0] == pytest.approx(0.1, abs=1e-5)
    assert info["executed_action"][0] == pytest.approx(0.0, abs=1e-4)
    assert (reward, terminated, truncated) == (1.0, False, False)
    assert server.limiter.counts["box"] > 5


def test_the_arm_stops_within_the_watchdogs_time(server: RobotServer) -> None:
    robot = RemoteRobot(link(server), "arm")
    robot.reset(seed=0)
    robot.step(forward(0.1))
    time.sleep(WATCHDOG_S + 0.1)
    steps = server._env.steps  # type: ignore[attr-defined]
    time.sleep(0.1)
    assert server._env.steps == steps  # type: ignore[attr-defined]
    reason, seconds = server.stops[-1]
    assert reason == "no command for 0.2 s"
    assert WATCHDOG_S <= seconds < WATCHDOG_S + 0.1
    *_, truncated, info = robot.step(forward())
    assert truncated
    assert info["stopped"] == "no command for 0.2 s"
    robot.reset(seed=1)
    assert not robot.step(forward())[3]


def test_a_command_holds_until_the_next_as_on_a_real_arm(server: RobotServer) -> None:
    robot = RemoteRobot(link(server), "arm")
    robot.reset(seed=0)
    robot.step(forward(0.1))
    before = server._env.steps  # type: ignore[attr-defined]
    time.sleep(0.1)  # less than the watchdog's time
    assert server._env.steps - before >= 3  # type: ignore[attr-defined]


def test_an_emergency_stop_holds_until_it_is_released(server: RobotServer) -> None:
    robot = RemoteRobot(link(server), "arm")
    robot.reset(seed=0)
    robot.step(forward(0.1))
    emergency_stop(link(server))
    assert robot.step(forward())[4]["stopped"] == "emergency stop"
    with pytest.raises(InputError, match="the emergency stop is on"):
        robot.reset(seed=1)
    time.sleep(WATCHDOG_S + 0.05)  # nor does the watchdog take it off
    with pytest.raises(InputError, match="the emergency stop is on"):
        robot.reset(seed=1)
    emergency_stop(link(server), release=True)
    robot.reset(seed=1)
    assert not robot.step(forward(0.1))[3]


def test_its_cameras_are_seen_from_afar() -> None:
    env = SeenHand()
    served = RobotServer(env, LinkConfig("127.0.0.1:0"), LimitsConfig(**LIMITS), 100.0, 1.0)  # type: ignore[arg-type]
    try:
        robot = RemoteRobot(link(served), "arm")
        assert robot.observation_space["wrist_image"].shape == (4, 6, 3)
        first, _ = robot.reset(seed=0)
        after, *_ = robot.step(forward())
        assert (first["wrist_image"] == 0).all() and (after["wrist_image"] >= 1).all()
        # On a busy machine the command holds for another control step before it is seen.
        assert after["flat"][0] >= 0.004 - 1e-6
        robot.close()
    finally:
        served.close()


def test_there_is_one_driver(server: RobotServer) -> None:
    first, second = RemoteRobot(link(server), "first"), RemoteRobot(link(server), "second")
    first.reset(seed=0)
    first.step(forward(0.1))
    with pytest.raises(InputError, match="'first' is driving this robot"):
        second.reset(seed=0)
    time.sleep(WATCHDOG_S + 0.1)  # the first has gone
    second.reset(seed=0)
    assert first.step(forward())[4]["stopped"] == "somebody else has reset it"
    assert not second.step(forward(0.1))[3]


def test_malformed_actions_are_refused(server: RobotServer) -> None:
    robot = RemoteRobot(link(server), "arm")
    robot.reset(seed=0)
    for action in (np.zeros(3), np.array([np.nan, 0, 0, 0])):
        assert "4 finite numbers" in robot.step(action)[4]["stopped"]
    assert not robot.step(forward(0.1))[3]


def test_a_robot_that_is_not_there_is_told() -> None:
    with pytest.raises(InputError, match="no robot answers"):
        RemoteRobot(LinkConfig("127.0.0.1:9"), "arm")


def test_an_episode_without_a_step_is_told() -> None:
    nothing = EpisodeOutcome(0, False, 0, 0)
    assert told(nothing) == "the robot stopped before the first step"
    assert numbers(nothing)["episode/intervention_rate"] == 0.0


def test_a_step_that_was_not_carried_out_is_not_stored(server: RobotServer, tmp_path: Any) -> None:
    from robopref.hil.actor import ActingConfig, Actor
    from robopref.hil.log import StepLog
    from robopref.policies.registry import new_policy
    from robopref.policies.rlpd import RLPDConfig

    class Stopping(Teleoperator):
        """Presses the emergency stop before the sixth step."""

        reads = 0

        def read(self) -> Any:
            self.reads += 1
            if self.reads == 6:
                emergency_stop(link(server))
            return forward(0.5)

    policy = new_policy(RLPDConfig(hidden=[8]), 4, 4, 0)
    steps = StepLog(tmp_path / "a.steps", 4, 4)
    robot = RemoteRobot(link(server), "arm")
    outcome = Actor(robot, policy, 1, Stopping(), steps, ActingConfig()).play()
    assert (outcome.steps, steps.last) == (5, 5)
    stored = steps.all()
    assert stored is not None
    # 8 mm a step, four tenths of an action, is as fast as the limits allow.
    np.testing.assert_allclose(stored.actions[:, 0], 0.4, rtol=1e-5)
