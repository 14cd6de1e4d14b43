"""Numbers as people read them: one way of writing seconds, bytes, ratios, shares and changes for every writer.

Units are those of `harness.metrics`: `s`, `bytes`, `J`, `items/s`, `x` (a ratio), `share` (0..1), `count`, `cosine`;
any other word is written behind the number. The text is ASCII except for `µ`, so that it can go everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

__all__ = [
    "count",
    "decimals_apart",
    "difference",
    "duration",
    "percent",
    "plural",
    "points",
    "quantity",
    "ratio",
    "relative_change",
    "significant",
    "with_interval",
]

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_JOULES = ((1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"))
_BYTES = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))


def significant(value: float, digits: int = 3) -> str:
    """`value` with so many significant digits and no exponent between 1e-6 and 1e15: `0.00123`, `12.9`, `1,290`."""
    return _fixed(value, _decimals(value, digits))


def _near_one(value: float, digits: int) -> str:
    """A cosine with two digits of what it lacks of one, which is what tells such numbers apart: `0.99925`, `0.62`."""
    lacking = 1 - value
    decimals = math.ceil(-math.log10(lacking)) + digits - 1 if 0 < lacking < 1 else digits
    return _fixed(value, min(max(decimals, digits), 12)) if lacking > 1e-12 else "1"


def _share(percents: float, digits: int) -> str:
    """Percents with two decimals, and two digits of what tells them from 0 or 100 where that is less: `99.99913`."""
    lacking = 100 - percents
    if 1e-7 <= lacking <= 0.005:
        return _fixed(percents, _decimals(lacking, digits))
    return significant(percents, digits) if 0 < abs(percents) < 0.995 else _fixed(percents, digits)


def count(value: float, digits: int = 3) -> str:
    """A whole number with thousands separated: `115,466`; one that is not whole keeps three significant digits."""
    return _fixed(value, 0) if math.isfinite(value) and value == int(value) else significant(value, digits)


def ratio(value: float, digits: int = 3) -> str:
    """A ratio: `2.31x`, `0.43x`, and `1.00x` for what is rounded to it from below too."""
    value = 1.0 if 1 - 0.5 * 10.0 ** (1 - digits) <= value < 1 else value
    digits = digits if abs(value) >= 1 else digits - 1
    return f"{significant(value, digits)}x" if math.isfinite(value) else _fixed(value, 0)


def percent(value: float, *, sign: bool = True, more: int = 0) -> str:
    """A relative change: 0.152 is `+15.2 %`; changes below one percent keep two decimals.

    One from 1e-6 on that two decimals would round to nothing keeps its first digit, `+0.002 %`: it may be one weight of
    very many, and decide. So many `more` decimals are for what has to be told from something near it.
    """
    scaled = value * 100
    decimals = 2 if abs(scaled) < 0.995 else 1 if abs(scaled) < 99.95 else 0
    if abs(value) >= 1e-6 and abs(scaled) < 0.005:
        decimals = _decimals(scaled, 1)
    text = _fixed(scaled, decimals + more)
    return f"+{text} %" if sign and text[0] != "-" and text.strip("0.") else f"{text} %"


def plural(count: int, one: str) -> str:
    """`1 launch`, `3 launches`, `2 blocks`."""
    ending = "es" if one.endswith("ch") else "s"
    return f"{count:,} {one if count == 1 else one + ending}"


def points(value: float, *, more: int = 0) -> str:
    """A difference of two shares: -0.006 is `-0.60 pt` (percentage points).

    One that two decimals would round to nothing keeps its first digit, `-0.0009 pt`: it may be one answer of very many,
    and decide. Below 1e-9 it is what a subtraction of floats leaves. So many `more` decimals are for what has to be
    told from something near it.
    """
    scaled = 0.0 if abs(value) < 1e-9 else value * 100
    small = 0 < abs(scaled) < 0.005
    text = f"{scaled:.{_decimals(scaled, 1) + more}f}" if small else _fixed(scaled, 2 + more)
    return f"+{text} pt" if text[0] != "-" and text.strip("0.") else f"{text} pt"


def relative_change(value: float, unit: str, baseline: float | None, *, more: int = 0) -> str:
    """A change relative to a `baseline`: of shares in points, where that is known and not 0, else in percent.

    So many `more` decimals are for what has to be told from something near it.
    """
    if unit == "share" and baseline:
        return points(value * abs(baseline), more=more)
    return percent(value, more=more)


def decimals_apart(ends: Iterable[float], limit: float, text: Callable[[float, int], str]) -> int:
    """How many decimals more tell the ends of a change from its limit, where `text` writes either with so many more.

    0 where three do not, as of noise of floats; an end that is the limit may read as it does.
    """
    others = [end for end in ends if end != limit]
    for more in range(4):
        if text(limit, more) not in [text(end, more) for end in others]:
            return more
    return 0


def duration(seconds: float) -> str:
    """Time that a person waited: `0.4 s`, `42 s`, `4 min 12 s`, `1 h 5 min`."""
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def quantity(value: float, unit: str, digits: int = 3) -> str:
    """A value with its unit: `12.9 ms`, `37.1 MiB`, `2.31x`, `98.40 %`, `812 items/s`, `115,466`.

    More than three `digits` are for what has to be told from something near it.
    """
    if not math.isfinite(value):
        return _fixed(value, 0)
    if unit == "x":
        return ratio(value, digits)
    if unit == "share":
        return f"{_share(value * 100, digits - 1)} %"
    if unit == "count":
        return count(value, digits)
    if unit == "cosine":
        return _near_one(value, digits - 1)
    factor, suffix = _scale(value, unit)
    number = _fixed(value, 0) if suffix == "B" else significant(value / factor, digits)
    return f"{number} {suffix}".rstrip()


def with_interval(point: float, low: float, high: float, unit: str) -> str:
    """A value with its interval: `12.9 ms [12.7, 13.1]`; the value alone where the interval has no width.

    Both ends are in the scale and with the decimals of the value, and with more where they would look equal.
    """
    if low == high or not (math.isfinite(low) and math.isfinite(high)):
        return quantity(point, unit)
    return f"{quantity(point, unit)} {_interval(low, high, unit, point)}"


def difference(old: float, new: float, unit: str, *, more: int = 0) -> str:
    """What changed from `old` to `new`: in points for shares, else relative (`+15.2 %`); absolute where `old` is 0.

    So many `more` decimals are for what has to be told from something near it.
    """
    if unit == "share":
        return points(new - old, more=more)
    if old == 0:
        # Of a cosine `quantity` tells what lacks of one, which of a difference is nearly all.
        text = significant(abs(new), 3 + more) if unit == "cosine" else quantity(abs(new), unit, 3 + more)
        return f"+{text}" if new > 0 else f"-{text}" if new < 0 else "0"
    return percent((new - old) / abs(old), more=more)


def _interval(low: float, high: float, unit: str, scale_of: float) -> str:
    if unit == "share":
        factor = 0.01
    elif unit in ("x", "count"):
        factor = 1.0
    else:
        factor, _ = _scale(scale_of, unit)
    low, high = low / factor, high / factor
    decimals = 2 if unit == "share" else _decimals(scale_of / factor, 3)
    while decimals < 6 and low != high and f"{low:.{decimals}f}" == f"{high:.{decimals}f}":
        decimals += 1
    # Thousands are not separated here: in `[5, 3,847]` nobody could tell where the interval starts.
    low_text, high_text = (_fixed(end, decimals).replace(",", "") for end in (low, high))
    return f"[{low_text}, {high_text}]"


def _scale(value: float, unit: str) -> tuple[float, str]:
    """The factor that brings a value of this unit between 1 and 1000, and the name of the scaled unit."""
    steps = {"s": _SECONDS, "bytes": _BYTES, "J": _JOULES}.get(unit)
    if steps is None:
        return 1.0, unit
    if value == 0:
        return (1.0, "B" if unit == "bytes" else unit)
    # 0.9995 so that a value that would be rounded up to 1000 of a step is written as 1.00 of the next one.
    return next(((factor, name) for factor, name in steps if abs(value) >= factor * 0.9995), steps[-1])


def _decimals(value: float, digits: int) -> int:
    if value == 0 or not math.isfinite(value):
        return 0
    magnitude = math.floor(math.log10(abs(value)) + 1e-9)
    decimals = max(0, min(digits - 1 - magnitude, 9))
    # Rounding can carry into one more digit before the point: 9.996 is 10.0, not 10.00.
    if decimals and abs(round(value, decimals)) >= 10.0 ** (magnitude + 1):
        decimals -= 1
    return decimals


def _fixed(value: float, decimals: int) -> str:
    if 1e-6 <= value < 1e15:
        return f"{value:,.{decimals}f}"
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if value and abs(value) < 1e-6:
        return f"{value:.2e}"
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    return _unsign_zero(f"{value:,.{decimals}f}")


def _unsign_zero(text: str) -> str:
    """`-0.00` and `+0.00` say a direction that is not there."""
    return text[1:] if text[:1] in "+-" and not text[1:].strip("0.,") else text
