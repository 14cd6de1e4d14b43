"""The sentences of comparisons: numbers, limits and the commands that settle or accept."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from harness.metrics import Metric
from harness.records import Comparison, Estimate, Verdict
from harness.units import decimals_apart, difference, percent, plural, points, relative_change, with_interval

__all__ = ["advice", "against", "apart", "changed", "limit_words", "plural", "quoted"]


def against(name: str, now: Estimate, baseline: Estimate, unit: str) -> str:
    """`latency.p50 12.9 ms [12.7, 13.1] against 11.2 ms [11.1, 11.3]`."""
    new, old = (with_interval(one.point, one.low, one.high, unit) for one in (now, baseline))
    return f"{name} {new} against {old}"


def apart(change: Estimate, limit: float, unit: str = "", baseline: float | None = None) -> int:
    """How many decimals more tell the ends of a change from its limit, both relative to the baseline."""
    ends = (change.low, change.high)
    return decimals_apart(ends, limit, lambda value, more: relative_change(value, unit, baseline, more=more))


def changed(change: Estimate, unit: str = "", baseline: float | None = None, more: int = 0) -> str:
    """`+15.2 % [+13.4, +16.9]`; of a share, where its baseline is given, in points: `-0.60 pt [-0.90, -0.30]`.

    So many `more` decimals tell it from its limit (`apart`).
    """
    ends = (change.point, change.low, change.high)
    point, low, high = (relative_change(end, unit, baseline, more=more) for end in ends)
    written = f" {point.rpartition(' ')[2]}"
    return f"{point} [{low.removesuffix(written)}, {high.removesuffix(written)}]"


def limit_words(metric: Metric, baseline: float, limit: float, more: int = 0) -> str:
    """`limit +10.0 %`, `limit -0.20 pt`, `limit +1.00 MiB`; in words where any change for the worse counts.

    `limit` is in the metric's unit. It is given relative to the baseline where the metric's tolerance sets it, and
    as it is where its slack does; with so many `more` decimals where the change beside it is written in the same way.
    """
    sign = 1 if metric.better == "lower" else -1
    if metric.unit == "share":
        return f"limit {points(sign * limit, more=more)}" if limit >= 1e-9 else _none(metric)
    if limit == 0:
        return _none(metric)
    if baseline and limit <= (metric.tolerance or 0.0) * abs(baseline):
        return f"limit {percent(sign * limit / abs(baseline), more=more)}"
    return f"limit {difference(0, sign * limit, metric.unit, more=0 if baseline else more)}"


def quoted(text: str) -> str:
    """`text` as one word of a shell, always in quotes: ids hold characters that some shells expand."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def advice(comparison: Comparison, nodeid: str, *, judging: Sequence[str] = (), accepting: Sequence[str] = ()) -> str:
    """The commands that help with a comparison that fails: how to reproduce it, and how to accept it if it is right.

    A case with a `nodeid` is still in the suites, so that no baseline is left over where it is missing. `judging` are
    further words for pytest, which say where baselines and runs lie, and `accepting` those for `harness accept`.
    """
    name = quoted(f"{comparison.suite}/{comparison.case_id}")
    accept = f'harness accept --case {" ".join([name, *map(shlex.quote, accepting)])} --reason "why this is right"'
    lines = f"reproduce: pytest {' '.join([quoted(nodeid), *map(shlex.quote, judging)])}"
    if comparison.metric == "case" and comparison.verdict is Verdict.MISSING:
        return f"{lines}; if it can't run here: --allow-unavailable={quoted(comparison.case_id)}"
    if comparison.verdict in (Verdict.INVALID, Verdict.ERROR):
        return f"{lines}; once it gives valid numbers, and they are right: {accept}"
    return f"{lines}; if the change is right: {accept}"


def probability(p: float) -> str:
    """`p = 0.031`, and `p < 0.0001` below that."""
    if p < 1e-4:
        return "p < 0.0001"
    return f"p = {p:.4f}" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def ratio_to(baseline: float, value: float) -> float | None:
    """`value` relative to a baseline; None against a baseline of zero, which nothing is relative to."""
    found = value / abs(baseline) if baseline else math.nan
    return found if math.isfinite(found) else None


def _none(metric: Metric) -> str:
    return f"no {'rise' if metric.better == 'lower' else 'fall'} is accepted"
