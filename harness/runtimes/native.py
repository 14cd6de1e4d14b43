"""A model as it comes: its network and its runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.model import Model
from harness.runtimes.base import Runtime
from harness.runtimes.eager import Eager
from harness.runtimes.litert import LiteRt
from harness.runtimes.onnxruntime import OnnxRuntime

__all__ = ["load_network", "native_runtime"]


def native_runtime(form: str) -> Runtime:
    """Torch eager for a torch network, ONNX Runtime or LiteRT for a model that exists only as theirs."""
    natives: dict[str, Runtime] = {"torch": Eager(), "onnx": OnnxRuntime(), "litert": LiteRt()}
    return natives[form]


def load_network(model: Model) -> Any:
    """The network that techniques start from: a module in evaluation mode, an `onnx.ModelProto`, or a file's bytes."""
    loaded = model.load()
    if model.form == "torch":
        return loaded.eval()
    if model.form == "litert":
        return Path(loaded).read_bytes()
    import onnx

    return onnx.load(str(loaded))
