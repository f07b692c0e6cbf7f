"""How well a cheap score ranks networks: agreement with the accuracy of a longer training, and what it costs.

Pure functions from a table of networks to the frozen values that ``plot_fidelity`` draws. Agreement of the whole order
is Kendall's tau-b (Kendall 1945, "The treatment of ties in ranking problems", Biometrika 33): the pairs that both
order alike less those they order differently. Agreement at the top, which is all that a search uses, is the overlap of
the best few.

Intervals are percentiles over bootstrap samples of the networks (Efron 1979): they say how far other networks of the
same kind might have moved the figure. Noise of the longer training is not in them; it lowers the figure itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scalesearch.errors import StudyError

Floats = NDArray[np.float64]

SHARES = (0.10, 0.25)
LEAST_NETWORKS = 3
_LEAST_TOP = 3
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class TopOverlap:
    """The share of the best ``k`` networks by the reference that are among the best ``k`` by the cheap score.

    Chance alone gives ``k`` over the number of networks. ``low`` and ``high`` bound 95 % of the bootstrap samples.
    """

    share: float
    k: int
    overlap: float
    low: float
    high: float


@dataclass(frozen=True)
class FidelityRow:
    """One cheap score against the reference.

    Attributes:
        name: Of the score.
        num_networks: With both.
        tau: Kendall's tau-b, in [-1, 1].
        tau_low: Bounds, with ``tau_high``, 95 % of the bootstrap samples.
        tau_high: See ``tau_low``.
        top: Overlap of the best tenth and of the best quarter, at least three networks each.
        mean_seconds: Of the score, a network.
        ranks: Of each network by the cheap score, 1 the best; networks that tie share their mean rank.
        references: The reference score of the same networks, in [0, 1].
    """

    name: str
    num_networks: int
    tau: float
    tau_low: float
    tau_high: float
    top: tuple[TopOverlap, ...]
    mean_seconds: float
    ranks: tuple[float, ...]
    references: tuple[float, ...]


@dataclass(frozen=True)
class FidelityInfo:
    """Every cheap score against one reference, in the order they were asked for."""

    rows: tuple[FidelityRow, ...]
    reference_name: str
    reference_seconds: float
    num_draws: int
    title: str


def fidelity_info(
    networks: pd.DataFrame,
    scores: Sequence[str],
    *,
    reference: str = "val_top1",
    num_draws: int = 2000,
    seed: int = 0,
    title: str = "",
) -> FidelityInfo:
    """Return how well each cheap score orders the networks, and its cost.

    Args:
        networks: One row a network. A score NAME has its values in the column NAME, higher better, and the seconds it
            took in ``NAME_seconds``; so has the reference, whose value is a mean over seeds in [0, 1]. Networks
            without a finite value of both are left out.
        scores: The cheap scores.
        reference: The score of the longer training.
        num_draws: Bootstrap samples of the networks.
        seed: Of these samples: the same for all scores, so that those of the same networks share them.
        title: What the picture shows; empty for a plain description.

    Raises:
        StudyError: There is no score, a column is missing, fewer than three networks have both scores, or one of them
            is the same for all.
    """
    if not scores:
        raise StudyError("fidelity needs at least one cheap score, got none")
    needed = [column for name in (*scores, reference) for column in (name, f"{name}_seconds")]
    missing = [name for name in needed if name not in networks.columns]
    if missing:
        raise StudyError(f"the table of networks lacks {', '.join(missing)}; it has {', '.join(networks.columns)}")
    return FidelityInfo(
        rows=tuple(_fidelity_row(networks, name, reference, num_draws, seed) for name in scores),
        reference_name=reference,
        reference_seconds=float(networks.loc[networks[reference].notna(), f"{reference}_seconds"].mean()),
        num_draws=num_draws,
        title=title or "How well cheap scores rank networks",
    )


def kendall_tau(one: Floats, two: Floats, counts: Floats) -> Floats:
    """Return Kendall's tau-b of samples that take network ``i`` ``counts[s, i]`` times; (n,), (n,), (s, n) to (s,).

    All samples at once, by matrix products over pairs. Copies of a network tie in both scores, as in any bootstrap.
    NaN where all networks of a sample tie in a score.

    Example:
        >>> kendall_tau(np.array([1.0, 2, 3]), np.array([10.0, 30, 20]), np.ones((1, 3))).round(3).tolist()
        [0.333]
    """
    signs = [np.sign(values[:, None] - values[None, :]) for values in (one, two)]
    agreeing = _pair_sums(signs[0] * signs[1], counts)
    untied = [_pair_sums(np.abs(sign), counts) for sign in signs]
    with np.errstate(invalid="ignore"):
        tau: Floats = agreeing / np.sqrt(untied[0] * untied[1])
    return tau


def top_overlap(one: Floats, two: Floats, k: int, counts: Floats) -> Floats:
    """Return the shared part of the best ``k`` by each score in samples as in ``kendall_tau``; (s,), in [0, 1].

    Networks that tie for the last places share them evenly, so a constant score has the overlap of chance.

    Example:
        >>> top_overlap(np.array([1.0, 2, 3, 4]), np.array([4.0, 1, 2, 3]), 2, np.ones((1, 4))).tolist()
        [0.5]
    """
    places = [_top_places(values, k, counts) for values in (one, two)]
    overlap: Floats = np.minimum(*places).sum(1) / k
    return overlap


def _fidelity_row(networks: pd.DataFrame, name: str, reference: str, num_draws: int, seed: int) -> FidelityRow:
    values = networks[[name, reference]].to_numpy(dtype=float)
    measured = np.isfinite(values).all(1)
    cheap, truth = values[measured].T
    _check(cheap, truth, name, reference)
    counts = _bootstrap_counts(len(cheap), num_draws, seed)
    tau, tau_low, tau_high = _with_interval(kendall_tau(cheap, truth, counts))
    return FidelityRow(
        name=name,
        num_networks=len(cheap),
        tau=tau,
        tau_low=tau_low,
        tau_high=tau_high,
        top=tuple(_top(share, cheap, truth, counts) for share in SHARES),
        mean_seconds=float(networks.loc[measured, f"{name}_seconds"].mean()),
        ranks=tuple(pd.Series(cheap).rank(ascending=False).tolist()),
        references=tuple(truth.tolist()),
    )


def _check(cheap: Floats, truth: Floats, name: str, reference: str) -> None:
    if len(cheap) < LEAST_NETWORKS:
        both = f"networks with {name} and {reference}"
        raise StudyError(f"the fidelity of {name} needs at least {LEAST_NETWORKS} {both}, got {len(cheap)}")
    for values, which in ((cheap, name), (truth, reference)):
        if (values == values[0]).all():
            raise StudyError(f"the fidelity of {name} needs values that differ, got {which} = {values[0]:g} everywhere")


def _bootstrap_counts(num_networks: int, num_draws: int, seed: int) -> Floats:
    """Return how often each sample takes each network; row 0 is the networks themselves, once each."""
    draws = np.random.default_rng(seed).multinomial(num_networks, [1 / num_networks] * num_networks, num_draws)
    return np.vstack([np.ones(num_networks), draws])


def _with_interval(values: Floats) -> tuple[float, float, float]:
    """Return the value of the networks themselves and its interval, over the samples that have a value."""
    low, high = np.nanpercentile(values[1:], _PERCENTILES)
    return float(values[0]), float(low), float(high)


def _top(share: float, cheap: Floats, truth: Floats, counts: Floats) -> TopOverlap:
    k = min(len(cheap), max(_LEAST_TOP, round(share * len(cheap))))
    return TopOverlap(share, k, *_with_interval(top_overlap(cheap, truth, k, counts)))


def _pair_sums(pairs: Floats, counts: Floats) -> Floats:
    sums: Floats = ((counts @ pairs) * counts).sum(1)
    return sums


def _top_places(values: Floats, k: int, counts: Floats) -> Floats:
    """Return how many of the best ``k`` places each network takes in each sample, (s, n)."""
    levels, level = np.unique(-values, return_inverse=True)  # best first
    sizes = counts @ (level[:, None] == np.arange(len(levels)))
    free = np.clip(k - (np.cumsum(sizes, axis=1) - sizes), 0, sizes)
    share = np.divide(free, sizes, out=np.zeros_like(free), where=sizes > 0)
    places: Floats = counts * share[:, level]
    return places
