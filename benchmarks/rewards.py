"""Speed of learning and predicting rewards, beside imitation's preference comparisons.

10,000 pairs of 64 steps of Meta-World's size, an ensemble of five networks of two layers of 64,
batches of 32 pairs, one thread, the same pairs beside imitation. robopref draws 16 steps of each
segment at every update, which estimates its sum without bias; `same_arithmetic` has it read every
step, as imitation does. imitation gets the first 500 of the pairs, of which it does as many a
second as of all. Then all pairs for the default 20 epochs, and a million steps relabelled.
imitation is installed at first use, in an environment of its own.

    python benchmarks/rewards.py [--quick] [--peers .venv-peers] [--json results/rewards.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

import json
import subprocess
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from peers.environments import peer_python
from results import argument_parser, write_results
from robopref.data.dataset import TrajectoryDataset
from robopref.preferences.dataset import Preferences
from robopref.processes import one_thread
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.registry import make_reward
from robopref.rewards.relabel import relabel
from robopref.structures import Segments, Trajectory

OBSERVATIONS, ACTIONS, HORIZON, LENGTH = 39, 4, 200, 64
MEMBERS, WIDTH, BATCH_SIZE = 5, 64, 32
PEER_PAIRS = 500


def episodes(count: int) -> TrajectoryDataset:
    """Random walks of Meta-World's sizes."""
    rng = np.random.default_rng(0)
    walks = []
    for _ in range(count):
        states = rng.normal(size=(HORIZON + 1, OBSERVATIONS)).astype(np.float32)
        walks.append(
            Trajectory(
                observations={"flat": states.cumsum(0) / 10.0},
                actions=rng.uniform(-1.0, 1.0, (HORIZON, ACTIONS)).astype(np.float32),
                rewards=states[1:, 0],
                terminated=np.zeros(HORIZON, dtype=bool),
                truncated=np.arange(HORIZON) == HORIZON - 1,
                success=np.zeros(HORIZON, dtype=bool),
            )
        )
    return TrajectoryDataset.from_trajectories(walks)


def labelled(dataset: TrajectoryDataset, count: int) -> Preferences:
    """Pairs of random segments, ordered by the sum of their rewards."""
    rng = np.random.default_rng(1)
    first, second = (
        Segments(
            rng.integers(0, len(dataset), count),
            rng.integers(0, HORIZON - LENGTH, count),
            np.full(count, LENGTH),
        )
        for _ in range(2)
    )
    running = np.concatenate([[0.0], np.cumsum(dataset.rewards, dtype=np.float64)])
    starts = [dataset.offsets[side.episodes] + side.starts for side in (first, second)]
    sums = [running[start + LENGTH] - running[start] for start in starts]
    return Preferences.from_labels(
        dataset, first, second, (sums[1] > sums[0]).astype(float), source="scripted",
        annotator="teacher", created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def fit_s(dataset: TrajectoryDataset, pairs: Preferences, config: BradleyTerryConfig) -> float:
    """Seconds of a training."""
    model = make_reward(config, dataset, 0)
    begun = time.perf_counter()
    model.fit(pairs, dataset, 0)
    return time.perf_counter() - begun


def peer_rate(home: Path, dataset: TrajectoryDataset, pairs: Preferences) -> float:
    """Pairs a second of imitation."""
    script = Path(__file__).parent / "peers" / "imitation_rewards.py"
    with tempfile.TemporaryDirectory() as name:
        data, result = Path(name) / "pairs.npz", Path(name) / "result.json"
        actions = np.zeros((len(dataset.flat_observations), ACTIONS), dtype=np.float32)
        actions[dataset.observation_rows] = dataset.actions
        np.savez(
            data,
            observations=dataset.flat_observations,
            actions=actions,
            labels=pairs.labels,
            lengths=pairs.first.lengths,
            **{
                f"{side}_starts": dataset.observation_rows[
                    dataset.offsets[getattr(pairs, side).episodes] + getattr(pairs, side).starts
                ]
                for side in ("first", "second")
            },
        )
        numbers = map(str, (MEMBERS, WIDTH, BATCH_SIZE))
        python = peer_python(home, "imitation")
        subprocess.run([python, script, data, *numbers, result], check=True)
        return float(json.loads(result.read_text())["pairs_per_second"])


def main() -> None:
    """Measures and writes."""
    parser = argument_parser(__doc__.splitlines()[0], "rewards")
    parser.add_argument("--peers", type=Path, default=Path(".venv-peers"))
    options = parser.parse_args()
    one_thread()
    count, steps = (1_000, 100_000) if options.quick else (10_000, 1_000_000)
    dataset = episodes(500)
    pairs = labelled(dataset, count)
    drawn = BradleyTerryConfig(
        actions=True, members=MEMBERS, hidden=[WIDTH, WIDTH], batch_size=BATCH_SIZE, epochs=1
    )
    fit_s(dataset, pairs[:PEER_PAIRS], drawn)  # warms up
    rates = {
        "robopref": count / fit_s(dataset, pairs, drawn),
        "robopref, every step": count / fit_s(dataset, pairs, replace(drawn, sampled_steps=0)),
        "imitation": peer_rate(options.peers.resolve(), dataset, pairs[:PEER_PAIRS]),
    }
    default = replace(drawn, epochs=BradleyTerryConfig().epochs)
    seconds = fit_s(dataset, pairs, default)
    large = episodes(steps // HORIZON)
    model = make_reward(default, large, 0)
    begun = time.perf_counter()
    relabel(large, model)
    predicted = time.perf_counter() - begun
    headline = {
        "ratio_vs_imitation": round(rates["robopref"] / rates["imitation"], 1),
        "ratio_same_arithmetic": round(rates["robopref, every step"] / rates["imitation"], 1),
        f"fit_{count // 1000}k_pairs_s": round(seconds, 1),
        f"predict_{'1m' if steps == 1_000_000 else '100k'}_steps_s": round(predicted, 2),
    }
    table = [{"library": name, "pairs_per_second": round(rate)} for name, rate in rates.items()]
    for name, value in headline.items():
        print(f"{name}: {value}")
    print(*table, sep="\n")
    write_results(options.json, headline, table, ["torch", "numpy"])


if __name__ == "__main__":
    main()
