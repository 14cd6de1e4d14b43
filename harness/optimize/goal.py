"""What shall become as good as possible, and what must hold meanwhile."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness.metrics import TIMES, calls_needed
from harness.records import Launch, Result
from harness.units import plural, points, quantity

__all__ = ["Goal", "Limit", "gains_of", "value_of", "without_gain"]

_TOO_SMALL = 1e-12
"""A subtraction of floats is wrong by less than this share of the accuracy."""
_NOTHING = 1e-6
"""What is 0 of a result counts as this share of what it is of the reference: no factor leads to 0."""
_OF_OTHER_DATA = "is of other data than the reference's"


@dataclass(frozen=True)
class Limit:
    """The most that a metric may be: `value` in the metric's unit, or for `accuracy` the loss against the reference."""

    metric: str
    value: float
    unit: str

    def broken(self, result: Result, reference: Result) -> str:
        """A sentence about the limit where the result exceeds it, or has no such metric, or where the accuracy is of
        other data than the reference's; "" where it is within.
        """
        measurement = result.measurement(self.metric)
        if measurement is None:
            return "" if self.metric.startswith("latency.") and not result.launches else f"{self.metric} is unknown"
        found = measurement.estimate.point
        if self.metric == "accuracy":
            before = reference.measurement("accuracy")
            if before and not result.asked_as(reference):
                return f"accuracy {_OF_OTHER_DATA}"
            loss = (before.estimate.point if before else math.nan) - found
            # Written so that what is not a number is broken.
            return "" if loss <= self.value + _TOO_SMALL else f"accuracy {points(-loss)}"
        return "" if found <= self.value else self.untold(result) or f"{self.metric} {quantity(found, self.unit)}"

    def untold(self, result: Result) -> str:
        """A sentence where the launches had too few calls to tell whether a percentile keeps the limit; else ""."""
        measurement, needed = result.measurement(self.metric), calls_needed(self.metric)
        if measurement is None or measurement.estimate.samples >= needed:
            return ""
        found, calls = quantity(measurement.estimate.point, self.unit), measurement.estimate.samples
        return f"{self.metric} {found} is of {plural(calls, 'call')} a launch, and {needed} tell it"

    def __str__(self) -> str:
        if self.metric == "accuracy":
            return f"accuracy at most {points(self.value).removeprefix('+')} below the reference's"
        return f"{self.metric} at most {quantity(self.value, self.unit)}"


@dataclass(frozen=True)
class Goal:
    """The metric that shall become as small (`better` is `lower`) or as large as possible, and the limits.

    evaluated  whether the model's evaluation gives it beside the accuracy (`Evaluation.metrics`)
    """

    metric: str
    unit: str
    better: str
    limits: tuple[Limit, ...] = ()
    evaluated: bool = False

    def untold(self, result: Result) -> list[str]:
        """A sentence for each limit of which too few calls tell whether it holds."""
        return [sentence for limit in self.limits if (sentence := limit.untold(result))]

    @property
    def sampled(self) -> bool:
        """Whether it is timed, so that each launch has a value of its own."""
        return (self.metric in TIMES and self.metric.startswith("latency.")) or self.per_item

    @property
    def per_item(self) -> bool:
        """Whether it is a matter of the time an item, whatever the items in a call; latencies are those of calls."""
        return self.metric in ("throughput", "speedup")

    def __str__(self) -> str:
        wanted = "least" if self.better == "lower" else "most"
        return "; ".join([f"{wanted} {self.metric}", *map(str, self.limits)])


def gains_of(goal: Goal, result: Result, reference: Result) -> tuple[float, ...]:
    """Logarithms of how many times better than the reference a result is: one a launch, or one alone where the goal is
    counted. Empty where there is nothing to compare.

    In a launch both took turns, so that the quotient of their own quantiles is paired.
    """
    if goal.sampled:
        return tuple(
            gain for launch in result.launches if launch.counts and (gain := _of_launch(goal, launch)) is not None
        )
    own, other = result.measurement(goal.metric), reference.measurement(goal.metric)
    if own is None or other is None:
        return ()
    value, before = own.estimate.point, other.estimate.point
    if goal.better == "lower" and before > 0:
        value = max(value, _NOTHING * before)
    if min(value, before) <= 0:
        return ()
    gain = math.log(before / value)
    return (gain if goal.better == "lower" else -gain,)


def without_gain(goal: Goal, result: Result, reference: Result) -> str:
    """Why a result has no gain in a goal that is counted, as a sentence; "" where it has one."""
    own, other = result.measurement(goal.metric), reference.measurement(goal.metric)
    if own is None:
        return f"{goal.metric}, which is the goal, was not measured of it"
    if other and (goal.evaluated or goal.metric == "accuracy") and not result.asked_as(reference):
        return f"{goal.metric} {_OF_OTHER_DATA}"
    if other is None or other.estimate.point <= 0:
        value = f"is {quantity(other.estimate.point, goal.unit)}" if other else "was not measured"
        return f"{goal.metric} {value} of the model as it is, so that no gain can be a factor of it; take another goal"
    if not gains_of(goal, result, reference):
        return f"{goal.metric}, which is the goal, is {quantity(own.estimate.point, goal.unit)} of it"
    return ""


def _of_launch(goal: Goal, launch: Launch) -> float | None:
    if goal.per_item:
        return math.log(launch.speedup) if launch.speedup else None
    if "reference" not in launch.samples:
        return None
    own, other = (value_of(launch.samples[arm], goal.metric) for arm in ("candidate", "reference"))
    return math.log(other / own)


def value_of(times: Sequence[float], metric: str) -> float:
    """The percentile, or the mean, of calls' times that a latency is (`latency.p95`)."""
    word = metric.removeprefix("latency.")
    if word == "mean" or len(times) == 1:
        return statistics.fmean(times)
    return statistics.quantiles(times, n=100, method="inclusive")[int(word.removeprefix("p")) - 1]
