"""From a torch module to a LiteRT network that computes the same. torch and litert_torch are imported in functions."""

from __future__ import annotations

import contextlib
import copy
import io
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import PreparationError
from harness.hardware.cpu import cpu
from harness.runtimes.base import decisive
from harness.runtimes.litert import LiteRt
from harness.techniques.export import check_output, tolerance_of

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["convert"]


def convert(network: Any, examples: Sequence[Arrays]) -> bytes:
    """The bytes of a .tflite file of a module, for the shapes of the examples, checked against it on each of them.

    examples  batches of inputs, name -> array, all of the same shapes. They give the inputs their names.

    Raises `PreparationError` where the conversion fails or computes something else.
    """
    import litert_torch
    import torch

    from harness.runtimes.litert_graph import renamed
    from harness.runtimes.torch_session import arrays_of, as_tensors, kept_outputs
    from harness.techniques.torch_modules import OutputTuple

    staged = [as_tensors(example) for example in examples]
    with torch.inference_mode():
        wanted = [kept_outputs(network(*inputs)) for inputs in staged]
    wrapped = OutputTuple(copy.deepcopy(network)).eval()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            # Kernels for integers of 64 bits are few, and none are XNNPACK's.
            content = bytes(litert_torch.convert(wrapped, staged[0], enable_x64=False).model_content())
        except Exception as error:
            raise PreparationError(f"litert_torch.convert failed: {type(error).__name__}: {error}") from error
    content = renamed(content, list(examples[0]), list(wanted[0]))
    outputs = [arrays_of(named) for named in wanted]
    _check(content, examples, outputs, tolerance_of(network))
    return content


def _check(content: bytes, examples: Sequence[Arrays], wanted: Sequence[Arrays], tolerance: float) -> None:
    runtime = LiteRt()
    with tempfile.TemporaryDirectory() as folder:
        runtime.pack(content, examples[0], Path(folder), cpu)
        session = runtime.load(Path(folder), cpu)
        for example, outputs in zip(examples, wanted, strict=True):
            found = session.fetch(session(session.stage(example)))
            for name, expected in decisive(outputs).items():
                check_output(name, found[name], expected, tolerance)
