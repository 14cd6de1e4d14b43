"""The change of a sampled metric between a run and its baseline, and what may be concluded from it.

The unit is the block: one run's launches. Launches of one run share its hour, so the mean of a run differs from that of
another by more than its launches show; with B blocks in the baseline, Var(change) = v_now + v_baseline / B. Each v is
the moderated variance between blocks, or that of the launches over their number where it is larger.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from harness.judge.estimate import LARGEST
from harness.judge.looks import POWER, Levels
from harness.judge.prior import Prior, between, pooled
from harness.metrics import Metric
from harness.records import Estimate, Verdict

__all__ = ["Change", "Ruling", "change_of", "decide", "relative", "rule"]


@dataclass(frozen=True)
class Change:
    """A difference of mean logarithms, now minus baseline, with its standard error and degrees of freedom.

    `sampling` is True where the spread of this run's launches limits the precision, so that more of them would help;
    False where the spread between runs does.
    """

    point: float
    error: float
    freedom: float
    sampling: bool

    def quantile(self, level: float) -> float:
        """How far a one-sided interval of this level reaches from the point."""
        return float(stdtrit(self.freedom, level)) * self.error


@dataclass(frozen=True)
class Ruling:
    """A verdict on a change. `change` is relative; `limit` and `detectable` are relative changes for the worse."""

    verdict: Verdict
    change: Estimate
    limit: float
    detectable: float


def change_of(now: Sequence[float], blocks: Sequence[Sequence[float]], prior: Prior, metric: str) -> Change:
    """Compare this run's launch values with the baseline's blocks of launch values; all positive, at least one each."""
    current = [math.log(value) for value in now]
    earlier = [[math.log(value) for value in block] for block in blocks]
    within = pooled([current, *earlier])
    launch = prior.launches(metric).moderate(within.variance, within.freedom)
    own = between(earlier)
    block = prior.blocks(metric).moderate(own.variance, own.freedom)
    by_launches = launch.variance / len(current)
    # The harmonic mean: a baseline block of few launches is as uncertain as they make it.
    baseline_launches = statistics.harmonic_mean([len(values) for values in earlier])
    variance = max(block.variance, by_launches)
    variance += max(block.variance, launch.variance / baseline_launches) / len(earlier)
    sampling = by_launches > block.variance
    point = statistics.fmean(current) - statistics.fmean(statistics.fmean(values) for values in earlier)
    return Change(point, math.sqrt(variance), launch.freedom if sampling else block.freedom, sampling)


def decide(fresh: Change, every: Change, metric: Metric, limit: float, levels: Levels) -> Ruling:
    """Hold a change against a relative `limit` for the worse.

    `fresh` is the change by the launches that may convict, `every` by all launches, which clear; they are the same
    where there are no fresh ones. `detectable` is the smallest true change that would be convicted with a chance of
    80 %: the limit and the two quantiles of t, a close approximation to the noncentral t.
    """
    sign = 1.0 if metric.better == "lower" else -1.0
    up, down = math.log1p(limit), -math.log1p(-limit) if limit < 1 else math.inf
    worse, better = (up, down) if sign > 0 else (down, up)
    verdict, (point, least, most) = rule(
        (sign * fresh.point, sign * fresh.point - fresh.quantile(levels.convicts)),
        (sign * every.point, sign * every.point + every.quantile(levels.clears)),
        worse,
        better,
    )
    low, high = sorted(relative(sign * end) for end in (least, most))
    shown = worse + fresh.quantile(levels.convicts) + fresh.quantile(POWER)
    detectable = sign * relative(sign * shown)
    return Ruling(verdict, Estimate(relative(sign * point), low, high), limit, detectable)


def rule(
    fresh: tuple[float, float], every: tuple[float, float], worse: float, better: float
) -> tuple[Verdict, tuple[float, float, float]]:
    """The verdict on a directed change of logarithms (positive is worse), and its point and interval as shown.

    `fresh` is the point and lower bound of what may convict, `every` the point and upper bound of what clears.
    REGRESSED when the lower bound lies beyond `worse`, UNCHANGED when the upper bound lies inside it (a change that is
    exactly the limit is inside), IMPROVED when that lies beyond `better` on the other side, and otherwise INCONCLUSIVE.
    The point is that of the launches that decided.
    """
    least, most = fresh[1], every[1]
    if least > worse:
        verdict = Verdict.REGRESSED
    elif most < -better:
        verdict = Verdict.IMPROVED
    elif most <= worse:
        verdict = Verdict.UNCHANGED
    else:
        verdict = Verdict.INCONCLUSIVE
    point = fresh[0] if verdict is Verdict.REGRESSED else every[0]
    return verdict, (point, min(least, point), max(most, point))


def relative(logarithm: float) -> float:
    """The relative change that a difference of logarithms is; what is too large for a number stays the largest."""
    return math.expm1(min(logarithm, LARGEST))
