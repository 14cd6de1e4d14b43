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

__all__ = ["Change", "Ruling", "change_of", "decide", "enough", "relative", "rule"]


@dataclass(frozen=True)
class Change:
    """A difference of mean logarithms, now minus baseline, with its standard error and degrees of freedom.

    `launches` is how many launches it takes (`enough`); `sampling` is True where this run has fewer, so that more of
    them would help.
    """

    point: float
    error: float
    freedom: float
    sampling: bool
    launches: int = 1

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
    # Blocks of more launches than this run has vary less among themselves than it does.
    lacking = max(0.0, by_launches - launch.variance / baseline_launches)
    variance = max(block.variance + lacking, by_launches)
    variance += max(block.variance, launch.variance / baseline_launches) / len(earlier)
    wanted = enough(launch.variance, block.variance, baseline_launches)
    point = statistics.fmean(current) - statistics.fmean(statistics.fmean(values) for values in earlier)
    freedom = launch.freedom if by_launches > block.variance else block.freedom
    return Change(point, math.sqrt(variance), freedom, len(current) < wanted, wanted)


def enough(launch: float, block: float, earlier: float) -> int:
    """How many launches it takes until their spread no longer hides what the spread between runs leaves visible.

    That is where their mean varies by no more than runs do, and where what it lacks beside blocks of `earlier` launches
    is a quarter of that at most. `launch` and `block` are variances.
    """
    return math.ceil(max(launch / block, min(earlier, launch / (launch / earlier + block / 4))))


def decide(fresh: Change, every: Change, metric: Metric, limit: float, levels: Levels) -> Ruling:
    """Hold a change against a relative `limit` for the worse.

    `fresh` is the change by the launches that may convict, `every` by all launches; they are the same where there are
    no fresh ones. Either clears. `detectable` is the smallest true change that would be convicted with a chance of
    80 %: the limit and the two quantiles of t, a close approximation to the noncentral t.
    """
    sign = 1.0 if metric.better == "lower" else -1.0
    up, down = math.log1p(limit), -math.log1p(-limit) if limit < 1 else math.inf
    worse, better = (up, down) if sign > 0 else (down, up)
    verdict, (point, least, most) = rule(
        sign * fresh.point - fresh.quantile(levels.convicts),
        [(sign * one.point + one.quantile(levels.clears), sign * one.point) for one in (fresh, every)],
        worse,
        better,
    )
    low, high = sorted(relative(sign * end) for end in (least, most))
    shown = worse + fresh.quantile(levels.convicts) + fresh.quantile(POWER)
    detectable = sign * relative(sign * shown)
    return Ruling(verdict, Estimate(relative(sign * point), low, high), limit, detectable)


def rule(
    least: float, clearing: Sequence[tuple[float, float]], worse: float, better: float
) -> tuple[Verdict, tuple[float, float, float]]:
    """The verdict on a directed change of logarithms (positive is worse), and its point and interval as shown.

    `least` is the lower bound of what may convict. `clearing` holds an upper bound and the point that belongs to it for
    the fresh launches, which come first, and for all: the lower bound of the two clears. REGRESSED when `least` lies
    beyond `worse`, UNCHANGED when the upper bound lies inside it (a change that is exactly the limit is inside),
    IMPROVED when it lies beyond `better` on the other side, and otherwise INCONCLUSIVE. The point is that of the
    launches that decided.
    """
    most, point = min(clearing)
    if least > worse:
        verdict = Verdict.REGRESSED
        point = clearing[0][1]
    elif most < -better:
        verdict = Verdict.IMPROVED
    elif most <= worse:
        verdict = Verdict.UNCHANGED
    else:
        verdict = Verdict.INCONCLUSIVE
    return verdict, (point, min(least, point), max(most, point))


def relative(logarithm: float) -> float:
    """The relative change that a difference of logarithms is; what is too large for a number stays the largest."""
    return math.expm1(min(logarithm, LARGEST))
