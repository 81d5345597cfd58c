r"""Learns a reward per step from preferences over segments.

reward=pearl is a Gaussian reward that bears wrong labels, pearl_transformer the same on a
preference transformer, bradley_terry the plain ensemble, rapl a reward of the dataset's images; all
others look at images with reward.encoder=. classifier says whether the task is done, from recorded
successes and failures alone. The model goes to `reward/` in the run's folder. The
dataset's true rewards are read only to say how good the learned one is.

Examples:
  robopref train-reward dataset=drawer.hdf5 preferences=drawer.parquet name=drawer
  robopref train-reward dataset=drawer.hdf5 preferences=drawer.parquet reward=bradley_terry
  robopref train-reward dataset=d.hdf5 preferences=d.parquet test_preferences=test.parquet
  robopref train-reward dataset=pictures.hdf5 preferences=p.parquet reward=rapl
  robopref train-reward dataset=pictures.hdf5 reward=classifier reward.encoder=efficientnet_lite0
  torchrun --nproc-per-node 2 $(which robopref) train-reward dataset=pictures.hdf5 \
      preferences=p.parquet reward=preference_transformer
  robopref train-reward -m dataset=d.hdf5 preferences=d.parquet reward.preset_std=2,5,10
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import MISSING

from robopref.cli.config import register, run, shipped_folder
from robopref.cli.device import chosen_device
from robopref.cli.runs import run_folder
from robopref.cli.train_classifier import train_classifier
from robopref.data.lazy import load_dataset_lazily
from robopref.errors import InputError
from robopref.evaluation.reward_quality import (
    annotator_accuracies,
    label_accuracy,
    preference_calibration_error,
    reward_quality,
)
from robopref.evaluation.sensitivity import reward_sensitivity
from robopref.files import write_json
from robopref.preferences.dataset import check_dataset, check_informative, load_preferences
from robopref.preferences.triplets import load_triplets
from robopref.processes import long_time_slices, one_thread
from robopref.report.saliency import saliency_picture
from robopref.rewards.classifier import ClassifierConfig
from robopref.rewards.data_parallel import processes_of_torchrun
from robopref.rewards.doubtful import KEEP, check_way, mended, preference_strengths
from robopref.rewards.rapl import RaplReward
from robopref.rewards.registry import REWARDS, make_reward
from robopref.rewards.relabel import relabel
from robopref.rewards.visual import SeenDataset, as_seen
from robopref.seeding import numpy_generator
from robopref.training.logger import MetricsLogger

REWARD_FOLDER = "reward"
"""Where the model stands in the run's folder."""
SALIENCY_FILE = "saliency.png"
"""What a reward of images looks at."""
LOOKED_AT = 5
"""How many of the numbers that a reward looks at most are told."""


@dataclass
class TrainRewardConfig:
    """Options of `robopref train-reward`."""

    dataset: str = MISSING
    """robomimic HDF5 file that was labelled."""
    preferences: str = ""
    """Parquet file of labelled pairs; a classifier needs none."""
    triplets: str = ""
    """answers.parquet of a labelling session whose triplets (which of two is closer to a third) a
    reward=rapl learns from too; none when empty."""
    test_preferences: str = ""
    """Parquet file of pairs kept aside, to measure label accuracy on; none when empty."""
    reward: Any = MISSING
    """The model, pearl when not given; its options are such as reward.epochs, reward.encoder (of
    images) and, for both of pearl, reward.preset_std."""
    doubtful: str = KEEP
    """What becomes of labels that rewards which have not seen them contradict: keep, flip, soften
    (to what they believe) or drop."""
    doubtful_share: float = 0.1
    """Largest share of the labels that may be doubtful."""
    seed: int = 0
    """Seed of weights and batches."""
    device: str = "auto"
    """cpu, cuda, or auto for CUDA where there is one."""
    name: str = ""
    """Name of the run's folder under runs/train-reward, the time of day when empty."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed={self.seed}: must be at least 0")
        check_way(self.doubtful, self.doubtful_share)
        if bool(self.preferences) == isinstance(self.reward, ClassifierConfig):
            raise InputError(
                "preferences=: reward=classifier learns from the success of each step; leave it out"
                if self.preferences
                else "preferences=: must be given; robopref train-reward --help shows examples"
            )


def main(arguments: Sequence[str]) -> None:
    """Runs the command with the given Hydra overrides."""
    files = shipped_folder("configs") / "reward"
    for name, (_, config_class) in REWARDS.items():
        shipped = (files / f"{name}.yaml").is_file()  # those of other packages have no file
        register(f"reward/{name}_schema" if shipped else f"reward/{name}", config_class)
    register("reward/classifier_schema", ClassifierConfig)
    run("train-reward", TrainRewardConfig, arguments, train_reward)


def train_reward(config: TrainRewardConfig) -> None:
    """Fits, saves and measures one reward model."""
    one_thread()
    long_time_slices()
    device = chosen_device(config.device)
    if isinstance(config.reward, ClassifierConfig):
        train_classifier(config, REWARD_FOLDER, device)
        return
    with processes_of_torchrun(device) as rank:
        _train_reward(config, device, rank)


def _train_reward(config: TrainRewardConfig, device: torch.device, rank: int) -> None:
    dataset = as_seen(load_dataset_lazily(config.dataset), config.reward, device)
    preferences = load_preferences(config.preferences)
    check_informative(preferences)
    check_dataset(preferences, dataset)
    test = load_preferences(config.test_preferences) if config.test_preferences else None
    if test is not None:
        check_dataset(test, dataset)
    model = make_reward(config.reward, dataset, config.seed, device)
    beside: dict[str, Any] = {}
    if config.triplets:
        if not isinstance(model, RaplReward):
            raise InputError(
                f"triplets={config.triplets}: reward {model.name} learns from none; choose rapl"
            )
        beside = {"triplets": load_triplets(config.triplets, dataset)}
    if config.doubtful != KEEP:
        strengths = preference_strengths(preferences, dataset, config.reward, config.seed)
        preferences = mended(preferences, strengths, config.doubtful, config.doubtful_share)
    if rank:  # another process writes down what all learn
        model.fit(preferences, dataset, config.seed, **beside)
        return
    with run_folder("train-reward", config.name, config) as folder:
        with MetricsLogger(folder) as logger:
            metrics: dict[str, Any] = dict(
                model.fit(preferences, dataset, config.seed, on_epoch=logger.log, **beside)
            )
        model.save(folder / REWARD_FOLDER)
        learned = relabel(dataset, model)
        metrics |= reward_quality(learned, dataset)
        if test is not None:
            metrics["test/accuracy"] = label_accuracy(learned.mean, test, dataset)
            people = annotator_accuracies(learned.mean, test, dataset)
            if len(people) > 1:
                metrics |= {f"test/accuracy/{name}": share for name, share in people.items()}
            metrics["test/calibration_error"] = preference_calibration_error(
                learned.mean, test, dataset
            )
        if not isinstance(dataset, SeenDataset):
            looks = reward_sensitivity(model, dataset, numpy_generator(config.seed, "sensitivity"))
            most = sorted(looks, key=lambda name: -looks[name])[:LOOKED_AT]
            metrics |= {f"looks_at/{name}": looks[name] for name in most}
        elif isinstance(model, RaplReward):
            saliency_picture(model, dataset, learned.mean, folder / SALIENCY_FILE)
        write_json(folder / "metrics.json", metrics)
    said = f", {100 * metrics['test/accuracy']:.0f} % of held-out labels right" if test else ""
    print(
        f"{folder / REWARD_FOLDER}: {model.name} from {len(preferences)} pairs, rank correlation "
        f"with the true return {metrics['return_spearman']:.2f}{said}"
    )
