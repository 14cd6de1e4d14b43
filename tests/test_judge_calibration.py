"""Calibration reads the spreads that made-up launches were given, and refuses what they can't tell."""

from __future__ import annotations

import dataclasses
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.hardware import cpu
from harness.judge import Prior, estimate
from harness.judge.calibration import Calibration, Quantity, calibrate, nice_above
from harness.judge.prior import Spread
from harness.measure import sampling
from harness.metrics import METRICS
from harness.plan import Plan
from harness.records import Comparison, Launch, Measurement, Outcome, Result, Run, Verdict
from tests.cli_runs import a_case, a_run, without_numbers

BUILT_IN = {metric.name: metric for metric in METRICS}
PLAN = Plan()


def a_launch(phase: str = "screen", within: float = 0.002, **ratios: float) -> Launch:
    empty = {"anchored": None, "speedup": None, **ratios}
    return Launch(
        phase, 20, samples={}, cpu_share=1.0, load_seconds=0.1, wall_seconds=2.8, seconds=0.8,
        within=dict.fromkeys(ratios, within), **empty,
    )  # fmt: skip


def a_result(name: str, launches: Sequence[Launch], memory: float = 1e8) -> Result:
    base = a_case(name)
    speedups = tuple(one.speedup for one in launches if one.speedup)
    more = [Measurement("memory.peak", estimate((memory,)), (memory,))]
    more += [Measurement("speedup", estimate(speedups), speedups)] if speedups else []
    return dataclasses.replace(base, launches=tuple(launches), measurements=(*base.measurements, *more))


def runs_of(
    rng: random.Random, *, cases: int, launch: float, hour: float, in_turns: float
) -> tuple[list[Run], list[Run]]:
    """Three runs of each kind; the anchor's and the speed-up's launches and hours spread alike."""
    paired, alone = [], []
    for number in range(3):
        of_pairs, on_their_own = [], []
        for case in range(cases):
            ratios = [math.exp(rng.gauss(0, in_turns)) for _ in range(8)]
            of_pairs.append(a_result(f"c{case}", [a_launch("confirm", against=ratio) for ratio in ratios]))
            own = rng.gauss(0, hour)
            values = [math.exp(rng.gauss(own, launch)) for _ in range(4)]
            memory = 1e8 + number * 1e5
            on_their_own.append(
                a_result(f"c{case}", [a_launch(anchored=3 * value, speedup=2 * value) for value in values], memory)
            )
        paired.append(a_run(of_pairs))
        alone.append(a_run(on_their_own, mode="off"))
    return paired, alone


def slowed(run: Run) -> Run:
    """The same where each launch takes 20 s, and samples for half of it."""
    results = (
        dataclasses.replace(
            result,
            launches=tuple(dataclasses.replace(one, wall_seconds=20.0, seconds=10.0) for one in result.launches),
        )
        for result in run.results
    )
    return dataclasses.replace(run, results=tuple(results))


def calibrated(paired: list[Run], alone: list[Run], tolerance: float = 0.01, **options: object) -> Calibration:
    return calibrate(paired, alone, PLAN, {"toys": BUILT_IN}, tolerance=tolerance, **options)  # type: ignore[arg-type]


def mean(found: Calibration, ratio: str, field: str) -> float:
    """Root of the mean square over the cases."""
    values = [getattr(one, field) for case in found.cases for one in case.quantities if one.ratio == ratio]
    return math.sqrt(sum(value**2 for value in values) / len(values))


def test_the_spreads_are_those_that_the_launches_were_given() -> None:
    paired, alone = runs_of(random.Random(1), cases=40, launch=0.01, hour=0.02, in_turns=0.006)
    found = calibrated(paired, alone)
    assert found.runs == 3
    assert len(found.cases) == 40
    assert mean(found, "against", "launches") == pytest.approx(0.006, rel=0.1)
    for ratio in ("anchored", "speedup"):
        assert mean(found, ratio, "launches") == pytest.approx(0.01, rel=0.1)
        assert mean(found, ratio, "runs") == pytest.approx(math.hypot(0.02, 0.01 / 2), rel=0.15)
        assert mean(found, ratio, "judged_runs") == pytest.approx(0.0206, rel=0.15)
        assert mean(found, ratio, "within") == pytest.approx(0.002)
    assert not found.guessed
    assert found.cases[0].memory == pytest.approx(2e5 / 1e8, rel=0.01)


def by_ratio(found: Calibration) -> dict[str, Quantity]:
    return {one.ratio: one for one in found.cases[0].quantities}


def test_a_steady_machine_holds_its_tolerances() -> None:
    found = calibrated(*runs_of(random.Random(2), cases=20, launch=0.004, hour=0.002, in_turns=0.003))
    assert not any(one.refused for case in found.cases for one in case.quantities)
    for one in by_ratio(found).values():
        assert one.tolerance is not None
        assert one.found is not None
        assert one.recommended is not None
        assert one.detectable <= one.recommended <= one.tolerance < one.found
        assert one.plan == {}
    assert {name: one.tolerance for name, one in by_ratio(found).items()} == pytest.approx(
        {"against": 0.01, "anchored": 0.10, "speedup": 0.05}
    )


def test_restless_launches_are_refused_with_a_plan_and_restless_hours_without() -> None:
    found = by_ratio(calibrated(*runs_of(random.Random(3), cases=20, launch=0.01, hour=0.03, in_turns=0.015)))
    assert found["against"].refused
    assert found["against"].plan["confirm"] > PLAN.confirm
    assert found["speedup"].refused
    assert found["speedup"].plan == {}
    assert (
        by_ratio(
            calibrated(*runs_of(random.Random(3), cases=20, launch=0.01, hour=0.03, in_turns=0.015), tolerance=0.05)
        )["against"].plan
        == {}
    )


def test_what_slow_launches_tell_is_by_those_that_their_time_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the plan that is advised has the time for all of its launches."""
    paired, alone = runs_of(random.Random(3), cases=2, launch=0.01, hour=0.01, in_turns=0.015)
    slow = [slowed(run) for run in paired], [slowed(run) for run in alone]
    five = calibrate(paired, alone, Plan(confirm=5), {"toys": BUILT_IN}, tolerance=0.01)
    all_of_them, found = by_ratio(calibrated(paired, alone)), by_ratio(calibrated(*slow))
    for ratio, few in by_ratio(five).items():
        assert (found[ratio].detectable, found[ratio].found) == pytest.approx((few.detectable, few.found))
    assert found["against"].detectable > all_of_them["against"].detectable

    between = (found["against"].detectable + all_of_them["against"].detectable) / 2
    assert not by_ratio(calibrated(paired, alone, tolerance=between))["against"].refused
    refused = by_ratio(calibrated(*slow, tolerance=between))["against"]
    assert refused.refused
    advised = dataclasses.replace(PLAN, confirm=int(refused.plan["confirm"]), budget=refused.plan["budget"])
    assert advised.confirm == PLAN.confirm
    now = [0.0]

    def launch(arms: object, *, phase: str, **_: object) -> Launch:
        now[0] += 20.0
        return a_launch(phase, against=1.0)

    monkeypatch.setattr(sampling, "launch", launch)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    wanted = iter(advised.lots)
    sampled = sampling.sample(
        {}, hardware=cpu, plan=advised, rng=random.Random(0), logs=Path(), more=lambda _: next(wanted, 0)
    )
    assert sum(one.phase == "confirm" for one in sampled.launches) == advised.confirm


def test_what_baselines_know_counts_where_there_are_any() -> None:
    paired, alone = runs_of(random.Random(4), cases=1, launch=0.004, hour=0.002, in_turns=0.003)
    assert calibrated(paired, alone).guessed
    quiet = Prior(
        {"speedup": Spread(0.004**2, 6.0)}, {name: Spread(0.005**2, 6.0) for name in ("speedup", "latency.p50")}
    )
    found = calibrated(paired, alone, committed={"cpu": quiet})
    assert not found.guessed
    assert by_ratio(found)["speedup"].detectable < by_ratio(calibrated(paired, alone))["speedup"].detectable


def test_what_does_not_count_is_left_out() -> None:
    paired, alone = runs_of(random.Random(5), cases=1, launch=0.004, hour=0.002, in_turns=0.003)
    before = calibrated(paired, alone)
    (result,) = paired[0].results
    wild = dataclasses.replace(result, launches=(*result.launches, a_launch("repeated", against=5.0)))
    broken = without_numbers("d", Outcome.CRASHED, "it fell over")
    absent = without_numbers("e", Outcome.UNAVAILABLE, "no GPU")
    found = calibrated([a_run([wild, broken, absent]), *paired[1:]], alone)
    assert found.cases == before.cases
    assert found.failed == ("d/reference/cpu: crashed: it fell over",)


def test_a_reference_has_no_speed_up_and_a_metric_without_limit_no_tolerance() -> None:
    alone = [a_run([a_result("a", [a_launch(anchored=value) for value in (1.0, 1.01, 0.99)])])]
    free = {**BUILT_IN, "latency.p50": BUILT_IN["latency.p50"].with_tolerance()}
    found = calibrate([], alone, PLAN, {"toys": free}, tolerance=0.01)
    (one,) = found.cases[0].quantities
    assert (one.ratio, one.tolerance, one.found, one.refused) == ("anchored", None, None, False)
    assert one.runs is None
    assert one.recommended is not None


def test_verdicts_on_time_and_on_the_rest_are_counted_apart() -> None:
    paired, alone = runs_of(random.Random(6), cases=1, launch=0.004, hour=0.002, in_turns=0.003)
    rows = [
        Comparison("toys", "c0/reference/cpu", metric, verdict, "why.")
        for metric, verdict in (
            ("latency.p50", Verdict.UNCHANGED),
            ("latency.p50", Verdict.REGRESSED),
            ("size", Verdict.UNCHANGED),
            ("case", Verdict.ERROR),
        )
    ]
    found = calibrated([dataclasses.replace(paired[0], comparisons=tuple(rows)), *paired[1:]], alone)
    assert (found.times.verdicts, len(found.times.false)) == (2, 1)
    assert (found.others.verdicts, found.others.false) == (1, ())


def test_tolerances_that_people_write() -> None:
    assert [nice_above(value) for value in (0.0, 0.0051, 0.05, 0.0501, 1.0, 1.01)] == [
        0.005,
        0.01,
        0.05,
        0.06,
        1.0,
        None,
    ]
