"""Paired statistics of right and wrong answers to the same examples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtrc, ndtri

from harness.records import Scores

__all__ = ["Pairs", "exact_p", "pair", "tango_bound"]


@dataclass(frozen=True)
class Pairs:
    """`lost` are the numbers (from 0) of examples that were right in the baseline and are wrong now, `won` the others
    that changed; `right` counts those that are right now."""

    examples: int
    lost: tuple[int, ...]
    won: tuple[int, ...]
    right: int

    @property
    def loss(self) -> float:
        """Net share of the examples that was lost; negative where more was won."""
        return (len(self.lost) - len(self.won)) / self.examples


def pair(now: Scores, baseline: Scores) -> Pairs | None:
    """Pair two evaluations by example; None where either keeps no bits. Raises `ValueError` if they don't fit."""
    if not (now.bits and baseline.bits):
        return None
    if now.examples != baseline.examples:
        raise ValueError(f"{now.examples} examples now and {baseline.examples} in the baseline")
    after, before = _unpack(now), _unpack(baseline)
    lost, won = np.flatnonzero(before & ~after), np.flatnonzero(after & ~before)
    return Pairs(now.examples, tuple(lost.tolist()), tuple(won.tolist()), int(after.sum()))


def exact_p(lost: int, won: int) -> float:
    """One-sided exact McNemar: the chance of this many losses or more among the changed, if each were a coin toss."""
    return 1.0 if lost == 0 else float(bdtrc(lost - 1, lost + won, 0.5))


def tango_bound(lost: int, won: int, examples: int, level: float) -> tuple[float, float]:
    """The one-sided lower and upper bounds, each at `level`, of the net loss (lost - won) / examples.

    The score interval for a difference of paired proportions: Tango (1998), "Equivalence test and confidence interval
    for the difference in proportions for the paired-sample design", Statistics in Medicine 17, 891-908. Unlike Wald's
    it is right for few changes, and for none.
    """
    z = float(ndtri(level))

    def score(loss: float) -> float:
        a = 2 * examples
        b = -lost - won + (2 * examples - lost + won) * loss
        c = -won * loss * (1 - loss)
        q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = examples * (2 * q + loss * (1 - loss))
        distance = lost - won - examples * loss
        if variance <= 0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / math.sqrt(variance)

    centre = (lost - won) / examples
    low = _bisect(lambda loss: score(loss) - z, -1.0, centre)
    return low, _bisect(lambda loss: score(loss) + z, centre, 1.0)


def _bisect(falling: Callable[[float], float], low: float, high: float) -> float:
    """The root of a falling function, to 1e-9; the nearer end where there is none."""
    while high - low > 1e-9:
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _unpack(scores: Scores) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    packed = np.frombuffer(bytes.fromhex(scores.bits), dtype=np.uint8)
    if len(packed) != (scores.examples + 7) // 8:
        raise ValueError(f"{len(packed) * 8} bits for {scores.examples} examples")
    return np.unpackbits(packed)[: scores.examples].astype(bool)
