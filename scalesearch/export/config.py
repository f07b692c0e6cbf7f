"""What an export is told: which network, in which form, where to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scalesearch.detection.boxes.decoding import DecodingConfig
from scalesearch.errors import ConfigError
from scalesearch.nn.layers import PADDINGS
from scalesearch.study.folder import StudyFolder
from scalesearch.study.settings import check_at_least, check_choice

SUFFIXES = {"safetensors": ".safetensors", "onnx": ".onnx", "program": ".pt2", "timm": ".safetensors"}
"""Of the file, by form."""


_NOT_GIVEN = (None, None, "symmetric", 1e-5)


@dataclass(kw_only=True, slots=True)
class ExportConfig:
    """The keys of ``scalesearch export``.

    Attributes:
        study: Name of the study whose best trained network is taken.
        results: Folder that holds studies.
        member: Of the study's networks this one: a file of its checkpoints by name, a family's member as ``phi=1``.
        trial: Of the study's networks the one of this trial of its search.
        arch: In place of a study: a published name, a .yaml or .json file, or block strings joined by commas.
        weights: In place of a study: a file of weights; where it says itself what it is of, without ``arch``. An
            ``arch`` without weights has fresh ones, untrained.
        num_classes: Of ``arch``: outputs of the classifier; as many as the weights have, or 1000.
        image_size: Of ``arch``: pixels a side; its own where not given.
        padding: Of ``arch``: ``symmetric`` (PyTorch), or ``same`` for weights converted from TensorFlow.
        bn_eps: Of ``arch``: BatchNorm's epsilon; 1e-3 for weights converted from TensorFlow.
        seed: Of fresh weights.
        to: The form: ``safetensors`` (for scalesearch.load), ``onnx``, ``program`` (of torch.export) or ``timm``.
        out: The file to write; its card is the ``README.md`` beside it.
        nms: Of a detector as ``onnx`` or ``program``: whether it gives its best boxes alone, of one image a pass.
        least_score: With ``nms``: below, a detection is not given.
        nms_iou: Overlap from which the worse of two detections of a class is dropped.
        max_detections: Of an image.
    """

    study: str | None = None
    results: str = "results"
    member: str | None = None
    trial: int | None = None
    arch: str | None = None
    weights: str | None = None
    num_classes: int | None = None
    image_size: int | None = None
    padding: str = "symmetric"
    bn_eps: float = 1e-5
    seed: int = 0
    to: str = "onnx"
    out: str = ""
    nms: bool = False
    least_score: float = 0.3
    nms_iou: float = 0.5
    max_detections: int = 100

    def __post_init__(self) -> None:
        check_choice("to", self.to, tuple(SUFFIXES))
        check_choice("padding", self.padding, PADDINGS)
        for name in ("least_score", "nms_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        check_at_least("max_detections", self.max_detections, 1)
        for name in ("num_classes", "image_size", "trial", "seed"):
            value = getattr(self, name)
            if value is not None:
                check_at_least(name, value, 1 if name in ("num_classes", "image_size") else 0)
        if self.study is not None and (self.arch is not None or self.weights is not None):
            raise ConfigError("study names a network of its own: give it without arch= and weights=")
        if self.arch is None and (self.num_classes, self.image_size, self.padding, self.bn_eps) != _NOT_GIVEN:
            raise ConfigError("num_classes, image_size, padding and bn_eps are of arch=: a file says its own")
        if self.study is None and (self.member is not None or self.trial is not None):
            raise ConfigError("member and trial choose among a study's networks: give study= too")
        if self.member is not None and self.trial is not None:
            raise ConfigError(f"member or trial, not both, chooses a network, got {self.member!r} and {self.trial}")

    def check_complete(self) -> None:
        """Refuse a configuration that names no network or no file; not at construction, for the help shows defaults.

        Raises:
            ConfigError: It does, or the file's suffix is another form's.
        """
        if self.study is None and self.arch is None and self.weights is None:
            raise ConfigError("a network is named by study=, arch= or weights=, got none of them")
        suffix = SUFFIXES[self.to]
        if self.file.suffix != suffix:
            raise ConfigError(f"out must be a file's name that ends in {suffix} with to={self.to}, got {self.out!r}")
        if self.nms and self.to not in ("onnx", "program"):
            raise ConfigError(f"nms must be false with to={self.to}: only onnx and program are graphs, got true")

    @property
    def decoding(self) -> DecodingConfig:
        """What counts as one of the best boxes."""
        return DecodingConfig(least_score=self.least_score, nms_iou=self.nms_iou, max_detections=self.max_detections)

    @property
    def folder(self) -> StudyFolder:
        """Where the study is kept."""
        assert self.study is not None
        return StudyFolder.of(self.results, self.study)

    @property
    def file(self) -> Path:
        """The file to write."""
        return Path(self.out)

    @property
    def card(self) -> Path:
        """The card beside it."""
        return self.file.with_name("README.md")
