"""Comparing what is counted: size, parameters, sparsity, placement, memory, fidelity."""

from __future__ import annotations

import math

from harness.judge.words import limit_words, ratio_to
from harness.metrics import Metric
from harness.records import Comparison, Estimate, Result, Verdict
from harness.units import decimals_apart, difference, quantity

__all__ = ["FIDELITY_ELSEWHERE", "SPARSITY_ELSEWHERE", "as_kept", "beyond", "compare_exact"]

DIGITS = 6
"""Significant digits of the numbers in a baseline: short diffs, and far below every tolerance."""

FIDELITY_ELSEWHERE = 15.0
"""Factor on the limit of `fidelity.*` on another machine class than the baseline's.

Low-precision kernels differ between instruction sets (sums in another order, saturating products, bf16 emulated): the
error against the reference moves, a lost layer moves it by far more. Where 7 bits are used for lack of an instruction
(`int8_static` without VNNI) the steps are twice as wide, and the error doubles.
"""

SPARSITY_ELSEWHERE = 1e4
"""Factor on the limit of `sparsity` where weights were trained on another machine class: a hundredth of the weights.

Which weights round to zero differs with the weights; what a technique promises of it is checked everywhere.
"""


def as_kept(value: float) -> float:
    """A finite `value` as a baseline keeps it: whole numbers exactly, others with six significant digits."""
    return value if value == math.trunc(value) else float(f"{value:.{DIGITS}g}")


def beyond(loss: float, limit: float) -> bool:
    """Whether a loss exceeds the limit by more than the rounding of a subtraction; True for NaN, so it never passes."""
    return not loss <= limit * (1 + 1e-9) + 1e-15


def compare_exact(result: Result, metric: Metric, now: float, baseline: float, factor: float = 1.0) -> Comparison:
    """Hold a value that repeats against the baseline's; `factor` widens the limit. Both are in the metric's unit.

    A value in bytes that fell to nothing is INVALID: some counters answer 0 where they can't count.
    """
    now, baseline = as_kept(now), as_kept(baseline)
    limit = factor * metric.limit(baseline)
    loss = now - baseline if metric.better == "lower" else baseline - now
    if metric.unit == "bytes" and now == 0 and beyond(-loss, limit):
        verdict = Verdict.INVALID
    elif beyond(loss, limit):
        verdict = Verdict.REGRESSED
    else:
        verdict = Verdict.IMPROVED if beyond(-loss, limit) else Verdict.UNCHANGED
    relative = ratio_to(baseline, now - baseline)
    worst = baseline + (limit if metric.better == "lower" else -limit)
    more = decimals_apart((now,), worst, lambda value, more: difference(baseline, value, metric.unit, more=more))
    reason = (
        f"{metric.name} {quantity(now, metric.unit)} against {quantity(baseline, metric.unit)}: "
        f"{difference(baseline, now, metric.unit, more=more)}; {limit_words(metric, baseline, limit, more)}."
    )
    if verdict is Verdict.INVALID:
        reason += " Nothing is no measurement: the counter did not count."
    return Comparison(
        result.suite,
        result.case_id,
        metric.name,
        verdict,
        reason,
        baseline=Estimate.exact(baseline),
        candidate=Estimate.exact(now),
        change=None if relative is None else Estimate.exact(relative),
        limit=ratio_to(baseline, limit),
        unit=metric.unit,
        better=metric.better,
    )
