"""A value and its interval from one value a launch."""

from __future__ import annotations

import functools
import math
import statistics
import sys
from collections.abc import Sequence

from scipy.special import stdtrit

from harness.errors import MeasurementError
from harness.records import Estimate

__all__ = ["LARGEST", "estimate"]

LARGEST = 700.0
"""Logarithms above this overflow."""


def estimate(values: Sequence[float], samples: int = 1) -> Estimate:
    """The mean of launch values with its 95 % interval: Student's t over launches, the unit of evidence.

    Positive values are averaged as logarithms, so that a ratio and its inverse have the same interval (the point is
    then the geometric mean); values that can be zero or negative as they are. `samples` is the number of calls behind
    each value and is passed on. One launch shows no spread: its estimate has `launches=1` and `low == high == point`,
    and nobody may read that as an interval. Raises `MeasurementError` (outcome `invalid`) for no values and for values
    that are not finite.
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise MeasurementError(f"an estimate needs finite numbers, not {list(values)}", outcome="invalid")
    count = len(values)
    if min(values) == max(values):
        return Estimate(values[0], values[0], values[0], count, samples)
    logarithmic = min(values) > 0
    # What is averaged as it is, in units of the largest value, so that no sum or square overflows.
    unit = max(map(abs, values))
    scale = [math.log(value) if logarithmic else value / unit for value in values]
    centre = statistics.fmean(scale)
    deviation = math.sqrt(sum((value - centre) ** 2 for value in scale) / (count - 1))
    half = _quantile(count - 1) * deviation / math.sqrt(count)
    ends = (centre, centre - half, centre + half)
    if logarithmic:
        point, low, high = (math.exp(min(end, LARGEST)) for end in ends)
    else:
        point, low, high = (max(-sys.float_info.max, min(sys.float_info.max, unit * end)) for end in ends)
    return Estimate(point, low, high, count, samples)


@functools.cache
def _quantile(freedom: int) -> float:
    """Student's t at 97.5 %: asked again for every metric of every case, with the same few degrees of freedom."""
    return float(stdtrit(freedom, 0.975))
