"""stable-baselines3's SAC in one of robopref's environments; runs in the peer's own environment.

    PYTHON sb3_sac.py ENV HORIZON STEPS RANDOM_STEPS EVERY EPISODES LAST_EPISODES SEED RESULT.json

Defaults are SB3's but for the discount and the steps with random actions. The curve is of the same
starts and goals as robopref's own evaluation, with mean actions.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from stable_baselines3 import SAC

from robopref.environments import make_env


def success(learner, env, episodes):
    """Share of episodes with success at any step."""
    outcomes = []
    for index in range(episodes):
        seed = int(np.random.SeedSequence([0, index]).generate_state(1)[0])
        observation, succeeded, ended = env.reset(seed=seed)[0], False, False
        while not ended:
            action = learner.predict(observation, deterministic=True)[0]
            observation, _, terminated, truncated, info = env.step(action)
            succeeded, ended = succeeded or bool(info["success"]), terminated or truncated
        outcomes.append(succeeded)
    return float(np.mean(outcomes))


def main():
    """Trains, evaluates on the way, and writes the curve at the end."""
    env_id, *numbers, path = sys.argv[1:]
    horizon, steps, random_steps, every, episodes, last, seed = map(int, numbers)
    torch.set_num_threads(1)
    env, evaluation = make_env(env_id, horizon=horizon), make_env(env_id, horizon=horizon)
    env.reset(seed=seed)
    learner = SAC(
        "MlpPolicy", env, gamma=0.97, learning_starts=random_steps, seed=seed, device="cpu"
    )
    curve = []
    for step in range(every, steps + 1, every):
        learner.learn(every, reset_num_timesteps=False)
        curve.append([step, success(learner, evaluation, last if step == steps else episodes)])
    Path(path).write_text(json.dumps(curve))


if __name__ == "__main__":
    main()
