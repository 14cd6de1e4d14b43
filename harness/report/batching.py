"""Batch scaling: how throughput and latency grow with the items in a call, and the knee where more bring no more.

The knee is the smallest batch whose throughput lies within a tolerance of the best that was measured, by the "1 SE
rule" of Breiman, Friedman, Olshen and Stone (1984); docs/batching.md says why.

Batches are compared by their speed-up, since each was timed in turns with the same reference: the machine's drift
between two cases is in neither. Where no reference took turns, the items a second are compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.records import Estimate, Run
from harness.report.gains import REFERENCE, SAME_RATIO, Subject, alone, batch_of, declared, speed_of, subjects
from harness.report.overview import CaseView, Overview
from harness.units import quantity, ratio

__all__ = ["LEAST_STEPS", "Step", "Sweep", "knees", "sentence", "speed_tolerance", "sweeps"]

LEAST_STEPS = 3
"""Batch sizes that make a sweep: two points are joined by a line, whatever lies between."""
_TOLERANCE = 0.05
"""Where a run's own definition of the speed-up has no tolerance."""


@dataclass(frozen=True)
class Step:
    """One batch size of a sweep.

    throughput  items a second, with its interval
    latency     seconds of one call (p50), with its interval
    speed       what batches are compared by, with its interval: the speed-up or, for the whole sweep, the throughput
    """

    view: CaseView
    batch: int
    throughput: Estimate
    latency: Estimate
    speed: Estimate


@dataclass(frozen=True)
class Sweep:
    """The cases of a model that differ in the items of a call alone.

    pipeline          their techniques without the batching; `reference` where nothing is left
    steps             by batch size
    knee              the smallest batch within the tolerance of the best
    earliest, latest  where it lies by the intervals: the first batch that is not shown to miss more than the tolerance,
                      and the first that is shown not to; where none is, the last that may not
    tolerance         share of the best throughput that may be missing
    paired            whether steps are compared by their speed-up, and not by their throughput
    """

    pipeline: str
    steps: tuple[Step, ...]
    knee: Step
    earliest: Step
    latest: Step
    tolerance: float
    paired: bool

    @property
    def settled(self) -> bool:
        """Whether the intervals leave one batch size for the knee."""
        return self.earliest is self.latest

    @property
    def single(self) -> bool:
        """Whether a step has one launch, and so no interval."""
        return any(alone(step.speed) for step in self.steps)

    @property
    def open_ended(self) -> bool:
        """Whether the throughput still grew at the largest batch, so that the knee may lie beyond."""
        return self.knee is self.steps[-1]


def speed_tolerance(run: Run, suite: str = "") -> float:
    """The loss of speed (0..1) that the speed-up, as a suite or the run in general defines it, accepts."""
    found = declared(run, "speedup", suite).get("tolerance")
    return float(found) if isinstance(found, (int, float)) and 0 < found < 1 else _TOLERANCE


def sweeps(subject: Subject, tolerance: float = _TOLERANCE) -> tuple[Sweep, ...]:
    """The sweeps of a model on one hardware, in the order in which their first cases ran."""
    grouped: dict[tuple[str, ...], dict[int, CaseView]] = {}
    known = {view.result.technique: view for view in subject.cases if view.completed and view.result}
    for technique, view in known.items():
        evidence = view.result.evidence if view.result else ()
        # The reference promises one item a call too: it is the start of a sweep, and makes none.
        batching = {e.technique for e in evidence if e.kept and e.promise.startswith("batch ")} - {REFERENCE}
        steps = technique.split("+")
        if batching & {*steps}:
            kind = tuple("" if step in batching else step for step in steps)
            grouped.setdefault(kind, {}).setdefault(batch_of(view), view)
    found = []
    for kind, by_batch in grouped.items():
        pipeline = "+".join(step for step in kind if step) or REFERENCE
        if pipeline in known:
            by_batch[batch_of(known[pipeline])] = known[pipeline]
        steps_found, paired = _steps(by_batch)
        if len(steps_found) >= LEAST_STEPS:
            found.append(_swept(pipeline, steps_found, tolerance, paired))
    return tuple(found)


def knees(seen: Overview) -> Iterator[tuple[Subject, Sweep, str]]:
    """Every sweep of a run with its sentence."""
    for subject in subjects(seen.cases):
        tolerance = speed_tolerance(seen.run, subject.suite)
        yield from ((subject, sweep, sentence(sweep)) for sweep in sweeps(subject, tolerance))


def sentence(sweep: Sweep) -> str:
    """Where the throughput stops growing, what the next batch brings and costs, and how sure that is."""
    first, last, knee = sweep.steps[0], sweep.steps[-1], sweep.knee
    after = next((step for step in sweep.steps if step.batch > knee.batch), None)
    if after is None:
        before = sweep.steps[-2]
        said = (
            f"Throughput still grows at {last.batch}, the largest batch measured: {_traded(before, last)}. "
            "The knee lies there or beyond."
        )
    elif knee is first:
        said = f"{_throughput(sweep)} does not grow with the batch: {_traded(knee, after)}."
        best = max(sweep.steps[1:], key=lambda step: step.speed.point)
        if best is not after:
            said += f" The best beyond it is {best.batch}: {_traded(knee, best)}."
    else:
        said = (
            f"{_throughput(sweep)} stops growing at {knee.batch}: {_traded(knee, after)}. "
            f"There it is {quantity(knee.throughput.point, 'items/s')}, {ratio(_factor(first, knee))} that of "
            f"{first.batch}, at {quantity(knee.latency.point, 's')} a call."
        )
    if sweep.single:
        said += " One launch has no interval, so how sure that is can't be told."
    elif not sweep.settled:
        said += (
            f" By the intervals the knee lies between {sweep.earliest.batch} and {sweep.latest.batch}"
            + (" or beyond" if sweep.latest is last and not sweep.open_ended else "")
            + "; more launches would tell."
        )
    return said


def _throughput(sweep: Sweep) -> str:
    """What the sentence is about, with the tolerance where more than nobody notices is to be had beyond the knee."""
    best = max(_factor(sweep.knee, step) for step in sweep.steps if step.batch > sweep.knee.batch)
    # As it is written: 1.02x is no more.
    if round(best, 2) <= 1 + SAME_RATIO:
        return "Throughput"
    return f"Within the tolerance of {sweep.tolerance * 100:.3g} % throughput"


def _swept(pipeline: str, steps: tuple[Step, ...], tolerance: float, paired: bool) -> Sweep:
    within = 1 / (1 - tolerance)

    def missing(step: Step) -> tuple[float, float, float]:
        """By what factor the best of the others is faster: at least, by the points, at most."""
        least, points, most = zip(*(_bounds(step, other) for other in steps if other is not step), strict=True)
        return max(least), max(points), max(most)

    known = [(step, *missing(step)) for step in steps]
    knee = next(step for step, _, point, _ in known if point <= within)
    possible = [step for step, least, _, _ in known if least <= within]
    latest = next((step for step, _, _, most in known if most <= within), possible[-1])
    return Sweep(pipeline, steps, knee, possible[0], latest, tolerance, paired)


def _bounds(step: Step, other: Step) -> tuple[float, float, float]:
    """How many times as fast another step is: least, point and most.

    Both have their own launches, so the half-widths of their logarithms add as squares.
    """
    point = other.speed.point / step.speed.point
    below = math.hypot(_half(other.speed, -1), _half(step.speed, 1))
    above = math.hypot(_half(other.speed, 1), _half(step.speed, -1))
    return point / math.exp(min(below, 700)), point, point * math.exp(min(above, 700))


def _half(estimate: Estimate, side: int) -> float:
    """The distance of one end of an interval from its point, in logarithms; infinite for an end that has none."""
    end = estimate.low if side < 0 else estimate.high
    if alone(estimate):
        return math.inf
    return abs(math.log(end / estimate.point)) if end > 0 and math.isfinite(end) else math.inf


def _factor(step: Step, other: Step) -> float:
    return other.speed.point / step.speed.point


def _traded(step: Step, other: Step) -> str:
    """What another batch brings and costs: `1.02x from 16 to 32, latency 1.96x`.

    A call's time is its items over their speed, so that both factors come from the same launches.
    """
    factor = _factor(step, other)
    waiting = other.batch / step.batch / factor
    return f"{ratio(factor)} from {step.batch} to {other.batch}, latency {ratio(waiting)}"


def _steps(by_batch: Mapping[int, CaseView]) -> tuple[tuple[Step, ...], bool]:
    """The steps that have all numbers, by batch; and whether every one of them has a speed-up, by which they are
    compared then.
    """
    rows = []
    for batch, view in sorted(by_batch.items()):
        throughput, latency = view.estimate("throughput"), view.estimate("latency.p50")
        if throughput and latency and _positive(throughput, latency):
            rows.append((view, batch, throughput, latency, speed_of(view)))
    paired = all(speed is not None for *_, speed in rows)
    steps = tuple(
        Step(view, batch, throughput, latency, speed if paired and speed else throughput)
        for view, batch, throughput, latency, speed in rows
    )
    return steps, paired


def _positive(*estimates: Estimate) -> bool:
    return all(0 < estimate.point < math.inf for estimate in estimates)
