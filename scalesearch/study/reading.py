"""All trials of a study at once, for opening one that has many.

Optuna makes an object of every row and reads each parameter's distribution twice from its text: of ten thousand trials
with 28 parameters these are 400,000 objects and 560,000 texts. Here rows stay rows, and equal texts are read once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Engine, Select, select

_ROWS = 10_000
"""Of a table held at a time."""


def read_all_trials(engine: Engine, study_id: int) -> list[FrozenTrial]:
    """Return every trial of a study in the order in which they were begun, equal to those that Optuna reads."""
    table = models.TrialModel
    began, ended = table._datetime_start_utc, table._datetime_complete_utc
    with engine.connect() as connection:
        query = select(table.trial_id, table.number, table.state, began, ended).where(table.study_id == study_id)
        trials = {
            trial_id: FrozenTrial(
                number=number,
                state=state,
                value=None,
                values=None,
                datetime_start=_local(start),
                datetime_complete=_local(end),
                params={},
                distributions={},
                user_attrs={},
                system_attrs={},
                intermediate_values={},
                trial_id=trial_id,
            )
            for trial_id, number, state, start, end in connection.execute(query.order_by(table.trial_id))
        }
        _fill(trials, connection, study_id)
    return list(trials.values())


def _fill(trials: dict[int, FrozenTrial], connection: Connection, study_id: int) -> None:
    """Read all that hangs on trials into them."""
    distribution_of: Callable[[str], BaseDistribution] = cache(json_to_distribution)

    def rows(table: Any, *columns: str) -> Any:  # noqa: ANN401 (Optuna's classes have no types of columns)
        query: Select[Any] = select(table.trial_id, *(getattr(table, column) for column in columns))
        query = query.join(models.TrialModel, models.TrialModel.trial_id == table.trial_id)
        query = query.where(models.TrialModel.study_id == study_id).order_by(table.__table__.primary_key.columns[0])
        found = connection.execution_options(yield_per=_ROWS).execute(query)
        return (row for row in found if row[0] in trials)  # others may have begun meanwhile

    for trial_id, name, value, text in rows(models.TrialParamModel, "param_name", "param_value", "distribution_json"):
        distribution = distribution_of(text)
        trials[trial_id]._distributions[name] = distribution
        trials[trial_id]._params[name] = distribution.to_external_repr(value)
    for trial_id, key, text in rows(models.TrialUserAttributeModel, "key", "value_json"):
        trials[trial_id]._user_attrs[key] = json.loads(text)
    for trial_id, key, text in rows(models.TrialSystemAttributeModel, "key", "value_json"):
        trials[trial_id]._system_attrs[key] = json.loads(text)
    values: dict[int, dict[int, float]] = {}
    for trial_id, objective, value, kind in rows(models.TrialValueModel, "objective", "value", "value_type"):
        values.setdefault(trial_id, {})[objective] = models.TrialValueModel.stored_repr_to_value(value, kind)
    for trial_id, by_objective in values.items():
        trials[trial_id].values = [by_objective[objective] for objective in sorted(by_objective)]
    readings = models.TrialIntermediateValueModel
    for trial_id, step, value, kind in rows(readings, "step", "intermediate_value", "intermediate_value_type"):
        trials[trial_id].intermediate_values[step] = readings.stored_repr_to_intermediate_value(value, kind)


def _local(moment: datetime | None) -> datetime | None:
    """Return Optuna's naive UTC as its naive local time."""
    return None if moment is None else moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
