"""Accuracy, memory and energy: passes of their own, in children of their own, so that none disturbs the timing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import MeasurementError
from harness.fidelity import fewer_bits, nearness
from harness.grid import Address, Case
from harness.hardware.energy import energy_meter
from harness.measure.artefacts import Artefact
from harness.measure.child import Child
from harness.measure.crew import Starter
from harness.measure.ending import longer
from harness.plan import Plan
from harness.records import Scalar, Scores
from harness.specs import spec_of
from harness.worker.artefact import load_batches
from harness.worker.memory import ALLOCATOR
from harness.worker.outputs import alike
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

Facts = Mapping[str, Scalar]

__all__ = [
    "OF_ANOTHER_LENGTH",
    "OF_OTHER_DATA",
    "OF_OTHER_INPUTS",
    "EvaluationPass",
    "check_answers",
    "check_changed",
    "check_repeats",
    "check_same_inputs",
    "energy_facts",
    "evaluate",
    "fidelity",
    "fidelity_facts",
    "measure_energy",
    "measure_memory",
    "other_data",
]

OF_ANOTHER_LENGTH = "not measured of outputs, since output "
"""How the fact begins where outputs are as many as the reference's, and one of them has another length."""
OF_OTHER_INPUTS = (
    "not measured of outputs, since the evaluation gave the network other whole numbers than the reference"
)
"""The fact where the same evaluation goes on from what was answered: the outputs are to other ids after the first one
that is another."""
OF_OTHER_DATA = "not measured, since it was evaluated on other data than its reference"
"""The fact where the two were asked different questions, so that their answers are not to be held side by side."""
MEMORY_CALLS = 10
IDLE_SECONDS, ENERGY_SECONDS = 1.0, 3.0


@dataclass(frozen=True)
class EvaluationPass:
    """What evaluating an artefact gave.

    scores, answers   (N,)
    outputs           each output of the network as one flat array, by its number: its first elements where it has very
                      many
    elements          how many elements each output has
    lengths           a digest of how many it has in each call; () where examples are cut into batches
    asked             a digest of the whole numbers among the inputs
    """

    reply: Evaluated
    scores: np.ndarray[Any, Any]
    answers: np.ndarray[Any, Any] | None
    outputs: Mapping[str, np.ndarray[Any, Any]]
    elements: tuple[int, ...]
    lengths: tuple[str, ...] = ()
    asked: str = ""

    def record(self) -> Scores:
        """The scores as a run keeps them: one bit an example where every credit is 0 or 1."""
        import numpy as np

        whole = bool(np.isin(self.scores, (0.0, 1.0)).all())
        bits = np.packbits(self.scores.astype(bool)).tobytes().hex() if whole else ""
        answers = "" if self.answers is None else hashlib.sha256(self.answers.tobytes()).hexdigest()[:16]
        return Scores(self.reply.label, self.reply.value, len(self.scores), bits, answers)


def evaluate(
    case: Case, address: Address, artefact: Artefact, plan: Plan, log: Path, start: Starter = Child
) -> EvaluationPass:
    """Run the model's evaluation on an artefact. Raises `MeasurementError`, also where it imports another tree's code.

    What the child prints goes to `log`, beside which nothing else of that name may be written; `start` starts it.
    """
    import numpy as np

    output = log.with_suffix(".npz")
    request = Evaluate(
        address.root, address.file, address.function, address.case_id, str(artefact.folder), spec_of(case.hardware),
        str(output),
    )  # fmt: skip
    with start(f"evaluating {case.id}", log, case.hardware.environment(), artefact.tree) as child:
        child.ask(request)
        with longer("prepare_deadline", plan.prepare_deadline):
            reply = child.reply(Evaluated, plan.prepare_deadline)
        artefact.tree.check(reply.harness_file, modules=reply.modules)
        child.stop(plan.deadline)
    with np.load(output, allow_pickle=False) as arrays:
        answers = arrays["answers"] if "answers" in arrays.files else None
        elements = tuple(arrays["elements"].tolist())
        outputs = {str(i): arrays[f"output {i}"] for i in range(len(elements))}
        lengths, asked = tuple(arrays["lengths"].tolist()), str(arrays["asked"])
        result = EvaluationPass(reply, arrays["scores"], answers, outputs, elements, lengths, asked)
    output.unlink()
    return result


def fidelity(candidate: EvaluationPass, reference: EvaluationPass) -> Mapping[str, float]:
    """How near the outputs on the evaluation data are to the reference's, by metric name.

    Where the evaluation gives no answers, and the network gives whole numbers alone, these are its answers. Nothing of
    what was evaluated on other data.
    """
    import numpy as np

    if _is_of_other_data(candidate, reference):
        return {}
    near = nearness(candidate.outputs, reference.outputs) if _paired(candidate, reference) else {}
    values = {f"fidelity.{name}": value for name, value in near.items()}
    if candidate.answers is not None and reference.answers is not None:
        values["fidelity.agreement"] = float(np.mean(candidate.answers == reference.answers))
    elif "identical" in near and "error" not in near:
        values["fidelity.agreement"] = near["identical"]
    return values


def fidelity_facts(candidate: EvaluationPass, reference: EvaluationPass) -> dict[str, Scalar]:
    """What a result says where its outputs can't be compared with the reference's element by element; else nothing."""
    if _is_of_other_data(candidate, reference):
        return {"fidelity": OF_OTHER_DATA}
    if _paired(candidate, reference):
        return {}
    found, wanted = len(candidate.elements), len(reference.elements)
    if found != wanted:
        return {"fidelity": f"not measured of outputs, since there are {found}, and {wanted} of the reference"}
    pairs = enumerate(zip(candidate.elements, reference.elements, strict=True))
    for number, (found, wanted) in pairs:
        if found != wanted:
            return {"fidelity": f"{OF_ANOTHER_LENGTH}{number} holds {found:,} elements, and the reference's {wanted:,}"}
    if candidate.lengths == reference.lengths:
        return {"fidelity": OF_OTHER_INPUTS}
    digests = enumerate(zip(candidate.lengths, reference.lengths, strict=True))
    number = next(number for number, (found, wanted) in digests if found != wanted)
    why = "has another length than the reference's in some calls, and as many elements in all"
    return {"fidelity": f"{OF_ANOTHER_LENGTH}{number} {why}"}


def _paired(candidate: EvaluationPass, reference: EvaluationPass) -> bool:
    """Whether elements at one place are of one example, by how many there are, and answer the same whole numbers."""
    found, wanted = ((one.elements, one.lengths, one.asked) for one in (candidate, reference))
    return found == wanted


def check_answers(what: str, candidate: EvaluationPass, reference: EvaluationPass) -> None:
    """Raise `MeasurementError` (outcome `invalid`) where a case has another number of answers than its reference on the
    same data: nothing says which of them are to the same example.
    """
    if candidate.answers is None or reference.answers is None or _is_of_other_data(candidate, reference):
        return
    if candidate.answers.shape != reference.answers.shape:
        raise MeasurementError(
            f"{what}: its evaluation has {len(candidate.answers)} answers, and {len(reference.answers)} of its "
            "reference on the same data, so that they can't be compared; let Model.evaluate give an answer for each "
            "example, also where nothing was found",
            outcome="invalid",
        )


def check_changed(what: str, candidate: EvaluationPass, reference: EvaluationPass, facts: Facts, before: Facts) -> None:
    """Raise `MeasurementError` (outcome `invalid`) where facts say fewer bits and every output equals the reference's.

    Facts are read from what was loaded; this is seen from outside, on the model's own data. Numbers that are whole
    throughout are decisions, and fewer bits may well decide alike.
    """
    import numpy as np

    said = fewer_bits(facts, before)
    near = nearness(candidate.outputs, reference.outputs)
    if not said or "error" not in near or near["identical"] < 1 or not _paired(candidate, reference):
        return
    if all((array == np.rint(array)).all() for array in reference.outputs.values()):
        return
    raise MeasurementError(
        f"{what}: {said}, by what was read from the network, and every output on the evaluation's data equals the "
        "reference's to the last bit: what answered did not compute so; look where the technique's network is lost, "
        "or what the runtime's facts are read from",
        outcome="invalid",
    )


def check_same_inputs(what: str, artefact: Artefact, reference: Artefact) -> None:
    """Raise `MeasurementError` (outcome `invalid`) where a case is called with other inputs than its reference in calls
    of as many items: its times, and its speed-up, would be those of other work.
    """
    now, before = artefact.manifest.workload, reference.manifest.workload
    if now == before or now.get("batch") != before.get("batch"):
        return
    ours, others = (load_batches(one.folder / "inputs.npz") for one in (artefact, reference))
    # What a network computes for them may be rounded otherwise in a process that a technique has set up.
    if not all(alike(one, other) for one, other in zip(ours, others, strict=True)):
        raise MeasurementError(
            f"{what}: Model.inputs gave it other values than its reference, in a process of its own; make them from "
            "`seed` alone and in one order (a set of texts has another in each process: sorted), and name in "
            "Model.data what they are read from",
            outcome="invalid",
        )


def other_data(candidate: EvaluationPass, reference: EvaluationPass) -> str:
    """A warning where a case was evaluated on other data than its reference; "" elsewhere.

    An evaluation may ask about what was answered before, and runtimes round what is computed in their processes
    otherwise. Its accuracy is compared with its own baseline all the same.
    """
    if not _is_of_other_data(candidate, reference):
        return ""
    return (
        "its evaluation has other data than its reference's (Evaluation.workload), so that there is no fidelity: "
        "digest the labelled data alone where it asks about what was answered before, and keep in a file what it "
        "computes"
    )


def check_repeats(what: str, first: EvaluationPass, again: EvaluationPass) -> None:
    """Raise `MeasurementError` (outcome `invalid`) where evaluating a case `again`, in another process, had other data:
    then its accuracy can be compared with no other run's.
    """
    if not _is_of_other_data(again, first):
        return
    raise MeasurementError(
        f"{what}: Model.evaluate has other data in every process (Evaluation.workload differed when it was evaluated "
        "twice), so that no accuracy could ever be compared; draw data with a fixed seed and in one order (a set of "
        "texts has another in each process: sorted), and digest the labelled data alone, no answers",
        outcome="invalid",
    )


def _is_of_other_data(one: EvaluationPass, other: EvaluationPass) -> bool:
    return one.reply.workload != other.reply.workload


def measure_memory(case: Case, artefact: Artefact, plan: Plan, log: Path, start: Starter = Child) -> MemoryMeasured:
    """Peaks of process and device memory, and how they were read. Raises `MeasurementError`."""
    request = MeasureMemory(str(artefact.folder), str(artefact.tree.root), spec_of(case.hardware), MEMORY_CALLS)
    env = {**case.hardware.environment(), **ALLOCATOR}
    with start(f"memory of {case.id}", log, env, artefact.tree) as child:
        child.ask(request)
        with longer("deadline", plan.deadline):
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
