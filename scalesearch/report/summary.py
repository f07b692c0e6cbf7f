"""The summary of a study in Markdown: what was run, on what, for how long, and what came out."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from scalesearch.arch import ArchSpec
from scalesearch.report.detector_sections import detector_sections
from scalesearch.report.info import FrontierInfo, ScalingInfo
from scalesearch.report.markdown import plain_text, table_lines
from scalesearch.report.scaling_sections import candidate_section, curves_section, family_section
from scalesearch.report.training_sections import training_sections
from scalesearch.study.folder import StudyFolder
from scalesearch.study.sessions import load_sessions
from scalesearch.study.store import Record


def write_summary(
    folder: StudyFolder, records: Sequence[Record], frontier: FrontierInfo | None, scaling: ScalingInfo | None
) -> str:
    """Return the summary as Markdown; its numbers come from the record and the study's tables, its notes from a person.

    ``notes.md`` in the study's folder, where there is one, goes under the title.
    """
    sections = [
        f"# Study {folder.name}",
        *([folder.notes.read_text(encoding="utf-8").strip()] if folder.notes.exists() else []),
        *(["![Accuracy against macs and against latency](frontier.png)"] if frontier else []),
        *_base_section(folder),
        "## What was run",
        table_lines(pd.DataFrame([_session_row(record) for record in records]), code="command"),
        *_machine_lines(records),
    ]
    if frontier is not None:
        sections += [
            "## The frontier",
            table_lines(pd.DataFrame(_series_rows(frontier))),
            _reference_sentence(frontier),
        ]
    if scaling is not None:
        sections += candidate_section(folder, scaling)
    sections += [*curves_section(folder), *family_section(folder), *training_sections(folder)]
    sections += detector_sections(folder)
    return "\n\n".join(sections) + "\n"


def _base_section(folder: StudyFolder) -> list[str]:
    if not folder.base.exists():
        return []
    arch = ArchSpec.load(folder.base)
    facts = f"stem {arch.stem_channels}, head {arch.head_channels}, {arch.image_size} px, arch_id {arch.arch_id}"
    blocks = "\n".join(stage.to_block() for stage in arch.stages)
    return ["## The base network", f"{facts}:", f"```\n{blocks}\n```"]


_STATES = ("COMPLETE", "PRUNED", "INFEASIBLE", "DUPLICATE", "FAILED")


def _session_row(record: Record) -> dict[str, object]:
    counts = record.frame().state.value_counts()
    sessions = load_sessions(record.study)
    seconds = [session["seconds"] for session in sessions if "seconds" in session]
    return {
        "part": record.part,
        **{state.lower(): int(counts.get(state, 0)) for state in _STATES},
        "sessions": len(sessions),
        "wall time, min": round(sum(seconds) / 60, 1),
        "command": sessions[-1]["command"] if sessions else "",
    }


def _machine_lines(records: Sequence[Record]) -> list[str]:
    """Return one line for each different machine or set of versions."""
    lines = []
    for record in records:
        for facts in load_sessions(record.study):
            versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
            accelerator = f", {facts['accelerator']}" if facts["accelerator"] != "none" else ""
            lines.append(plain_text(f"Run on {facts['cores']} cores of {facts['processor']}{accelerator}; {versions}."))
    return list(dict.fromkeys(lines))


def _series_rows(info: FrontierInfo) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for series in (each for each in info.series if each.num_networks):
        best = info.best(series.name)
        rows.append(
            {
                "series": series.name,
                "networks": series.num_networks,
                "on the front": len(info.front(series.name)),
                "best top-1": best.score,
                "its macs": int(best.cost),
                "hypervolume": series.hypervolume,
            }
        )
    return rows


def _reference_sentence(info: FrontierInfo) -> str:
    cost, score = info.reference
    return (
        f"Hypervolumes are in macs times top-1, over the corner of {cost:,.0f} macs and top-1 {score:.4f}; what costs"
        " more than the corner adds nothing to them. A front chosen by search-val flatters itself."
    )
