"""SVG made of escaped elements, and axes. Every chart has a title and a description, so that it can be heard."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from harness.report.text import visible

__all__ = ["Axis", "chart", "element", "labels", "number", "path"]


def element(name: str, *children: str, **attributes: str | float) -> Markup:
    """An element. Children that are not `Markup` are text and are escaped, as all attribute values are.

    A trailing underscore is dropped from attribute names and others become dashes: `class_`, `text_anchor`.
    """
    words = [name]
    for key, value in attributes.items():
        text = number(value) if isinstance(value, (int, float)) else escape(visible(value))
        words.append(f'{key.rstrip("_").replace("_", "-")}="{text}"')
    content = "".join(child if isinstance(child, Markup) else escape(visible(child)) for child in children)
    start = " ".join(words)
    return Markup(f"<{start}>{content}</{name}>") if content else Markup(f"<{start}/>")


def chart(
    key: str, width: float, height: float, title: str, description: str, children: Iterable[Markup], role: str = "img"
) -> Markup:
    """A whole picture. `key` is unique in the page; `description` says in a sentence what is to be seen.

    `role` is `group` for a picture with links in it: those of an `img` are hidden from who can't see it.
    """
    return element(
        "svg",
        element("title", title, id=f"{key}-t"),
        element("desc", description, id=f"{key}-d"),
        *children,
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=width,
        height=height,
        role=role,
        aria_labelledby=f"{key}-t {key}-d",
    )


def number(value: float) -> str:
    """A coordinate: one decimal is a tenth of a pixel, and more only costs bytes."""
    return f"{value:.1f}".removesuffix(".0") if math.isfinite(value) else "0"


def path(points: Sequence[tuple[float, float]]) -> str:
    """The `d` of a line through points."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points) if points else ""


@dataclass(frozen=True)
class Axis:
    """Maps values between `low` and `high` to coordinates between `start` and `end`, evenly or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def around(cls, values: Iterable[float], start: float, end: float, *, log: bool = False, pad: float = 0.06) -> Axis:
        """An axis that holds all values with some room at both ends; positive ones alone where it is a log.

        What no measurement can be (beyond 1e100, closer to zero than 1e-100) is drawn at the edge.
        """
        kept = [v for v in values if (v > 1e-100 if log else True) and abs(v) < 1e100] or [1.0 if log else 0.0]
        low, high = min(kept), max(kept)
        if log:
            room = max((high / low) ** pad, 1.02)
            return cls(low / room, high * room, start, end, True)
        room = max((high - low) * pad, abs(high) * 1e-9) if high > low else abs(high) * 0.05
        room = room if room > 1e-100 else 0.5
        return cls(low - room, high + room, start, end)

    def __call__(self, value: float) -> float:
        """The coordinate of a value; what lies outside is put on the edge."""
        value = min(max(value, self.low), self.high)
        share = (
            math.log(value / self.low) / math.log(self.high / self.low)
            if self.log
            else (value - self.low) / (self.high - self.low)
        )
        return self.start + share * (self.end - self.start)

    def ticks(self, wanted: int = 5) -> tuple[float, ...]:
        """About so many round values on the axis; for a logarithm 1, 2 and 5 of each decade, or fewer."""
        if self.log and self.high / self.low > 4:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for steps in ((1, 2, 5), (1, 3), (1,)):
                found = [s * 10.0**d for d in decades for s in steps if self.low <= s * 10.0**d <= self.high]
                if len(found) <= wanted + 2:
                    break
            return tuple(found)
        step = _round_step((self.high - self.low) / max(wanted, 1))
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return tuple(i * step for i in range(first, last + 1))


def labels(values: Sequence[float], text: Callable[[float, int], str]) -> dict[float, str]:
    """The ticks of an axis with their texts: of three digits, or of as many as tell all of them apart, six at most."""
    found: dict[float, str] = {}
    for digits in range(3, 7):
        found = {value: text(value, digits) for value in values}
        if len(set(found.values())) == len(found):
            break
    return found


def _round_step(rough: float) -> float:
    magnitude = 10.0 ** math.floor(math.log10(rough))
    return next((s * magnitude for s in (1, 2, 2.5, 5) if s * magnitude >= rough), 10 * magnitude)
