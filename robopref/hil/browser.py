"""A page on a phone or laptop as a device, over a WebSocket.

GET  /drive/SECRET      the page: a pad for the hand, a slider for its height, the gripper's buttons
WS   /drive/SECRET/ws   what is held, twenty times a second; back come pictures, as JPEG

One person drives at a time. When the connection breaks, or nothing has come for a moment, the hands
are off. Served to other machines it needs a certificate, and the link's secret keeps others out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
from fastapi import FastAPI, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse

from robopref.errors import InputError
from robopref.hil.link import LinkConfig
from robopref.hil.operators import (
    Action,
    BrowserConfig,
    EmergencyStopError,
    HandDevice,
)
from robopref.hil.page import HEADERS, STATIC, serve

SILENT_S = 0.3
"""Longest time without a message before the hands count as off."""
LONGEST_MESSAGE = 1_000
PICTURE_S = 0.04
"""Shortest time between two pictures."""
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 80]
REFUSED, TAKEN = 4403, 4409
"""Codes with which a connection is closed: from elsewhere, and somebody drives already."""


class BrowserOperator(HandDevice):
    """Drives by what the page says, as a context that serves it."""

    def __init__(
        self,
        action_dim: int,
        config: BrowserConfig,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Raises:
            InputError: if the action has fewer than four dimensions, or others could reach the page
                without a certificate.
        """
        super().__init__("browser", action_dim)
        if bool(config.certificate) != bool(config.key):
            raise InputError("browser.certificate=, browser.key=: give both, for TLS, or neither")
        host, _, port = config.address.rpartition(":")
        if not host or not port.isdigit():
            raise InputError(f"browser.address={config.address}: must be host:port")
        if not config.certificate and not LinkConfig(config.address, "-", "-").loopback:
            raise InputError(
                f"browser.address={config.address}: others can reach it, so it needs "
                "browser.certificate= and browser.key="
            )
        self.config, self.secret = config, secrets.token_urlsafe(16)
        self.driving = False
        """Whether a page is connected."""
        self.picture: tuple[int, bytes] = 0, b""
        """How many there were, and the newest as JPEG."""
        self._clock = clock
        self._held: Action | None = None
        self._since, self._stop = 0.0, False

    def take(self, text: str) -> None:
        """What the page says.

        Args:
            text: JSON with `move` (three numbers in [-1, 1]) and `gripper` while something is held,
                without while nothing is; `verdict`, true or false; `stop`.

        Raises:
            ValueError: if it is anything else.
        """
        said = json.loads(text)
        if not isinstance(said, dict) or said.keys() - {"move", "gripper", "verdict", "stop"}:
            raise ValueError("no message of the page")
        held = None
        if "move" in said:
            numbers = [float(number) for number in [*said["move"], said.get("gripper", 0.0)]]
            if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
                raise ValueError("three finite numbers and the gripper's are wanted")
            held = self.hand_action(numbers[:3], numbers[3])
        self._held, self._since = held, self._clock()
        if isinstance(said.get("verdict"), bool):
            self._verdict = said["verdict"]
        self._stop |= said.get("stop") is True

    @property
    def shows(self) -> bool:
        """While a page is connected."""
        return self.driving

    def show(self, picture: Any) -> None:
        """Shows it on the page."""
        encoded = cv2.imencode(".jpg", np.asarray(picture)[..., ::-1], JPEG)[1]
        self.picture = self.picture[0] + 1, encoded.tobytes()

    def let_go(self) -> None:
        """The page is gone."""
        self._held, self.driving = None, False

    def read(self) -> Action | None:
        """What is held."""
        if self._stop:
            raise EmergencyStopError
        return self._held if self._clock() - self._since < SILENT_S else None

    def open(self) -> None:
        """Serves the page, and says where it is.

        Raises:
            InputError: if the address cannot be had.
        """
        config = self.config
        port, self._end = serve(
            application(self), "browser.address", config.address, ws_max_size=LONGEST_MESSAGE,
            ssl_certfile=config.certificate or None, ssl_keyfile=config.key or None,
        )  # fmt: skip
        scheme, host = "https" if config.certificate else "http", config.address.rpartition(":")[0]
        print(f"drive at {scheme}://{host}:{port}/drive/{self.secret}", flush=True)

    def close(self) -> None:
        """Ends the page."""
        self._end()


async def _show(operator: BrowserOperator, connection: WebSocket) -> None:
    """Sends each picture once; those that come faster are left out."""
    sent = operator.picture[0]
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await asyncio.sleep(PICTURE_S)
            number, picture = operator.picture
            if number != sent:
                await connection.send_bytes(picture)
                sent = number


def application(operator: BrowserOperator) -> FastAPI:
    """The page's server."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    address = f"/drive/{operator.secret}"

    def static(name: str) -> Callable[[], Response]:
        policy = HEADERS["Content-Security-Policy"].replace("img-src", "img-src blob:")
        headers = {**HEADERS, "Content-Security-Policy": policy}
        return lambda: FileResponse(STATIC / name, headers=headers)

    files = {address: "drive.html"}
    files |= {f"/{name}": name for name in ("colours.css", "drive.css", "drive.js")}
    for path, name in files.items():
        app.add_api_route(path, static(name), methods=["GET"], response_model=None)

    @app.websocket(f"{address}/ws")
    async def drive(connection: WebSocket) -> None:
        await connection.accept()
        # Another site's page may open a socket to here; its origin it cannot hide.
        origin = urlsplit(connection.headers.get("origin", "")).netloc
        if origin != connection.headers.get("host"):
            await connection.close(REFUSED)
            return
        if operator.driving:
            await connection.close(TAKEN)
            return
        operator.driving = True
        pictures = asyncio.create_task(_show(operator, connection))
        try:
            while True:
                operator.take(await connection.receive_text())
        except (WebSocketDisconnect, ValueError, TypeError, KeyError):
            pass
        finally:
            operator.let_go()
            pictures.cancel()

    return app
