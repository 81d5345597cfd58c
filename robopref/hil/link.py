"""The network between an actor and the learner: gRPC, with a deadline on every call.

On any address but this machine's own, a token and TLS are needed. An actor holds a lease, which
every call renews; a second actor of the same name gets none until the first has been silent for
`LEASE_S`. Steps are acknowledged by the number of the last one on the learner's disk, so that a
broken connection loses none and stores none twice.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import grpc

from robopref.errors import InputError
from robopref.files import existing_file
from robopref.hil.messages import LEARNER, SERVICES
from robopref.hil.steps import Sizes

log = logging.getLogger("robopref.hil")
LEASE_S = 10.0
DEADLINE_S = 5.0
"""Of every call."""
MOST_REQUEST_BYTES = 8 * 2**20
MOST_REPLY_BYTES = 256 * 2**20
MOST_CALLS = 32
"""At one time; more are refused at once."""
WRONG_TOKEN = "wrong token"


@dataclass
class LinkConfig:
    """Where the learner listens, and how it is reached."""

    address: str = "127.0.0.1:50051"
    """Host and port."""
    token: str = ""
    """Word that actors must know; needed on any address but this machine's own."""
    certificate: str = ""
    """PEM file of the learner's TLS certificate; needed there too."""
    key: str = ""
    """PEM file of its private key, for the learner alone."""

    def __post_init__(self) -> None:
        if not self.address:
            return  # nowhere: what it would be for is not wanted
        host, colon, port = self.address.rpartition(":")
        if not colon or not port.isdigit() or not host:
            raise InputError(f"link.address={self.address}: must be host:port")
        if not self.loopback and not (self.token and self.certificate):
            raise InputError(
                f"link.address={self.address}: others can reach it, so give link.token= and "
                "link.certificate= (and link.key= to the learner); openssl req -x509 -newkey "
                "rsa:2048 -nodes -keyout key.pem -out certificate.pem -days 365 -subj /CN=HOST "
                "-addext subjectAltName=DNS:HOST makes both"
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        host = self.address.rpartition(":")[0].strip("[]")
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


class Receiver(Protocol):
    """What the learner's side does with calls."""

    def open(self, actor: str, sizes: Sizes) -> int:
        """The number of the last step that is stored of an actor.

        Raises:
            InputError: if the sizes are not the learner's.
        """

    def store(self, actor: str, steps: bytes) -> int:
        """Stores steps for good and returns the number of the last one.

        Raises:
            InputError: if they are malformed.
        """

    def weights(self) -> tuple[int, bytes, str]:
        """Version, weights and description of the newest policy."""

    def alive(self, actor: str) -> None:
        """A sign of life."""

    @property
    def version(self) -> int:
        """Of the newest policy."""

    @property
    def paused(self) -> bool:
        """Whether robots are to wait before their next episode."""


def listen(
    config: LinkConfig, service: str, methods: Mapping[str, Callable[[Any, Any], Any]]
) -> tuple[Any, int]:
    """Starts a server of one of `SERVICES`.

    Returns:
        The gRPC server, and its port.

    Raises:
        InputError: if the address cannot be had, or the certificate is no good.
    """
    server = grpc.server(
        ThreadPoolExecutor(MOST_CALLS, thread_name_prefix="link"),
        maximum_concurrent_rpcs=MOST_CALLS,
        interceptors=[_TokenCheck(config.token)] if config.token else [],
        options=[
            ("grpc.max_receive_message_length", MOST_REQUEST_BYTES),
            ("grpc.max_send_message_length", MOST_REPLY_BYTES),
            ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a share
        ],
    )
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            method,
            request_deserializer=SERVICES[service][name][0].FromString,
            response_serializer=SERVICES[service][name][1].SerializeToString,
        )
        for name, method in methods.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    try:
        if config.certificate:
            if not config.key:
                raise InputError("link.key=: a server needs its certificate's private key")
            files = (config.key, config.certificate)
            pair = tuple(existing_file(each).read_bytes() for each in files)
            port = server.add_secure_port(config.address, grpc.ssl_server_credentials([pair]))
        else:
            port = server.add_insecure_port(config.address)
    except RuntimeError as error:
        raise InputError(
            f"link.address={config.address}: cannot listen there; is another one running, or the "
            "certificate no PEM file?"
        ) from error
    server.start()
    return server, int(port)


class Caller:
    """Calls a server of one of `SERVICES`, with a deadline on every call."""

    def __init__(self, config: LinkConfig, service: str) -> None:
        options = [
            ("grpc.max_receive_message_length", MOST_REPLY_BYTES),
            ("grpc.max_send_message_length", MOST_REQUEST_BYTES),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.max_reconnect_backoff_ms", 2_000),
        ]
        if config.certificate:
            root = Path(existing_file(config.certificate)).read_bytes()
            credentials = grpc.ssl_channel_credentials(root)
            self._channel = grpc.secure_channel(config.address, credentials, options)
        else:
            self._channel = grpc.insecure_channel(config.address, options)
        self._metadata = [("authorization", f"Bearer {config.token}")] if config.token else []
        self._requests = {name: request for name, (request, _) in SERVICES[service].items()}
        self._calls = {
            name: self._channel.unary_unary(
                f"/{service}/{name}",
                request_serializer=request.SerializeToString,
                response_deserializer=reply.FromString,
            )
            for name, (request, reply) in SERVICES[service].items()
        }

    def call(self, name: str, deadline_s: float = DEADLINE_S, **values: Any) -> Any:
        """The reply; raises `grpc.RpcError`."""
        request = self._requests[name](**values)
        return self._calls[name](request, timeout=deadline_s, metadata=self._metadata)

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()


class LinkServer:
    """Listens for actors, from its making until `stop`."""

    def __init__(self, config: LinkConfig, receiver: Receiver) -> None:
        """
        Raises:
            InputError: as `listen`.
        """
        self._receiver = receiver
        self._leases: dict[str, tuple[str, float]] = {}  # actor to its lease and last sign of life
        self._lock = threading.Lock()
        methods = {"Open": self._open, "Push": self._push, "Weights": self._weights}
        self._server, self.port = listen(config, LEARNER, methods)

    def stop(self) -> None:
        """Lets running calls end, for a second at most."""
        self._server.stop(1.0).wait()

    def _open(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            held, seen = self._leases.get(request.actor, ("", -float("inf")))
            own = hmac.compare_digest(held.encode(), request.lease.encode())
            if time.monotonic() - seen < LEASE_S and not own:
                context.abort(
                    grpc.StatusCode.ALREADY_EXISTS,
                    f"actor {request.actor!r} is connected already; give this one another name",
                )
            with _refusals(context):
                sizes = Sizes(
                    request.observation_dim, request.action_dim, _shape(request.image_shape)
                )
                stored = self._receiver.open(request.actor, sizes)
            lease = secrets.token_hex(16)
            self._leases[request.actor] = (lease, time.monotonic())
        log.info("actor %s is connected; %d of its steps are stored", request.actor, stored)
        return SERVICES[LEARNER]["Open"][1](
            lease=lease, stored=stored, version=self._receiver.version
        )

    def _push(self, request: Any, context: grpc.ServicerContext) -> Any:
        actor, stored = self._actor(request.lease, context), 0
        self._receiver.alive(actor)
        if request.steps:
            with _refusals(context):
                stored = self._receiver.store(actor, request.steps)
        return SERVICES[LEARNER]["Push"][1](
            stored=stored, version=self._receiver.version, paused=self._receiver.paused
        )

    def _weights(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._actor(request.lease, context)
        version, weights, description = self._receiver.weights()
        return SERVICES[LEARNER]["Weights"][1](
            version=version, weights=weights, description=description
        )

    def _actor(self, lease: str, context: grpc.ServicerContext) -> str:
        """Whose lease it is; renews it."""
        with self._lock:
            for actor, (own, _) in self._leases.items():
                if hmac.compare_digest(own.encode(), lease.encode()):
                    self._leases[actor] = (own, time.monotonic())
                    return actor
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no such lease; open anew")
        raise AssertionError("abort raises")


@contextmanager
def _refusals(context: grpc.ServicerContext) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        log.warning("refused: %s", error)
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))


class _TokenCheck(grpc.ServerInterceptor):  # type: ignore[misc]  # untyped package
    def __init__(self, token: str) -> None:
        self._wanted = f"Bearer {token}".encode()

        def refuse(request: Any, context: grpc.ServicerContext) -> None:
            log.warning("refused a call from %s: %s", context.peer(), WRONG_TOKEN)
            context.abort(grpc.StatusCode.UNAUTHENTICATED, WRONG_TOKEN)

        self._refusal = grpc.unary_unary_rpc_method_handler(refuse)

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        given = dict(details.invocation_metadata).get("authorization", "")
        given = given if isinstance(given, bytes) else given.encode()
        return continuation(details) if hmac.compare_digest(given, self._wanted) else self._refusal


class LinkClient:
    """An actor's side. Every call may raise `grpc.RpcError`; `permanent` tells which are final."""

    def __init__(self, config: LinkConfig, actor: str, sizes: Sizes) -> None:
        """
        Args:
            config: the learner's address.
            actor: name of this actor, the same each time it is started.
            sizes: of its steps.
        """
        self._actor, self._sizes = actor, sizes
        self._caller = Caller(config, LEARNER)
        self._lease = ""
        self.paused = False
        """Whether the learner asked, with its last answer, to wait before the next episode."""

    def open(self) -> tuple[int, int]:
        """The number of the last step that is stored, and the version of the newest policy."""
        numbers = {"observation_dim": self._sizes[0], "action_dim": self._sizes[1]}
        shape = "x".join(map(str, self._sizes.image_shape))
        reply = self._caller.call(
            "Open", actor=self._actor, lease=self._lease, image_shape=shape, **numbers
        )
        self._lease = reply.lease
        return int(reply.stored), int(reply.version)

    def push(self, steps: bytes = b"") -> tuple[int, int]:
        """As `open`, once these steps are stored; without any, a sign of life."""
        reply = self._caller.call("Push", lease=self._lease, steps=steps)
        self.paused = bool(reply.paused)
        return int(reply.stored), int(reply.version)

    def weights(self) -> tuple[int, bytes, str]:
        """Version, weights and description of the newest policy."""
        reply = self._caller.call("Weights", lease=self._lease)
        return int(reply.version), bytes(reply.weights), str(reply.description)

    def close(self) -> None:
        """Ends the connection."""
        self._caller.close()


def _shape(text: str) -> tuple[int, ...]:
    """Of images, as a client writes it.

    Raises:
        InputError: if it is none.
    """
    parts = text.split("x")
    if len(parts) > 3 or not all(part.isdigit() for part in parts):
        raise InputError(f"image_shape {text[:40]!r}: must be such as 3x84x84, or 0 without images")
    return tuple(int(part) for part in parts)


def permanent(error: grpc.RpcError) -> str:
    """What is wrong for good with a call that failed; empty if trying again may help."""
    codes = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INVALID_ARGUMENT)
    code = error.code() if isinstance(error, grpc.Call) else None
    return str(error.details()) if code in codes else ""
