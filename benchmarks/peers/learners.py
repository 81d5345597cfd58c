"""IQL and SAC of one peer, measured on request; runs in the peer's own environment.

    PYTHON learners.py PEER ALGORITHM WIDTH BATCH DATA.npz

Prints `ready`, then for each line with a number of seconds on standard input the updates per
second with the peer's own sampling, over that time. Networks have two hidden layers.
"""

import sys
import time

import numpy as np
import torch

DISCOUNT, LEARNING_RATE = 0.99, 3e-4
STEPS = {"sb3": 10}
"""Updates that one call makes, where it is not one."""


def d3rlpy_update(algorithm, width, batch, data):
    """d3rlpy as its documentation trains: a replay buffer, and `update` on its batches."""
    import d3rlpy

    config_class = {"iql": d3rlpy.algos.IQLConfig, "sac": d3rlpy.algos.SACConfig}[algorithm]
    encoder = d3rlpy.models.VectorEncoderFactory([width, width])
    names = ["actor_encoder_factory", "critic_encoder_factory"]
    names += ["value_encoder_factory"] if algorithm == "iql" else []
    learner = config_class(batch_size=batch, gamma=DISCOUNT, **dict.fromkeys(names, encoder))
    learner = learner.create(device="cpu:0")
    timeouts = np.arange(1, len(data["rewards"]) + 1) % 500 == 0
    dataset = d3rlpy.dataset.MDPDataset(
        data["observations"], data["actions"], data["rewards"], np.zeros_like(timeouts), timeouts
    )
    learner.build_with_dataset(dataset)
    return lambda: learner.update(dataset.sample_transition_batch(batch))


def sb3_update(algorithm, width, batch, data):
    """stable-baselines3's SAC, whose `train` samples for itself; ten steps a call."""
    import gymnasium
    import stable_baselines3
    from stable_baselines3.common.logger import Logger

    class Spaces(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, data["observations"][0].shape)
        action_space = gymnasium.spaces.Box(-1.0, 1.0, data["actions"][0].shape)

    assert algorithm == "sac"
    learner = stable_baselines3.SAC(
        "MlpPolicy", Spaces(), buffer_size=len(data["rewards"]), device="cpu",
        policy_kwargs={"net_arch": [width, width]},
    )  # fmt: skip
    learner.set_logger(Logger(None, []))
    rows = zip(
        data["observations"], data["next_observations"], data["actions"], data["rewards"],
        strict=True,
    )  # fmt: skip
    for row in rows:
        learner.replay_buffer.add(*row, np.zeros(1), [{}])

    return lambda: learner.train(gradient_steps=STEPS["sb3"], batch_size=batch)


def torchrl_update(algorithm, width, batch, data):
    """torchrl as its published IQL and SAC scripts are written, without compilation."""
    from tensordict import TensorDict
    from tensordict.nn import NormalParamExtractor, TensorDictModule
    from torchrl.data import LazyTensorStorage, ReplayBuffer
    from torchrl.modules import MLP, ProbabilisticActor, TanhNormal, ValueOperator
    from torchrl.objectives import IQLLoss, SACLoss, SoftUpdate

    observation_dim, action_dim = data["observations"].shape[1], data["actions"].shape[1]

    def network(inputs, outputs):
        return MLP(inputs, outputs, num_cells=[width, width], activation_class=torch.nn.ReLU)

    heads = torch.nn.Sequential(network(observation_dim, 2 * action_dim), NormalParamExtractor())
    actor = ProbabilisticActor(
        TensorDictModule(heads, ["observation"], ["loc", "scale"]), in_keys=["loc", "scale"],
        distribution_class=TanhNormal, return_log_prob=algorithm == "sac",
    )  # fmt: skip
    critic = ValueOperator(
        network(observation_dim + action_dim, 1), in_keys=["observation", "action"]
    )
    if algorithm == "iql":
        value = ValueOperator(network(observation_dim, 1), in_keys=["observation"])
        loss = IQLLoss(actor, critic, value, loss_function="l2", expectile=0.7, temperature=3.0)
        names = ["actor", "qvalue", "value"]
    else:
        loss = SACLoss(actor, critic, loss_function="l2", target_entropy=-float(action_dim))
        names = ["actor", "qvalue", "alpha"]
    loss.make_value_estimator(gamma=DISCOUNT)
    targets = SoftUpdate(loss, tau=0.005)
    parameters = [list(getattr(loss, f"{name}_network_params").flatten_keys().values())
                  if name != "alpha" else [loss.log_alpha] for name in names]  # fmt: skip
    optimizers = [torch.optim.Adam(each, lr=LEARNING_RATE) for each in parameters]

    count = len(data["rewards"])
    observations = torch.from_numpy(data["observations"])
    done = torch.zeros(count, 1, dtype=torch.bool)
    following = {
        "observation": torch.from_numpy(data["next_observations"]),
        "reward": torch.from_numpy(data["rewards"])[:, None],
        "done": done, "terminated": done,
    }  # fmt: skip
    steps = {"observation": observations, "action": torch.from_numpy(data["actions"])}
    replay = ReplayBuffer(storage=LazyTensorStorage(count), batch_size=batch)
    replay.extend(TensorDict({**steps, "next": following}, [count]))

    def update():
        losses = loss(replay.sample())
        for optimizer in optimizers:
            optimizer.zero_grad()
        sum(losses[f"loss_{name}"] for name in names).backward()
        for optimizer in optimizers:
            optimizer.step()
        targets.step()

    return update


def main():
    """Builds one learner and measures it as often as it is told to."""
    peer, algorithm, width, batch, path = sys.argv[1:]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    build = {"d3rlpy": d3rlpy_update, "sb3": sb3_update, "torchrl": torchrl_update}[peer]
    update = build(algorithm, int(width), int(batch), dict(np.load(path)))
    for _ in range(5):
        update()
    print("ready", torch.__version__, flush=True)
    for line in sys.stdin:
        count, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < float(line):
            update()
            count += STEPS.get(peer, 1)
        print(count / elapsed, flush=True)


if __name__ == "__main__":
    main()
