"""One combination of techniques, measured: how much better than the reference it is, and which of several is best."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from harness.grid import Case
from harness.judge.interval import Interval, interval
from harness.judge.prior import DEFAULT_LAUNCH, Spread, fit_spread, pooled
from harness.optimize.space import steps_of
from harness.records import Estimate, Result

__all__ = ["Trial", "alike_to", "best_of", "gain_of", "gain_over", "to_beat", "usual_spread"]

SURE = 0.975
"""One-sided confidence of each end of a gain: what is left out must be worse beyond doubt."""

WORTH = 0.02
"""What a further technique has to gain (a logarithm): launches that would show less are not made."""


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

    def estimate(self, metric: str) -> Estimate | None:
        """The estimate of a metric, None where it has none."""
        measurement = self.result.measurement(metric)
        return measurement.estimate if measurement else None


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


def best_of(trials: Collection[Trial]) -> Trial | None:
    """The trial with the largest gain of those that keep every limit, of equals the shortest; None where none does."""
    spread = usual_spread(trials)
    standing = [trial for trial in trials if trial.stands]
    return max(standing, key=lambda trial: (gain_of(trial.gains, spread).point, -len(trial.steps)), default=None)


def alike_to(best: Trial, trials: Collection[Trial]) -> list[Trial]:
    """The other trials that may be recommended and whose intervals reach the best's: those with the fewest techniques
    first, of them what seems better.

    On the front or not: what lies a hair below another in everything is off it, and may be what is as good with less.
    """
    spread = usual_spread(trials)
    least = gain_of(best.gains, spread).least
    others = [(trial, gain_of(trial.gains, spread)) for trial in trials if trial.stands and trial is not best]
    reaching = [(trial, gain) for trial, gain in others if gain.most >= least]
    return [trial for trial, _ in sorted(reaching, key=lambda one: (len(one[0].steps), -one[1].point))]


def to_beat(trials: Collection[Trial], techniques: int) -> Interval | None:
    """The gain that a pipeline of so many techniques should reach to matter; None before there is any.

    Of two that are alike the shorter one is recommended, so what is longer than the best has to be better by `WORTH`.
    """
    best = best_of(trials)
    if best is None:
        return None
    gain = gain_of(best.gains, usual_spread(trials))
    bar = gain.point + WORTH
    return gain if techniques <= len(best.steps) else dataclasses.replace(gain, point=bar, least=bar, most=bar)


def usual_spread(trials: Iterable[Trial]) -> Spread:
    """How much launches differ on this machine for this goal, learnt from all trials."""
    return fit_spread([pooled([trial.gains]) for trial in trials if len(trial.gains) > 1], DEFAULT_LAUNCH)
