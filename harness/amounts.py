"""Amounts as people write them in options: shares, sizes and times."""

from __future__ import annotations

import re

__all__ = ["bytes_of", "seconds_of", "share_of"]

_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}


def share_of(text: str) -> float:
    """A share of 0..1, written as `0.01` or `1%`. Raises `ValueError` for any other text."""
    value = float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    if not 0 <= value < 1:
        raise ValueError(f"{text!r} is no share between 0 and 1; write 1% or 0.01")
    return value


def bytes_of(text: str) -> float:
    """The bytes of a size such as `200MB` or `64MiB`. Raises `ValueError` for any other text."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]*)", text.lower())
    if not found or found[2] not in _BYTES:
        raise ValueError(f"{text!r} is no size; write 200MB or 64MiB")
    return float(found[1]) * _BYTES[found[2]]


def seconds_of(text: str) -> float:
    """The seconds of a time such as `90s`, `10m`, `1h30m` or `5ms`. Raises `ValueError` for any other text."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|us|h|m|s)", text)
    total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    whole = "".join(number + unit for number, unit in parts) == text
    once = [unit for _, unit in parts] == sorted({unit for _, unit in parts}, key=list(_SECONDS).index)
    if not (whole and once and total):
        raise ValueError(f"{text!r} is no time; write 90s, 10m, 1h30m or 5ms")
    return total
