"""What a study's summary says of scaling: the grid's candidates and its verdict, the curves, the family."""

from __future__ import annotations

import math

import pandas as pd

from scalesearch.report.info import ScalingInfo
from scalesearch.report.markdown import renamed, table_lines
from scalesearch.scaling.verdict import Verdict
from scalesearch.study.folder import StudyFolder

_MEMBER_COLUMNS = {
    "member": "member",
    "image_size": "image size",
    "params": "params",
    "macs": "macs",
    "realised_ratio": "times the base",
    "latency_ms": "latency, ms",
    "peak_memory_mib": "peak memory, MiB",
    "val_top1": "search-val top-1",
    "val_top1_se": "± se",
    "test_top1": "test top-1",
    "test_top1_se": "± se of test",
    "minus_compound": "less the compound member",
    "minus_compound_se": "± se of the difference",
    "num_seeds": "seeds",
}
_FIT_COLUMNS = {
    "cost": "cost",
    "strategy": "strategy",
    "networks": "networks",
    "exponent": "exponent",
    "exponent_se": "± se",
    "largest_residual": "largest residual, share of the error",
}


def candidate_section(folder: StudyFolder, info: ScalingInfo) -> list[str]:
    """Return the section on the grid's candidates, with its map and its verdict where they were written."""
    verdict = Verdict.load(folder.factors) if folder.factors.exists() else None
    return [
        "## Scaling candidates",
        *([" ".join(verdict.sentences())] if verdict else []),
        *_picture(folder, "map", "The map over the constraint surface"),
        "![Scaling candidates with their spread over seeds](scaling.png)",
        table_lines(_candidate_table(info)),
        noise_sentence(info),
    ]


def curves_section(folder: StudyFolder) -> list[str]:
    """Return the section on scaling curves; nothing where none were trained."""
    if not folder.table("curves").exists():
        return []
    section = [
        "## Scaling curves",
        *_picture(folder, "curves", "Accuracy against macs and latency, by what grows"),
        table_lines(renamed(pd.read_csv(folder.table("curves")), _MEMBER_COLUMNS)),
    ]
    fits = pd.read_csv(folder.table("curves-fits"))
    if fits.empty:
        return section
    law = "Power laws through each strategy's networks and the base: 1 - top-1 = coefficient * cost^-exponent."
    return [*section, law, table_lines(renamed(fits, _FIT_COLUMNS))]


def family_section(folder: StudyFolder) -> list[str]:
    """Return the section on the family; nothing where none was trained."""
    if not folder.table("family").exists():
        return []
    return ["## The family", table_lines(renamed(pd.read_csv(folder.table("family")), _MEMBER_COLUMNS))]


def noise_sentence(info: ScalingInfo) -> str:
    """Say which candidates the seeds cannot tell from the best."""
    if math.isnan(info.seed_sd):
        return "With one seed each, the candidates cannot be told apart."
    num_rivals = len(info.within_noise) - 1
    found = (
        f"{num_rivals} of the other {len(info.candidates) - 1} candidates cannot be told apart from the best"
        if num_rivals
        else "Every other candidate is told apart from the best"
    )
    noise = f"a repeat with another seed varies by {info.seed_sd:.4f} (sd)"
    return f"{found}, paired over seeds at 95 %; {noise}."


def _picture(folder: StudyFolder, name: str, title: str) -> list[str]:
    return [f"![{title}]({name}.png)"] if (folder.root / f"{name}.png").exists() else []


def _candidate_table(info: ScalingInfo) -> pd.DataFrame:
    rows = [
        {
            "alpha": candidate.alpha,
            "beta": candidate.beta,
            "gamma": candidate.gamma,
            "product": candidate.product,
            "realised": candidate.realised_ratio,
            "image size": candidate.image_size,
            "search-val top-1": candidate.score,
            "± se": candidate.standard_error,
            "seeds": candidate.num_seeds,
            "as good as the best": "yes" if candidate.within_noise else "",
        }
        for candidate in info.candidates
    ]
    return pd.DataFrame(rows)
