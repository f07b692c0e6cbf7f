"""What a driver reads again of its own trials, and what it would save to read only what has changed.

Optuna's cache holds finished trials. Running ones it reads from the database again at every look at the trials, of
which a proposal takes several: at 512 workers some 512 trials of 28 parameters each time. A driver that is alone with
its database knows what it has written since, and needs to read no more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo

STORAGES = ("running", "changed")

_WRITES = (
    "set_trial_param",
    "set_trial_state_values",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
)


class OnlyWriterCache(_CachedStorage):
    """Optuna's cache of a database that nobody else writes to: a trial is read anew when it was written to, then alone.

    Trials of the other states than running were never read twice.
    """

    def __init__(self, backend: RDBStorage) -> None:
        super().__init__(backend)
        self._newest: dict[int, int] = {}
        self._written: set[int] = set()

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        with self._lock:
            study = self._studies.setdefault(study_id, _StudyInfo())
            newest = self._newest.get(study_id, -1)
            found = self._backend._get_trials(study_id, None, self._written, newest)
            self._add_trials_to_cache(study_id, found)
            ended = {trial._trial_id for trial in found if trial.state.is_finished()}
            study.unfinished_trial_ids = study.unfinished_trial_ids - ended
            self._written.difference_update(trial._trial_id for trial in found)
            self._newest[study_id] = max([newest, *(trial._trial_id for trial in found)])


def _noting(name: str) -> Callable[..., Any]:
    inherited = getattr(_CachedStorage, name)

    def write(self: OnlyWriterCache, trial_id: int, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        self._written.add(trial_id)
        return inherited(self, trial_id, *arguments, **named)

    return write


for _name in _WRITES:
    setattr(OnlyWriterCache, _name, _noting(_name))


@contextmanager
def storages_opened_as(rereads: str) -> Iterator[None]:
    """Let studies read again ``running`` trials, as Optuna does, or the ``changed`` ones alone."""
    if rereads == "running":
        yield
        return
    with patch("optuna.storages._CachedStorage", OnlyWriterCache):
        yield
