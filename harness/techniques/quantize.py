"""8-bit integers by ONNX Runtime: with activations measured at each call, or once on calibration data."""

from __future__ import annotations

import contextlib
import io
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.deployment import Deployment, Promise
from harness.errors import PreparationError, SuiteError
from harness.hardware.cpu import instruction_sets
from harness.runtimes.onnxruntime import OnnxRuntime
from harness.runtimes.packages import missing
from harness.techniques.base import technique

if TYPE_CHECKING:
    import numpy as np

    from harness.hardware.base import Hardware

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["int8_dynamic", "int8_static"]

METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
_WEIGHTED = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
"""Operators with weights that static quantization reaches."""


def _needs_onnxruntime(hardware: Hardware) -> str | None:
    return missing("onnx", "onnx", "onnxruntime") or OnnxRuntime().unavailable(hardware)


@technique(takes="onnx", requires=_needs_onnxruntime)
def int8_dynamic(deployment: Deployment, *, ops: str | Sequence[str] = "MatMul") -> Deployment:
    """Weights in int8, activations quantized to uint8 at each call by their own range; no calibration data.

    For networks of matrix products (transformers, recurrent ones). `ops` names the operators whose weights are
    quantized, of `MatMul` (which stands for `Gemm` as well), `Conv`, `LSTM`, `Attention`, `Gather`. Convolutions are
    left out unless they are named: ONNX Runtime runs them as ConvInteger, several times slower than in float32.
    Source: ONNX Runtime, "Quantize ONNX models"; Jacob et al., arXiv 1712.05877.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    source, target = _preprocessed(deployment), deployment.folder / "quantized.onnx"
    reduced = _reduced_range(deployment)
    # ONNX Runtime turns Gemm into MatMul first, and then looks for the names.
    names = ["MatMul" if name == "Gemm" else name for name in _names(ops)]
    promises = _promises(source, [*names, "Gemm"] if "MatMul" in names else names, reduced)
    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=names,
        per_channel=True,
        reduce_range=reduced,
        weight_type=QuantType.QInt8,
        extra_options={"EnableSubgraph": True},
    )
    return deployment.replace(network=_loaded(target)).promising(*promises)


@technique(takes="onnx", needs=["calibration"], requires=_needs_onnxruntime)
def int8_static(
    deployment: Deployment, method: str = "minmax", *, ops: str | Sequence[str] = (), per_channel: bool = True
) -> Deployment:
    """Weights in int8, activations in uint8 with ranges measured once, on the model's calibration data.

    `method` is how a range follows from the values seen: `minmax`, `entropy` or `percentile`. `ops` names the operators
    to quantize (`Conv`); all that ONNX Runtime can by default. Unsigned activations with signed weights are what its
    kernels for x86 are fast at.
    Source: ONNX Runtime, "Quantize ONNX models"; Jacob et al., arXiv 1712.05877.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    if method not in METHODS:
        raise SuiteError(f"int8_static has no method {method!r}; use {', '.join(METHODS)}")
    if deployment.model.calibration is None:
        raise SuiteError(f"int8_static needs calibration data, and the model {deployment.model.name} has none")
    source, target = _preprocessed(deployment), deployment.folder / "quantized.onnx"
    reduced = _reduced_range(deployment)
    promises = _promises(source, _names(ops) or _WEIGHTED, reduced)
    with contextlib.redirect_stdout(io.StringIO()):  # the calibrators report their bins there
        quantize_static(
            source,
            target,
            _Batches(deployment.model.calibration()),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_names(ops),
            per_channel=per_channel,
            reduce_range=reduced,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=getattr(CalibrationMethod, METHODS[method]),
        )
    return deployment.replace(network=_loaded(target)).promising(*promises)


class _Batches:
    """Calibration data as ONNX Runtime reads it: one batch a call, then None."""

    def __init__(self, batches: Iterable[Arrays]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> Arrays | None:
        return next(self._batches, None)


def _preprocessed(deployment: Deployment) -> Path:
    """The network with shapes inferred and constants folded, which decides how much of it can be quantized."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    # As a file: of a network in memory, the weights would be moved out of it.
    folder = deployment.folder.resolve()
    source, target = folder / "float.onnx", folder / "preprocessed.onnx"
    onnx.save(deployment.network, str(source))
    with contextlib.chdir(folder):  # where it fails, it leaves what it has in the current folder
        try:
            quant_pre_process(source, target)
        except Exception:
            # Symbolic inference gives up on some exporters' shape arithmetic; ONNX's own inference is the next best.
            quant_pre_process(source, target, skip_symbolic_shape=True)
    network = _loaded(target)
    _flatten_biases(network)
    onnx.save(network, str(target))
    return target


def _flatten_biases(network: Any) -> None:
    """Give biases of shape (1, N), which fusing MatMul and Add leaves, the shape (N,).

    ONNX Runtime's quantizer fails on the former (microsoft/onnxruntime issue 24815).
    """
    from harness.runtimes.onnx_graph import constants

    for constant in constants(network.graph):
        dims = constant.tensor.dims
        biases = [number == 2 and node.op_type == "Gemm" for node, number in constant.readers]
        if len(dims) == 2 and dims[0] == 1 and biases and all(biases):
            del dims[0]


def _promises(source: Path, ops: Sequence[str], reduced: bool) -> tuple[Promise, ...]:
    """Promises that nine tenths of the weights in reach are quantized, and that something computes on integers.

    Raises `PreparationError` where no operator of these types has weights.
    """
    from harness.runtimes.onnx_graph import network_weights, weights_by_operator

    network = _loaded(source)
    reach = weights_by_operator(network)
    share = sum(reach.get(operator, 0) for operator in ops) / max(sum(w.elements for w in network_weights(network)), 1)
    if not share:
        raise PreparationError(
            f"there is nothing to quantize: no {' or '.join(ops)} of this network has weights; those that have are "
            f"{', '.join(sorted(reach)) or 'none'} (choose with ops=…)"
        )
    promises = (
        Promise("quantized", at_least=max(math.floor(900 * share) / 1000, 0.001)),
        Promise("nodes.quantized", at_least=1),
    )
    return (*promises, Promise("quantized.bits", at_most=7)) if reduced else promises


def _reduced_range(deployment: Deployment) -> bool:
    """Whether weights must keep to 7 bits: x86 without VNNI adds products of 8 bits in 16 and saturates."""
    on_x86 = deployment.hardware.describe()["kind"] == "cpu" and platform.machine().lower() in ("x86_64", "amd64")
    return on_x86 and not {"avx_vnni", "avx512_vnni"}.intersection(instruction_sets())


def _names(ops: str | Sequence[str]) -> list[str]:
    return [ops] if isinstance(ops, str) else list(ops)


def _loaded(path: Path) -> Any:
    import onnx

    return onnx.load(str(path))
