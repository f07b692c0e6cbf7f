"""What a candidate is worth."""

from scalesearch.measure.scores.brief import brief_score
from scalesearch.measure.scores.config import ScoreConfig, SupernetConfig
from scalesearch.measure.scores.job import Job, Score, Sibling
from scalesearch.measure.scores.scoring import score_job

__all__ = ["Job", "Score", "ScoreConfig", "Sibling", "SupernetConfig", "brief_score", "score_job"]
