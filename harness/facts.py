"""Facts that are counts: they say in numbers what ran, and so what a change of time may come from."""

from __future__ import annotations

from collections.abc import Mapping

from harness.records import Scalar
from harness.units import count

__all__ = ["counts", "moved"]

_COUNTS = ("nodes", "parameters", "graphs", "graph_breaks")


def counts(facts: Mapping[str, Scalar]) -> dict[str, int]:
    """Those of a result's facts that count what the served network consists of."""
    return {
        name: value
        for name, value in facts.items()
        if (name in _COUNTS or name.startswith("nodes.")) and type(value) is int
    }


def moved(before: Mapping[str, int], facts: Mapping[str, Scalar]) -> str:
    """Which counts are others than `before`, in words: `nodes 19 -> 27`; "" where none is, or none was known."""
    now = counts(facts)
    changed = {name: value for name, value in before.items() if now.get(name, value) != value}
    return ", ".join(f"{name} {count(value)} -> {count(now[name])}" for name, value in changed.items())
