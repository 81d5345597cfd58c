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

import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from robopref.cli.config import run
from robopref.cli.runs import run_folder
from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import load_dataset
from robopref.data.segments import segments_of_length
from robopref.errors import InputError
from robopref.files import existing_file
from robopref.preferences.active import UNIFORM
from robopref.preferences.dataset import Preferences, check_dataset, load_preferences
from robopref.preferences.queries import uniform_pairs
from robopref.seeding import numpy_generator

try:
    from robopref.label.access import Access, is_loopback
    from robopref.label.export import PREFERENCES, export
    from robopref.label.learner import Learner, LearningConfig
    from robopref.label.questions import PAIR, TEXTS, QuestionsConfig, make_questions
    from robopref.label.server import Labelling, create_app
    from robopref.label.store import Store
    from robopref.label.terminal import ask_in_terminal
    from robopref.label.videos import VideoCache
except ModuleNotFoundError as error:
    raise InputError(
        f"label: needs the package {error.name}; pip install 'robopref[label]'"
    ) from error

FIRST_VIDEOS_S = 15.0
"""How long to wait for the first question's videos before the address is shown."""
OWNER = "owner"


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
    video_workers: int = 2
    """Processes that make videos."""
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
        least = {"questions": 1, "segment_length": 0, "port": 0, "video_workers": 1, "seed": 0}
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
    path = existing_file(config.dataset)
    with run_folder("label", config.name, config) as folder:
        videos = None
        if config.serve:  # first, since these processes take a while to start
            videos = VideoCache(path, folder / "videos", config.video_workers)
        try:
            dataset = load_dataset(path, images=False)
            earlier = load_preferences(config.preferences) if config.preferences else None
            if earlier is not None:
                check_dataset(earlier, dataset)
            url = config.database or f"sqlite:///{(folder / 'labels.db').absolute()}"
            store = Store(url, dataset.fingerprint, config.lease_s)
            if not store.questions():
                _fill(config, store, dataset, earlier)
            if videos is not None:
                _ask(config, store, videos, dataset, path, folder)
            pairs = export(store.answers(), dataset, folder, earlier)
            store.close()
        finally:
            if videos is not None:
                videos.close()
    print(f"{folder / PREFERENCES}: {pairs} labelled pairs")


def _fill(
    config: LabelPageConfig,
    store: Store,
    dataset: TrajectoryDataset,
    earlier: Preferences | None,
) -> None:
    """Puts the first questions into the database: all of them, unless the reward is to choose."""
    learning, ask = config.learning, config.ask
    segments = segments_of_length(dataset, config.segment_length)
    asked = (earlier.first, earlier.second) if earlier is not None else None
    chooses = learning.strategy != UNIFORM
    if chooses and ask.kinds != [PAIR]:
        raise InputError(
            f"learning.strategy={learning.strategy}: chooses pairs; set ask.kinds=[pair]"
        )
    count = min(learning.every, config.questions) if chooses else config.questions
    rng = numpy_generator(config.seed, "questions")
    questions = make_questions(
        segments, count, ask, rng, lambda pairs: uniform_pairs(segments, pairs, rng, asked)
    )
    shared = rng.random(len(questions)) < ask.overlap
    store.add_questions(questions, np.where(shared, ask.people, 1).tolist())


def _ask(
    config: LabelPageConfig,
    store: Store,
    videos: VideoCache,
    dataset: TrajectoryDataset,
    path: Path,
    folder: Path,
) -> None:
    learner = Learner(
        config.learning, store, dataset, path, config.segment_length, config.questions,
        config.ask.text or TEXTS[PAIR], folder / "learning", config.seed,
    )  # fmt: skip
    try:
        if config.terminal:
            ask_in_terminal(store, videos, config.annotator, folder)
        else:
            owner = store.annotator(config.annotator)
            for question in store.upcoming(owner, 1):  # so that the page opens with pictures
                videos.wait(question.pieces, FIRST_VIDEOS_S)
            access = Access(store, config.host, config.annotator)
            labelling = Labelling(
                store, videos, access, path.name, config.instructions, bool(config.certificate),
                learner.summary, learner.on_answer,
            )  # fmt: skip
            _serve(config, labelling)
    finally:
        learner.close()


def _serve(config: LabelPageConfig, labelling: Labelling) -> None:
    import uvicorn

    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(512)  # whoever opens the link at once waits instead of failing
    except OSError as error:
        raise InputError(
            f"host={config.host} port={config.port}: cannot be served on ({error.strerror}); "
            "port=0 takes a free one"
        ) from error
    scheme = "https" if config.certificate else "http"
    port = listener.getsockname()[1]
    if labelling.access.open:
        print(f"label at {scheme}://{config.host}:{port}/   (Ctrl-C ends)", flush=True)
    else:
        if not config.certificate:
            print(
                "robopref: without certificate= and key= the links travel unencrypted",
                file=sys.stderr,
            )
        name = socket.gethostname() if config.host in ("0.0.0.0", "::") else config.host
        for person in (config.annotator, *config.people):
            secret = labelling.store.new_token(person)
            print(f"{person}: {scheme}://{name}:{port}/a/{secret}", flush=True)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(labelling),
            log_level="warning",
            access_log=False,
            server_header=False,
            ssl_certfile=config.certificate or None,
            ssl_keyfile=config.key or None,
            timeout_keep_alive=120,  # people look at videos for a while between two requests
            timeout_graceful_shutdown=2,
            limit_concurrency=2_000,
        )
    )
    labelling.ending = lambda: server.should_exit
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn raises it again after it has ended
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
