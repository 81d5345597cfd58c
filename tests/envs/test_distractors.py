"""Distractors change pictures, and nothing else."""

from typing import Any

import numpy as np
import pytest

from robopref.environments import make_env
from robopref.errors import InputError

pytestmark = pytest.mark.sim
TASKS = {"metaworld/drawer-open-v3": "corner2", "robosuite/lift": "agentview"}


def played(env_id: str, distractors: list[str], seed: int) -> list[dict[str, Any]]:
    env = make_env(
        env_id, cameras=[TASKS[env_id]], image_size=48, horizon=8, distractors=distractors
    )
    observations = [env.reset(seed=seed)[0]]
    rng = np.random.default_rng(0)
    for _ in range(5):
        action = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        observations.append(env.step(action)[0])
    env.close()
    return observations


@pytest.mark.parametrize("env_id", sorted(TASKS))
@pytest.mark.parametrize("name", ["texture", "lighting", "object", "jitter"])
def test_pictures_differ_and_states_do_not(env_id: str, name: str) -> None:
    pytest.importorskip(env_id.split("/")[0])
    try:
        plain = played(env_id, [], 3)
    except InputError as error:
        pytest.skip(str(error))
    disturbed, again = played(env_id, [name], 3), played(env_id, [name], 3)
    image = f"{TASKS[env_id]}_image"
    for one, other in zip(plain, disturbed, strict=True):
        for key in one.keys() - {image}:
            np.testing.assert_array_equal(one[key], other[key])
    assert any((one[image] != other[image]).any() for one, other in zip(plain, disturbed))  # noqa: B905
    for one, other in zip(disturbed, again, strict=True):
        np.testing.assert_array_equal(one[image], other[image])


def test_unknown_distractors_are_refused() -> None:
    pytest.importorskip("metaworld")
    with pytest.raises(InputError, match="has no distractor 'fog'; choose from texture"):
        make_env("metaworld/drawer-open-v3", cameras=["corner2"], distractors=["fog"])
