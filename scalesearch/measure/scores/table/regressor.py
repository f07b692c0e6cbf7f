"""What a network that was not trained would reach, by those that were: ridge regression on its choices.

The features are the choices of the space, one-hot, and their products two at a time. They enter as orthonormal
contrasts: ``k`` choices span, beside the mean, ``k - 1`` dimensions, so the same functions take a fraction of the
columns. Products are penalised a hundred times as much as choices, for there are many more of them. Measured, as the
share of variance explained leaving one out: fitted to 50 or 200 networks of Accel-NASBench 0.68 and 0.92 instead of
0.11 and 0.48 with equal penalties; to all 5,125 no difference (0.98).

The penalty is that with the least leave-one-out error, which ridge regression gives in closed form (Allen 1974, "The
relationship between variable selection and data augmentation and a method for prediction": the PRESS statistic).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scalesearch.arch import ArchSpec, SearchSpace, StageSpec
from scalesearch.errors import ConfigError, SpaceError

Floats = NDArray[np.float64]

LEAST_NETWORKS = 10
_PENALTIES = tuple(float(penalty) for penalty in np.logspace(-3, 4, 15))
_PRODUCT_SCALE = 0.1  # of a column; its square is the penalties' ratio


@dataclass(frozen=True, eq=False)
class Regressor:
    """Accuracies fitted to the choices of one space.

    Attributes:
        num_networks: It was fitted to.
        penalty: Of the ridge.
        r2: Share of the variance between networks explained, leaving each out in turn; below 0 it is worse than the
            mean. Slightly optimistic: the penalty was chosen by the same errors.
        mae: Mean absolute error in [0, 1], leaving each out in turn.
    """

    num_networks: int
    penalty: float
    r2: float
    mae: float
    _coding: _Coding = field(repr=False)
    _mean: float = field(repr=False)
    _offset: Floats = field(repr=False)
    _weights: Floats = field(repr=False)

    def predict(self, arch: ArchSpec) -> float:
        """Return the accuracy expected of a network, in [0, 1].

        Raises:
            SpaceError: The space does not hold the network.
        """
        features = _design(np.array([self._coding.codes(arch)]), self._coding.levels)
        value = self._mean + float((features[0] - self._offset) @ self._weights)
        return min(1.0, max(0.0, value))


def fit_regressor(space: SearchSpace, accuracies: Mapping[ArchSpec, float]) -> Regressor:
    """Fit a regressor to the accuracies, in [0, 1], of different networks of a space.

    Raises:
        ConfigError: There are too few networks.
    """
    if len(accuracies) < LEAST_NETWORKS:
        raise ConfigError(f"score.missing=fill needs at least {LEAST_NETWORKS} known networks, got {len(accuracies)}")
    coding = _Coding.of(space)
    features = _design(np.array([coding.codes(arch) for arch in accuracies]), coding.levels)
    targets = np.fromiter(accuracies.values(), dtype=float)
    offset, mean = features.mean(0), float(targets.mean())
    left, scales, right = _thin_svd(features - offset)
    loadings = left.T @ (targets - mean)
    errors = {penalty: _leave_one_out(left, scales, loadings, targets - mean, penalty) for penalty in _PENALTIES}
    penalty = min(errors, key=lambda each: float(np.square(errors[each]).sum()))
    variance = float(np.square(targets - mean).sum())
    return Regressor(
        num_networks=len(targets),
        penalty=penalty,
        r2=1 - float(np.square(errors[penalty]).sum()) / variance if variance else 0.0,
        mae=float(np.abs(errors[penalty]).mean()),
        _coding=coding,
        _mean=mean,
        _offset=offset,
        _weights=right @ (scales / (scales**2 + penalty) * loadings),
    )


def _thin_svd(matrix: Floats) -> tuple[Floats, Floats, Floats]:
    """Return U, s and V without the null space, by the smaller Gram matrix: several times faster than LAPACK's SVD.

    Squaring loses the singular values below 1e-7 of the largest, which no penalty would let through.
    """
    tall = matrix.shape[0] >= matrix.shape[1]
    values, vectors = np.linalg.eigh(matrix.T @ matrix if tall else matrix @ matrix.T)
    kept = values > 1e-12 * max(values[-1], 1e-300)
    scales, vectors = np.sqrt(values[kept]), vectors[:, kept]
    other = (matrix @ vectors if tall else matrix.T @ vectors) / scales
    return (other, scales, vectors) if tall else (vectors, scales, other)


def _leave_one_out(left: Floats, scales: Floats, loadings: Floats, targets: Floats, penalty: float) -> Floats:
    """Return the error at each network of the fit to all others; ``targets`` are centred."""
    shrunk = scales**2 / (scales**2 + penalty)
    leverage = 1 / len(targets) + np.square(left) @ shrunk  # the first term is the mean's
    errors: Floats = (targets - left @ (shrunk * loadings)) / np.maximum(1 - leverage, 1e-9)
    return errors


def _design(codes: NDArray[np.int64], levels: Sequence[int]) -> Floats:
    """Return contrasts of the choices (n, num_choices), then the products of those of two different parameters."""
    columns = [_contrasts(count)[codes[:, index]] for index, count in enumerate(levels)]
    owners = np.repeat(np.arange(len(levels)), [count - 1 for count in levels])
    single = np.hstack(columns)
    one, two = np.triu_indices(len(owners), 1)
    apart = owners[one] != owners[two]
    return np.hstack([single, _PRODUCT_SCALE * single[:, one[apart]] * single[:, two[apart]]])


def _contrasts(count: int) -> Floats:
    """Return a row a choice: orthogonal columns of mean 0 and mean square 1."""
    basis: Floats = np.linalg.qr(np.eye(count) - 1 / count)[0][:, : count - 1] * np.sqrt(count)
    return basis


Slot = Mapping[StageSpec | None, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class _Coding:
    """How a network is written as the numbers of its choices, each below its entry of ``levels``.

    Fields of a stage that the space leaves no choice about are left out. A stage without blocks has a value of its own
    in each of its fields. ``SearchSpace.encode`` gives the same but takes milliseconds a network.
    """

    space: SearchSpace
    levels: tuple[int, ...]
    slots: tuple[Slot, ...]
    network: Mapping[str, tuple[Hashable, ...]]

    @classmethod
    def of(cls, space: SearchSpace) -> _Coding:
        network = {name: choices for name, choices in space.network.items() if len(choices) > 1}
        levels, slots = [len(choices) for choices in network.values()], []
        for options, stage in zip(space.stage_options(), space.stages, strict=True):
            slot, counts = _code_stage(options, [name for name, choices in stage.items() if len(choices) > 1])
            slots.append(slot)
            levels += counts
        return cls(space, tuple(levels), tuple(slots), network)

    def codes(self, arch: ArchSpec) -> tuple[int, ...]:
        """Return one number a choice.

        Raises:
            SpaceError: The space does not hold the network.
        """
        stages = _lay(self.slots, arch.stages)
        outside = [name for name, choices in self.space.network.items() if getattr(arch, name) not in choices]
        if stages is None or outside:
            blocks = ", ".join(stage.to_block() for stage in arch.stages)
            raise SpaceError(f"search space {self.space.name} does not hold the network {blocks}")
        chosen = [choices.index(getattr(arch, name)) for name, choices in self.network.items()]
        return (*chosen, *(code for stage in stages for code in stage))


def _code_stage(options: Sequence[StageSpec | None], names: Sequence[str]) -> tuple[Slot, list[int]]:
    """Return the codes of each option, one a field that ``names`` says is chosen, and the number of choices of each."""
    codes: dict[StageSpec | None, tuple[int, ...]] = dict.fromkeys(options, ())
    counts = []
    for name in names:
        chosen = {option: option if name == "one_of" else getattr(option, name, None) for option in options}
        values = list(dict.fromkeys(chosen.values()))
        codes = {option: (*code, values.index(chosen[option])) for option, code in codes.items()}
        counts.append(len(values))
    return codes, counts


def _lay(slots: Sequence[Slot], stages: Sequence[StageSpec]) -> list[tuple[int, ...]] | None:
    """Lay a network's stages onto a space's, some of which may be left out; the first way that fits."""
    if not slots:
        return None if stages else []
    for taken in dict.fromkeys((min(1, len(stages)), 0)):
        codes = slots[0].get(stages[0] if taken else None)
        tail = _lay(slots[1:], stages[taken:]) if codes is not None else None
        if codes is not None and tail is not None:
            return [codes, *tail]
    return None
