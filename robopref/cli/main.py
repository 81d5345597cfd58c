"""robopref: trajectories and preferences in, robot policies out.

Usage: robopref <command> [options]

Options are Hydra overrides such as horizon=200; -m sweeps over several values.
`robopref <command> --help` lists a command's options.

Examples:
  robopref collect env=metaworld/button-press-v3 mix=mixed episodes=120
  robopref data info data/metaworld/button-press-v3-mixed.hdf5
  robopref collect -m env=metaworld/reach-v3,metaworld/push-v3 mix=mixed,scarce
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

# Before NumPy and torch are imported: runs are parallel as processes, one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from robopref import __version__
from robopref.errors import InputError

COMMANDS = {
    "collect": ("robopref.cli.collect", "record demonstrations of mixed quality"),
    "label": ("robopref.cli.label", "label pairs: people in a browser, or a scripted teacher"),
    "transfer": ("robopref.cli.transfer", "label a task from another task's preferences"),
    "choose-source": ("robopref.cli.choose_source", "which labelled task to transfer from"),
    "train-reward": ("robopref.cli.train_reward", "learn a reward from preferences"),
    "train": ("robopref.cli.train", "train a policy on a dataset"),
    "evaluate": ("robopref.cli.evaluate", "play a policy: success, return, video"),
    "hil": ("robopref.cli.hil", "a person corrects a robot while it learns"),
    "benchmark": ("robopref.cli.benchmark", "tables of figures, from one command"),
    "demo": ("robopref.cli.demo", "the whole way, from one task's labels to another's policy"),
    "doctor": ("robopref.cli.doctor", "check this machine: packages, rendering, devices, disk"),
    "data": ("robopref.cli.data", "describe, check and convert dataset files"),
}
"""Command -> module with `main(arguments)`, imported only when called; one-line summary."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the command and its options, the process's own when None.

    Returns:
        Exit code: 0 done, 1 a defect (the traceback is printed), 2 the user's input was wrong
        (one line is printed), 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return _dispatch(arguments)
    except InputError as error:
        print("robopref:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("robopref: interrupted", file=sys.stderr)
        return 130


def _dispatch(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"robopref {__version__}")
        return 0
    command, *rest = arguments
    if command not in COMMANDS:
        raise InputError(f"{command}: no such command; choose from {', '.join(COMMANDS)}")
    import_module(COMMANDS[command][0]).main(rest)
    return 0


def _help() -> str:
    summaries = "\n".join(f"  {name:<14}{text}" for name, (_, text) in COMMANDS.items())
    return f"{(__doc__ or '').strip()}\n\nCommands:\n{summaries}"
