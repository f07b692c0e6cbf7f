"""A Gaussian process over architectures: what a network not yet trained will probably score, and how sure that is.

The kernel is the sum of a linear one over features, a squared exponential one over features with a length scale for
each parameter, and linear ones over covariates that are exactly known of every candidate (the logarithm of its macs):
accuracy rises with compute before anything else is known, and the rest of the kernel explains who does better than
its compute. Hyperparameters are the mode of their posterior, found by L-BFGS with exact gradients (Rasmussen and
Williams 2006, equation 5.9). The prior keeps length scales alike until the data tell them apart: there are often as
many parameters as trials.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from scalesearch.search.predictor.domain import Array

_JITTER = 1e-6
_FARTHEST = 4.0  # prior deviations from the prior's mode
_NUM_AMPLITUDES = 3  # linear, squared exponential, noise; then one a covariate, then one a parameter


@dataclass(frozen=True, slots=True)
class Inputs:
    """Candidates as the surrogate sees them.

    Attributes:
        features: (N, F), as ``Domain.features`` gives them.
        covariates: (N, C) standardised quantities known exactly; C may be 0.
    """

    features: Array
    covariates: Array

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: NDArray[np.int64] | slice) -> Inputs:
        return Inputs(self.features[index], self.covariates[index])


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Logarithms of the kernel's parameters, for outcomes of variance 1.

    Attributes:
        values: Variances of the linear and the squared exponential kernel and of the noise; of each covariate (C);
            inverse squared length scales of each parameter (D).
        num_covariates: C.
    """

    values: Array
    num_covariates: int

    @property
    def amplitudes(self) -> Array:
        """Variances of linear kernel, squared exponential kernel and noise."""
        return np.exp(self.values[:_NUM_AMPLITUDES])

    @property
    def slopes(self) -> Array:
        """Variance a covariate."""
        return np.exp(self.values[_NUM_AMPLITUDES : _NUM_AMPLITUDES + self.num_covariates])

    @property
    def relevances(self) -> Array:
        """Inverse squared length scale a parameter."""
        return np.exp(self.values[_NUM_AMPLITUDES + self.num_covariates :])

    @classmethod
    def prior(cls, num_parameters: int, num_covariates: int) -> tuple[Hyperparameters, Array]:
        """Return the prior's mode and standard deviations.

        Two random points differ in about half their parameters: relevances of 1 / D put them a length scale apart.
        """
        mode = [0.3, 0.5, 0.05, *[1.0] * num_covariates, *[1.0 / num_parameters] * num_parameters]
        deviations = [1.5] * (_NUM_AMPLITUDES + num_covariates) + [1.0] * num_parameters
        return cls(np.log(mode), num_covariates), np.array(deviations)


class Surrogate:
    """A posterior over outcomes.

    Args:
        inputs: Candidates with an outcome (N).
        outcomes: (N,), higher is better.
        groups: The parameter of each feature.
        hyperparameters: Of the kernel.
        extra_noise: Variance of each outcome beyond the common noise, in units of the outcomes' variance, (N,).
    """

    def __init__(
        self,
        inputs: Inputs,
        outcomes: Array,
        groups: NDArray[np.int64],
        hyperparameters: Hyperparameters,
        extra_noise: Array | None = None,
    ) -> None:
        self._inputs, self._groups, self._hyperparameters = inputs, groups, hyperparameters
        self._outcomes = outcomes
        self._extra_noise = np.zeros(len(outcomes)) if extra_noise is None else extra_noise
        self._mean, self._scale = _location(outcomes)
        self._scaled = _ScaledFeatures(inputs, groups, hyperparameters)
        kernel = self._scaled.kernel(self._scaled)
        kernel[np.diag_indices_from(kernel)] += hyperparameters.amplitudes[2] + _JITTER + self._extra_noise
        self._factor = cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
        self._weights = cho_solve(self._factor, (outcomes - self._mean) / self._scale, check_finite=False)

    def believing(self, inputs: Inputs) -> Surrogate:
        """Return the posterior after ``inputs`` had scored exactly what is expected of them."""
        return Surrogate(
            Inputs(
                np.vstack([self._inputs.features, inputs.features]),
                np.vstack([self._inputs.covariates, inputs.covariates]),
            ),
            np.concatenate([self._outcomes, self.mean(inputs)]),
            self._groups,
            self._hyperparameters,
            np.concatenate([self._extra_noise, np.zeros(len(inputs))]),
        )

    def mean(self, inputs: Inputs) -> Array:
        """Return the expected outcomes (N,)."""
        cross = _ScaledFeatures(inputs, self._groups, self._hyperparameters).kernel(self._scaled)
        return np.asarray(cross @ self._weights * self._scale + self._mean)

    def predict(self, inputs: Inputs) -> tuple[Array, Array]:
        """Return expected outcomes and their standard deviations without the noise of a reading, (N,) each."""
        scaled = _ScaledFeatures(inputs, self._groups, self._hyperparameters)
        cross = scaled.kernel(self._scaled)
        explained = solve_triangular(self._factor[0], cross.T, lower=True, check_finite=False, overwrite_b=False)
        variance = scaled.variance() - np.einsum("ij,ij->j", explained, explained)
        deviation = np.sqrt(np.maximum(variance, 1e-10))
        return cross @ self._weights * self._scale + self._mean, deviation * self._scale


def fit_hyperparameters(
    inputs: Inputs, outcomes: Array, groups: NDArray[np.int64], extra_noise: Array | None = None, iterations: int = 30
) -> Hyperparameters:
    """Return the hyperparameters of the highest posterior density, searched from the prior's mode."""
    num_parameters = int(groups.max()) + 1 if len(groups) else 0
    start, deviations = Hyperparameters.prior(num_parameters, inputs.covariates.shape[1])
    mean, scale = _location(outcomes)
    problem = _Evidence(inputs, (outcomes - mean) / scale, groups, start, deviations, extra_noise)
    reach = _FARTHEST * deviations  # beyond, matrices are no longer positive definite in floating point
    bounds = list(zip(start.values - reach, start.values + reach, strict=True))
    found = minimize(problem, start.values, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": iterations})
    return Hyperparameters(found.x, start.num_covariates)


class _ScaledFeatures:
    """Features with the kernel's scales multiplied in, so that a kernel is two matrix products."""

    def __init__(self, inputs: Inputs, groups: NDArray[np.int64], hyperparameters: Hyperparameters) -> None:
        self.amplitudes = hyperparameters.amplitudes
        linear = _linear_features(inputs, len(hyperparameters.relevances)) * np.sqrt(self.amplitudes[0])
        self.linear = np.hstack([linear, inputs.covariates * np.sqrt(hyperparameters.slopes)])
        self.stretched = inputs.features * np.sqrt(hyperparameters.relevances[groups])
        self.norms = np.einsum("ij,ij->i", self.stretched, self.stretched)

    def exponential(self, other: _ScaledFeatures) -> Array:
        """Return the squared exponential kernel without its amplitude."""
        exponent = 2.0 * self.stretched @ other.stretched.T
        exponent -= self.norms[:, None]
        exponent -= other.norms[None, :]
        return np.asarray(np.exp(np.minimum(exponent, 0.0, out=exponent), out=exponent))

    def kernel(self, other: _ScaledFeatures) -> Array:
        """Return the prior covariance with other candidates."""
        kernel = self.exponential(other)
        kernel *= self.amplitudes[1]
        kernel += self.linear @ other.linear.T
        return kernel

    def variance(self) -> Array:
        """Return the prior variance of each candidate."""
        return np.asarray(self.amplitudes[1] + np.einsum("ij,ij->i", self.linear, self.linear))


class _Evidence:
    """Negative log posterior density of hyperparameters and its gradient."""

    def __init__(
        self,
        inputs: Inputs,
        outcomes: Array,
        groups: NDArray[np.int64],
        prior: Hyperparameters,
        deviations: Array,
        extra_noise: Array | None,
    ) -> None:
        self._inputs, self._outcomes, self._groups = inputs, outcomes, groups
        self._prior, self._deviations = prior, deviations
        self._extra_noise = np.zeros(len(outcomes)) if extra_noise is None else extra_noise

    def __call__(self, values: Array) -> tuple[float, Array]:
        hyperparameters = Hyperparameters(values, self._prior.num_covariates)
        scaled = _ScaledFeatures(self._inputs, self._groups, hyperparameters)
        exponential = scaled.exponential(scaled) * scaled.amplitudes[1]
        kernel = exponential + scaled.linear @ scaled.linear.T
        kernel[np.diag_indices_from(kernel)] += scaled.amplitudes[2] + _JITTER + self._extra_noise
        factor = cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
        weights = cho_solve(factor, self._outcomes, check_finite=False)
        inverse = cho_solve(factor, np.eye(len(weights)), overwrite_b=True, check_finite=False)
        inverse -= np.outer(weights, weights)  # twice the derivative by the kernel
        value = 0.5 * self._outcomes @ weights + np.log(np.diag(factor[0])).sum()
        distance = (values - self._prior.values) / self._deviations
        gradient = self._gradient(hyperparameters, scaled, inverse, exponential)
        return float(value + 0.5 * distance @ distance), gradient + distance / self._deviations

    def _gradient(
        self, hyperparameters: Hyperparameters, scaled: _ScaledFeatures, slope: Array, exponential: Array
    ) -> Array:
        weighted = slope * exponential
        by_column = np.einsum("ij,ij->j", scaled.linear, slope @ scaled.linear)
        num_covariates = hyperparameters.num_covariates
        split = len(by_column) - num_covariates
        square = np.einsum("i,ij->j", weighted.sum(axis=1), scaled.stretched**2)
        product = np.einsum("ij,ij->j", scaled.stretched, weighted @ scaled.stretched)
        # d exponent / d log relevance is minus the squared distance, summed over a parameter's features
        by_parameter = np.bincount(self._groups, weights=2.0 * (square - product), minlength=0)
        head = [by_column[:split].sum(), weighted.sum(), np.trace(slope) * scaled.amplitudes[2]]
        return 0.5 * np.concatenate([head, by_column[split:], -by_parameter])


def _linear_features(inputs: Inputs, num_parameters: int) -> Array:
    """Return centred features of about unit squared length."""
    return np.asarray((inputs.features - 0.35) * np.sqrt(2.0 / max(1, num_parameters)))


def _location(outcomes: Array) -> tuple[float, float]:
    return float(outcomes.mean()), float(outcomes.std()) or 1.0
