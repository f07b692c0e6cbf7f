"""Detectors on any backbone: specification, neck, cost, compound scaling, the network."""

from scalesearch.detection.arch.cost import DetectorCost, detector_cost
from scalesearch.detection.arch.fusion import FusionGraph, fusion_graph
from scalesearch.detection.arch.published import published_detector
from scalesearch.detection.arch.scaling import scale_detector
from scalesearch.detection.arch.spec import DetectorSpec
from scalesearch.detection.nn.detector import Detector, build_detector

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
