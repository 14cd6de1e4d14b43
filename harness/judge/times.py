"""Comparing what is sampled: times, throughput, speed-ups and a suite's own metrics with one value a launch."""

from __future__ import annotations

import dataclasses
import math
import statistics
import sys
from collections.abc import Sequence

from harness.baseline.records import Block, Times
from harness.disturbance import circumstances
from harness.judge.change import Change, change_of, decide, relative
from harness.judge.estimate import estimate
from harness.judge.looks import BETA, FRESH, SCREEN, confirmed
from harness.judge.prior import Prior, series
from harness.judge.words import against, apart, changed, limit_words, plural, quoted
from harness.metrics import Metric, calls_needed
from harness.records import Comparison, Estimate, Launch, Measurement, Result, Verdict
from harness.units import percent, relative_change

__all__ = [
    "ANCHORED",
    "FULL_BASELINE",
    "SPEEDUP",
    "TIME_UNITS",
    "compare_sampled",
    "excuse",
    "judged_launches",
    "judged_values",
    "sampled",
]

TIME_UNITS = ("s", "items/s", "x")
ANCHORED = "latency.p50"
SPEEDUP = "speedup"
FULL_BASELINE = 3
"""Blocks that a baseline should have: with fewer, how much this machine's hours differ is hardly known."""


def sampled(metric: Metric, measurement: Measurement) -> bool:
    """Whether a metric varies from launch to launch, so that its change needs an interval."""
    several = len(measurement.values) > 1 or bool(measurement.relative)
    return not metric.portable and (several or metric.unit in TIME_UNITS)


def judged_launches(launches: Sequence[Launch], *, fresh: bool) -> tuple[int, ...]:
    """Positions of the launches that count: those that may convict if `fresh`, else all that clear.

    Confirming launches are made because the screen looked suspicious; a conviction that counted the screen again would
    let the same chance speak twice. Where there are none, the screen's are all. Disturbed launches that were made again
    count for nothing.
    """
    kept = tuple(i for i, launch in enumerate(launches) if launch.counts)
    confirm = tuple(i for i in kept if launches[i].phase == "confirm")
    return confirm if fresh and confirm else kept


def judged_values(result: Result, values: Sequence[float], *, fresh: bool = False) -> tuple[float, ...]:
    """Those of a measurement's values that count. A metric measured once has one value and keeps it."""
    if len(values) != len(result.launches):
        return tuple(values)
    return tuple(values[i] for i in judged_launches(result.launches, fresh=fresh))


def compare_sampled(
    result: Result, metric: Metric, measurement: Measurement, times: Times, prior: Prior
) -> tuple[Comparison, Change | None]:
    """The comparison of one sampled metric, and the change behind it (None where none could be computed)."""
    blocks = [block for block in times.blocks if block.values.get(metric.name)]
    anchored = bool(measurement.relative)
    if any(bool(block.relative.get(metric.name)) != anchored for block in blocks):
        return _unlike(result, metric, anchored), None
    own = [value for block in blocks for value in block.values[metric.name]]
    earlier = [series(block, metric.name) for block in blocks]
    if not all(0 < value < math.inf for value in [*own, *(value for block in earlier for value in block)]):
        reason = f"{metric.name}: the baseline holds a value that is no positive number; restore it from git."
        return _row(result, metric, Verdict.INVALID, reason), None
    few = _too_few(result, metric)
    if few:
        return _row(result, metric, Verdict.INCONCLUSIVE, few), None
    series_now = measurement.relative if anchored else measurement.values
    fresh, every = (judged_values(result, series_now, fresh=only) for only in (True, False))
    baseline = _baseline_estimate(blocks, metric.name)
    change = change_of(fresh, earlier, prior, metric.name)
    of_all = change if fresh == every else change_of(every, earlier, prior, metric.name)
    limit = metric.limit(baseline.point)
    relative_limit = min(limit / baseline.point, sys.float_info.max)
    ruling = decide(change, of_all, metric, relative_limit, FRESH if confirmed(result.launches) else SCREEN)
    convicted = ruling.verdict is Verdict.REGRESSED
    candidate = estimate(judged_values(result, measurement.values, fresh=convicted))
    launches = len(fresh if convicted else every)
    sign = 1 if metric.better == "lower" else -1
    more = apart(ruling.change, sign * ruling.limit, metric.unit, baseline.point)
    counted = f"{plural(launches, 'launch')} against {len(own)} in {plural(len(blocks), 'block')}"
    reason = (
        f"{against(metric.name, candidate, baseline, metric.unit)}: "
        f"{changed(ruling.change, metric.unit, baseline.point, more)}{' relative to the anchor' if anchored else ''}; "
        f"{limit_words(metric, baseline.point, limit, more)}; {counted}{circumstances(result.launches)}."
    )
    if convicted and result.cut_short and not confirmed(result.launches):
        ruling = dataclasses.replace(ruling, verdict=Verdict.INCONCLUSIVE)
        reason += f" It could not be confirmed, since its time was over: pytest {quoted(result.nodeid)}"
    elif ruling.verdict is Verdict.INCONCLUSIVE:
        found = relative_change(sign * ruling.detectable, metric.unit, baseline.point)
        reason += (
            f" This can't be decided: from {found} on, a change would have been found. "
            f"{_cure(result, change, len(fresh), len(blocks))}"
        )
    row = _row(result, metric, ruling.verdict, reason)
    row = dataclasses.replace(
        row,
        baseline=baseline,
        candidate=candidate,
        change=ruling.change,
        limit=ruling.limit,
        detectable=ruling.detectable,
    )
    return row, change


def excuse(fallen: Comparison, candidate: Change | None) -> Comparison:
    """A speed-up that fell only because the reference became faster, marked as such and not gating.

    `candidate` is the change of the case's own time relative to the anchor. Where that is shown to lie inside the
    speed-up's own limit, the case has not slowed down by what its speed-up lost, so the reference has gained it.
    Anything less certain leaves the comparison as it is.
    """
    if fallen.verdict is not Verdict.REGRESSED or candidate is None or fallen.limit is None or fallen.change is None:
        return fallen
    worse = -math.log1p(-fallen.limit) if fallen.limit < 1 else math.inf
    reaches = candidate.point + candidate.quantile(1 - BETA)
    gained = -math.log1p(fallen.change.point) - candidate.point
    if not (reaches <= worse and gained > 0):
        return fallen
    reason = (
        f"{fallen.reason} This does not gate: the case itself takes {percent(relative(candidate.point))} of time "
        f"relative to the anchor (at most {percent(relative(reaches))}), so the speed-up fell because the reference "
        f"became faster, by {percent(-relative(-gained), sign=False)}."
    )
    return dataclasses.replace(fallen, verdict=Verdict.UNCHANGED, reason=reason)


def _baseline_estimate(blocks: Sequence[Block], metric: str) -> Estimate:
    """The baseline's value in its own unit; its interval is over blocks where there are several."""
    values = [block.values[metric] for block in blocks]
    means = [math.exp(statistics.fmean(map(math.log, block))) for block in values]
    found = estimate(means if len(means) > 1 else values[0])
    return dataclasses.replace(found, launches=sum(len(block) for block in values))


def _cure(result: Result, change: Change, launches: int, blocks: int) -> str:
    nodeid = quoted(result.nodeid)
    if change.sampling:
        return f"More launches settle it: pytest {nodeid} --plan confirm={4 * launches}"
    if blocks < FULL_BASELINE:
        return (
            f"The baseline has {plural(blocks, 'block')}; another one, made at another hour while the code is known to "
            f"be good, settles it: pytest {nodeid} --baseline=update --reason 'another block'"
        )
    if not confirmed(result.launches):
        return f"Confirming launches may settle it: pytest {nodeid} --plan confirm={max(8, 2 * launches)}"
    return f"This machine's hours differ too much for this limit; measure again on a quieter one: pytest {nodeid}"


def _too_few(result: Result, metric: Metric) -> str:
    """Why a percentile can't be judged, "" where it can: too few calls lie beyond it."""
    needed = calls_needed(metric.name)
    least = min((launch.calls for launch in result.launches if launch.calls), default=needed)
    if least >= needed:
        return ""
    seconds = sum(launch.seconds for launch in result.launches) / len(result.launches)
    return (
        f"{metric.name}: a launch had {plural(least, 'call')}, and {needed} are needed to tell it. Longer launches do: "
        f"pytest {quoted(result.nodeid)} --plan seconds={math.ceil(max(seconds, 1.0) * needed / least)}"
    )


def _unlike(result: Result, metric: Metric, anchored: bool) -> Comparison:
    if anchored:
        reason = (
            f"{metric.name}: the baseline holds no ratio to the anchor, so drift of the machine can't be told apart."
        )
        return _row(result, metric, Verdict.INCOMPARABLE, f"{reason} Accept this run to have one.")
    reason = f"{metric.name}: the baseline holds its ratio to the anchor, and this run measured none."
    return _row(result, metric, Verdict.INVALID, f"{reason} Measure again: pytest {quoted(result.nodeid)}")


def _row(result: Result, metric: Metric, verdict: Verdict, reason: str) -> Comparison:
    return Comparison(
        result.suite, result.case_id, metric.name, verdict, reason, unit=metric.unit, better=metric.better
    )
