"""Which parameters of a search decide the score: PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255) or fANOVA.

fANOVA (Hutter et al. 2014) shares out the variance of a forest over all trials. Its time grows with trials times
parameters, so that beyond ``MOST_FANOVA`` trials PED-ANOVA takes its place, which says what parts the best tenth from
the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.trial import FrozenTrial, create_trial

from scalesearch.report.page.payload import Importance, number
from scalesearch.study.store import state_of

LEAST_TRIALS, MOST_FANOVA = 10, 200


def measure_importance(trials: Sequence[FrozenTrial]) -> Importance | None:
    """Return how much each parameter decides ``val_top1`` (``val_ap`` of detectors) among trained trials.

    None where nothing was searched. Trials over budget are left out, since the values they were told are made up, and
    duplicates, which would count a network twice.
    """
    trained = [trial for trial in trials if state_of(trial) == "COMPLETE" and _score(trial) is not None]
    if not any(trial.params for trial in trials):
        return None
    if len(trained) < LEAST_TRIALS:
        return Importance(
            sentence=f"Importance needs at least {LEAST_TRIALS} trained networks; there are {len(trained)}.", shares=[]
        )
    if len({_score(trial) for trial in trained}) == 1:
        return Importance(sentence="Every network has the same score: no parameter decides it.", shares=[])
    evaluator, name = _evaluator(len(trained))
    shares = _shares(trained, evaluator)
    return Importance(sentence=f"{name} over {len(trained)} trained networks; the shares sum to 1.", shares=shares)


def _evaluator(num_trials: int) -> tuple[BaseImportanceEvaluator, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if num_trials <= MOST_FANOVA:
            return FanovaImportanceEvaluator(seed=0), "fANOVA"
        return PedAnovaImportanceEvaluator(), "PED-ANOVA"


def _shares(trained: Sequence[FrozenTrial], evaluator: BaseImportanceEvaluator) -> list[tuple[str, float]]:
    """Return the shares, largest first; the score is negated, for PED-ANOVA takes the lowest for the best."""
    study = optuna.create_study(direction="minimize")
    study.add_trials(
        create_trial(params=trial.params, distributions=trial.distributions, value=-(_score(trial) or 0.0))
        for trial in trained
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_param_importances(study, evaluator=evaluator)
    return [(name, float(share)) for name, share in sorted(found.items(), key=lambda item: -item[1])]


def _score(trial: FrozenTrial) -> float | None:
    measured = trial.user_attrs.get("score", {})
    return number(measured.get("val_top1", measured.get("val_ap")))
