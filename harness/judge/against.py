"""A case against the same case in another tree, from launches in which both took turns.

Each launch gives one paired ratio, candidate time over previous time, so that neither the hour nor the anchor has a
part in it; the launches are the evidence. How the error is shared out over the looks is in `harness.judge.looks`.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from scipy.special import ndtri

from harness.baseline.records import Baseline
from harness.disturbance import circumstances
from harness.judge.change import rule
from harness.judge.compare import compare
from harness.judge.estimate import estimate
from harness.judge.interval import interval
from harness.judge.looks import LOT, POWER, SCREEN, confirmed
from harness.judge.prior import Prior, Spread, fit_spread, pooled
from harness.judge.times import judged_launches
from harness.judge.words import apart, changed, plural, quoted
from harness.metrics import TIMES, Metric
from harness.records import Comparison, Estimate, Launch, Result, Scalar, Verdict
from harness.settings import Against
from harness.units import percent, with_interval

__all__ = [
    "DEFAULT_SPREAD",
    "Judged",
    "compare_against",
    "expected",
    "judge_launches",
    "more_launches",
    "own_spread",
    "spread_of",
]

BETWEEN = 0.004
"""Standard deviation between launches of identical work that is expected beside what their rounds explain."""

DEFAULT_SPREAD = Spread(1.0, 4.0)
"""How large the variance of launches is, compared with what is expected, until a run has shown its own: in nine series
of identical work it was 0.2 to 2.7 times that, and less than 0.7 in half of them."""

METRIC = "latency.p50"


@dataclasses.dataclass(frozen=True)
class Judged:
    """The verdict on launches. `change` is relative, `detectable` the change for the worse that 80 % would find."""

    verdict: Verdict
    change: Estimate
    detectable: float


def spread_of(results: Iterable[Result]) -> Spread:
    """How the variance of paired launches compares with what is expected, learnt from the cases of this run so far."""
    return fit_spread([own for result in results if (own := own_spread(result.launches))], DEFAULT_SPREAD)


def own_spread(launches: Sequence[Launch]) -> Spread | None:
    """The same of one case, by itself; None of fewer than two launches."""
    counted = _counted(launches, fresh=False)
    if len(counted) < 2:
        return None
    own = pooled([_logs(counted)])
    return Spread(own.variance / expected(counted), own.freedom)


def expected(launches: Sequence[Launch]) -> float:
    """The variance that the log ratios of these launches should have: what their rounds leave, and `BETWEEN` squared.

    A case whose rounds scatter is known to be unsure before three launches could show it.
    """
    rounds = [launch.within.get("against", 0.0) ** 2 for launch in launches]
    return BETWEEN**2 + (statistics.fmean(rounds) if rounds else 0.0)


def more_launches(launches: Sequence[Launch], tolerance: float, spread: Spread, lots: Sequence[int]) -> int:
    """How many fresh launches to make next: the next of the lots while the case is undecided, 0 once it is decided."""
    if judge_launches(launches, tolerance, spread).verdict is not Verdict.INCONCLUSIVE:
        return 0
    made = sum(launch.phase == "confirm" for launch in launches)
    return next((size for size, before in zip(lots, accumulate(lots, initial=0), strict=False) if before >= made), 0)


def judge_launches(launches: Sequence[Launch], tolerance: float, spread: Spread) -> Judged:
    """The verdict on launches that each have a ratio `against`. A screen alone convicts nobody.

    `tolerance` is the relative slow-down that is accepted; `spread` says how the variance of such launches compares
    with what is `expected` of them.
    """
    levels, limit = LOT if confirmed(launches) else SCREEN, math.log1p(tolerance)
    fresh, every = (_counted(launches, fresh=only) for only in (True, False))
    alone, together = (
        interval(_logs(counted), _scaled(spread, counted), levels.convicts, levels.clears) for counted in (fresh, every)
    )
    clearing = [(found.most, found.point) for found in (alone, together)]
    verdict, (point, least, most) = rule(alone.least, clearing, limit, limit)
    counted = len(fresh if verdict is Verdict.REGRESSED else every)
    if verdict is Verdict.REGRESSED and not confirmed(launches):
        verdict = Verdict.INCONCLUSIVE
    change = Estimate(math.expm1(point), math.expm1(least), math.expm1(most), counted, counted)
    reach = alone.point - alone.least
    power = reach * float(ndtri(POWER) / ndtri(levels.convicts)) if alone.ranks else alone.quantile(POWER)
    return Judged(verdict, change, math.expm1(limit + reach + power))


def compare_against(
    result: Result,
    previous: Result | None,
    baseline: Baseline,
    metrics: Mapping[str, Metric],
    identity: Mapping[str, Scalar],
    *,
    spread: Spread,
    against: Against,
) -> tuple[Comparison, ...]:
    """Every comparison of a case with the same case of another tree.

    `baseline` is the previous result as a baseline (`baseline_of`), against which everything that is not a time is
    judged by the usual rules. `against` holds the relative slow-down that is accepted.
    """
    sampled = TIMES | {"speedup"}
    rest = {name: metric for name, metric in metrics.items() if name not in sampled and metric.derive is None}
    kept = _without_times(baseline, rest)
    rows = compare(_restricted(result, rest), kept, rest, Prior(), identity)
    if previous is None or any(row.metric == "case" for row in rows):
        return rows
    return (_row(result, previous, spread, against), *rows)


def _row(result: Result, previous: Result, spread: Spread, against: Against) -> Comparison:
    tolerance = against.tolerance
    judged = judge_launches(result.launches, tolerance, spread)
    now = _latencies(result)
    before = _latencies(previous)
    unit = "s"
    more = apart(judged.change, tolerance)
    change, limit = changed(judged.change, more=more), percent(tolerance, more=more)
    reason = (
        f"{METRIC} {with_interval(now.point, now.low, now.high, unit)} against "
        f"{with_interval(before.point, before.low, before.high, unit)} at {against}: "
        f"{change} in turns; limit {limit}; {plural(judged.change.launches, 'launch')}{circumstances(result.launches)}."
    )
    if judged.verdict is Verdict.INCONCLUSIVE:
        more = 2 * max(8, len(_counted(result.launches, fresh=True)))
        reason += (
            f" This can't be decided: from {percent(judged.detectable)} on, a change would have been found. More "
            f"launches would: pytest {quoted(result.nodeid)} {shlex.join(against.options)} --plan confirm={more}"
        )
    return Comparison(
        result.suite,
        result.case_id,
        METRIC,
        judged.verdict,
        reason,
        before,
        now,
        judged.change,
        tolerance,
        unit,
        "lower",
        judged.detectable,
    )


def _counted(launches: Sequence[Launch], *, fresh: bool) -> list[Launch]:
    return [launches[i] for i in judged_launches(launches, fresh=fresh) if launches[i].against is not None]


def _logs(launches: Sequence[Launch]) -> list[float]:
    return [math.log(launch.against) for launch in launches if launch.against is not None]


def _scaled(spread: Spread, launches: Sequence[Launch]) -> Spread:
    return Spread(spread.variance * expected(launches), spread.freedom)


def _latencies(result: Result) -> Estimate:
    measurement = result.measurement(METRIC)
    return measurement.estimate if measurement else estimate((math.nan,))


def _restricted(result: Result, metrics: Mapping[str, Metric]) -> Result:
    kept = tuple(measurement for measurement in result.measurements if measurement.metric in metrics)
    return dataclasses.replace(result, measurements=kept)


def _without_times(baseline: Baseline, metrics: Mapping[str, Metric]) -> Baseline:
    """The baseline with only those metrics: the others are judged in turns."""
    portable, times = baseline.portable, baseline.times
    if portable:
        portable = dataclasses.replace(portable, values={k: v for k, v in portable.values.items() if k in metrics})
    if times:
        blocks = tuple(
            dataclasses.replace(block, values={k: v for k, v in block.values.items() if k in metrics}, relative={})
            for block in times.blocks
        )
        times = dataclasses.replace(times, blocks=blocks)
    return Baseline(portable, times)
