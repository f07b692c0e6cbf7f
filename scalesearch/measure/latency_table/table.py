"""The table as a value: what each block took, the sum that predicts a network, and the file it is kept in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from scalesearch.arch.cost import out_size
from scalesearch.arch.spec import Activation, ArchSpec, StageSpec
from scalesearch.atomic import write_atomically
from scalesearch.errors import ArchError, ConfigError, shown
from scalesearch.measure.latency_table.keys import BlockKey, head_key, stage_keys, stem_key

FORMAT = "scalesearch latency table 1"


class Reading(NamedTuple):
    """Milliseconds of one pass: median and 90th percentile of the least disturbed of ``rounds`` rounds."""

    p50_ms: float
    p90_ms: float
    rounds: int = 1

    def join(self, other: Reading) -> Reading:
        """Return the round with the smaller median, and how many rounds there were.

        The smaller, not the middle one: other processes on the machine add time and never take any away.
        """
        best = min(self, other, key=lambda reading: reading.p50_ms)
        return Reading(best.p50_ms, best.p90_ms, self.rounds + other.rounds)


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under what latencies were measured: figures under different ones do not belong into one table.

    Attributes:
        space: Name of the search space.
        device: As ``torch.device`` takes it.
        device_name: What the device calls itself.
        torch_version: Of the build that ran.
        num_threads: Of the processor.
        batch_size: Images a pass; latencies are of the whole pass.
        num_classes: Outputs of the classifier.
    """

    space: str
    device: str
    device_name: str
    torch_version: str
    num_threads: int
    batch_size: int
    num_classes: int


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """Latency of every block, measured once, from which that of a network is a sum.

    Attributes:
        conditions: Under what it was measured.
        readings: By block.
        scale: Milliseconds of a whole network over the sum of its blocks, fitted on a few whole networks: alone,
            a block finds its weights and its input in the cache, which in a network it does not always. 1 until then.
        fitted_on: ``arch_id`` of the networks ``scale`` was fitted on; empty before.
        measured: Date and time (UTC, ISO 8601) of the last reading.
    """

    conditions: Conditions
    readings: Mapping[BlockKey, Reading]
    scale: float = 1.0
    fitted_on: tuple[str, ...] = ()
    measured: str = ""
    _stage_ms: dict[tuple[StageSpec, int, int, Activation], float] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def predict_ms(self, arch: ArchSpec) -> float:
        """Return the median milliseconds of a pass, in microseconds: sums of stages that came before are kept.

        Raises:
            ArchError: The table has no entry for one of the network's blocks.
        """
        channels, size, activation = arch.stem_channels, out_size(arch.image_size, arch.stem_stride), arch.activation
        total = self._p50_ms(stem_key(arch))
        for stage in arch.stages:
            state = (stage, channels, size, activation)
            stage_ms = self._stage_ms.get(state)
            if stage_ms is None:
                stage_ms = self._stage_ms[state] = sum(map(self._p50_ms, stage_keys(*state)))
            total += stage_ms
            channels, size = stage.out_channels, out_size(size, stage.stride)
        return self.scale * (total + self._p50_ms(head_key(channels, arch.head_channels, size, activation)))

    def identity(self) -> dict[str, Any]:
        """Return under what it was measured, in plain values."""
        return asdict(self.conditions)

    def _p50_ms(self, key: BlockKey) -> float:
        reading = self.readings.get(key)
        if reading is None:
            raise ArchError(
                f"the latency table must hold every block of the network: it was measured for search space"
                f" {self.conditions.space} and has no {key.describe()}"
            )
        return reading.p50_ms

    def save(self, path: Path | str) -> None:
        """Write the table as JSON, one block a line; a file that is there is replaced in one step."""
        head = {
            "format": FORMAT,
            **asdict(self.conditions),
            "measured": self.measured,
            "scale": self.scale,
            "fitted_on": list(self.fitted_on),
        }
        rows = (json.dumps({**key._asdict(), **reading._asdict()}) for key, reading in self.readings.items())
        text = (
            json.dumps(head, indent=1).removesuffix("\n}") + ',\n "entries": [\n  ' + ",\n  ".join(rows) + "\n ]\n}\n"
        )
        write_atomically(Path(path), text)

    @classmethod
    def load(cls, path: Path | str) -> LatencyTable:
        """Read a file that ``save`` wrote.

        Raises:
            ConfigError: The file is missing or broken, or holds something else; the sentence names it.
        """
        try:
            return _read(json.loads(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}: it must be a latency table that scalesearch wrote; {error}") from None


def _read(content: object) -> LatencyTable:
    found = content.get("format") if isinstance(content, dict) else content
    if not isinstance(content, dict) or found != FORMAT:
        raise ConfigError(f"its format must be {FORMAT!r}, got {shown(found)}")
    entries, fitted_on = _take(content, "entries", list), _take(content, "fitted_on", list)
    return LatencyTable(
        Conditions(**{each.name: _take(content, each.name, _TYPES[each.name]) for each in fields(Conditions)}),
        dict(_read_entry(index, entry) for index, entry in enumerate(entries)),
        scale=_take(content, "scale", float),
        fitted_on=tuple(map(str, fitted_on)),
        measured=_take(content, "measured", str),
    )


def _read_entry(index: int, entry: object) -> tuple[BlockKey, Reading]:
    if not isinstance(entry, dict):
        raise ConfigError(f"entry {index} must be a mapping, got {shown(entry)}")
    try:
        reading = Reading(**{name: _take(entry, name, _TYPES[name]) for name in Reading._fields})
        return BlockKey(**{name: _take(entry, name, _TYPES[name]) for name in BlockKey._fields}), reading
    except ConfigError as error:
        raise ConfigError(f"entry {index}: {error}") from None


_TYPES: dict[str, type[Any]] = {
    **dict.fromkeys(("space", "device", "device_name", "torch_version", "part", "activation"), str),
    **dict.fromkeys(("num_threads", "batch_size", "num_classes", "in_channels", "out_channels"), int),
    **dict.fromkeys(("kernel_size", "stride", "in_size", "rounds"), int),
    **dict.fromkeys(("expand_ratio", "se_ratio", "p50_ms", "p90_ms"), float),
    "residual": bool,
}


def _take(values: Mapping[str, Any], name: str, kind: type[Any]) -> Any:  # noqa: ANN401
    """Return a value of the wanted type; numbers must be above 0, but for a ratio of squeeze-and-excitation."""
    value: Any = values.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"{name} must be of type {kind.__name__}, got {shown(value)}")
    if kind in (int, float) and not (0 < value < float("inf") or (name == "se_ratio" and value == 0)):
        raise ConfigError(f"{name} must be a finite number above 0, got {shown(value)}")
    return value
