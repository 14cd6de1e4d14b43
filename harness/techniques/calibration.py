"""The data on which ranges are measured, and parts of a network ranked."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import PreparationError, SuiteError
from harness.model import Model, in_order

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["calibration_batches", "fitted", "read_of", "rebatched"]


def calibration_batches(model: Model) -> Iterator[Arrays]:
    """The batches of a model's calibration data, each made when it is asked for: there may be many.

    Those of a torch model come in the order of `Model.inputs`.

    Raises `SuiteError` where the model has none, and `PreparationError` where they are none: what watches ranges and
    sees nothing has a range all the same.
    """
    if model.calibration is None:
        raise SuiteError(f"int8_static needs calibration data, and the model {model.name} has none")
    batches = iter(model.calibration())
    first = next(batches, None)
    if first is None:
        raise PreparationError(f"Model.calibration of {model.name} gives no batches; give some, anew at each call")
    # Other networks get their inputs by name, and may be given some that they don't read.
    names = list(model.inputs(1, 0)) if model.form == "torch" else []
    return (in_order(batch, names) for batch in itertools.chain([first], batches))


def read_of(batches: Iterable[Arrays], names: Collection[str]) -> list[Arrays]:
    """Of each batch the arrays that a network reads whose inputs have these names: a session takes no others either."""
    return [{name: array for name, array in batch.items() if name in names} for batch in batches]


def rebatched(model: str, batches: Sequence[Arrays], size: int, cure: str) -> list[Arrays]:
    """The same examples, `size` of one shape at a time; what is left over of a shape is dropped.

    Raises `PreparationError`, with the name of the model and what to do other than give more, where there are fewer.
    """
    import numpy as np

    alike: dict[tuple[tuple[int, ...], ...], list[Arrays]] = {}
    for batch in batches:
        alike.setdefault(tuple(array.shape[1:] for array in batch.values()), []).append(batch)
    calls: list[Arrays] = []
    for group in alike.values():
        joined = {name: np.concatenate([batch[name] for batch in group]) for name in group[0]}
        count = min((len(array) for array in joined.values()), default=0)
        calls += [
            {name: array[start : start + size] for name, array in joined.items()}
            for start in range(0, count - size + 1, size)
        ]
    if not calls:
        raise PreparationError(
            f"the calibration data of {model} has fewer than the {size} examples of one call"
            f"{' in each shape that it has' if len(alike) > 1 else ''}; give more of it, or {cure}"
        )
    return calls


def fitted(model: Model, batches: list[Arrays], fixed: int | None) -> list[Arrays]:
    """The batches as a network takes them whose file has a batch of `fixed`, None where it is free.

    Raises `PreparationError` where there are fewer examples than one call has.
    """
    if not fixed or not model.batchable or all(len(array) == fixed for batch in batches for array in batch.values()):
        return batches
    return rebatched(model.name, batches, fixed, "export the network with a free batch")
