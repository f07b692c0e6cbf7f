"""What a driver reads again of its own trials, and what it would save to read only what has changed.

Optuna's cache holds finished trials. Running ones it reads from the database again at every look at the trials, of
which a proposal takes several: at 512 workers some 512 trials of 28 parameters each time. A driver that is alone with
its database knows what it has written since, and needs to read no more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

STORAGES = ("running", "changed")

_WRITES = (
    "set_trial_param",
    "set_trial_state_values",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
)


class OnlyWriterStorage(RDBStorage):
    """A database that nobody else writes to while it is open: a trial is read once, and again when it was written to.

    It answers Optuna's cache, which asks for every running trial and keeps what it had of those that are left out.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._newest: dict[int, int] = {}
        self._written: set[int] = set()

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        if states is not None:  # not the cache's question
            return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        newest = self._newest.get(study_id, -1)
        changed = {trial_id for trial_id in self._written if trial_id <= newest}
        found = super()._get_trials(study_id, None, changed, max(newest, -1))
        self._written.difference_update(trial._trial_id for trial in found)
        self._newest[study_id] = max([newest, *(trial._trial_id for trial in found)])
        return found


def _noting(name: str) -> Callable[..., Any]:
    inherited = getattr(RDBStorage, name)

    def write(self: OnlyWriterStorage, trial_id: int, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        self._written.add(trial_id)
        return inherited(self, trial_id, *arguments, **named)

    return write


for _name in _WRITES:
    setattr(OnlyWriterStorage, _name, _noting(_name))


@contextmanager
def storages_opened_as(rereads: str) -> Iterator[None]:
    """Let studies read again ``running`` trials, as Optuna does, or the ``changed`` ones alone."""
    if rereads == "running":
        yield
        return
    with patch("scalesearch.study.storage.RDBStorage", OnlyWriterStorage):
        yield
