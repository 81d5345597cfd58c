"""The whole way on one page: labels of one task train a policy for another that has none.

Collects Button Press and Drawer Open, lets a scripted teacher compare episodes of Button Press,
transfers the labels to Drawer Open (none of its own is read), learns a reward and a policy, and
tries the policy beside three controls. `report.html` in the run's folder shows it all.

Examples:
  robopref demo name=first
  robopref demo size=quick
  robopref demo source=metaworld/door-close-v3 target=metaworld/window-open-v3 seeds=2
  robopref demo resume=runs/demo/20260101-120000
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from robopref.cli.config import run
from robopref.cli.runs import run_folder
from robopref.data.collect import collect
from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import load_dataset
from robopref.data.segments import sample_segments
from robopref.environments import make_env
from robopref.errors import InputError
from robopref.files import write_json
from robopref.policies.iql import IQLConfig
from robopref.preferences.dataset import Preferences, load_preferences, save_preferences
from robopref.preferences.queries import Pairs, uniform_pairs
from robopref.preferences.teachers import TEACHERS, scripted_labels
from robopref.preferences.transfer import PRESETS, TransferConfig, transfer_preferences
from robopref.processes import PeakMemory
from robopref.report.demo import ARMS, DemoResults, label_metrics, policy_metrics, write_report
from robopref.rewards.bradley_terry import BradleyTerryConfig
from robopref.rewards.pearl import PearlConfig
from robopref.seeding import numpy_generator
from robopref.training.arms import ArmRun, run_arms
from robopref.training.evaluated import (
    CURVE_FOLDER,
    RESULT_FILE,
    EvaluationConfig,
    load_result,
)
from robopref.training.logger import read_metrics
from robopref.training.offline import OfflineTrainingConfig

LABELS_FOLDER = "preferences"
"""In the run's folder: `source.parquet`, and for each arm the labels of the target."""


@dataclass
class DemoConfig:
    """Options of `robopref demo`."""

    size: str = "full"
    """full, or quick for a look at the machinery; sets the numbers below."""
    source: str = "metaworld/button-press-v3"
    """Gymnasium id of the task that gets labels."""
    target: str = "metaworld/drawer-open-v3"
    """Gymnasium id of the task that gets none."""
    source_mix: dict[str, Any] = field(default_factory=dict)
    """Behaviours in the source data; mix@source_mix=expert and so on chooses another."""
    target_mix: dict[str, Any] = field(default_factory=dict)
    """Behaviours in the target data; mix@target_mix=mixed and so on chooses another."""
    episodes: int = 120
    """Episodes of each task."""
    horizon: int = 200
    """Steps of an episode."""
    segments: int = 400
    """Pieces of episodes that comparisons are drawn from, on each task."""
    segment_length: int = 50
    """Steps of a piece. A reward learned from whole episodes says less about single steps."""
    pairs: int = 1_000
    """Pairs of pieces that are compared on each task."""
    seeds: int = 3
    """Runs of each arm, each with its own reward and policy."""
    seed: int = 0
    """Seed of data, pairs and the first run."""
    transfer: TransferConfig = field(default_factory=TransferConfig)
    """How labels are transferred."""
    reward: PearlConfig = field(default_factory=PearlConfig)
    """The reward that is learned from them."""
    iql: IQLConfig = field(default_factory=IQLConfig)
    """The policy that is learned from the reward."""
    training: OfflineTrainingConfig = field(default_factory=OfflineTrainingConfig)
    """How long; training.seed is the run's own."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """When and how long policies are tried."""
    camera: str = "corner4"
    """Camera of the videos."""
    workers: int = 0
    """Processes, one for each core when 0."""
    resume: str = ""
    """Folder of a run to go on with."""
    name: str = ""
    """Name of the run's folder under runs/demo, the time of day when empty."""

    def __post_init__(self) -> None:
        least = {"episodes": 4, "horizon": 1, "segments": 4, "segment_length": 1, "pairs": 2}
        least |= {"seeds": 1, "seed": 0, "workers": 0}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise InputError(f"{name}={getattr(self, name)}: must be at least {minimum}")
        most = self.segments * (self.segments - 1) // 2
        if self.pairs > most:
            raise InputError(
                f"pairs={self.pairs}: {self.segments} segments give at most {most} different pairs"
            )
        if self.segment_length > self.horizon:
            raise InputError(
                f"segment_length={self.segment_length}: episodes have {self.horizon} steps; "
                "choose shorter segments"
            )
        if self.evaluation.episodes < 1:
            raise InputError("evaluation.episodes=0: the demo compares policies; give at least 1")


def main(arguments: Sequence[str]) -> None:
    """Runs the command with the given Hydra overrides."""
    run("demo", DemoConfig, arguments, demo)


def demo(config: DemoConfig) -> None:
    """Makes everything in one run's folder and says where the report is."""
    start = time.monotonic()
    with run_folder("demo", config.name, config) as folder, PeakMemory() as memory:
        with Display() as display:
            results = make_results(config, folder, display)
        policies = policy_metrics(results.runs)
        metrics = {
            "transfer": label_metrics(results.labels["pearl"], results.truth),
            "plain_gw_transfer": label_metrics(results.labels["plain_gw"], results.truth),
            "policy": policies,
            "seconds_after_install": round(time.monotonic() - start, 1),
            "peak_rss_mb": round(memory.bytes / 1e6),
        }
        settings = OmegaConf.to_yaml(OmegaConf.structured(config))
        write_report(folder / "report.html", results, metrics, settings)
        metrics["seconds_after_install"] = round(time.monotonic() - start, 1)
        write_json(folder / "metrics.json", metrics)
    for arm, look in ARMS.items():
        figures = policies[arm]
        low, high = figures["success_iqm_low"], figures["success_iqm_high"]
        print(f"{look.title:20} success {figures['success_iqm']:4.0%} [{low:.0%}, {high:.0%}]")
    print(f"{folder / 'report.html'}: open it in a browser")


def make_results(config: DemoConfig, folder: Path, display: Display) -> DemoResults:
    """Collects, labels, transfers and trains; what is in the folder already stays."""
    for env in (config.source, config.target):  # a wrong name is to be found out at once
        make_env(env, horizon=config.horizon).close()
    source, target = (collected(config, folder, side, display) for side in ("source", "target"))
    now = datetime.now(UTC)
    pairs = {
        side: draw_pairs(config, dataset, numpy_generator(config.seed, f"{side} pairs"))
        for side, dataset in (("source", source), ("target", target))
    }
    labels_folder = folder / LABELS_FOLDER
    given = asked(config, source, pairs["source"], labels_folder / "source.parquet", now)
    true = asked(config, target, pairs["target"], labels_folder / "true_labels.parquet", now)
    presets = {"pearl": config.transfer, "plain_gw": PRESETS["pearl_paper"]}
    labels, transfers = {}, {}
    for arm, preset in presets.items():
        transferred, transfers[arm] = transfer_preferences(
            source, given, target, pairs["target"], preset, now
        )
        save_preferences(labels_folder / f"{arm}.parquet", transferred)
        labels[arm] = transferred.labels
    runs = list(arm_runs(config, folder))
    with display.policies(runs) as look:
        run_arms(runs, config.workers, look)
    return DemoResults(
        source, target, transfers, labels, true.labels > 0.5, runs, {"camera": config.camera}
    )


def draw_pairs(config: DemoConfig, dataset: TrajectoryDataset, rng: np.random.Generator) -> Pairs:
    """Pairs of pieces of episodes to compare."""
    segments = sample_segments(dataset, config.segments, config.segment_length, rng)
    return uniform_pairs(segments, config.pairs, rng)


def collected(config: DemoConfig, folder: Path, side: str, display: Display) -> TrajectoryDataset:
    """The dataset of the source or the target task."""
    path = folder / f"{side}.hdf5"
    env, mix = (getattr(config, name) for name in (side, f"{side}_mix"))
    with display.bar(f"Collecting {env}", config.episodes, "episodes") as show:
        collect(
            env, {"horizon": config.horizon}, mix, config.episodes, config.seed, path,
            config.workers, on_saved=show,
        )  # fmt: skip
    return load_dataset(path, states=side == "target")


def asked(
    config: DemoConfig, dataset: TrajectoryDataset, pairs: Pairs, path: Path, now: datetime
) -> Preferences:
    """Answers of the teacher, who knows the true reward and never errs."""
    if not path.exists():
        rng = numpy_generator(config.seed, "teacher")
        labels = scripted_labels(dataset, pairs, TEACHERS["oracle"], rng, now, annotator="oracle")
        save_preferences(path, labels)
    return load_preferences(path)


def arm_runs(config: DemoConfig, folder: Path) -> Iterator[ArmRun]:
    """Every arm with every seed."""
    for seed in range(config.seed, config.seed + config.seeds):
        for arm in ARMS:
            yield ArmRun(
                arm=arm,
                folder=folder / arm / f"seed-{seed}",
                dataset=folder / "target.hdf5",
                preferences=None
                if arm == "zero_reward"
                else folder / LABELS_FOLDER / f"{arm}.parquet",
                reward=BradleyTerryConfig() if arm == "plain_gw" else config.reward,
                policy=config.iql,
                training=replace(config.training, seed=seed),
                evaluation=config.evaluation,
                env_id=config.target,
                env_kwargs={"horizon": config.horizon},
            )


class Display:
    """Progress on the terminal."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """One bar; yields what to tell it."""
        bar = self._progress.add_task(title, total=total, unit=unit, note="")

        def show(done: int) -> None:
            self._progress.start()  # not before the input has proved right
            self._progress.update(bar, completed=done)

        yield show
        self._progress.stop_task(bar)

    @contextmanager
    def policies(self, runs: Sequence[ArmRun]) -> Iterator[Callable[[], None]]:
        """A bar for each run; yields what looks into their folders."""
        bars = [
            self._progress.add_task(
                f"{ARMS[one.arm].title}, seed {one.training.seed}",
                total=one.training.updates,
                unit="updates",
                note="",
                start=False,
            )  # fmt: skip
            for one in runs
        ]

        def look() -> None:
            for bar, one in zip(bars, runs, strict=True):
                if one.folder.exists() and not one.done:
                    self._progress.start_task(bar)
                self._progress.update(bar, completed=one.updates_done, note=_note(one))
                if one.done:
                    self._progress.stop_task(bar)

        yield look


def _note(run: ArmRun) -> str:
    """What is known of a run so far."""
    if run.done:
        return f"success {load_result(run.folder / RESULT_FILE).summary['success']:.0%}"
    if not run.folder.exists():
        return "waiting"
    if not run.updates_done:
        return "learning the reward" if run.preferences else "starting"
    curve = read_metrics(run.folder / CURVE_FOLDER)
    return f"success so far {curve[-1]['success']:.0%}" if curve else "learning the policy"
