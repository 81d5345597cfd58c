"""Converts a dataset from one format to another.

Usage: robopref data convert SOURCE TARGET [--from FORMAT] [--to FORMAT]

Formats:
  robomimic   HDF5 file, what all other commands read
  numpy       folder of npz files, one per episode; env.json beside them
  d4rl        flat HDF5 file: observations, actions, rewards, terminals, timeouts
  minari      folder of a local Minari dataset, with data/main_data.hdf5
  lerobot     folder of a LeRobot dataset, v3.0: Parquet and MP4

The source's format is seen from its content. A TARGET that ends in .hdf5 or .h5 becomes a robomimic
file unless --to says otherwise. TARGET must not exist; it appears whole or not at all. A line says
each thing that the target has no place for.

Examples:
  robopref data convert recordings/ mine.hdf5
  robopref data convert hopper_medium-v2.hdf5 hopper.hdf5
  robopref data convert mine.hdf5 mine_lerobot --to lerobot
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robopref.cli.arguments import ArgumentParser


def main(arguments: Sequence[str]) -> None:
    """Runs `data convert`.

    Raises:
        InputError: if the source is damaged, or the target exists.
    """
    if not arguments or {"-h", "--help"} & set(arguments):
        print((__doc__ or "").strip())
        return
    from robopref.data.convert.registry import convert

    parser = ArgumentParser("data convert")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--from", dest="source_format", default="")
    parser.add_argument("--to", dest="target_format", default="")
    given = parser.parse_args(arguments)
    done = convert(given.source, given.target, given.source_format, given.target_format)
    for note in done.notes:
        print(note)
    print(f"{given.target}: {done.episodes} episodes, {done.source_format} to {done.target_format}")
