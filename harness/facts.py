"""Facts that are counts: what ran, in numbers, what a change of time may come from, and what was not compiled; and
those that say units.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.records import Scalar
from harness.units import count, plural

__all__ = ["UNIT", "counts", "moved", "uncompiled", "units"]

UNIT = "unit."
"""How a fact begins that says the unit of a metric of the suite's own: its name follows."""

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


def units(own: Mapping[str, str]) -> dict[str, Scalar]:
    """The units of a suite's own metrics, by name, as facts."""
    return {f"{UNIT}{name}": unit for name, unit in own.items()}


def uncompiled(facts: Mapping[str, Scalar]) -> tuple[str, ...]:
    """A warning where torch.compile left parts of a network to run eagerly; none elsewhere.

    Many a network has a place where that is harmless, so it breaks no promise. Where it is the bulk, one small graph
    keeps the promises of what was to be compiled.
    """
    breaks = counts(facts).get("graph_breaks", 0)
    where = "and ran what lies there eagerly (with TORCH_LOGS=graph_breaks the case's logs beside the report say where)"
    return (f"torch.compile gave up in {plural(breaks, 'place')} {where}",) if breaks else ()
