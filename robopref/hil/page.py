"""The session's page: who drives, how often a person has to, and pause and stop.

GET  /          the page
GET  /state     what it shows, as JSON
GET  /picture/ROBOT    what its cameras saw last, as PNG
POST /pause     robots wait before their next episode
POST /resume
POST /end       the session ends as if its steps were done

It is served to this machine alone; from elsewhere it is reached through ssh. What changes anything
must come from the page itself: another site's page can neither read its header nor send it.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from robopref.errors import InputError
from robopref.hil.link import LinkConfig
from robopref.hil.watch import Watch

STATIC = Path(__file__).parent / "static"
FILES = {
    "/": "session.html", "/colours.css": "colours.css", "/session.css": "session.css",
    "/session.js": "session.js",
}  # fmt: skip
HEADER = "x-robopref"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def application(watch: Watch, more: Callable[[], dict[str, Any]]) -> FastAPI:
    """The page's server.

    Args:
        watch: what is shown.
        more: further entries of the state, such as the learner's rate.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        host = request.headers.get("host", "").rpartition(":")[0].strip("[]")
        if host not in ("localhost", "127.0.0.1", "::1"):
            return JSONResponse({"error": "this page is for this machine alone"}, 403)
        if request.method == "POST" and request.headers.get(HEADER) != "1":
            return JSONResponse({"error": "this must come from the page itself"}, 403)
        response = await go_on(request)
        response.headers.update(HEADERS)
        return response

    @app.get("/state")
    def state() -> dict[str, Any]:
        return watch.state() | more()

    @app.get("/picture/{robot}")
    def picture(robot: str) -> Response:
        found = watch.picture(robot)
        if found is None:
            return JSONResponse({"error": "no such camera"}, 404)
        png = cv2.imencode(".png", np.ascontiguousarray(found[..., ::-1]))[1]
        return Response(png.tobytes(), media_type="image/png")

    @app.post("/pause")
    def pause() -> dict[str, Any]:
        watch.paused = True
        return state()

    @app.post("/resume")
    def resume() -> dict[str, Any]:
        watch.paused = False
        return state()

    @app.post("/end")
    def end() -> dict[str, Any]:
        watch.ending = True
        return state()

    def static(name: str) -> Callable[[], FileResponse]:
        return lambda: FileResponse(STATIC / name)

    for path, name in FILES.items():
        app.add_api_route(path, static(name), methods=["GET"], response_model=None)
    return app


def serve_page(
    address: str, watch: Watch, more: Callable[[], dict[str, Any]]
) -> Callable[[], None]:
    """Serves the page in a thread of its own.

    Args:
        address: host:port of this machine.
        watch: what is shown.
        more: see `application`.

    Returns:
        What ends it.

    Raises:
        InputError: if others could reach the address, or it cannot be had.
    """
    host, _, port = address.rpartition(":")
    if not port.isdigit() or not LinkConfig(address, "-", "-").loopback:
        raise InputError(
            f"page={address}: the page is for this machine alone; give 127.0.0.1:PORT, and from "
            "elsewhere reach it by ssh -L PORT:127.0.0.1:PORT"
        )
    return serve(application(watch, more), "page", address)[1]


def serve(
    app: FastAPI, option: str, address: str, **options: Any
) -> tuple[int, Callable[[], None]]:
    """Serves an application in a thread of its own.

    Args:
        app: what answers.
        option: that the address was given by, for the message.
        address: host:port; 0 takes a free port.
        **options: further ones of `uvicorn.Config`.

    Returns:
        The port, and what ends it.

    Raises:
        InputError: if the address cannot be had.
    """
    host, _, port = address.rpartition(":")
    # The process's logging is its own: setting it up anew would close streams of others.
    options |= {"log_level": "warning", "log_config": None}
    config = uvicorn.Config(app, host.strip("[]"), int(port), **options)
    server = uvicorn.Server(config)
    try:
        socket = config.bind_socket()
    except SystemExit as error:  # uvicorn's way of saying that the address is taken
        raise InputError(f"{option}={address}: cannot listen there; choose another port") from error
    thread = threading.Thread(target=server.run, args=([socket],), daemon=True, name=option)
    thread.start()

    def end() -> None:
        server.should_exit = True
        thread.join(5.0)

    return int(socket.getsockname()[1]), end
