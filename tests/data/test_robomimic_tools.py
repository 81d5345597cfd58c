"""robomimic's own programs work on files that robopref wrote."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robopref.data.robomimic import append_trajectories
from robopref.structures import Trajectory

pytest.importorskip("robomimic")

SAMPLE = Path(__file__).parents[2] / "assets/samples/lift.hdf5"
TRAIN = """
import json, sys, torch
from robomimic.config import config_factory
from robomimic.scripts.train import train

config = config_factory("bc")
with config.values_unlocked():
    config.train.data, config.train.output_dir = sys.argv[1:3]
    config.train.num_epochs, config.train.batch_size, config.train.num_data_workers = 3, 16, 0
    config.experiment.name = "bc"
    config.experiment.epoch_every_n_steps = 20
    config.experiment.rollout.enabled = False
    config.experiment.render_video = False
    config.experiment.save.every_n_epochs = 3
    config.experiment.logging.terminal_output_to_txt = False
    config.experiment.logging.log_tb = False
    config.observation.modalities.obs.low_dim = sys.argv[3:]
    config.algo.actor_layer_dims = [32, 32]
train(config, torch.device("cpu"))
"""
PLAYBACK = """
import runpy, sys, types

sys.modules.setdefault("mujoco_py", types.ModuleType("mujoco_py"))  # imported, but unused
runpy.run_module("robomimic.scripts.playback_dataset", run_name="__main__")
"""


def python(program: str, *arguments: object) -> str:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout


def test_behaviour_cloning_learns_from_the_sample(tmp_path: Path) -> None:
    keys = ("object", "robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")
    said = python(TRAIN, SAMPLE, tmp_path, *keys)
    losses = [json.loads(line.split(":")[1].strip(" ,")) for line in said.splitlines()
              if line.strip().startswith('"L2_Loss"')]  # fmt: skip
    assert len(losses) == 3 and losses[-1] < losses[0]
    assert len(list(tmp_path.rglob("model_epoch_3.pth"))) == 1


def test_its_description_of_the_sample() -> None:
    command = [sys.executable, "-m", "robomimic.scripts.get_dataset_info", "--dataset", SAMPLE]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "total transitions: 480" in said and "total trajectories: 8" in said
    assert '"env_name": "Lift"' in said


def test_playback_of_recorded_pictures(tmp_path: Path) -> None:
    steps = 6
    pictures = np.zeros((steps + 1, 32, 32, 3), dtype=np.uint8)
    last = np.arange(steps) == steps - 1
    episode = Trajectory(
        observations={"agentview_image": pictures, "hand": np.zeros((steps + 1, 3))},
        actions=np.zeros((steps, 7)),
        rewards=np.zeros(steps),
        terminated=np.zeros(steps, dtype=bool),
        truncated=last,
        success=last,
    )
    path, video = tmp_path / "pictures.hdf5", tmp_path / "out.mp4"
    env_args = {"env_name": "Lift", "type": 1, "env_kwargs": {}}
    append_trajectories(path, [episode], env_args)
    python(
        PLAYBACK, "--dataset", path, "--use-obs", "--render_image_names", "agentview_image",
        "--video_path", video,
    )  # fmt: skip
    assert video.stat().st_size > 0
