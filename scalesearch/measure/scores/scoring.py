"""Score a job by what it says it is scored by."""

from __future__ import annotations

from scalesearch.data import ImageData
from scalesearch.measure.scores.brief import Watcher, brief_score
from scalesearch.measure.scores.job import Job, Score
from scalesearch.measure.scores.proxies import proxy_score
from scalesearch.measure.scores.supernet import supernet_score


def score_job(job: Job, watcher: Watcher | None = None, data: ImageData | None = None) -> Score:
    """Return the score of one candidate by ``job.score.method``, on the job's data where none are given.

    Known results are looked up where the table is (``Table.score``): a job has none.

    Raises:
        DivergenceError: What was measured is not finite.
        ConfigError: A supernet's checkpoint cannot be used.
    """
    match job.score.method:
        case "brief":
            return brief_score(job, watcher, data)
        case "supernet":
            return supernet_score(job, watcher, data)
        case "proxy":
            return proxy_score(job, watcher, data)
    raise AssertionError(f"no process scores by {job.score.method}")
