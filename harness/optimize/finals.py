"""The last comparison of a search: what trials that take turns with each other show of the goal.

A launch in turns has one ratio, that of the medians of a call, and two trials need not differ in their medians, or in
calls that hold as many items. So the judge is given the ratio that the goal asks for in its place.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.judge.against import DEFAULT_SPREAD, Judged, judge_launches, more_launches
from harness.judge.exact import beyond
from harness.measure.sampling import SHORTEST
from harness.measure.turns import plan_turn
from harness.metrics import calls_needed
from harness.optimize.goal import Goal, value_of
from harness.optimize.trial import Trial
from harness.plan import Plan
from harness.records import Launch
from harness.units import duration, quantity

__all__ = [
    "FINAL",
    "TIE",
    "Final",
    "beside",
    "compared",
    "incomparable",
    "judged",
    "launch_seconds",
    "not_compared",
    "shortest",
    "wanted",
]

FINAL = Plan(screen=3, confirm=16)
TIE = 0.01
"""Of two that differ by less than this the one with fewer techniques is recommended."""

LONGEST = 5.0
"""Seconds that a first launch is made longer to at most, for the calls that a percentile needs."""
SPARE = 1.2
"""Calls that are planned for each one that is needed: they may take longer than in the search."""

BLOCKS = 10
"""Parts of a launch that are left out in turn."""


@dataclass(frozen=True)
class Final:
    """What came of two trials in turns. `candidate` and `other` are their case ids; the change is the candidate's."""

    candidate: str
    other: str
    judged: Judged

    @property
    def finite(self) -> bool:
        """Whether it can be recorded."""
        change = self.judged.change
        return all(map(math.isfinite, (change.point, change.low, change.high, self.judged.detectable)))


def compared(goal: Goal) -> str:
    """What is compared for a goal, in words."""
    return "time per item" if goal.per_item else goal.metric


def incomparable(goal: Goal, one: Trial, other: Trial) -> str:
    """Why two trials can't be compared in turns for a goal that is timed; "" where they can."""
    seconds = launch_seconds(goal, one, other)
    if seconds <= LONGEST:
        return ""
    return (
        f"{one.case.technique.id} was not compared with {other.case.technique.id} in turns: {goal.metric} needs "
        f"{calls_needed(goal.metric)} calls of each in a launch, which would take {duration(seconds)}; a goal that "
        "needs fewer, such as latency.p50, is compared"
    )


def not_compared(goal: Goal, best: Trial) -> str:
    """Why the best stands unchallenged for a goal that is not timed, and yet differs from launch to launch; else ""."""
    measurement = best.result.measurement(goal.metric)
    if measurement is None or len(measurement.values) < 2:
        return ""
    return (
        f"the best was not compared in turns: {goal.metric} differs from launch to launch, but is neither a built-in "
        "latency nor the time per item"
    )


def shortest(goal: Goal, limit: float, best: Trial, trials: Iterable[Trial]) -> tuple[Trial, str]:
    """Of those that may be recommended and have as much of a counted goal as the best, the one with the fewest
    techniques, of these the better; and a sentence where that is not the best, else "".

    limit  by how much values may differ and count as alike, in the goal's unit
    """
    most = best.result.measurement(goal.metric)
    chosen, lost = best, 0.0
    for trial in trials:
        measured = trial.result.measurement(goal.metric)
        if most is None or measured is None or not trial.stands:
            continue
        apart = abs(measured.estimate.point - most.estimate.point)
        if not beyond(apart, limit) and (len(trial.steps), apart) < (len(chosen.steps), lost):
            chosen, lost = trial, apart
    if chosen is best:
        return best, ""
    one, other = (trial.case.technique.id for trial in (chosen, best))
    much = quantity(lost, goal.unit)
    return (
        chosen,
        f"{other} is better in {goal.metric} by {much}, which counts as alike, and {one} has fewer techniques",
    )


def launch_seconds(goal: Goal, one: Trial, other: Trial) -> float:
    """Seconds of turns for a first launch, so that the shortest fresh one has the calls that tell the goal."""
    needed = calls_needed(goal.metric)
    calls = [found.estimate.point for trial in (one, other) if (found := trial.result.measurement("latency.p50"))]
    if needed == 1 or not calls:
        return FINAL.seconds
    turn = plan_turn(statistics.fmean(calls), FINAL.turn)
    discarded = 1 + turn.discard / turn.calls
    # Fresh launches may be made shorter than the first ones, by this much at most.
    return max(FINAL.seconds, SPARE * needed * discarded * math.fsum(calls) / SHORTEST)


def beside(goal: Goal) -> str:
    """The arm of a launch that the candidate takes turns with.

    As `previous` it makes as many calls a turn as the candidate, since calls are compared. As `reference` it has turns
    of its own length: a call of 32 items lasts too long for a call of one to be warm after as many.
    """
    return "reference" if goal.per_item else "previous"


def judged(goal: Goal, launches: Sequence[Launch]) -> Judged:
    """The verdict on a trial in turns with another, its change in what the goal asks for (positive is worse)."""
    return judge_launches([_in_its_terms(goal, one) for one in launches], TIE, DEFAULT_SPREAD)


def wanted(goal: Goal, launches: Sequence[Launch]) -> int:
    """How many launches to make next while it is open which of the two is the better."""
    return more_launches([_in_its_terms(goal, one) for one in launches], TIE, DEFAULT_SPREAD, FINAL.lots)


def _in_its_terms(goal: Goal, launch: Launch) -> Launch:
    """The launch with the ratio that the goal asks for, candidate over the other, where the judge looks for one."""
    if goal.per_item:
        ratio, error = 1 / launch.speedup if launch.speedup else None, launch.within.get("speedup", 0.0)
    elif goal.metric == "latency.p50":
        return launch
    else:
        ratio, error = _quotient(launch.samples["candidate"], launch.samples["previous"], goal.metric)
    return dataclasses.replace(launch, against=ratio, within={"against": error})


def _quotient(own: Sequence[float], other: Sequence[float], metric: str) -> tuple[float, float]:
    """The quotient of two arms' values of a latency, and the standard error of its logarithm from the calls alone.

    The error is that of the jackknife that leaves out blocks of neighbours, of both arms at the same time: it holds for
    calls that depend on each other (Künsch 1989, Ann. Stat. 17, 1217), and for percentiles, whose error no jackknife
    by single calls gives (Shao and Wu 1989, Ann. Stat. 17, 1176).
    """
    blocks = min(BLOCKS, len(own), len(other))

    def quotient(without: int | None) -> float:
        left = [
            [time for position, time in enumerate(times) if position * blocks // len(times) != without]
            for times in (own, other)
        ]
        return math.log(value_of(left[0], metric) / value_of(left[1], metric))

    parts = [quotient(number) for number in range(blocks)]
    return math.exp(quotient(None)), math.sqrt((blocks - 1) * statistics.pvariance(parts))
