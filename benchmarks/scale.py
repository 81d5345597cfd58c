"""Labels of one task for very many trajectories of another.

Source: 200 episodes of Button Press with 1,000 oracle labels. Target: 200 episodes of Drawer Open,
made many by drawing among them and letting hand and object of each deviate by up to 2 cm, every
fourth step kept. As many pairs are labelled as there are trajectories. Accuracy is that of the
labels against the true returns, over pairs of trajectories whose originals differ. `exact` aligns
all trajectories with each other.

    python benchmarks/scale.py [--quick] [--json results/scale.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: more threads than cores collapse

import resource
import time
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from results import parse_arguments, write_results
from robopref.benchmark.transfers import oracle_labels
from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import whole_episodes
from robopref.preferences.queries import Pairs
from robopref.preferences.transfer import TransferConfig, transfer_preferences
from robopref.structures import Trajectory
from transfer import SOURCE_PAIRS, benchmark_dataset

EVERY, DEVIATION = 4, 0.02
PLACES = {"hand": 0, "object": 4, "goal": 36}
"""Entity to its first index in Meta-World's observation."""
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def thinned(
    dataset: TrajectoryDataset, originals: NDArray[np.int64], deviation: float
) -> TrajectoryDataset:
    """Every fourth step of these episodes, with hand and object off by up to so many metres."""
    rng = np.random.default_rng(0)
    trajectories = []
    for number in originals:
        episode = dataset[int(number)]
        flat = episode.observations["flat"][::EVERY]
        steps = len(flat) - 1
        deviations = rng.uniform(-deviation, deviation, (3, 3)).astype(np.float32)
        deviations[2] = 0.0  # the goal stays where it is
        trajectories.append(
            Trajectory(
                observations={
                    name: flat[:, first : first + 3] + deviations[place]
                    for place, (name, first) in enumerate(PLACES.items())
                },
                actions=episode.actions[::EVERY][:steps],
                rewards=np.add.reduceat(episode.rewards, np.arange(0, len(episode), EVERY))[:steps],
                terminated=np.zeros(steps, dtype=bool),
                truncated=np.arange(steps) == steps - 1,
                success=np.zeros(steps, dtype=bool),
            )
        )
    entities = {name: {"key": name, "first": 0} for name in PLACES}
    return TrajectoryDataset.from_trajectories(trajectories, {"entities": entities})


def measure(
    source: TrajectoryDataset, target: TrajectoryDataset, count: int, exact: bool
) -> dict[str, object]:
    """Labels as many pairs of as many trajectories; a row of figures."""
    originals = np.random.default_rng(2).integers(0, len(target), count)
    made = thinned(target, originals, DEVIATION)
    first, second = np.random.default_rng(1).integers(0, count, (2, count))
    different = originals[first] != originals[second]
    whole = whole_episodes(made)
    pairs: Pairs = whole[first[different]], whole[second[different]]
    labels = oracle_labels(source, SOURCE_PAIRS)
    assert made.fingerprint  # a hash of the data, which their owner has
    config = TransferConfig(prototypes=count) if exact else TransferConfig(prototypes=300)
    begun = time.perf_counter()
    found, _ = transfer_preferences(source, labels, made, pairs, config, NOW)
    seconds = time.perf_counter() - begun
    truth = made.returns[pairs[1].episodes] - made.returns[pairs[0].episodes]
    right = 0.5 + 0.5 * np.sign(truth) * np.sign(found.labels - 0.5)
    return {
        "trajectories": count,
        "method": "exact" if exact else "300 prototypes",
        "pairs": len(found),
        "seconds": round(seconds, 2),
        "accuracy": round(float(right.mean()), 4),
        "rss_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def main() -> None:
    """Measures and writes."""
    arguments = parse_arguments(__doc__.splitlines()[0], "scale")
    source = thinned(benchmark_dataset("button-press", "mixed"), np.arange(200), 0.0)
    target = benchmark_dataset("drawer-open", "mixed")
    counts = (500, 2_000) if arguments.quick else (500, 2_000, 10_000, 100_000)
    table = [measure(source, target, 500, exact=True)]
    for count in counts:
        table.append(measure(source, target, count, exact=False))
    for row in table:
        print(row, flush=True)
    last = table[-1]
    assert isinstance(last["accuracy"], float)
    assert isinstance(table[0]["accuracy"], float)
    headline = {
        f"seconds_{counts[-1] // 1000}k": last["seconds"],
        f"rss_gib_{counts[-1] // 1000}k": last["rss_gib"],
        "accuracy_gap_vs_exact": round(table[0]["accuracy"] - last["accuracy"], 4),
    }
    for name, value in headline.items():
        print(f"{name}: {value}")
    write_results(arguments.json, headline, table, ["numpy", "scipy", "POT"])  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
