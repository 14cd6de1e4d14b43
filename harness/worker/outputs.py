"""Whether outputs are what they should be. Written so that NaN satisfies nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.errors import MeasurementError, PreparationError
from harness.fidelity import relative_error

if TYPE_CHECKING:
    import numpy as np

    Outputs = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["alike", "check_expected", "check_finite", "check_outputs", "check_repeats"]

TOLERANCE = 1e-3
"""Relative L2 distance within which two runs of one artefact on one machine must agree.

The same code on the same data differs only where threads reorder a sum; a wrong result, a stale one or another
precision is farther away.
"""

_MARKED = "forward marks with it what does not count: let it give 0 there and mask in evaluate"
"""What infinity among outputs may be, beside a fault, and the cure."""


def alike(one: Outputs, other: Outputs) -> bool:
    """Whether these are the same arrays, but for how their numbers were rounded."""
    return one.keys() == other.keys() and all(_alike(array, other[name]) for name, array in one.items())


def _alike(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return one.tobytes() == other.tobytes() or (one.dtype.kind in "fc" and relative_error(one, other) <= TOLERANCE)


def check_outputs(outputs: Outputs, expected: Outputs, what: str) -> None:
    """Raise `MeasurementError` (outcome `invalid`) unless outputs agree in names, shapes, types and values."""
    if list(outputs) != list(expected):
        raise MeasurementError(f"{what}: outputs {list(outputs)} instead of {list(expected)}", outcome="invalid")
    for name, wanted in expected.items():
        found = outputs[name]
        if found.shape != wanted.shape or found.dtype != wanted.dtype:
            form, right = (f"{array.dtype}{list(array.shape)}" for array in (found, wanted))
            raise MeasurementError(f"{what}: output {name} is {form} instead of {right}", outcome="invalid")
        error = relative_error(found, wanted)
        if not error <= TOLERANCE:
            raise MeasurementError(
                f"{what}: output {name} differs from the expected values by {error:.2g} (relative, limit {TOLERANCE}): "
                "what is timed does not compute what was prepared",
                outcome="invalid",
            )


def check_finite(not_finite: Mapping[str, int], elements: Mapping[str, int], what: str) -> None:
    """Raise `MeasurementError` (outcome `invalid`) where an output holds no number: nothing could be told of it.

    `not_finite` is how many of an output's `elements` are NaN or infinite.
    """
    for name, count in not_finite.items():
        if count:
            raise MeasurementError(
                f"{what}: output {name} holds NaN or infinity in {count / elements[name]:.2g} of its elements on the "
                "evaluation's data; the network is broken by its technique, its numbers leave the range of their "
                f"type, or {_MARKED}",
                outcome="invalid",
            )


def check_expected(batches: list[dict[str, np.ndarray[Any, Any]]], batchable: bool, batch_size: int) -> None:
    """Raise `PreparationError` for outputs that no later check could tell from nonsense.

    They must be finite numbers, differ between different inputs (a constant or cached answer would pass every
    comparison), and hold as many items as the batch.
    """
    import numpy as np

    for batch in batches:
        for name, array in batch.items():
            if array.dtype.kind in "OUST":
                raise PreparationError(
                    f"output {name} holds text or objects, which are compared with nothing; give numeric outputs alone "
                    "(of skl2onnx: zipmap=False, and without the output of labels)"
                )
            if not np.isfinite(array).all():
                raise PreparationError(
                    f"output {name} holds NaN or infinity; the network is broken by its technique, or {_MARKED}"
                )
            if batchable and (array.ndim == 0 or array.shape[0] != batch_size):
                raise PreparationError(
                    f"output {name} has shape {list(array.shape)} for a batch of {batch_size}; if its first axis is no "
                    "batch, give the Model batchable=False"
                )
    first = batches[0]
    if len(batches) > 1 and all(
        np.array_equal(array, other[name]) for other in batches[1:] for name, array in first.items()
    ):
        examples = "real examples"
        # Decisions may well be the same for these: a few hold none of a rare class.
        if all(array.dtype.kind in "iub" for array in first.values()):
            examples = "examples that it answers differently, or the network the score beside its decision"
        raise PreparationError(
            "the outputs are the same for different inputs; the network ignores its inputs, or finds nothing in them: "
            f"let Model.inputs give {examples}"
        )


def check_repeats(again: Outputs, first: Outputs) -> None:
    """Raise `PreparationError` where a later call with the same staged inputs gave other outputs than the first one."""
    for name, wanted in first.items():
        same = name in again and again[name].shape == wanted.shape
        error = relative_error(again[name], wanted) if same else float("inf")
        if not error <= TOLERANCE:
            raise PreparationError(
                f"output {name} differs by {error:.2g} (relative, limit {TOLERANCE}) when the network is called again "
                "with the same inputs; forward changes its inputs in place (write x = x - mean, not x -= mean), keeps "
                "something from one call to the next, or draws random numbers"
            )
