"""The model card: a ``README.md`` with YAML in front, as the Hugging Face hub reads it, beside what was exported.

Every number is measured or counted; what is not known is left out or said to be. Names of studies, classes and files
are anybody's: they are shown as text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from scalesearch.arch.plain_yaml import parse_yaml
from scalesearch.errors import ExportError, shown
from scalesearch.export.choosing import Choice
from scalesearch.export.config import SUFFIXES
from scalesearch.export.evidence import Accuracy, Evidence
from scalesearch.export.models import ClassifierModel, Model
from scalesearch.export.snippets import write_snippet
from scalesearch.report.markdown import plain_text, table_lines
from scalesearch.study.settings import check_choice

_OURS = "scalesearch"
_FENCE = "---\n"
_NOTES = {
    "safetensors": "Weights and what they are of, in one file; `scalesearch.load` builds the model.",
    "onnx": "For ONNX runtimes.",
    "program": "A program of torch.export: runs where PyTorch does, without scalesearch.",
    "timm": "Weights, and a Python file that builds the network in timm.",
}


@dataclass(frozen=True, slots=True)
class Exported:
    """One form that was written; ``nms`` where it gives a detector's best boxes alone."""

    form: str
    nms: bool = False

    def __post_init__(self) -> None:
        check_choice("form", self.form, tuple(SUFFIXES))


@dataclass(frozen=True, slots=True)
class CardInfo:
    """What the head of a card says of the network and of what lies beside it.

    Attributes:
        arch_id: Of the network.
        weights: A fingerprint of its weights.
        files: What was exported, by the file's name.
    """

    arch_id: str
    weights: str
    files: dict[str, Exported] = field(default_factory=dict)

    def with_file(self, name: str, exported: Exported) -> CardInfo:
        """Return the same with one file more, or in another's place."""
        return CardInfo(self.arch_id, self.weights, {**self.files, name: exported})


def begin_card(path: Path, arch_id: str, weights: str) -> CardInfo:
    """Return what the card at ``path`` says of the same network, so that it is kept; nothing where there is none.

    Raises:
        ExportError: There is another README, or the card of another network: nothing of anybody's is overwritten.
    """
    if not path.exists():
        return CardInfo(arch_id, weights)
    try:
        ours = _read_head(path)
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError, AttributeError):
        raise ExportError(
            f"{path}: a README of another kind, which an export leaves alone; choose out= elsewhere"
        ) from None
    if (ours.arch_id, ours.weights) != (arch_id, weights):
        raise ExportError(f"{path}: the card of another network, {shown(ours.arch_id)}; choose out= in another folder")
    beside = {each.name for each in path.parent.iterdir()}  # a card may name what no file can be called
    return CardInfo(arch_id, weights, {name: each for name, each in ours.files.items() if name in beside})


def _read_head(path: Path) -> CardInfo:
    """Return what a card of ours says; of another file any of the errors that ``begin_card`` takes."""
    head: Any = parse_yaml(path.read_text(encoding="utf-8").split(_FENCE, 2)[1])
    ours = head[_OURS]
    files = {str(name): Exported(each["form"], bool(each["nms"])) for name, each in ours["files"].items()}
    if any(Path(name).name != name for name in files):
        raise ValueError("a file lies elsewhere")
    return CardInfo(str(ours["arch_id"]), str(ours["weights"]), files)


def write_card(choice: Choice, model: Model, evidence: Evidence, info: CardInfo) -> str:
    """Return the card as Markdown."""
    sections = [
        f"# {plain_text(choice.name)}",
        *_warning(choice),
        _summary(choice, model, evidence),
        "## Use",
        *_uses(model, info),
        "## Input and output",
        *_contract(model),
        "## Accuracy",
        *_accuracy_lines(choice, evidence),
        "## Cost",
        *_cost_lines(evidence),
        "## Data",
        *_key_lines(evidence.data, "Not known."),
        "## Training",
        *_key_lines(
            evidence.recipe, "None: the weights are as they were drawn." if choice.is_untrained else "Not known."
        ),
        "## Network",
        f"```\n{_describe_arch(model)}\n```",
        "## Licence",
        "To be filled in, here and in the first lines of this file, by who gives the network away.",
    ]
    return f"{_head(choice, model, evidence, info)}\n" + "\n\n".join(sections) + "\n"


def _head(choice: Choice, model: Model, evidence: Evidence, info: CardInfo) -> str:
    is_classifier = isinstance(model, ClassifierModel)
    task = "image-classification" if is_classifier else "object-detection"
    head: dict[str, Any] = {
        "license": "other",
        "license_name": "to-be-filled-in",
        "library_name": _OURS,
        "pipeline_tag": task,
        "tags": [_OURS, "neural-architecture-search", task],
    }
    if evidence.accuracies:
        dataset = str(evidence.data.get("root") or evidence.data.get("format", "unknown"))
        metrics = [
            {"type": "accuracy" if is_classifier else "map", "name": each.measure, "value": round(each.mean, 4)}
            for each in evidence.accuracies
        ]
        result = {"task": {"type": task}, "dataset": {"type": "images", "name": dataset}, "metrics": metrics}
        head["model-index"] = [{"name": choice.name, "results": [result]}]
    files = {name: {"form": each.form, "nms": each.nms} for name, each in info.files.items()}
    head[_OURS] = {"arch_id": info.arch_id, "weights": info.weights, "files": files}
    return f"{_FENCE}{yaml.safe_dump(head, sort_keys=False)}{_FENCE}"


def _warning(choice: Choice) -> list[str]:
    return ["**Untrained: the weights are fresh, as drawn. Its outputs mean nothing.**"] if choice.is_untrained else []


def _summary(choice: Choice, model: Model, evidence: Evidence) -> str:
    kind = "An image classifier" if isinstance(model, ClassifierModel) else "An object detector"
    origin = "" if choice.folder is None else f", from the {choice.part} of the study {plain_text(choice.folder.name)}"
    return (
        f"{kind} of {model.num_classes} classes at {model.image_size} px: {evidence.cost.params:,} parameters,"
        f" {evidence.cost.macs:,} multiply-adds{origin}. Made with scalesearch."
    )


def _uses(model: Model, info: CardInfo) -> list[str]:
    lines = []
    for name, each in sorted(info.files.items()):
        file = str(Path(name).with_suffix(".py")) if each.form == "timm" else name
        snippet = write_snippet(model, each.form, file, nms=each.nms)
        lines += [f"### {plain_text(name)}", _NOTES[each.form] + _batches(each), f"```python\n{snippet}```"]
    return lines


def _batches(each: Exported) -> str:
    if each.form not in ("onnx", "program"):
        return ""
    if each.nms:
        return " It takes one image a pass, and gives its best boxes alone."
    return " It takes any number of images a pass."


def _contract(model: Model) -> list[str]:
    size, normalisation = model.image_size, model.normalisation
    lines = [f"Input: `images`, float32 RGB in [0, 1], (N, 3, {size}, {size}), but of timm's form."]
    if normalisation is None:
        lines.append("How the training images were normalised is not known: the images go in as they are.")
    else:
        mean, std = ([round(value, 6) for value in each] for each in (normalisation.mean, normalisation.std))
        lines.append(
            f"The training images' mean {mean} is taken off inside, and the rest divided by their deviation {std};"
            " timm's form takes images that were so normalised."
        )
    if isinstance(model, ClassifierModel):
        lines.append(f"It sees the middle square of a picture. Output: `logits`, (N, {model.num_classes}).")
    else:
        lines.append(
            "It sees the whole picture in the upper left corner of the square. Output: `boxes_xyxy`, corners in pixels"
            f" of the square, and `scores` in [0, 1] of {model.num_classes} classes."
        )
    names = ", ".join(f"{index} {plain_text(name)}" for index, name in enumerate(model.class_names))
    return [*lines, f"Classes: {names}." if names else "What the classes are is not known."]


def _accuracy_lines(choice: Choice, evidence: Evidence) -> list[str]:
    if not evidence.accuracies:
        return ["Not measured here."]
    table = pd.DataFrame([_accuracy_row(each) for each in evidence.accuracies])
    lines = [table_lines(table)]
    if choice.part not in ("family", "train"):
        lines.append("The split that chose a network flatters it.")
    return lines


def _accuracy_row(each: Accuracy) -> dict[str, object]:
    return {
        "measure": each.measure,
        "mean": each.mean,
        "standard error": each.standard_error,
        "trainings": each.trainings,
        "these weights": each.own,
    }


def _cost_lines(evidence: Evidence) -> list[str]:
    latency, machine = evidence.latency, evidence.machine
    table = pd.DataFrame([{**evidence.cost._asdict(), "latency p50, ms": latency.p50_ms, "p90, ms": latency.p90_ms}])
    torch_version = machine["versions"]["torch"]
    return [
        table_lines(table),
        plain_text(
            "Of one image. macs: one multiply-add is 1; acts: output elements of all convolutions. Latency: in PyTorch"
            f" {torch_version} on one thread of {machine['processor']}, {machine['cores']} cores, median and 90th"
            f" percentile of {latency.repeats} passes at the time of the export."
        ),
    ]


def _key_lines(keys: Mapping[str, Any], nothing: str) -> list[str]:
    if not keys:
        return [nothing]
    return [table_lines(pd.DataFrame([{"key": key, "value": _plain(value)} for key, value in keys.items()]))]


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)


def _describe_arch(model: Model) -> str:
    """Return the network as YAML; checked values of block strings and numbers, so no fence can be in it."""
    return yaml.safe_dump(model.arch.to_dict(), sort_keys=False).strip()
