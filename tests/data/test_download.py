"""Downloads from a server in this process: whole, cut, damaged, missing."""

import hashlib
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from robopref.cli.main import main
from robopref.data import download as module
from robopref.data.download import FILES, REPOSITORY, download
from robopref.errors import InputError

NAME = "robomimic/lift/ph"
CONTENT = bytes(range(256)) * 4_000


class Hub:
    """What the server does, and what it was asked."""

    def __init__(self) -> None:
        self.cut_after: list[int] = []
        """Bytes after which each of the next answers breaks off."""
        self.ranges = True
        self.busy = 0
        """Answers of 503 before it serves."""
        self.checksum = hashlib.sha256(CONTENT).hexdigest()
        self.asked: list[str] = []
        self.address = ""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

        def do_GET(self) -> None:  # noqa: N802
            if self.path == f"/{REPOSITORY}/{FILES[NAME]}":  # as the hub does: on to a store
                self.send_response(302)
                self.send_header("Location", "/store")
                if hub.checksum:
                    self.send_header("X-Linked-ETag", f'"{hub.checksum}"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if hub.busy:
                hub.busy -= 1
                self.send_error(503)
                return
            if self.path != "/store":
                self.send_error(404)
                return
            asked = self.headers.get("Range", "")
            hub.asked.append(asked)
            start = int(asked[6:-1]) if asked and hub.ranges else 0
            if start >= len(CONTENT):
                self.send_error(416)
                return
            body = CONTENT[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: hub.cut_after.pop(0)] if hub.cut_after else body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


def test_arrives_whole(hub: Hub, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = download(NAME, tmp_path, lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "robomimic/lift/ph.hdf5" and path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [file.name for file in path.parent.iterdir()] == ["ph.hdf5"]
    download(NAME, tmp_path)
    assert hub.asked == [""]  # what is there is not fetched again


def test_goes_on_where_the_connection_broke(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = [300_000, 200_000]
    assert download(NAME, tmp_path).read_bytes() == CONTENT
    assert hub.asked == ["", "bytes=300000-", "bytes=500000-"]


def test_goes_on_after_a_kill(hub: Hub, tmp_path: Path) -> None:
    part = tmp_path / "robomimic/lift/ph.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:700_000])
    assert download(NAME, tmp_path).read_bytes() == CONTENT
    assert hub.asked == ["bytes=700000-"] and not part.exists()


def test_a_part_that_is_whole_already(hub: Hub, tmp_path: Path) -> None:
    part = tmp_path / "robomimic/lift/ph.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    assert download(NAME, tmp_path).read_bytes() == CONTENT
    assert hub.asked == [f"bytes={len(CONTENT)}-"]


def test_a_server_that_cannot_go_on_starts_again(hub: Hub, tmp_path: Path) -> None:
    hub.ranges, hub.cut_after = False, [300_000]
    assert download(NAME, tmp_path).read_bytes() == CONTENT


def test_a_server_that_breaks_again_and_again(hub: Hub, tmp_path: Path) -> None:
    hub.cut_after = [300_000, *[0] * module.ATTEMPTS]
    with pytest.raises(InputError, match="cannot be reached .* goes on from there"):
        download(NAME, tmp_path)
    assert (tmp_path / "robomimic/lift/ph.part").stat().st_size == 300_000
    assert not (tmp_path / "robomimic/lift/ph.hdf5").exists()
    assert download(NAME, tmp_path).read_bytes() == CONTENT


def test_damage_is_found_and_removed(hub: Hub, tmp_path: Path) -> None:
    hub.checksum = "0" * 64
    with pytest.raises(InputError, match="arrived damaged"):
        download(NAME, tmp_path)
    assert list((tmp_path / "robomimic/lift").iterdir()) == []


def test_without_a_checksum_nothing_is_taken(hub: Hub, tmp_path: Path) -> None:
    hub.checksum = ""
    with pytest.raises(InputError, match="names no checksum"):
        download(NAME, tmp_path)
    assert not (tmp_path / "robomimic/lift/ph.hdf5").exists()


def test_what_the_server_does_not_have(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the server says 404"):
        download("robomimic/can/mh", tmp_path)


def test_a_busy_server_is_asked_again(hub: Hub, tmp_path: Path) -> None:
    hub.busy = module.ATTEMPTS - 1
    assert download(NAME, tmp_path).read_bytes() == CONTENT
    (tmp_path / "robomimic/lift/ph.hdf5").unlink()
    hub.busy = module.ATTEMPTS
    with pytest.raises(InputError, match="cannot be reached .*Service Unavailable"):
        download(NAME, tmp_path)


def test_a_broken_secure_connection_counts_as_broken(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*arguments: Any) -> str:
        raise ssl.SSLError("EOF occurred")

    monkeypatch.setattr(module, "_fetch_once", cut)
    with pytest.raises(InputError, match="cannot be reached .*EOF occurred"):
        download(NAME, tmp_path)


def test_an_endpoint_without_a_scheme(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="HF_ENDPOINT=mirror.example: must begin with https"):
        download(NAME, tmp_path, hub="mirror.example")


def test_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    with pytest.raises(InputError, match="cannot be reached"):
        download(NAME, tmp_path, hub="http://127.0.0.1:9")


def test_a_folder_that_cannot_be_made(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "robomimic").write_text("a file")
    with pytest.raises(InputError, match="cannot be written"):
        download(NAME, tmp_path)


def test_command(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["data", "download"]) == 0
    assert NAME in capsys.readouterr().out.split("\n")
    assert main(["data", "download", NAME, "--folder", "here"]) == 0
    assert (tmp_path / "here/robomimic/lift/ph.hdf5").read_bytes() == CONTENT
    assert main(["data", "download", "robomimic/lift/pm"]) == 2
    assert "no such dataset; choose from robomimic/lift/ph" in capsys.readouterr().err
    assert main(["data", "download", NAME, "--fold", "x"]) == 2
