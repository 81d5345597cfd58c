"""A run shown at Weights & Biases as well (extra `wandb`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from robopref.errors import InputError
from robopref.training.evaluated import CURVE_FOLDER
from robopref.training.logger import read_metrics

OnMetrics = Callable[[int, Mapping[str, float]], None]


@contextmanager
def wandb_run(project: str, folder: Path, config: Any) -> Iterator[OnMetrics]:
    """Yields what to tell every line of metrics; the evaluations on the way follow at the end.

    A resumed run goes on under the same name. Without a connection set `WANDB_MODE=offline`.

    Args:
        project: name of the project there; nothing is sent when empty.
        folder: the run's folder.
        config: the command's dataclass.

    Raises:
        InputError: if wandb is not installed.
    """
    if not project:
        yield lambda step, metrics: None
        return
    try:
        import wandb
    except ImportError as error:
        raise InputError(
            f"wandb={project}: the package is not installed; pip install 'robopref[wandb]'"
        ) from error
    options: Any = OmegaConf.to_container(OmegaConf.structured(config))
    name = folder.name
    with wandb.init(
        project=project, id=name, name=name, dir=folder, config=options, resume="allow"
    ) as run:
        run.define_metric("*", step_metric="step")  # a resumed run repeats some steps
        yield lambda step, metrics: run.log({"step": step, **metrics})
        for line in read_metrics(folder / CURVE_FOLDER):
            values = {f"evaluation/{name}": value for name, value in line.items() if name != "step"}
            run.log({"step": line["step"], **values})
