from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import ndtri

from harness.judge.paired import exact_p, pair, tango_bound
from harness.records import Scores
from tests.judge_samples import scores


def test_examples_are_paired_by_their_place() -> None:
    found = pair(scores("110101110"), scores("111001110"))
    assert found is not None
    assert (found.lost, found.won, found.right, found.examples) == ((2,), (3,), 6, 9)
    assert found.loss == 0


def test_fractions_of_credit_cannot_be_paired() -> None:
    assert pair(scores("1"), Scores("F1", 0.5, 1)) is None
    assert pair(Scores("F1", 0.5, 1), scores("1")) is None


@pytest.mark.parametrize(
    "now", [scores("11"), Scores("", 1.0, 1, "8000"), Scores("", 1.0, 1, "x"), Scores("", 1.0, 1, "8")]
)
def test_scores_that_do_not_fit_are_refused(now: Scores) -> None:
    with pytest.raises(ValueError):
        pair(now, scores("1"))


@pytest.mark.parametrize(
    ("lost", "won", "p"), [(0, 0, 1.0), (0, 5, 1.0), (5, 0, 1 / 32), (3, 1, 5 / 16), (1, 1, 3 / 4), (1, 0, 1 / 2)]
)
def test_the_exact_test_counts_coin_tosses(lost: int, won: int, p: float) -> None:
    assert exact_p(lost, won) == pytest.approx(p)


def likelihood_score(lost: int, won: int, examples: int, loss: float) -> float:
    """Tango's statistic with the probability of a win that maximises the likelihood found by search, not by formula."""

    def negative(q: float) -> float:
        cells = ((lost, q + loss), (won, q), (examples - lost - won, 1 - 2 * q - loss))
        return -sum(count * math.log(p) for count, p in cells if count)

    low, high = max(0.0, -loss) + 1e-12, (1 - loss) / 2 - 1e-12
    q = minimize_scalar(negative, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    return (lost - won - examples * loss) / math.sqrt(examples * (2 * q + loss * (1 - loss)))


@pytest.mark.parametrize(("lost", "won", "examples"), [(12, 2, 50), (3, 9, 200), (1, 1, 40), (40, 20, 4000)])
def test_the_bounds_solve_the_score_equation(lost: int, won: int, examples: int) -> None:
    low, high = tango_bound(lost, won, examples, 0.99)
    assert likelihood_score(lost, won, examples, low) == pytest.approx(float(ndtri(0.99)), abs=1e-3)
    assert likelihood_score(lost, won, examples, high) == pytest.approx(-float(ndtri(0.99)), abs=1e-3)


def test_no_change_at_all_still_has_an_interval() -> None:
    low, high = tango_bound(0, 0, 100, 0.95)
    z2 = float(ndtri(0.95)) ** 2
    assert high == pytest.approx(z2 / (100 + z2), abs=1e-6)
    assert low == pytest.approx(-high, abs=1e-6)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(60, 500), st.sampled_from([0.9, 0.95, 0.99]))
def test_the_interval_holds_the_estimate_and_turns_round(lost: int, won: int, examples: int, level: float) -> None:
    low, high = tango_bound(lost, won, examples, level)
    assert -1 <= low <= (lost - won) / examples <= high <= 1
    mirrored = tango_bound(won, lost, examples, level)
    assert mirrored == pytest.approx((-high, -low), abs=1e-6)


def test_the_one_sided_bound_covers_as_often_as_it_says() -> None:
    """200 examples, 6 % lost and 4 % won in truth: the 95 % bounds miss the net loss about one time in twenty each."""
    rng = np.random.default_rng(5)
    draws = rng.multinomial(200, [0.06, 0.04, 0.90], size=1500)
    bounds = [tango_bound(int(lost), int(won), 200, 0.95) for lost, won, _ in draws]
    assert sum(low > 0.02 for low, _ in bounds) / 1500 == pytest.approx(0.05, abs=0.02)
    assert sum(high < 0.02 for _, high in bounds) / 1500 == pytest.approx(0.05, abs=0.02)
