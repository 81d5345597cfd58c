"""A session of `robopref label`: questions are made, asked, and their answers written."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from robopref.data.dataset import TrajectoryDataset
from robopref.data.robomimic import load_dataset
from robopref.data.segments import segments_of_length
from robopref.errors import InputError
from robopref.label.export import PREFERENCES, export
from robopref.label.learner import Learner
from robopref.label.questions import PAIR, TEXTS, make_questions
from robopref.label.store import Store
from robopref.label.videos import VideoCache
from robopref.preferences.active import UNIFORM
from robopref.preferences.dataset import Preferences, check_dataset, load_preferences
from robopref.preferences.queries import uniform_pairs
from robopref.seeding import numpy_generator

if TYPE_CHECKING:
    from robopref.cli.label_page import LabelPageConfig
    from robopref.label.server import Labelling


def hold_session(
    config: LabelPageConfig, path: Path, folder: Path, videos: VideoCache | None
) -> str:
    """Asks until it is stopped, and writes what was answered.

    Args:
        config: of the command.
        path: the dataset.
        folder: of the run.
        videos: of the dataset; None asks nothing and only writes.

    Returns:
        What to tell at the end.
    """
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
    return f"{folder / PREFERENCES}: {pairs} labelled pairs"


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
        owner = store.annotator(config.annotator)
        for question in store.upcoming(owner, 1):
            videos.prepare(question.pieces)
        # What asks is imported while the first videos are made.
        if config.terminal:
            from robopref.label.terminal import ask_in_terminal

            ask_in_terminal(store, videos, config.annotator, folder)
        else:
            from robopref.label.access import Access
            from robopref.label.server import Labelling

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

    from robopref.label.server import create_app

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
