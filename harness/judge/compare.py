"""A result against its baseline: every comparison that can be made, and a sentence for each that can't."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from harness.baseline.records import Baseline, Portable, Times, machine_class
from harness.judge.accuracy import compare_accuracy
from harness.judge.change import Change
from harness.judge.exact import FIDELITY_ELSEWHERE, SPARSITY_ELSEWHERE, compare_exact
from harness.judge.looks import confirmed
from harness.judge.prior import Prior
from harness.judge.scope import changed_parts, nearest_difference
from harness.judge.times import ANCHORED, SPEEDUP, TIME_UNITS, compare_sampled, excuse, sampled
from harness.judge.words import quoted
from harness.metrics import Metric
from harness.records import Comparison, Measurement, Outcome, Result, Scalar, Verdict

__all__ = ["compare", "fresh_launches"]

LEAST_FRESH = 5
"""Fewer launches than these convict nobody."""

NEVER_ZERO = frozenset({"size", "parameters", "memory.peak", "gpu_memory.process"})


def compare(
    result: Result, baseline: Baseline, metrics: Mapping[str, Metric], prior: Prior, identity: Mapping[str, Scalar]
) -> tuple[Comparison, ...]:
    """Judge a result: one comparison for each metric with a limit, or one for the case as a whole.

    `metrics` are the suite's by name, `prior` the usual spreads of this machine class, `identity` what this machine
    is. There is always at least one comparison, and no value that is not a plain finite number can pass.
    """
    ended = _ended(result)
    if ended:
        return (ended,)
    judge = _Judge(result, baseline, prior, identity)
    rows = [*judge.rows(metrics), *judge.forgotten(metrics)]
    if baseline.portable is None and baseline.times is None and not baseline.others:
        invalid = [row for row in rows if row.verdict is Verdict.INVALID]
        reason = f"{result.case_id} has no baseline yet; make this run its baseline with: {_accept(result)}"
        return (*invalid, _case(result, Verdict.NEW, reason))
    if not rows:
        reason = f"{result.case_id}: no metric that was measured has a tolerance or a slack, so nothing can be judged."
        return (_case(result, Verdict.INCOMPARABLE, reason),)
    return tuple(rows)


def fresh_launches(result: Result, baseline: Baseline, metrics: Mapping[str, Metric], prior: Prior, most: int) -> int:
    """How many fresh launches are worth making, at most `most`: 0 where there are some already, or nothing to settle.

    There is, where some sampled metric is neither clearly unchanged nor clearly better. As many are made as it takes
    until the spread between runs is what limits the verdict, by what the screen showed.
    """
    if _ended(result) or baseline.times is None or confirmed(result.launches):
        return 0
    judge = _Judge(result, baseline, prior, baseline.times.identity)
    varying = {name: metric for name, metric in metrics.items() if not metric.portable}
    doubtful = {
        row.metric
        for row in judge.rows(varying)
        if row.detectable is not None and row.verdict in (Verdict.REGRESSED, Verdict.INCONCLUSIVE)
    }
    wanted = [judge.changes[metric].launches for metric in doubtful]
    return min(most, max(LEAST_FRESH, *wanted)) if wanted else 0


@dataclass
class _Judge:
    """The comparisons of one result, metric by metric; `changes` keeps those of sampled metrics."""

    result: Result
    baseline: Baseline
    prior: Prior
    identity: Mapping[str, Scalar]

    def __post_init__(self) -> None:
        self.changes: dict[str, Change] = {}
        self.here = machine_class(self.identity)
        times = self.baseline.times
        self.times = times if times and machine_class(times.identity) == self.here else None

    def rows(self, metrics: Mapping[str, Metric]) -> list[Comparison]:
        """The comparisons of the metrics that have one, with what excuses a fallen speed-up."""
        rows = [row for metric in metrics.values() if (row := self.compare(metric))]
        anchored = self.result.measurement(ANCHORED)
        known = self.changes.get(ANCHORED) if anchored and anchored.relative else None
        return [excuse(row, known) if row.metric == SPEEDUP else row for row in rows]

    def compare(self, metric: Metric) -> Comparison | None:
        """The comparison of one metric; None for one that nobody asked to judge and that is valid."""
        measurement = self.result.measurement(metric.name)
        wrong = _invalid(self.result, metric, measurement) if measurement else None
        if wrong:
            return self._row(metric, Verdict.INVALID, f"{metric.name}: {wrong}; {_again(self.result)}")
        if not metric.gates:
            return None
        return self._portable(metric, measurement) if metric.portable else self._local(metric, measurement)

    def forgotten(self, metrics: Mapping[str, Metric]) -> list[Comparison]:
        """A MISSING for each metric of the baseline that the suite no longer knows."""
        kept = set(self.baseline.portable.values) if self.baseline.portable else set()
        times = self.times
        kept |= {name for block in times.blocks for name in block.values} if times else set()
        # Any name may stand in a baseline, also one that no metric could have.
        return [
            Comparison(self.result.suite, self.result.case_id, name, Verdict.MISSING, self._gone(name))
            for name in sorted(kept - metrics.keys())
        ]

    def _portable(self, metric: Metric, measurement: Measurement | None) -> Comparison | None:
        portable = self.baseline.portable
        kept = portable.values.get(metric.name) if portable else None
        if portable is None or kept is None:
            return self._new(metric) if measurement else None
        if measurement is None:
            return self._row(metric, Verdict.MISSING, self._gone(metric.name))
        if not math.isfinite(kept):
            return self._damaged(metric)
        incomparable = self._changed_workload(metric, portable)
        if incomparable:
            return incomparable
        same_class = portable.made_on == self.here
        now = measurement.estimate.point
        if metric.name == "accuracy":
            return compare_accuracy(self.result, metric, now, portable, same_class=same_class)
        factor = 1.0
        if not same_class and metric.name.startswith("fidelity."):
            factor = FIDELITY_ELSEWHERE
        elif not same_class and metric.name == "sparsity" and portable.weights != self.result.weights:
            factor = SPARSITY_ELSEWHERE
        return compare_exact(self.result, metric, now, kept, factor)

    def _local(self, metric: Metric, measurement: Measurement | None) -> Comparison | None:
        times = self.times
        if times is None:
            others = self._others()
            if measurement is None:
                return None
            if not others:
                return self._new(metric)
            reason = f"{metric.name}: the baseline was made on another class of machine, which differs in"
            return self._row(metric, Verdict.INCOMPARABLE, f"{reason} {nearest_difference(self.identity, others)}.")
        kept = [block.values[metric.name] for block in times.blocks if metric.name in block.values]
        if not kept:
            return self._new(metric) if measurement else None
        if measurement is None:
            return self._row(metric, Verdict.MISSING, self._gone(metric.name))
        if not all(kept) or not all(math.isfinite(value) for values in kept for value in values):
            return self._damaged(metric)
        incomparable = self._changed_workload(metric, times)
        if incomparable:
            return incomparable
        if sampled(metric, measurement):
            row, change = compare_sampled(self.result, metric, measurement, times, self.prior)
            if change:
                self.changes[metric.name] = change
            return row
        before = statistics.median(statistics.median(values) for values in kept)
        return compare_exact(self.result, metric, measurement.estimate.point, before)

    def _others(self) -> list[Mapping[str, Scalar]]:
        times = self.baseline.times
        return [*([times.identity] if times else []), *self.baseline.others]

    def _changed_workload(self, metric: Metric, baseline: Portable | Times) -> Comparison | None:
        parts = changed_parts(metric, self.result.workload, baseline.workload)
        if not parts:
            return None
        reason = (
            f"{metric.name}: the workload's {' and '.join(parts)} changed since the baseline was made, so the two "
            f"answer different questions; accept the new one with: {_accept(self.result)}"
        )
        return self._row(metric, Verdict.INCOMPARABLE, reason)

    def _new(self, metric: Metric) -> Comparison:
        reason = f"{metric.name}: the baseline has no such value yet; keep this run's with: {_accept(self.result)}"
        return self._row(metric, Verdict.NEW, reason)

    def _gone(self, name: str) -> str:
        return f"{name}: the baseline has a value, and this run measured none; if that is right: {_accept(self.result)}"

    def _damaged(self, metric: Metric) -> Comparison:
        reason = f"{metric.name}: the baseline holds a value that is no finite number; restore it from git."
        return self._row(metric, Verdict.INVALID, reason)

    def _row(self, metric: Metric, verdict: Verdict, reason: str) -> Comparison:
        suite, case_id = self.result.suite, self.result.case_id
        return Comparison(suite, case_id, metric.name, verdict, reason, unit=metric.unit, better=metric.better)


def _ended(result: Result) -> Comparison | None:
    """The comparison of a result that has no numbers to judge; None for one that has."""
    why = result.reason or "no reason was recorded"
    if result.outcome is Outcome.UNAVAILABLE:
        return _case(result, Verdict.SKIPPED, f"{result.case_id} was not measured: {why}")
    if result.outcome is Outcome.INVALID:
        return _case(result, Verdict.INVALID, f"{result.case_id} gave no valid numbers: {why}; {_again(result)}")
    if result.outcome is not Outcome.COMPLETED:
        reason = f"{result.case_id} could not be measured ({result.outcome.value}): {why}; {_again(result)}"
        return _case(result, Verdict.ERROR, reason)
    broken = [evidence for evidence in result.evidence if not evidence.kept]
    if broken:
        one = broken[0]
        reason = (
            f"{result.case_id}: {one.technique} promised {one.promise}, and {one.found} was found; {_again(result)}"
        )
        return _case(result, Verdict.INVALID, reason)
    if not result.measurements:
        return _case(result, Verdict.INVALID, f"{result.case_id} completed and measured nothing; {_again(result)}")
    return None


def _invalid(result: Result, metric: Metric, measurement: Measurement) -> str | None:
    """What is wrong with the numbers of a measurement, None where nothing is. Written so that NaN can't pass."""
    estimate = measurement.estimate
    numbers = (*measurement.values, *measurement.relative, estimate.point, estimate.low, estimate.high)
    if not measurement.values:
        return "no value was recorded"
    if not all(math.isfinite(number) for number in numbers):
        return f"{next(number for number in numbers if not math.isfinite(number))} is no measurement"
    if measurement.relative and len(measurement.relative) != len(measurement.values):
        return f"{len(measurement.relative)} ratios to the anchor for {len(measurement.values)} values"
    if metric.name in NEVER_ZERO and not min(measurement.values) > 0:
        return f"{min(measurement.values):g} is no measurement, it must be above zero"
    if metric.unit in ("bytes", "count", "share") and not min(numbers) >= 0:
        return f"{min(numbers):g} is no measurement, it can't be negative"
    varies = metric.gates and sampled(metric, measurement)
    if varies and len(measurement.values) not in (1, len(result.launches)):
        return f"{len(measurement.values)} values for {len(result.launches)} launches"
    if (varies or metric.unit in TIME_UNITS) and not min(numbers) > 0:
        return f"{min(numbers):g} is no measurement: times and what is judged as they are must be above zero"
    return None


def _case(result: Result, verdict: Verdict, reason: str) -> Comparison:
    return Comparison(result.suite, result.case_id, "case", verdict, reason)


def _accept(result: Result) -> str:
    return f'harness accept --case {quoted(result.case_id)} --reason "…"'


def _again(result: Result) -> str:
    return f"reproduce: pytest {quoted(result.nodeid)}"
