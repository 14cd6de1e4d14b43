"""A run as the history keeps it: the numbers of its cases without their samples."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from harness.baseline.records import machine_class
from harness.judge.scope import workload_of
from harness.records import Measurement, Outcome, Result, Run
from harness.report.overview import cases

__all__ = ["EVERYTHING", "Entry", "Kept", "Value", "Wanted", "entry_of", "ordered", "question_of", "refusal"]


@dataclass(frozen=True)
class Wanted:
    """Which cases and metrics are looked for; all, where nothing is said of them.

    cases  pairs of suite and case id
    glob   that fits the case id, or suite/case id
    """

    cases: Collection[tuple[str, str]] | None = None
    glob: str = ""
    metrics: Collection[str] = ()

    def case(self, suite: str, case_id: str) -> bool:
        """Whether this case is."""
        named = self.cases is None or (suite, case_id) in self.cases
        return named and (
            not self.glob or any(fnmatchcase(name, self.glob) for name in (case_id, f"{suite}/{case_id}"))
        )

    def metric(self, name: str) -> bool:
        """Whether this metric is."""
        return not self.metrics or name in self.metrics


EVERYTHING = Wanted()


@dataclass(frozen=True, slots=True)
class Value:
    """One metric of one case.

    unit, better  of the metric, as the run declared it
    relative      median of the launches' ratios to the anchor; None where there are none
    question      digest of what was asked (inputs, batch, evaluation data): other questions have other answers
    """

    metric: str
    unit: str
    better: str
    point: float
    low: float
    high: float
    launches: int
    relative: float | None
    question: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A completed case: on which class of machine, with which verdict, and its values."""

    suite: str
    case_id: str
    machine: str
    verdict: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Entry:
    """A run. `key` is a digest of what was measured, when and where: the same run has the same key wherever it is read.

    The id alone would not do: it is made of a time and the number of a process, and two machines can share both.
    """

    key: str
    run: str
    started: str
    commit: str
    dirty: bool
    mode: str
    cases: tuple[Kept, ...]

    def measured(self, wanted: Wanted) -> set[tuple[str, str]]:
        """The wanted cases that have a wanted value in it, as pairs of suite and case id."""
        return {
            (kept.suite, kept.case_id)
            for kept in self.cases
            if wanted.case(kept.suite, kept.case_id) and any(wanted.metric(value.metric) for value in kept.values)
        }


def refusal(run: Run) -> str:
    """Why a run is not kept, "" where it is. One cut short hands its results on to the run that goes on with it."""
    if not run.complete:
        return "did not finish"
    if "at" in run.environment.state:
        return "measured another commit than the working tree's, which tells nothing of the time when it was made"
    if "against" in run.environment.state:
        return "took turns with another tree and not with the anchor, so that its times tell nothing of other hours"
    return "was a smoke test" if run.mode == "quick" else ""


def entry_of(run: Run) -> Entry:
    """What is kept of a run; its launches are not looked at."""
    declared = {(str(metric.get("suite") or ""), str(metric["name"])): metric for metric in run.metrics}
    kept = ordered(
        Kept(view.suite, view.id, _machine(run, view.result), view.word, tuple(_values(view.result, declared)))
        for view in cases(run)
        if view.result is not None and view.result.outcome is Outcome.COMPLETED
    )
    about = run.environment
    return Entry(_key(run, kept), run.id, run.started, about.commit, about.dirty, run.mode, kept)


def question_of(workload: Mapping[str, str], *, portable: bool) -> str:
    """The digest of what was asked for portable values, or for all others."""
    return _digest(workload_of(workload, portable=portable))


def ordered(kept: Iterable[Kept]) -> tuple[Kept, ...]:
    """Cases in the order of their names, and values in that of their metrics: as all entries have them."""
    by_metric = (replace(one, values=tuple(sorted(one.values, key=lambda value: value.metric))) for one in kept)
    return tuple(sorted(by_metric, key=lambda one: (one.suite, one.case_id)))


def _machine(run: Run, result: Result) -> str:
    identity = run.environment.hardware.get(result.hardware)
    return machine_class(identity) if identity else ""


def _values(result: Result, declared: Mapping[tuple[str, str], Mapping[str, object]]) -> Iterable[Value]:
    questions = {portable: question_of(result.workload, portable=portable) for portable in (True, False)}
    for one in result.measurements:
        about = declared.get((result.suite, one.metric)) or declared.get(("", one.metric))
        if about is not None:
            estimate, portable = one.estimate, bool(about.get("portable"))
            yield Value(
                one.metric,
                str(about["unit"]),
                str(about["better"]),
                *(estimate.point, estimate.low, estimate.high, estimate.launches),
                _relative(one),
                questions[portable],
            )


def _relative(measurement: Measurement) -> float | None:
    """The median, since launches that were disturbed and made again are among them."""
    return statistics.median(measurement.relative) if measurement.relative else None


def _key(run: Run, kept: tuple[Kept, ...]) -> str:
    numbers = [
        [one.suite, one.case_id, one.machine, *((v.metric, v.point, v.relative) for v in one.values)] for one in kept
    ]
    return _digest([run.id, run.started, run.finished, run.environment.commit, run.command, numbers], 32)


def _digest(value: object, length: int = 8) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()[:length]
