"""What a promise of a share asks for: somewhat less than what was reached, so that rounding breaks none."""

from __future__ import annotations

import math

__all__ = ["most_of", "nearly"]


def most_of(share: float) -> float:
    """Nine tenths of a share, rounded down to thousandths, and more than nothing."""
    return max(math.floor(900 * share) / 1000, 0.001)


def nearly(share: float) -> float:
    """A share less a thousandth of it, rounded down to thousandths."""
    return math.floor(999 * share) / 1000
