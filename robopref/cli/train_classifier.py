"""`robopref train-reward reward=classifier`: whether the task is done, from recorded episodes."""

from __future__ import annotations

from typing import Any

import torch

from robopref.cli.runs import run_folder
from robopref.data.lazy import load_dataset_lazily
from robopref.files import write_json
from robopref.report.classifier import threshold_picture
from robopref.rewards.classifier import SuccessClassifier, held_out_steps
from robopref.rewards.visual import as_seen
from robopref.seeding import torch_generator
from robopref.training.logger import MetricsLogger

THRESHOLD_FILE = "threshold.png"


def train_classifier(config: Any, folder: str, device: torch.device) -> None:
    """Fits, saves and measures one.

    Args:
        config: of `robopref train-reward`.
        folder: where in the run's folder the model goes.
        device: where it learns.
    """
    dataset = as_seen(load_dataset_lazily(config.dataset), config.reward, device)
    aside = held_out_steps(dataset, config.reward.held_out, config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_generator(config.seed, "weights").initial_seed())
        model = SuccessClassifier(config.reward, dataset.flat_observations.shape[1]).to(device)
        with run_folder("train-reward", config.name, config) as run:
            with MetricsLogger(run) as logger:
                found = model.fit(dataset, config.seed, logger.log)
            model.save(run / folder)
            scores = model.probability(
                dataset.flat_observations[dataset.observation_rows[aside] + 1]
            )
            labels = dataset.success[aside].astype(bool)
            threshold_picture(scores, labels, found["threshold"], run / THRESHOLD_FILE)
            write_json(run / "metrics.json", {f"test/{name}": found[name] for name in found})
    print(
        f"{run / folder}: a success from {found['threshold']:.2g} on; of the steps kept aside "
        f"precision {100 * found['precision']:.0f} %, recall {100 * found['recall']:.0f} %, "
        f"false alarms {100 * found['false_alarms']:.2f} %"
    )
