"""8-bit integers by ONNX Runtime's quantizer. onnx and onnxruntime are imported in functions."""

from __future__ import annotations

import contextlib
import io
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.deployment import Deployment, Promise
from harness.errors import PreparationError
from harness.hardware.cpu import instruction_sets

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["METHODS", "quantize_dynamic", "quantize_static"]

METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
"""How a range follows from the values seen, with ONNX Runtime's names for it."""
_WEIGHTED = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
"""Operators with weights that static quantization reaches."""


def quantize_dynamic(deployment: Deployment, ops: Sequence[str]) -> Deployment:
    """Weights in int8, activations to uint8 at each call. Raises `PreparationError` where no operator has weights."""
    from onnxruntime import quantization

    source, target = _preprocessed(deployment), deployment.folder / "quantized.onnx"
    reduced = _reduced_range(deployment)
    # ONNX Runtime turns Gemm into MatMul first, and then looks for the names.
    names = ["MatMul" if name == "Gemm" else name for name in ops]
    promises = _promises(source, [*names, "Gemm"] if "MatMul" in names else names, reduced)
    quantization.quantize_dynamic(
        source,
        target,
        op_types_to_quantize=names,
        per_channel=True,
        reduce_range=reduced,
        weight_type=quantization.QuantType.QInt8,
        extra_options={"EnableSubgraph": True},
    )
    return deployment.replace(network=_loaded(target)).promising(*promises)


def quantize_static(
    deployment: Deployment, batches: Iterable[Arrays], method: str, ops: Sequence[str], *, per_channel: bool
) -> Deployment:
    """Weights in int8, activations in uint8 with ranges measured on `batches`. `ops` () is all that can be."""
    from onnxruntime import quantization

    source, target = _preprocessed(deployment), deployment.folder / "quantized.onnx"
    reduced = _reduced_range(deployment)
    promises = _promises(source, ops or _WEIGHTED, reduced)
    with contextlib.redirect_stdout(io.StringIO()):  # the calibrators report their bins there
        quantization.quantize_static(
            source,
            target,
            _Batches(batches),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(ops),
            per_channel=per_channel,
            reduce_range=reduced,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=getattr(quantization.CalibrationMethod, METHODS[method]),
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


def _loaded(path: Path) -> Any:
    import onnx

    return onnx.load(str(path))
