from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.baseline.records import Block, machine_class
from harness.judge import Prior, case_verdict, compare, fresh_launches
from harness.metrics import Metric, resolve
from harness.records import Comparison, Estimate, Evidence, Measurement, Outcome, Result, Verdict
from tests.judge_samples import (
    CASE,
    ELSEWHERE,
    IDENTITY,
    METRICS,
    NODEID,
    WORKLOAD,
    a_baseline,
    a_block,
    a_portable,
    a_result,
    scores,
    some_times,
)

SAMPLED = {"latency.p50": [0.0112, 0.01121, 0.01119], "speedup": [2.0, 2.002, 1.998]}
RELATIVE = {"latency.p50": [1.12, 1.121, 1.119]}
LOCAL = {"memory.inference": [3e7], "memory.peak": [1e8]}
PORTABLE = {
    "size": 4e7,
    "parameters": 115466.0,
    "sparsity": 0.0,
    "quantized": 0.9998,
    "fallbacks": 0.0,
    "accuracy": 0.75,
    "fidelity.error": 0.012,
    "fidelity.agreement": 0.995,
}
SCORES = scores("1110")
RESULT = a_result({**SAMPLED, **LOCAL, **{name: [value] for name, value in PORTABLE.items()}}, RELATIVE, scores=SCORES)
BLOCK = a_block({**SAMPLED, **LOCAL}, RELATIVE)
BASELINE = a_baseline(a_portable(PORTABLE, scores=SCORES), some_times([BLOCK] * 3))
PASSES = (Verdict.UNCHANGED, Verdict.IMPROVED)


def judged(result: Result = RESULT, baseline: Any = BASELINE, metrics: Any = METRICS, identity: Any = IDENTITY) -> dict:
    rows = compare(result, baseline, metrics, Prior(), identity)
    found = {row.metric: row for row in rows}
    assert len(found) == len(rows)
    return found


def with_measurement(metric: str, **changes: Any) -> Result:
    measurements = [dataclasses.replace(one, **changes) if one.metric == metric else one for one in RESULT.measurements]
    return dataclasses.replace(RESULT, measurements=tuple(measurements))


def without(metric: str) -> Result:
    return dataclasses.replace(RESULT, measurements=tuple(one for one in RESULT.measurements if one.metric != metric))


def test_every_metric_with_a_limit_is_compared_and_no_other() -> None:
    rows = judged()
    assert list(rows) == [name for name in METRICS if METRICS[name].gates and name in {**SAMPLED, **LOCAL, **PORTABLE}]
    assert {row.verdict for row in rows.values()} == {Verdict.UNCHANGED}
    assert all(row.case_id == CASE and row.suite == "digits" and row.reason.endswith(".") for row in rows.values())


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (Outcome.FAILED, Verdict.ERROR),
        (Outcome.OOM, Verdict.ERROR),
        (Outcome.KILLED, Verdict.ERROR),
        (Outcome.CRASHED, Verdict.ERROR),
        (Outcome.TIMEOUT, Verdict.ERROR),
        (Outcome.PREMATURE_EXIT, Verdict.ERROR),
        (Outcome.INTERRUPTED, Verdict.ERROR),
        (Outcome.INVALID, Verdict.INVALID),
        (Outcome.UNAVAILABLE, Verdict.SKIPPED),
    ],
)
def test_a_result_without_numbers_has_one_comparison(outcome: Outcome, verdict: Verdict) -> None:
    """Even where numbers are in it: what did not complete may not be judged by them."""
    (row,) = compare(dataclasses.replace(RESULT, outcome=outcome, reason="why"), BASELINE, METRICS, Prior(), IDENTITY)
    assert (row.metric, row.verdict) == ("case", verdict)
    assert CASE in row.reason
    assert "why" in row.reason


def test_every_outcome_is_thought_of() -> None:
    for outcome in Outcome:
        verdict = case_verdict(judged(dataclasses.replace(RESULT, outcome=outcome)).values())
        assert (verdict in PASSES) == (outcome is Outcome.COMPLETED)


def test_a_broken_promise_is_invalid() -> None:
    broken = dataclasses.replace(RESULT, evidence=(Evidence("int8", "quantized >= 0.9", "0.0", False),))
    (row,) = judged(broken).values()
    assert row.verdict is Verdict.INVALID
    assert "int8 promised quantized >= 0.9, and 0.0 was found" in row.reason


def test_nothing_measured_is_invalid() -> None:
    assert judged(dataclasses.replace(RESULT, measurements=()))["case"].verdict is Verdict.INVALID


def test_without_a_baseline_a_case_is_new() -> None:
    (row,) = judged(baseline=a_baseline()).values()
    assert (row.metric, row.verdict) == ("case", Verdict.NEW)
    assert f"harness accept --case '{CASE}'" in row.reason
    assert fresh_launches(RESULT, a_baseline(), METRICS, Prior(), 16) == 0


def test_a_new_case_with_wrong_numbers_is_invalid_all_the_same() -> None:
    rows = judged(_with_nan("accuracy"), a_baseline())
    assert (rows["accuracy"].verdict, rows["case"].verdict) == (Verdict.INVALID, Verdict.NEW)


def _with_nan(metric: str) -> Result:
    return with_measurement(metric, values=(math.nan,), estimate=Estimate.exact(math.nan))


def test_a_metric_that_the_baseline_does_not_know_is_new() -> None:
    own = Metric("energy", "J", "lower", tolerance=0.1, portable=True)
    result = dataclasses.replace(
        RESULT, measurements=(*RESULT.measurements, Measurement("energy", Estimate.exact(3.0), (3.0,)))
    )
    assert judged(result, metrics=resolve([own]))["energy"].verdict is Verdict.NEW
    local = dataclasses.replace(own, portable=False)
    assert judged(result, metrics=resolve([local]))["energy"].verdict is Verdict.NEW


@pytest.mark.parametrize("metric", ["speedup", "latency.p50", "accuracy", "quantized", "memory.peak"])
def test_a_metric_that_vanished_is_missing(metric: str) -> None:
    row = judged(without(metric))[metric]
    assert row.verdict is Verdict.MISSING
    assert f"harness accept --case '{CASE}'" in row.reason


def test_a_metric_that_the_suite_no_longer_has_is_missing() -> None:
    portable = a_portable({**PORTABLE, "Any <words>": 3.0}, scores=SCORES)
    times = some_times([a_block({**SAMPLED, **LOCAL, "joules": [1.0]}, RELATIVE)])
    rows = judged(baseline=a_baseline(portable, times))
    assert rows["Any <words>"].verdict is rows["joules"].verdict is Verdict.MISSING


def test_a_metric_whose_limit_was_taken_away_is_not_judged() -> None:
    free = {**METRICS, "speedup": METRICS["speedup"].with_tolerance()}
    assert "speedup" not in judged(metrics=free)
    assert "speedup" not in judged(without("speedup"), metrics=free)


def test_a_case_of_which_nothing_has_a_limit_says_so() -> None:
    free = {name: metric.with_tolerance() for name, metric in METRICS.items()}
    (row,) = judged(metrics=free).values()
    assert (row.metric, row.verdict) == ("case", Verdict.INCOMPARABLE)


def test_another_machine_class_compares_what_is_portable() -> None:
    rows = judged(identity=ELSEWHERE)
    for name in (*SAMPLED, *LOCAL):
        assert rows[name].verdict is Verdict.INCOMPARABLE
        assert rows[name].reason == (
            f"{name}: the baseline was made on another class of machine, which differs in model (Test CPU there, "
            "Another CPU here), cores (2 there, 8 here)."
        )
    assert {rows[name].verdict for name in PORTABLE} == {Verdict.UNCHANGED}


def test_the_most_alike_of_several_machines_is_named() -> None:
    near, far = {**IDENTITY, "cores": 4}, {**ELSEWHERE, "kind": "gpu"}
    baseline = a_baseline(a_portable(PORTABLE, scores=SCORES), None, far, near)
    reason = judged(baseline=baseline)["speedup"].reason
    assert reason.endswith("which differs in cores (4 there, 2 here).")


def test_long_identities_are_named_without_their_values() -> None:
    baseline = a_baseline(a_portable(PORTABLE, scores=SCORES), None, {**IDENTITY, "instruction_sets": "avx " * 20})
    assert judged(baseline=baseline)["speedup"].reason.endswith("differs in instruction_sets.")


def test_fidelity_has_a_wider_limit_on_another_class() -> None:
    drifted = with_measurement("fidelity.error", values=(0.016,), estimate=Estimate.exact(0.016))
    assert judged(drifted)["fidelity.error"].verdict is Verdict.REGRESSED
    assert judged(drifted, identity=ELSEWHERE)["fidelity.error"].verdict is Verdict.UNCHANGED
    lost = with_measurement("quantized", values=(0.9,), estimate=Estimate.exact(0.9))
    assert judged(lost, identity=ELSEWHERE)["quantized"].verdict is Verdict.REGRESSED


@pytest.mark.parametrize(
    ("part", "concerned"),
    [
        ("inputs", {*SAMPLED, *LOCAL}),
        ("batch", {*SAMPLED, *LOCAL}),
        ("evaluation", {"accuracy", "fidelity.error", "fidelity.agreement"}),
        ("metric", {"accuracy"}),
        ("stream", {*SAMPLED, *LOCAL, "accuracy", "fidelity.error", "fidelity.agreement"}),
    ],
)
def test_a_changed_workload_is_another_question(part: str, concerned: set[str]) -> None:
    rows = judged(dataclasses.replace(RESULT, workload={**WORKLOAD, part: "other"}))
    incomparable = {name for name, row in rows.items() if row.verdict is Verdict.INCOMPARABLE}
    assert incomparable == concerned
    assert all(f"the workload's {part} changed" in rows[name].reason for name in concerned)


def test_slower_hardware_numbers_do_not_hide_what_is_counted() -> None:
    grown = with_measurement("size", values=(8e7,), estimate=Estimate.exact(8e7))
    rows = judged(dataclasses.replace(grown, workload={**WORKLOAD, "inputs": "other"}), identity=ELSEWHERE)
    assert rows["size"].verdict is Verdict.REGRESSED


def test_a_leak_of_50_mb_is_a_regression() -> None:
    leaking = with_measurement("memory.inference", values=(8e7,), estimate=Estimate.exact(8e7))
    row = judged(leaking)["memory.inference"]
    assert row.verdict is Verdict.REGRESSED
    assert row.reason == "memory.inference 76.3 MiB against 28.6 MiB: +167 %; limit +1.00 MiB."


def test_memory_is_held_against_the_median_of_the_blocks() -> None:
    blocks = [a_block({**SAMPLED, "memory.peak": [value]}, RELATIVE) for value in (1e8, 1.01e8, 3e8)]
    row = judged(baseline=a_baseline(None, some_times(blocks)))["memory.peak"]
    assert row.baseline is not None
    assert row.baseline.point == 1.01e8


@pytest.mark.parametrize(
    ("metric", "changes"),
    [
        ("speedup", {"values": ()}),
        ("speedup", {"values": (2.0, 2.0)}),
        ("speedup", {"values": (2.0, 0.0, 2.0)}),
        ("latency.p50", {"values": (0.01, -0.01, 0.01)}),
        ("latency.p50", {"relative": (1.0, 1.0)}),
        ("latency.p50", {"relative": (1.0, 0.0, 1.0)}),
        ("size", {"values": (0.0,), "estimate": Estimate.exact(0.0)}),
        ("parameters", {"values": (0.0,), "estimate": Estimate.exact(0.0)}),
        ("accuracy", {"values": (-0.1,), "estimate": Estimate.exact(-0.1)}),
        ("memory.peak", {"values": (0.0,), "estimate": Estimate.exact(0.0)}),
    ],
)
def test_numbers_that_are_no_measurement_are_invalid(metric: str, changes: dict[str, Any]) -> None:
    row = judged(with_measurement(metric, **changes))[metric]
    assert row.verdict is Verdict.INVALID
    assert row.reason.endswith(f"reproduce: pytest '{NODEID}'")


def test_a_wrong_number_is_invalid_where_nothing_is_judged_too() -> None:
    measurements = (*RESULT.measurements, Measurement("latency.p99", Estimate.exact(math.nan), (math.nan,)))
    assert judged(dataclasses.replace(RESULT, measurements=measurements))["latency.p99"].verdict is Verdict.INVALID


@pytest.mark.parametrize(
    ("unit", "value", "invalid"),
    [
        *((unit, 0.0, True) for unit in ("s", "items/s", "x")),
        *((unit, 0.0, False) for unit in ("bytes", "count", "share", "ms")),
        *((unit, -1.0, True) for unit in ("bytes", "count", "share")),
        ("ms", -1.0, False),
    ],
)
def test_what_a_unit_may_hold_is_what_the_page_on_metrics_says(unit: str, value: float, invalid: bool) -> None:
    one, launches = a_result({"own": (value,)}), a_result({"own": (value,) * 3})
    reported = Metric("own", unit, "lower")
    portable = dataclasses.replace(reported, slack=0.1, portable=True)
    assert [is_invalid(one, reported), is_invalid(one, portable), is_invalid(launches, portable)] == [invalid] * 3
    assert is_invalid(launches, reported.with_tolerance(0.1))


def is_invalid(result: Result, metric: Metric) -> bool:
    """Whether the value of a metric is no measurement."""
    row = judged(result, metrics={metric.name: metric}).get(metric.name)
    return row is not None and row.verdict is Verdict.INVALID


no_number = st.sampled_from([math.nan, math.inf, -math.inf, -1.0])


@given(st.sampled_from(sorted({**SAMPLED, **LOCAL, **PORTABLE})), no_number, st.integers(0, 2), st.booleans())
def test_no_result_with_a_wrong_number_ever_passes(metric: str, wrong: float, place: int, in_ratio: bool) -> None:
    measurement = RESULT.measurement(metric)
    assert measurement is not None
    field = "relative" if in_ratio and measurement.relative else "values"
    numbers = list(getattr(measurement, field))
    numbers[place % len(numbers)] = wrong
    result = with_measurement(metric, **{field: tuple(numbers)})
    for baseline in (BASELINE, a_baseline()):
        for identity in (IDENTITY, ELSEWHERE):
            rows = compare(result, baseline, METRICS, Prior(), identity)
            assert case_verdict(rows) is Verdict.INVALID


@given(st.sampled_from(sorted({**SAMPLED, **LOCAL, **PORTABLE})), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_no_baseline_with_a_wrong_number_lets_anything_pass(metric: str, wrong: float) -> None:
    portable = dict(PORTABLE)
    blocks: list[Block] = [BLOCK, BLOCK, BLOCK]
    if metric in portable:
        portable[metric] = wrong
    else:
        values, relative = dict(BLOCK.values), dict(BLOCK.relative)
        (relative if metric in relative else values)[metric] = (wrong,) * len(values[metric])
        blocks[1] = dataclasses.replace(BLOCK, values=values, relative=relative)
    rows = judged(baseline=a_baseline(a_portable(portable, scores=SCORES), some_times(blocks)))
    assert rows[metric].verdict is Verdict.INVALID


def test_an_empty_block_lets_nothing_pass() -> None:
    rows = judged(baseline=a_baseline(None, some_times([BLOCK, a_block({"speedup": [], "memory.peak": []})])))
    assert rows["speedup"].verdict is rows["memory.peak"].verdict is Verdict.INVALID


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=3, max_size=3), st.lists(finite, min_size=3, max_size=3), finite, finite)
def test_whatever_the_numbers_there_is_a_verdict_and_a_sentence(
    latency: list[float], ratios: list[float], memory: float, accuracy: float
) -> None:
    result = dataclasses.replace(
        RESULT,
        measurements=(
            Measurement("latency.p50", Estimate.exact(latency[0]), tuple(latency), tuple(ratios)),
            Measurement("memory.peak", Estimate.exact(memory), (memory,)),
            Measurement("accuracy", Estimate.exact(accuracy), (accuracy,)),
        ),
    )
    rows = compare(result, BASELINE, METRICS, Prior(), IDENTITY)
    assert all(isinstance(row, Comparison) and row.reason for row in rows)
    if min(*latency, *ratios) <= 0:
        assert case_verdict(rows) not in PASSES


def test_the_class_decides_and_not_where_the_times_lie() -> None:
    """A baseline of another machine that was handed in as this one's (two runs compared) is no baseline of times."""
    foreign = a_baseline(a_portable(PORTABLE, scores=SCORES), some_times([BLOCK], identity=ELSEWHERE))
    assert judged(baseline=foreign)["speedup"].verdict is Verdict.INCOMPARABLE
    assert machine_class(ELSEWHERE) != machine_class(IDENTITY)


@pytest.mark.parametrize(
    ("identity", "weights", "now", "verdict"),
    [
        (ELSEWHERE, "bbbb", 0.495, Verdict.UNCHANGED),
        (ELSEWHERE, "bbbb", 0.48, Verdict.REGRESSED),
        (ELSEWHERE, "aaaa", 0.495, Verdict.REGRESSED),
        (IDENTITY, "bbbb", 0.495, Verdict.REGRESSED),
    ],
    ids=["other weights elsewhere", "too few", "the same weights elsewhere", "other weights at home"],
)
def test_sparsity_has_a_wider_limit_for_weights_of_another_class_alone(
    identity: dict[str, Any], weights: str, now: float, verdict: Verdict
) -> None:
    baseline = a_baseline(a_portable({**PORTABLE, "sparsity": 0.5}, scores=SCORES), some_times([BLOCK] * 3))
    result = with_measurement("sparsity", values=(now,), estimate=Estimate.exact(now))
    rows = judged(dataclasses.replace(result, weights=weights), baseline, identity=identity)
    assert rows["sparsity"].verdict is verdict
