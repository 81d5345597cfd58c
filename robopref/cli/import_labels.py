"""Imports published labels of a dataset.

Usage: robopref data import-labels FORMAT SOURCE DATASET OUTPUT [options]

Formats:
  preference-transformer   folder human_label/<env>: two files of positions and label_human
  uni-rlhf                 human_label_*.pkl or fake_label_*.pkl, positions beside it
  uni-rlhf-export          zip that the platform exports; needs --options
  lire                     text file of pairs or of a ranked list
  cpl                      npz file with segments and scores
  imitation                pickle of a PreferenceDataset

DATASET is the labelled data as a robomimic HDF5 file. Files of cpl and imitation carry their own
segments, so with these DATASET is the file to write. OUTPUT is the Parquet file of the labels.

Options:
  --length H          steps of a segment, where the source does not say it or says it wrongly
  --layout LAYOUT     what positions count: d4rl, robomimic or steps; the format's own if not given
  --options MEANING   what the answers of a platform mean, such as 0=first,1=second,2=equal
  --question N        which question of a platform's project, 0 if not given
  --score NAME        which score of a cpl file, where there are several
  --compare FILE      labels that were imported before; says how far both agree, pair by pair

Examples:
  robopref data import-labels preference-transformer human_label/Lift_ph lift.hdf5 lift.parquet
  robopref data import-labels cpl drawer.npz drawer.hdf5 drawer.parquet --score rl_sum
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robopref.cli.arguments import ArgumentParser
from robopref.errors import InputError

if TYPE_CHECKING:
    from robopref.preferences.importers.imported import Imported

OVER_A_DATASET = {
    "preference-transformer": ("length", "layout"),
    "uni-rlhf": ("length", "layout"),
    "uni-rlhf-export": ("options", "question", "layout"),
    "lire": ("length", "layout"),
}
"""Formats whose positions index a dataset, with the options that they know."""
WITH_SEGMENTS = {"cpl": ("score",), "imitation": ()}
"""Formats that carry their own segments, with the options that they know."""
MEANINGS = {"first": 0, "second": 1, "equal": -1}


def main(arguments: Sequence[str]) -> None:
    """Runs `data import-labels`.

    Raises:
        InputError: if the labels do not fit the dataset, or an option is wrong.
    """
    if not arguments or {"-h", "--help"} & set(arguments):
        print((__doc__ or "").strip())
        return
    from robopref.data.lazy import load_dataset_lazily
    from robopref.data.robomimic import save_dataset
    from robopref.files import check_writable
    from robopref.preferences.dataset import load_preferences, save_preferences
    from robopref.preferences.importers.imported import agreement_with

    given = _parsed(arguments)
    check_writable(given.output)
    other = None if given.compare is None else load_preferences(given.compare)
    if given.format in WITH_SEGMENTS:
        if given.dataset.exists():
            raise InputError(f"{given.dataset}: already exists; choose another name or remove it")
        imported = _imported(given)
        save_dataset(given.dataset, imported.dataset)
        print(f"{given.dataset}: {len(imported.dataset)} segments")
    else:
        imported = _imported(given, load_dataset_lazily(given.dataset))
    save_preferences(given.output, imported.preferences)
    print(f"{given.output}: {imported.summary()}")
    if other is not None:
        pairs, share = agreement_with(imported.preferences, other)
        said = "" if share is None else f", and they agree on {100 * share:.1f} % of them"
        print(f"{given.compare}: {pairs} pairs are decided in both{said}")


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = ArgumentParser("data import-labels")
    parser.add_argument("format", choices=[*OVER_A_DATASET, *WITH_SEGMENTS])
    for name in ("source", "dataset", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--length", type=int)
    parser.add_argument("--layout")
    parser.add_argument("--options", type=_meanings)
    parser.add_argument("--question")
    parser.add_argument("--score")
    parser.add_argument("--compare", type=Path)
    return parser.parse_args(arguments)


def _imported(given: argparse.Namespace, *dataset: Any) -> Imported:
    """Calls the importer with the options that were given."""
    from datetime import UTC, datetime

    from robopref.preferences.importers.cpl import import_cpl
    from robopref.preferences.importers.imitation import import_imitation
    from robopref.preferences.importers.lire import import_lire
    from robopref.preferences.importers.positions import Layout
    from robopref.preferences.importers.preference_transformer import import_preference_transformer
    from robopref.preferences.importers.uni_rlhf import import_uni_rlhf
    from robopref.preferences.importers.uni_rlhf_export import import_uni_rlhf_export

    importers: dict[str, Any] = {
        "preference-transformer": import_preference_transformer,
        "uni-rlhf": import_uni_rlhf,
        "uni-rlhf-export": import_uni_rlhf_export,
        "lire": import_lire,
        "cpl": import_cpl,
        "imitation": import_imitation,
    }
    known = {**OVER_A_DATASET, **WITH_SEGMENTS}[given.format]
    options = {
        name: getattr(given, name)
        for name in ("length", "layout", "options", "question", "score")
        if getattr(given, name) is not None
    }
    unknown = [name for name in options if name not in known]
    if unknown:
        raise InputError(f"--{unknown[0]}: the format {given.format} has no such option")
    if given.format == "uni-rlhf-export" and "options" not in options:
        raise InputError(
            "uni-rlhf-export: say what each answer means, such as "
            "--options 0=first,1=second,2=equal; the file does not"
        )
    if "layout" in options:
        layouts = [layout.value for layout in Layout]
        if options["layout"] not in layouts:
            raise InputError(f"--layout {options['layout']}: choose from {', '.join(layouts)}")
        options["layout"] = Layout(options["layout"])
    imported: Imported = importers[given.format](
        given.source, *dataset, created_at=datetime.now(UTC), **options
    )
    return imported


def _meanings(text: str) -> dict[str, int]:
    pairs = [part.partition("=") for part in text.split(",")]
    if any(meaning not in MEANINGS for _, _, meaning in pairs):
        raise argparse.ArgumentTypeError("write it like 0=first,1=second,2=equal")
    return {option.strip(): MEANINGS[meaning] for option, _, meaning in pairs}
