"""Detectors on any backbone: specification, neck, cost, compound scaling, the network."""

from scalesearch.detection.cost import DetectorCost, detector_cost
from scalesearch.detection.detector import Detector, build_detector
from scalesearch.detection.fusion import FusionGraph, fusion_graph
from scalesearch.detection.published import published_detector
from scalesearch.detection.scaling import scale_detector
from scalesearch.detection.spec import DetectorSpec

__all__ = [
    "Detector",
    "DetectorCost",
    "DetectorSpec",
    "FusionGraph",
    "build_detector",
    "detector_cost",
    "fusion_graph",
    "published_detector",
    "scale_detector",
]
