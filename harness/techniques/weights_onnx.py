"""Weights of 4 and 8 bits by ONNX Runtime's quantizer for blocks. onnx and onnxruntime are imported in functions."""

from __future__ import annotations

from harness.deployment import Deployment, Promise
from harness.errors import PreparationError
from harness.techniques.preprocess_onnx import preprocessed
from harness.techniques.shares import most_of

__all__ = ["compress"]


def compress(deployment: Deployment, bits: int, block: int) -> Deployment:
    """Each matrix product with a constant as MatMulNBits: integers of so many bits, a scale for each `block` of them.

    Raises `PreparationError` for a network that has none.
    """
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    from harness.runtimes.onnx_graph import network_weights, weights_by_operator

    network = onnx.load(str(preprocessed(deployment, gemm=False)))
    reach = weights_by_operator(network)
    share = reach.get("MatMul", 0) / max(sum(weight.elements for weight in network_weights(network)), 1)
    if not share:
        raise PreparationError(
            "there is nothing to quantize: no matrix product of this network has weights; those that have are "
            f"{', '.join(sorted(reach)) or 'none'}"
        )
    quantizer = MatMulNBitsQuantizer(network, bits=bits, block_size=block, op_types_to_quantize=("MatMul",))
    quantizer.process()
    least = most_of(share)
    return deployment.replace(network=quantizer.model.model).promising(
        Promise("quantized", at_least=least),
        Promise(f"weights.int{bits}", at_least=least),
        Promise("nodes.quantized", at_least=1),
    )
