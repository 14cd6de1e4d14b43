"""Batching: several items in one call."""

from __future__ import annotations

from harness.deployment import Deployment, Promise
from harness.errors import SuiteError
from harness.techniques.base import technique

__all__ = ["batched"]


@technique(needs=["batchable"])
def batched(deployment: Deployment, n: int) -> Deployment:
    """`n` items in one call: throughput against latency. Times are of the call, throughput and speed-up of an item.

    Weights are read once for all items, so it pays where reading them is what takes the time. Raises `SuiteError` for
    fewer than one item.
    """
    if n < 1:
        raise SuiteError(f"batched({n}): give at least one item")
    return deployment.replace(batch_size=n).promising(Promise("batch", equals=n))
