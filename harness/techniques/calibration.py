"""The data on which ranges are measured, and parts of a network ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import PreparationError, SuiteError
from harness.model import Model

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["calibration_of", "rebatched"]


def calibration_of(model: Model) -> list[Arrays]:
    """The batches of a model's calibration data.

    Raises `SuiteError` where the model has none, and `PreparationError` where they are none: what watches ranges and
    sees nothing has a range all the same.
    """
    if model.calibration is None:
        raise SuiteError(f"int8_static needs calibration data, and the model {model.name} has none")
    batches = list(model.calibration())
    if not batches:
        raise PreparationError(f"Model.calibration of {model.name} gives no batches; give some, anew at each call")
    return batches


def rebatched(model: str, batches: Sequence[Arrays], size: int) -> list[Arrays]:
    """The same examples, `size` at a time; what is left over at the end is dropped.

    Raises `PreparationError`, with the name of the model, where there are fewer.
    """
    import numpy as np

    joined = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]} if batches else {}
    count = min((len(array) for array in joined.values()), default=0)
    if count < size:
        raise PreparationError(
            f"the calibration data of {model} has fewer than the {size} examples of one call; serve smaller batches, "
            "or give more of it"
        )
    return [
        {name: array[start : start + size] for name, array in joined.items()}
        for start in range(0, count - size + 1, size)
    ]
