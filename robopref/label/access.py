"""Who may see what: links with secrets, limits, and the headers that keep other sites out.

On the loopback address whoever is on the machine may label, without a login. On any other address
each person has a link with a secret, which becomes a cookie that scripts cannot read.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from robopref.label.store import Store

COOKIE = "robopref_label"
REMEMBERED_S = 30.0
"""How long a secret that was valid is not looked up again."""
LARGEST_BODY = 16_384
"""Bytes of a request."""
PEOPLE = 30.0
"""How many people's requests one address may send."""
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        b"media-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
        b"form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True)
class Person:
    """Who asks."""

    id: int
    name: str
    owner: bool
    """Whether they may see everybody's statistics."""


class Access:
    """Finds out who asks."""

    def __init__(self, store: Store, host: str, owner: str) -> None:
        """
        Args:
            store: has the people.
            host: address that the server listens on.
            owner: name of the person whose project it is, and of whoever is on this machine.
        """
        self._store, self._owner = store, owner
        self.open = is_loopback(host)
        """Whether no login is needed."""
        self._known: dict[str, tuple[Person, float]] = {}

    def person(self, cookie: str | None) -> Person | None:
        """Who has this cookie; the owner when no login is needed."""
        secret = cookie or ""
        person, until = self._known.get(secret, (None, 0.0))
        if time.monotonic() >= until:
            person = self._look_up(secret)
            self._known.pop(secret, None)
            if len(self._known) > 1_000:  # on loopback any cookie is the owner's
                self._known.clear()
            if person is not None:
                self._known[secret] = person, time.monotonic() + REMEMBERED_S
        return person

    def _look_up(self, secret: str) -> Person | None:
        found = self._store.annotator_of(secret) if secret else None
        if found is None and self.open:
            found = self._store.annotator(self._owner), self._owner
        return Person(*found, owner=found[1] == self._owner) if found else None


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from its own machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Stands before the application: sizes, rates, origins, and headers of every response."""

    def __init__(self, app: Any, loopback: bool, rate: float = 30.0, burst: float = 120.0) -> None:
        """
        Args:
            app: what is guarded.
            loopback: whether the server listens on the loopback address; then requests under
                another name than its own come from a site that lies about its address.
            rate: requests per second of one person, in the long run.
            burst: requests at once.
        """
        self._app, self._loopback = app, loopback
        self._rate, self._burst = rate, burst
        self._buckets: dict[str, tuple[float, float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal:
            await _refuse(send_guarded, *refusal)
            return
        body = await _read(receive)
        if body is None:
            await _refuse(send_guarded, 413, "the request is too large")
            return

        async def receive_read() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            message, body = {"type": "http.request", "body": body, "more_body": False}, None
            return message

        await self._app(scope, receive_read, send_guarded)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if self._loopback and not is_loopback(name):
            return 421, "this server answers on its own machine alone"
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            return 413, "the request is too large"
        address = (scope.get("client") or ("",))[0]
        cookie = headers.get("cookie", "")[:200]
        # Cookies can be made up, so an address has a limit too; many people may share one.
        within = self._within_rate(address, PEOPLE)
        if not within or (cookie and not self._within_rate(f"{address} {cookie}", 1.0)):
            return 429, "too many requests; wait a moment"
        if scope["method"] not in ("GET", "HEAD"):
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc != host:
                return 403, "the request comes from another site"
            # A form or a plain request of another site cannot have this type.
            if headers.get("content-type", "").split(";")[0] != "application/json":
                return 415, "send application/json"
        return None

    def _within_rate(self, who: str, people: float) -> bool:
        now, burst = time.monotonic(), self._burst * people
        left, since = self._buckets.get(who, (burst, now))
        left = min(left + (now - since) * self._rate * people, burst) - 1.0
        if len(self._buckets) > 10_000:  # of addresses long gone
            self._buckets.clear()
        self._buckets[who] = (max(left, 0.0), now)
        return left >= 0.0


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None when it is too large."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return body
        body += bytes(message.get("body", b""))
        if len(body) > LARGEST_BODY:
            return None
        if not message.get("more_body", False):
            return body


async def _refuse(send: Send, status: int, why: str) -> None:
    body = json.dumps({"detail": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
