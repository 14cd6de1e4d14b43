"""Which memory the cases of a model are compared by, and its name: a GPU's is not the host's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from harness.records import Estimate

__all__ = ["HOST", "Estimated", "memory_metric", "memory_words"]

HOST = "memory.peak"
"""The memory that is known of all cases; where nothing else is said, memory is this."""
_KINDS = ("gpu_memory.process", "gpu_memory.reserved", HOST)


class Estimated(Protocol):
    """What was measured: a case of a report, or a trial of a search."""

    def estimate(self, metric: str) -> Estimate | None:
        """The estimate of a metric, None where there is none that counts."""


def memory_metric(cases: Iterable[Estimated]) -> str:
    """The metric of memory for the cases of a model: one that all of them have, since a GPU's is not the host's.

    Not every runtime tells how much of the GPU it holds; the host's memory is known of all. A case of which no memory
    is known decides nothing.
    """
    known = [one for one in cases if any(one.estimate(metric) for metric in _KINDS)]
    return next((metric for metric in _KINDS if known and all(one.estimate(metric) for one in known)), HOST)


def memory_words(metric: str) -> str:
    """What a metric of memory is called beside others: `GPU memory`, or `memory` for the host's."""
    return "GPU memory" if metric.startswith("gpu_") else "memory"
