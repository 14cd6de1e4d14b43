"""One-sided bounds of a mean logarithm from launches: by Student's t, or by ranks where one launch stands far out.

Student's t with a spread that other cases helped to estimate (see `harness.judge.prior`) is the rule. A launch that met
another memory layout, or a neighbour, can lie five spreads away from the others; it then widens the interval until
nothing is decided. From nine launches on such a case is judged by Wilcoxon's signed ranks instead: Hodges and Lehmann's
estimate (1963), the median of all pairwise means, and its distribution-free bounds, exact under symmetry. With fewer
launches ranks reach no level that could convict (2^-8 is above one in three hundred), and t is kept.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from scipy.special import stdtrit

from harness.judge.prior import Spread, pooled

__all__ = ["Interval", "interval", "stands_out"]

FAR = 3.5
"""A value whose distance from the median is that many robust standard deviations stands out (Iglewicz 1993)."""

LEAST_SCALE = 1e-4
"""Robust standard deviation assumed at least: equal values are no scale."""


@dataclass(frozen=True)
class Interval:
    """A centre of logarithms, a one-sided lower bound and a one-sided upper bound, each at its own level.

    `error` and `freedom` are those of t, which is what planning needs; `ranks` says that the bounds are not by t.
    """

    point: float
    least: float
    most: float
    error: float
    freedom: float
    ranks: bool = False

    def quantile(self, level: float) -> float:
        """How far a one-sided bound of this level reaches from the centre by t."""
        return float(stdtrit(self.freedom, level)) * self.error


def interval(logs: Sequence[float], spread: Spread, lower: float, upper: float) -> Interval:
    """The bounds of the centre of `logs`: it lies above `least` with confidence `lower`, below `most` with `upper`."""
    own = pooled([logs])
    moderated = spread.moderate(own.variance, own.freedom)
    error = math.sqrt(moderated.variance / len(logs))
    point = statistics.fmean(logs)
    by_t = Interval(point, -math.inf, math.inf, error, moderated.freedom)
    depths = rank_depth(len(logs), lower), rank_depth(len(logs), upper)
    if stands_out(logs) and min(depths) > 0:
        means = sorted((logs[i] + logs[j]) / 2 for i in range(len(logs)) for j in range(i, len(logs)))
        ends = means[depths[0] - 1], means[-depths[1]]
        return Interval(statistics.median(means), *ends, error, moderated.freedom, ranks=True)
    return dataclasses.replace(by_t, least=point - by_t.quantile(lower), most=point + by_t.quantile(upper))


def stands_out(values: Sequence[float]) -> bool:
    """Whether some value lies so far from the others that they can't be taken for normal."""
    centre = statistics.median(values)
    distances = [abs(value - centre) for value in values]
    scale = max(1.4826 * statistics.median(distances), LEAST_SCALE)
    return max(distances) > FAR * scale


@cache
def rank_depth(count: int, level: float) -> int:
    """Which of the sorted pairwise means, counted from the end, bounds the centre at a one-sided level; 0 for none.

    The signed-rank sum W of n values has P(W <= k) = (subsets of 1..n with sum <= k) / 2^n, and the (k + 1)-th smallest
    pairwise mean is a lower bound with confidence 1 - P(W <= k) (Hollander and Wolfe, Nonparametric Statistical
    Methods).
    """
    ways = [1]
    for rank in range(1, count + 1):
        longer = [*ways, *([0] * rank)]
        for total, number in enumerate(ways):
            longer[total + rank] += number
        ways = longer
    allowed = (1 - level) * 2.0**count
    depth, below = 0, 0
    for number in ways:
        below += number
        if below > allowed:
            break
        depth += 1
    return depth
