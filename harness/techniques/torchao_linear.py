"""What torchao makes of linear layers. Imports torchao: import this inside functions only.

Nothing here imports `torchao_modules`, nor what that imports of torchao: see there.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch

from harness.hardware.architecture import is_x86

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about escapes in docstrings, and its own use of what torch will drop
    from torchao.quantization import (
        Float8DynamicActivationFloat8WeightConfig,
        Int8DynamicActivationInt8WeightConfig,
        Int8WeightOnlyConfig,
        PerTensor,
        quantize_,
    )
    from torchao.utils import should_reduce_range

__all__ = ["dynamic_config", "float8_config", "quantize_", "weights_config"]


def dynamic_config(kind: str) -> Any:
    """What torchao shall do to a linear layer for INT8 with ranges measured at each call, on this kind of hardware.

    On an x86 CPU without VNNI products of 8 bits saturate, so values keep to 7 there. torchao asks for VNNI alone, and
    other architectures, which have none, don't saturate.
    """
    reduced = kind == "cpu" and is_x86() and should_reduce_range(torch.device("cpu"))
    return Int8DynamicActivationInt8WeightConfig(set_inductor_config=False, reduce_range=reduced)


def float8_config() -> Any:
    """What torchao shall do to a linear layer for FP8, one scale for each tensor."""
    return Float8DynamicActivationFloat8WeightConfig(granularity=PerTensor(), set_inductor_config=False)


def weights_config() -> Any:
    """What torchao shall do to a linear layer for int8 weights alone, one scale for each row."""
    return Int8WeightOnlyConfig(set_inductor_config=False)
