"""A case against the same case in another tree, from launches in which both took turns.

Each launch gives one paired ratio, candidate time over previous time, so that neither the hour nor the anchor has a
part in it; the launches are the evidence. Looking again after more launches would inflate the error (five looks at 5 %
give 14 %), so the level is shared out over the looks that may be taken (Bonferroni), and a change for the worse counts
only launches that were made after the screen.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from scipy.special import stdtrit

from harness.baseline.records import Baseline
from harness.judge.compare import compare
from harness.judge.estimate import estimate
from harness.judge.prior import Prior, Spread, fit_spread, pooled
from harness.judge.times import judged_launches
from harness.judge.words import changed, plural, quoted
from harness.metrics import Metric
from harness.records import Comparison, Estimate, Result, Scalar, Verdict
from harness.units import percent, with_interval

__all__ = ["CONFIRM_LOTS", "DEFAULT_SPREAD", "compare_against", "judge_ratios", "settled", "spread_of"]

ALPHA = 0.01
"""Chance that a case which is no worse than the tolerance is convicted, over all looks."""
BETA = 0.05
"""Chance that a case which is worse than the tolerance is cleared, over all looks."""
POWER = 0.80
DEFAULT_SPREAD = Spread(0.007**2, 4.0)
"""Until a run has shown its own spread: identical work was seen to differ by 0.25 to 0.7 % (standard deviation)."""
METRIC = "latency.p50"
LOOKS = 4
"""One after the screen, and three after as many lots of fresh launches (`CONFIRM_LOTS`)."""
CONFIRM_LOTS = LOOKS - 1


def spread_of(results: Iterable[Result]) -> Spread:
    """How much paired launches usually differ, learnt from the cases of this run so far."""
    spreads = [pooled([logs]) for result in results if len(logs := _logs(result, range(len(result.launches)))) > 1]
    return fit_spread(spreads, DEFAULT_SPREAD)


def settled(result: Result, tolerance: float, spread: Spread) -> bool:
    """Whether the launches so far decide the case. A screen alone convicts nobody."""
    verdict = _decide(result, tolerance, spread)[0]
    return verdict is not Verdict.INCONCLUSIVE and (verdict is not Verdict.REGRESSED or _confirmed(result))


def compare_against(
    result: Result,
    previous: Result | None,
    baseline: Baseline,
    metrics: Mapping[str, Metric],
    identity: Mapping[str, Scalar],
    *,
    tolerance: float,
    spread: Spread,
    revision: str,
) -> tuple[Comparison, ...]:
    """Every comparison of a case with the same case of another tree.

    `baseline` is the previous result as a baseline (`baseline_of`), against which everything that is not a time is
    judged by the usual rules. `tolerance` is the relative slow-down that is accepted.
    """
    sampled = {"speedup", *(name for name in metrics if name.startswith(("latency.", "throughput", "time.")))}
    rest = {name: metric for name, metric in metrics.items() if name not in sampled and metric.derive is None}
    kept = _without_times(baseline, rest)
    rows = compare(_restricted(result, rest), kept, rest, Prior(), identity)
    if previous is None or any(row.metric == "case" for row in rows):
        return rows
    return (_row(result, previous, tolerance, spread, revision), *rows)


def _row(result: Result, previous: Result, tolerance: float, spread: Spread, revision: str) -> Comparison:
    verdict, change, detectable = _decide(result, tolerance, spread)
    now = _latencies(result)
    before = _latencies(previous)
    unit = "s"
    reason = (
        f"{METRIC} {with_interval(now.point, now.low, now.high, unit)} against "
        f"{with_interval(before.point, before.low, before.high, unit)} at {revision}: {changed(change)} in turns; "
        f"limit {percent(tolerance)}; {plural(change.launches, 'launch')}."
    )
    if verdict is Verdict.REGRESSED and not _confirmed(result):
        verdict = Verdict.INCONCLUSIVE
    if verdict is Verdict.INCONCLUSIVE:
        reason += (
            f" This can't be decided: from {percent(detectable)} on, a change would have been found. More launches "
            f"would: pytest {quoted(result.nodeid)} --against {revision} --plan confirm={4 * change.launches}"
        )
    return Comparison(
        result.suite, result.case_id, METRIC, verdict, reason, before, now, change, tolerance, unit, "lower", detectable
    )


def judge_ratios(ratios: Sequence[float], tolerance: float, spread: Spread) -> Verdict:
    """The verdict on one look's launches, each given as candidate time over the other tree's time."""
    return _ruling([math.log(ratio) for ratio in ratios], tolerance, spread)[0]


def _decide(result: Result, tolerance: float, spread: Spread) -> tuple[Verdict, Estimate, float]:
    return _ruling(_logs(result, judged_launches(result)), tolerance, spread)


def _ruling(logs: Sequence[float], tolerance: float, spread: Spread) -> tuple[Verdict, Estimate, float]:
    own = pooled([logs])
    moderated = spread.moderate(own.variance, own.freedom)
    error = math.sqrt(moderated.variance / len(logs))

    def reach(level: float) -> float:
        return float(stdtrit(moderated.freedom, level)) * error

    point, limit = statistics.fmean(logs), math.log1p(tolerance)
    least, most = point - reach(1 - ALPHA / LOOKS), point + reach(1 - BETA / LOOKS)
    if least > limit:
        verdict = Verdict.REGRESSED
    elif most < -limit:
        verdict = Verdict.IMPROVED
    elif most <= limit:
        verdict = Verdict.UNCHANGED
    else:
        verdict = Verdict.INCONCLUSIVE
    change = Estimate(math.expm1(point), math.expm1(least), math.expm1(most), len(logs), len(logs))
    return verdict, change, math.expm1(limit + reach(1 - ALPHA / LOOKS) + reach(POWER))


def _confirmed(result: Result) -> bool:
    return any(launch.phase == "confirm" for launch in result.launches)


def _logs(result: Result, positions: Sequence[int] | range) -> list[float]:
    ratios = [result.launches[i].against for i in positions]
    return [math.log(ratio) for ratio in ratios if ratio is not None]


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
