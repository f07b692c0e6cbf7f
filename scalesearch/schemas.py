"""The keys of every verb: those of the rooms below, and of the verbs that only read."""

from __future__ import annotations

from dataclasses import dataclass

from scalesearch.detection.predicting import PredictConfig
from scalesearch.detection.studies import DetectConfig, DetectScaleConfig
from scalesearch.measure.latency_table import LatencyTableConfig
from scalesearch.retraining import RetrainConfig
from scalesearch.scaling import FamilyConfig, ScaleConfig
from scalesearch.search import SearchConfig
from scalesearch.search.fidelity import FidelityConfig
from scalesearch.study.folder import StudyFolder
from scalesearch.study.settings import check_at_least, check_device


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
class ReportConfig:
    """The keys of ``scalesearch report``.

    Attributes:
        study: Name of the study.
        results: Folder that holds studies.
        storage: URL of the study's storage, where it is not its own SQLite file.
        baseline: Another study whose search is drawn beside this one's.
    """

    study: str = "study"
    results: str = "results"
    storage: str | None = None
    baseline: str | None = None

    @property
    def folder(self) -> StudyFolder:
        """Where the study is kept."""
        return StudyFolder.of(self.results, self.study)


@dataclass(kw_only=True, slots=True)
class DoctorConfig:
    """The keys of ``scalesearch doctor``.

    Attributes:
        study: Name of the study.
        results: Folder that holds studies.
        storage: URL of the study's storage, where it is not its own SQLite file.
        mend: Whether what can be mended is, in place of only told.
    """

    study: str = "study"
    results: str = "results"
    storage: str | None = None
    mend: bool = False

    @property
    def folder(self) -> StudyFolder:
        """Where the study is kept."""
        return StudyFolder.of(self.results, self.study)


SCHEMAS: dict[str, type] = {
    "search": SearchConfig,
    "scale": ScaleConfig,
    "family": FamilyConfig,
    "train": RetrainConfig,
    "report": ReportConfig,
    "profile": ProfileConfig,
    "latency-table": LatencyTableConfig,
    "fidelity": FidelityConfig,
    "scaling-curves": FamilyConfig,
    "detect": DetectConfig,
    "detect-scale": DetectScaleConfig,
    "predict": PredictConfig,
    "doctor": DoctorConfig,
}
