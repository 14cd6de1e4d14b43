"""Measuring one case, from its address to its `Result`."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.errors import HarnessError, MeasurementError, UnavailableError, WrongTreeError
from harness.facts import uncompiled, units
from harness.grid import Address, Case
from harness.measure.artefacts import Artefact, ArtefactCache
from harness.measure.budget import Budget
from harness.measure.case_passes import CasePasses
from harness.measure.ending import ended, longer
from harness.measure.launch import ArmSpec
from harness.measure.limits import evidence_of, or_alone, too_large, unlimited
from harness.measure.passes import (
    EvaluationPass,
    check_answers,
    check_changed,
    check_repeats,
    check_same_inputs,
    energy_facts,
    fidelity,
    fidelity_facts,
    measure_energy,
    other_data,
)
from harness.measure.sampling import Sampled, sample
from harness.measure.stage import stage
from harness.measure.values import BUILT_IN, counted, exact_measurements, measurements_of, warnings_of, with_latency_of
from harness.metrics import Metric
from harness.names import file_name
from harness.plan import Plan
from harness.records import Launch, Outcome, Result
from harness.worker.protocol import EnergyMeasured, MemoryMeasured

__all__ = ["Measurer", "Measuring", "More"]

More = Callable[[Result, Mapping[str, Metric]], int]
"""Told a result after its screen, and after each lot of fresh launches, says how many more to make."""


class Measuring(Protocol):
    """What a session has its cases measured by."""

    def measure(
        self, case: Case, address: Address, suite: str, nodeid: str, metrics: Mapping[str, Metric]
    ) -> tuple[Result, Result | None]:
        """Measure a case, and the same case of the other tree where there is one."""


@dataclass
class Measurer:
    """Measures cases of one project under one plan.

    cache       artefacts of the working tree
    passes      accuracy and memory of its cases
    more        says how many more launches to make
    progress    told in a few words what is going on
    other       artefacts of the tree to compare with; its cases take turns with the working tree's
    budget      how long a case of this run may go on
    timed       told a result that has everything but its times, says whether these are worth taking
    anchored    whether the anchor takes turns too, without which no later run can be compared with this one
    """

    cache: ArtefactCache
    passes: CasePasses
    plan: Plan
    logs: Path
    more: More
    progress: Callable[[str], None]
    other: ArtefactCache | None = None
    budget: Budget = field(default_factory=Budget)
    timed: Callable[[Result], bool] = lambda _: True
    anchored: bool = True
    _oversized: dict[Path, str] = field(default_factory=dict)

    def measure(
        self, case: Case, address: Address, suite: str, nodeid: str, metrics: Mapping[str, Metric]
    ) -> tuple[Result, Result | None]:
        """Measure a case, and the same case of the other tree where there is one.

        A failure becomes the result's outcome; only an interrupt gets out, and `pytest.exit`.
        """
        result = Result(suite, case.id, nodeid, *case.words, Outcome.COMPLETED)
        begun = time.perf_counter()
        if together := self.passes.make_ahead(suite, case, self.progress):
            ahead = time.perf_counter() - begun
            result = dataclasses.replace(result, seconds={"ahead": round(ahead + self.passes.spent, 3)})
            self.passes.spent = 0.0
            self.budget.share(ahead, together)  # of artefacts nothing: those of the cases to come are there
        self.budget.begin()
        logs = self.logs / file_name(f"{suite}/{case.id}")
        logs.mkdir(parents=True, exist_ok=True)
        previous = None
        try:
            self.cache.check_going_on(case.id)
            if self.other is None:
                found = self._alone(result, case, address, metrics, logs)
            else:
                previous = self._previous(self.other, result, case, address, logs)
                found, previous = self._in_turns(self.other, result, previous, case, address, metrics, logs)
            self.cache.check_unedited(case.id)
            return found, previous
        except Exception as error:  # it ends this case, and no other
            return ended(result, error), previous

    def _alone(self, result: Result, case: Case, address: Address, metrics: Mapping[str, Metric], logs: Path) -> Result:
        seconds = dict(result.seconds)
        is_reference = case.id == case.reference.id
        with stage(self.progress, seconds, "prepare"):
            artefact = self.cache.get(case, address, logs)
            of_reference = dataclasses.replace(address, case_id=case.reference.id)
            reference = artefact if is_reference else self.cache.get(case.reference, of_reference, logs)
            check_same_inputs(case.id, artefact, reference)
        # First, since it tells whether a model fits into its hardware.
        with stage(self.progress, seconds, "memory"):
            memory = self.passes.memory(case, artefact, logs / "memory.log")
            energy = self._measure_energy(case, artefact, logs)
        with stage(self.progress, seconds, "evaluate"):
            truth = self.passes.reference(case.reference, of_reference, reference, logs / "evaluate-reference.log")
            known = is_reference and unlimited(case) is None
            evaluation, note = (truth, "") if known else self._evaluate(case, address, artefact, logs)
            if others := other_data(evaluation, truth):
                again, _ = self.passes.evaluation(case, address, artefact, logs / "evaluate-again.log")
                check_repeats(case.id, evaluation, again)
        extra: Mapping[str, float] = {}
        if not is_reference:
            check_changed(case.id, evaluation, truth, artefact.manifest.facts, reference.manifest.facts)
            check_answers(case.id, evaluation, truth)
            extra = fidelity(evaluation, truth)
        result, fixed = _described(case, result, artefact, evaluation, memory, extra)
        if isinstance(energy, EnergyMeasured):
            fixed["energy.per_call"] = energy.joules
        facts = {**result.facts, **energy_facts(energy), **fidelity_facts(evaluation, truth)}
        warnings = (*result.warnings, *([others] if others else []))
        result = dataclasses.replace(result, measurements=exact_measurements(fixed), facts=facts, warnings=warnings)
        if not self.timed(result):
            return dataclasses.replace(result, seconds=seconds)
        arms = {"candidate": ArmSpec.of(artefact)}
        if self.anchored:
            arms["anchor"] = ArmSpec(artefact.tree)
        absent = "" if is_reference else self._too_large_reference(case.reference, reference, logs)
        if not is_reference and not absent:
            arms["reference"] = ArmSpec.of(reference)
        with stage(self.progress, seconds, "sample"):
            result, unfit = self._sample(result, case, arms, fixed, metrics, logs)
        if unfit:
            absent = self._oversized[reference.folder] = str(too_large(case.reference, unfit))
        notes = (note, f"there is no speedup, since its reference can't run here: {absent}" if absent else "")
        warnings = (*result.warnings, *warnings_of(result), *filter(None, notes))
        return dataclasses.replace(result, seconds=seconds, warnings=warnings)

    def _previous(self, other: ArtefactCache, result: Result, case: Case, address: Address, logs: Path) -> Result:
        """Everything of the other tree's case that is measured by itself; an outcome where that can't be had."""
        there = dataclasses.replace(address, root=str(other.tree.root))
        seconds: dict[str, float] = {}
        try:
            other.tree.check_folder()
            with stage(self.progress, seconds, "prepare the other tree"):
                artefact = other.get(case, there, logs)
            with stage(self.progress, seconds, "evaluate the other tree"):
                memory = self.passes.memory(case, artefact, logs / "memory-previous.log")
                evaluation, _ = self.passes.evaluation(case, there, artefact, logs / "evaluate-previous.log")
        except WrongTreeError:
            raise  # it says nothing of the other tree, and a comparison with it would be one with something else
        except HarnessError as error:
            return dataclasses.replace(result, outcome=Outcome(error.outcome), reason=str(error))
        found, fixed = _described(case, result, artefact, evaluation, memory)
        facts = {**found.facts, **units(evaluation.reply.units)}
        return dataclasses.replace(found, measurements=exact_measurements(fixed), facts=facts, seconds=seconds)

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
        seconds = dict(result.seconds)
        with stage(self.progress, seconds, "prepare"):
            artefact = self.cache.get(case, address, logs)
        with stage(self.progress, seconds, "memory"):
            memory = self.passes.memory(case, artefact, logs / "memory.log")
        with stage(self.progress, seconds, "evaluate"):
            evaluation, note = self._evaluate(case, address, artefact, logs)
            if previous.workload and previous.workload["evaluation"] != evaluation.reply.workload:
                again, _ = self.passes.evaluation(case, address, artefact, logs / "evaluate-again.log")
                check_repeats(case.id, evaluation, again)
        result, fixed = _described(case, result, artefact, evaluation, memory)
        arms = {"candidate": ArmSpec.of(artefact)}
        if previous.outcome is Outcome.COMPLETED:
            there = dataclasses.replace(address, root=str(other.tree.root))
            arms["previous"] = ArmSpec.of(other.get(case, there, logs))
        with stage(self.progress, seconds, "sample"):
            result, unfit = self._sample(result, case, arms, fixed, metrics, logs)
        # Units are told where the two differ: under --at neither tree need be the working tree, whose metrics judge.
        own = units(evaluation.reply.units)
        facts = {name: fact for name, fact in previous.facts.items() if own.get(name) != fact}
        previous = dataclasses.replace(previous, facts=facts)
        previous = ended(previous, too_large(case, unfit)) if unfit else with_latency_of(previous, result.launches)
        warnings = (*result.warnings, *warnings_of(result), *([note] if note else []))
        return dataclasses.replace(result, seconds=seconds, warnings=warnings), previous

    def _sample(
        self,
        result: Result,
        case: Case,
        arms: Mapping[str, ArmSpec],
        fixed: Mapping[str, float],
        metrics: Mapping[str, Metric],
        logs: Path,
    ) -> tuple[Result, MeasurementError | None]:
        """Launches until the case is decided: the result with their measurements; and how they failed with the arm
        beside the candidate, where that is too large for the limits of the hardware, and they were made without it.
        """

        def seen(launches: tuple[Launch, ...]) -> Result:
            measurements = measurements_of(launches, arms["candidate"].items, fixed, metrics)
            return dataclasses.replace(result, launches=launches, measurements=measurements)

        def sampled(where: Case, timed: Mapping[str, ArmSpec]) -> Sampled:
            return sample(
                timed,
                hardware=where.hardware,
                plan=self.plan,
                rng=random.Random(f"{self.plan.seed}/{result.suite}/{result.case_id}"),
                logs=logs,
                more=lambda launches: self.more(seen(launches), metrics) if where is case else 0,
                progress=self.progress,
                end=self.budget.end,
            )

        with longer("deadline", self.plan.deadline):
            found, unfit = or_alone(case, arms, sampled)
        return dataclasses.replace(seen(found.launches), cut_short=found.cut_short), unfit

    def _evaluate(self, case: Case, address: Address, artefact: Artefact, logs: Path) -> tuple[EvaluationPass, str]:
        """An evaluation, and a word where it had to be made without the limits of the hardware."""
        found, failure = self.passes.evaluation(case, address, artefact, logs / "evaluate.log")
        if failure:
            note = f"{case.hardware.name} is too little for its evaluation, with data and code: made without a limit"
            return found, f"{note} ({str(failure).rstrip(': ')})"
        return found, ""

    def _measure_energy(self, case: Case, artefact: Artefact, logs: Path) -> EnergyMeasured | str:
        """The energy of a call, or why it is not known: that is no fault of the case."""
        try:
            return measure_energy(case, artefact, self.plan, logs)
        except (UnavailableError, MeasurementError) as error:
            return str(error)

    def _too_large_reference(self, case: Case, artefact: Artefact, logs: Path) -> str:
        """Why a reference can't be served within the limits of its hardware, "" where it can; asked once a session."""
        if unlimited(case) is None:
            return ""
        if artefact.folder not in self._oversized:
            try:
                self.passes.memory(case, artefact, logs / "memory-reference.log")
                self._oversized[artefact.folder] = ""
            except MeasurementError as error:
                self._oversized[artefact.folder] = str(error)
        return self._oversized[artefact.folder]


def _described(
    case: Case,
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
        evidence=(*manifest.evidence, *evidence_of(case, memory)),
        facts={**manifest.facts, "memory.method": memory.method},
        workload={**manifest.workload, "evaluation": reply.workload, "metric": reply.label},
        weights=manifest.weights,
        warnings=uncompiled(manifest.facts),
    )
    return described, {**counted(artefact), "accuracy": reply.value, **reply.metrics, **memory.values, **(values or {})}
