"""Real Ray for tests, small and on loopback."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from scalesearch.study.executors.ray_cluster import import_ray

STORE_BYTES = 80 * 2**20
_LISTEN = "0A"
_TRIES = 4
QUIET = {"log_to_driver": False, "logging_level": "ERROR"}


@contextmanager
def begun_ray(num_cpus: int, num_gpus: int = 0) -> Iterator[Any]:
    """Initialise a Ray of one node, as a caller would who has one already."""
    ray = import_ray("")
    size = {"num_cpus": num_cpus, "num_gpus": num_gpus, "object_store_memory": STORE_BYTES}
    patiently(ray.init, address="local", include_dashboard=False, **size, **QUIET)
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def nodes(**head: float) -> Iterator[Any]:
    """Begin a cluster of one node, to which ``add_node`` adds others; all are processes of this machine."""
    import_ray("")
    from ray.cluster_utils import Cluster

    previous = os.environ.pop("RAY_ADDRESS", None)
    cluster = patiently(Cluster, initialize_head=True, head_node_args={"object_store_memory": STORE_BYTES, **head})
    try:
        yield cluster
    finally:
        cluster.shutdown()
        if previous is not None:
            os.environ["RAY_ADDRESS"] = previous


def patiently(begin: Callable[..., Any], **arguments: Any) -> Any:
    """Begin something of Ray's, which gives up after 30 s: on a busy machine a test does not."""
    for _ in range(_TRIES - 1):
        with suppress(Exception):
            return begin(**arguments)
    return begin(**arguments)


def raylet() -> int:
    """Return the process of the node that this one began."""
    for pid in _descendants():
        with suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip() == "raylet":
                return pid
    raise AssertionError("no node was begun")


def listening_addresses() -> list[str]:
    """Return the addresses on which the processes that this one began listen over TCP."""
    sockets = set()
    for pid in _descendants():
        with suppress(OSError):
            sockets |= {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    found = []
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and f"socket:[{fields[9]}]" in sockets:
                found.append(_read_address(fields[1].split(":")[0]))
    return found


def _read_address(digits: str) -> str:
    """Return the IPv4 address of the last word, which is the whole of IPv4 and the end of a mapped IPv6."""
    return ".".join(str(byte) for byte in reversed(bytes.fromhex(digits[-8:])))


def _descendants() -> set[int]:
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}
