"""The accuracy pass: the model's own evaluation, run on the artefact that is served."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
from harness.errors import HarnessError, MeasurementError, SuiteError
from harness.grid import Address, find_case, grids_of, load_suite
from harness.model import Evaluation
from harness.runtimes.predictor import Predictor, seed_generators

from .artefact import input_names, read_manifest
from .imported import imported
from .outputs import check_finite
from .protocol import Evaluate, Evaluated

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

__all__ = ["evaluate"]

KEPT_OUTPUTS = 2**20
"""Elements of each output that are kept to compare with the reference's; enough, and bounded."""


def evaluate(request: Evaluate) -> Evaluated:
    """Evaluate an artefact and write scores, answers and outputs to `request.output`.

    Raises `MeasurementError`, and `SuiteError` where the evaluation never calls the network, or otherwise than it is
    timed, or gives no `Evaluation`.
    """
    import numpy as np

    case, _ = find_case(Address(request.root, request.file, request.function, request.case_id))
    hardware = request.hardware.build()
    hardware.enter()
    folder = Path(request.folder)
    manifest = read_manifest(folder)
    session = manifest.runtime.build().load(folder / "model", hardware)
    # Other networks get their inputs by name, and may be given some that they don't read.
    names = input_names(folder) if case.model.form == "torch" else []
    predictor = Predictor(session, manifest.batch_size if manifest.batchable else None, KEPT_OUTPUTS, names)
    seed_generators()
    try:
        evaluation = case.model.evaluate(predictor)
    except HarnessError:
        raise
    except Exception:
        # Much that scores fails on numbers that are none, and does not say where they come from.
        check_finite(predictor.not_finite, predictor.elements, case.id)
        raise
    if not predictor.elements:
        raise SuiteError(
            f"{case.id}: evaluate never called predict, so that its accuracy is not of what is served; call "
            "predict(inputs), and score what it gives"
        )
    if not hasattr(evaluation, "scores"):
        given = "nothing" if evaluation is None else f"a {type(evaluation).__name__}"
        raise SuiteError(
            f"{case.id}: evaluate gives {given}; let it return Evaluation(value=…, scores=…, workload=…) of harness"
        )
    # This worker is the running harness's, and the tree may have an older one, whose predictor notes less.
    if lacking := getattr(predictor, "never_given", []):
        raise SuiteError(
            f"{case.id}: evaluate never gives {', '.join(lacking)}, which Model.inputs gives, so that the accuracy "
            f"would be of a way through the network that no timed call takes; give {', '.join(names)} in both, or only "
            "what evaluate gives in Model.inputs"
        )
    # First, since numbers that are none in the outputs make the evaluation's own such numbers.
    check_finite(predictor.not_finite, predictor.elements, case.id)
    scores = np.asarray(evaluation.scores, dtype=np.float64)
    answers = None if evaluation.answers is None else np.asarray(evaluation.answers)
    if wrong := _wrong(evaluation, scores, answers):
        raise MeasurementError(f"{case.id}: {wrong}; mend the model's `evaluate`", outcome="invalid")
    outputs = predictor.outputs()
    # Numbered, since names of outputs are the network's own, and may be no names of files.
    arrays: dict[str, Any] = {f"output {i}": array for i, array in enumerate(outputs.values())}
    arrays |= {"scores": scores, "elements": np.asarray(list(predictor.elements.values()), dtype=np.int64)}
    arrays["lengths"] = np.asarray(list(getattr(predictor, "lengths", {}).values()), dtype=str)
    arrays["asked"] = np.asarray(getattr(predictor, "asked", ""), dtype=str)
    if answers is not None:
        arrays["answers"] = answers
    with Path(request.output).open("wb") as file:
        np.savez(file, **arrays)
    metrics = {name: float(value) for name, value in evaluation.metrics.items()}
    # A case is judged by the metrics of all grids of its file.
    grids = grids_of(load_suite(Path(request.root), request.file))
    units = {metric.name: metric.unit for grid in grids for metric in grid.metrics}
    return Evaluated(
        float(evaluation.value), evaluation.label, evaluation.workload, metrics, str(Path(harness.__file__)),
        imported(), units,
    )  # fmt: skip


def _wrong(evaluation: Evaluation, scores: Array, answers: Array | None) -> str:
    """What a record can't hold of an evaluation, "" where there is nothing. Numbers of numpy's and torch's do."""
    import numpy as np

    if scores.ndim != 1 or not len(scores) or not ((scores >= 0) & (scores <= 1)).all():
        return f"the evaluation's scores must be (N,) numbers in 0..1; their shape is {list(scores.shape)}"
    if not 0 <= evaluation.value <= 1:
        return f"the evaluation gave {evaluation.value}, not in 0..1"
    if answers is not None:
        if answers.dtype.hasobject:
            return "the evaluation's answers must be (N,) numbers or texts, and are Python objects"
        if answers.shape != scores.shape:
            return (
                f"the evaluation's answers must be (N,), one for each of its {len(scores)} scores; their shape is "
                f"{list(answers.shape)} (make one number or text of several decisions on an example, and give one "
                "also where nothing was found)"
            )
        if answers.dtype.kind in "fc" and not np.isfinite(answers).all():
            return "the evaluation's answers hold NaN or infinity, which agree with nothing"
    for name in ("label", "workload"):
        if not isinstance(text := getattr(evaluation, name), str):
            return f"the evaluation's {name} must be a text, and is {text!r}"
    for name, value in evaluation.metrics.items():
        try:
            finite = isinstance(name, str) and math.isfinite(value)
        except (TypeError, ValueError):
            finite = False
        if not finite:
            return f"Evaluation.metrics gives {name} as {value!r}, and a metric is a name with a finite number"
    return ""
