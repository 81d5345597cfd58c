"""Policies of the transfer benchmark: IQL on `scarce` data, its reward from different places.

Arms: the true reward, a reward from the oracle's labels of the target itself (`true_labels`),
PEARL (labels transferred from another task), plain Gromov-Wasserstein with a Bradley-Terry reward
(`plain_gw`), and zero reward, which is behaviour cloning. Each target has three sources, one per
seed, so a dozen pairs in all. Finished runs are kept, so a broken-off table is gone on with.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from results import success_of_seeds
from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import load_dataset
from robopref.data.segments import sample_segments
from robopref.evaluation.statistics import interquartile_mean, mean
from robopref.policies.iql import IQLConfig
from robopref.preferences.dataset import Preferences, save_preferences
from robopref.preferences.queries import Pairs, uniform_pairs
from robopref.preferences.teachers import TEACHERS, scripted_labels
from robopref.preferences.transfer import PRESETS, transfer_preferences
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.pearl import PearlConfig
from robopref.seeding import numpy_generator
from robopref.training.arms import ArmRun, run_arms
from robopref.training.evaluated import RESULT_FILE, EvaluationConfig, load_result
from robopref.training.offline import OfflineTrainingConfig

SOURCES = {
    "drawer-open": ["button-press", "faucet-close", "door-close"],
    "window-open": ["button-press", "drawer-open", "plate-slide"],
    "faucet-close": ["button-press", "window-open", "sweep-into"],
    "plate-slide": ["drawer-open", "door-open", "faucet-close"],
}
"""Target to the source of each seed."""
ARMS = ("true_reward", "true_labels", "pearl", "plain_gw", "zero_reward")
UPDATES = 2_000
PAIRS, SEGMENTS, SEGMENT_LENGTH = 1_000, 400, 50
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def policy_table(
    data: Path, folder: Path, quick: bool
) -> tuple[list[dict[str, object]], dict[str, float]]:
    """Trains and evaluates all arms.

    Args:
        data: `<mix>/<task>.hdf5` of the benchmark.
        folder: where runs are kept.
        quick: one pair, fewer episodes of evaluation.

    Returns:
        One row per arm and target, and success over all targets per arm.
    """
    sources = {"drawer-open": SOURCES["drawer-open"][:1]} if quick else SOURCES
    runs = list(_runs(data, folder / ("quick" if quick else "full"), sources, quick))
    print(f"{sum(not run.done for run in runs)} of {len(runs)} policies to train", flush=True)
    run_arms(runs)
    rows: list[dict[str, object]] = []
    headline: dict[str, float] = {}
    for arm in ARMS:
        scores = np.array(
            [
                [
                    load_result(run.folder / RESULT_FILE).success_any.mean()
                    for run in runs
                    if run.arm == arm and run.folder.parent.name == target
                ]
                for target in sources
            ]
        ).T
        for target, column in zip(sources, scores.T, strict=True):
            rows.append({"arm": arm, "target": target} | success_of_seeds(column))
        average, iqm = mean(scores), interquartile_mean(scores)
        headline[f"{arm}_success_mean"] = round(average.value, 4)
        headline[f"{arm}_success_iqm"] = round(iqm.value, 4)
        by_target = "  ".join(
            f"{target} {value:.2f}" for target, value in zip(sources, scores.mean(0), strict=True)
        )
        print(f"{arm:12} mean {average}  IQM {iqm}   {by_target}", flush=True)
    return rows, headline


def _runs(data: Path, folder: Path, sources: dict[str, list[str]], quick: bool) -> Iterator[ArmRun]:
    evaluation = EvaluationConfig(episodes=20 if quick else 30, episodes_on_the_way=0)
    for seed in range(3):  # seed by seed, so that a table broken off is complete for some seeds
        for target, tasks in sources.items():
            if seed >= len(tasks):
                continue
            training = OfflineTrainingConfig(updates=UPDATES, seed=seed)
            path = data / "scarce" / f"{target}.hdf5"
            for arm in ARMS:
                run_folder = folder / target / f"{arm}-{seed}"
                yield ArmRun(
                    arm=arm,
                    folder=run_folder,
                    dataset=path,
                    preferences=_labels(arm, data, path, tasks[seed], seed, run_folder),
                    true_reward=arm == "true_reward",
                    reward=BradleyTerryConfig() if arm == "plain_gw" else PearlConfig(),
                    policy=IQLConfig(),
                    training=training,
                    evaluation=evaluation,
                    env_id=f"metaworld/{target}-v3",
                    env_kwargs={"horizon": 200},
                )


def _labels(
    arm: str, data: Path, target_path: Path, source: str, seed: int, folder: Path
) -> Path | None:
    """Writes the labels of an arm, unless they are there; None for arms without labels."""
    if arm not in ("true_labels", "pearl", "plain_gw"):
        return None
    path = folder / "preferences.parquet"
    if path.is_file():
        return path
    target = load_dataset(target_path)
    pairs = _pairs(target, numpy_generator(seed, "target pairs"))
    if arm == "true_labels":
        preferences = _oracle(target, pairs, seed)
    else:
        origin = load_dataset(data / "mixed" / f"{source}.hdf5")
        asked = _pairs(origin, numpy_generator(seed, "source pairs"))
        preset = PRESETS["default" if arm == "pearl" else "pearl_paper"]
        preferences, _ = transfer_preferences(
            origin, _oracle(origin, asked, seed), target, pairs, preset, NOW
        )
    save_preferences(path, preferences)
    return path


def _pairs(dataset: TrajectoryDataset, rng: np.random.Generator) -> Pairs:
    """Pairs of pieces of episodes; whole episodes leave a reward vaguer about single steps."""
    return uniform_pairs(sample_segments(dataset, SEGMENTS, SEGMENT_LENGTH, rng), PAIRS, rng)


def _oracle(dataset: TrajectoryDataset, pairs: Pairs, seed: int) -> Preferences:
    return scripted_labels(dataset, pairs, TEACHERS["oracle"], numpy_generator(seed, "oracle"), NOW)
