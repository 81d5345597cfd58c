"""A small dataset to label, and a project with a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from robopref.data.collect import collect
from robopref.data.robomimic import load_dataset
from robopref.label.access import Access
from robopref.label.questions import PAIR, TEXTS, Piece, Question
from robopref.label.server import Labelling
from robopref.label.store import Store
from tests.label.postgres import PrivatePostgres

ENV = "toy/point-mass-v0"


@pytest.fixture(scope="session")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 20 walks of 12 steps, with simulator states."""
    path = tmp_path_factory.mktemp("label") / "points.hdf5"
    shares = {"shares": {"expert": 1.0, "random": 1.0}, "noise": 0.1}
    collect(ENV, {"horizon": 12}, shares, 20, 0, path, workers=1)
    return path


@pytest.fixture(scope="session")
def dataset(points: Path) -> Any:
    """The walks."""
    return load_dataset(points)


@pytest.fixture(scope="session")
def postgres() -> Any:
    """Address of an empty database on a PostgreSQL server of the tests' own."""
    try:
        server = PrivatePostgres()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    with server as url:
        yield url


@pytest.fixture
def store(tmp_path: Path) -> Any:
    """An empty database."""
    store = Store(f"sqlite:///{tmp_path / 'labels.db'}", "walks")
    yield store
    store.close()


def pairs(count: int, length: int = 12) -> list[Question]:
    """Different pairs of whole walks."""
    chosen = [(i, j) for i in range(20) for j in range(i + 1, 20)][:count]
    return [
        Question(PAIR, TEXTS[PAIR], (Piece(i, 0, length), Piece(j, 0, length))) for i, j in chosen
    ]


class NoVideos:
    """Stands for the cache where no video is looked at."""

    def __init__(self, folder: Path) -> None:
        self.prepared: list[Piece] = []
        self.folder = folder

    def prepare(self, pieces: Any) -> None:
        self.prepared += pieces

    def path(self, piece: Piece) -> Path | None:
        path = self.folder / f"{piece.key}.mp4"
        if piece in self.prepared:
            path.write_bytes(b"video")
        return path if path.exists() else None


def labelling(store: Store, folder: Path, host: str = "127.0.0.1", **options: Any) -> Labelling:
    videos: Any = NoVideos(folder)
    return Labelling(store, videos, Access(store, host, "owner"), "walks.hdf5", **options)
