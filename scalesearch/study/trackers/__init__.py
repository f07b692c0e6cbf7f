"""Trackers of experiments beside the record: one protocol, and a file for each; off unless one is asked for."""

from scalesearch.study.trackers.config import TRACKERS, TrackerConfig
from scalesearch.study.trackers.facts import TrackedTrial, Tracker
from scalesearch.study.trackers.tracking import TrackedPart, Tracking

__all__ = ["TRACKERS", "TrackedPart", "TrackedTrial", "Tracker", "TrackerConfig", "Tracking"]
