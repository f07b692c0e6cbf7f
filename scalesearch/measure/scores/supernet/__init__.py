"""The score by weight sharing: one network is trained for a whole space, candidates take their weights from it."""

from scalesearch.measure.scores.supernet.score import supernet_score
from scalesearch.measure.scores.supernet.training import train_supernet

__all__ = ["supernet_score", "train_supernet"]
