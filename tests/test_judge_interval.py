from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from harness.judge.interval import interval, rank_depth, stands_out
from harness.judge.prior import Spread

PRIOR = Spread(0.01**2, 4.0)


def test_a_t_interval_with_the_prior_weighed_in() -> None:
    found = interval([0.01, 0.02, 0.03], PRIOR, 0.99, 0.95)
    variance = (4 * 0.01**2 + 2 * 0.01**2) / 6
    error = (variance / 3) ** 0.5
    assert found.point == pytest.approx(0.02)
    assert found.least == pytest.approx(0.02 - float(stdtrit(6, 0.99)) * error)
    assert found.most == pytest.approx(0.02 + float(stdtrit(6, 0.95)) * error)
    assert not found.ranks


@pytest.mark.parametrize("count", [3, 6, 9, 12])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99, 0.9967])
def test_the_depth_of_the_ranks_is_that_of_all_sign_patterns(count: int, level: float) -> None:
    sums = [sum(itertools.compress(range(1, count + 1), signs)) for signs in itertools.product((0, 1), repeat=count)]
    depth = rank_depth(count, level)
    assert sum(total <= depth - 1 for total in sums) / 2**count <= 1 - level
    assert sum(total <= depth for total in sums) / 2**count > 1 - level


def test_ranks_need_nine_launches_to_convict() -> None:
    assert rank_depth(8, 1 - 0.01 / 3) == 0
    assert rank_depth(9, 1 - 0.01 / 3) == 1


def test_one_launch_far_out_does_not_hide_what_the_others_say() -> None:
    others = [0.020, 0.021, 0.019, 0.022, 0.018, 0.020, 0.0205, 0.0195, 0.0215, 0.0185, 0.0202]
    found = interval([*others, 0.3], PRIOR, 0.9967, 0.99)
    assert found.ranks
    assert 0.015 < found.least < found.point < 0.025
    few = interval([*others[:6], 0.3], PRIOR, 0.9967, 0.99)
    assert not few.ranks
    assert few.least < 0 < few.most


def test_what_stands_out() -> None:
    assert not stands_out([1.0, 1.1, 0.9, 1.05])
    assert stands_out([1.0, 1.1, 0.9, 1.05, 3.0])
    assert not stands_out([1.0] * 5)


def test_the_bounds_hold_whatever_lies_far_out() -> None:
    """2,000 series of 12 launches, a fifth of them ten times as wide: the lower bound is above the truth in 1 %."""
    rng = random.Random(5)
    above = 0
    for _ in range(2000):
        logs = [rng.gauss(0, 0.05 if rng.random() < 0.2 else 0.005) for _ in range(12)]
        above += interval(logs, PRIOR, 0.99, 0.95).least > 0
    assert above <= 32  # 20 are expected at most; 33 have a chance of half a percent


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=20))
def test_the_point_lies_between_its_bounds(logs: list[float]) -> None:
    found = interval(logs, PRIOR, 0.9967, 0.99)
    assert found.least <= found.point <= found.most
