"""`predict` of `Model.evaluate`: a loaded network asked about any number of examples."""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import SuiteError
from harness.fidelity import PART
from harness.model import in_order

if TYPE_CHECKING:
    import numpy as np

    from harness.runtimes.base import Session

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["Predictor", "seed_generators"]


class Predictor:
    """Calls a session in the batches that are served, the last one filled up with copies of its last example.

    batch_size   items in one call; None for a model whose calls are no independent items, which is called with exactly
                 the arrays that `evaluate` passes
    keep         elements of each output that `outputs` gives; None for all
    names        those of `Model.inputs`, by which a torch network's inputs are put in order (`in_order`)

    Where inputs are cut into batches, a call raises `SuiteError` for first axes of different lengths, for no examples,
    and for an output that has not one shape in all batches.
    """

    def __init__(
        self, session: Session, batch_size: int | None, keep: int | None = None, names: Sequence[str] = ()
    ) -> None:
        self._session = session
        self._batch_size = batch_size
        self._keep = keep
        self._names = names
        self._kept: dict[str, list[Any]] = {}
        self._elements: dict[str, int] = {}
        self._lengths: dict[str, Any] = {}
        self._given = 0
        self._asked = hashlib.blake2b(digest_size=8)
        self._not_finite: dict[str, int] = {}

    def __call__(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        inputs = in_order(inputs, self._names)
        self._given = max(self._given, len(inputs))
        if self._keep is None or min(self._elements.values(), default=0) < self._keep:
            self._note(inputs)
        result = self._call(inputs) if self._batch_size is None else self._in_batches(inputs, self._batch_size)
        for name, array in result.items():
            seen = self._elements.get(name, 0)
            flat = array.reshape(-1)
            # A copy, since `evaluate` may work in what it was given.
            part = flat if self._keep is None else flat[: max(self._keep - seen, 0)]
            self._kept.setdefault(name, []).append(part.copy())
            self._elements[name] = seen + array.size
            if self._batch_size is None:
                self._lengths.setdefault(name, hashlib.sha256()).update(f"{array.size} ".encode())
            self._not_finite[name] = self._not_finite.get(name, 0) + _count_not_finite(flat)
        return result

    @property
    def elements(self) -> dict[str, int]:
        """How many elements each output had over all calls."""
        return dict(self._elements)

    @property
    def lengths(self) -> dict[str, str]:
        """A digest of how many elements each output had in each call.

        Empty where inputs are cut into batches, whose size may be another elsewhere: there each example has a row.
        """
        return {name: digest.hexdigest()[:16] for name, digest in self._lengths.items()}

    @property
    def never_given(self) -> list[str]:
        """Those of `names` for which no call had an array, under this name or in its place; none where there was no
        call.
        """
        return list(self._names[self._given :]) if self._given else []

    @property
    def asked(self) -> str:
        """A digest of the whole numbers among the inputs, over the calls of which `outputs` has something.

        Ids that follow from what was answered, as of a text that the network writes, may be others elsewhere. Floating
        point inputs are left out: where they follow from outputs, they are rounded otherwise elsewhere.
        """
        return self._asked.hexdigest()

    @property
    def not_finite(self) -> dict[str, int]:
        """How many elements of each output were NaN or infinite over all calls, also among those that are not kept."""
        return dict(self._not_finite)

    def outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """The outputs of all calls, each as one flat array."""
        import numpy as np

        return {name: np.concatenate(parts) for name, parts in self._kept.items()}

    def _note(self, inputs: Arrays) -> None:
        import numpy as np

        for name, values in inputs.items():
            array = np.ascontiguousarray(values)
            if array.dtype.kind in "iub":
                self._asked.update(f"{name} {array.shape} ".encode())
                self._asked.update(array.reshape(-1).data)

    def _call(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        found = self._session.fetch(self._session(self._session.stage(inputs)))
        # Memory of the network itself, as of a buffer that it answers in, changes with the next call.
        return {name: array if array.flags.owndata else array.copy() for name, array in found.items()}

    def _in_batches(self, inputs: Arrays, size: int) -> dict[str, np.ndarray[Any, Any]]:
        import numpy as np

        shapes = {name: list(np.shape(array)) for name, array in inputs.items()}
        if len({tuple(shape[:1]) for shape in shapes.values()}) > 1:
            told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise SuiteError(
                f"predict got {told}, whose first axes have different lengths, and cuts each along it into batches: "
                "give each of them a row for each example, or give the Model batchable=False"
            )
        examples = len(next(iter(inputs.values())))
        if not examples:
            raise SuiteError("predict got no examples: leave the call out where there are none")
        parts: list[dict[str, Any]] = []
        for start in range(0, examples, size):
            batch = {name: array[start : start + size] for name, array in inputs.items()}
            missing = size - len(next(iter(batch.values())))
            if missing:
                batch = {name: np.concatenate([a, np.repeat(a[-1:], missing, axis=0)]) for name, a in batch.items()}
            parts.append(self._call(batch))
            for name, array in parts[-1].items():
                if array.shape != parts[0][name].shape:
                    both = f"{list(parts[0][name].shape)} from one batch and {list(array.shape)} from another"
                    raise SuiteError(
                        f"predict got output {name} in the shape {both}, which can't be put together: pad it to one "
                        "length in the network, or give the Model batchable=False"
                    )
        return {name: np.concatenate([part[name] for part in parts])[:examples] for name in parts[0]}


def seed_generators() -> None:
    """Set the generators of the process, so that what draws from them, an evaluation for one, draws the same in each.

    Torch's gets what it starts with, since it may be imported later.
    """
    import numpy as np

    random.seed(0)
    np.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(torch.Generator().initial_seed())


def _count_not_finite(flat: np.ndarray[Any, Any]) -> int:
    import numpy as np

    parts = (flat[start : start + PART] for start in range(0, flat.size, PART))
    return sum(part.size - int(np.count_nonzero(np.isfinite(part))) for part in parts)
