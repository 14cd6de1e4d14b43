"""Weights of few bits, with arithmetic that stays as it was: for memory, and where reading weights takes the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.deployment import Deployment
from harness.errors import SuiteError
from harness.runtimes.onnxruntime import OnnxRuntime
from harness.techniques import quantize_litert, quantize_openvino, quantize_torch, weights_onnx
from harness.techniques.base import technique
from harness.techniques.quantize import needs_quantizer

if TYPE_CHECKING:
    from harness.hardware.base import Hardware

__all__ = ["int4_weights", "int8_weights"]

BLOCKS = (16, 32, 64, 128, 256)
"""Numbers that may share a scale."""
BLOCK = 32
"""Where nobody chooses, and of int8 weights of an ONNX network always."""


def _needs_kernels(hardware: Hardware, form: str) -> str | None:
    return needs_quantizer(hardware, form) or (OnnxRuntime().unavailable(hardware) if form == "onnx" else None)


def _needs_four_bits(hardware: Hardware, form: str) -> str | None:
    if form == "torch":
        return (
            "torch has no kernels here that read weights of 4 bits: torchao's are for GPUs, and each of its packings "
            "fails on a CPU (put onnxruntime before it: onnxruntime | int4_weights)"
        )
    return _needs_kernels(hardware, form)


@technique(takes=("torch", "onnx", "openvino", "litert"), requires=_needs_kernels)
def int8_weights(deployment: Deployment) -> Deployment:
    """Weights of matrix products in int8; activations and arithmetic stay as they were. No data, nearly no loss.

    A quarter of the memory. It pays in speed only where reading the weights takes the time: large networks, one item a
    call. Embeddings and convolutions stay as they are, but on a LiteRT network they change too, and all that it brings
    there is a smaller file: the weights are converted to float32 again.
    Source: ONNX Runtime, "Quantize ONNX models", MatMulNBits; torchao, Int8WeightOnlyConfig; NNCF, "Weight
    Compression".
    """
    return _compressed(deployment, 8, BLOCK)


@technique(takes=("torch", "onnx", "openvino", "litert"), requires=_needs_four_bits)
def int4_weights(deployment: Deployment, *, block: int = BLOCK) -> Deployment:
    """Weights of matrix products in int4, with a scale for each `block` numbers; arithmetic stays as it was.

    An eighth of the memory, and scales of a float32 for each block beside it. Look at the accuracy: smaller blocks keep
    more of it. Raises `SuiteError` for a block that kernels do not have. On a LiteRT network it is a smaller file
    alone, with a scale for each channel and no blocks, convolutions too; `int4_dynamic` computes with such weights.
    Source: ONNX Runtime, "Quantize ONNX models", MatMulNBits; NNCF, "Weight Compression"; Frantar et al., arXiv
    2210.17323.
    """
    if block not in BLOCKS:
        raise SuiteError(f"int4_weights(block={block}): use {', '.join(map(str, BLOCKS))}")
    if deployment.form == "litert" and block != BLOCK:
        raise SuiteError(
            "int4_weights has no block on a LiteRT network, but a scale for each channel; int4_dynamic has blocks there"
        )
    return _compressed(deployment, 4, block)


def _compressed(deployment: Deployment, bits: int, block: int) -> Deployment:
    """By the module of the network's form, each of which has `compress(deployment, bits, block)`."""
    compress = {
        "torch": quantize_torch.compress,
        "onnx": weights_onnx.compress,
        "openvino": quantize_openvino.compress,
        "litert": quantize_litert.compress,
    }
    return compress[deployment.form](deployment, bits, block)
