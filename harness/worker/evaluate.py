"""The accuracy pass: the model's own evaluation, run on the artefact that is served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import MeasurementError
from harness.grid import Address, find_case
from harness.runtimes.base import Session

from .artefact import read_manifest
from .protocol import Evaluate, Evaluated

__all__ = ["evaluate"]

KEPT_OUTPUTS = 2**20
"""Elements of the first output that are kept to compare with the reference's; enough, and bounded."""


def evaluate(request: Evaluate) -> Evaluated:
    """Evaluate an artefact and write scores, answers and outputs to `request.output`. Raises `MeasurementError`."""
    import numpy as np

    case, _ = find_case(Address(request.root, request.file, request.function, request.case_id))
    hardware = request.hardware.build()
    hardware.enter()
    folder = Path(request.folder)
    manifest = read_manifest(folder)
    session = manifest.runtime.build().load(folder / "model", hardware)
    predictor = _Predictor(session, manifest.batch_size if manifest.batchable else None)
    evaluation = case.model.evaluate(predictor)
    scores = np.asarray(evaluation.scores, dtype=np.float64)
    if scores.ndim != 1 or not len(scores) or not ((scores >= 0) & (scores <= 1)).all():
        raise MeasurementError(f"{case.id}: the evaluation's scores must be (N,) numbers in 0..1", outcome="invalid")
    if not 0 <= evaluation.value <= 1:
        raise MeasurementError(f"{case.id}: the evaluation gave {evaluation.value}, not in 0..1", outcome="invalid")
    arrays = {"scores": scores, "outputs": predictor.outputs()}
    if evaluation.answers is not None:
        arrays["answers"] = np.asarray(evaluation.answers)
    with Path(request.output).open("wb") as file:
        np.savez(file, **arrays)
    return Evaluated(float(evaluation.value), evaluation.label, evaluation.workload, dict(evaluation.metrics))


class _Predictor:
    """`predict` of `Model.evaluate`: any number of examples, called in the batches that are served."""

    def __init__(self, session: Session, batch_size: int | None) -> None:
        self._session = session
        self._batch_size = batch_size
        self._kept: list[Any] = []

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        result = self._call(inputs) if self._batch_size is None else self._in_batches(inputs, self._batch_size)
        self._kept.append(next(iter(result.values())))
        return result

    def outputs(self) -> Any:
        """The first outputs of all calls as one flat array."""
        import numpy as np

        return np.concatenate([np.ravel(kept) for kept in self._kept])[:KEPT_OUTPUTS]

    def _call(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return self._session.fetch(self._session(self._session.stage(inputs)))

    def _in_batches(self, inputs: Mapping[str, Any], size: int) -> dict[str, Any]:
        import numpy as np

        examples = len(next(iter(inputs.values())))
        parts: list[dict[str, Any]] = []
        for start in range(0, examples, size):
            batch = {name: array[start : start + size] for name, array in inputs.items()}
            missing = size - len(next(iter(batch.values())))
            if missing:
                batch = {name: np.concatenate([a, np.repeat(a[-1:], missing, axis=0)]) for name, a in batch.items()}
            parts.append(self._call(batch))
        return {name: np.concatenate([part[name] for part in parts])[:examples] for name in parts[0]}
