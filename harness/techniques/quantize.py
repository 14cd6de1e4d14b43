"""8-bit integers, by the maintained quantizer of each form of network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.deployment import Deployment
from harness.errors import SuiteError
from harness.runtimes.packages import missing
from harness.techniques import quantize_onnx, quantize_torch
from harness.techniques.base import technique

if TYPE_CHECKING:
    from harness.hardware.base import Hardware

__all__ = ["int8_dynamic", "int8_static", "onnx_quantizer"]


def _needs_quantizer(hardware: Hardware, form: str) -> str | None:
    if form == "torch":
        return quantize_torch.unavailable(hardware)
    return missing("onnx", "onnx", "onnxruntime")


def _needs_static_quantizer(hardware: Hardware, form: str) -> str | None:
    return quantize_torch.static_unavailable(hardware) if form == "torch" else _needs_quantizer(hardware, form)


@technique(takes=("torch", "onnx"), requires=_needs_quantizer)
def int8_dynamic(
    deployment: Deployment, *, ops: str | Sequence[str] = "MatMul", keep: str | Sequence[str] = ()
) -> Deployment:
    """Weights in int8, activations quantized to 8 bits at each call by their own range; no calibration data.

    For networks of matrix products (transformers, recurrent ones). `keep` names what stays in float: on an ONNX network
    nodes, globs of them or types of operators, on a torch network modules or globs of them.

    On an ONNX network `ops` names the operators whose weights are quantized, of `MatMul` (which stands for `Gemm` as
    well), `Conv`, `LSTM`, `Attention`, `Gather`. Convolutions are left out unless they are named: ONNX Runtime runs
    them as ConvInteger, several times slower than in float32. On a torch network it is the linear layers, by torchao,
    with a range for each token.
    Source: ONNX Runtime, "Quantize ONNX models"; torchao; Jacob et al., arXiv 1712.05877.
    """
    if deployment.form == "torch":
        if _names(ops) != ["MatMul"]:
            raise SuiteError("int8_dynamic(ops=…) is of ONNX networks: on a torch network it has keep, and no ops")
        return quantize_torch.quantize_dynamic(deployment, _names(keep))
    return quantize_onnx.quantize(deployment, onnx_quantizer(deployment, "int8_dynamic", ops=ops), _names(keep))


@technique(takes=("torch", "onnx"), needs=["calibration"], requires=_needs_static_quantizer)
def int8_static(
    deployment: Deployment,
    method: str = "minmax",
    *,
    ops: str | Sequence[str] = (),
    per_channel: bool = True,
    keep: str | Sequence[str] = (),
    max_drop: float | None = None,
) -> Deployment:
    """Weights in int8, activations in uint8 with ranges measured once, on the model's calibration data.

    `keep` names what stays in float, as for `int8_dynamic`. On an ONNX network `method` is how a range follows from the
    values seen (`minmax`, `entropy`, `percentile`), `ops` names the operators to quantize (all that ONNX Runtime can by
    default), and `max_drop` leaves the most costly layers in float until the accuracy on the model's own evaluation
    falls by no more than that. Unsigned activations with signed weights are what kernels for x86 are fast at.

    On a torch network `method` is `minmax` or `histogram`, and `compiled` must follow: torch marks where to quantize,
    and only the compiler makes integer kernels of it.
    Source: ONNX Runtime, "Quantize ONNX models"; torchao, "PT2E quantization with X86 backend through inductor";
    Jacob et al., arXiv 1712.05877.
    """
    if deployment.form == "torch":
        if _names(ops) or not per_channel or max_drop is not None:
            raise SuiteError(
                "int8_static has ops, per_channel and max_drop on ONNX networks: on a torch network it has a method "
                f"({', '.join(quantize_torch.METHODS)}) and keep"
            )
        return quantize_torch.quantize_static(deployment, method, _names(keep))
    quantizer = onnx_quantizer(deployment, "int8_static", method=method, ops=ops, per_channel=per_channel)
    if max_drop is None:
        return quantize_onnx.quantize(deployment, quantizer, _names(keep))
    from harness.techniques.mixed import quantize_within

    return quantize_within(deployment, quantizer, _names(keep), max_drop, "int8_static")


def onnx_quantizer(
    deployment: Deployment,
    technique: str,
    *,
    method: str = "minmax",
    ops: str | Sequence[str] | None = None,
    per_channel: bool = True,
) -> quantize_onnx.Quantizer:
    """The network of a deployment, made ready to be quantized as `int8_dynamic` or `int8_static` does it.

    Raises `SuiteError` for a method that there is not and for a model without the calibration data that it needs.
    """
    if technique == "int8_dynamic":
        return quantize_onnx.dynamic_quantizer(deployment, _names("MatMul" if ops is None else ops))
    if method not in quantize_onnx.METHODS:
        raise SuiteError(f"int8_static has no method {method!r}; use {', '.join(quantize_onnx.METHODS)}")
    if deployment.model.calibration is None:
        raise SuiteError(f"int8_static needs calibration data, and the model {deployment.model.name} has none")
    batches = deployment.model.calibration()
    return quantize_onnx.static_quantizer(deployment, batches, method, _names(ops or ()), per_channel=per_channel)


def _names(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
