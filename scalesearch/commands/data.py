"""Verbs that look at data before they are used."""

from __future__ import annotations

from scalesearch.console import new_table, say, wide_console
from scalesearch.data.checking import DataCheckInfo, SplitInfo, check_data
from scalesearch.data.findings import list_findings
from scalesearch.errors import printable
from scalesearch.schemas import DataCheckConfig
from scalesearch.study.progress import StepsDisplay

_MOST_ROWS = 30  # classes of a table; of more, the smallest and the largest are shown


def data_check(config: DataCheckConfig) -> int:
    """Look a data set over: classes, sizes, broken files, pictures that are there twice; exit code 1 if it is wrong."""
    with StepsDisplay() as display:
        info = check_data(config.data, on_picture=display)
    _print_splits(info)
    _print_classes(info)
    findings = list_findings(info, config.data)
    for finding in findings:
        say(f"{'wrong' if finding.is_wrong else 'note'}: {printable(finding.what)}")
        say(f"       {finding.advice}")
    if not findings:
        say("Nothing is wrong.")
    return int(any(finding.is_wrong for finding in findings))


def _print_splits(info: DataCheckInfo) -> None:
    columns = ("pictures", "broken", "width px", "height px", "shorter side px", "width / height", "kinds")
    table = new_table(f"{len(info.class_names)} classes", "split", *columns)
    for split in info.splits:
        name = f"{split.name} (held out of train)" if split.is_held_out else split.name
        sizes = [_spread(split, name) for name in ("widths", "heights", "shorter_sides")]
        aspects = f"{split.aspects.least:.2f} {split.aspects.median:.2f} {split.aspects.most:.2f}"
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in split.kinds.items())
        table.add_row(name, f"{split.num_images:,}", f"{len(split.broken):,}", *sizes, aspects, kinds)
    wide_console().print(table)
    say("Of sizes: the least, the median, the greatest.")


def _spread(split: SplitInfo, name: str) -> str:
    spread = getattr(split, name)
    return f"{spread.least:.0f} {spread.median:.0f} {spread.most:.0f}"


def _print_classes(info: DataCheckInfo) -> None:
    order = sorted(range(len(info.class_names)), key=lambda place: info.splits[0].counts[place])
    shown = order if len(order) <= _MOST_ROWS else [*order[: _MOST_ROWS // 2], *order[-_MOST_ROWS // 2 :]]
    title = "Pictures of each class" + (
        "" if shown is order else f", the {_MOST_ROWS // 2} smallest and largest of {len(order)}"
    )
    table = new_table(title, "class", *(split.name for split in info.splits))
    for place in shown:
        table.add_row(printable(info.class_names[place]), *(f"{split.counts[place]:,}" for split in info.splits))
    wide_console().print(table)
