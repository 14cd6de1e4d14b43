"""A metric of a case over runs, as plain values: what reports and the command line draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from harness.report.text import commit_name, moment
from harness.units import difference, percent, quantity

__all__ = ["LAST", "NO_PAST", "Change", "Level", "Past", "Point", "Series"]

LAST = 30
"""Runs of a case that reports look back at."""


@dataclass(frozen=True, slots=True)
class Point:
    """What one run measured, in the metric's unit, with its 95 % interval over launches.

    run       the run's id
    when      when it started, ISO 8601
    commit    the commit that was measured, and `dirty` whether files differed from it
    relative  the same as a ratio to the anchor workload; None where the metric is not judged by it
    verdict   what the run said of the case
    """

    run: str
    when: str
    commit: str
    dirty: bool
    value: float
    low: float
    high: float
    relative: float | None = None
    verdict: str = ""

    @property
    def where(self) -> str:
        """The run and its commit, in words."""
        commit = commit_name(self.commit, dirty=self.dirty)
        return f"run {self.run} ({f'commit {commit}' if commit else 'outside a repository'})"


@dataclass(frozen=True, slots=True)
class Level:
    """What the committed baseline said of the metric from `when` on: its value, and why that was accepted."""

    when: str
    commit: str
    reason: str
    value: float


@dataclass(frozen=True, slots=True)
class Change:
    """The point `at` (its position) is the first of a new level.

    `before` and `after` are the medians of the levels in the metric's unit. `share` is the relative change of what was
    looked at: the ratio to the anchor where `by_anchor`, else the value itself.
    """

    at: int
    before: float
    after: float
    share: float
    by_anchor: bool = False


@dataclass(frozen=True)
class Series:
    """One metric of one case on one class of machine, over the runs that answer the same question; oldest first.

    `note` says why no change could be looked for, "" where it was. `question` is the digest of what was asked, "" where
    there are no runs.
    """

    suite: str
    case_id: str
    metric: str
    unit: str
    better: str
    machine: str
    points: tuple[Point, ...] = ()
    levels: tuple[Level, ...] = ()
    changes: tuple[Change, ...] = ()
    note: str = ""
    question: str = ""

    @property
    def span(self) -> str:
        """How many runs there are, and between which values."""
        values = [point.value for point in self.points]
        if not values:
            return "no run"
        if len(values) == 1:
            return f"1 run: {quantity(values[0], self.unit)}"
        low, high = (quantity(value, self.unit) for value in (min(values), max(values)))
        return f"{len(values)} runs, {f'each {low}' if low == high else f'from {low} to {high}'}"

    def sentence(self, change: Change) -> str:
        """A change in words that stand alone, with the numbers."""
        point = self.points[change.at]
        moved = difference(change.before, change.after, self.unit)
        if change.by_anchor:
            moved = f"{percent(change.share)} against the anchor"
        worse = (change.share > 0) == (self.better == "lower")
        values = f"from {quantity(change.before, self.unit)} to {quantity(change.after, self.unit)}"
        direction = "for the worse" if worse else "for the better"
        return f"{self.metric} went {values} ({moved}, {direction}) at {point.where}, {moment(point.when)}"

    def sentences(self) -> Iterator[str]:
        """All changes, the newest first."""
        return (self.sentence(change) for change in reversed(self.changes))


@dataclass(frozen=True)
class Past:
    """What is known of the cases of a run, by (suite, case id), and sentences on what could not be known."""

    series: Mapping[tuple[str, str], tuple[Series, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def of(self, suite: str, case_id: str) -> tuple[Series, ...]:
        """The series of a case."""
        return self.series.get((suite, case_id), ())

    @property
    def changed(self) -> list[Series]:
        """Every series with a change, that with the newest change first."""
        found = [one for several in self.series.values() for one in several if one.changes]
        return sorted(
            found, key=lambda one: (one.points[one.changes[-1].at].when, one.case_id, one.metric), reverse=True
        )


NO_PAST = Past()
