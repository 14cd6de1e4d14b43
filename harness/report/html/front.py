"""Accuracy against latency: where the techniques of a model stand, and where they stood before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from markupsafe import Markup

from harness.report.gains import Point
from harness.report.html.charts import columns, free_place, rows, seconds, shares
from harness.report.html.svg import Axis, chart, element, path
from harness.units import quantity

__all__ = ["pareto", "since"]

_LEAST, _LARGEST = 4.0, 13.0
"""The least radius of a mark, and that of what needs most memory."""
_HEAD, _SPREAD = 7.0, 0.45
"""Length of an arrow's head, and the angle of its sides in radians."""


def pareto(key: str, model: str, points: Sequence[Point], best: Sequence[Point], links: Mapping[str, str]) -> Markup:
    """Latency against accuracy, with the front. `links` maps case ids to anchors.

    The area of a mark is its memory, from a least size on. Marks are numbered in the order of `points`,
    which is that of the table beside the picture.
    """
    width, height = 620.0, 340.0
    places = [(p.latency, p.accuracy) for p in points]
    places += [p.was for p in points if p.was]
    x = Axis.around([latency for latency, _ in places], 58, width - 24, log=True, pad=0.12)
    y = Axis.around([accuracy for _, accuracy in places], height - 44, 22, pad=0.14)
    largest = max((p.memory or 0.0 for p in points), default=0.0) or 1.0
    parts = [*rows(y, shares(y.ticks(5)), x.start, x.end), *columns(x, seconds(x.ticks(5)), y.start)]
    corners: list[tuple[float, float]] = []
    for latency, accuracy in sorted(((p.latency, p.accuracy) for p in best), key=lambda place: (place[0], -place[1])):
        # The front is of what was timed in turns: by the seconds drawn here one of it may lie behind another.
        if not corners or y(accuracy) < corners[-1][1]:
            corners.append((x(latency), y(accuracy)))
    if corners:
        stairs = [corners[0]]
        for (_, before), (px, py) in pairwise(corners):
            stairs += [(px, before), (px, py)]
        stairs.append((x.end, corners[-1][1]))
        parts.append(element("path", class_="front", d=path(stairs)))
    on_front = {p.view.id for p in best}
    marks = [
        (x(p.latency), y(p.accuracy), max(_LARGEST * max((p.memory or 0.0) / largest, 0.0) ** 0.5, _LEAST))
        for p in points
    ]
    taken = [*marks]
    for p, (cx, cy, radius) in zip(points, marks, strict=True):
        if p.was and (corners := _arrow((x(p.was[0]), y(p.was[1])), (cx, cy), radius)):
            start, tip, *sides = corners
            parts.append(element("path", class_="arrow", d=path([start, tip]) + path([sides[0], tip, sides[1]])))
            taken.append((*tip, _HEAD))
    for i, (p, (cx, cy, radius)) in enumerate(zip(points, marks, strict=True), start=1):
        lx, ly = free_place(cx, cy, radius, taken)
        kind = "mark best" if p.view.id in on_front else "mark"
        said = f"{p.technique}: {quantity(p.latency, 's')}, {quantity(p.accuracy, 'share')}"
        mark = element("circle", element("title", said), class_=kind, cx=cx, cy=cy, r=radius)
        label = element("text", str(i), class_="key", x=lx, y=ly + 4, text_anchor="middle")
        parts.append(element("a", mark, label, href=f"#{links[p.view.id]}", aria_label=said))
    parts.append(element("text", "time of one call (p50)", class_="tick", x=x.end, y=height - 4, text_anchor="end"))
    parts.append(element("text", "accuracy", class_="tick", x=8, y=12))
    names = ", ".join(p.technique for p in best)
    title, said = f"{model}: accuracy against latency", f"On the front, fastest first: {names}. {since(points)}".strip()
    return chart(key, width, height, title, said, parts, role="group")


def since(points: Sequence[Point]) -> str:
    """What was judged to have moved, in a sentence for each; "" where nothing was, or by less than can be written."""
    told = []
    for p in points:
        if p.was is None:
            continue
        latency, accuracy = p.was
        pairs = ((latency, p.latency, "s"), (accuracy, p.accuracy, "share"))
        texts = [(quantity(before, unit), quantity(now, unit)) for before, now, unit in pairs]
        moves = [f"{before} to {now}" for before, now in texts if before != now]
        if moves:
            told.append(f"{p.technique} went from {' and from '.join(moves)}.")
    return " ".join(told)


def _arrow(start: tuple[float, float], end: tuple[float, float], radius: float) -> list[tuple[float, float]]:
    """The start, the tip and the ends of the head of an arrow that ends at the edge of a mark; empty for one that would
    be no longer than its head.
    """
    if math.dist(start, end) < radius + _HEAD:
        return []
    along = math.atan2(end[1] - start[1], end[0] - start[0])
    tip = (end[0] - (radius + 1) * math.cos(along), end[1] - (radius + 1) * math.sin(along))
    sides = [
        (tip[0] - _HEAD * math.cos(along + turn), tip[1] - _HEAD * math.sin(along + turn))
        for turn in (_SPREAD, -_SPREAD)
    ]
    return [start, tip, *sides]
