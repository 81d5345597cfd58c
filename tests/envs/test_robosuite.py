from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from robopref.cli.main import main
from robopref.data.collect import record_episode
from robopref.data.robomimic import load_dataset
from robopref.environments import make_env, recorded_env
from robopref.errors import InputError
from robopref.evaluation.drift import replay
from robopref_envs import ROBOSUITE_TASKS

pytestmark = [
    pytest.mark.sim,
    pytest.mark.skipif(
        not find_spec("robosuite"), reason="needs pip install 'robopref[robosuite]'"
    ),
]

SCRIPTED = ("lift", "pick-place-can", "nut-assembly-square")
EXPERT = {"shares": {"expert": 1.0}, "noise": 0.1}


@pytest.fixture(scope="module")
def environments():
    """Two of each task that is asked for; making one takes seconds."""
    made = {}

    def get(task: str):
        if task not in made:
            made[task] = [make_env(f"robosuite/{task}", horizon=25) for _ in range(2)]
        return made[task]

    yield get
    for pair in made.values():
        for env in pair:
            env.close()


def play(env, seed: int, mix=EXPERT):
    rng = np.random.default_rng(seed)
    return record_episode(env, env.unwrapped.demonstrator(mix, rng).act, seed)


def play_randomly(env, seed: int):
    rng = np.random.default_rng(seed)

    def act(_):
        return rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)

    return record_episode(env, act, seed)


def equal(first, second) -> bool:
    return all(np.array_equal(first[key], second[key]) for key in first)


def row(trajectory, index):
    return {key: values[index] for key, values in trajectory.observations.items()}


def test_every_task_of_robosuite_is_registered(environments):
    environments("lift")
    from robosuite.environments.base import REGISTERED_ENVS

    assert set(ROBOSUITE_TASKS.values()) <= set(REGISTERED_ENVS)
    abstract = {"ManipulationEnv", "RobotEnv", "TwoArmEnv"}
    assert set(REGISTERED_ENVS) - abstract == set(ROBOSUITE_TASKS.values())


@pytest.mark.slow
@pytest.mark.parametrize("task", ROBOSUITE_TASKS)
def test_any_step_of_any_task_can_be_restored_exactly(task, environments):
    check_restoring(environments(task), play_randomly)


@pytest.mark.parametrize("task", SCRIPTED)
def test_any_step_can_be_restored_exactly(task, environments):
    check_restoring(environments(task), play)


def check_restoring(pair, play):
    env, other = pair
    play(env, 1)  # an episode before must leave no trace
    trajectory = play(env, 2)
    play(other, 3)
    fresh = other.unwrapped
    for start in (0, 13, 24):
        assert equal(fresh.set_state(trajectory.states[start]), row(trajectory, start))
        for step in range(start, 25):
            observation, reward, terminated, truncated, info = fresh.step(trajectory.actions[step])
            assert equal(observation, row(trajectory, step + 1)), step
            assert np.float32(reward) == trajectory.rewards[step]
            assert info["success"] == trajectory.success[step]
            assert not terminated
            assert truncated == (step == 24)
        assert np.array_equal(fresh.get_state(), trajectory.states[25])


@pytest.mark.parametrize("task", SCRIPTED)
def test_the_same_seed_gives_the_same_episode(task, environments):
    env, other = environments(task)
    first, different, again = (play(env, seed) for seed in (5, 6, 5))
    for trajectory in (again, play(other, 5)):
        assert equal(first.observations, trajectory.observations)
        assert np.array_equal(first.rewards, trajectory.rewards)
    assert not equal(row(first, 0), row(different, 0))


def test_without_a_seed_no_two_environments_begin_alike(environments):
    starts = []
    for env in environments("lift"):
        env.unwrapped._seeded = False  # as just made
        starts.append(env.reset()[0]["object"])
    assert not np.array_equal(*starts)


@pytest.mark.slow
@pytest.mark.parametrize("task", SCRIPTED)
def test_the_expert_succeeds_and_nothing_ends_the_episode(task):
    env = make_env(f"robosuite/{task}")
    outcomes = [play(env, seed, {"shares": {"expert": 1.0}, "noise": 0.0}) for seed in range(20)]
    assert all(len(trajectory) == env.unwrapped.horizon for trajectory in outcomes)
    assert not any(trajectory.terminated.any() for trajectory in outcomes)
    assert np.mean([trajectory.success[-1] for trajectory in outcomes]) >= 0.95
    env.close()


def test_an_episode_holds_its_scene_without_folders_of_this_machine(environments):
    env, other = environments("lift")
    trajectory = play(env, 1)
    scene = trajectory.attributes["model_file"]
    assert 'file="robosuite/models/assets/' in scene
    assert 'file="/' not in scene
    assert replay(other.unwrapped, trajectory).furthest == 0.0


def test_physics_is_robosuites_own(environments):
    import robosuite

    env = environments("lift")[0].unwrapped
    trajectory = play(env, 2)
    own = robosuite.make("Lift", **env._arguments, seed=0)
    own.reset()
    size = 1 + own.sim.model.nq + own.sim.model.nv
    own.sim.set_state_from_flattened(trajectory.states[0][:size])
    own.sim.forward()
    own.sim.data._data.qacc_warmstart[:] = 0.0
    arm = own.robots[0].part_controllers["right"]
    arm.update(force=True)
    arm.update_initial_joints(own.sim.data.qpos[arm.qpos_index])
    for step, action in enumerate(trajectory.actions):
        own.step(action.astype(np.float32))
        recorded = trajectory.states[step + 1][:size]
        assert np.array_equal(own.sim.get_state().flatten(), recorded), step
    own.close()


def test_a_state_of_robosuites_own_form_is_restored(environments):
    env = environments("lift")[0]
    trajectory = play(env, 2)
    base = env.unwrapped
    base.set_state(trajectory.states[0][: 1 + base._model.nq + base._model.nv])
    errors = []
    for step, action in enumerate(trajectory.actions):
        observation, *_ = base.step(action)
        errors.append(np.abs(observation["object"] - trajectory.observations["object"][step + 1]))
    assert np.max(errors) < 1e-5


def test_it_is_a_gymnasium_environment(environments):
    check_env(environments("lift")[0].unwrapped, skip_render_check=True)


def test_observations_have_robomimics_keys(environments):
    for task, size in zip(SCRIPTED, (10, 14, 14), strict=True):
        env = environments(task)[0]
        observation, _ = env.reset(seed=0)
        assert env.observation_space.contains(observation)
        assert {key: len(values) for key, values in observation.items()} == {
            "object": size, "robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2,
        }  # fmt: skip


def test_entities_are_where_the_file_says(environments):
    env = environments("nut-assembly-square")[0]
    observation, _ = env.reset(seed=0)
    entities = env.unwrapped.env_args["entities"]
    first = entities["object"]["first"]
    nut = env.unwrapped.suite.obj_body_id["SquareNut"]
    expected = env.unwrapped._data.xpos[nut]
    assert observation["object"][first : first + 3] == pytest.approx(expected, abs=1e-6)
    peg = env.unwrapped._data.xpos[env.unwrapped.suite.peg1_body_id]
    assert entities["goal"]["position"][:2] == pytest.approx(peg[:2])


def test_the_reset_leaves_no_stale_observation(environments):
    """robosuite's first observation has zeros for the object as seen from the hand."""
    env = environments("pick-place-can")[0]
    observation, _ = env.reset(seed=3)
    assert np.linalg.norm(observation["object"][:3]) > 0.05


def test_the_file_names_the_environment(environments):
    env = environments("lift")[0].unwrapped
    env_args = json.loads(json.dumps(env.env_args))
    assert (env_args["env_name"], env_args["type"]) == ("Lift", 1)
    env_id, arguments = recorded_env(env_args, ["object", "robot0_joint_pos", "agentview_image"])
    again = make_env(env_id, **arguments)
    assert set(again.observation_space) == {"object", "robot0_joint_pos"}
    assert again.unwrapped.env_args["env_kwargs"] == env_args["env_kwargs"]
    again.close()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"observation_keys": ["robot0_nose"]}, "no observation 'robot0_nose'; choose from object"),
        ({"cameras": ["nose"]}, "no camera 'nose'; choose from"),
        ({"robots": "Pando"}, "no robot 'Pando'; did you mean Panda"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        make_env("robosuite/lift", **arguments)


def test_an_unknown_recorded_argument_is_named():
    with pytest.raises(InputError, match="'table_full_size' is not supported"):
        make_env("robosuite/Lift", table_full_size=[1, 1, 1])


def test_a_task_without_expert_says_so():
    env = make_env("robosuite/stack")
    with pytest.raises(InputError, match="no scripted expert; choose from Lift"):
        env.unwrapped.demonstrator(EXPERT, np.random.default_rng(0))
    env.close()


def test_pictures_are_observations_and_upright():
    env = make_env("robosuite/lift", cameras=["agentview"], image_size=48, render_size=48)
    try:
        observation, _ = env.reset(seed=0)
    except InputError as error:
        pytest.skip(str(error))
    picture = observation["agentview_image"]
    assert (picture.shape, picture.dtype) == ((48, 48, 3), np.uint8)
    assert np.array_equal(picture, env.unwrapped.render())
    # The table fills the lower half of the view, the bright wall the upper; the cube is red.
    red = (picture[..., 0] > 1.6 * picture[..., 1]) & (picture[..., 0] > 90)
    rows, columns = np.nonzero(red)
    assert len(rows) > 3
    assert rows.mean() > 24  # nearer to the camera than the horizon
    assert abs(columns.mean() - 24) < 12
    env.unwrapped.horizon = 3
    trajectory = play(env, 1)
    assert trajectory.observations["agentview_image"].shape == (4, 48, 48, 3)
    assert env.unwrapped.env_args["env_kwargs"]["camera_names"] == ["agentview"]
    env.close()


def test_a_session_is_kept_under_the_keys_of_the_task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["env=robosuite/lift", "horizon=100", "synthetic.patience=1", "synthetic.delay=0"]
    arguments += ["operator=synthetic", "synthetic.hold=100", "episodes=1", "name=shown"]
    assert main(["hil", "record", *arguments]) == 0
    path = "runs/hil-record/shown/demonstrations.hdf5"
    dataset, env = load_dataset(path), make_env("robosuite/lift")
    assert set(dataset.observations) == set(env.observation_space)
    env.close()
    cloning = ["policy=behavior_cloning", "behavior_cloning.hidden=[16]", "training.updates=10"]
    tried = ["evaluation.episodes=1", "evaluation.episodes_on_the_way=0"]
    assert main(["train", f"dataset={path}", "name=cloned", "device=cpu", *cloning, *tried]) == 0
