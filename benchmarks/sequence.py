"""Tokens per second of OPPO's sequence policy beside Hugging Face's Decision Transformer.

Both are trained on the same windows with the same loss, AdamW and sizes (width, layers, heads), on
one thread, in turns. A step of a window is three tokens (context or return, observation, action),
as Decision Transformer counts them; it has a position for each, where ours has one for all three.
So `tokens` compares training on the same data, and the table also gives the rate of positions.
Batches are assembled inside the measurement for ours, and beforehand for theirs.

Needs `pip install transformers`.

    python benchmarks/sequence.py [--quick] [--json results/sequence.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DecisionTransformerConfig, DecisionTransformerModel

from results import parse_arguments, write_results
from robopref.data.dataset import TrajectoryDataset
from robopref.data.windows import Windows
from robopref.networks.context_transformer import ContextTransformer
from robopref.policies.oppo import OPPOConfig, hindsight_matching_loss
from robopref.policies.registry import new_policy
from robopref.processes import one_thread
from robopref.structures import Trajectory

OBSERVATION_DIM, ACTION_DIM, CONTEXT_DIM = 39, 4, 8
EPISODES, STEPS = 100, 200
TOKENS_PER_STEP = 3
SIZES = (
    {"width": 128, "layers": 3, "heads": 1, "window": 20, "batch": 64},  # the paper's
    {"width": 64, "layers": 2, "heads": 4, "window": 10, "batch": 64},  # our default
)


def random_dataset() -> TrajectoryDataset:
    """Numbers of the right shapes; speed does not depend on their values."""
    rng = np.random.default_rng(0)
    flags = np.zeros(STEPS, dtype=bool)
    return TrajectoryDataset.from_trajectories(
        [
            Trajectory(
                {"flat": rng.normal(size=(STEPS + 1, OBSERVATION_DIM)).astype(np.float32)},
                np.tanh(rng.normal(size=(STEPS, ACTION_DIM))).astype(np.float32),
                np.zeros(STEPS, dtype=np.float32),
                flags,
                flags,
                flags,
            )
            for _ in range(EPISODES)
        ]
    )


def our_step(size: dict[str, int], windows: Windows) -> Callable[[], object]:
    """A training step of our policy, from drawing the windows to the optimizer."""
    sizes = (size["width"], size["layers"], size["heads"])
    model = ContextTransformer(OBSERVATION_DIM, ACTION_DIM, CONTEXT_DIM, *sizes)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=1e-4, fused=True)
    contexts = torch.randn(size["batch"], CONTEXT_DIM)
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        drawn, _ = windows.draw(size["batch"], generator)
        predicted = model(contexts, drawn.observations, drawn.actions[:, :-1])
        _descend(optimizer, hindsight_matching_loss(predicted, drawn.actions, drawn.mask))

    return step


def their_step(
    size: dict[str, int], windows: Windows, dropout: float = 0.1
) -> Callable[[], object]:
    """A training step of Decision Transformer on a batch that is there."""
    model: nn.Module = DecisionTransformerModel(
        DecisionTransformerConfig(
            state_dim=OBSERVATION_DIM,
            act_dim=ACTION_DIM,
            hidden_size=size["width"],
            n_layer=size["layers"],
            n_head=size["heads"],
            n_positions=1024,
            max_ep_len=1000,
            resid_pdrop=dropout,
            embd_pdrop=dropout,
            attn_pdrop=dropout,
        )
    ).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=1e-4, fused=True)
    drawn, _ = windows.draw(size["batch"], torch.Generator().manual_seed(0))
    returns = torch.randn(size["batch"], size["window"], 1)
    timesteps = torch.arange(size["window"]).expand(size["batch"], -1)
    rewards = torch.zeros(size["batch"], size["window"], 1)

    def step() -> None:
        predicted = model(
            states=drawn.observations,
            actions=drawn.actions,
            rewards=rewards,
            returns_to_go=returns,
            timesteps=timesteps,
            attention_mask=drawn.mask,
        ).action_preds
        _descend(optimizer, hindsight_matching_loss(predicted, drawn.actions, drawn.mask))

    return step


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def rate(step: Callable[[], object], seconds: float) -> float:
    """Calls per second over at least `seconds`."""
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        step()
        count += 1
    return count / elapsed


def acting_rate(seconds: float) -> float:
    """Actions per second of an OPPO policy of default size, one episode, its window full."""
    policy = new_policy(OPPOConfig(), OBSERVATION_DIM, ACTION_DIM, seed=0)
    observation = np.zeros((1, OBSERVATION_DIM), dtype=np.float32)
    for _ in range(20):
        policy.act(observation)
    return rate(lambda: policy.act(observation), seconds)


def main() -> None:
    """Measures and prints."""
    arguments = parse_arguments(__doc__.splitlines()[0], "sequence")
    rounds, seconds = (3, 2.0) if arguments.quick else (5, 6.0)
    one_thread()
    torch.manual_seed(0)
    dataset = random_dataset()
    table, ratios = [], []
    for size in SIZES:
        windows = Windows(dataset, size["window"])
        steps = {
            "robopref": our_step(size, windows),
            "decision_transformer": their_step(size, windows),
            "decision_transformer, no dropout": their_step(size, windows, dropout=0.0),
        }
        rates = {name: 0.0 for name in steps}
        for _ in range(rounds):  # in turns, so that a busy machine slows all alike
            for name, step in steps.items():
                rates[name] = max(rates[name], rate(step, seconds))
        for name, found in rates.items():
            environment_steps = found * size["batch"] * size["window"]
            positions = environment_steps * (1 if name == "robopref" else TOKENS_PER_STEP)
            table.append(
                {
                    **size,
                    "model": name,
                    "updates_per_second": round(found, 2),
                    "tokens_per_second": round(environment_steps * TOKENS_PER_STEP),
                    "positions_per_second": round(positions),
                }
            )
            print(table[-1], flush=True)
        ours, theirs, plain = rates.values()
        ratios.append((ours / theirs, ours / plain))
    headline = {
        "tokens_ratio_vs_hf_dt": round(ratios[0][0], 2),
        "tokens_ratio_vs_hf_dt_without_dropout": round(ratios[0][1], 2),
        "positions_ratio_vs_hf_dt": round(ratios[0][0] / TOKENS_PER_STEP, 2),
        "tokens_ratio_vs_hf_dt_small": round(ratios[1][0], 2),
        "actions_per_second": round(acting_rate(seconds)),
    }
    print(headline)
    write_results(arguments.json, headline, table, ["torch", "transformers"])


if __name__ == "__main__":
    main()
