"""CPL's protocol on Meta-World (Hejna et al., arXiv 2310.13639), smaller, beside cloning.

Segments of 64 steps, labelled by regret under a critic of the true reward, as the authors label: a
segment of rewards r from state s to s' has V(s) - sum r - V(s'). Different from
`configs/experiment/cpl_metaworld.yaml`: one task; 200 recorded episodes of mixed quality in place
of 2,500 segments of a policy of half success; the critic is IQL's, of the same data; 16 labelled
pairs of 2,500 an update; two layers of 256; 1,500 updates of cloning and 3,000 of CPL, learning
rate 3e-4.

    python benchmarks/cpl.py [--quick] [--json results/cpl.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from results import argument_parser, shipped_mix, success_of_seeds, write_results
from robopref.data.collect import collect
from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import load_dataset
from robopref.data.segments import all_segments, segment_returns
from robopref.data.transitions import transitions
from robopref.policies.cpl import CPLConfig
from robopref.policies.iql import IQL, IQLConfig
from robopref.policies.registry import make_policy
from robopref.preferences.dataset import Preferences, save_preferences
from robopref.preferences.queries import uniform_pairs
from robopref.processes import one_thread
from robopref.seeding import numpy_generator
from robopref.structures import Segments
from robopref.training.arms import ArmRun, run_arms
from robopref.training.evaluated import RESULT_FILE, EvaluationConfig, load_result
from robopref.training.offline import OfflineTrainingConfig, train_offline

ENV, HORIZON, EPISODES, SEGMENT, PAIRS = "metaworld/door-open-v3", 200, 200, 64, 2_500
CLONING, UPDATES = 1_500, 4_500


def values(dataset: TrajectoryDataset, updates: int, folder: Path) -> NDArray[np.float64]:
    """(N + E,): value of every observation in the true reward's unit, up to a constant, by IQL."""
    data = transitions(dataset)
    policy = make_policy(IQLConfig(), data, 0)
    assert isinstance(policy, IQL)
    train_offline(policy, data, OfflineTrainingConfig(updates, 256, 0, updates, updates), folder)
    with torch.no_grad():
        inputs = policy.standardizer(torch.from_numpy(dataset.flat_observations))
        found = policy.value(inputs)[0].squeeze(-1).double().numpy()
    # `transitions` gave it rewards of standard deviation 1; their mean moves all values alike.
    return np.asarray(found * dataset.rewards.std(dtype=np.float64))


def by_regret(
    dataset: TrajectoryDataset, state_values: NDArray[np.float64], seed: int
) -> Preferences:
    """Labels of random pairs of segments: the second is preferred if its regret is smaller."""

    def negative_regret(segments: Segments) -> NDArray[np.float64]:
        first = dataset.offsets[segments.episodes] + segments.episodes + segments.starts
        gained = state_values[first + segments.lengths] - state_values[first]
        return segment_returns(dataset, segments) + gained

    rng = numpy_generator(seed, "pairs")
    first, second = uniform_pairs(all_segments(dataset, SEGMENT), PAIRS, rng)
    labels = (negative_regret(second) > negative_regret(first)).astype(float)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Preferences.from_labels(
        dataset, first, second, labels, source="scripted", annotator="regret", created_at=now
    )


def main() -> None:
    """CPL and cloning by the same network, three seeds."""
    parser = argument_parser(__doc__.splitlines()[0], "cpl")
    parser.add_argument("--folder", type=Path, default=Path("runs/cpl"))
    options = parser.parse_args()
    one_thread()
    folder, seeds, episodes, critic = options.folder, 3, 50, 5_000
    cloning, updates = CLONING, UPDATES
    if options.quick:
        folder, seeds, episodes, critic = folder / "quick", 1, 10, 300
        cloning, updates = 200, 600
    path = folder / "door-open.hdf5"
    collect(ENV, {"horizon": HORIZON}, shipped_mix("scarce"), EPISODES, 0, path)
    dataset = load_dataset(path)
    state_values = values(dataset, critic, folder / "critic")
    runs = []
    for seed in range(seeds):
        labels = folder / f"regret-{seed}.parquet"
        save_preferences(labels, by_regret(dataset, state_values, seed))
        for arm, first in (("cpl", cloning), ("cloning", updates)):
            policy = CPLConfig(cloning_updates=first, segment_steps=SEGMENT)
            training = OfflineTrainingConfig(updates, 32, seed, 100, updates)
            evaluation = EvaluationConfig(episodes=episodes, episodes_on_the_way=0)
            runs.append(ArmRun(
                arm, folder / f"{arm}-{seed}", path, labels, None, policy, training, evaluation,
                ENV, {"horizon": HORIZON},
            ))  # fmt: skip
    run_arms(runs)
    rows = []
    for arm in ("cpl", "cloning"):
        scores = [load_result(run.folder / RESULT_FILE).success_any.mean()
                  for run in runs if run.arm == arm]  # fmt: skip
        rows.append({"task": ENV, "arm": arm} | success_of_seeds(np.array(scores)))
        print(rows[-1])
    headline = {f"{row['arm']}_success": float(str(row["success"])) for row in rows}
    write_results(options.json, headline, rows, ["torch", "metaworld", "mujoco"])


if __name__ == "__main__":
    main()
