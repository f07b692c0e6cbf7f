"""Latencies of the candidates of a part, read while nothing of ours runs beside them, and kept in the record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from torch import nn

from scalesearch.measure.profiling import profile_latency
from scalesearch.study.jobs import Candidate
from scalesearch.study.store import Record

_KEY = "latency_ms"

C = TypeVar("C", bound=Candidate)


def read_latencies(
    record: Record, archs: Iterable[C], *, build: Callable[[C], nn.Module], device: str
) -> dict[str, float]:
    """Return the median of a pass of one image on one thread, milliseconds by ``arch_id``; each is read once.

    What was read stands when the part goes on: a limit must not let through today what it left out yesterday.

    Args:
        record: Of the part; keeps the readings.
        archs: The candidates.
        build: Makes one in torch; with fresh weights, which take as long as trained ones.
        device: ``cpu`` or ``cuda``.
    """
    read: dict[str, float] = dict(record.study.user_attrs.get(_KEY, {}))
    wanted = {arch.arch_id: arch for arch in archs}
    missing = [arch for arch_id, arch in wanted.items() if arch_id not in read]
    for arch in missing:
        read[arch.arch_id] = profile_latency(build(arch).to(device), arch.image_size, device=device).p50_ms
        record.study.set_user_attr(_KEY, read)  # at once, so that an interruption loses none
    return {arch_id: read[arch_id] for arch_id in wanted}
