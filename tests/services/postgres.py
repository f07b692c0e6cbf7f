"""A PostgreSQL server of one's own on loopback, that can be stopped, killed and begun again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psycopg

PASSWORD = "s3cret/p@ss"
_START_SECONDS = 60


def find_binaries() -> Path | None:
    """Return the folder of initdb and postgres, None where the server is not installed."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


class PostgresServer:
    """A server whose files lie below ``folder``; the superuser ``study`` has a password.

    PostgreSQL refuses to run as root, which then gives the files to the user ``postgres`` that Debian's package makes.
    """

    def __init__(self, folder: Path) -> None:
        binaries = find_binaries()
        assert binaries is not None, "PostgreSQL is not installed"
        self._binaries, self._data = binaries, folder / "data"
        self._user = "postgres" if os.geteuid() == 0 else None
        self._port = _free_port()
        self._log = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._make(folder)

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        quoted = PASSWORD.replace("/", "%2F").replace("@", "%40")
        return f"postgresql://study:{quoted}@127.0.0.1:{self._port}/{database}"

    def create_database(self, name: str) -> str:
        """Make a database and return its URL."""
        with self.connect() as connection:
            connection.autocommit = True
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Return a connection."""
        return psycopg.connect(self.url(database), connect_timeout=5)

    def start(self) -> PostgresServer:
        """Begin the server and wait until it answers; after a crash it recovers first."""
        given_up = time.monotonic() + _START_SECONDS
        while True:
            if self.process is None or self.process.poll() is not None:
                self._begin()
            try:
                self.connect().close()
                return self
            except psycopg.OperationalError:
                if time.monotonic() > given_up:
                    raise RuntimeError(self._log.read_text(encoding="utf-8")[-2000:]) from None
                time.sleep(0.05)

    def _begin(self) -> None:
        """Begin a process, which ends again while children of a killed one still hold its shared memory."""
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        settings = ("listen_addresses=127.0.0.1", f"port={self._port}", "unix_socket_directories=", "fsync=off")
        options = [part for setting in settings for part in ("-c", setting)]
        with self._log.open("ab") as log:
            command = [str(self._binaries / "postgres"), "-D", str(self._data), *options]
            self.process = subprocess.Popen(command, user=self._user, stdout=log, stderr=log, cwd="/")

    def kill(self) -> None:
        """SIGKILL the server and its children at once."""
        assert self.process is not None
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        for pid in [self.process.pid, *map(int, children)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()

    def stop(self) -> None:
        """End the server; connections are closed."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()

    def _make(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        password = folder / "password"
        password.write_text(PASSWORD, encoding="ascii")
        if self._user is not None:
            for path in (folder, password):
                shutil.chown(path, self._user)
        subprocess.run(
            [str(self._binaries / "initdb"), "-D", str(self._data), "-U", "study", f"--pwfile={password}",
             "--auth=scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"],
            user=self._user, check=True, capture_output=True, cwd="/",
        )  # fmt: skip


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
