"""The cases in which `detection.py` plants slow-downs: a few of the bundled models, each with one technique."""

from __future__ import annotations

import copy

from harness import Promise, grid, technique
from harness.deployment import Deployment
from harness.hardware import cpu
from harness.techniques import onnxruntime
from suites.models import digits, magika, minilm, silero


@technique(takes="torch")
def channels_last(deployment: Deployment) -> Deployment:
    """The same network, with its weights in the order that convolutions like."""
    import torch

    network = copy.deepcopy(deployment.network).to(memory_format=torch.channels_last)
    return deployment.replace(network=network).promising(Promise("weights.float32", at_least=0.99))


@grid(model=[digits], technique=[onnxruntime, channels_last], hardware=[cpu])
def small() -> None:
    """Half a millisecond a call and less, in both runtimes."""


@grid(model=[silero, magika], technique=[onnxruntime(level="basic")], hardware=[cpu])
def streams() -> None:
    """Models that exist only as ONNX, each set against the same network under all graph optimisations."""


@grid(model=[minilm], technique=[onnxruntime], hardware=[cpu])
def transformer() -> None:
    """Several milliseconds a call."""
