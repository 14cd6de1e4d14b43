"""The numbers of a comparison as every writer writes them: values, changes and limits, each with its unit."""

from __future__ import annotations

import math
import re

from harness.records import Comparison, Estimate
from harness.units import decimals_apart, relative_change, with_interval

__all__ = ["bare", "change_text", "estimate_text", "limit_text", "relative_text", "signed_limit"]


def estimate_text(estimate: Estimate | None, unit: str) -> str:
    """A value with its interval, or a dash."""
    return with_interval(estimate.point, estimate.low, estimate.high, unit) if estimate else "–"


def change_text(comparison: Comparison) -> str:
    """The change with the interval that judged: `+15.2 % [+13.4, +16.9]`; of a share in points: `-0.60 pt`.

    With up to three more decimals where an end of it would read as the limit does, and is not the limit: `+2.04 %`.
    """
    change = comparison.change
    if change is None:
        return "–"
    more = _more(comparison, change)
    point, low, high = (relative_text(comparison, value, more) for value in (change.point, change.low, change.high))
    if change.low == change.high:
        return point
    unit = f" {point.rpartition(' ')[2]}"
    low, high = (end.removesuffix(unit).replace(",", "") for end in (low, high))
    return f"{point} [{low}, {high}]"


def _more(comparison: Comparison, change: Estimate) -> int:
    """How many decimals more tell the ends of a change from its limit."""
    if comparison.limit is None:
        return 0
    limit = signed_limit(comparison, comparison.limit)
    return decimals_apart((change.low, change.high), limit, lambda value, more: relative_text(comparison, value, more))


def signed_limit(comparison: Comparison, limit: float) -> float:
    """The limit as a change for the worse."""
    return limit if comparison.better == "lower" else -limit


def limit_text(comparison: Comparison) -> str:
    """The limit as a signed change: `+5.0 %`, `-0.20 pt`; `exact` where any change for the worse counts.

    With the decimals of the change where it would be rounded to the other side of it: `+2.66 %` beside `+2.68 %`.
    """
    if comparison.limit is None or not math.isfinite(comparison.limit):
        return "–"
    if comparison.limit == 0:
        return "exact"
    limit = signed_limit(comparison, comparison.limit)
    text = relative_text(comparison, limit)
    exact = relative_text(comparison, limit, _more(comparison, comparison.change) if comparison.change else 0)
    if bare(exact) != bare(text):
        text = exact
    # A limit as narrow as a rounding error must not look like none.
    return text if re.search("[1-9]", text) else f"{limit * 100:+.1g} %"


def relative_text(comparison: Comparison, value: float, more: int = 0) -> str:
    """A relative change of this comparison as people write it: of shares, whose baseline is known, in points.

    With so many `more` decimals as tell it from something near it.
    """
    baseline = comparison.baseline.point if comparison.baseline else None
    return relative_change(value, comparison.unit, baseline, more=more)


def bare(text: str) -> str:
    """A number with its unit, without the zeros that end its decimals: `2 ms`, `+2.5 %`, `+100 %`."""
    return re.sub(r"\.0+(?= )|(\.\d*[1-9])0+(?= )", r"\1", text)
