"""Wrong labels: the Gaussian reward (PEARL) beside the Bradley-Terry ensemble.

Pairs of whole episodes are labelled by a scripted teacher who errs with probability 0 to 30 %.
Each reward learns from 200 pairs of the training episodes and is asked about every pair of the
held-out third, against the order of true returns. All have the same networks, members, sampled
steps, epochs and batches. `tempered` is a control: Bradley-Terry with a lower `logit_scale`, a
flatter likelihood without a Gaussian. Settings were chosen on other tasks: faucet-open,
window-close, handle-press, coffee-button, reach and door-lock.

    python benchmarks/reward_noise.py [--quick] [--json results/reward_noise.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from results import parse_arguments, write_results
from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import whole_episodes
from robopref.evaluation.reward_quality import label_accuracy
from robopref.evaluation.statistics import mean
from robopref.preferences.queries import all_pairs, split_episodes, uniform_pairs
from robopref.preferences.teachers import TeacherConfig, scripted_labels
from robopref.processes import one_thread
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.pairwise import PairwiseConfig
from robopref.rewards.pearl import PearlConfig
from robopref.rewards.registry import make_reward
from robopref.rewards.relabel import relabel
from robopref.seeding import numpy_generator
from transfer import benchmark_dataset

TASKS = "button-press drawer-open window-open door-close faucet-close sweep-into".split()
MIXES = ("mixed", "scarce")
MODELS: Mapping[str, PairwiseConfig] = {
    "gaussian": PearlConfig(),
    "bradley_terry": BradleyTerryConfig(),
    "tempered": BradleyTerryConfig(logit_scale=3.0),
}
PAIRS, HELD_OUT = 200, 1.0 / 3.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    arguments = parse_arguments(__doc__.splitlines()[0], "reward_noise")
    one_thread()
    tasks, seeds = (TASKS[:3], 2) if arguments.quick else (TASKS, 3)
    noises = (0.0, 0.2) if arguments.quick else (0.0, 0.1, 0.2, 0.3)
    datasets = [benchmark_dataset(task, mix) for mix in MIXES for task in tasks]
    table: list[dict[str, object]] = []
    headline: dict[str, float] = {}
    for noise in noises:
        scores = held_out_accuracy(datasets, noise, seeds)
        for name, accuracy in scores.items():
            estimate = mean(accuracy)
            difference = mean(accuracy - scores["bradley_terry"])  # paired: same labels and seeds
            percent = round(100 * noise)
            # Intervals are over labels and seeds; how tasks differ is in the columns per dataset.
            headline[f"{name}_accuracy_{percent}"] = round(estimate.value, 4)
            table.append(
                {
                    "flipped_percent": percent,
                    "model": name,
                    "accuracy": round(estimate.value, 4),
                    "low": round(estimate.low, 4),
                    "high": round(estimate.high, 4),
                    "over_bradley_terry": round(difference.value, 4),
                    "over_low": round(difference.low, 4),
                    "over_high": round(difference.high, 4),
                    "per_dataset": per_dataset(accuracy),
                    "over_per_dataset": per_dataset(accuracy - scores["bradley_terry"]),
                }
            )
            print(
                f"{percent:3d} % flipped  {name:14} {estimate.value:.3f} "
                f"[{estimate.low:.3f}, {estimate.high:.3f}]   over Bradley-Terry "
                f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]",
                flush=True,
            )
    write_results(arguments.json, headline, table, ["torch", "numpy", "metaworld"])


def per_dataset(scores: NDArray[np.float64]) -> list[float]:
    """Mean over seeds, in the order of mixes, then tasks."""
    return [round(float(value), 4) for value in scores.mean(0)]


def held_out_accuracy(
    datasets: Sequence[TrajectoryDataset], noise: float, seeds: int
) -> dict[str, NDArray[np.float64]]:
    """(seeds, datasets) per model."""
    scores = {name: np.zeros((seeds, len(datasets))) for name in MODELS}
    runs = [(seed, column) for seed in range(seeds) for column in range(len(datasets))]
    for seed, column in track(runs, f"{100 * noise:.0f} % flipped", transient=True):
        dataset = datasets[column]
        rng = numpy_generator(seed, f"reward noise {column}")
        train, held_out = split_episodes(len(dataset), HELD_OUT, rng)
        asked = uniform_pairs(whole_episodes(dataset, train), PAIRS, rng)
        labels = scripted_labels(dataset, asked, TeacherConfig(mistake=noise), rng, NOW)
        exam = all_pairs(whole_episodes(dataset, held_out))
        truth = scripted_labels(dataset, exam, TeacherConfig(), rng, NOW)
        for name, config in MODELS.items():
            model = make_reward(config, dataset, seed)
            model.fit(labels, dataset, seed)
            scores[name][seed, column] = label_accuracy(
                relabel(dataset, model).mean, truth, dataset
            )
    return scores


if __name__ == "__main__":
    main()
