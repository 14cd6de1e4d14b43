"""The runtime in which a model comes."""

from __future__ import annotations

from harness.runtimes.base import Runtime
from harness.runtimes.eager import Eager
from harness.runtimes.onnxruntime import OnnxRuntime

__all__ = ["native_runtime"]


def native_runtime(form: str) -> Runtime:
    """Torch eager for a torch network, ONNX Runtime for a model that exists only as ONNX."""
    return Eager() if form == "torch" else OnnxRuntime()
