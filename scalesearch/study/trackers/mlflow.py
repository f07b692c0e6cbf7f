"""MLflow: a run for each trial, nested below one for the part, in one experiment.

Runs are known by a tag, so that a study that goes on finds its own again.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

# a server that is gone must not hold the study up for minutes; read when the package is imported or a request is made
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from scalesearch.study.trackers.facts import TrackedTrial

_KEY = "scalesearch.key"
_MOST_IN_A_BATCH = 100  # MLflow's limit for parameters; a thousand metrics would go
_LONGEST = 500  # characters of a parameter that every version and store takes
_FORBIDDEN = re.compile(r"[^\w./ -]")
_ENDED = {"COMPLETE": "FINISHED", "DUPLICATE": "FINISHED", "INFEASIBLE": "FINISHED", "PRUNED": "KILLED"}

T = TypeVar("T")


class MlflowTracker:
    """Writes runs.

    Args:
        uri: Of the tracking server or database.
        experiment: Its name.
        key: Of the part, ``STUDY/PART``.
    """

    def __init__(self, uri: str, experiment: str, key: str) -> None:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._client, self._key = MlflowClient(tracking_uri=uri), key
        found = self._client.get_experiment_by_name(experiment)
        self._experiment = found.experiment_id if found else self._client.create_experiment(experiment)
        self._parent = ""

    def begin(self, config: Mapping[str, str]) -> None:
        """Take up the part's run, or begin it with the keys as its parameters."""
        found = self._find(self._key)
        self._parent = found or self._begin(self._key, self._key.rpartition("/")[2], {})
        if not found:
            self._log_params(self._parent, config)

    def log(self, trial: TrackedTrial) -> None:
        """Write a trial's run, unless it is there."""
        key = f"{self._key}/{trial.number}"
        if self._find(key):
            return
        run = self._begin(key, f"trial {trial.number}", {"mlflow.parentRunId": self._parent, "state": trial.state})
        self._log_params(run, {name: str(value) for name, value in trial.params.items()})
        now = int(time.time() * 1000)
        metrics = [Metric(_allowed(name), number, now, 0) for name, number in trial.numbers.items()]
        for step, numbers in trial.course:
            metrics += [Metric(_allowed(f"course/{name}"), number, now, step) for name, number in numbers.items()]
        for batch in _batches(metrics):
            self._client.log_batch(run, metrics=batch)
        self._client.log_batch(run, tags=[RunTag(name, text) for name, text in trial.texts.items()])
        # last: it is found from here on
        self._client.set_tag(run, _KEY, key)
        self._client.set_terminated(run, _ENDED.get(trial.state, "FAILED"))

    def close(self) -> None:
        """End the part's run; it may be taken up again."""
        if self._parent:
            self._client.set_terminated(self._parent)

    def _find(self, key: str) -> str:
        quoted = key.replace("'", "")
        found = self._client.search_runs([self._experiment], f"tags.`{_KEY}` = '{quoted}'", max_results=1)
        return str(found[0].info.run_id) if found else ""

    def _begin(self, key: str, name: str, tags: Mapping[str, str]) -> str:
        own = {} if tags else {_KEY: key}
        return str(self._client.create_run(self._experiment, tags={**own, **tags}, run_name=name).info.run_id)

    def _log_params(self, run: str, values: Mapping[str, str]) -> None:
        params = [Param(_allowed(name), value[:_LONGEST]) for name, value in values.items()]
        for batch in _batches(params):
            self._client.log_batch(run, params=batch)


def _allowed(name: str) -> str:
    """Return a name with nothing MLflow refuses."""
    return _FORBIDDEN.sub("_", name)


def _batches(items: Iterable[T]) -> Iterator[Sequence[T]]:
    rest = iter(items)
    while batch := list(islice(rest, _MOST_IN_A_BATCH)):
        yield batch
