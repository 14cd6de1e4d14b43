"""A model as it comes: its network and its runtime."""

from __future__ import annotations

from typing import Any

from harness.model import Model
from harness.runtimes.base import Runtime
from harness.runtimes.eager import Eager
from harness.runtimes.onnxruntime import OnnxRuntime

__all__ = ["load_network", "native_runtime"]


def native_runtime(form: str) -> Runtime:
    """Torch eager for a torch network, ONNX Runtime for a model that exists only as ONNX."""
    return Eager() if form == "torch" else OnnxRuntime()


def load_network(model: Model) -> Any:
    """The network that techniques start from: a module in evaluation mode, or an `onnx.ModelProto`."""
    loaded = model.load()
    if model.form == "torch":
        return loaded.eval()
    import onnx

    return onnx.load(str(loaded))
