"""8-bit integers, by the maintained quantizer of each form of network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.deployment import Deployment
from harness.errors import SuiteError
from harness.runtimes.onnxruntime import OnnxRuntime
from harness.runtimes.packages import missing
from harness.techniques import quantize_onnx
from harness.techniques.base import technique

if TYPE_CHECKING:
    from harness.hardware.base import Hardware

__all__ = ["int8_dynamic", "int8_static"]


def _needs_quantizer(hardware: Hardware, form: str) -> str | None:  # noqa: ARG001 - one form so far
    return missing("onnx", "onnx", "onnxruntime") or OnnxRuntime().unavailable(hardware)


@technique(takes="onnx", requires=_needs_quantizer)
def int8_dynamic(deployment: Deployment, *, ops: str | Sequence[str] = "MatMul") -> Deployment:
    """Weights in int8, activations quantized to uint8 at each call by their own range; no calibration data.

    For networks of matrix products (transformers, recurrent ones). `ops` names the operators whose weights are
    quantized, of `MatMul` (which stands for `Gemm` as well), `Conv`, `LSTM`, `Attention`, `Gather`. Convolutions are
    left out unless they are named: ONNX Runtime runs them as ConvInteger, several times slower than in float32.
    Source: ONNX Runtime, "Quantize ONNX models"; Jacob et al., arXiv 1712.05877.
    """
    return quantize_onnx.quantize_dynamic(deployment, _names(ops))


@technique(takes="onnx", needs=["calibration"], requires=_needs_quantizer)
def int8_static(
    deployment: Deployment, method: str = "minmax", *, ops: str | Sequence[str] = (), per_channel: bool = True
) -> Deployment:
    """Weights in int8, activations in uint8 with ranges measured once, on the model's calibration data.

    `method` is how a range follows from the values seen: `minmax`, `entropy` or `percentile`. `ops` names the operators
    to quantize (`Conv`); all that ONNX Runtime can by default. Unsigned activations with signed weights are what its
    kernels for x86 are fast at.
    Source: ONNX Runtime, "Quantize ONNX models"; Jacob et al., arXiv 1712.05877.
    """
    if method not in quantize_onnx.METHODS:
        raise SuiteError(f"int8_static has no method {method!r}; use {', '.join(quantize_onnx.METHODS)}")
    if deployment.model.calibration is None:
        raise SuiteError(f"int8_static needs calibration data, and the model {deployment.model.name} has none")
    batches = deployment.model.calibration()
    return quantize_onnx.quantize_static(deployment, batches, method, _names(ops), per_channel=per_channel)


def _names(ops: str | Sequence[str]) -> list[str]:
    return [ops] if isinstance(ops, str) else list(ops)
