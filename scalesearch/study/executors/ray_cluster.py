"""The Ray cluster that a study runs on: begun here, joined, or the caller's own.

What is begun here listens on loopback alone, without a dashboard, and asks for a token. On Linux Ray 2.60 takes
127.0.0.1 for this machine's outer address, unless it was told before its import that it keeps to one machine; that is
why Ray is imported here and nowhere else.
"""

from __future__ import annotations

import importlib
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from scalesearch.errors import ConfigError, ScalesearchError

TO_GO_ON = "what is done is recorded, and the same command goes on with it"
"""The end of the sentence with which a study ends that has lost its cluster."""

_LOOPBACK = "127.0.0.1"
_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_TRIES_TO_BEGIN = 3
_RESTARTS = 3
_RECONNECT_SECONDS = 120.0  # after which no further try begins
_PAUSE_SECONDS = 5.0
_LISTEN_SECONDS = 10.0
_logger = logging.getLogger(__name__)


class RayCluster:
    """Ray, connected.

    A Ray that the caller has initialised is used as it is and left running.

    Args:
        address: Of a running cluster, as ``auto`` or ``HOST:PORT``; where empty one is begun on this machine.
        num_cpus: Of the one begun here.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, address: str, num_cpus: int) -> None:
        self.ray = import_ray(address)
        self._address, self._num_cpus = address, num_cpus
        self._is_callers = self.ray.is_initialized()
        self._deaths = 0
        if not self._is_callers:
            self._connect()

    def warn_of_shortage(self, cpus: int, gpus: float) -> None:
        """Say where no node can hold a candidate.

        Raises:
            ConfigError: That can never change, for the cluster is this machine.
        """
        found = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in found):
            return
        sentence = f"no node of the Ray cluster has the {cpus} cores and {gpus:g} GPUs that a candidate needs"
        if not self._address and not self._is_callers:
            raise ConfigError(f"{sentence}; lower threads or resources.gpus, or join a larger cluster by its address")
        _logger.warning("%s: candidates wait until one joins", sentence)

    def recover(self) -> None:
        """Begin or join the cluster anew after it, or the way to it, has died.

        Raises:
            ScalesearchError: It has died too often, or has not come back for two minutes.
        """
        self._deaths += 1
        if self._deaths > _RESTARTS:
            raise ScalesearchError(f"Ray has died {self._deaths} times under this study; {TO_GO_ON}")
        if self._is_callers:
            return  # not ours to begin again; what was lost may be the mailbox alone
        self.close()
        _logger.warning("Ray has died; it is %s again", "joined" if self._address else "begun")
        self._reconnect()

    def close(self) -> None:
        """Leave the cluster; end it where it was begun here."""
        if not self._is_callers and self.ray.is_initialized():
            self.ray.shutdown()

    def _connect(self) -> None:
        tries = 1 if self._address else _TRIES_TO_BEGIN
        for left in reversed(range(tries)):
            others = _children()
            try:
                with _sigterm_kept():
                    self._init()
                break
            except Exception as error:  # Ray raises bare ones too, as where its processes take more than 30 s to begin
                self.ray.shutdown()
                for process in _children() - others:  # Ray leaves them
                    process.kill()
                if not left:
                    raise ConfigError(self._refusal(error)) from None
        if not self._address and self.ray.util.get_node_ip_address() != _LOOPBACK:
            _logger.warning(
                "Ray was imported before it could be kept to %s: its ports are open to the network, and guarded by its"
                " token alone",
                _LOOPBACK,
            )

    def _init(self) -> None:
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._address:
            _check_listens(self._address)
            self.ray.init(address=self._address, **quiet)
        else:
            self.ray.init(address="local", num_cpus=self._num_cpus, include_dashboard=False, **quiet)

    def _refusal(self, error: Exception) -> str:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        if self._address:
            return f"executor.address={self._address}: no Ray cluster can be joined ({said})"
        return f"executor=ray: no cluster can be begun on this machine ({said})"

    def _reconnect(self) -> None:
        deadline = time.monotonic() + _RECONNECT_SECONDS
        while True:
            try:
                return self._connect()
            except ConfigError as error:
                if time.monotonic() > deadline:
                    waited = f"{_RECONNECT_SECONDS:g} s after it was lost"
                    raise ScalesearchError(f"{error}, {waited}; {TO_GO_ON}") from None
            time.sleep(_PAUSE_SECONDS)


def import_ray(address: str) -> Any:  # noqa: ANN401 (the module; where it is not installed it has no type)
    """Import Ray, told by its environment how it is to be begun; what the user has set there stays.

    Raises:
        ConfigError: It is not installed.
    """
    if address.startswith("ray://"):
        raise ConfigError(
            f"executor.address must be auto or HOST:PORT, for Ray's client cannot be used, got {address!r}"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    if not address:
        # so named, but heeded on Linux too: a Ray that keeps to one machine may keep to loopback
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        # 15 by default; a latency is read in a worker, and executor=local reads it at the driver's own priority
        os.environ.setdefault("RAY_worker_niceness", "0")
    if not address and not _has_token():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # for as long as this process lives; no file keeps it
    if _has_token():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ModuleNotFoundError:
        raise ConfigError("executor=ray needs ray; install it with pip install 'scalesearch[ray]'") from None
    return ray


def _check_listens(address: str) -> None:
    """Refuse a HOST:PORT at which nothing listens, for Ray would try it for a quarter of an hour.

    Raises:
        OSError: Nothing does.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_LISTEN_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise ConnectionError(f"nothing listens there: {getattr(error, 'strerror', None) or error}") from None


def _has_token() -> bool:
    in_home = False
    with suppress(RuntimeError):  # a home that cannot be told
        in_home = (Path.home() / ".ray" / "auth_token").is_file()
    return in_home or any(os.environ.get(name) for name in _TOKENS)


def _children() -> set[Any]:
    psutil = importlib.import_module("psutil")  # comes with Ray
    return set(psutil.Process().children())


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Keep what SIGTERM does here; Ray puts a handler of its own in its place, which raises within a write."""
    in_main = threading.current_thread() is threading.main_thread()
    previous = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, previous)
