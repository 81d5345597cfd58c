"""Files of robosuite 1.4 are translated where that is exact, and refused where it is not."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from robopref.environments import make_env, recorded_env
from robopref.errors import InputError
from robopref.evaluation.drift import replay
from robopref.structures import Trajectory

pytestmark = [
    pytest.mark.sim,
    pytest.mark.skipif(
        not find_spec("robosuite"), reason="needs pip install 'robopref[robosuite]'"
    ),
]

OSC_POSE = {
    "type": "OSC_POSE", "input_max": 1, "input_min": -1, "kp": 150, "damping_ratio": 1,
    "output_max": [0.05, 0.05, 0.05, 0.5, 0.5, 0.5],
    "output_min": [-0.05, -0.05, -0.05, -0.5, -0.5, -0.5],
    "impedance_mode": "fixed", "kp_limits": [0, 300], "damping_ratio_limits": [0, 10],
    "position_limits": None, "orientation_limits": None, "uncouple_pos_ori": True,
    "control_delta": True, "interpolation": None, "ramp_ratio": 0.2,
}  # fmt: skip
"""What robosuite 1.4 writes down for its default controller."""
KEYS = ("object", "robot0_eef_pos", "robot0_eef_vel_lin", "robot0_eef_vel_ang", "robot0_joint_pos")


def recorded(task: str, version: str = "1.4.1", **changes):
    """`env_args` as a file of robomimic has them."""
    kwargs = {
        "has_renderer": False, "has_offscreen_renderer": False, "ignore_done": True,
        "use_object_obs": True, "use_camera_obs": False, "control_freq": 20,
        "controller_configs": OSC_POSE, "robots": ["Panda"], "camera_depths": False,
        "camera_heights": 84, "camera_widths": 84, "reward_shaping": False,
    }  # fmt: skip
    kwargs.update(changes)
    return {"env_name": task, "env_version": version, "type": 1, "env_kwargs": kwargs}


def opened(env_args):
    env_id, arguments = recorded_env(env_args, KEYS)
    return make_env(env_id, **arguments, horizon=10).unwrapped


@pytest.fixture(scope="module")
def old_can():
    env = opened(recorded("PickPlaceCan"))
    yield env
    env.close()


def test_the_old_controller_acts_like_the_default_one(old_can):
    new = make_env("robosuite/pick-place-can", horizon=10, lite_physics=False).unwrapped
    new.reset(seed=1)
    old_can.reset(seed=1)
    old_can.set_state(new.get_state())
    for action in np.random.default_rng(0).uniform(-1, 1, (10, 7)).astype(np.float32):
        observation, *_ = new.step(action)
        old, *_ = old_can.step(action)
        assert old["robot0_eef_pos"] == pytest.approx(observation["robot0_eef_pos"], abs=1e-6)
    new.close()


def test_the_object_has_its_parts_in_the_old_order(old_can):
    observation, _ = old_can.reset(seed=1)
    can = old_can._data.xpos[old_can.suite.obj_body_id["Can"]]
    assert observation["object"][:3] == pytest.approx(can, abs=1e-6)
    assert old_can.env_args["entities"]["object"]["first"] == 0
    assert old_can.object_parts == (
        "Can_pos", "Can_quat", "Can_to_robot0_eef_pos", "Can_to_robot0_eef_quat",
    )  # fmt: skip


def test_the_cube_is_seen_in_the_old_direction():
    env = opened(recorded("Lift"))
    observation, _ = env.reset(seed=1)
    away = observation["robot0_eef_pos"] - observation["object"][:3]
    assert observation["object"][7:10] == pytest.approx(away, abs=1e-6)
    env.close()


def test_velocities_of_the_hand_are_told(old_can):
    old_can.reset(seed=1)
    for _ in range(8):
        before, *_ = old_can.step(np.array([1, 0, 0, 0, 0, 0, -1], np.float32))
    after, *_ = old_can.step(np.array([1, 0, 0, 0, 0, 0, -1], np.float32))
    moved = (after["robot0_eef_pos"] - before["robot0_eef_pos"]) * 20
    assert moved[0] > 0.1
    assert after["robot0_eef_vel_lin"][0] == pytest.approx(moved[0], rel=0.1)
    assert np.linalg.norm(after["robot0_eef_vel_ang"]) < 0.5


@pytest.mark.parametrize(
    "env_args, message",
    [
        (recorded("Lift", "1.9.0"), "recorded with robosuite 1.9.0, and 1.5.2 is installed"),
        (recorded("Lift", "0.3.0"), r"pip install 'robosuite==0.3.0'"),
        (recorded("Stack"), "whose 'object' has its parts in another order"),
        (
            recorded("Lift", controller_configs={**OSC_POSE, "type": "EE_IMP"}),
            "has no controller 'EE_IMP'; record with one of OSC_POSE",
        ),
        (recorded("Lift", controller_configs={"kp": 150}), "the recorded controller has no 'type'"),
        (recorded("Lift", gripper_types="Robotiq85Gripper"), "'gripper_types' is not supported"),
    ],
)
def test_what_cannot_be_translated_is_refused_with_the_way_out(env_args, message):
    with pytest.raises(InputError, match=message):
        opened(env_args)


def test_an_episode_that_robosuite_recorded_is_replayed_in_its_own_scene():
    """robomimic files keep the scene of each episode, in which the cube has a size of its own."""
    import robosuite

    own = robosuite.make(
        "Lift", robots="Panda", use_camera_obs=False, has_offscreen_renderer=False, seed=7,
        controller_configs=robosuite.load_composite_controller_config(robot="Panda"),
    )  # fmt: skip
    own.reset()
    attributes = {"model_file": own.sim.model.get_xml()}
    actions = np.random.default_rng(0).uniform(-1, 1, (10, 7)).astype(np.float32)
    states, hands = [], []
    for action in [*actions, None]:
        states.append(own.sim.get_state().flatten())
        own.sim.forward()
        hands.append(own.sim.data.site_xpos[own.robots[0].eef_site_id["right"]].copy())
        if action is not None:
            own.step(action)
    zeros, last = np.zeros(10), np.arange(10) == 9
    trajectory = Trajectory(
        {"robot0_eef_pos": np.array(hands)}, actions, zeros, zeros > 0, last, zeros > 0,
        states=np.array(states), attributes=attributes,
    )  # fmt: skip
    env = make_env("robosuite/lift", horizon=10).unwrapped
    assert replay(env, trajectory).furthest < 1e-5
    sizes = [model.geom("cube_g0").size for model in (env._model, own.sim.model._model)]
    assert sizes[0] == pytest.approx(sizes[1], abs=1e-6)
    env.close()
    own.close()
