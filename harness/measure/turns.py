"""Arms of a launch taking turns, and the arithmetic on what their turns showed."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress, pairwise

from harness.errors import MeasurementError
from harness.measure.child import Child
from harness.plan import Plan
from harness.records import Outcome
from harness.worker.protocol import Turn, TurnDone

__all__ = ["Series", "Turns", "paired", "plan_turn", "take_turns"]

DISCARD_SECONDS = 0.001
LONG_CALL = 0.1
MIDDLING_CALL = 0.02
FEWEST_ROUNDS = 3
"""Fewer have no median worth the name."""

FEW_ROUNDS = 8
"""Fewer show no correlation between neighbours."""

KEPT_FROM_CPU = 0.9
"""A turn in which an arm had less than this share of the processor time that its turns usually have was disturbed."""
BUSY_ARM = 0.5
"""Below this share of a core an arm waits for something by itself, so that the share tells nothing of others."""


def plan_turn(call_seconds: float, aim: float) -> Turn:
    """How many calls a turn discards and times, for calls of this length.

    The other arms leave the caches cold, so the first call after them is slower than any that follows (45 % without a
    discarded call, in the measurements behind this design). Short calls are discarded until about a millisecond has
    passed; a call of more than a tenth of a second warms the caches by itself. Many short turns follow the machine's
    drift better than few long ones; but where one call is discarded, several are timed, or half of the time is lost.
    """
    call = max(call_seconds, 1e-7)
    fewest = 1 if call > LONG_CALL else 2 if call > MIDDLING_CALL else 3
    calls = min(200, max(fewest, round(aim / call)))
    discard = 0 if call > LONG_CALL else min(50, max(1, math.ceil(DISCARD_SECONDS / call)))
    return Turn(discard, calls)


@dataclass
class Series:
    """What one arm showed: every call's seconds, and for each turn their median and the share of a core that it had."""

    child: Child
    turn: Turn
    items: int = 1
    times: list[float] = field(default_factory=list)
    turns: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    @property
    def per_item(self) -> list[float]:
        """Seconds an item, one value a turn."""
        return [seconds / self.items for seconds in self.turns]

    @property
    def cpu_share(self) -> float:
        """Processor seconds a second of timed calls."""
        return statistics.fmean(self.shares)

    def undisturbed(self) -> list[bool]:
        """For each turn, whether the arm had the processor as usual."""
        usual = statistics.median(self.shares)
        return [usual < BUSY_ARM or share >= KEPT_FROM_CPU * usual for share in self.shares]


@dataclass(frozen=True)
class Turns:
    """A launch's rounds. `kept` says which count; `disturbed` is the share that had to count although disturbed."""

    rounds: int
    kept: tuple[bool, ...]
    disturbed: float
    seconds: float


def take_turns(arms: Mapping[str, Series], plan: Plan, rng: random.Random, seconds: float) -> Turns:
    """Let the arms take turns, in random order in every round, for `seconds`.

    Rounds in which an arm was kept from the processor are known by the time that it computed in them, and as many more
    are made, up to half as many as there were. They don't count as long as three others are left.
    """
    begun = time.perf_counter()
    end = begun + seconds
    # Very long calls: the budget counts for more than the number of rounds, down to the three that have a median.
    last = begun + plan.budget / (plan.screen + plan.confirm)
    rounds = 0
    while (now := time.perf_counter()) < end or rounds < FEWEST_ROUNDS or (rounds < plan.rounds and now < last):
        _round(arms, plan, rng)
        rounds += 1
    wanted = min(_kept(arms).count(False), rounds // 2)
    for _ in range(wanted):
        _round(arms, plan, rng)
    rounds += wanted
    kept = _kept(arms)
    good = kept.count(True)
    if good < FEWEST_ROUNDS:
        kept = [True] * rounds
    missing = max(0, rounds - wanted - good)
    return Turns(rounds, tuple(kept), missing / (rounds - wanted), time.perf_counter() - begun)


def paired(over: Sequence[float], under: Sequence[float], kept: Sequence[bool]) -> tuple[float, float]:
    """Median over the rounds of the ratio of two arms' times, and the standard error of its logarithm.

    The error is that of a median of n independent rounds, 1.2533 s / sqrt(n), with the quartiles' distance as a robust
    s, and n (1 - r) / (1 + r) in place of n where neighbouring rounds are correlated by r: it says how much of the
    spread between launches comes from sampling within them.
    """
    logs = [math.log(a) - math.log(b) for a, b in compress(zip(over, under, strict=True), kept)]
    quartiles = statistics.quantiles(logs, n=4, method="inclusive")
    spread = (quartiles[2] - quartiles[0]) / 1.349
    likeness = _likeness(logs)
    error = 1.2533 * spread * math.sqrt((1 + likeness) / (1 - likeness) / len(logs))
    return math.exp(statistics.median(logs)), error


def _likeness(logs: Sequence[float]) -> float:
    """Correlation of neighbouring rounds, by ranks against the outliers; 0 where it is negative, at most 0.9."""
    if len(logs) < FEW_ROUNDS:
        return 0.0
    order = sorted(range(len(logs)), key=logs.__getitem__)
    ranks = [0.0] * len(logs)
    for rank, position in enumerate(order):
        ranks[position] = rank - (len(logs) - 1) / 2
    total = sum(rank * rank for rank in ranks)
    return min(0.9, max(0.0, sum(a * b for a, b in pairwise(ranks)) / total))


def _round(arms: Mapping[str, Series], plan: Plan, rng: random.Random) -> None:
    order = list(arms)
    rng.shuffle(order)
    for role in order:
        arm = arms[role]
        arm.child.ask(arm.turn)
        done = arm.child.reply(TurnDone, plan.deadline)
        times = [nanoseconds / 1e9 for nanoseconds in done.nanoseconds]
        if len(times) != arm.turn.calls or min(times) <= 0:
            raise MeasurementError(f"the {role} arm's clock gave {times}: no times", outcome=Outcome.INVALID)
        arm.times += times
        arm.turns.append(statistics.median(times))
        arm.shares.append(done.cpu_nanoseconds / 1e9 / sum(times))


def _kept(arms: Mapping[str, Series]) -> list[bool]:
    return [all(turns) for turns in zip(*(arm.undisturbed() for arm in arms.values()), strict=True)]
