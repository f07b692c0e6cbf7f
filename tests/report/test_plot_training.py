"""Pictures of full trainings: confusions of 2 to 100 classes with names nobody chose for us, and courses."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from scalesearch.errors import StudyError
from scalesearch.report.plot import save_figure
from scalesearch.report.plot_training import plot_confusion, plot_courses
from scalesearch.report.training import ConfusionInfo, confusion_info, courses_info


def confusion(names: list[str], right: int = 6, wrong: int = 2) -> ConfusionInfo:
    """Return counts in which each class is also taken for the next one."""
    rows = []
    for index in range(len(names)):
        rows.append({"class_index": index, "predicted_index": index, "images": right})
        rows.append({"class_index": index, "predicted_index": (index + 1) % len(names), "images": wrong})
    return confusion_info(pd.DataFrame(rows), pd.DataFrame({"class": names}))


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def test_shares_are_of_the_true_class() -> None:
    info = confusion(["a", "b", "c"])
    assert info.shares.tolist() == [[0.75, 0.25, 0], [0, 0.75, 0.25], [0.25, 0, 0.75]]
    assert (info.top1, info.num_images) == (0.75, (8, 8, 8))
    assert info.mistakes(1) == [("a", "b", 0.25)]


@pytest.mark.parametrize("count", [2, 20, 21, 100])
def test_names_stay_apart_from_each_other_and_on_the_sheet(count: int, tmp_path: Path) -> None:
    figure = plot_confusion(confusion([f"class {index} $x_{index}$ of many" for index in range(count)]))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    for labels in (axes.get_yticklabels(), axes.get_xticklabels()):
        boxes = [label.get_window_extent() for label in labels]
        assert len(boxes) == count
        sheet = figure.bbox
        assert all(sheet.x0 <= box.x0 and box.x1 <= sheet.x1 and sheet.y0 <= box.y0 for box in boxes)
        assert not any(one.overlaps(two) for one, two in itertools.pairwise(boxes))
    footnote = min(texts_at(figure), key=lambda text: text.get_window_extent().y0)
    lowest = min(label.get_window_extent().y0 for label in axes.get_xticklabels())
    assert footnote.get_window_extent().y1 < lowest
    assert ("75" in texts(figure)) is (count <= 20)
    png, svg = save_figure(figure, tmp_path / "confusion")
    assert png.stat().st_size > 0
    assert svg.stat().st_size < 3_000_000


def texts_at(figure: Figure) -> list[Text]:
    return [text for text in figure.texts if text.get_text()]


def history(labels: list[str]) -> pd.DataFrame:
    rows = [
        {
            "label": label,
            "arch_id": "abc",
            "seed": seed,
            "step": step,
            "loss": 1 / step,
            "val_top1": step / 10 + seed / 10,
        }
        for label in labels
        for seed in (0, 1)
        for step in (2, 4)
    ]
    return pd.DataFrame(rows)


def test_a_course_is_the_mean_over_seeds_with_each_seed_behind_it() -> None:
    summary = pd.DataFrame({"label": ["scratch", "finetuned"], "arch_id": ["abc", "abc"], "macs": [1, 1]})
    info = courses_info(history(["scratch", "finetuned"]), summary)
    assert [course.name for course in info.courses] == ["scratch", "finetuned"]
    assert np.allclose(info.courses[0].val_top1, [(2, 0.25), (4, 0.45)])
    assert [len(course.loss_of_seeds) for course in info.courses] == [2, 2]
    figure = plot_courses(info)
    gids = {line.get_gid() for axes in figure.axes for line in axes.get_lines()}
    assert {"loss-scratch", "top1-scratch", "loss-finetuned", "top1-finetuned"} <= gids
    assert "scratch: 2 seeds" in texts(figure)


def test_trainings_without_readings_are_refused() -> None:
    with pytest.raises(StudyError, match="left no readings"):
        courses_info(pd.DataFrame(), pd.DataFrame())
