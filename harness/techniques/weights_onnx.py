"""Weights of 4 and 8 bits by ONNX Runtime's quantizer for blocks. onnx and onnxruntime are imported in functions."""

from __future__ import annotations

from harness.deployment import Deployment, Promise
from harness.errors import PreparationError
from harness.techniques.preprocess_onnx import preprocessed, with_copies
from harness.techniques.reach_onnx import Reach
from harness.techniques.shares import most_of, shares

__all__ = ["compress"]


def compress(deployment: Deployment, bits: int, block: int) -> Deployment:
    """Each matrix product with a constant on its right as MatMulNBits: so many bits, and a scale for each `block`.

    Raises `PreparationError` for a network that has none.
    """
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    network, reach = onnx.load(str(preprocessed(deployment, gemm=False))), Reach(("MatMul",))
    share, _ = shares(reach.reads(network))
    if not share:
        raise PreparationError(reach.nothing(network, "matrix product"))
    quantizer = MatMulNBitsQuantizer(network, bits=bits, block_size=block, op_types_to_quantize=("MatMul",))
    quantizer.process()
    least = most_of(share)
    return with_copies(deployment, quantizer.model.model).promising(
        Promise("quantized", at_least=least),
        Promise(f"weights.int{bits}", at_least=least),
        Promise("nodes.quantized", at_least=1),
    )
