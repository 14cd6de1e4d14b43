"""One launch: fresh processes, one for each arm, that take turns in random order.

Every time is taken beside the others', in the same slice of time: what slows the machine slows them all, and their
ratios stay (Bulej et al., Duet benchmarking, arXiv 2001.05811). The launch, not the call, is the unit of evidence:
processes differ among themselves by memory layout and luck (Kalibera & Jones, ISMM 2013).
"""

from __future__ import annotations

import contextlib
import random
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MeasurementError
from harness.hardware.base import Hardware
from harness.measure.artefacts import Artefact
from harness.measure.child import Child
from harness.measure.environment import PressureMeter
from harness.measure.thinning import evenly
from harness.measure.tree import Tree
from harness.measure.turns import Series, paired, plan_turn, take_turns
from harness.plan import Plan
from harness.records import Launch, Outcome, Scalar
from harness.specs import spec_of
from harness.worker.protocol import Load, Loaded, Settle, Settled

__all__ = ["ArmSpec", "launch"]

KEPT_SAMPLES = 400


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


def launch(
    arms: Mapping[str, ArmSpec],
    *,
    hardware: Hardware,
    plan: Plan,
    rng: random.Random,
    logs: Path,
    phase: str,
    seconds: float | None = None,
) -> Launch:
    """Start the arms, let them take turns for `seconds` (`plan.seconds` by default), and give what they showed.

    `arms` has a `candidate` and what it is measured beside: `anchor`, `reference`, or `previous`, the same case of
    another tree. Which is started first is random, as the order of turns is: the one started second was seen to be
    0.3 to 0.5 % faster. Raises `MeasurementError` for whatever goes wrong in a child.
    """
    begun = time.perf_counter()
    with contextlib.ExitStack() as stack:
        order = list(arms)
        rng.shuffle(order)
        children: dict[str, Child] = {}
        for role in order:
            child = Child(f"{role} arm", logs / f"{role}.log", hardware.environment(), arms[role].tree)
            children[role] = stack.enter_context(child)
            child.ask(Load(arms[role].folder, str(arms[role].tree.root), spec_of(hardware)))
        load_seconds = {role: _loaded(child, arms[role].tree, plan) for role, child in children.items()}
        settled = {role: _settled(child, plan) for role, child in children.items()}
        running = _series(arms, children, settled, plan)
        before = hardware.state()
        meter = PressureMeter()  # not before: arms that load at the same time wait for each other
        turns = take_turns(running, plan, rng, seconds or plan.seconds)
        pressure, steal = meter.share(), meter.steal()
        state = _state(before, hardware.state())
        watched: dict[str, Mapping[str, Scalar]] = {}
        for role, child in children.items():
            stopped = child.stop(plan.deadline)
            if stopped.turns != turns.rounds:
                raise MeasurementError(
                    f"the {role} arm took {stopped.turns} turns of {turns.rounds}", outcome=Outcome.INVALID
                )
            watched[role] = stopped.state
    candidate = running["candidate"]
    ratios: dict[str, tuple[float, float]] = {}
    if "anchor" in running:
        ratios["anchored"] = paired(candidate.turns, running["anchor"].turns, turns.kept)
    if "reference" in running:
        ratios["speedup"] = paired(running["reference"].per_item, candidate.per_item, turns.kept)
    if "previous" in running:
        ratios["against"] = paired(candidate.turns, running["previous"].turns, turns.kept)
    return Launch(
        phase=phase,
        rounds=turns.rounds,
        anchored=ratios["anchored"][0] if "anchored" in ratios else None,
        speedup=ratios["speedup"][0] if "speedup" in ratios else None,
        samples={role: _thin(arm.times) for role, arm in running.items()},
        cpu_share=candidate.cpu_share,
        load_seconds=load_seconds["candidate"],
        wall_seconds=time.perf_counter() - begun,
        pressure=pressure,
        started_first=order[0],
        latency=_latency(candidate.times),
        state={**state, **watched["candidate"]},
        against=ratios["against"][0] if "against" in ratios else None,
        calls=len(candidate.times),
        seconds=turns.seconds,
        within={name: error for name, (_, error) in ratios.items()},
        steal=steal,
        disturbed=turns.disturbed,
        unsettled=tuple(sorted(role for role, found in settled.items() if not found.steady)),
    )


def _loaded(child: Child, tree: Tree, plan: Plan) -> float:
    """Wait until an arm has loaded, check that it serves the right tree, and give its seconds."""
    loaded = child.reply(Loaded, plan.deadline)
    tree.check(loaded.harness_file)
    return loaded.seconds


def _settled(child: Child, plan: Plan) -> Settled:
    """Let one arm come to a steady state while the others wait."""
    child.ask(Settle())
    return child.reply(Settled, plan.deadline)


def _series(
    arms: Mapping[str, ArmSpec], children: Mapping[str, Child], settled: Mapping[str, Settled], plan: Plan
) -> dict[str, Series]:
    """Each arm with its turn. Two trees of one case get the same: another number of calls would be a difference."""
    lengths = {role: found.call_seconds for role, found in settled.items()}
    if "previous" in arms:
        common = statistics.fmean([lengths["candidate"], lengths["previous"]])
        lengths |= {"candidate": common, "previous": common}
    return {
        role: Series(child, plan_turn(lengths[role], plan.turn), arms[role].items) for role, child in children.items()
    }


def _state(before: Mapping[str, Scalar], after: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """What the hardware says after the last turn, with the frequency before the first and what was wrong in between."""
    state = dict(after)
    for key in ("slowdown", "foreign_processes"):
        if state.get(key) == "none" and key in before:
            state[key] = before[key]
    if "frequency" in before:
        state["frequency_before"] = before["frequency"]
    throttled, earlier = after.get("throttled"), before.get("throttled")
    if isinstance(throttled, int) and isinstance(earlier, int) and throttled > earlier:
        state["slowdown"] = f"throttled {throttled - earlier} times for heat"
    return state


def _latency(times: list[float]) -> dict[str, float]:
    """Mean and percentiles of one launch's calls (linear interpolation between order statistics)."""
    if len(times) == 1:
        return dict.fromkeys(("p50", "p90", "p95", "p99", "mean"), times[0])
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {f"p{rank}": cuts[rank - 1] for rank in (50, 90, 95, 99)} | {"mean": statistics.fmean(times)}


def _thin(times: list[float]) -> tuple[float, ...]:
    """At most `KEPT_SAMPLES` of the calls, evenly over time, with seven digits."""
    return tuple(float(f"{value:.7g}") for value in evenly(times, KEPT_SAMPLES))
