"""Studies of detectors: several trained side by side, and a search over necks, heads and image sizes."""

from scalesearch.detection.studies.comparing import DetectConfig, DetectResult, run_detect
from scalesearch.detection.studies.config import DetectorConfig
from scalesearch.detection.studies.job import DetectorJob, DetectorScore, PretrainedConfig, score_detector
from scalesearch.detection.studies.searching import DetectScaleConfig, DetectScaleResult, run_detect_scale

__all__ = [
    "DetectConfig",
    "DetectResult",
    "DetectScaleConfig",
    "DetectScaleResult",
    "DetectorConfig",
    "DetectorJob",
    "DetectorScore",
    "PretrainedConfig",
    "run_detect",
    "run_detect_scale",
    "score_detector",
]
