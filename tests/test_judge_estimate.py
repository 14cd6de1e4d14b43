from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MeasurementError
from harness.judge import estimate

positive = st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=8)


def test_the_interval_of_three_launches_is_students_over_launches() -> None:
    found = estimate([0.010, 0.011, 0.0121], samples=40)
    # The logarithms lie ln(1.1) apart, which is their standard deviation; t(2) at 97.5 % is 4.302653.
    half = 4.302653 * math.log(1.1) / math.sqrt(3)
    assert found.point == pytest.approx(0.011)
    assert found.low == pytest.approx(0.011 * math.exp(-half), rel=1e-6)
    assert found.high == pytest.approx(0.011 * math.exp(half), rel=1e-6)
    assert (found.launches, found.samples) == (3, 40)


def test_values_that_can_be_zero_are_averaged_as_they_are() -> None:
    found = estimate([0.0, 2.0])
    assert (found.point, found.low, found.high) == pytest.approx((1.0, 1 - 12.7062, 1 + 12.7062), rel=1e-5)


def test_one_launch_has_no_interval_and_says_so() -> None:
    found = estimate([0.0123])
    assert (found.point, found.low, found.high, found.launches) == (0.0123, 0.0123, 0.0123, 1)


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf], [-math.inf, 1.0]])
def test_what_is_no_number_has_no_estimate(values: list[float]) -> None:
    with pytest.raises(MeasurementError, match="finite") as caught:
        estimate(values)
    assert caught.value.outcome == "invalid"


@given(positive)
def test_a_ratio_and_its_inverse_have_the_same_interval(values: list[float]) -> None:
    found, inverse = estimate(values), estimate([1 / value for value in values])
    assert inverse.point == pytest.approx(1 / found.point, rel=1e-6)
    assert inverse.low == pytest.approx(1 / found.high, rel=1e-6)
    assert inverse.high == pytest.approx(1 / found.low, rel=1e-6)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6))
def test_every_finite_input_gives_finite_ordered_numbers(values: list[float]) -> None:
    found = estimate(values)
    assert found.low <= found.point <= found.high
    assert math.isfinite(found.low)
    assert math.isfinite(found.high)
