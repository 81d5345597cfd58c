"""Checks this machine: packages, simulators, rendering, devices, threads, disk.

Usage: robopref doctor

Each line is `ok`, a `note` (works, but could be better) or a `problem`; what mends it stands below.
Exit code 2 if there is a problem.

Examples:
  robopref doctor                     what is there, and what is to be mended
  MUJOCO_GL=osmesa robopref doctor    whether OSMesa would render
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import NamedTuple

from robopref.errors import InputError

LEAST_DISK_GB = 2.0
"""Free space for a dataset of two hundred episodes, its rewards and a policy, with room left."""


class Finding(NamedTuple):
    """What one check says."""

    state: str
    """`ok`, `note` or `problem`."""
    subject: str
    text: str
    mend: str = ""
    """The command that mends it."""


def main(arguments: Sequence[str]) -> None:
    """Prints every finding.

    Raises:
        InputError: if there is a problem.
    """
    if {"-h", "--help"} & set(arguments):
        print((__doc__ or "").strip())
        return
    if arguments:
        raise InputError(f"doctor {arguments[0]}: takes no options; see --help")
    problems = 0
    for finding in _findings():
        problems += finding.state == "problem"
        print(f"{finding.state:<8} {finding.subject:<10} {finding.text}", flush=True)
        if finding.mend:
            print(f"{'':<19} mend: {finding.mend}")
    if problems:
        raise InputError(f"doctor: {problems} problem(s); the commands above mend them")


def _findings() -> Iterator[Finding]:
    yield from _packages()
    yield from _devices()
    yield from _threads()
    yield from _disk()
    # Simulators are known to robopref_envs alone, which tells plain values.
    for values in import_module("robopref_envs.doctor").findings():
        yield Finding(*values)


def _packages() -> Iterator[Finding]:
    """Compares what is installed with what robopref asks for, extras included."""
    from packaging.requirements import Requirement

    wanted = [Requirement(text) for text in metadata.requires("robopref") or []]
    wrong = 0
    for requirement in wanted:
        extra = _extra(str(requirement.marker or ""))
        if extra in ("all", "dev"):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            if not extra:
                wrong += 1
                yield Finding(
                    "problem",
                    "packages",
                    f"{requirement.name} is missing",
                    f"pip install '{requirement.name}{requirement.specifier}'",
                )
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong += 1
            yield Finding(
                "problem",
                "packages",
                f"{requirement.name} {version} is installed, robopref needs "
                f"{requirement.specifier}",
                f"pip install '{requirement.name}{requirement.specifier}'",
            )
    if not wrong:
        names = ("robopref", "torch", "numpy", "gymnasium", "h5py")
        versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
        yield Finding("ok", "packages", versions)


def _extra(marker: str) -> str:
    """Name of the extra that a requirement belongs to; empty for those that all need."""
    return marker.partition("extra == ")[2].strip("\"'")


def _devices() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        names = (torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        yield Finding("ok", "devices", f"CUDA: {', '.join(names)}")
    elif _has_nvidia():
        yield Finding(
            "problem",
            "devices",
            f"there is an NVIDIA GPU, but torch {torch.__version__} cannot use it",
            "pip install --force-reinstall torch (a build for your driver's CUDA version)",
        )
    else:
        yield Finding("ok", "devices", "CPU alone; nothing here needs more")


def _has_nvidia() -> bool:
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    done = subprocess.run([program, "-L"], capture_output=True, text=True, check=False)
    return done.returncode == 0 and "GPU" in done.stdout


def _threads() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads != "1":
        yield Finding(
            "note",
            "threads",
            f"{cores} cores, OMP_NUM_THREADS={threads}: runs use one process for each core, and "
            "threads on top make them wait for each other",
            "export OMP_NUM_THREADS=1",
        )
    else:
        yield Finding("ok", "threads", f"{cores} cores, one thread for each process")
    load = os.getloadavg()[0]
    if load > cores:
        yield Finding(
            "note",
            "threads",
            f"the machine is busy: load {load:.1f} on {cores} cores; all will take longer",
        )


def _disk() -> Iterator[Finding]:
    for name, folder in (("runs", Path.cwd()), ("temporary", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free / 1e9
        if not os.access(folder, os.W_OK):
            text, state, mend = "cannot be written to", "problem", f"chmod u+w '{folder}'"
        elif free < LEAST_DISK_GB:
            text, state, mend = f"{free:.1f} GB free", "problem", "rm -r old folders under runs/"
        else:
            text, state, mend = f"{free:.0f} GB free", "ok", ""
        yield Finding(state, "disk", f"{name} files, {folder}: {text}", mend)
