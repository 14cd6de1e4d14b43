"""The pictures of batch scaling: throughput and latency against the batch, and latency against throughput."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from operator import attrgetter

from markupsafe import Markup

from harness.records import Estimate
from harness.report.batching import Step, Sweep
from harness.report.html.charts import columns, free_place, rows, seconds
from harness.report.html.svg import Axis, chart, element, path
from harness.units import quantity

__all__ = ["scaling", "trade"]

_WIDTH = 460.0
_PANEL = 158.0
_LEFT = 58.0
_LINE = 17.0
"""Height of a line of the legend."""
_APART = 24.0
"""Between the labels of two batch sizes."""
_BEYOND = 2.0
"""How far from the points an interval is drawn, as a factor."""
_throughput, _latency = attrgetter("throughput"), attrgetter("latency")


def scaling(key: str, model: str, found: Sequence[Sweep], said: str, links: Mapping[str, str]) -> Markup:
    """Two panels over the items in a call, by logarithm: items a second, and seconds of a call, with their intervals.

    A line joins the steps of a sweep, and its knee is marked. `links` maps case ids to anchors.
    """
    top = 12 + _LINE * len(found)
    x = Axis.around([step.batch for sweep in found for step in sweep.steps], _LEFT, _WIDTH - 14, log=True, pad=0.04)
    throughput = _axis(found, _throughput, top + _PANEL - 14, top + 22)
    latency = _axis(found, _latency, top + 2 * _PANEL - 26, top + _PANEL + 22)
    batches = _apart(x, sorted({step.batch for sweep in found for step in sweep.steps}))
    parts = [
        *_legend(found),
        *rows(throughput, _rates(throughput.ticks(4)), x.start, x.end),
        *rows(latency, seconds(latency.ticks(4)), x.start, x.end),
        *columns(x, {batch: str(batch) for batch in batches}, latency.start),
        element("text", "items a second", class_="tick", x=8, y=top + 10),
        element("text", "time of one call (p50)", class_="tick", x=8, y=top + _PANEL + 10),
        element(
            "text", "items in a call", class_="tick", x=(x.start + x.end) / 2, y=top + 2 * _PANEL + 8,
            text_anchor="middle",
        ),
    ]  # fmt: skip
    for axis, of in ((throughput, _throughput), (latency, _latency)):
        for number, sweep in enumerate(found):
            parts += _curve(number, sweep, [(x(step.batch), axis(of(step).point)) for step in sweep.steps], links)
            parts += [_whisker(x(step.batch), axis, of(step)) for step in sweep.steps if of(step).low < of(step).high]
    return chart(key, _WIDTH, top + 2 * _PANEL + 14, f"{model}: batch scaling", said, parts, role="group")


def trade(key: str, model: str, found: Sequence[Sweep], links: Mapping[str, str]) -> Markup:
    """Seconds of a call against items a second, both by logarithm; marks carry their batch size."""
    top = 12 + _LINE * len(found)
    height = top + 2 * _PANEL + 14
    x = _axis(found, _throughput, _LEFT, _WIDTH - 20, room=1)
    y = _axis(found, _latency, height - 44, top + 22, room=1)
    parts = [
        *_legend(found),
        *rows(y, seconds(y.ticks(5)), x.start, x.end),
        *columns(x, _rates(x.ticks(4)), y.start),
        element("text", "time of one call (p50)", class_="tick", x=8, y=top + 10),
        element("text", "items a second", class_="tick", x=x.end, y=height - 6, text_anchor="end"),
    ]
    places = [[(x(step.throughput.point), y(step.latency.point)) for step in sweep.steps] for sweep in found]
    taken = [(px, py, 5.0) for curve in places for px, py in curve]
    taken += [
        (ax + share * (bx - ax), ay + share * (by - ay), 1.0)
        for curve in places
        for (ax, ay), (bx, by) in pairwise(curve)
        for share in (0.25, 0.5, 0.75)
    ]
    for number, (sweep, curve) in enumerate(zip(found, places, strict=True)):
        parts += _curve(number, sweep, curve, links)
        for step, (px, py) in zip(sweep.steps, curve, strict=True):
            lx, ly = free_place(px, py, 8 if _marked(sweep, step) else 5, taken)
            parts.append(element("text", str(step.batch), class_="key", x=lx, y=ly + 4, text_anchor="middle"))
    said = "; ".join(
        f"{sweep.pipeline}: {_told(sweep.steps[0])}, and {_told(sweep.steps[-1])}"
        for sweep in found
    )  # fmt: skip
    return chart(key, _WIDTH, height, f"{model}: latency against throughput", f"{said}.", parts, role="group")


def _axis(
    found: Sequence[Sweep], of: Callable[[Step], Estimate], start: float, end: float, room: float = _BEYOND
) -> Axis:
    """A logarithmic axis for a quantity of all steps, and for their intervals up to `room` times the points."""
    estimates = [of(step) for sweep in found for step in sweep.steps]
    least, most = min(e.point for e in estimates) / room, max(e.point for e in estimates) * room
    ends = [min(max(value, least), most) for e in estimates for value in (e.low, e.point, e.high)]
    return Axis.around(ends, start, end, log=True, pad=0.08)


def _curve(
    number: int, sweep: Sweep, places: Sequence[tuple[float, float]], links: Mapping[str, str]
) -> Iterator[Markup]:
    """The line of a sweep and its steps as marks that lead to their cases."""
    yield element("path", class_=f"line sweep{number}", d=path(places))
    for step, (px, py) in zip(sweep.steps, places, strict=True):
        knee = _marked(sweep, step)
        told = f"{sweep.pipeline}, {_told(step)}" + (", the knee" if knee else "")
        mark = element(
            "circle", element("title", told), class_="mark best" if knee else "mark", cx=px, cy=py, r=7 if knee else 4
        )
        yield element("a", mark, href=f"#{links[step.view.id]}", aria_label=told)


def _marked(sweep: Sweep, step: Step) -> bool:
    return step is sweep.knee and not sweep.open_ended


def _told(step: Step) -> str:
    return (
        f"batch {step.batch}: {quantity(step.throughput.point, 'items/s')}, {quantity(step.latency.point, 's')} a call"
    )


def _whisker(px: float, axis: Axis, estimate: Estimate) -> Markup:
    return element("line", class_="error", x1=px, x2=px, y1=axis(estimate.low), y2=axis(estimate.high))


def _apart(x: Axis, batches: Sequence[int]) -> list[int]:
    """The batch sizes whose labels have room, from the smallest on."""
    kept: list[int] = []
    for batch in batches:
        if not kept or x(batch) - x(kept[-1]) >= _APART:
            kept.append(batch)
    return kept


def _rates(values: Sequence[float]) -> dict[float, str]:
    """Labels of round numbers of items a second."""
    return {value: f"{value:,.6g}" for value in values}


def _legend(found: Sequence[Sweep]) -> Iterator[Markup]:
    for number, sweep in enumerate(found):
        y = 8 + _LINE * number
        style = f"line sweep{number}"
        yield element("line", class_=style, x1=_LEFT, x2=_LEFT + 26, y1=y, y2=y)
        yield element("text", sweep.pipeline, class_="tick strong", x=_LEFT + 32, y=y + 4)
