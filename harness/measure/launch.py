"""One launch: fresh processes, one for each arm, that take turns in random order.

Every time is taken beside the others', in the same slice of time: what slows the machine slows them all, and their
ratios stay (Bulej et al., Duet benchmarking, arXiv 2001.05811). The launch, not the call, is the unit of evidence:
processes differ among themselves by memory layout and luck (Kalibera & Jones, ISMM 2013).
"""

from __future__ import annotations

import contextlib
import math
import random
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import MeasurementError
from harness.hardware.base import Hardware
from harness.measure.artefacts import Artefact
from harness.measure.child import Child
from harness.measure.environment import PressureMeter
from harness.measure.tree import Tree
from harness.plan import Plan
from harness.records import Launch, Outcome
from harness.specs import spec_of
from harness.worker.protocol import Load, Loaded, Turn, TurnDone

__all__ = ["ArmSpec", "launch"]

KEPT_SAMPLES = 400
DISCARD_SECONDS = 0.001
LONG_CALL = 0.1


@dataclass(frozen=True)
class ArmSpec:
    """What an arm serves: an artefact's folder ("" for the anchor) of a tree, and the items in one call."""

    tree: Tree
    folder: str = ""
    items: int = 1

    @classmethod
    def of(cls, artefact: Artefact) -> ArmSpec:
        """The arm that serves an artefact."""
        return cls(artefact.tree, str(artefact.folder), artefact.manifest.batch_size)


@dataclass
class _Arm:
    spec: ArmSpec
    child: Child
    turn: Turn = field(default_factory=lambda: Turn(1, 1))
    times: list[float] = field(default_factory=list)
    turns: list[float] = field(default_factory=list)
    cpu: float = 0.0
    load_seconds: float = 0.0
    call_seconds: float = 0.0

    @property
    def per_item(self) -> list[float]:
        """Seconds an item, one value a turn."""
        return [seconds / self.spec.items for seconds in self.turns]


def launch(
    arms: Mapping[str, ArmSpec],
    *,
    hardware: Hardware,
    plan: Plan,
    rng: random.Random,
    logs: Path,
    phase: str,
) -> Launch:
    """Start the arms, let them take turns for `plan.seconds`, and give what they showed.

    `arms` has a `candidate` and what it is measured beside: `anchor`, `reference`, or `previous`, the same case of
    another tree. Which is started first is random, as the order of turns is: the one started second was seen to be
    0.3 to 0.5 % faster. Raises `MeasurementError` for whatever goes wrong in a child.
    """
    begun = time.perf_counter()
    with contextlib.ExitStack() as stack:
        running: dict[str, _Arm] = {}
        order = list(arms)
        rng.shuffle(order)
        for role in order:
            child = Child(f"{role} arm", logs / f"{role}.log", hardware.environment(), arms[role].tree)
            running[role] = _Arm(arms[role], stack.enter_context(child))
            child.ask(Load(arms[role].folder, str(arms[role].tree.root), spec_of(hardware)))
        for arm in running.values():
            loaded = arm.child.reply(Loaded, plan.deadline)
            arm.spec.tree.check(loaded.harness_file)
            arm.load_seconds, arm.call_seconds = loaded.seconds, loaded.call_seconds
        _plan_turns(running, plan)
        meter = PressureMeter()  # not before: arms that load at the same time wait for each other
        rounds = _take_turns(running, plan, rng)
        pressure, state = meter.share(), hardware.state()
        for role, arm in running.items():
            stopped = arm.child.stop(plan.deadline)
            if stopped.turns != rounds:
                raise MeasurementError(
                    f"the {role} arm took {stopped.turns} turns of {rounds}", outcome=Outcome.INVALID
                )
    candidate, reference = running["candidate"], running.get("reference")
    anchor, previous = running.get("anchor"), running.get("previous")
    return Launch(
        phase=phase,
        rounds=rounds,
        anchored=_paired(candidate.turns, anchor.turns) if anchor else None,
        speedup=_paired(reference.per_item, candidate.per_item) if reference else None,
        samples={role: _thin(arm.times) for role, arm in running.items()},
        cpu_share=candidate.cpu / sum(candidate.times),
        load_seconds=candidate.load_seconds,
        wall_seconds=time.perf_counter() - begun,
        pressure=pressure,
        started_first=order[0],
        latency=_latency(candidate.times),
        state=state,
        against=_paired(candidate.turns, previous.turns) if previous else None,
    )


def _plan_turns(arms: Mapping[str, _Arm], plan: Plan) -> None:
    """Give each arm its turn. Two trees of one case get the same: another number of calls would be a difference."""
    for arm in arms.values():
        arm.turn = plan_turn(arm.call_seconds, plan.turn)
    if "previous" in arms:
        pair = arms["candidate"], arms["previous"]
        common = plan_turn(statistics.fmean(arm.call_seconds for arm in pair), plan.turn)
        for arm in pair:
            arm.turn = common


def plan_turn(call_seconds: float, aim: float) -> Turn:
    """How many calls a turn discards and times, for calls of this length.

    The other arms leave the caches cold, so the first call after them is slower than any that follows (45 % without a
    discarded call, in the measurements behind this design). Short calls are discarded until about a millisecond has
    passed; a call of more than a tenth of a second warms the caches by itself.
    """
    call = max(call_seconds, 1e-7)
    calls = min(200, max(1, round(aim / call)))
    discard = 0 if call > LONG_CALL else min(50, max(1, math.ceil(DISCARD_SECONDS / call)))
    return Turn(discard, calls)


def _take_turns(arms: Mapping[str, _Arm], plan: Plan, rng: random.Random) -> int:
    order = list(arms)
    begun = time.perf_counter()
    rounds = 0
    # Very long calls: the budget counts for more than the number of rounds, down to the three that have a median.
    last = begun + plan.budget / (plan.screen + plan.confirm)
    while (
        time.perf_counter() < begun + plan.seconds
        or rounds < 3
        or (rounds < plan.rounds and time.perf_counter() < last)
    ):
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
            arm.cpu += done.cpu_nanoseconds / 1e9
        rounds += 1
    return rounds


def _paired(over: list[float], under: list[float]) -> float:
    """Median over the rounds of the ratio of two arms' times, taken as logarithms."""
    return math.exp(statistics.median(math.log(a) - math.log(b) for a, b in zip(over, under, strict=True)))


def _latency(times: list[float]) -> dict[str, float]:
    """Mean and percentiles of one launch's calls (linear interpolation between order statistics)."""
    if len(times) == 1:
        return dict.fromkeys(("p50", "p90", "p95", "p99", "mean"), times[0])
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {f"p{rank}": cuts[rank - 1] for rank in (50, 90, 95, 99)} | {"mean": statistics.fmean(times)}


def _thin(times: list[float]) -> tuple[float, ...]:
    """At most `KEPT_SAMPLES` of the calls, evenly over time, with seven digits."""
    step = max(1, math.ceil(len(times) / KEPT_SAMPLES))
    return tuple(float(f"{value:.7g}") for value in times[::step])
