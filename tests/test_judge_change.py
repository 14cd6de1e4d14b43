from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import nctdtr, stdtrit

from harness.judge import Prior, Spread
from harness.judge.change import Change, Ruling, change_of, decide, enough
from harness.judge.looks import Levels
from harness.metrics import Metric
from harness.records import Verdict

LOWER = Metric("cost", "s", "lower", tolerance=0.05)
HIGHER = Metric("gain", "x", "higher", tolerance=0.05)
CONVICTS, CLEARS = (float(stdtrit(10, level)) for level in (0.99, 0.95))
UP, DOWN = math.log(1.05), -math.log(0.95)
TINY = 1e-9
LEVELS = Levels(0.99, 0.95)


def at(point: float, error: float = 0.01, freedom: float = 10) -> Change:
    return Change(point, error, freedom, sampling=False)


def ruling(change: Change, metric: Metric, limit: float, every: Change | None = None) -> Ruling:
    return decide(change, every or change, metric, limit, LEVELS)


@pytest.mark.parametrize(
    ("metric", "point", "verdict"),
    [
        (LOWER, UP + 0.01 * CONVICTS + TINY, Verdict.REGRESSED),
        (LOWER, UP + 0.01 * CONVICTS - TINY, Verdict.INCONCLUSIVE),
        (LOWER, UP - 0.01 * CLEARS + TINY, Verdict.INCONCLUSIVE),
        (LOWER, UP - 0.01 * CLEARS - TINY, Verdict.UNCHANGED),
        (LOWER, 0.0, Verdict.UNCHANGED),
        (LOWER, -DOWN - 0.01 * CLEARS + TINY, Verdict.UNCHANGED),
        (LOWER, -DOWN - 0.01 * CLEARS - TINY, Verdict.IMPROVED),
        (HIGHER, -DOWN - 0.01 * CONVICTS - TINY, Verdict.REGRESSED),
        (HIGHER, -DOWN - 0.01 * CONVICTS + TINY, Verdict.INCONCLUSIVE),
        (HIGHER, -DOWN + 0.01 * CLEARS - TINY, Verdict.INCONCLUSIVE),
        (HIGHER, -DOWN + 0.01 * CLEARS + TINY, Verdict.UNCHANGED),
        (HIGHER, UP + 0.01 * CLEARS - TINY, Verdict.UNCHANGED),
        (HIGHER, UP + 0.01 * CLEARS + TINY, Verdict.IMPROVED),
    ],
)
def test_verdicts_at_the_exact_boundary(metric: Metric, point: float, verdict: Verdict) -> None:
    assert ruling(at(point), metric, 0.05).verdict is verdict


def test_a_change_of_exactly_the_limit_is_inside() -> None:
    exact = Change(math.log1p(0.05), 0.0, 10, sampling=False)
    assert ruling(exact, LOWER, 0.05).verdict is Verdict.UNCHANGED
    beyond = Change(math.log1p(0.05) + TINY, 0.0, 10, sampling=False)
    assert ruling(beyond, LOWER, 0.05).verdict is Verdict.REGRESSED


def test_the_interval_that_is_shown_is_the_one_that_judges() -> None:
    lower, higher = ruling(at(0.1), LOWER, 0.05).change, ruling(at(-0.1), HIGHER, 0.05).change
    assert lower.low == pytest.approx(math.expm1(0.1 - 0.01 * CONVICTS))
    assert lower.high == pytest.approx(math.expm1(0.1 + 0.01 * CLEARS))
    assert higher.low == pytest.approx(math.expm1(-0.1 - 0.01 * CLEARS))
    assert higher.high == pytest.approx(math.expm1(-0.1 + 0.01 * CONVICTS))


@pytest.mark.parametrize(
    ("fresh", "every", "verdict"),
    [
        (0.0, 0.2, Verdict.UNCHANGED),  # a screen that something disturbed does not stand in the way
        (0.03, 0.0, Verdict.UNCHANGED),  # all launches together know more
        (0.2, 0.0, Verdict.REGRESSED),  # the screen acquits nobody whom the fresh ones convict
        (0.0, -0.2, Verdict.IMPROVED),
    ],
)
def test_fresh_launches_convict_and_either_clears(fresh: float, every: float, verdict: Verdict) -> None:
    found = ruling(at(fresh), LOWER, 0.05, every=at(every))
    assert found.verdict is verdict
    assert found.change.low <= found.change.point <= found.change.high


def test_no_fall_is_too_large_for_a_tolerance_of_everything() -> None:
    assert ruling(at(-5.0), HIGHER, 1.0).verdict is Verdict.UNCHANGED


@pytest.mark.parametrize("freedom", [4, 8, 20])
def test_the_detectable_effect_is_found_four_times_in_five(freedom: float) -> None:
    """Against the noncentral t: the chance that the 99 % interval lies beyond the limit at that true change."""
    found = ruling(at(0.0, 0.01, freedom), LOWER, 0.05).detectable
    noncentrality = (math.log1p(found) - UP) / 0.01
    power = 1 - float(nctdtr(freedom, noncentrality, stdtrit(freedom, 0.99)))
    assert power == pytest.approx(0.80, abs=0.04)


def test_the_detectable_fall_of_a_speed_up_is_a_share_of_it() -> None:
    found = ruling(at(0.0), HIGHER, 0.05).detectable
    assert found == pytest.approx(1 - 0.95 * math.exp(-0.01 * (CONVICTS + float(stdtrit(10, 0.80)))))


def test_the_block_is_the_unit() -> None:
    """Var(change) = v (1 + 1/B), v the moderated variance between blocks where launches are quiet."""
    prior = Prior(launch={"cost": Spread(1e-10, 6)}, block={"cost": Spread(4e-4, 6)})
    blocks = [[math.exp(shift)] * 4 for shift in (-0.01, 0.0, 0.01)]
    found = change_of([math.exp(0.1)] * 5, blocks, prior, "cost")
    moderated = (6 * 4e-4 + 2 * 1e-4) / 8
    assert found.point == pytest.approx(0.1)
    assert found.error == pytest.approx(math.sqrt(moderated * (1 + 1 / 3)))
    assert (found.freedom, found.sampling) == (8, False)


def test_launches_count_where_they_are_noisier_than_the_hours() -> None:
    prior = Prior(launch={"cost": Spread(4e-2, 6)}, block={"cost": Spread(1e-10, 6)})
    found = change_of([1.0] * 4, [[1.0] * 2, [1.0] * 2], prior, "cost")
    # No spread of their own within 3 + 1 + 1 degrees of freedom, weighed with the prior's 6.
    launch = 6 * 4e-2 / 11
    assert found.error == pytest.approx(math.sqrt(launch / 4 + launch / 2 / 2))
    assert (found.freedom, found.sampling) == (11, True)


def test_fewer_launches_than_the_blocks_have_add_what_they_lack() -> None:
    """Var(mean) is that between runs of the blocks' length, and v (1/n - 1/L) more where a run has n < L."""
    prior = Prior(launch={"cost": Spread(1e-4, 1e9)}, block={"cost": Spread(4e-5, 1e9)})
    for launches, lacking in ((3, 1 / 3 - 1 / 12), (12, 0.0), (20, 0.0)):
        found = change_of([1.0] * launches, [[1.0] * 12] * 8, prior, "cost")
        assert found.error == pytest.approx(math.sqrt(4e-5 + lacking * 1e-4 + 4e-5 / 8))


@pytest.mark.parametrize(
    ("launch", "block", "earlier", "wanted"),
    [
        (4e-4, 1.01e-4, 3, 4),  # where runs differ less than launches do
        (4e-4, 1.01e-4, 16, 8),  # 4e-4 (1/8 - 1/16) is a quarter of 1e-4
        (4e-4, 1.01e-4, 5, 4),
        (4e-4, 1.0001e-6, 16, 400),
        (1e-6, 1e-4, 16, 1),
        (0.0, 1e-4, 16, 0),
    ],
)
def test_launches_are_enough_where_runs_vary_more_and_blocks_hardly_less(
    launch: float, block: float, earlier: int, wanted: int
) -> None:
    assert enough(launch, block, earlier) == wanted


def test_every_block_counts_alike_however_many_launches_it_has() -> None:
    found = change_of([1.0], [[math.e] * 9, [1.0]], Prior(), "cost")
    assert found.point == pytest.approx(-0.5)


values = st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=6)


@given(values, values)
def test_exchanging_run_and_baseline_turns_the_change_round(now: list[float], before: list[float]) -> None:
    there, back = change_of(now, [before], Prior(), "cost"), change_of(before, [now], Prior(), "cost")
    assert there.point == pytest.approx(-back.point)
    if len(now) == len(before):
        assert there.error == pytest.approx(back.error)
    else:
        few, many = (there, back) if len(now) < len(before) else (back, there)
        assert few.error >= many.error * (1 - 1e-9), "blocks vary as runs of their length do, and shorter ones more"


@given(st.floats(-1, 1), st.floats(1e-4, 0.5), st.floats(2, 50), st.floats(0, 0.9))
def test_lower_and_higher_are_mirror_images(point: float, error: float, freedom: float, limit: float) -> None:
    mirrored = -math.expm1(-math.log1p(limit))
    lower = ruling(at(point, error, freedom), LOWER, limit)
    higher = ruling(at(-point, error, freedom), HIGHER, mirrored)
    ends = {lower.verdict, higher.verdict}
    # The better side's limit is the same relative change, so it is not the mirror image; the worse side's is.
    assert len(ends - {Verdict.IMPROVED, Verdict.UNCHANGED}) <= 1
    assert (lower.verdict is Verdict.REGRESSED) == (higher.verdict is Verdict.REGRESSED)


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 0.9))
def test_a_larger_change_for_the_worse_is_never_judged_milder(
    point: float, more: float, error: float, limit: float
) -> None:
    order = [Verdict.IMPROVED, Verdict.UNCHANGED, Verdict.INCONCLUSIVE, Verdict.REGRESSED]
    for metric, sign in ((LOWER, 1), (HIGHER, -1)):
        mild, bad = (ruling(at(sign * p, error), metric, limit).verdict for p in (point, point + more))
        assert order.index(mild) <= order.index(bad)


@given(st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 0.8), st.floats(0, 0.1))
def test_a_wider_limit_convicts_no_more(point: float, error: float, limit: float, wider: float) -> None:
    for metric in (LOWER, HIGHER):
        narrow, wide = (ruling(at(point, error), metric, one).verdict for one in (limit, limit + wider))
        assert narrow is Verdict.REGRESSED or wide is not Verdict.REGRESSED
