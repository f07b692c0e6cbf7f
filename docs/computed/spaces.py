"""What can be said of a search space by reading its file, counting, and drawing from it."""

from __future__ import annotations

import random
import re
import statistics
from collections.abc import Mapping, Sequence

from computed.tables import write_table
from scalesearch import ArchSpec, SearchSpace, network_cost, published_arch
from scalesearch.arch.budget import min_cost
from scalesearch.paths import SEARCH_SPACES

DRAWN = 1000
COSTS = ("macs", "params", "acts")
NAMES = sorted(path.stem for path in SEARCH_SPACES.glob("*.yaml"))

_SHORT = {"kernel_size": "kernel", "expand_ratio": "expansion", "out_channels": "channels", "num_blocks": "blocks"}
_FIXED = ("image_size", "stem_channels", "stem_stride", "head_channels", "activation")


def list_spaces() -> str:
    """Return a table of all spaces that ship."""
    rows = []
    for name in NAMES:
        space = SearchSpace.load(name)
        macs = [network_cost(arch, num_classes=_num_classes(space)).macs for arch in _draw(space)]
        rows.append(
            [
                f"[{name}]({name}.md)",
                f"{_first_size(space)} px",
                str(len(space.stages)),
                f"{space.cardinality:,}",
                " to ".join(map(_millions, (min(macs), max(macs)))),
            ]
        )
    return write_table(
        ["space", "images", "stages", "settings", f"macs of {DRAWN:,} networks drawn, in millions"], rows
    )


def describe_space(name: str) -> str:
    """Return what a space's file says of itself, its size, what its networks cost, and its stages."""
    space = SearchSpace.load(name)
    return "\n\n".join([_head(name), _facts(space), _costs(space), "Its stages:", _stages(space)])


def _head(name: str) -> str:
    """Return the comment at the head of the file, its papers as links."""
    text = (SEARCH_SPACES / f"{name}.yaml").read_text(encoding="utf-8")
    lines = re.match(r"(?:#.*\n)+", text)
    said = " ".join(line.lstrip("# ") for line in lines[0].splitlines()) if lines else ""
    linked = re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", said.replace("*", r"\*"))
    return f"> {linked}"


def _facts(space: SearchSpace) -> str:
    rows = [
        ["settings", f"{space.cardinality:,}"],
        ["parameters that a sampler sees", str(len(space.parameters))],
        *([name.replace("_", " "), _listed(space.network[name])] for name in _FIXED if name in space.network),
        ["holds EfficientNet-B0", "yes" if space.contains(published_arch("efficientnet-b0")) else "no"],
    ]
    return write_table(["of the space", ""], rows)


def _costs(space: SearchSpace) -> str:
    classes = _num_classes(space)
    drawn = [network_cost(arch, num_classes=classes) for arch in _draw(space)]
    rows = []
    for name in COSTS:
        values = sorted(getattr(cost, name) for cost in drawn)
        deciles = statistics.quantiles(values, n=10)
        least = min_cost(space, name, classes)
        figures = (least, values[0], deciles[0], statistics.median(values), deciles[-1], values[-1])
        rows.append([name, *map(_millions, figures)])
    said = (
        f"What {DRAWN:,} networks cost that are drawn with every choice uniform (seed 0, {classes:,} classes), and the"
        " least that any network of the space costs; in millions:"
    )
    header = ["cost", "least of all", "least drawn", "10 %", "median", "90 %", "most drawn"]
    return f"{said}\n\n{write_table(header, rows)}"


def _stages(space: SearchSpace) -> str:
    if any("one_of" in stage for stage in space.stages):
        rows = [[str(index), _listed(stage["one_of"], code=True)] for index, stage in enumerate(space.stages)]
        return write_table(["stage", "one of"], rows)
    fields = list(dict.fromkeys(field for stage in space.stages for field in stage))
    rows = [[str(index), *(_field(stage, field) for field in fields)] for index, stage in enumerate(space.stages)]
    return write_table(["stage", *(_SHORT.get(field, field.replace("_", " ")) for field in fields)], rows)


def _field(stage: Mapping[str, Sequence[object]], field: str) -> str:
    return _listed(stage[field], code=field == "block") if field in stage else ""


def _listed(choices: Sequence[object], *, code: bool = False) -> str:
    return ", ".join(f"`{choice}`" if code else str(choice) for choice in choices)


def _draw(space: SearchSpace) -> list[ArchSpec]:
    rng = random.Random(0)
    return [space.sample(rng) for _ in range(DRAWN)]


def _num_classes(space: SearchSpace) -> int:
    """Return the classes to count with: ImageNet's where the images have its size, else CIFAR-10's."""
    return 1000 if _first_size(space) >= 224 else 10


def _first_size(space: SearchSpace) -> int:
    return int(space.network["image_size"][0])


def _millions(value: float) -> str:
    return f"{value / 1e6:,.3g}" if value < 1e8 else f"{value / 1e6:,.0f}"
