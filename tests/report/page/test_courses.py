"""The page draws what full trainings read on their way."""

from __future__ import annotations

from pathlib import Path

from scalesearch.report.page.courses import add_courses
from scalesearch.report.page.payload import Network, Run
from scalesearch.study.folder import StudyFolder


def network(part: str) -> Network:
    run = Run(number=0, seed=1, score=0.5, train_seconds=1.0, steps=40, readings=[])
    return Network(
        id=part, part=part, arch_id="abc", label="", state="COMPLETE", reason="", costs={}, scores={}, runs=[run]
    )


def test_each_training_has_the_readings_of_its_way_and_seed(tmp_path: Path) -> None:
    folder = StudyFolder.of(str(tmp_path), "mine")
    folder.root.mkdir()
    rows = ["label,arch_id,seed,step,val_top1", "scratch,abc,1,20,0.2", "scratch,abc,1,40,0.5", "scratch,abc,2,20,0.3"]
    folder.table("train-history").write_text("\n".join([*rows, "finetuned,abc,1,20,0.7", "finetuned,abc,1,30,"]))
    networks = [network("train scratch"), network("train finetuned"), network("search")]
    add_courses(networks, folder)
    assert [one["runs"][0]["readings"] for one in networks] == [[(20, 0.2), (40, 0.5)], [(20, 0.7)], []]


def test_a_study_without_full_trainings_stays_as_it_is(tmp_path: Path) -> None:
    networks = [network("search")]
    add_courses(networks, StudyFolder.of(str(tmp_path), "mine"))
    assert networks == [network("search")]
