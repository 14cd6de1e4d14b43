"""Measuring one case, from its address to its `Result`."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError, MeasurementError
from harness.grid import Address, Case
from harness.measure.artefacts import Artefact, ArtefactCache
from harness.measure.budget import Budget
from harness.measure.ending import ended
from harness.measure.launch import ArmSpec
from harness.measure.passes import EvaluationPass, evaluate, fidelity, measure_memory
from harness.measure.sampling import sample
from harness.measure.values import BUILT_IN, counted, exact_measurements, measurements_of, warnings_of, with_latency_of
from harness.metrics import Metric
from harness.names import file_name
from harness.plan import Plan
from harness.records import Launch, Outcome, Result
from harness.worker.protocol import MemoryMeasured

__all__ = ["Measurer"]


@dataclass
class Measurer:
    """Measures cases of one project under one plan.

    cache       artefacts of the working tree
    more        told a result after its screen, and after each lot of fresh launches, says how many more to make
    progress    told in a few words what is going on
    other       artefacts of the tree to compare with; its cases take turns with the working tree's
    budget      how long a case of this run may go on
    timed       told a result that has everything but its times, says whether these are worth taking
    anchored    whether the anchor takes turns too, without which no later run can be compared with this one
    """

    cache: ArtefactCache
    plan: Plan
    logs: Path
    more: Callable[[Result, Mapping[str, Metric]], int]
    progress: Callable[[str], None]
    other: ArtefactCache | None = None
    budget: Budget = field(default_factory=Budget)
    timed: Callable[[Result], bool] = lambda _: True
    anchored: bool = True
    _references: dict[Path, EvaluationPass] = field(default_factory=dict)

    def measure(
        self, case: Case, address: Address, suite: str, nodeid: str, metrics: Mapping[str, Metric]
    ) -> tuple[Result, Result | None]:
        """Measure a case, and the same case of the other tree where there is one.

        A failure becomes the result's outcome; only an interrupt gets out.
        """
        result = Result(suite, case.id, nodeid, *case.words, Outcome.COMPLETED)
        self.budget.begin()
        logs = self.logs / file_name(f"{suite}/{case.id}")
        logs.mkdir(parents=True, exist_ok=True)
        previous = None
        try:
            if self.other is None:
                return self._alone(result, case, address, metrics, logs), None
            previous = self._previous(self.other, result, case, address, logs)
            return self._in_turns(self.other, result, previous, case, address, metrics, logs)
        except Exception as error:  # it ends this case, and no other
            return ended(result, error), previous

    def _alone(self, result: Result, case: Case, address: Address, metrics: Mapping[str, Metric], logs: Path) -> Result:
        seconds: dict[str, float] = {}
        is_reference = case.id == case.reference.id
        with self._stage(seconds, "prepare"):
            artefact = self.cache.get(case, address, logs)
            of_reference = dataclasses.replace(address, case_id=case.reference.id)
            reference = artefact if is_reference else self.cache.get(case.reference, of_reference, logs)
        with self._stage(seconds, "evaluate"):
            truth = self._evaluate_reference(case.reference, of_reference, reference, logs)
            evaluation = truth if is_reference else evaluate(case, address, artefact, self.plan, logs)
        with self._stage(seconds, "memory"):
            memory = measure_memory(case, artefact, self.plan, logs)
        extra = {} if is_reference else fidelity(evaluation, truth)
        result, fixed = _described(result, artefact, evaluation, memory, extra)
        result = dataclasses.replace(result, measurements=exact_measurements(fixed))
        if not self.timed(result):
            return dataclasses.replace(result, seconds=seconds)
        arms = {"candidate": ArmSpec.of(artefact)}
        if self.anchored:
            arms["anchor"] = ArmSpec(artefact.tree)
        if not is_reference:
            arms["reference"] = ArmSpec.of(reference)
        with self._stage(seconds, "sample"):
            result = self._sample(result, case, arms, fixed, metrics, logs)
        return dataclasses.replace(result, seconds=seconds, warnings=warnings_of(result))

    def _previous(self, other: ArtefactCache, result: Result, case: Case, address: Address, logs: Path) -> Result:
        """Everything of the other tree's case that is measured by itself; an outcome where that can't be had."""
        there = dataclasses.replace(address, root=str(other.tree.root))
        seconds: dict[str, float] = {}
        try:
            with self._stage(seconds, "prepare the other tree"):
                artefact = other.get(case, there, logs)
            with self._stage(seconds, "evaluate the other tree"):
                evaluation = evaluate(case, there, artefact, self.plan, logs)
                memory = measure_memory(case, artefact, self.plan, logs)
        except HarnessError as error:
            return dataclasses.replace(result, outcome=Outcome(error.outcome), reason=str(error))
        found, fixed = _described(result, artefact, evaluation, memory)
        return dataclasses.replace(found, measurements=exact_measurements(fixed), seconds=seconds)

    def _in_turns(
        self,
        other: ArtefactCache,
        result: Result,
        previous: Result,
        case: Case,
        address: Address,
        metrics: Mapping[str, Metric],
        logs: Path,
    ) -> tuple[Result, Result]:
        seconds: dict[str, float] = {}
        with self._stage(seconds, "prepare"):
            artefact = self.cache.get(case, address, logs)
        with self._stage(seconds, "evaluate"):
            evaluation = evaluate(case, address, artefact, self.plan, logs)
        with self._stage(seconds, "memory"):
            memory = measure_memory(case, artefact, self.plan, logs)
        result, fixed = _described(result, artefact, evaluation, memory)
        arms = {"candidate": ArmSpec.of(artefact)}
        if previous.outcome is Outcome.COMPLETED:
            there = dataclasses.replace(address, root=str(other.tree.root))
            arms["previous"] = ArmSpec.of(other.get(case, there, logs))
        with self._stage(seconds, "sample"):
            result = self._sample(result, case, arms, fixed, metrics, logs)
        previous = with_latency_of(previous, result.launches)
        return dataclasses.replace(result, seconds=seconds, warnings=warnings_of(result)), previous

    def _sample(
        self,
        result: Result,
        case: Case,
        arms: Mapping[str, ArmSpec],
        fixed: Mapping[str, float],
        metrics: Mapping[str, Metric],
        logs: Path,
    ) -> Result:
        """Launches until the case is decided, and the result with their measurements."""

        def seen(launches: tuple[Launch, ...]) -> Result:
            measurements = measurements_of(launches, arms["candidate"].items, fixed, metrics)
            return dataclasses.replace(result, launches=launches, measurements=measurements)

        sampled = sample(
            arms,
            hardware=case.hardware,
            plan=self.plan,
            rng=random.Random(f"{self.plan.seed}/{result.suite}/{result.case_id}"),
            logs=logs,
            more=lambda launches: self.more(seen(launches), metrics),
            progress=self.progress,
            end=self.budget.end,
        )
        return dataclasses.replace(seen(sampled.launches), cut_short=sampled.cut_short)

    def _evaluate_reference(self, case: Case, address: Address, artefact: Artefact, logs: Path) -> EvaluationPass:
        """Once a session for each model: every case of it is compared with its reference's answers."""
        if artefact.folder not in self._references:
            self._references[artefact.folder] = evaluate(case, address, artefact, self.plan, logs)
        return self._references[artefact.folder]

    @contextmanager
    def _stage(self, seconds: dict[str, float], stage: str) -> Iterator[None]:
        self.progress(stage)
        start = time.perf_counter()
        yield
        seconds[stage] = round(time.perf_counter() - start, 3)


def _described(
    result: Result,
    artefact: Artefact,
    evaluation: EvaluationPass,
    memory: MemoryMeasured,
    values: Mapping[str, float] | None = None,
) -> tuple[Result, dict[str, float]]:
    """A result with everything that an artefact and its evaluation say, and the metrics that have one value."""
    manifest, reply = artefact.manifest, evaluation.reply
    taken = sorted(BUILT_IN & reply.metrics.keys())
    if taken:
        raise MeasurementError(
            f"{result.case_id}: Evaluation.metrics holds {taken[0]}, which the harness measures itself; rename it",
            outcome="invalid",
        )
    described = dataclasses.replace(
        result,
        scores=evaluation.record(),
        evidence=manifest.evidence,
        facts={**manifest.facts, "memory.method": memory.method},
        workload={**manifest.workload, "evaluation": reply.workload, "metric": reply.label},
        weights=manifest.weights,
    )
    return described, {**counted(artefact), "accuracy": reply.value, **reply.metrics, **memory.values, **(values or {})}
