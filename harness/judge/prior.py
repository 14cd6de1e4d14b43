"""How much launches and runs usually differ on a class of machines, learnt from all its baselines.

Three or five launches of one case say little about their own spread: the t quantile at one in a hundred is 7.0 for two
degrees of freedom. All cases of a machine together say much. Smyth (2004, "Linear models and empirical Bayes methods",
Stat. Appl. Genet. Mol. Biol. 3, article 3) assumes that the variances of the cases are scaled inverse chi-squared about
a common s0^2 with d0 degrees of freedom, estimates both by the moments of the logarithms of the variances, and weighs
each case's own variance against them; a t statistic with the weighed variance has d0 + d degrees of freedom.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scipy.special import digamma, polygamma

from harness.baseline.records import Block, Times

__all__ = ["Prior", "Spread", "fit_prior", "fit_spread", "pooled", "series"]

MIN_CASES = 5
"""Fewer variances than this say nothing about how variances differ: the default stands in."""

MOST_FREEDOM = 6.0
"""What the other cases count for at most, in degrees of freedom.

The cases of one run share its hour, so that their block variances are not independent and the fit believes too much in
them; and with more, a case that is noisier than the rest would be judged by the others' quiet (docs/verdicts.md has the
simulation).
"""

LEAST_BLOCK_SPREAD = 0.005
"""Standard deviation between runs assumed at least: a few runs can't show that a machine's hours differ by less."""

LEAST_VARIANCE = 1e-8
"""Stands for a variance of zero, whose logarithm has no place among the moments (a standard deviation of 0.01 %)."""


@dataclass(frozen=True)
class Spread:
    """A variance of log values and the degrees of freedom that stand behind it."""

    variance: float
    freedom: float

    def moderate(self, variance: float, freedom: float) -> Spread:
        """A case's own variance weighed against this prior, each by its degrees of freedom."""
        total = self.freedom + freedom
        return Spread((self.freedom * self.variance + freedom * variance) / total, total)


DEFAULT_LAUNCH = Spread(0.015**2, 4.0)
DEFAULT_BLOCK = Spread(0.015**2, 4.0)
"""Where too few baselines are there to learn from: a spread on the wide side of what shared machines showed (1.0 to
1.4 % between launches set against the anchor), held weakly."""


@dataclass(frozen=True)
class Prior:
    """What is usual on a class of machines, by metric: `launch` within a run, `block` between means of runs."""

    launch: Mapping[str, Spread] = field(default_factory=dict)
    block: Mapping[str, Spread] = field(default_factory=dict)

    def launches(self, metric: str) -> Spread:
        """The usual spread between the launches of a run."""
        return self.launch.get(metric, DEFAULT_LAUNCH)

    def blocks(self, metric: str) -> Spread:
        """The usual spread between the means of runs."""
        return self.block.get(metric, DEFAULT_BLOCK)


def fit_prior(times: Iterable[Times]) -> Prior:
    """Learn the usual spreads from all baselines of one class of machines, for every metric by itself."""
    launch: dict[str, list[Spread]] = defaultdict(list)
    block: dict[str, list[Spread]] = defaultdict(list)
    for one in times:
        for metric in {name for item in one.blocks for name in item.values}:
            logs = [[math.log(v) for v in found] for item in one.blocks if _usable(found := series(item, metric))]
            within = pooled(logs)
            if within.freedom:
                launch[metric].append(within)
            if len(logs) > 1:
                block[metric].append(between(logs))
    return Prior(
        {metric: fit_spread(spreads, DEFAULT_LAUNCH) for metric, spreads in launch.items()},
        {metric: fit_spread(spreads, DEFAULT_BLOCK, LEAST_BLOCK_SPREAD**2) for metric, spreads in block.items()},
    )


def series(block: Block, metric: str) -> tuple[float, ...]:
    """The values of a block that are judged: ratios to the anchor where there are any, else the values themselves."""
    return tuple(block.relative.get(metric) or block.values.get(metric, ()))


def pooled(groups: Iterable[Sequence[float]]) -> Spread:
    """The common variance within groups, each about its own mean; freedom 0 where no group has two values."""
    squares, freedom = 0.0, 0
    for group in groups:
        mean = statistics.fmean(group)
        squares += sum((value - mean) ** 2 for value in group)
        freedom += len(group) - 1
    return Spread(squares / freedom if freedom else 0.0, float(freedom))


def between(groups: Sequence[Sequence[float]]) -> Spread:
    """The variance between the means of groups; freedom 0 where there is one group."""
    return pooled([[statistics.fmean(group) for group in groups]])


def _usable(values: Sequence[float]) -> bool:
    return bool(values) and all(0 < value < math.inf for value in values)


def fit_spread(spreads: Sequence[Spread], default: Spread, least: float = 0.0) -> Spread:
    """s0^2 and d0 by the moments of log variances (Smyth 2004, section 6.2)."""
    if len(spreads) < MIN_CASES:
        return default
    logs = []
    for spread in spreads:
        half = spread.freedom / 2
        logs.append(math.log(max(spread.variance, LEAST_VARIANCE)) - _digamma(half) + math.log(half))
    expected = statistics.fmean(_trigamma(spread.freedom / 2) for spread in spreads)
    excess = statistics.variance(logs) - expected
    centre, freedom = statistics.fmean(logs), MOST_FREEDOM
    if excess > 0:
        half = _inverse_trigamma(excess)
        centre += _digamma(half) - math.log(half)
        freedom = min(2 * half, MOST_FREEDOM)
    return Spread(max(math.exp(centre), least), freedom)


@functools.cache
def _digamma(value: float) -> float:
    """Thousands of cases have the same few degrees of freedom."""
    return float(digamma(value))


@functools.cache
def _trigamma(value: float) -> float:
    return float(polygamma(1, value))


def _inverse_trigamma(value: float) -> float:
    """y > 0 with trigamma(y) = value, by Newton's method on 1 / trigamma, which is nearly linear (Smyth 2004)."""
    y = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, y))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, y))
        y += step
        if abs(step) < 1e-8 * y:
            break
    return y
