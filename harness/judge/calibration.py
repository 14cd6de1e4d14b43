"""What a machine and a suite can tell, from runs in which nothing changed: false alarms, spreads, detectable changes.

Two kinds of runs are read: *paired* ones, of a tree against itself (`--against .`), and *alone* ones, whose launches
have the anchor and the reference. The formulas of the judge say what a later run under the same plan would find.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.baseline.records import BASELINE_SCHEMA, Accepted, Block, Times
from harness.judge.against import DEFAULT_SPREAD, expected
from harness.judge.alarms import Alarms, alarms_of
from harness.judge.design import AgainstBaseline, InTurns, Launching, Precision, detectable, in_time, plan_for
from harness.judge.prior import DEFAULT_BLOCK, Prior, Spread, between, fit_prior, fit_spread, pooled
from harness.judge.times import ANCHORED, SPEEDUP
from harness.metrics import METRICS, Metric
from harness.plan import Plan
from harness.records import Launch, Outcome, Result, Run, Scalar

__all__ = ["Calibration", "CaseCalibration", "Quantity", "calibrate", "nice_above"]

NICE = (0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 75, 100)
"""Tolerances that people write, in percent."""

AGAINST, ANCHOR = "against", "anchored"
_METRIC = {AGAINST: ANCHORED, ANCHOR: ANCHORED, SPEEDUP: SPEEDUP}
"""The ratios of a launch that are judged, and the metric whose verdict each is behind."""
_TIME = next(metric for metric in METRICS if metric.name == ANCHORED)


@dataclass(frozen=True)
class Quantity:
    """One judged ratio of a case; spreads are standard deviations, all numbers relative (0.01 is 1 %).

    ratio        `against`, `anchored` or `speedup`
    launches     between the launches of a run
    within       the part of it that a launch's own rounds leave, None where the record has none
    runs         between the means of runs, None for one run
    judged       the spread that the judge assumes between launches, and `judged_runs` between runs, with what is usual
                 on the machine weighed in; None in turns, where runs are not compared
    detectable   the smallest change for the worse that this plan tells from none, in 80 % of runs, by the launches that
                 its budget leaves the case
    tolerance    that of the suite, None where the metric has no limit
    found        the smallest change that this plan finds beyond that tolerance, in 80 % of runs
    recommended  the next tolerance that people write, None above 100 %
    plan         what of the plan must change to hold the tolerance; empty where nothing need, or nothing can
    """

    ratio: str
    metric: str
    launches: float
    within: float | None
    runs: float | None
    judged: float
    judged_runs: float | None
    detectable: float
    tolerance: float | None
    found: float | None
    recommended: float | None
    plan: Mapping[str, float]

    @property
    def refused(self) -> bool:
        """Whether the suite's tolerance is smaller than what this plan can tell."""
        return self.tolerance is not None and self.tolerance < self.detectable


@dataclass(frozen=True)
class CaseCalibration:
    """What was found of a case. `memory` is the span of `memory.peak` over the runs, relative to their median."""

    suite: str
    case_id: str
    nodeid: str
    quantities: tuple[Quantity, ...]
    memory: float | None


@dataclass(frozen=True)
class Calibration:
    """Everything that was found.

    times    the verdicts on time of the tree against itself, and `others` those on all other metrics
    failed   a sentence for each case that ended otherwise than measured
    guessed  whether there was too little to learn the usual spread between runs from
    """

    runs: int
    plan: Mapping[str, Scalar]
    times: Alarms
    others: Alarms
    cases: tuple[CaseCalibration, ...]
    failed: tuple[str, ...]
    guessed: bool


def calibrate(
    paired: Sequence[Run],
    alone: Sequence[Run],
    plan: Plan,
    metrics: Mapping[str, Mapping[str, Metric]],
    *,
    tolerance: float,
    committed: Mapping[str, Prior] | None = None,
) -> Calibration:
    """Read runs of both kinds.

    `metrics` are each suite's by name. `tolerance` is that of comparisons in turns. `committed` is, by hardware, what
    the committed baselines say is usual; where they are too few to judge by, the runs themselves are learnt from.
    """
    every, in_turns, on_its_own = (_by_case(runs) for runs in ([*paired, *alone], paired, alone))
    spreads = [_compared(groups) for results in in_turns.values() if _logs(groups := _launches(results), AGAINST)]
    usual = fit_spread([spread for spread in spreads if spread.freedom], DEFAULT_SPREAD)
    priors = {**_priors(on_its_own), **(committed or {})}
    cases = []
    for key, results in every.items():
        result = results[-1]
        own = metrics[result.suite]
        found = [_paired(_launches(in_turns.get(key, [])), usual, plan, tolerance)]
        for ratio in (ANCHOR, SPEEDUP):
            metric = own[_METRIC[ratio]]
            prior = priors.get(result.hardware, Prior())
            groups = _launches(on_its_own.get(key, []))
            found.append(_based(groups, ratio, metric, prior, plan, _limit(metric, result)))
        quantities = tuple(one for one in found if one is not None)
        cases.append(CaseCalibration(result.suite, result.case_id, result.nodeid, quantities, _memory(results)))
    rows = [row for run in paired for row in run.comparisons if row.metric != "case"]
    return Calibration(
        len(paired),
        plan.record(),
        alarms_of([row for row in rows if row.metric == ANCHORED]),
        alarms_of([row for row in rows if row.metric != ANCHORED]),
        tuple(cases),
        _failed([*paired, *alone]),
        any(prior.blocks(ANCHORED) == DEFAULT_BLOCK for prior in priors.values()),
    )


def nice_above(value: float) -> float | None:
    """The next tolerance that people write; None where it would be more than 100 %."""
    return next((nice / 100 for nice in NICE if value <= nice / 100), None)


def _paired(groups: Sequence[Sequence[Launch]], usual: Spread, plan: Plan, tolerance: float) -> Quantity | None:
    """The comparison in turns, None for a case that has none."""
    logs = _logs(groups, AGAINST)
    if not logs:
        return None
    own = pooled(logs)
    judged = Spread(usual.variance * _expected(groups), usual.freedom).moderate(own.variance, own.freedom)
    precision = InTurns(_launching(groups, AGAINST, judged.variance), usual.freedom)
    return _quantity(AGAINST, groups, precision, judged.variance, None, _TIME, plan, tolerance)


def _compared(groups: Sequence[Sequence[Launch]]) -> Spread:
    """How the variance of a case's launches in turns compares with what the judge expects of them."""
    own = pooled(_logs(groups, AGAINST))
    return Spread(own.variance / _expected(groups), own.freedom)


def _expected(groups: Sequence[Sequence[Launch]]) -> float:
    return expected([launch for group in groups for launch in group])


def _based(
    groups: Sequence[Sequence[Launch]], ratio: str, metric: Metric, prior: Prior, plan: Plan, limit: float | None
) -> Quantity | None:
    """The comparison with a baseline, None for a case that has no such ratio."""
    logs = _logs(groups, ratio)
    if not logs:
        return None
    own, runs = pooled(logs), between(logs)
    launch, block = prior.launches(metric.name), prior.blocks(metric.name)
    judged = launch.moderate(own.variance, own.freedom)
    hours = block.moderate(runs.variance, runs.freedom)
    precision = AgainstBaseline(
        _launching(groups, ratio, judged.variance), launch.freedom, Spread(hours.variance, block.freedom), plan.screen
    )
    return _quantity(ratio, groups, precision, judged.variance, hours.variance, metric, plan, limit)


def _quantity(
    ratio: str,
    groups: Sequence[Sequence[Launch]],
    precision: Precision,
    variance: float,
    hours: float | None,
    metric: Metric,
    plan: Plan,
    limit: float | None,
) -> Quantity:
    logs = _logs(groups, ratio)
    within = _within(groups, ratio)
    made = in_time(precision.launching, plan)
    shown = detectable(precision, made, metric)
    wanting = limit is not None and limit < shown
    return Quantity(
        ratio=ratio,
        metric=metric.name,
        launches=math.sqrt(pooled(logs).variance),
        within=None if within is None else math.sqrt(within),
        runs=math.sqrt(between(logs).variance) if len(logs) > 1 else None,
        judged=math.sqrt(variance),
        judged_runs=None if hours is None else math.sqrt(hours),
        detectable=shown,
        tolerance=limit,
        found=None if limit is None else detectable(precision, made, metric, limit),
        recommended=nice_above(shown),
        plan=plan_for(precision, plan, metric, limit) if wanting and limit is not None else {},
    )


def _launching(groups: Sequence[Sequence[Launch]], ratio: str, variance: float) -> Launching:
    launches = [one for group in groups for one in group]
    start = statistics.fmean(max(one.wall_seconds - one.seconds, 0.0) for one in launches)
    sampled = statistics.fmean(one.seconds for one in launches)
    return Launching(variance, _within(groups, ratio) or 0.0, start, sampled)


def _within(groups: Iterable[Sequence[Launch]], ratio: str) -> float | None:
    """The mean variance that the launches' own rounds leave in their ratio."""
    squares = [one.within[ratio] ** 2 for group in groups for one in group if ratio in one.within]
    return statistics.fmean(squares) if squares else None


def _by_case(runs: Iterable[Run]) -> dict[tuple[str, str], list[Result]]:
    """The completed results of each case, in the order of the runs."""
    found: dict[tuple[str, str], list[Result]] = {}
    for run in runs:
        for result in run.results:
            if result.outcome is Outcome.COMPLETED:
                found.setdefault((result.suite, result.case_id), []).append(result)
    return found


def _launches(results: Iterable[Result]) -> list[list[Launch]]:
    """The launches that count, run by run."""
    return [[one for one in result.launches if one.counts] for result in results]


def _logs(groups: Iterable[Sequence[Launch]], ratio: str) -> list[list[float]]:
    """The logarithms of a ratio, run by run; runs without it are left out."""
    every = [[math.log(value) for one in group if (value := getattr(one, ratio)) is not None] for group in groups]
    return [logs for logs in every if logs]


def _priors(cases: Mapping[tuple[str, str], Sequence[Result]]) -> dict[str, Prior]:
    """What is usual on each hardware, learnt from these runs as from baselines that were made of them."""
    times: dict[str, list[Times]] = {}
    for key, results in cases.items():
        blocks = tuple(Block("", "", _values(group)) for group in _launches(results))
        one = Times(BASELINE_SCHEMA, *key, {}, {}, {}, blocks, Accepted("", "", ""))
        times.setdefault(results[-1].hardware, []).append(one)
    return {hardware: fit_prior(found) for hardware, found in times.items()}


def _values(group: Sequence[Launch]) -> dict[str, tuple[float, ...]]:
    found = {_METRIC[ratio]: _logs([group], ratio) for ratio in (ANCHOR, SPEEDUP)}
    return {metric: tuple(map(math.exp, logs[0])) for metric, logs in found.items() if logs}


def _failed(runs: Iterable[Run]) -> tuple[str, ...]:
    """A sentence for each case that could not be measured although it can run here."""
    fine = (Outcome.COMPLETED, Outcome.UNAVAILABLE)
    results = [result for run in runs for result in run.results if result.outcome not in fine]
    return tuple(sorted({f"{one.case_id}: {one.outcome}: {one.reason}" for one in results}))


def _limit(metric: Metric, result: Result) -> float | None:
    """The suite's limit of a metric relative to the case's value."""
    measurement = result.measurement(metric.name)
    if not metric.gates or measurement is None:
        return None
    return metric.limit(measurement.estimate.point) / measurement.estimate.point


def _memory(results: Iterable[Result]) -> float | None:
    measured = [result.measurement("memory.peak") for result in results]
    found = [measurement.estimate.point for measurement in measured if measurement]
    return (max(found) - min(found)) / statistics.median(found) if found else None
