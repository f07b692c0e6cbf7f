"""The keys of every verb: those of the rooms below, and of the verbs that only read."""

from __future__ import annotations

from dataclasses import dataclass, field

from scalesearch.data import DataConfig
from scalesearch.detection.predicting import PredictConfig
from scalesearch.detection.studies import DetectConfig, DetectScaleConfig
from scalesearch.errors import ConfigError
from scalesearch.export.config import ExportConfig
from scalesearch.measure.latency_table import LatencyTableConfig
from scalesearch.report.plot import FORMATS
from scalesearch.retraining import RetrainConfig
from scalesearch.scaling import FamilyConfig, ScaleConfig
from scalesearch.search import SearchConfig
from scalesearch.search.fidelity import FidelityConfig
from scalesearch.search.planning import PlanConfig
from scalesearch.study.folder import StudyFolder
from scalesearch.study.settings import check_at_least, check_choice, check_device


@dataclass(kw_only=True, slots=True)
class ProfileConfig:
    """The keys of ``scalesearch profile``.

    Attributes:
        arch: A published name, a .yaml or .json file, or block strings joined by commas.
        image_size: Pixels a side; the architecture's own where it is not given.
        num_classes: Outputs of the classifier.
        batch_size: Images of a timed pass.
        threads: Processor threads of a timed pass.
        device: ``cpu`` or ``cuda``.
    """

    arch: str = "efficientnet-b0"
    image_size: int | None = None
    num_classes: int = 1000
    batch_size: int = 1
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.image_size is not None:
            check_at_least("image_size", self.image_size, 1)
        check_device(self.device)


@dataclass(kw_only=True, slots=True)
class BegunStudyConfig:
    """The keys of every verb that looks at a study that has begun.

    Attributes:
        study: Name of the study.
        results: Folder that holds studies.
        storage: URL of the study's storage, where it is not its own SQLite file.
    """

    study: str = "study"
    results: str = "results"
    storage: str | None = None

    @property
    def folder(self) -> StudyFolder:
        """Where the study is kept."""
        return StudyFolder.of(self.results, self.study)


@dataclass(kw_only=True, slots=True)
class ReportConfig(BegunStudyConfig):
    """The keys of ``scalesearch report``.

    Attributes:
        compare: Another study of the same results folder, shown beside this one.
        formats: Of the pictures, joined by commas: png (which is always written, for README.md shows it), svg, pdf.
    """

    compare: str | None = None
    formats: str = "png,svg"

    def __post_init__(self) -> None:
        for name in self.formats.split(","):
            check_choice("formats", name, FORMATS)


@dataclass(kw_only=True, slots=True)
class WatchConfig(BegunStudyConfig):
    """The keys of ``scalesearch watch``.

    Attributes:
        compare: Another study of the same results folder, shown beside this one.
        port: Of this machine alone, 127.0.0.1; 0 takes a free one.
    """

    compare: str | None = None
    port: int = 8765

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port must be in 0 .. 65535, got {self.port}")


@dataclass(kw_only=True, slots=True)
class DoctorConfig(BegunStudyConfig):
    """The keys of ``scalesearch doctor``.

    Attributes:
        mend: Whether what can be mended is, in place of only told.
    """

    mend: bool = False


@dataclass(kw_only=True, slots=True)
class DataCheckConfig:
    """The keys of ``scalesearch data-check``.

    Attributes:
        data: The images.
    """

    data: DataConfig = field(default_factory=DataConfig)


@dataclass(kw_only=True, slots=True)
class NewConfig:
    """The keys of ``scalesearch new``.

    Attributes:
        folder: Where to, made if it is missing; ``scalesearch new DIR`` says the same.
        data: The images it is for; their size is looked at.
    """

    folder: str = "study"
    data: DataConfig = field(default_factory=DataConfig)


SHELLS = ("bash", "zsh", "fish")


@dataclass(kw_only=True, slots=True)
class CompletionConfig:
    """The keys of ``scalesearch completion``.

    Attributes:
        shell: ``bash``, ``zsh`` or ``fish``; ``scalesearch completion bash`` says the same.
    """

    shell: str = "bash"

    def __post_init__(self) -> None:
        check_choice("shell", self.shell, SHELLS)


SCHEMAS: dict[str, type] = {
    "search": SearchConfig,
    "scale": ScaleConfig,
    "family": FamilyConfig,
    "train": RetrainConfig,
    "report": ReportConfig,
    "watch": WatchConfig,
    "profile": ProfileConfig,
    "latency-table": LatencyTableConfig,
    "fidelity": FidelityConfig,
    "scaling-curves": FamilyConfig,
    "detect": DetectConfig,
    "detect-scale": DetectScaleConfig,
    "predict": PredictConfig,
    "export": ExportConfig,
    "doctor": DoctorConfig,
    "data-check": DataCheckConfig,
    "plan": PlanConfig,
    "new": NewConfig,
    "completion": CompletionConfig,
}
