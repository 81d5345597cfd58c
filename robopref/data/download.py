"""Published robomimic datasets from their hub: resumable, checked, whole or not at all.

By the standard library: `huggingface_hub` would do it too, but robomimic's forks and LeRobot pin it
to versions that exclude one another, and all that is wanted of it is a file by HTTP.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from email.message import Message
from pathlib import Path
from typing import IO, Any

from robopref.errors import InputError

HUB = "https://huggingface.co"
REPOSITORY = "datasets/robomimic/robomimic_datasets/resolve/main"
CHUNK = 1 << 20
ATTEMPTS = 5
"""Times that a connection may break without a byte gained in between."""
TIMEOUT_S = 30.0
PAUSE_S = 1.0
"""Seconds to wait after the first failure, twice as many after the second, and so on."""
BROKEN = (
    urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError
)  # fmt: skip
BUSY = (429, 500, 502, 503, 504)
"""What a server says that may have the file in a moment."""

_KINDS = {"ph": "lift can square transport tool_hang", "mh": "lift can square transport"}
FILES: Mapping[str, str] = {
    **{
        f"robomimic/{task}/{kind}": f"v1.5/{task}/{kind}/low_dim_v15.hdf5"
        for kind, tasks in _KINDS.items()
        for task in tasks.split()
    },
    "robomimic/can/paired": "v1.5/can/paired/low_dim_v15.hdf5",
    **{
        f"robomimic/{task}/mg_{reward}": f"v1.5/{task}/mg/low_dim_{reward}_v15.hdf5"
        for task in ("lift", "can")
        for reward in ("sparse", "dense")
    },
}
"""Name of a dataset to its file at the hub. Images are not hosted; robomimic's own script extracts
them from the states."""

OnProgress = Callable[[int, int], None]
"""Told bytes done and bytes in all (0 when unknown)."""


def download(
    name: str, folder: Path, on_progress: OnProgress = lambda done, total: None, hub: str = ""
) -> Path:
    """Fetches a dataset; goes on with what is there of it.

    Args:
        name: one of `FILES`.
        folder: gets `<name>.hdf5` with folders as in the name, and a `.part` file meanwhile.
        on_progress: told now and then.
        hub: address of the server; `HF_ENDPOINT` or the official one when empty.

    Returns:
        The file, whose checksum is the one that the hub names.

    Raises:
        InputError: if the name is unknown, the server cannot be reached or does not have it, the
            checksum differs, or the file cannot be written.
    """
    if name not in FILES:
        raise InputError(f"{name}: no such dataset; choose from {', '.join(FILES)}")
    target = folder / f"{name}.hdf5"
    if target.exists():
        return target
    part = target.with_suffix(".part")
    server = hub or os.environ.get("HF_ENDPOINT") or HUB
    if not server.startswith(("https://", "http://")):
        raise InputError(f"HF_ENDPOINT={server}: must begin with https://")
    address = f"{server}/{REPOSITORY}/{FILES[name]}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab"):
            pass
        checksum = _fetch(address, part, on_progress)
        _check(part, checksum, address)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:  # of the disk: those of the network are caught below
        reason = error.strerror or str(error)
        raise InputError(f"{target}: cannot be written ({reason}); free space or rights") from error
    return target


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Remembers the hub's own headers: it redirects to a store that does not repeat them."""

    def __init__(self) -> None:
        self.headers: list[Message] = []

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:  # fmt: skip
        self.headers.append(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(address: str, part: Path, on_progress: OnProgress) -> str:
    """Appends to `part` until it is whole; returns the SHA-256 that the hub names, or ''."""
    redirect, failures = _Redirect(), 0
    while True:
        before = part.stat().st_size
        try:
            return _fetch_once(address, part, redirect, on_progress)
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # nothing is left to fetch
                return _named_checksum([*redirect.headers, error.headers])
            failures = _again(failures, error, address, part, before)
        except BROKEN as error:
            failures = _again(failures, error, address, part, before)


def _again(failures: int, error: Exception, address: str, part: Path, before: int) -> int:
    """Counts a failure without a byte gained, and waits a little; raises when it is no use."""
    if isinstance(error, urllib.error.HTTPError) and error.code not in BUSY:
        raise InputError(
            f"{address}: the server says {error.code} {error.reason}; "
            "look whether it has moved, or set HF_ENDPOINT to a mirror"
        ) from error
    failures = 0 if part.stat().st_size > before else failures + 1
    if failures >= ATTEMPTS:
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise InputError(
            f"{address}: cannot be reached ({reason}); what there is stays in {part}, "
            "and the same command goes on from there"
        ) from error
    time.sleep(PAUSE_S * failures)
    return failures


def _fetch_once(address: str, part: Path, redirect: _Redirect, on_progress: OnProgress) -> str:
    done = part.stat().st_size
    request = urllib.request.Request(address)
    if done:
        request.add_header("Range", f"bytes={done}-")
    opener = urllib.request.build_opener(redirect)
    with opener.open(request, timeout=TIMEOUT_S) as answer:
        if done and answer.status != 206:  # the server cannot go on in the middle
            done = 0
        left = int(answer.headers.get("Content-Length") or 0)
        total = done + left if left else 0
        with part.open("r+b") as file:
            file.truncate(done)
            file.seek(done)
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                on_progress(done, total)
        if total and done < total:
            raise http.client.IncompleteRead(b"", total - done)
        return _named_checksum([*redirect.headers, answer.headers])


def _named_checksum(headers: list[Message]) -> str:
    """SHA-256 in the hub's `X-Linked-ETag`; '' if there is none."""
    for one in headers:
        found = re.search(r"\b[0-9a-f]{64}\b", str(one.get("X-Linked-ETag") or ""))
        if found:
            return found[0]
    return ""


def _check(part: Path, checksum: str, address: str) -> None:
    with part.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if not checksum:
        raise InputError(f"{address}: the server names no checksum; take the official hub")
    if actual != checksum:
        part.unlink()
        raise InputError(
            f"{address}: arrived damaged (SHA-256 {actual[:12]}..., should be {checksum[:12]}...); "
            "it was removed, download it again"
        )
