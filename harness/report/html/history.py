"""The history of a case: a picture, its table and its sentences; and the changes of all cases."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from harness.records import Verdict
from harness.report.html.charts import rows
from harness.report.html.svg import Axis, chart, element, labels, number, path
from harness.report.overview import CaseView
from harness.report.past import Level, Past, Point, Series
from harness.report.text import commit_name, moment
from harness.units import quantity, with_interval

__all__ = ["MAX_MOVED", "Moved", "histories", "moved", "over_runs"]

MAX_MOVED = 40
"""Changes of level that are listed; each case has its own in its section."""
MAX_ROWS = 30
"""Runs in the table beside a picture."""
_CALM = (None, Verdict.UNCHANGED)


@dataclass(frozen=True)
class Moved:
    """Series that moved, newest change first, and how many were left out."""

    shown: tuple[Series, ...] = ()
    dropped: int = 0


def moved(past: Past) -> Moved:
    """The series with a change of level."""
    found = past.changed
    return Moved(tuple(found[:MAX_MOVED]), max(len(found) - MAX_MOVED, 0))


def histories(view: CaseView, past: Past, key: str, *, drawn: bool) -> list[dict[str, Any]]:
    """The metrics of a case over runs: those that moved or were not judged unchanged with a picture and its table.

    The others have their sentence: where nothing happened there is nothing to look at, and pages stay small.
    """
    calm = {c.metric: c.verdict in _CALM for c in view.comparisons}
    found = []
    for i, series in enumerate(past.of(view.suite, view.id)):
        telling = bool(series.changes) or not calm.get(series.metric, True)
        sentences = list(series.sentences())
        found.append(
            {
                "series": series,
                "said": sentences or [f"{series.metric}: {series.span}"],
                "picture": over_runs(f"{key}-h{i}", series) if telling and drawn else None,
                "rows": list(_rows(series)) if telling else [],
            }
        )
    return found


def _rows(series: Series) -> Iterator[dict[str, str]]:
    """The last runs, and the baselines that were in force at them or accepted since, the newest first."""
    unit, starts = series.unit, {change.at for change in series.changes}
    first = max(len(series.points) - MAX_ROWS, 0)
    since = series.points[first].when if series.points else ""
    in_force = [level for level in series.levels if level.when <= since][-1:]
    events: list[tuple[str, dict[str, str]]] = [
        (
            point.when,
            {
                "when": moment(point.when),
                "commit": commit_name(point.commit, dirty=point.dirty),
                "value": with_interval(point.value, point.low, point.high, unit),
                "what": f"run {point.run}" + ("; a new level begins" if i in starts else ""),
            },
        )
        for i, point in enumerate(series.points[first:], start=first)
    ]
    events += [
        (
            level.when,
            {
                "when": moment(level.when),
                "commit": commit_name(level.commit),
                "value": quantity(level.value, unit),
                "what": f"accepted as baseline: {level.reason}",
            },
        )
        for level in (*in_force, *(level for level in series.levels if level.when > since))
    ]
    return (row for _, row in sorted(events, key=lambda event: event[0], reverse=True))


def over_runs(key: str, series: Series) -> Markup:
    """Each run with its interval, in order; steps are the levels that were found, a dashed line the baseline."""
    width, height = 620.0, 190.0
    points = series.points
    accepted = _accepted(points, series.levels)
    x = Axis(-0.5, len(points) - 0.5, 64, width - 12)
    y = Axis.around(
        [*(end for p in points for end in (p.low, p.value, p.high)), *(value for _, value in accepted)],
        *(height - 34, 26),
        pad=0.08,
    )
    values = labels(y.ticks(4), lambda value, digits: quantity(value, series.unit, digits))
    parts = [*rows(y, values, x.start, x.end)]
    for change in series.changes:
        at = x(change.at - 0.5)
        parts.append(element("line", class_="link", x1=at, x2=at, y1=20, y2=height - 34))
    steps = [(x(i + side), y(value)) for i, value in accepted for side in (-0.5, 0.5)]
    medians = [(x(i + side), y(value)) for i, value in _medians(series) for side in (-0.5, 0.5)]
    whiskers = [f"M{number(x(i))} {number(y(p.low))}V{number(y(p.high))}" for i, p in enumerate(points)]
    dots = [f"M{number(x(i))} {number(y(p.value))}h0" for i, p in enumerate(points)]
    lines = {
        "line reference": path(steps),
        "link solid": "".join(whiskers),
        "line candidate": path(medians),
        "marks candidate runs": "".join(dots),
    }
    parts += [element("path", class_=kind, d=line) for kind, line in lines.items() if line]
    for place, anchor, text in (
        (x.start, "start", moment(points[0].when).partition(",")[0]),
        ((x.start + x.end) / 2, "middle", "runs, oldest first"),
        (x.end, "end", moment(points[-1].when).partition(",")[0]),
    ):
        parts.append(element("text", text, class_="tick", x=place, y=height - 17, text_anchor=anchor))
    parts.append(element("text", series.metric, class_="tick strong", x=x.start, y=14))
    said = " ".join(f"{sentence}." for sentence in series.sentences())
    said = said or f"{series.note or 'No change of level was found'}: {series.span}."
    return chart(key, width, height, f"{series.metric} over runs", said, parts)


def _medians(series: Series) -> list[tuple[int, float]]:
    """At each run the median of its level; none where there is one level."""
    ends = [0, *(change.at for change in series.changes), len(series.points)]
    values = [point.value for point in series.points]
    levels = [(first, end, statistics.median(values[first:end])) for first, end in pairwise(ends)]
    return [(i, median) for first, end, median in levels for i in range(first, end)] if series.changes else []


def _accepted(points: tuple[Point, ...], levels: tuple[Level, ...]) -> list[tuple[int, float]]:
    """At each run the baseline that was in force; none before the first."""
    found: list[tuple[int, float]] = []
    for i, point in enumerate(points):
        earlier = [level.value for level in levels if level.when <= point.when]
        found += [(i, earlier[-1])] if earlier else []
    return found
