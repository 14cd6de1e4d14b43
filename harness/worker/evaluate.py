"""The accuracy pass: the model's own evaluation, run on the artefact that is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.errors import MeasurementError
from harness.grid import Address, find_case
from harness.runtimes.predictor import Predictor

from .artefact import read_manifest
from .outputs import check_finite
from .protocol import Evaluate, Evaluated

__all__ = ["evaluate"]

KEPT_OUTPUTS = 2**20
"""Elements of each output that are kept to compare with the reference's; enough, and bounded."""


def evaluate(request: Evaluate) -> Evaluated:
    """Evaluate an artefact and write scores, answers and outputs to `request.output`. Raises `MeasurementError`."""
    import numpy as np

    case, _ = find_case(Address(request.root, request.file, request.function, request.case_id))
    hardware = request.hardware.build()
    hardware.enter()
    folder = Path(request.folder)
    manifest = read_manifest(folder)
    session = manifest.runtime.build().load(folder / "model", hardware)
    predictor = Predictor(session, manifest.batch_size if manifest.batchable else None, KEPT_OUTPUTS)
    evaluation = case.model.evaluate(predictor)
    # First, since numbers that are none in the outputs make the evaluation's own such numbers.
    check_finite(predictor.not_finite, predictor.elements, case.id)
    scores = np.asarray(evaluation.scores, dtype=np.float64)
    if scores.ndim != 1 or not len(scores) or not ((scores >= 0) & (scores <= 1)).all():
        raise MeasurementError(f"{case.id}: the evaluation's scores must be (N,) numbers in 0..1", outcome="invalid")
    if not 0 <= evaluation.value <= 1:
        raise MeasurementError(f"{case.id}: the evaluation gave {evaluation.value}, not in 0..1", outcome="invalid")
    outputs = predictor.outputs()
    # Numbered, since names of outputs are the network's own, and may be no names of files.
    arrays: dict[str, Any] = {f"output {i}": array for i, array in enumerate(outputs.values())}
    arrays |= {"scores": scores, "elements": np.asarray(list(predictor.elements.values()), dtype=np.int64)}
    if evaluation.answers is not None:
        arrays["answers"] = np.asarray(evaluation.answers)
    with Path(request.output).open("wb") as file:
        np.savez(file, **arrays)
    return Evaluated(float(evaluation.value), evaluation.label, evaluation.workload, dict(evaluation.metrics))
