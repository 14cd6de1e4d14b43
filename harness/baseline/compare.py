"""A result held to its baseline: what the judge says of the numbers, and what of them a comparison can't know."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from harness.baseline.records import Baseline
from harness.judge import Prior, compare
from harness.judge.scope import changed_parts
from harness.judge.words import quoted
from harness.measure.passes import OF_ANOTHER_LENGTH, OF_OTHER_INPUTS
from harness.metrics import METRICS, Metric
from harness.records import Comparison, Result, Scalar, Verdict

__all__ = ["as_comparable", "compare_with_baseline"]

_OF_OUTPUTS = {f"fidelity.{name}" for name in ("error", "sqnr", "cosine", "identical")}
"""What only outputs of one length have: the agreement is of decisions."""
_UNPAIRED = (OF_ANOTHER_LENGTH, OF_OTHER_INPUTS)
"""How the fact begins where outputs can't be paired, although nothing of them is lost."""
_BUILT_IN = {metric.name for metric in METRICS}
_COMPARED = (Verdict.UNCHANGED, Verdict.IMPROVED, Verdict.REGRESSED, Verdict.INCONCLUSIVE)


def compare_with_baseline(
    result: Result, baseline: Baseline, metrics: Mapping[str, Metric], prior: Prior, identity: Mapping[str, Scalar]
) -> tuple[Comparison, ...]:
    """The comparisons of `harness.judge.compare`, alike for whoever judges, accepts or reviews a result.

    A fidelity that outputs of another length than the reference's, or to other inputs, can't have is INCOMPARABLE, and
    not MISSING, and so is a metric of the suite's own that has another unit than in the baseline, or is of other data.
    """
    rows = compare(result, baseline, metrics, prior, identity)
    return tuple(as_comparable(_with_lengths(row, result), result, baseline, metrics) for row in rows)


def as_comparable(row: Comparison, result: Result, baseline: Baseline, metrics: Mapping[str, Metric]) -> Comparison:
    """A comparison that holds no number of the suite's own against one in another unit, or of other evaluation data."""
    return _with_unit(_with_data(row, result, baseline, metrics), baseline, metrics)


def _with_lengths(row: Comparison, result: Result) -> Comparison:
    """A comparison that calls a fidelity not lost where outputs have another length than the reference's, or are to
    other inputs, and so have none: as many as a detector found, or what a network wrote, may be others on another
    machine or after an upgrade.
    """
    why = str(result.facts.get("fidelity", ""))
    # Not for an output that is gone, nor for decisions: each example has one, whatever was found in it. Nor for other
    # data: they may follow from answers that broke, and then the accuracy is incomparable, too.
    if row.verdict is not Verdict.MISSING or row.metric not in _OF_OUTPUTS or not why.startswith(_UNPAIRED):
        return row
    reason = (
        f"{row.metric}: {why}. Where outputs change in length, or inputs follow from answers, let the grid judge "
        f'without it: metrics=[resolve()["{row.metric}"].with_tolerance()].'
    )
    return dataclasses.replace(row, verdict=Verdict.INCOMPARABLE, reason=reason)


def _with_data(row: Comparison, result: Result, baseline: Baseline, metrics: Mapping[str, Metric]) -> Comparison:
    """A comparison that holds nothing that an evaluation tells of its data against the same of other data. The judge
    looks at the data of portable metrics alone.
    """
    metric, portable = metrics.get(row.metric), baseline.portable
    if metric is None or portable is None or row.verdict not in _COMPARED:
        return row
    if metric.name in _BUILT_IN or metric.portable or metric.derive:
        return row
    # The data are kept with the portable values: where none is judged by them, accepting a run would not replace them.
    # A run or a tree that stands for a baseline has no date, and nobody accepts another one in its place.
    judged = [
        one for name, one in metrics.items() if name in portable.values and (one.gates or not portable.accepted.when)
    ]
    if not any("evaluation" in changed_parts(one, result.workload, portable.workload) for one in judged):
        return row
    changed = "the workload's evaluation changed since the baseline was made, so the two answer different questions"
    return _incomparable(row, changed)


def _with_unit(row: Comparison, baseline: Baseline, metrics: Mapping[str, Metric]) -> Comparison:
    """A comparison that holds no number against one in another unit. Files of before units were kept do not tell."""
    metric = metrics.get(row.metric)
    kept = baseline.portable if metric and metric.portable else baseline.times
    if metric is None or kept is None or row.verdict in (Verdict.MISSING, Verdict.INVALID):
        return row
    before = kept.units.get(metric.name, metric.unit)
    if before == metric.unit:
        return row
    return _incomparable(
        row, f"it is in {metric.unit!r} now, and the baseline's is in {before!r}, so that the two can't be compared"
    )


def _incomparable(row: Comparison, why: str) -> Comparison:
    """The comparison without its numbers, and with the cure: an accepted run is what later ones are held to."""
    reason = f'{row.metric}: {why}; accept the new one with: harness accept --case {quoted(row.case_id)} --reason "…"'
    unlike = Verdict.INCOMPARABLE
    return Comparison(row.suite, row.case_id, row.metric, unlike, reason, unit=row.unit, better=row.better)
