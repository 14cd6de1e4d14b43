"""What a sampling plan can find, and which plan would find more: the judge's formulas read the other way round.

A launch's log ratio has the variance b^2 + w^2: b between launches, w the standard error that it has from its own
rounds. More launches make both smaller, longer ones only w, and neither makes runs of different hours agree.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Protocol

from harness.judge.change import Change, decide, enough
from harness.judge.looks import FRESH, LOT, SCREEN, Levels
from harness.judge.prior import Spread
from harness.judge.times import FULL_BASELINE
from harness.metrics import Metric
from harness.plan import LOTS, Plan

__all__ = ["AgainstBaseline", "InTurns", "Launching", "Precision", "detectable", "in_time", "plan_for"]

MOST_LAUNCHES = 96
"""Fresh launches that a plan may ask for: more of them take minutes for a case."""

LONGER = (1, 2, 4, 8)
"""Multiples of the present sampling time that a plan may ask for."""


@dataclass(frozen=True)
class Launching:
    """How one launch of a case varies: the variance of its log ratio, and the part that its own rounds leave in it.

    `start` is what a launch takes beside its sampling, and `sampled` what that takes now, in seconds.
    """

    variance: float
    within: float = 0.0
    start: float = 0.0
    sampled: float = 0.0

    def longer(self, factor: float) -> float:
        """The variance of a launch that samples so many times as long."""
        within = min(self.within, self.variance)
        return self.variance - within + within / factor

    def seconds(self, wanted: float) -> float:
        """What a launch takes that is to sample for so many seconds: its rounds may need more than those."""
        return self.start + max(self.sampled, wanted)


class Precision(Protocol):
    """How well a quantity is known after so many launches, each so many times as long as now."""

    @property
    def launching(self) -> Launching:
        """How one launch varies now."""

    @property
    def levels(self) -> Levels:
        """The levels at which fresh launches are judged."""

    def change(self, launches: int, factor: float) -> Change:
        """A change of nothing, with the error and the degrees of freedom that the judge would give it."""


@dataclass(frozen=True)
class InTurns:
    """`--against`: the launches alone say how well. `freedom` stands behind the prior (`harness.judge.prior`)."""

    launching: Launching
    freedom: float
    levels: Levels = LOT

    def change(self, launches: int, factor: float) -> Change:
        error = math.sqrt(self.launching.longer(factor) / launches)
        return Change(0.0, error, self.freedom + launches - 1, sampling=True)


@dataclass(frozen=True)
class AgainstBaseline:
    """Against a baseline of `FULL_BASELINE` blocks, each of `earlier` launches: see `harness.judge.change`.

    freedom  stands behind the prior of launches
    block    variance between runs of different hours, and the degrees of freedom that stand behind its prior
    """

    launching: Launching
    freedom: float
    block: Spread
    earlier: int
    levels: Levels = FRESH

    def change(self, launches: int, factor: float) -> Change:
        of_one = self.launching.longer(factor)
        by_launches = of_one / launches
        lacking = max(0.0, by_launches - self.launching.variance / self.earlier)
        variance = max(self.block.variance + lacking, by_launches)
        variance += max(self.block.variance, self.launching.variance / self.earlier) / FULL_BASELINE
        of_launches = self.freedom + launches - 1 + FULL_BASELINE * (self.earlier - 1)
        of_blocks = self.block.freedom + FULL_BASELINE - 1
        freedom = of_launches if by_launches > self.block.variance else of_blocks
        sampling = launches < enough(of_one, self.block.variance, self.earlier)
        return Change(0.0, math.sqrt(variance), freedom, sampling)


def detectable(precision: Precision, plan: Plan, metric: Metric, limit: float = 0.0, *, factor: float = 1.0) -> float:
    """The smallest relative change for the worse that is called REGRESSED beyond `limit` with a chance of 80 %.

    With a limit of 0, this is what the plan tells from no change at all: a tolerance below it can't be held, since
    cases that did not change would then be left undecided too often.
    """
    change = precision.change(plan.confirm or plan.screen, factor)
    levels = precision.levels if plan.confirm else SCREEN
    return decide(change, change, metric, limit, levels).detectable


def in_time(launching: Launching, plan: Plan) -> Plan:
    """The plan with as many fresh launches as its budget leaves a case: those that may convict at least, as it is
    sampled.
    """
    begun = math.ceil(plan.budget / launching.seconds(plan.seconds))
    return dataclasses.replace(plan, confirm=min(plan.confirm, max(LOTS[0], begun - plan.screen)))


def plan_for(precision: Precision, plan: Plan, metric: Metric, tolerance: float) -> dict[str, float]:
    """What of the plan must change for this tolerance to be held, in the way that takes least time; {} if nothing does.

    Launches are added, made longer, or both; `budget` is among the changes where all launches of a case need more than
    it, which may be as many as the plan has already.
    """
    best: tuple[float, dict[str, float]] = (math.inf, {})
    launching = precision.launching
    for factor in LONGER if launching.within else LONGER[:1]:
        # Where the rounds take longer than the plan asks for, it has to ask for more than that to get longer launches.
        longer = max(1.0, plan.seconds * factor / max(launching.sampled, plan.seconds))
        for launches in range(max(plan.confirm, 1), MOST_LAUNCHES + 1):
            more = dataclasses.replace(plan, confirm=launches)
            if detectable(precision, more, metric, factor=longer) > tolerance:
                continue
            seconds = (plan.screen + launches) * launching.seconds(plan.seconds * factor)
            found: dict[str, float] = {"confirm": launches}
            if factor > 1:
                found["seconds"] = plan.seconds * factor
            if seconds > plan.budget:
                found["budget"] = math.ceil(seconds / 60) * 60
            best = min(best, (seconds, found), key=lambda one: one[0])
            break
    return best[1]
