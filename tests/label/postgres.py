"""A PostgreSQL server of one's own, in a temporary folder, for tests and benchmarks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path


class PrivatePostgres:
    """Starts a server as a context, which gives the address of an empty database."""

    def __init__(self) -> None:
        """
        Raises:
            FileNotFoundError: if PostgreSQL is not installed.
        """
        folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *map(Path, os.get_exec_path())]
        found = [folder for folder in folders if (folder / "postgres").exists()]
        if not found:
            raise FileNotFoundError("PostgreSQL is not installed (apt-get install postgresql)")
        self._programs = found[0]

    def __enter__(self) -> str:
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
        # It refuses to run as root.
        self._user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._user:
            shutil.chown(self._folder, "postgres")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        data = str(self._folder / "data")
        self._run("initdb", "-D", data, "-U", "robopref", "-A", "trust", "-E", "UTF8")
        options = f"-p {port} -h 127.0.0.1 -k {self._folder} -c max_connections=100"
        self._run("pg_ctl", "-D", data, "-w", "-o", options, "-l", f"{data}.log", "start")
        return f"postgresql+psycopg://robopref@127.0.0.1:{port}/postgres"

    def __exit__(self, *error: object) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._user, str(self._programs / program), *arguments]
        subprocess.run(
            command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd="/"
        )
