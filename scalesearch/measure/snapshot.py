"""A training in the middle, on disk: what it takes to go on bit for bit where it was left.

A file is a line that names the format, a SHA-256 of the rest, and tensors, numbers and lists as ``torch.save`` writes
them; it is read with ``weights_only=True``, so that it is data and never code. It is written under another name,
flushed to the disk and renamed.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import pickle
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

from scalesearch.atomic import write_atomically
from scalesearch.errors import SnapshotError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_MAGIC = b"scalesearch snapshot 1\n"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SnapshotConfig:
    """Where a training keeps what it needs to go on, and how often it does.

    Attributes:
        path: The file; its folder is made where it is missing.
        seconds: Between two writes; 0 writes after each step.
    """

    path: Path
    seconds: float = 30.0


def identify_training(arch_id: str, seed: int, data: DataclassInstance, train: DataclassInstance, *more: object) -> str:
    """Return what a training's weights follow from, in a line: a snapshot of another one is not gone on from.

    Where the data lie and how many processes load them changes no weight.

    Args:
        arch_id: Of what is trained.
        seed: Of the weights, the order of the images and the augmentation.
        data: The configuration of the data.
        train: That of the training.
        more: What else its weights follow from.
    """
    read = {key: value for key, value in asdict(data).items() if key not in ("root", "loader_workers")}
    return json.dumps([arch_id, seed, read, asdict(train), *more, torch.__version__], default=str)


class Snapshots:
    """Writes a training's state now and then, and reads what an earlier process left.

    A snapshot that cannot be written, on a full disk say, is told once and costs nothing but itself. One that cannot
    be read, or is of another training, is told and left behind: the training begins anew.

    Args:
        config: Where and how often.
        identity: Names the training: what it trains, on what, how, from which seed.
    """

    def __init__(self, config: SnapshotConfig, identity: str) -> None:
        self._path, self._seconds, self._identity = config.path, config.seconds, identity
        self._next = time.monotonic() + config.seconds
        self._told = self._listens = self._must_end = False

    def load(self) -> dict[str, Any] | None:
        """Return the state an earlier process left, None where there is none to go on from."""
        if not self._path.exists():
            return None
        try:
            content = read_snapshot(self._path)
        except SnapshotError as error:
            _logger.warning("%s; the training begins anew", error)
            return None
        if content["identity"] != self._identity:
            _logger.warning("%s: it is of another training, and is not used", self._path)
            return None
        state: dict[str, Any] = content["state"]
        return state

    def __enter__(self) -> Snapshots:
        """Take SIGTERM as the wish to end after the next snapshot, where nobody else in this process handles it."""
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._ask_to_end)
            self._listens = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._listens:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def follow(self, state_dict: Callable[[], Mapping[str, Any]]) -> None:
        """Write the state between two steps where it is time; end the process where that was asked for.

        Raises:
            SystemExit: After SIGTERM, with the exit code that shells give it.
        """
        if self._must_end or time.monotonic() >= self._next:
            self._save(state_dict())
        if self._must_end:
            raise SystemExit(128 + signal.SIGTERM)

    def _save(self, state: Mapping[str, Any]) -> None:
        try:
            write_snapshot(self._path, {"identity": self._identity, "state": dict(state)})
        except OSError as error:
            if not self._told:
                _logger.warning("%s: cannot be written (%s); the training goes on without", self._path, error.strerror)
            self._told = True
        self._next = time.monotonic() + self._seconds

    def _ask_to_end(self, signum: int, frame: FrameType | None) -> None:
        self._must_end = True


def write_snapshot(path: Path, content: Mapping[str, Any]) -> None:
    """Write plain values and tensors so that a reader, or a crash, sees the old file or the new one, never a part.

    Raises:
        OSError: The disk is full, or the folder cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    payload = buffer.getvalue()
    write_atomically(path, _MAGIC + hashlib.sha256(payload).digest() + payload)


def read_snapshot(path: Path) -> dict[str, Any]:
    """Return what was written.

    Raises:
        SnapshotError: The file cannot be read, is of something else, or was damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SnapshotError(f"{path}: cannot be read ({error.strerror})") from None
    start = len(_MAGIC)
    digest, payload = content[start : start + 32], content[start + 32 :]
    if not content.startswith(_MAGIC):
        raise SnapshotError(f"{path}: not a snapshot of a training")
    if hashlib.sha256(payload).digest() != digest:
        raise SnapshotError(f"{path}: damaged, its checksum does not hold")
    try:
        values: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise SnapshotError(f"{path}: {str(error).splitlines()[0]}") from None
    return values


def random_state(device: str) -> dict[str, Any]:
    """Return where torch's global generators stand, the processor's and the device's."""
    on_cuda = torch.device(device).type == "cuda"
    return {"cpu": torch.get_rng_state(), **({"cuda": torch.cuda.get_rng_state(device)} if on_cuda else {})}


def restore_random_state(state: Mapping[str, Any], device: str) -> None:
    """Put torch's global generators where they stood."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.device(device).type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
