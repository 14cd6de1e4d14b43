"""8-bit integers, by the maintained quantizer of each form of network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.deployment import Deployment
from harness.errors import SuiteError, UnavailableError
from harness.runtimes.onnxruntime import OnnxRuntime
from harness.runtimes.onnxruntime_providers import PROVIDERS
from harness.runtimes.packages import missing
from harness.techniques import quantize_litert, quantize_onnx, quantize_openvino, quantize_torch
from harness.techniques.base import technique
from harness.techniques.calibration import calibration_batches

if TYPE_CHECKING:
    from harness.hardware.base import Hardware

__all__ = ["int4_dynamic", "int8_dynamic", "int8_static", "needs_quantizer", "onnx_quantizer"]


BLOCKS = (32, 64, 128, 256)
"""Inputs of a linear layer that may share a scale in LiteRT."""
_ON_CPUS = (
    "ONNX Runtime multiplies integers of 8 bits on CPUs alone",
    "on a GPU use tensorrt | int8_static, or keep the case to cpu",
)
"""Why its networks are not quantized on a GPU, and the cure."""


def needs_quantizer(hardware: Hardware, form: str) -> str | None:
    """Why a network of this form can't be quantized here, and the cure; None where it can."""
    if form == "torch":
        return quantize_torch.unavailable(hardware)
    if form == "litert":
        return quantize_litert.unavailable(hardware)
    if form == "openvino":
        return quantize_openvino.unavailable(hardware)
    return missing("onnx", "onnx", "onnxruntime", "sympy")


def _needs_dynamic_quantizer(hardware: Hardware, form: str) -> str | None:
    # TensorRT does not read such a network either.
    if form == "onnx" and hardware.describe()["kind"] == "cuda":
        return str(UnavailableError(*_ON_CPUS))
    return needs_quantizer(hardware, form)


def _needs_static_quantizer(hardware: Hardware, form: str) -> str | None:
    return quantize_torch.static_unavailable(hardware) if form == "torch" else needs_quantizer(hardware, form)


@technique(takes=("torch", "onnx", "litert"), requires=_needs_dynamic_quantizer)
def int8_dynamic(
    deployment: Deployment, *, ops: str | Sequence[str] = "MatMul", keep: str | Sequence[str] = ()
) -> Deployment:
    """Weights in int8, activations quantized to 8 bits at each call by their own range; no calibration data.

    For networks of matrix products (transformers, recurrent ones). `keep` names what stays in float: on an ONNX network
    nodes, globs of them or types of operators, on a torch network modules or globs of them, on a LiteRT network what
    operators write, globs of it or types of operators.

    On an ONNX network `ops` names the operators whose weights are quantized, of `MatMul` (which stands for `Gemm` as
    well), `Conv`, `LSTM`, `Attention`, `Gather`. Convolutions are left out unless they are named: ONNX Runtime runs
    them as ConvInteger, several times slower than in float32. On a torch network it is the linear layers, by torchao,
    with a range for each token. On a LiteRT network it is all that has weights, convolutions too, for which LiteRT has
    kernels of this kind.
    Source: ONNX Runtime, "Quantize ONNX models"; torchao; LiteRT, "Post-training quantization"; Jacob et al., arXiv
    1712.05877.
    """
    if deployment.form != "onnx":
        if _names(ops) != ["MatMul"]:
            raise SuiteError(
                f"int8_dynamic(ops=…) is of ONNX networks: on a {deployment.form} network it has keep, and no ops"
            )
        by_form = {"torch": quantize_torch.quantize_dynamic, "litert": quantize_litert.quantize_dynamic}
        return by_form[deployment.form](deployment, _names(keep))
    return quantize_onnx.quantize(deployment, onnx_quantizer(deployment, "int8_dynamic", ops=ops), _names(keep))


@technique(takes=("torch", "onnx", "openvino", "litert"), needs=["calibration"], requires=_needs_static_quantizer)
def int8_static(
    deployment: Deployment,
    method: str = "minmax",
    *,
    ops: str | Sequence[str] = (),
    per_channel: bool = True,
    keep: str | Sequence[str] = (),
    max_drop: float | None = None,
    transformer: bool | None = None,
) -> Deployment:
    """Weights in int8, activations in uint8 with ranges measured once, on the model's calibration data.

    `keep` names what stays in float, as for `int8_dynamic`. On an ONNX network `method` is how a range follows from the
    values seen (`minmax`, `entropy`, `percentile`), `ops` names the operators to quantize (all that ONNX Runtime can by
    default), and `max_drop` leaves the most costly layers in float until the accuracy on the model's own evaluation
    falls by no more than that. Unsigned activations with signed weights are what kernels for x86 are fast at.

    On a torch network `method` is `minmax` or `histogram`, and `compiled` must follow: torch marks where to quantize,
    and only the compiler makes integer kernels of it. On a LiteRT network everything is int8, activations too, but the
    inputs and outputs; what the quantizer leaves in float stands between conversions.

    On an OpenVINO network `method` is `minmax`, `mean`, `percentile` or `histogram`, and `transformer` says whether
    NNCF's scheme for transformers is used; by default it is where the network has attention.
    Source: ONNX Runtime, "Quantize ONNX models"; torchao, "PT2E quantization with X86 backend through inductor"; NNCF,
    "Post-Training Quantization"; Jacob et al., arXiv 1712.05877.
    """
    if transformer is not None and deployment.form != "openvino":
        raise SuiteError("int8_static(transformer=…) is of OpenVINO networks: put openvino before it")
    if deployment.form == "openvino":
        if _names(ops) or max_drop is not None:
            raise SuiteError(
                "int8_static has ops and max_drop on ONNX networks: on an OpenVINO network it has a method "
                f"({', '.join(quantize_openvino.METHODS)}), per_channel, keep and transformer"
            )
        return quantize_openvino.quantize_static(
            deployment, method, _names(keep), per_channel=per_channel, transformer=transformer
        )
    if deployment.form == "torch":
        if _names(ops) or not per_channel or max_drop is not None:
            raise SuiteError(
                "int8_static has ops, per_channel and max_drop on ONNX networks: on a torch network it has a method "
                f"({', '.join(quantize_torch.METHODS)}) and keep"
            )
        return quantize_torch.quantize_static(deployment, method, _names(keep))
    if deployment.form == "litert":
        if method != "minmax" or _names(ops) or not per_channel or max_drop is not None:
            raise SuiteError(
                "int8_static has a method, ops, per_channel and max_drop on ONNX networks: on a LiteRT network it has "
                "keep alone"
            )
        return quantize_litert.quantize_static(deployment, _names(keep))
    quantizer = onnx_quantizer(deployment, "int8_static", method=method, ops=ops, per_channel=per_channel)
    if max_drop is None:
        return quantize_onnx.quantize(deployment, quantizer, _names(keep))
    from harness.techniques.mixed import quantize_within

    return quantize_within(deployment, quantizer, _names(keep), max_drop, "int8_static")


@technique(takes="litert", requires=needs_quantizer)
def int4_dynamic(deployment: Deployment, *, block: int = 0, keep: str | Sequence[str] = ()) -> Deployment:
    """Weights in int4, activations quantized to 8 bits at each call by their own range; no calibration data.

    With a scale for each channel of a linear layer or convolution, or for each `block` of inputs of a linear layer, and
    then for these alone. An eighth of the memory. Look at the accuracy: 15 steps are few for a whole channel. Raises
    `SuiteError` for a block that kernels do not have.
    Source: LiteRT, "Post-training quantization"; Dettmers & Zettlemoyer, arXiv 2212.09720.
    """
    if block not in (0, *BLOCKS):
        raise SuiteError(f"int4_dynamic(block={block}): use 0, {', '.join(map(str, BLOCKS))}")
    return quantize_litert.quantize_dynamic(deployment, _names(keep), bits=4, block=block)


def onnx_quantizer(
    deployment: Deployment,
    technique: str,
    *,
    method: str = "minmax",
    ops: str | Sequence[str] | None = None,
    per_channel: bool = True,
) -> quantize_onnx.Quantizer:
    """The network of a deployment, made ready to be quantized as `int8_dynamic` or `int8_static` does it.

    Raises `SuiteError` for a method that there is not and for a model without the calibration data that it needs,
    `PreparationError` where that data is empty, and `UnavailableError` for ONNX Runtime on a GPU.
    """
    runtime = deployment.runtime
    if isinstance(runtime, OnnxRuntime) and runtime.provider_on(deployment.hardware) == PROVIDERS["cuda"].full:
        raise UnavailableError(*_ON_CPUS)
    if technique == "int8_dynamic":
        return quantize_onnx.dynamic_quantizer(deployment, _names("MatMul" if ops is None else ops))
    if method not in quantize_onnx.METHODS:
        raise SuiteError(f"int8_static has no method {method!r}; use {', '.join(quantize_onnx.METHODS)}")
    batches = list(calibration_batches(deployment.model))
    return quantize_onnx.static_quantizer(deployment, batches, method, _names(ops or ()), per_channel=per_channel)


def _names(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
