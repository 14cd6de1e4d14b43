"""Accuracy, memory and energy: passes of their own, in children of their own, so that none disturbs the timing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.grid import Address, Case
from harness.hardware.energy import energy_meter
from harness.measure.artefacts import Artefact
from harness.measure.child import Child
from harness.plan import Plan
from harness.records import Scalar, Scores
from harness.specs import spec_of
from harness.worker.memory import ALLOCATOR
from harness.worker.outputs import relative_error
from harness.worker.protocol import (
    EnergyMeasured,
    Evaluate,
    Evaluated,
    MeasureEnergy,
    MeasureMemory,
    MemoryMeasured,
)

if TYPE_CHECKING:
    import numpy as np

__all__ = ["EvaluationPass", "energy_facts", "evaluate", "fidelity", "measure_energy", "measure_memory"]

MEMORY_CALLS = 10
IDLE_SECONDS, ENERGY_SECONDS = 1.0, 3.0


@dataclass(frozen=True)
class EvaluationPass:
    """What evaluating an artefact gave. scores and answers are (N,), outputs a flat array."""

    reply: Evaluated
    scores: np.ndarray[Any, Any]
    answers: np.ndarray[Any, Any] | None
    outputs: np.ndarray[Any, Any]

    def record(self) -> Scores:
        """The scores as a run keeps them: one bit an example where every credit is 0 or 1."""
        import numpy as np

        whole = bool(np.isin(self.scores, (0.0, 1.0)).all())
        bits = np.packbits(self.scores.astype(bool)).tobytes().hex() if whole else ""
        answers = "" if self.answers is None else hashlib.sha256(self.answers.tobytes()).hexdigest()[:16]
        return Scores(self.reply.label, self.reply.value, len(self.scores), bits, answers)


def evaluate(case: Case, address: Address, artefact: Artefact, plan: Plan, logs: Path) -> EvaluationPass:
    """Run the model's evaluation on an artefact. Raises `MeasurementError`."""
    import numpy as np

    output = logs / "evaluation.npz"
    request = Evaluate(
        address.root, address.file, address.function, address.case_id, str(artefact.folder), spec_of(case.hardware),
        str(output),
    )  # fmt: skip
    with Child(f"evaluating {case.id}", logs / "evaluate.log", case.hardware.environment(), artefact.tree) as child:
        child.ask(request)
        reply = child.reply(Evaluated, plan.prepare_deadline)
        child.stop(plan.deadline)
    with np.load(output, allow_pickle=False) as arrays:
        answers = arrays["answers"] if "answers" in arrays.files else None
        result = EvaluationPass(reply, arrays["scores"], answers, arrays["outputs"])
    output.unlink()
    return result


def fidelity(candidate: EvaluationPass, reference: EvaluationPass) -> Mapping[str, float]:
    """How near the outputs on the evaluation data are to the reference's, by metric name."""
    import numpy as np

    values: dict[str, float] = {}
    if candidate.outputs.shape == reference.outputs.shape:
        values["fidelity.error"] = relative_error(candidate.outputs, reference.outputs)
    if candidate.answers is not None and reference.answers is not None:
        values["fidelity.agreement"] = float(np.mean(candidate.answers == reference.answers))
    return values


def measure_memory(case: Case, artefact: Artefact, plan: Plan, logs: Path) -> MemoryMeasured:
    """Peaks of process and device memory, and how they were read. Raises `MeasurementError`."""
    request = MeasureMemory(str(artefact.folder), str(artefact.tree.root), spec_of(case.hardware), MEMORY_CALLS)
    env = {**case.hardware.environment(), **ALLOCATOR}
    with Child(f"memory of {case.id}", logs / "memory.log", env, artefact.tree) as child:
        child.ask(request)
        reply = child.reply(MemoryMeasured, plan.deadline)
        child.stop(plan.deadline)
    return reply


def measure_energy(case: Case, artefact: Artefact, plan: Plan, logs: Path) -> EnergyMeasured:
    """The energy of a call. Raises `UnavailableError` where nothing counts it, and `MeasurementError`."""
    energy_meter(case.hardware)  # before a process is started for it
    request = MeasureEnergy(
        str(artefact.folder), str(artefact.tree.root), spec_of(case.hardware), IDLE_SECONDS, ENERGY_SECONDS
    )
    with Child(f"energy of {case.id}", logs / "energy.log", case.hardware.environment(), artefact.tree) as child:
        child.ask(request)
        reply = child.reply(EnergyMeasured, plan.deadline)
        child.stop(plan.deadline)
    return reply


def energy_facts(energy: EnergyMeasured | str) -> dict[str, Scalar]:
    """What a result says of its energy: what was counted, and the power (W) during calls and before; or why not."""
    if isinstance(energy, str):
        return {"energy": f"not measured: {energy}"}
    told = f"{energy.calls} calls in {energy.seconds:.1f} s, {energy.watts:.1f} W; {energy.idle_watts:.1f} W when idle"
    return {"energy": f"{energy.source}: {told}"}
