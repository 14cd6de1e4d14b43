"""The bins from which ONNX Runtime's quantizer takes a range by entropy. onnxruntime is imported in functions."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

__all__ = ["BINS", "fine_bins"]

BINS = 1024
"""Into how many bins values are counted, eight for each of the 128 that they are quantized to.

Ranges down to an eighth of what was seen can be chosen. TensorRT counts into 2048, but here the time for a tensor goes
with the square of it, in Python.
"""


@contextlib.contextmanager
def fine_bins() -> Iterator[None]:
    """Meanwhile `quantize_static` counts values into `BINS` bins for ranges by entropy, for which it has no option.

    Its own number is 128 as well, so that the whole range is all that there is to choose: that of `minmax`.
    """
    # By its name in full, since the package has a function of that name too.
    module: Any = importlib.import_module("onnxruntime.quantization.quantize")
    create = module.create_calibrator

    def finer(*arguments: Any, extra_options: Any = None, **options: Any) -> Any:
        return create(*arguments, extra_options={**(extra_options or {}), "num_bins": BINS}, **options)

    module.create_calibrator = finer
    try:
        yield
    finally:
        module.create_calibrator = create
