"""Which of two comparisons a reader should see first."""

from __future__ import annotations

from collections.abc import Iterable

from harness.records import Comparison, Verdict

__all__ = ["comparisons_by_weight", "weight"]

_FOLLOWING = ("fidelity.", "size", "parameters", "sparsity", "quantized", "fallbacks")
"""Metrics that tell why answers or speed changed, rather than whether anybody notices."""


def weight(c: Comparison) -> tuple[int, int, float, str]:
    """Worst verdict first; then a case without numbers and lost accuracy, lost speed, the rest, and what only follows
    from those; among equals the one that is furthest beyond its limit, then by name.
    """
    if c.metric in ("case", "accuracy"):
        kind = 0
    elif c.metric == "speedup" or c.metric.startswith("latency."):
        kind = 1
    else:
        kind = 3 if c.metric.startswith(_FOLLOWING) else 2
    return (-c.verdict.severity, kind, -_excess(c), c.metric)


def comparisons_by_weight(comparisons: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons of several cases: worst verdict first, then furthest beyond its limit, then by name."""
    return tuple(sorted(comparisons, key=lambda c: (-c.verdict.severity, -_excess(c), c.case_id, c.metric)))


def _excess(c: Comparison) -> float:
    """How many times its limit a change for the worse is; below 0 what changed for the better within its limit."""
    if c.change is None:
        return 0.0
    worse = c.change.point if c.better == "lower" else -c.change.point
    # Any other verdict says by itself which way a change went.
    directed = c.verdict in (Verdict.INCONCLUSIVE, Verdict.UNCHANGED)
    return (worse if directed else abs(worse)) / max(c.limit or 0.0, 1e-3)
