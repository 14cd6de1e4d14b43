"""The anchor: a frozen workload that times are set against, so that a slow hour of the machine is not a slow model.

It depends on no code of the project, and on numpy alone. It never changes under one `ANCHOR` number: a change would
shift every ratio. What it does, well under a millisecond a call, mixes what inference does: a matrix product, a copy
that leaves the inner caches, transcendental functions, and interpreted Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.records import Scalar
from harness.runtimes.base import Session

__all__ = ["ANCHOR", "AnchorSession"]

ANCHOR = 1


class AnchorSession(Session):
    """The anchor as a session, so that an arm serves it like any other."""

    def __init__(self) -> None:
        import numpy as np

        random = np.random.default_rng(20240229)
        self._left = random.standard_normal((256, 256), dtype=np.float32)
        self._product = np.empty_like(self._left)
        self._source = random.standard_normal(2**20, dtype=np.float32)
        self._copy = np.empty_like(self._source)
        self._angles = random.standard_normal(2**18, dtype=np.float32)
        self._matmul, self._copyto, self._exp = np.matmul, np.copyto, np.exp

    def stage(self, inputs: Mapping[str, Any]) -> Any:
        return inputs["right"]

    def __call__(self, right: Any) -> Any:
        self._matmul(self._left, right, out=self._product)
        self._copyto(self._copy, self._source)
        powers = self._exp(self._angles)
        total = 0
        for number in range(8000):
            total += number & 7
        return self._product[0, :8] + powers[:8] + self._copy[:8] + total

    def fetch(self, outputs: Any) -> dict[str, Any]:
        return {"output": outputs}

    def facts(self, example: Mapping[str, Any]) -> dict[str, Scalar]:
        return {"runtime": "anchor", "batch": len(example)}

    @staticmethod
    def batches() -> list[dict[str, Any]]:
        """Two input batches, the same on every machine."""
        import numpy as np

        random = np.random.default_rng(19990101)
        return [{"right": random.standard_normal((256, 256), dtype=np.float32)} for _ in range(2)]
