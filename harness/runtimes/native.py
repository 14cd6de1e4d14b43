"""A model as it comes: its network and its runtime."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from harness.errors import SuiteError
from harness.model import Model
from harness.runtimes.base import Runtime
from harness.runtimes.eager import Eager
from harness.runtimes.litert import LiteRt
from harness.runtimes.onnxruntime import OnnxRuntime

__all__ = ["load_network", "native_runtime"]

_WANTED = {
    "torch": "a torch.nn.Module",
    "onnx": "the path of an .onnx file",
    "litert": "the path of a .tflite file",
}


def native_runtime(form: str) -> Runtime:
    """Torch eager for a torch network, ONNX Runtime or LiteRT for a model that exists only as theirs."""
    natives: dict[str, Runtime] = {"torch": Eager(), "onnx": OnnxRuntime(), "litert": LiteRt()}
    return natives[form]


def load_network(model: Model) -> Any:
    """The network that techniques start from: a module in evaluation mode, an `onnx.ModelProto`, or a file's bytes.

    Raises `SuiteError` where the model's `load` gives something else than its form wants, for a torch network that is
    not on the CPU, and for an ONNX file with weights in other files than plain ones in its own folder, or than are
    there in full.
    """
    loaded = model.load()
    if model.form == "torch":
        fits = all(callable(getattr(loaded, name, None)) for name in ("eval", "parameters", "buffers"))
    else:
        fits = isinstance(loaded, (str, os.PathLike))
    if not fits:
        given, wanted = type(loaded).__name__, _WANTED[model.form]
        raise SuiteError(f"Model.load of {model.name} gave a {given}; form {model.form!r} wants {wanted}")
    if model.form == "torch":
        tensors = (*loaded.parameters(), *loaded.buffers())
        if elsewhere := sorted({str(tensor.device) for tensor in tensors} - {"cpu"}):
            raise SuiteError(
                f"Model.load of {model.name} gave a network on {', '.join(elsewhere)}, and techniques work on the CPU: "
                "let load give it there (map_location='cpu'); what is made of it comes to the hardware of its case"
            )
        loaded.eval()  # what it gives is what `train` gives, and one of the network's own may give nothing
        return loaded
    if model.form == "litert":
        return Path(loaded).read_bytes()
    import onnx

    try:
        return onnx.load(str(loaded))
    except (onnx.checker.ValidationError, ValueError) as error:
        raise SuiteError(
            f"Model.load of {model.name} gave {loaded}, and onnx refuses what it says of weights in other files: "
            f"{str(error).strip()}; keep them beside it as plain files, and copy there what a link leads to"
        ) from error
