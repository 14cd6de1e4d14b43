"""What each technique buys and costs against the model as it is: the gain map, the front, and a plain answer.

Ratios against the reference case of the same suite, model and hardware. Of baselines only where a case stood is told.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.records import Estimate, Run, Scalar, Verdict
from harness.report.memory import HOST, memory_metric, memory_words
from harness.report.overview import CaseView
from harness.timed_test import TECHNIQUE
from harness.units import points, quantity, ratio

__all__ = [
    "REFERENCE",
    "SAME_RATIO",
    "Gain",
    "Point",
    "Subject",
    "accuracy_slack",
    "alone",
    "answers",
    "batch_of",
    "before",
    "declared",
    "front",
    "gain",
    "points_of",
    "speed_of",
    "subjects",
]

REFERENCE = "reference"
SAME_RATIO = 0.02
"""A difference of speed that nobody would notice."""


@dataclass(frozen=True)
class Subject:
    """One model of one suite on one hardware, with its cases in the order of the run.

    `label` is what readers know it by: the model, behind its suite where another suite has one of this name there.
    """

    suite: str
    model: str
    hardware: str
    cases: tuple[CaseView, ...]
    label: str

    @property
    def reference(self) -> CaseView | None:
        """The model as it is, None where that was not measured."""
        return next((c for c in self.cases if c.completed and c.result and c.result.technique == REFERENCE), None)


@dataclass(frozen=True)
class Gain:
    """One quantity of a case against the reference. `sense`: `better`, `worse`, `same`, or `unknown` of one launch."""

    name: str
    text: str
    sense: str
    factor: float


@dataclass(frozen=True)
class Point:
    """A case in the plane of latency (seconds a call) and accuracy (0..1).

    order  what points are ranked by, the less the faster a call: the items of a call over the speed-up, which was
           measured in turns with the reference, while a case's own seconds are of other minutes; these where a case of
           the model has no speed-up
    speed  what serving is ranked by: the speed-up, or the throughput for all points of such a model
    was    where it stood in what it is compared with; None where neither was judged to have changed
    """

    view: CaseView
    technique: str
    latency: float
    accuracy: float
    throughput: float | None
    memory: float | None
    batch: float
    order: float
    speed: float
    was: tuple[float, float] | None = None


def subjects(views: Iterable[CaseView]) -> tuple[Subject, ...]:
    """The cases that have a result, grouped by hardware, suite and model; a test of pytest-benchmark's has no model."""
    grouped: dict[tuple[str, str, str], list[CaseView]] = {}
    for view in views:
        if view.result and view.result.technique != TECHNIQUE:
            grouped.setdefault((view.suite, view.result.model, view.result.hardware), []).append(view)
    suites = Counter((model, hardware) for _, model, hardware in grouped)
    return tuple(
        Subject(suite, model, hardware, tuple(found), f"{suite}/{model}" if suites[model, hardware] > 1 else model)
        for (suite, model, hardware), found in grouped.items()
    )


def declared(run: Run, metric: str, suite: str = "") -> Mapping[str, Scalar | None]:
    """What a run says of a metric: as this suite defines it, if it does; empty where nothing is said."""
    found = [one for one in run.metrics if one["name"] == metric and one.get("suite") in (None, "", suite)]
    return found[-1] if found else {}  # a suite's own stand behind the built-in ones


def accuracy_slack(run: Run, suite: str = "", reference: CaseView | None = None) -> float:
    """The loss of accuracy (0..1) that a suite, or the run in general, still accepts; 0 where neither accepts any.

    A tolerance is a share of the accuracy of the `reference`. The larger of both limits counts, as for the judge.
    """
    found = declared(run, "accuracy", suite)
    slack, tolerance = (v if isinstance(v := found.get(name), (int, float)) else 0.0 for name in ("slack", "tolerance"))
    whole = reference.estimate("accuracy") if reference else None
    return float(max(slack, tolerance * abs(whole.point) if whole else 0.0))


def gain(view: CaseView, reference: CaseView | None, slack: float, memory: str = HOST) -> tuple[Gain, ...]:
    """Speed-up, memory and accuracy of a case against the reference, as far as both have them, of the same data.

    `memory` is the metric that says how much memory the cases of this model take (see `memory_metric`).
    """
    found = []
    speedup = view.estimate("speedup")
    if speedup:
        sense = "same" if speedup.low <= 1 <= speedup.high else _sense(speedup.point)
        sense = "unknown" if alone(speedup) else sense
        found.append(Gain("speed", ratio(speedup.point), sense, speedup.point))
    if reference is None or reference is view:
        return tuple(found)
    own, other = view.estimate(memory), reference.estimate(memory)
    if own and other and own.point > 0 and other.point > 0:
        factor = own.point / other.point
        found.append(Gain("memory", ratio(factor), _sense(1 / factor), factor))
    own, other = view.estimate("accuracy"), reference.estimate("accuracy")
    if own and other and _of_same_data(view, reference):
        change = own.point - other.point
        # A loss of exactly the slack is within it, whatever a subtraction of floats makes of it.
        sense = "same" if abs(change) <= slack + 1e-9 else "better" if change > 0 else "worse"
        found.append(Gain("accuracy", points(change), sense, change))
    return tuple(found)


def points_of(subject: Subject) -> tuple[Point, ...]:
    """The cases of a model that have both a latency and an accuracy, this of the data of the model as it is."""
    reference = subject.reference
    measured = [
        (view, view.result, latency, accuracy)
        for view in subject.cases
        if (latency := view.estimate("latency.p50")) and (accuracy := view.estimate("accuracy")) and view.result
        if latency.point > 0 and (reference is None or _of_same_data(view, reference))
    ]
    metric, speeds = memory_metric(subject.cases), [speed_of(view) for view, *_ in measured]
    found = []
    for (view, result, latency, accuracy), speed in zip(measured, speeds, strict=True):
        throughput, memory, batch = view.estimate("throughput"), view.estimate(metric), batch_of(view)
        order, rate = latency.point, throughput.point if throughput else 0.0
        if speed and all(speeds):
            order, rate = batch / speed.point, speed.point
        found.append(
            Point(
                view,
                result.technique,
                latency.point,
                accuracy.point,
                throughput.point if throughput else None,
                memory.point if memory else None,
                batch,
                order,
                rate,
                _was(view, latency.point, accuracy.point),
            )
        )
    return tuple(found)


def batch_of(view: CaseView) -> int:
    """How many items a call of a case has; 1 where nothing is said."""
    found = view.result.facts.get("batch") if view.result else None
    return int(found) if isinstance(found, (int, float)) and found > 0 else 1


def speed_of(view: CaseView) -> Estimate | None:
    """The speed-up, which of the reference is 1 by its meaning; None where there is none that can be counted with."""
    if view.result is not None and view.result.technique == REFERENCE:
        return Estimate.exact(1.0)
    found = view.estimate("speedup")
    return found if found and 0 < found.point < math.inf else None


def alone(estimate: Estimate) -> bool:
    """Whether an estimate was sampled by one launch, which shows no spread."""
    return estimate.launches < 2 and estimate.samples > 1


def _was(view: CaseView, latency: float, accuracy: float) -> tuple[float, float] | None:
    """Where a case stood before what was judged to have changed.

    The time is this run's, less the judged change: the machine of another hour was faster or slower for every case.
    """
    judged = {c.metric: c for c in view.comparisons if c.verdict in (Verdict.REGRESSED, Verdict.IMPROVED)}
    p50, speedup, answers = map(judged.get, ("latency.p50", "speedup", "accuracy"))
    held = any(c.metric == "latency.p50" and c.verdict is Verdict.UNCHANGED for c in view.comparisons)
    # A speed-up lost is time gained, by the same factor; but where the time itself held, it is the reference's.
    slowed = None if p50 or held else before(1.0, speedup.change if speedup else None)
    was = latency / slowed if slowed else before(latency, p50.change if p50 else None) or latency
    right = answers.baseline.point if answers and answers.baseline else accuracy
    return (was, right) if (was, right) != (latency, accuracy) else None


def before(now: float, change: Estimate | None) -> float | None:
    """A value less the relative change that was judged of it; None where that is no change of a number."""
    if change is None or not math.isfinite(change.point) or change.point <= -1:
        return None
    return now / (1 + change.point)


def front(candidates: Iterable[Point]) -> tuple[Point, ...]:
    """The points that no other beats in time (by their `order`) and accuracy at once, fastest first."""
    best: list[Point] = []
    for point in sorted(candidates, key=lambda p: (p.order, -p.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return tuple(best)


def answers(subject: Subject, slack: float) -> tuple[str, ...]:
    """ "Which technique should I ship?", in sentences: without loss, at a small loss, for throughput, for memory.

    None is named whose numbers do not count, or whose verdict is an error.
    """
    measured = points_of(subject)
    reference = subject.reference
    accuracy = reference.estimate("accuracy") if reference else None
    if not measured or accuracy is None:
        return ()
    found = [p for p in measured if p.view.verdict not in (Verdict.INVALID, Verdict.ERROR)]
    if not found:
        return ("None: each is invalid or an error, or was asked about other data.",)
    floor = accuracy.point - slack - 1e-9
    keeping = [p for p in found if p.accuracy >= floor]
    said = []
    fastest = min(keeping, key=lambda p: p.order, default=None)
    if fastest:
        bound = f"at most {slack * 100:.3g} points lost" if slack else "no accuracy lost"
        said.append(f"Fastest call with {bound}: {_named(fastest, accuracy.point)}.")
    else:
        # The reference keeps it, and is invalid or an error itself.
        lost = f"more than {slack * 100:.3g} points" if slack else "some of it"
        said.append(f"None whose numbers count keeps the accuracy: each loses {lost}.")
    quicker = min(found, key=lambda p: p.order)
    if quicker is not fastest:
        said.append(f"Fastest call at any loss: {_named(quicker, accuracy.point)}.")
    served = [p for p in keeping if p.throughput]
    most = max(served, key=lambda p: p.speed, default=None)
    if most and most is not fastest:
        said.append(
            f"Most items a second, accuracy kept: {most.technique}, {quantity(most.throughput or 0.0, 'items/s')}"
            + (f" in batches of {most.batch:.0f}." if most.batch > 1 else ".")
        )
    held = [p for p in keeping if p.memory]
    least = min(held, key=lambda p: p.memory or math.inf, default=None)
    if least and least is not fastest:
        kind = memory_words(memory_metric(subject.cases))
        said.append(f"Least {kind}, accuracy kept: {least.technique}, {quantity(least.memory or 0.0, 'bytes')}.")
    return tuple(said)


def _of_same_data(view: CaseView, reference: CaseView) -> bool:
    return bool(view.result and reference.result and view.result.asked_as(reference.result))


def _named(point: Point, reference_accuracy: float) -> str:
    speedup = point.view.estimate("speedup")
    words = [point.technique, quantity(point.latency, "s")]
    if speedup:
        words.append(f"{ratio(speedup.point)} the reference's speed")
    change = point.accuracy - reference_accuracy
    words.append("accuracy as the reference's" if abs(change) < 1e-9 else f"accuracy {points(change)}")
    return ", ".join(words)


def _sense(factor: float) -> str:
    if not math.isfinite(factor) or factor <= 0:
        return "worse"
    return "same" if abs(math.log(factor)) <= SAME_RATIO else "better" if factor > 1 else "worse"
