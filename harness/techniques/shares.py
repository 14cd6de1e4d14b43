"""What a promise of a share asks for: somewhat less than what was reached, so that rounding breaks none."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

__all__ = ["Read", "most_of", "nearly", "shares"]


@dataclass(frozen=True)
class Read:
    """A weight, and the names of the nodes that read it.

    elements  of the weight
    taken     nodes of which the quantizer takes it
    others    the rest, for which it may stay beside its quantized copy
    """

    elements: int
    taken: frozenset[str]
    others: frozenset[str]


def most_of(share: float) -> float:
    """Nine tenths of a share, rounded down to thousandths, and more than nothing."""
    return max(math.floor(900 * share) / 1000, 0.001)


def nearly(share: float) -> float:
    """A share less a thousandth of it, rounded down to thousandths."""
    return math.floor(999 * share) / 1000


def shares(reads: Iterable[Read], kept: Collection[str] = ()) -> tuple[float, float]:
    """The shares of elements that are quantized, and that stay in float because `kept` names all nodes that take them.

    They are at least so large: a weight that other nodes read as well may be stored twice, or as integers for all.
    """
    quantized = floats = total = 0
    for read in reads:
        left = read.taken - {*kept}
        quantized += read.elements if left else 0
        floats += read.elements if read.taken and not left else 0
        total += read.elements * (2 if left and (read.others or left != read.taken) else 1)
    return quantized / max(total, 1), floats / max(total, 1)
