"""Each way of training to the end is a series of its own."""

from __future__ import annotations

import optuna
import pandas as pd

from scalesearch.report.ways import by_way, split_ways


def test_trainings_are_named_by_their_way_and_other_parts_are_as_they_were() -> None:
    trials = pd.DataFrame({"part": ["search", "train", "train"], "label": ["", "scratch", "finetuned"]})
    assert by_way(trials).part.tolist() == ["search", "train scratch", "train finetuned"]


def test_the_trials_of_a_part_are_split_by_the_same_names() -> None:
    study = optuna.create_study()
    for label in ("scratch", "finetuned", "scratch"):
        trial = study.ask()
        trial.set_user_attr("label", label)
        study.tell(trial, 0.5)
    split = split_ways("train", study.trials)
    assert [(name, [trial.number for trial in trials]) for name, trials in split] == [
        ("train scratch", [0, 2]),
        ("train finetuned", [1]),
    ]
    assert split_ways("search", study.trials) == [("search", study.trials)]
