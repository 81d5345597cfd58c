"""The network: leases, tokens, refusals, and steps that arrive once whatever breaks."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from robopref.errors import InputError
from robopref.hil import link
from robopref.hil.actor import Sender
from robopref.hil.link import LinkClient, LinkConfig, LinkServer, permanent
from robopref.hil.log import StepLog
from robopref.hil.steps import Sizes, Steps
from tests.hil.steps import episode

SIZES = Sizes(2, 1)


class Receiver:
    """Keeps steps as the learner does, without learning."""

    version = 0
    paused = False

    def alive(self, actor: str) -> None:
        pass

    def __init__(self, folder: Path) -> None:
        self.log = StepLog(folder / "learner.steps", *SIZES)

    def open(self, actor: str, sizes: Sizes) -> int:
        if sizes != SIZES:
            raise InputError("other sizes")
        return self.log.last

    def store(self, actor: str, steps: bytes) -> int:
        return self.log.append(Steps.from_bytes(steps, SIZES, actor))

    def weights(self) -> tuple[int, bytes, str]:
        return 0, b"", ""


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    return Receiver(tmp_path)


@pytest.fixture
def server(receiver: Receiver) -> Iterator[LinkServer]:
    server = LinkServer(LinkConfig("127.0.0.1:0"), receiver)
    yield server
    server.stop()


def client(server: LinkServer, actor: str = "arm", token: str = "", **options: Any) -> LinkClient:
    return LinkClient(LinkConfig(f"127.0.0.1:{server.port}", token, **options), actor, SIZES)


def code(error: grpc.RpcError) -> grpc.StatusCode:
    assert isinstance(error, grpc.Call)
    found: grpc.StatusCode = error.code()
    return found


def test_steps_are_acknowledged_once_stored(server: LinkServer, receiver: Receiver) -> None:
    arm = client(server)
    assert arm.open() == (0, 0)
    assert arm.push(episode(1).to_bytes()) == (5, 0)
    assert arm.push(episode(1).to_bytes()) == (5, 0)
    assert arm.open() == (5, 0)  # its own lease
    assert receiver.log.last == 5


def test_a_second_actor_of_the_same_name_is_refused_and_the_first_goes_on(
    server: LinkServer,
) -> None:
    first, second = client(server), client(server)
    first.open()
    with pytest.raises(grpc.RpcError) as refusal:
        second.open()
    assert code(refusal.value) == grpc.StatusCode.ALREADY_EXISTS
    assert not permanent(refusal.value)  # it may try again once the first is gone
    assert first.push(episode(1).to_bytes())[0] == 5


def test_a_lease_ends_when_the_actor_is_silent(
    server: LinkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "LEASE_S", 0.0)
    first, second = client(server), client(server)
    first.open()
    second.open()
    with pytest.raises(grpc.RpcError) as refusal:
        first.push(episode(1).to_bytes())
    assert code(refusal.value) == grpc.StatusCode.FAILED_PRECONDITION


def test_a_wrong_token_is_refused_and_logged(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    server = LinkServer(LinkConfig("127.0.0.1:0", token="secret"), receiver)
    for token in ("", "Secret", "secre"):
        with pytest.raises(grpc.RpcError) as refusal:
            client(server, token=token).open()
        assert code(refusal.value) == grpc.StatusCode.UNAUTHENTICATED
        assert permanent(refusal.value) == "wrong token"
    assert "wrong token" in caplog.text
    assert client(server, token="secret").open() == (0, 0)
    server.stop()


@pytest.mark.parametrize(
    "content", [b"x", b"\xff" * 3_000, episode(3).to_bytes(), episode(1).to_bytes()[:-9]]
)
def test_malformed_steps_are_refused_and_the_session_goes_on(
    server: LinkServer, receiver: Receiver, content: bytes
) -> None:
    arm = client(server)
    arm.open()
    with pytest.raises(grpc.RpcError) as refusal:
        arm.push(content)
    assert code(refusal.value) == grpc.StatusCode.INVALID_ARGUMENT
    assert permanent(refusal.value)
    assert receiver.log.last == 0
    assert arm.push(episode(1).to_bytes())[0] == 5


def test_oversized_messages_are_refused(server: LinkServer) -> None:
    arm = client(server)
    arm.open()
    with pytest.raises(grpc.RpcError) as refusal:
        arm.push(b"\0" * (link.MOST_REQUEST_BYTES + 1_000))
    assert code(refusal.value) == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert arm.push(episode(1).to_bytes())[0] == 5


def test_garbage_on_the_port_does_no_harm(server: LinkServer) -> None:
    import socket

    for content in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, b"\x16\x03\x01" + b"a" * 50):
        with socket.create_connection(("127.0.0.1", server.port), timeout=2) as connection:
            connection.sendall(content)
    assert client(server).open() == (0, 0)


def test_many_callers_at_once_do_not_stop_the_session(server: LinkServer) -> None:
    arm = client(server)
    arm.open()

    def call(number: int) -> None:
        try:
            client(server, f"other-{number}").open()
        except grpc.RpcError as error:
            assert code(error) in (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.DEADLINE_EXCEEDED,
            )

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(call, range(300)))
    assert arm.push(episode(1).to_bytes())[0] == 5


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("0.0.0.0:50051", "others can reach it"),
        ("robot.lab:50051", "others can reach it"),
        ("127.0.0.1", "must be host:port"),
    ],
)
def test_addresses_that_others_reach_need_token_and_certificate(address: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LinkConfig(address)


def test_a_taken_port_is_told(server: LinkServer, receiver: Receiver) -> None:
    with pytest.raises(InputError, match="cannot listen there; is another one running"):
        LinkServer(LinkConfig(f"127.0.0.1:{server.port}"), receiver)


def test_the_sender_survives_a_learner_that_comes_and_goes(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robopref.hil.actor.RETRY_S", 0.05)
    spool = StepLog(tmp_path / "spool.steps", *SIZES)
    server = LinkServer(LinkConfig("127.0.0.1:0"), receiver)
    config = LinkConfig(f"127.0.0.1:{server.port}")
    sender = Sender(LinkClient(config, "arm", SIZES), spool, lambda policy, version: None)
    sender.start()
    written = 0
    for _ in range(4):
        for first in range(written + 1, written + 41):
            spool.append(episode(first, 1))
            sender.notice(episode(first, 1))
        written += 40
        server.stop()
        server = LinkServer(config, receiver)  # has forgotten all leases
    assert sender.finish(20.0)
    server.stop()
    steps = receiver.log.all()
    assert steps is not None
    np.testing.assert_array_equal(steps.sequence, np.arange(1, 161))


def test_tls_with_a_certificate(tmp_path: Path, receiver: Receiver) -> None:
    import shutil
    import subprocess

    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out",
         certificate, "-days", "1", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=IP:127.0.0.1,DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    secure = LinkConfig("0.0.0.0:0", "secret", str(certificate), str(key))
    server = LinkServer(secure, receiver)
    good = LinkConfig(f"127.0.0.1:{server.port}", "secret", str(certificate))
    assert LinkClient(good, "arm", SIZES).open() == (0, 0)
    plain = LinkClient(LinkConfig(f"127.0.0.1:{server.port}", "secret"), "other", SIZES)
    with pytest.raises(grpc.RpcError) as refusal:
        plain.open()
    assert code(refusal.value) == grpc.StatusCode.UNAVAILABLE
    server.stop()


def test_leases_are_safe_under_threads(server: LinkServer) -> None:
    granted: list[int] = []

    def take() -> None:
        try:
            client(server).open()
            granted.append(1)
        except grpc.RpcError:
            pass

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 1
