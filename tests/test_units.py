from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import units

UNITS = ("s", "bytes", "items/s", "x", "share", "count", "dB", "")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0129, "s", "12.9 ms"),
        (0.9996, "s", "1.00 s"),
        (9.996e-3, "s", "10.0 ms"),
        (8.5e-7, "s", "850 ns"),
        (2.5e-5, "s", "25.0 µs"),
        (120.0, "s", "120 s"),
        (0.0, "s", "0 s"),
        (38_912_345, "bytes", "37.1 MiB"),
        (1023.9, "bytes", "1.00 KiB"),
        (512, "bytes", "512 B"),
        (0, "bytes", "0 B"),
        (2.314, "x", "2.31x"),
        (9.996, "x", "10.0x"),
        (0.783, "x", "0.78x"),
        (0.984, "share", "98.40 %"),
        (1, "share", "100.00 %"),
        (0.00012, "share", "0.012 %"),
        (0, "share", "0.00 %"),
        (0.999999, "share", "99.99990 %"),
        (1 - 1 / 115466, "share", "99.99913 %"),
        (0.99995, "share", "99.9950 %"),
        (0.9999, "share", "99.99 %"),
        (1 - 1e-12, "share", "100.00 %"),
        (1.000001, "share", "100.00 %"),
        (812.3, "items/s", "812 items/s"),
        (115466, "count", "115,466"),
        (math.nan, "s", "not a number"),
        (-math.inf, "bytes", "-infinite"),
        (0.0123, "J", "12.3 mJ"),
        (4.2e-5, "J", "42.0 µJ"),
        (0.0, "J", "0 J"),
    ],
)
def test_quantity(value: float, unit: str, text: str) -> None:
    assert units.quantity(value, unit) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0129, "s", "12.900 ms"),
        (0.999996, "s", "1.0000 s"),
        (38_912_345, "bytes", "37.110 MiB"),
        (512, "bytes", "512 B"),
        (2.314, "x", "2.3140x"),
        (0.99996, "x", "1.0000x"),
        (0.9994, "x", "0.9994x"),
        (0.98412, "share", "98.4120 %"),
        (115466.5, "count", "115,466"),
        (7.5, "count", "7.5000"),
        (0.9992512, "cosine", "0.9992512"),
    ],
)
def test_more_digits_tell_near_values_apart(value: float, unit: str, text: str) -> None:
    assert units.quantity(value, unit, 5) == text


@pytest.mark.parametrize(
    ("function", "arguments", "text"),
    [
        (units.with_interval, (0.0129, 0.0127, 0.0131, "s"), "12.9 ms [12.7, 13.1]"),
        (units.with_interval, (0.0129, 0.0129, 0.0129, "s"), "12.9 ms"),
        (units.with_interval, (0.0129, 0.012901, 0.012902, "s"), "12.9 ms [12.901, 12.902]"),
        (units.with_interval, (0.984, 0.98, 0.99, "share"), "98.40 % [98.00, 99.00]"),
        (units.with_interval, (0.001, 0.0009, 0.0011, "s"), "1.00 ms [0.90, 1.10]"),
        (units.with_interval, (143e-6, 5e-6, 3847e-6, "s"), "143 µs [5, 3847]"),
        (units.percent, (0.152,), "+15.2 %"),
        (units.percent, (-0.0026,), "-0.26 %"),
        (units.percent, (-0.0000001,), "0.00 %"),
        (units.percent, (384 / 22_713_216,), "+0.002 %"),
        (units.percent, (-4.2e-5,), "-0.004 %"),
        (units.percent, (1e-6,), "+0.0001 %"),
        (units.percent, (5.1e-5,), "+0.01 %"),
        (units.percent, (12,), "+1,200 %"),
        (units.points, (-0.006,), "-0.60 pt"),
        (units.points, (-1 / 115466,), "-0.0009 pt"),
        (units.points, (1 / 50_000,), "+0.002 pt"),
        (units.points, (-1e-6,), "-0.0001 pt"),
        (units.points, (5e-5,), "+0.01 pt"),
        (units.points, (0.9 - 0.8 - 0.1,), "0.00 pt"),
        (units.points, (0.0,), "0.00 pt"),
        (units.points, (1e-9,), "+0.0000001 pt"),
        (units.difference, (0, 3, "count"), "+3"),
        (units.difference, (0, -0.001, "cosine"), "-0.00100"),
        (units.difference, (0.98, 0.97, "share"), "-1.00 pt"),
        (units.difference, (2.0, 1.0, "x"), "-50.0 %"),
        (units.relative_change, (0.08, "share", 0.5), "+4.00 pt"),
        (units.relative_change, (0.08, "share", 0.0), "+8.0 %"),
        (units.relative_change, (0.08, "share", None), "+8.0 %"),
        (units.relative_change, (0.08, "s", 0.5), "+8.0 %"),
        (units.duration, (0.42,), "0.4 s"),
        (units.duration, (59.7,), "1 min 0 s"),
        (units.duration, (3900,), "1 h 5 min"),
        (units.duration, (math.inf,), "unknown"),
    ],
)
def test_other_forms(function, arguments: tuple, text: str) -> None:
    assert function(*arguments) == text


@pytest.mark.parametrize(
    ("end", "more"), [(0.0204, 1), (0.02004, 2), (0.01996, 2), (0.02, 0), (0.15, 0), (0.02 + 1e-15, 0)]
)
def test_a_change_gets_the_decimals_that_tell_it_from_its_limit(end: float, more: int) -> None:
    assert units.decimals_apart((end,), 0.02, lambda value, more: units.percent(value, more=more)) == more


@pytest.mark.parametrize(
    ("old", "new", "unit", "text"),
    [
        (100.0, 102.04, "bytes", "+2.040 %"),
        (0.98, 0.97, "share", "-1.0000 pt"),
        (0.0, 3.0, "s", "+3.0000 s"),
        (0.0, -0.001, "cosine", "-0.0010000"),
    ],
)
def test_a_difference_has_as_many_more_decimals_as_it_is_asked_for(
    old: float, new: float, unit: str, text: str
) -> None:
    assert units.difference(old, new, unit, more=2) == text


@given(st.floats(), st.sampled_from(UNITS))
def test_every_number_has_a_text_of_one_short_line(value: float, unit: str) -> None:
    text = units.quantity(value, unit)
    assert 0 < len(text) < 40
    assert text.isprintable()


@given(st.floats(1e-9, 1e12), st.floats(0.0, 0.5), st.sampled_from(UNITS))
def test_an_interval_never_looks_like_a_point_unless_it_is_narrower_than_the_scale(
    point: float, spread: float, unit: str
) -> None:
    low, high = point * (1 - spread), point * (1 + spread)
    value, _, interval = units.with_interval(point, low, high, unit).partition(" [")
    assert value == units.quantity(point, unit)
    ends = interval.removesuffix("]").split(", ")
    assert len(ends) == (1 if low == high else 2)
    if spread > 1e-3 and point > 1e-3:
        assert ends[0] != ends[1]


@given(st.floats(1e-8, 1e8), st.floats(1.01, 2.0))
def test_larger_seconds_never_read_smaller(value: float, factor: float) -> None:
    scale = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}

    def read(text: str) -> float:
        number, unit = text.split()
        return float(number.replace(",", "")) * scale[unit]

    assert read(units.quantity(value * factor, "s")) > read(units.quantity(value, "s"))


def test_no_property_depends_on_how_fast_the_machine_is() -> None:
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check
