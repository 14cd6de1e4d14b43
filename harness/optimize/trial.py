"""One combination of techniques, measured, and how much better than the reference it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.grid import Case
from harness.judge.interval import Interval, interval
from harness.judge.prior import DEFAULT_LAUNCH, Spread, fit_spread, pooled
from harness.optimize.space import steps_of
from harness.records import Result

__all__ = ["Trial", "gain_of", "gain_over", "usual_spread"]

SURE = 0.975
"""One-sided confidence of each end of a gain: what is left out must be worse beyond doubt."""


@dataclass(frozen=True)
class Trial:
    """A case that was tried.

    gains   logarithms of how many times better than the reference each launch was; one where the goal is counted
    failed  why it gave no numbers: its outcome and reason; "" where it gave some
    broken  the limits that it does not keep, as sentences
    lossy   whether the accuracy is one of them: what extends it would lose as well
    """

    case: Case
    result: Result
    gains: tuple[float, ...] = ()
    failed: str = ""
    broken: tuple[str, ...] = ()
    lossy: bool = False

    @property
    def steps(self) -> frozenset[str]:
        """Ids of its techniques; empty for the reference."""
        return steps_of(self.case.technique)

    @property
    def stands(self) -> bool:
        """Whether it may be recommended: it works and keeps every limit."""
        return not self.failed and not self.broken and bool(self.gains)

    @property
    def extensible(self) -> bool:
        """Whether something may be added to it: also what takes too much memory, which the next step may save."""
        return not self.failed and not self.lossy and bool(self.gains)


def gain_of(gains: Sequence[float], spread: Spread) -> Interval:
    """The mean logarithm of the gain with its bounds; one that is counted has no width."""
    if len(gains) == 1:
        return Interval(gains[0], gains[0], gains[0], 0.0, math.inf)
    return interval(gains, spread, SURE, SURE)


def gain_over(one: Interval, other: Interval) -> Interval:
    """The difference of two gains that were measured at different times: their errors add up as variances."""
    point = one.point - other.point
    below = math.hypot(one.point - one.least, other.most - other.point)
    above = math.hypot(one.most - one.point, other.point - other.least)
    error = math.hypot(one.error, other.error)
    return Interval(point, point - below, point + above, error, min(one.freedom, other.freedom))


def usual_spread(trials: Iterable[Trial]) -> Spread:
    """How much launches differ on this machine for this goal, learnt from all trials."""
    return fit_spread([pooled([trial.gains]) for trial in trials if len(trial.gains) > 1], DEFAULT_LAUNCH)
