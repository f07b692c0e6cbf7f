"""Power laws: an exact one is found exactly, and what lies beyond the points is called an extrapolation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.errors import ConfigError
from scalesearch.scaling.power_law import fit_power_law


@given(st.floats(0.01, 1.0), st.floats(0.0, 1.0), st.floats(1e3, 1e9))
def test_an_exact_law_is_recovered_whatever_the_unit(error: float, exponent: float, unit: float) -> None:
    costs = [unit, 2 * unit, 5 * unit]
    law = fit_power_law(costs, [error * (cost / unit) ** -exponent for cost in costs])
    assert law.exponent == pytest.approx(exponent, abs=1e-6)
    assert law.error_at(3 * unit) == pytest.approx(error * 3**-exponent)
    assert law.largest_residual < 1e-9
    assert law.exponent_se < 1e-6


def test_saturation_shows_in_the_residuals_at_both_ends() -> None:
    law = fit_power_law([1, 2, 4, 8], [0.4, 0.3, 0.27, 0.265])
    assert law.residuals[0] > 0 > law.residuals[1]
    assert law.residuals[-1] > 0
    assert law.exponent_se > 0.02


def test_beyond_the_points_is_an_extrapolation() -> None:
    law = fit_power_law([1, 2, 4], [0.4, 0.3, 0.2])
    assert [law.is_extrapolation(cost) for cost in (0.9, 1, 3, 4, 4.1)] == [True, False, False, False, True]


@pytest.mark.parametrize(
    ("costs", "errors", "sentence"),
    [
        ([1, 1, 2], [0.1, 0.2, 0.3], "a power law is fitted to at least 3 different costs, got 2"),
        ([1, 2, 3], [0.1, 0.0, 0.3], "a power law is fitted to costs and errors above 0"),
        ([1, 2, 3], [0.1, math.nan, 0.3], "a power law is fitted to costs and errors above 0"),
    ],
)
def test_what_no_line_fits_is_refused(costs: list[float], errors: list[float], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        fit_power_law(costs, errors)
