"""What a driver reads again of its trials, only what has changed, and what it keeps of them: equal parts once.

Optuna's cache holds finished trials; running ones it reads from the database again at every look at the trials, of
which a proposal takes several. With 512 candidates running that was 4.7 of the 5.0 s that a trial cost the driver
(docs/scale.md). A driver knows what it has written itself, and it is told when to look what others have.

A trial with 28 parameters took 26 KB, for its distributions are written again for each and it was kept twice, as the
cache read it and as the driver did at its end. Both are now one object, whose names, texts and distributions are those
of the other trials: 3 to 4 KB.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo
from optuna.trial import FrozenTrial


class TrialCache(_CachedStorage):
    """Optuna's cache, which reads a running trial anew when this process wrote to it, or after ``expire``.

    Trials that others begin are seen at every look.

    Args:
        backend: The database.
    """

    def __init__(self, backend: RDBStorage) -> None:
        super().__init__(backend)
        self._newest: dict[int, int] = {}
        self._changed: set[int] = set()
        self._spaces: dict[tuple[tuple[str, BaseDistribution], ...], dict[str, BaseDistribution]] = {}

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial as the database has it, one that has ended always as the same object."""
        trial = super().get_trial(trial_id)
        with self._lock:
            place = self._trial_id_to_study_id_and_number.get(trial_id)
            if place is None or not trial.state.is_finished():
                return trial
            study_id, number = place
            self._add_trials_to_cache(study_id, [trial])
            self._studies[study_id].unfinished_trial_ids.discard(trial_id)
            self._changed.discard(trial_id)
            return self._studies[study_id].trials[number]

    def expire(self) -> None:
        """Read every running trial anew at the next look: other drivers may have written to them."""
        with self._lock:
            for study in self._studies.values():
                self._changed |= study.unfinished_trial_ids

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        with self._lock:
            study = self._studies.setdefault(study_id, _StudyInfo())
            newest = self._newest.get(study_id, -1)
            found = self._backend._get_trials(study_id, None, self._changed, newest)
            self._add_trials_to_cache(study_id, found)
            for trial in found:
                if trial.state.is_finished():
                    study.unfinished_trial_ids.discard(trial._trial_id)
                else:
                    study.unfinished_trial_ids.add(trial._trial_id)
            self._changed.difference_update(trial._trial_id for trial in found)
            self._newest[study_id] = max([newest, *(trial._trial_id for trial in found)])

    def _add_trials_to_cache(self, study_id: int, trials: Sequence[FrozenTrial]) -> None:
        """Keep trials; one that was kept when it had ended cannot have changed."""
        known = self._studies[study_id].trials
        news = [trial for trial in trials if trial.number not in known or not known[trial.number].state.is_finished()]
        for trial in news:
            if trial.state.is_finished():
                self._share(trial)
        super()._add_trials_to_cache(study_id, news)

    def _share(self, trial: FrozenTrial) -> None:
        """Put what other trials have too in the place of the trial's own copies of it."""
        space = tuple(trial.distributions.items())
        trial.distributions = self._spaces.setdefault(space, trial.distributions)
        trial.params = _interned(trial.params)
        trial._user_attrs = _interned(trial._user_attrs)


def _interned(value: Any) -> Any:  # noqa: ANN401 (as json gives it)
    """Return a value whose texts are those of the interpreter's table, and whose tables have no room to spare."""
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):
        return {sys.intern(name): _interned(inner) for name, inner in value.items()}
    return [_interned(inner) for inner in value] if isinstance(value, list) else value


def _noting(name: str) -> Callable[..., Any]:
    write = getattr(_CachedStorage, name)

    def write_and_note(self: TrialCache, trial_id: int, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        result = write(self, trial_id, *arguments, **named)
        self._changed.add(trial_id)
        return result

    return write_and_note


for _name in (
    "set_trial_param",
    "set_trial_state_values",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
):
    setattr(TrialCache, _name, _noting(_name))
