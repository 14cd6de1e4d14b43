"""The anchor: a frozen workload that times are set against, so that a slow hour of the machine is not a slow model.

It depends on no code of the project, on numpy alone, and not on its linear algebra, which other libraries replace. It
never changes under one `ANCHOR` number: a change would shift every ratio. What it does, about a third of a millisecond
a call, is vector arithmetic that stays in the inner caches: of thirteen workloads it took out most of the drift of five
kinds of case, together with matrix products, which need a BLAS (docs/benchmarks.md has the figures). What leaves the
inner caches, and interpreted Python, vary from process to process by more than a model does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.records import Scalar
from harness.runtimes.base import Session

__all__ = ["ANCHOR", "AnchorSession"]

ANCHOR = 2

NUMBERS = 4096
TIMES = 160


class AnchorSession(Session):
    """The anchor as a session, so that an arm serves it like any other."""

    def __init__(self) -> None:
        import numpy as np

        self._exp = np.exp
        self._powers = np.empty(NUMBERS, np.float32)

    def stage(self, inputs: Mapping[str, Any]) -> Any:
        return inputs["angles"].copy()

    def __call__(self, angles: Any) -> Any:
        exp, powers = self._exp, self._powers
        for _ in range(TIMES):
            exp(angles, out=powers)
        return powers[:8].copy()

    def fetch(self, outputs: Any) -> dict[str, Any]:
        return {"output": outputs}

    def facts(self, example: Mapping[str, Any]) -> dict[str, Scalar]:
        return {"runtime": "anchor", "batch": len(example)}

    @staticmethod
    def batches() -> list[dict[str, Any]]:
        """Two input batches, the same on every machine."""
        import numpy as np

        random = np.random.default_rng(19990101)
        return [{"angles": random.standard_normal(NUMBERS, dtype=np.float32)} for _ in range(2)]
