"""Serves the label page: people compare videos of the robot in a browser.

The page answers on this machine alone, without a login, until `host=` names another address; then
each person of `people=` gets a link of their own. Answers are kept in a database, and written as
preferences.parquet into the run's folder at the end, or at any time by `resume=FOLDER serve=false`,
ready for `robopref train-reward`. `resume=` goes on with a session; `terminal=true` asks in the
terminal instead, with the videos as files.

Examples:
  robopref label button.hdf5
  robopref label button.hdf5 questions=100 segment_length=50 learning.strategy=disagreement
  robopref label button.hdf5 ask.kinds=[ranking] ask.ranking_size=5
  robopref label button.hdf5 ask.kinds=[attribute] ask.attributes=[gentler,faster]
  robopref label button.hdf5 host=0.0.0.0 people=[ana,ben] ask.overlap=0.2
  robopref label resume=runs/label/20260301-101500
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

from robopref.cli.config import run
from robopref.cli.runs import run_folder
from robopref.errors import InputError
from robopref.files import existing_file
from robopref.label.access import is_loopback
from robopref.label.learning import LearningConfig
from robopref.label.questions import QuestionsConfig
from robopref.label.videos import VideoCache

OWNER = "owner"
PACKAGES = ("fastapi", "sqlalchemy", "uvicorn")
"""What no session can do without, looked for before anything is started."""


@dataclass
class LabelPageConfig:
    """Options of `robopref label FILE`."""

    dataset: str = ""
    """robomimic HDF5 file, also as the first word of the command; true rewards are not needed."""
    questions: int = 100
    """Questions to ask: the budget. Repetitions come on top."""
    ask: QuestionsConfig = field(default_factory=QuestionsConfig)
    """Which questions."""
    segment_length: int = 0
    """Steps of a segment; whole episodes when 0."""
    learning: LearningConfig = field(default_factory=LearningConfig)
    """When a reward learns from the answers, and what it asks."""
    instructions: str = ""
    """Shown above every question."""
    annotator: str = OWNER
    """Name of whoever answers on this machine; with links, the person who sees all statistics."""
    people: list[str] = field(default_factory=list)
    """Who gets a link, on another address than this machine's own."""
    host: str = "127.0.0.1"
    """Address to serve on; 0.0.0.0 for all of this machine's."""
    port: int = 8765
    """Port to serve on; 0 takes a free one."""
    certificate: str = ""
    """PEM file, for TLS."""
    key: str = ""
    """PEM file of its private key."""
    database: str = ""
    """SQLAlchemy's address; labels.db (SQLite) in the run's folder when empty."""
    lease_s: float = 600.0
    """Seconds that a person has for a question before somebody else gets it."""
    preferences: str = ""
    """Parquet file of the labels so far: their pairs are not asked again, and stand first in the
    output."""
    video_workers: int = 0
    """Processes that make videos; 0 for one, or, with people=, as many as there are cores."""
    terminal: bool = False
    """Whether to ask in the terminal instead of serving a page."""
    serve: bool = True
    """false writes the answers so far as files and ends; a server may go on meanwhile."""
    seed: int = 0
    """Seed of the questions."""
    resume: str = ""
    """Folder of a session to go on with."""
    name: str = ""
    """Name of the session's folder under runs/label, the time of day when empty."""

    def __post_init__(self) -> None:
        if not (self.dataset or self.resume):
            raise InputError("label: name a dataset, as in robopref label data.hdf5")
        least = {"questions": 1, "segment_length": 0, "port": 0, "video_workers": 0, "seed": 0}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise InputError(f"{name}={getattr(self, name)}: must be at least {minimum}")
        if self.lease_s <= 0:
            raise InputError(f"lease_s={self.lease_s}: must be above 0")
        if bool(self.certificate) != bool(self.key):
            raise InputError("certificate=, key=: give both, for TLS, or neither")
        if len({*self.people, self.annotator}) < len(self.people) + 1:
            raise InputError("people=: names must differ, also from annotator=")
        if self.people and is_loopback(self.host):
            raise InputError(
                f"people=: links are for another address than {self.host}; give host=, such as "
                "0.0.0.0"
            )


def main(arguments: Sequence[str]) -> None:
    """Runs the command with the given Hydra overrides."""
    run("label_page", LabelPageConfig, arguments, label)


def label(config: LabelPageConfig) -> None:
    """Asks until it is stopped, and writes what was answered."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(f"label: needs the package {missing[0]}; pip install 'robopref[label]'")
    # While the process imports from which those that make videos are forked.
    from robopref.cli.label_session import hold_session

    path = existing_file(config.dataset)
    with run_folder("label", config.name, config) as folder:
        videos = None
        if config.serve:  # before the dataset is read, since they take a while to start
            workers = config.video_workers or (len(os.sched_getaffinity(0)) if config.people else 1)
            videos = VideoCache(path, folder / "videos", workers)
        try:
            said = hold_session(config, path, folder, videos)
        finally:
            if videos is not None:
                videos.close()
    print(said)
