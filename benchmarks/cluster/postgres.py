"""A PostgreSQL server of one's own, on the loopback interface, in a temporary folder, for as long as it is needed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_SECONDS = 60


@contextmanager
def private_server(binaries: Path, user: str | None = None) -> Iterator[str]:
    """Start a server and yield the URL of its database; nothing is left of either.

    Args:
        binaries: Folder of ``initdb``, ``postgres`` and ``pg_isready``.
        user: Who runs the server; needed where this process is root's, which PostgreSQL refuses.
    """
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    if user is not None:
        shutil.chown(folder, user)
    try:
        command = [binaries / "initdb", "-D", folder / "data", "-A", "trust", "-U", "scalesearch", "-N"]
        subprocess.run(command, check=True, user=user, stdout=subprocess.DEVNULL, cwd=folder)
        port = _free_port()
        command = [binaries / "postgres", "-D", folder / "data", "-p", str(port), "-k", folder, "-h", "127.0.0.1"]
        server = subprocess.Popen(command, user=user, stderr=subprocess.DEVNULL, cwd=folder)
        try:
            _wait_for(binaries, port)
            yield f"postgresql+psycopg://scalesearch@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(binaries: Path, port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        asked = subprocess.run([binaries / "pg_isready", "-h", "127.0.0.1", "-p", str(port)], capture_output=True)
        if asked.returncode == os.EX_OK:
            return
        time.sleep(0.2)
    raise RuntimeError(f"PostgreSQL did not answer on port {port} within {_START_SECONDS} s")
