"""The demo's report: one HTML file that holds its figures and videos."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import trim_mean

from robopref.data.dataset import TrajectoryDataset
from robopref.data.segments import segment_returns
from robopref.errors import InputError
from robopref.evaluation.rollout import record_video
from robopref.evaluation.statistics import interquartile_mean
from robopref.policies.registry import load_policy
from robopref.preferences.transfer import Transfer
from robopref.report.figures import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    Line,
    curve_figure,
    label_figure,
    plan_figure,
    reward_figure,
)
from robopref.report.page import write_page
from robopref.report.video import replay, video_speed, write_mp4
from robopref.rewards.registry import load_reward
from robopref.rewards.relabel import relabel
from robopref.training.arms import REWARD_FOLDER, ArmRun
from robopref.training.evaluated import CURVE_FOLDER, POLICY_FOLDER, RESULT_FILE, load_result
from robopref.training.logger import read_metrics

PICTURE_SIZE = 256
"""Width and height of videos, in pixels."""


@dataclass(frozen=True)
class ArmLook:
    """How the report speaks of an arm."""

    title: str
    meaning: str
    color: str


ARMS: Mapping[str, ArmLook] = {
    "pearl": ArmLook(
        "Transferred labels",
        "Labels come from the source task. The reward knows how sure it is (PEARL).",
        BLUE,
    ),
    "true_labels": ArmLook(
        "True labels",
        "The same reward and policy, from labels given on the target itself: what one could hope "
        "for.",
        GREEN,
    ),
    "zero_reward": ArmLook(
        "No reward",
        "Imitates all of the data, good and bad alike: what one gets without labels.",
        GREY,
    ),
    "plain_gw": ArmLook(
        "Plain transport",
        "Labels by plain Gromov-Wasserstein transport and an ordinary reward: the older way.",
        ORANGE,
    ),
}
"""The demo's arms in the order of the report."""


@dataclass(frozen=True)
class DemoResults:
    """All that the report shows."""

    source: TrajectoryDataset
    target: TrajectoryDataset
    """With simulator states, for its videos."""
    transfers: Mapping[str, Transfer]
    """Arm (`pearl`, `plain_gw`) to transport between the compared segments."""
    labels: Mapping[str, NDArray[np.float64]]
    """Arm to (B,) transferred labels."""
    truth: NDArray[np.bool_]
    """(B,): the second segment of the pair is the better one."""
    runs: Sequence[ArmRun]
    picture: Mapping[str, Any]
    """Arguments of the target's environment for its videos, such as the camera."""


def policy_metrics(runs: Sequence[ArmRun]) -> dict[str, dict[str, float]]:
    """Per arm: interquartile mean of success over seeds with its interval, and means."""
    metrics: dict[str, dict[str, float]] = {}
    for arm in dict.fromkeys(run.arm for run in runs):
        results = [load_result(run.folder / RESULT_FILE) for run in runs if run.arm == arm]
        success = interquartile_mean(np.array([[r.success_any.mean()] for r in results]))
        last = trim_mean([result.success_last.mean() for result in results], 0.25)
        metrics[arm] = {
            "success_iqm": success.value,
            "success_iqm_low": success.low,
            "success_iqm_high": success.high,
            "success_last_iqm": float(last),
            "return_mean": float(np.mean([result.returns.mean() for result in results])),
            "seeds": len(results),
            "episodes": sum(len(result.returns) for result in results),
        }
    return metrics


def label_metrics(labels: NDArray[np.float64], truth: NDArray[np.bool_]) -> dict[str, float]:
    """Share of right labels, over all pairs and over the surer half."""
    right = (labels > 0.5) == truth
    surest = np.argsort(-np.abs(labels - 0.5), kind="stable")[: max(len(labels) // 2, 1)]
    return {
        "label_accuracy": float(right.mean()),
        "label_accuracy_confident_half": float(right[surest].mean()),
    }


def write_report(
    path: Path, results: DemoResults, metrics: Mapping[str, Any], settings: str
) -> None:
    """Writes the HTML file, and the videos under `videos/` beside it.

    Args:
        path: the HTML file.
        results: what the demo made.
        metrics: content of its `metrics.json`.
        settings: its config, as text.
    """
    try:
        videos, no_video = make_videos(path.parent / "videos", results), ""
    except InputError as error:
        videos, no_video = {}, str(error)
    shown = results.runs[0]
    speed = video_speed(shown.env_id, shown.env_kwargs)
    write_page(
        path,
        "demo.html",
        source=_task_name(results.source),
        target=_task_name(results.target),
        data={"source": _facts(results.source), "target": _facts(results.target)},
        pairs=len(results.truth),
        arms=ARMS,
        metrics=metrics,
        figures=make_figures(results),
        videos=videos,
        no_video=no_video,
        speed=speed and round(speed, 1),
        settings=settings,
    )


def make_figures(results: DemoResults) -> dict[str, str]:
    """SVG of each figure, by name."""
    titles = {"pearl": "robopref", "plain_gw": "plain transport"}
    return {
        "plan": plan_figure(
            {
                titles[arm]: transfer.plan[
                    np.ix_(
                        np.argsort(segment_returns(results.source, transfer.source_points)),
                        np.argsort(segment_returns(results.target, transfer.target_points)),
                    )
                ]
                for arm, transfer in results.transfers.items()
            }
        ),
        "labels": label_figure(
            {titles[arm]: labels for arm, labels in results.labels.items()},
            results.truth,
            titles["pearl"],
        ),
        "reward": _reward_figure(results),
        "curves": curve_figure([_line(arm, results.runs) for arm in ARMS]),
    }


def best_and_worst(dataset: TrajectoryDataset) -> tuple[int, int]:
    """Episodes of the largest and the smallest true return."""
    return int(np.argmax(dataset.returns)), int(np.argmin(dataset.returns))


def _reward_figure(results: DemoResults) -> str:
    run = next(run for run in results.runs if run.arm == "pearl")
    target = results.target
    learned = relabel(target, load_reward(run.folder / REWARD_FOLDER))
    episodes = {}
    for title, episode in zip(
        ("A good episode", "A bad episode"), best_and_worst(target), strict=True
    ):
        steps = target.step_slice(episode)
        std = None if learned.std is None else learned.std[steps]
        episodes[title] = (learned.mean[steps], std, target.rewards[steps])
    return reward_figure(episodes)


def _line(arm: str, runs: Sequence[ArmRun]) -> Line:
    """Success over updates: the evaluations on the way, then the last one."""
    values = []
    steps: list[int] = []
    for run in (run for run in runs if run.arm == arm):
        lines = read_metrics(run.folder / CURVE_FOLDER)
        last = load_result(run.folder / RESULT_FILE).summary["success"]
        steps = [*(int(line["step"]) for line in lines), run.training.updates]
        values.append([*(line["success"] for line in lines), last])
    return Line(ARMS[arm].title, ARMS[arm].color, np.array(steps), np.array(values))


def make_videos(folder: Path, results: DemoResults) -> dict[str, str]:
    """Films the first policy of each arm, and the data's best and worst episode.

    Returns:
        Name of the video to an address that holds it (`data:`).

    Raises:
        InputError: if no picture can be taken.
    """
    first = {run.arm: run for run in reversed(results.runs)}
    run = next(iter(first.values()))
    env_kwargs = {**run.env_kwargs, "render_size": PICTURE_SIZE, **results.picture}
    clips = {
        name: replay(results.target[episode], run.env_id, env_kwargs)
        for name, episode in zip(("best", "worst"), best_and_worst(results.target), strict=True)
    }
    for arm, run in first.items():
        policy = load_policy(run.folder / POLICY_FOLDER)
        clips[arm] = record_video(policy, run.env_id, env_kwargs, run.evaluation.seed)
    for name, frames in clips.items():
        write_mp4(folder / f"{name}.mp4", frames)
    return {name: _data_address(folder / f"{name}.mp4") for name in clips}


def _data_address(path: Path) -> str:
    return "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()


def _task_name(dataset: TrajectoryDataset) -> str:
    """`metaworld/drawer-open-v3` to `Drawer Open`, and so robosuite's `PickPlaceCan`."""
    name = str(dataset.env_args.get("env_name", dataset.source)).split("/")[-1]
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name)
    words = [word for word in name.split("-") if not (word[0] == "v" and word[1:].isdigit())]
    return " ".join(words).title()


def _facts(dataset: TrajectoryDataset) -> dict[str, Any]:
    return {
        "episodes": len(dataset),
        "steps": int(dataset.lengths.max()),
        "success": float(dataset.episode_success.mean()),
    }
