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
from harness.judge import estimate
from harness.measure.artefacts import Artefact, ArtefactCache
from harness.measure.launch import ArmSpec, launch
from harness.measure.passes import EvaluationPass, evaluate, fidelity, measure_memory
from harness.metrics import Metric
from harness.names import file_name
from harness.plan import Plan
from harness.records import Launch, Measurement, Outcome, Result

__all__ = ["Measurer"]

DISTURBED = 0.15
"""A launch in which tasks waited for a CPU for a larger share of the time was disturbed (0 to 2 % if all is quiet)."""


@dataclass
class Measurer:
    """Measures cases of one project under one plan.

    undecided   told a result after its screen launches, says whether fresh launches are needed
    progress    told in a few words what is going on
    """

    root: Path
    cache: ArtefactCache
    plan: Plan
    logs: Path
    undecided: Callable[[Result, Mapping[str, Metric]], bool]
    progress: Callable[[str], None]
    _evaluations: dict[Path, EvaluationPass] = field(default_factory=dict)

    def measure(self, case: Case, address: Address, suite: str, nodeid: str, metrics: Mapping[str, Metric]) -> Result:
        """Measure a case. A failure becomes the result's outcome; only an interrupt gets out."""
        result = Result(
            suite, case.id, nodeid, case.model.name, case.technique.id, case.hardware.name, Outcome.COMPLETED
        )
        logs = self.logs / file_name(f"{suite}/{case.id}")
        logs.mkdir(parents=True, exist_ok=True)
        try:
            return self._measure(result, case, address, metrics, logs)
        except MeasurementError as error:
            return dataclasses.replace(result, outcome=Outcome(error.outcome), reason=str(error), log=error.log[-8000:])
        except HarnessError as error:
            return dataclasses.replace(result, outcome=Outcome(error.outcome), reason=str(error))

    def _measure(
        self, result: Result, case: Case, address: Address, metrics: Mapping[str, Metric], logs: Path
    ) -> Result:
        seconds: dict[str, float] = {}
        is_reference = case.id == case.reference.id
        self.progress("preparing")
        with _timed(seconds, "prepare"):
            artefact = self.cache.get(case, address, logs)
            reference = artefact if is_reference else self._reference(case, address, logs)
        self.progress("evaluating")
        with _timed(seconds, "evaluate"):
            evaluation = self._evaluate(case, address, artefact, logs)
            baseline = evaluation if is_reference else self._evaluate_reference(case, address, reference, logs)
        self.progress("measuring memory")
        with _timed(seconds, "memory"):
            memory = measure_memory(case, artefact, self.root, self.plan, logs)
        manifest = artefact.manifest
        fixed = {
            **memory,
            **_counted(artefact),
            "accuracy": evaluation.reply.value,
            **evaluation.reply.metrics,
            **({} if is_reference else fidelity(evaluation, baseline)),
        }
        result = dataclasses.replace(
            result,
            scores=evaluation.record(),
            evidence=manifest.evidence,
            facts=manifest.facts,
            workload={**manifest.workload, "evaluation": evaluation.reply.workload, "metric": evaluation.reply.label},
            weights=manifest.weights,
        )
        arms = {"candidate": ArmSpec(str(artefact.folder), manifest.batch_size), "anchor": ArmSpec("")}
        if not is_reference:
            arms["reference"] = ArmSpec(str(reference.folder), reference.manifest.batch_size)
        with _timed(seconds, "sample"):
            result = self._sample(result, case, arms, fixed, metrics, logs)
        return dataclasses.replace(result, seconds=seconds, warnings=_warnings(result))

    def _sample(
        self,
        result: Result,
        case: Case,
        arms: Mapping[str, ArmSpec],
        fixed: Mapping[str, float],
        metrics: Mapping[str, Metric],
        logs: Path,
    ) -> Result:
        rng = random.Random(f"{self.plan.seed}/{result.suite}/{result.case_id}")
        launches: list[Launch] = []
        for phase, count in (("screen", self.plan.screen), ("confirm", self.plan.confirm)):
            if phase == "confirm" and not (self.plan.verdicts and self.undecided(result, metrics)):
                break
            for number in range(count):
                self.progress(f"{phase} launch {number + 1} of {count}")
                launches.append(
                    launch(
                        arms, hardware=case.hardware, root=self.root, plan=self.plan, rng=rng, logs=logs, phase=phase
                    )
                )
            measurements = _measurements(launches, arms["candidate"].items, fixed, metrics)
            result = dataclasses.replace(result, launches=tuple(launches), measurements=measurements)
        return result

    def _reference(self, case: Case, address: Address, logs: Path) -> Artefact:
        return self.cache.get(case.reference, _reference_address(case, address), logs)

    def _evaluate_reference(self, case: Case, address: Address, artefact: Artefact, logs: Path) -> EvaluationPass:
        return self._evaluate(case.reference, _reference_address(case, address), artefact, logs)

    def _evaluate(self, case: Case, address: Address, artefact: Artefact, logs: Path) -> EvaluationPass:
        """Once a session for each artefact: every case of a model is compared with its reference's answers."""
        if artefact.folder not in self._evaluations:
            self._evaluations[artefact.folder] = evaluate(case, address, artefact, self.plan, logs)
        return self._evaluations[artefact.folder]


def _reference_address(case: Case, address: Address) -> Address:
    return dataclasses.replace(address, case_id=case.reference.id)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 3)


def _counted(artefact: Artefact) -> dict[str, float]:
    """What is counted, not sampled: from the manifest, by metric name."""
    manifest = artefact.manifest
    values = {"size": float(manifest.size)}
    for name in ("parameters", "sparsity", "quantized", "fallbacks"):
        fact = manifest.facts.get(name)
        if isinstance(fact, (int, float)):
            values[name] = float(fact)
    if artefact.fresh:
        values["time.prepare"] = manifest.seconds
    return values


def _measurements(
    launches: list[Launch], items: int, fixed: Mapping[str, float], metrics: Mapping[str, Metric]
) -> tuple[Measurement, ...]:
    rows = [_of_launch(one, items) for one in launches]
    sampled = {name: tuple(row[name] for row in rows) for name in rows[0]}
    values = {**sampled, **{name: (value,) for name, value in fixed.items()}}
    for metric in metrics.values():
        if metric.derive is not None:
            derive = metric.derive
            try:
                values[metric.name] = tuple(float(derive({**fixed, **row})) for row in rows)
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                raise MeasurementError(
                    f"metric {metric.name} can't be derived: {error!r}", outcome="invalid"
                ) from error
    samples = min(len(one.samples["candidate"]) for one in launches)
    relative = tuple(one.anchored for one in launches)
    return tuple(
        Measurement(
            name,
            estimate(values[name], samples),
            values[name],
            relative if name == "latency.p50" else (),
        )
        for name in metrics
        if name in values
    )


def _of_launch(one: Launch, items: int) -> dict[str, float]:
    """The sampled metrics of one launch."""
    values = {f"latency.{name}": value for name, value in one.latency.items()}
    values["throughput"] = items / one.latency["mean"]
    values["utilization.cpu"] = one.cpu_share
    values["time.load"] = one.load_seconds
    if one.speedup is not None:
        values["speedup"] = one.speedup
    busy = one.state.get("utilization")
    if isinstance(busy, (int, float)):
        values["utilization.gpu"] = float(busy)
    return values


def _warnings(result: Result) -> tuple[str, ...]:
    disturbed = sum(1 for one in result.launches if (one.pressure or 0.0) > DISTURBED)
    warnings = []
    for key, what in (("slowdown", "the device slowed down"), ("foreign_processes", "other processes used the device")):
        found = sorted({str(one.state[key]) for one in result.launches if one.state.get(key, "none") != "none"})
        if found:
            warnings.append(f"{what}: {', '.join(found)}")
    if disturbed:
        warnings.append(
            f"{disturbed} of {len(result.launches)} launches ran while other work competed for the CPU "
            f"(more than {DISTURBED:.0%} of the time)"
        )
    return tuple(warnings)
