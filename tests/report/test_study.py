"""A study as a value: from a real search, from a committed one without its database, and what is refused."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from scalesearch import Budget, DataConfig, SearchConfig, Study, TrainConfig, run_search
from scalesearch.errors import StudyError

REPO = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a study of three networks."""
    results = tmp_path_factory.mktemp("results")
    data = DataConfig(patches_per_class=4, eval_patches_per_class=4, stored_size=32)
    config = SearchConfig(
        study="mine", results=str(results), data=data, train=TrainConfig(steps=2), workers=1, trials=3,
        budget=Budget(macs=3e6), sampler="random", device="cpu",
    )  # fmt: skip
    run_search(config)
    return results


def test_a_study_gives_its_trials_frontier_and_networks(results: Path) -> None:
    study = Study("mine", results)
    assert (study.trials.state == "COMPLETE").sum() == 3
    info = study.frontier()
    assert len(info.points) == 3
    assert info.budget == 3e6
    assert study.best.score == max(point.score for point in info.points)
    assert study.arch(study.best.arch_id).arch_id == study.best.arch_id
    assert study.arch() == study.arch(study.arch().arch_id)
    assert study.config["search"]["trials"] == 3
    assert study.frontier("latency_ms").cost_name == "latency_ms"


def test_a_notebook_shows_its_frontier_as_a_picture_without_scripts(results: Path) -> None:
    shown = Study("mine", results)._repr_html_()
    picture, line = shown[: shown.index("</svg>") + 6], shown[shown.index("</svg>") + 6 :]
    root = ET.fromstring(picture)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    ids = {element.get("id") for element in root.iter()}
    assert {"front-search", "budget"} <= ids
    assert "<script" not in shown
    assert line.strip().startswith("<p><b>mine</b> search: ")
    assert "3 complete" in line
    assert shown == Study("mine", results)._repr_html_()


def test_a_committed_study_without_its_database_is_read_from_its_table() -> None:
    study = Study("cifar10-small", REPO / "results")
    assert not study.folder.database.exists()
    assert {"search", "scale", "family"} <= set(study.trials.part)
    assert study.frontier().best("family").score > 0.5
    assert study.arch() == study.arch(study.arch().arch_id)
    with pytest.raises(StudyError, match="without its database only its base is known, got 'nope'"):
        study.arch("nope")


def test_a_name_of_the_record_is_text(results: Path, tmp_path: Path) -> None:
    trials = Study("mine", results).trials
    folder = tmp_path / "foreign"
    folder.mkdir()
    trials.assign(part="<script>x</script>").to_csv(folder / "trials.csv", index=False)
    shown = Study("foreign", tmp_path)._repr_html_()
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown


@pytest.mark.parametrize("name", ["nowhere", "a/b", "<b>"])
def test_a_study_that_is_not_there_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"there is no such study|study must be letters"):
        Study(name, tmp_path)


def test_a_network_that_the_study_does_not_have_is_refused(results: Path) -> None:
    with pytest.raises(StudyError, match="study mine has no network 'nope'"):
        Study("mine", results).arch("nope")


def test_a_study_cannot_be_changed(results: Path) -> None:
    with pytest.raises(AttributeError):
        Study("mine", results).name = "other"  # type: ignore[misc]
