"""The model's own evaluation of a torch network, for techniques that report accuracies while they work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.deployment import Deployment

__all__ = ["accuracy_of"]

BATCH = 64
"""Examples in one call, where they are independent."""


def accuracy_of(deployment: Deployment, network: Any) -> float:
    """The value of the model's evaluation for a torch network in evaluation mode, on the CPU."""
    import numpy as np
    import torch

    from harness.runtimes.torch_session import named_outputs

    def call(arrays: Mapping[str, Any]) -> dict[str, Any]:
        with torch.no_grad():
            outputs = named_outputs(network(*(torch.from_numpy(array.copy()) for array in arrays.values())))
        return {
            name: value.float().numpy() if value.is_floating_point() else value.numpy()
            for name, value in outputs.items()
        }

    def predict(arrays: Mapping[str, Any]) -> dict[str, Any]:
        if not deployment.model.batchable:
            return call(arrays)
        count = len(next(iter(arrays.values())))
        parts = [
            call({name: array[start : start + BATCH] for name, array in arrays.items()})
            for start in range(0, count, BATCH)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return float(deployment.model.evaluate(predict).value)
