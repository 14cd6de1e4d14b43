"""`predict` of `Model.evaluate`: a loaded network asked about any number of examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from harness.runtimes.base import Session

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["Predictor"]


class Predictor:
    """Calls a session in the batches that are served, the last one filled up with copies of its last example.

    batch_size   items in one call; None for a model whose calls are no independent items, which is called with exactly
                 the arrays that `evaluate` passes
    """

    def __init__(self, session: Session, batch_size: int | None) -> None:
        self._session = session
        self._batch_size = batch_size
        self._kept: list[Any] = []

    def __call__(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        result = self._call(inputs) if self._batch_size is None else self._in_batches(inputs, self._batch_size)
        self._kept.append(next(iter(result.values())))
        return result

    def outputs(self) -> np.ndarray[Any, Any]:
        """The first outputs of all calls as one flat array."""
        import numpy as np

        return np.concatenate([np.ravel(kept) for kept in self._kept])

    def _call(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        return self._session.fetch(self._session(self._session.stage(inputs)))

    def _in_batches(self, inputs: Arrays, size: int) -> dict[str, np.ndarray[Any, Any]]:
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
