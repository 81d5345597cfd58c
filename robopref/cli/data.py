"""Describes, checks and converts dataset files (robomimic HDF5).

Usage:
  robopref data info FILE       what is in the file
  robopref data validate FILE   every problem of the file; exit code 2 if there is one
  robopref data validate FILE --replay N   also plays N episodes' actions in the simulator again
  robopref data import-labels FORMAT SOURCE DATASET OUTPUT   published labels; see its --help
  robopref data convert SOURCE TARGET            other formats in and out; see its --help
  robopref data download [NAME]                  published datasets; see its --help

Examples:
  robopref data info data/metaworld/button-press-v3-mixed.hdf5
  robopref data validate data/metaworld/button-press-v3-mixed.hdf5
  robopref data validate data/robosuite/lift-mixed.hdf5 --replay 3
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from robopref.cli import convert, download, import_labels
from robopref.errors import InputError
from robopref.files import existing_file

if TYPE_CHECKING:
    from robopref.data.dataset import TrajectoryDataset


def main(arguments: Sequence[str]) -> None:
    """Runs an action on a file, or hands over to a command of its own."""
    if arguments and arguments[0] in SUBCOMMANDS:
        SUBCOMMANDS[arguments[0]](arguments[1:])
        return
    if not arguments or {"-h", "--help"} & set(arguments):
        print((__doc__ or "").strip())
        return
    action, *files = arguments
    if action == "validate" and "--replay" in files:
        files, episodes = _without_replay(files)
        validate(existing_file(files[0]))
        replay(existing_file(files[0]), episodes)
        return
    if action not in ACTIONS:
        known = ", ".join([*ACTIONS, *SUBCOMMANDS])
        raise InputError(f"data {action}: no such action; choose from {known}")
    if len(files) != 1:
        raise InputError(f"data {action}: needs one file, found {len(files)}; see --help")
    ACTIONS[action](existing_file(files[0]))


def info(path: Path) -> None:
    """Prints what a dataset file holds."""
    from robopref.data.lazy import load_dataset_lazily

    dataset = load_dataset_lazily(path, states=True)
    table = Table(title=str(path), show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    for name, text in _facts(dataset, path.stat().st_size):
        table.add_row(name, text)
    Console().print(table)


def validate(path: Path) -> None:
    """Prints every problem of a dataset file.

    Raises:
        InputError: if there is one.
    """
    from robopref.data.robomimic import count_episodes, find_problems

    problems = find_problems(path)
    for problem in problems:
        print(problem)
    if problems:
        raise InputError(f"{path}: {len(problems)} problem(s), listed above")
    print(f"{path}: sound, {count_episodes(path)} episodes")


def replay(path: Path, episodes: int) -> None:
    """Prints how far the recorded actions lead away from the recorded observations."""
    from robopref.evaluation.drift import replay_file

    replayed = replay_file(path, episodes)
    for episode, drift in enumerate(replayed.drifts):
        agrees = drift.success == drift.recorded_success
        outcome = "success" if drift.success else "no success"
        print(
            f"episode {episode}: {drift.steps} steps, off by at most {drift.furthest:.1e} in "
            f"{drift.key} ({drift.first:.1e} at the start), {outcome} "
            f"{'as' if agrees else 'unlike what was'} recorded"
        )
    for difference in replayed.versions:
        print(difference)


def _without_replay(files: list[str]) -> tuple[list[str], int]:
    """The arguments without `--replay N`, and N."""
    place = files.index("--replay")
    number = files[place + 1] if place + 1 < len(files) else ""
    rest = files[:place] + files[place + 2 :]
    if not number.isdecimal() or int(number) < 1 or len(rest) != 1:
        raise InputError("data validate: takes one FILE and --replay N, N at least 1; see --help")
    return rest, int(number)


ACTIONS: dict[str, Callable[[Path], None]] = {"info": info, "validate": validate}
"""What is done with one file."""
SUBCOMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "import-labels": import_labels.main,
    "convert": convert.main,
    "download": download.main,
}
"""What has arguments of its own."""


def _facts(dataset: TrajectoryDataset, size: int) -> list[tuple[str, str]]:
    import numpy as np

    lengths, returns = dataset.lengths, np.quantile(dataset.returns, [0, 0.25, 0.5, 0.75, 1])
    arrays = {f"observations/{name}": values for name, values in dataset.observations.items()}
    arrays |= {"actions": dataset.actions, "rewards": dataset.rewards}
    arrays |= {f"factors/{name}": values for name, values in dataset.factors.items()}
    arrays |= {"states": dataset.states} if dataset.states is not None else {}
    env = dict(dataset.env_args)
    behaviours = Counter(name or "unknown" for name in dataset.behaviours)
    return [
        ("environment", str(env.pop("env_name", "unknown"))),
        *((key, _plain(value)) for key, value in env.items() if key != "type"),
        ("episodes", f"{len(dataset)} of {lengths.min()} to {lengths.max()} steps"),
        ("steps", str(dataset.num_steps)),
        ("success", f"{100 * dataset.episode_success.mean():.1f} % of the episodes"),
        ("returns", ", ".join(f"{value:.4g}" for value in returns) + " (min, quartiles, max)"),
        ("behaviours", ", ".join(f"{name} {count}" for name, count in behaviours.most_common())),
        *((name, f"{tuple(values.shape[1:])} {values.dtype}") for name, values in arrays.items()),
        ("fingerprint", dataset.fingerprint),
        ("size", f"{size / 1e6:.1f} MB"),
    ]


def _plain(value: Any) -> str:
    """Nested settings without the punctuation of JSON."""
    if not isinstance(value, Mapping):
        return str(value)
    nested = ((key, _plain(item), isinstance(item, Mapping)) for key, item in value.items())
    return ", ".join(f"{key} ({text})" if deep else f"{key} {text}" for key, text, deep in nested)
