"""Downloads a published dataset, or goes on with it.

Usage: robopref data download [NAME] [--folder FOLDER]

Without a name, prints those that there are. The file comes from the official hub, or from
the server that the environment variable HF_ENDPOINT names, and its checksum is checked.

Examples:
  robopref data download
  robopref data download robomimic/lift/ph
  robopref data download robomimic/can/mh --folder data
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robopref.errors import InputError


def main(arguments: Sequence[str]) -> None:
    """Runs `data download`.

    Raises:
        InputError: as `download`.
    """
    if {"-h", "--help"} & set(arguments):
        print((__doc__ or "").strip())
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    from robopref.data.download import FILES, download

    if not arguments:
        print("\n".join(FILES))
        return
    name, *rest = arguments
    if rest and (rest[0] != "--folder" or len(rest) != 2):
        raise InputError(f"data download: does not understand {' '.join(rest)}; see --help")
    folder = Path(rest[1] if rest else "data")
    with Progress(BarColumn(), DownloadColumn(), TimeRemainingColumn()) as progress:
        bar = progress.add_task(name, total=None)

        def show(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total or None)

        path = download(name, folder, show)
    print(f"{path}: downloaded; robopref data info {path} says what is in it")
