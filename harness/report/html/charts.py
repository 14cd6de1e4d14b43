"""The pictures of the report: change against its limit, distributions, samples in time order, what accuracy costs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.records import Comparison, Launch
from harness.report.html.svg import Axis, chart, element, labels, number, path
from harness.report.numbers import bare, change_text, limit_text, relative_text, signed_limit
from harness.report.pruned import Removal, families
from harness.report.reasons import measure
from harness.units import plural, quantity

__all__ = [
    "ARMS",
    "Picture",
    "columns",
    "dumbbell",
    "ecdf",
    "free_place",
    "pooled",
    "quantile",
    "removal",
    "rows",
    "seconds",
    "shares",
    "timeline",
]

ARMS = ("candidate", "previous", "reference")
_CURVE_POINTS = 80
_TIME_POINTS = 240


@dataclass(frozen=True)
class Picture:
    """A picture, and a sentence for beside it that says what it shows in this run."""

    svg: Markup
    said: str


def dumbbell(key: str, comparison: Comparison) -> Markup | None:
    """Before and now on an axis of relative change, with the change's interval, and what lies beyond the limit shaded.

    What was has an interval where the change is that of the values themselves: elsewhere, where it is of ratios, the
    spread of the values is no part of what judged. None where the change has no number, or where everything would fall
    on one point.
    """
    change = comparison.change
    if change is None:
        return None
    width, height, y = 460.0, 92.0, 44.0
    limit = signed_limit(comparison, comparison.limit or 0.0)
    old = [0.0]
    if comparison.baseline and comparison.baseline.point and not measure(comparison):
        base = comparison.baseline
        old = [(end - base.point) / abs(base.point) for end in (base.low, base.high)]
    spread = [0.0, limit, change.low, change.high, change.point, *old]
    if max(spread) == min(spread):
        return None
    x = Axis.around(spread, 14, width - 14, pad=0.12)
    bad_from, bad_to = (x(limit), x.end) if comparison.better == "lower" else (x.start, x(limit))
    now = x(change.point)
    parts = [
        element("rect", class_="beyond", x=bad_from, y=20, width=max(bad_to - bad_from, 0), height=48),
        element("line", class_="axis", x1=x.start, x2=x.end, y1=68, y2=68),
        *(
            # With one decimal more than texts have: ticks are as near to each other as 0.025 %.
            element(
                "text",
                bare(relative_text(comparison, t, 1)),
                class_="tick",
                x=x(t),
                y=84,
                text_anchor="middle",
            )
            for t in x.ticks(5)
            if 30 < x(t) < width - 30
        ),
        element("line", class_="limit", x1=x(limit), x2=x(limit), y1=16, y2=68),
        element(
            "text",
            f"limit {limit_text(comparison)}",
            class_="tick",
            x=x(limit),
            y=11,
            text_anchor="end" if x(limit) > width * 0.8 else "start" if x(limit) < width * 0.2 else "middle",
        ),
        element("line", class_="link", x1=x(0), x2=now, y1=y, y2=y),
        *(
            [element("line", class_="whisker old", x1=x(min(old)), x2=x(max(old)), y1=y, y2=y)]
            if max(old) > min(old)
            else []
        ),
        element("line", class_="whisker now", x1=x(change.low), x2=x(change.high), y1=y, y2=y),
        element("circle", class_="dot old", cx=x(0), cy=y, r=5),
        element("circle", class_="dot now", cx=now, cy=y, r=5.5),
    ]
    said = f"From what it was, at 0, the change is {change_text(comparison)}; the limit is {limit_text(comparison)}."
    return chart(key, width, height, f"Change of {comparison.metric}", said, parts)


def pooled(launches: Sequence[Launch]) -> dict[str, list[float]]:
    """The samples of each arm, in seconds and ascending, over all launches that count, where there are any."""
    counted = [launch for launch in launches if launch.counts]
    found = {arm: sorted(s for launch in counted for s in launch.samples.get(arm, ())) for arm in ARMS}
    return {arm: values for arm, values in found.items() if values}


def quantile(ascending: Sequence[float], share: float) -> float:
    """The smallest sample that at least this share of all samples does not exceed."""
    rank = math.ceil(share * len(ascending) - 1e-9)  # 0.07 * 100 lies a hair above 7
    return ascending[max(rank - 1, 0)]


def ecdf(key: str, samples: Mapping[str, Sequence[float]], accepted: float | None = None, note: str = "") -> Picture:
    """For each time, the share of calls that took at most that long, as far as 99 % of each arm's calls go.

    `samples` as from `pooled`. An arm with slower calls than the picture is wide ends below 100 %.

    `accepted` is the baseline's median at this run's speed of the machine, of which there are no calls to draw. `note`
    ends the description, and is no part of the sentence.
    """
    width, height = 460.0, 220.0
    ends = [quantile(values, share) for values in samples.values() for share in (0.0, 0.99)]
    ends += [accepted] if accepted else []
    log = max(ends) > 3 * min(ends) > 0
    x, y = Axis.around(ends, 52, width - 12, log=log, pad=0.03), Axis(0, 1, height - 34, 26)
    quarters = {share: f"{share * 100:.0f} %" for share in (0, 0.25, 0.5, 0.75, 1)}
    parts = [*rows(y, quarters, x.start, x.end), *columns(x, seconds(x.ticks(4)), y.start)]
    for arm, values in samples.items():
        steps = ((quantile(values, i / _CURVE_POINTS), i / _CURVE_POINTS) for i in range(_CURVE_POINTS + 1))
        # What is slower than the axis is long would be drawn at its end, as if it took no longer.
        curve = [(x(time), y(share)) for time, share in steps if time <= x.high]
        parts.append(element("path", class_=f"line {arm}", d=path(curve)))
    if accepted:
        parts.append(element("line", class_="line baseline", x1=x(accepted), x2=x(accepted), y1=y.start, y2=y.end))
    parts += _legend([*samples, "baseline"] if accepted else samples)
    said = "; ".join(
        f"{arm}: half of the calls within {quantity(quantile(values, 0.5), 's')}, "
        f"95 % within {quantity(quantile(values, 0.95), 's')}"
        for arm, values in samples.items()
    )
    said += f"; the baseline's median would be {quantity(accepted, 's')} now." if accepted else "."
    return Picture(chart(key, width, height, "Distribution of call times", f"{said} {note}".strip(), parts), said)


def timeline(key: str, launches: Sequence[Launch]) -> Picture:
    """Every kept sample in the order in which it was taken, launch after launch; in brackets those made again."""
    width, height = 460.0, 220.0
    step = max(1, -(-sum(len(v) for launch in launches for v in launch.samples.values()) // (2 * _TIME_POINTS)))
    series = [{arm: launch.samples.get(arm, ())[::step] for arm in ARMS} for launch in launches]
    every = [s for launch in series for values in launch.values() for s in values]
    log = max(every) > 3 * min(every) > 0
    y = Axis.around(every, height - 34, 26, log=log, pad=0.03)
    x = Axis(0, max(len(series), 1), 52, width - 12)
    parts = [*rows(y, seconds(y.ticks(4)), x.start, x.end)]
    for i, launch in enumerate(series):
        if i:
            parts.append(element("line", class_="axis faint", x1=x(i), x2=x(i), y1=26, y2=height - 34))
        counts = launches[i].counts
        if len(series) <= 12 or i % (len(series) // 6) == 0 or not counts:
            label = f"{i + 1}" if counts else f"({i + 1})"
            parts.append(element("text", label, class_="tick", x=x(i + 0.5), y=height - 18, text_anchor="middle"))
        for arm, values in launch.items():
            places = [(x(i + (k + 0.5) / len(values)), y(value)) for k, value in enumerate(values)]
            if arm != "candidate":
                parts += [element("path", class_=f"line thin {arm}", d=path(places))] if places else []
            elif places:
                marks = "".join(f"M{number(px)} {number(py)}h0" for px, py in places)
                parts.append(element("path", class_="marks candidate", d=marks))
    parts.append(element("text", "launch", class_="tick", x=(x.start + x.end) / 2, y=height - 3, text_anchor="middle"))
    parts += _legend([arm for arm in ARMS if any(launch[arm] for launch in series)], in_time=True)
    counted = [(arms["candidate"], launch) for arms, launch in zip(series, launches, strict=True) if launch.counts]
    # Of all calls where they are known, as in the table of launches: what is drawn is thinned.
    medians = [launch.latency.get("p50") or statistics.median(values) for values, launch in counted if values]
    said = f"{plural(len(series), 'launch')}, {'each ' * (len(series) > 1)}in fresh processes"
    if len(counted) < len(series):
        said += "; those in brackets were disturbed, made again, and count for nothing"
    if medians:
        said += f"; the candidate's median is {quantity(min(medians), 's')}"
    if len(medians) > 1:
        said += f" in the fastest and {quantity(max(medians), 's')} in the slowest"
    return Picture(chart(key, width, height, "Samples in time order", f"{said}.", parts), f"{said}.")


def removal(
    key: str, model: str, found: Sequence[Removal], reference: float, said: str, links: Mapping[str, str]
) -> Markup:
    """Accuracy against the share of weights removed; a dashed line is the `reference`, a full one joins a family.

    Marks are numbered in the order of `found`, which is that of the table beside the picture.
    """
    width, height = 620.0, 300.0
    x = Axis(0, 1, 58, width - 24)
    y = Axis.around([reference, *(item.accuracy for item in found)], height - 44, 22, pad=0.14)
    parts = [
        *rows(y, shares(y.ticks(5)), x.start, x.end),
        *columns(x, {share: f"{share * 100:.0f} %" for share in (0, 0.25, 0.5, 0.75, 1)}, y.start),
        element("line", class_="line reference", x1=x.start, x2=x.end, y1=y(reference), y2=y(reference)),
    ]
    for curve in families(found):
        if len(curve) > 1:
            corners = [(x(item.removed), y(item.accuracy)) for item in curve]
            parts.append(element("path", class_="line thin candidate", d=path(corners)))
    taken = [(x(item.removed), y(item.accuracy), 6.0) for item in found]
    marks = list(taken)
    for i, (item, (cx, cy, radius)) in enumerate(zip(found, marks, strict=True), start=1):
        lx, ly = free_place(cx, cy, radius, taken)
        told = f"{item.technique}: {item.removed * 100:.0f} % removed, {quantity(item.accuracy, 'share')}"
        mark = element(
            "circle", element("title", told), class_="mark best" if item.faster else "mark", cx=cx, cy=cy, r=6
        )
        label = element("text", str(i), class_="key", x=lx, y=ly + 4, text_anchor="middle")
        parts.append(element("a", mark, label, href=f"#{links[item.view.id]}", aria_label=told))
    parts.append(element("text", "weights removed", class_="tick", x=x.end, y=height - 4, text_anchor="end"))
    parts.append(element("text", "accuracy", class_="tick", x=8, y=12))
    return chart(key, width, height, f"{model}: accuracy against removed weights", said, parts, role="group")


def free_place(cx: float, cy: float, radius: float, taken: list[tuple[float, float, float]]) -> tuple[float, float]:
    """A place for a label near a mark that no mark and no other label covers; above it where everything is full.

    `taken` holds what is there as circles, and gets the place.
    """
    around = ((0, -1), (1, 0), (0, 1), (-1, 0), (1, -1), (-1, -1), (1, 1), (-1, 1), (0, -2), (0, 2))
    places = [(cx + dx * (radius + 9), cy + dy * (radius + 9)) for dx, dy in around]
    free = (p for p in places if all(math.dist(p, q[:2]) > q[2] + 7 for q in taken))
    place = next(free, places[0])
    taken.append((*place, 7.0))
    return place


def rows(y: Axis, labels: Mapping[float, str], left: float, right: float) -> Iterator[Markup]:
    """A line across for each labelled value of the vertical axis."""
    for value, text in labels.items():
        yield element("line", class_="axis faint", x1=left, x2=right, y1=y(value), y2=y(value))
        yield element("text", text, class_="tick", x=left - 5, y=y(value) + 3.5, text_anchor="end")


def columns(x: Axis, labels: Mapping[float, str], bottom: float) -> Iterator[Markup]:
    """A mark and a label for each labelled value of the horizontal axis."""
    for value, text in labels.items():
        yield element("line", class_="axis faint", x1=x(value), x2=x(value), y1=bottom, y2=bottom + 4)
        anchor = "end" if x(value) > x.end - 14 else "middle"
        yield element("text", text, class_="tick", x=x(value), y=bottom + 17, text_anchor=anchor)


def seconds(values: Sequence[float]) -> dict[float, str]:
    """Labels of round values: `2 ms` and not `2.00 ms`."""
    return labels(values, lambda value, digits: bare(quantity(value, "s", digits)))


def shares(values: Sequence[float]) -> dict[float, str]:
    """Labels of shares (0..1) in percent, `97.5 %`: none where an axis has room for more than a share can be."""
    possible = [value for value in values if 0 <= value <= 1 + 1e-9]
    return labels(possible, lambda value, digits: f"{value * 100:.{digits + 1}g} %")


def _legend(arms: Mapping[str, Sequence[float]] | Sequence[str], *, in_time: bool = False) -> Iterator[Markup]:
    """Each arm's mark as it is drawn: `in_time` a candidate is dots, and the other arms are thin lines."""
    for i, arm in enumerate(arms):
        left = 52 + i * 110
        if in_time and arm == "candidate":
            dots = "".join(f"M{number(left + dx)} 11h0" for dx in (3, 11, 19))
            yield element("path", class_="marks candidate", d=dots)
        else:
            thin = " thin" if in_time else ""
            yield element("line", class_=f"line{thin} {arm}", x1=left, x2=left + 22, y1=11, y2=11)
        yield element("text", arm, class_="tick strong", x=left + 27, y=15)
