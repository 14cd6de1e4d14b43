from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judge.exact import FIDELITY_ELSEWHERE, as_kept, beyond, compare_exact
from harness.metrics import Metric
from harness.records import Verdict
from tests.judge_samples import METRICS, a_result

MIB = 2.0**20
RESULT = a_result({"size": [1.0]})
SCORE = Metric("score", "points", "higher", tolerance=0.1)


@pytest.mark.parametrize(
    ("metric", "now", "baseline", "verdict"),
    [
        ("size", 1001.0, 1000.0, Verdict.UNCHANGED),
        ("size", 1002.0, 1000.0, Verdict.REGRESSED),
        ("size", 999.0, 1000.0, Verdict.UNCHANGED),
        ("size", 998.0, 1000.0, Verdict.IMPROVED),
        ("parameters", 11_689_512.0, 11_689_512.0, Verdict.UNCHANGED),
        ("parameters", 11_689_513.0, 11_689_512.0, Verdict.REGRESSED),
        ("parameters", 11_689_511.0, 11_689_512.0, Verdict.IMPROVED),
        ("fallbacks", 0.0, 0.0, Verdict.UNCHANGED),
        ("fallbacks", 1.0, 0.0, Verdict.REGRESSED),
        ("fallbacks", 0.0, 1.0, Verdict.IMPROVED),
        ("sparsity", 0.5, 0.5, Verdict.UNCHANGED),
        ("sparsity", 0.499999, 0.5, Verdict.UNCHANGED),
        ("sparsity", 0.499998, 0.5, Verdict.REGRESSED),
        ("quantized", 0.0, 0.9998, Verdict.REGRESSED),
        ("quantized", 0.9998, 0.0, Verdict.IMPROVED),
        ("memory.peak", 51 * MIB, 50 * MIB, Verdict.UNCHANGED),
        ("memory.peak", 51 * MIB + 1, 50 * MIB, Verdict.REGRESSED),
        ("memory.peak", 102 * MIB, 100 * MIB, Verdict.UNCHANGED),
        ("memory.peak", 102 * MIB + 1, 100 * MIB, Verdict.REGRESSED),
        ("memory.inference", 0.0, 0.5 * MIB, Verdict.UNCHANGED),
        ("memory.inference", 0.0, 50 * MIB, Verdict.INVALID),
        ("fidelity.error", 0.011, 0.01, Verdict.UNCHANGED),
        ("fidelity.error", 0.0111, 0.01, Verdict.REGRESSED),
        ("fidelity.agreement", 0.98, 0.982, Verdict.UNCHANGED),
        ("fidelity.agreement", 0.9799, 0.982, Verdict.REGRESSED),
    ],
)
def test_verdicts_at_the_exact_boundary(metric: str, now: float, baseline: float, verdict: Verdict) -> None:
    assert compare_exact(RESULT, METRICS[metric], now, baseline).verdict is verdict


@pytest.mark.parametrize(
    ("metric", "now", "baseline", "sentence"),
    [
        ("size", 46830123.0, 40000000.0, "size 44.7 MiB against 38.1 MiB: +17.1 %; limit +0.10 %."),
        ("memory.peak", 87 * MIB, 37 * MIB, "memory.peak 87.0 MiB against 37.0 MiB: +135 %; limit +1.00 MiB."),
        ("quantized", 0.0, 0.9998, "quantized 0.00 % against 99.98 %: -99.98 pt; limit -0.0001 pt."),
        ("sparsity", 0.5, 0.500009, "sparsity 50.00 % against 50.00 %: -0.0009 pt; limit -0.0001 pt."),
        ("fallbacks", 2.0, 0.0, "fallbacks 2 against 0: +2; no rise is accepted."),
        ("fidelity.agreement", 0.95, 0.982, "fidelity.agreement 95.00 % against 98.20 %: -3.20 pt; limit -0.20 pt."),
    ],
)
def test_the_sentence(metric: str, now: float, baseline: float, sentence: str) -> None:
    assert compare_exact(RESULT, METRICS[metric], now, baseline).reason == sentence


@pytest.mark.parametrize(
    ("metric", "now", "baseline", "said"),
    [
        ("memory.peak", 102.04 * MIB, 100 * MIB, "102 MiB against 100 MiB: +2.04 %; limit +2.00 %."),
        ("memory.peak", 1.004 * MIB, 0.0, "1.00 MiB against 0 B: +1.004 MiB; limit +1.000 MiB."),
        ("size", 1_001_040.0, 1_000_000.0, "978 KiB against 977 KiB: +0.104 %; limit +0.100 %."),
        ("fidelity.agreement", 0.97996, 0.982, "98.00 % against 98.20 %: -0.204 pt; limit -0.200 pt."),
    ],
)
def test_a_change_just_beyond_its_limit_does_not_read_as_the_limit(
    metric: str, now: float, baseline: float, said: str
) -> None:
    """What regressed was said to have changed by +2.0 % beside a limit of +2.0 %."""
    row = compare_exact(RESULT, METRICS[metric], now, baseline)
    assert row.verdict is Verdict.REGRESSED
    assert row.reason == f"{metric} {said}"


def test_the_record_is_exact_and_relative() -> None:
    row = compare_exact(RESULT, METRICS["memory.peak"], 60 * MIB, 50 * MIB)
    assert row.change is not None
    assert row.baseline is not None
    assert (row.change.low, row.change.point, row.change.high) == pytest.approx((0.2, 0.2, 0.2))
    assert (row.limit, row.baseline.point, row.unit) == (pytest.approx(0.02), 50 * MIB, "bytes")
    against_nothing = compare_exact(RESULT, METRICS["fallbacks"], 1.0, 0.0)
    assert (against_nothing.change, against_nothing.limit) == (None, None)


def test_another_machine_class_widens_the_limit_of_fidelity() -> None:
    def verdict(now: float) -> Verdict:
        return compare_exact(RESULT, METRICS["fidelity.error"], now, 0.01, FIDELITY_ELSEWHERE).verdict

    assert verdict(0.025) is Verdict.UNCHANGED
    assert verdict(0.0251) is Verdict.REGRESSED


@pytest.mark.parametrize(
    ("value", "kept"), [(0.123456789, 0.123457), (11689512.0, 11689512.0), (0.0, 0.0), (1.23456789e-9, 1.23457e-9)]
)
def test_numbers_as_a_baseline_keeps_them(value: float, kept: float) -> None:
    assert as_kept(value) == kept


def test_rounding_a_baseline_makes_no_regression() -> None:
    strict = Metric("drift", "degree", "lower", tolerance=0.0)
    assert compare_exact(RESULT, strict, 0.123456789, as_kept(0.123456789)).verdict is Verdict.UNCHANGED


def test_not_a_number_is_beyond_every_limit() -> None:
    assert beyond(math.nan, 1.0)
    assert beyond(1.0, math.nan)
    assert beyond(math.inf, 1.0)
    assert not beyond(1.0, 1.0)


numbers = st.floats(1e-3, 1e6)


@given(numbers, numbers, numbers)
def test_a_worse_value_is_never_judged_milder(baseline: float, one: float, other: float) -> None:
    order = [Verdict.IMPROVED, Verdict.UNCHANGED, Verdict.REGRESSED]
    mild, bad = sorted((one, other), reverse=True)
    verdicts = [compare_exact(RESULT, SCORE, now, baseline).verdict for now in (mild, bad)]
    assert order.index(verdicts[0]) <= order.index(verdicts[1])


@given(numbers, numbers)
def test_what_regressed_one_way_improved_the_other(one: float, other: float) -> None:
    there, back = (compare_exact(RESULT, SCORE, *pair).verdict for pair in ((one, other), (other, one)))
    # The limit is relative to the baseline, so the smaller of the two decides less easily.
    assert {there, back} in (
        {Verdict.UNCHANGED},
        {Verdict.REGRESSED, Verdict.IMPROVED},
        {Verdict.UNCHANGED, Verdict.IMPROVED},
        {Verdict.UNCHANGED, Verdict.REGRESSED},
    )
