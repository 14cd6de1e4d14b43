"""ONNX networks made ready for ONNX Runtime's quantizer. onnx and ONNX Runtime are imported in functions."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from harness.deployment import Deployment
from harness.errors import PreparationError
from harness.techniques.reach_onnx import multiplies_integers

__all__ = ["preprocessed", "with_copies"]

OPSET = 13
"""The first opset that has scales for each channel. Source: ONNX, "Operator Changelog", DequantizeLinear."""
_BIASED = ("Conv", "ConvTranspose", "Gemm")
"""Operators whose third input is a bias."""


def preprocessed(deployment: Deployment, *, gemm: bool = True, channels: bool = False) -> Path:
    """The network with shapes inferred, constants folded and every node named, as a file in the deployment's folder.

    How much of a network can be quantized depends on the first two. Without `gemm`, each Gemm is written as MatMul;
    with it, those for which ONNX Runtime has floats alone are written as a product and an Add.
    With `channels` it is of an opset that has scales for each channel. Raises `PreparationError` where it can't be.
    """
    import onnx
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from harness.runtimes.onnx_graph import check_size

    # As a file: of a network in memory, the weights would be moved out of it.
    folder = deployment.folder.resolve()
    source, target = folder / "float.onnx", folder / "preprocessed.onnx"
    check_size(deployment.network)
    onnx.save(_with_channels(deployment.network) if channels else deployment.network, str(source))
    with contextlib.chdir(folder):  # where it fails, it leaves what it has in the current folder
        try:
            quant_pre_process(source, target)
        except ImportError as error:
            # Without it, less of some networks would be quantized, and nothing would say so.
            raise PreparationError(
                "ONNX Runtime can't infer shapes without sympy (pip install 'inference-harness[onnx]')"
            ) from error
        except Exception:
            # Symbolic inference gives up on some exporters' shape arithmetic; ONNX's own inference is the next best.
            quant_pre_process(source, target, skip_symbolic_shape=True)
    network = onnx.load(str(target))
    _flatten_biases(network)
    if gemm:
        _separate_sums(network)
    else:
        rewritten = ONNXModel(network)
        rewritten.replace_gemm_with_matmul()
        rewritten.clean_initializers()  # each weight that was transposed is there a second time, and nothing reads it
    _name(network)
    _separate_biases(network)
    onnx.save(network, str(target))
    return target


def with_copies(deployment: Deployment, network: Any) -> Deployment:
    """The deployment with what a quantizer made of its network, whose copies of weights break no earlier promise.

    A table that is looked up and multiplied too is stored twice: for the product it is transposed, and quantized.
    """
    from harness.runtimes.onnx_graph import elements

    return deployment.allowing(elements(deployment.network), elements(network)).replace(network=network)


def _with_channels(network: Any) -> Any:
    """The network, converted where its opset has no scales for each channel."""
    from onnx import inliner, version_converter

    opset = next((entry.version for entry in network.opset_import if entry.domain in ("", "ai.onnx")), OPSET)
    if opset >= OPSET:
        return network
    try:
        if network.functions:
            network = inliner.inline_local_functions(network)  # the converter drops them, and leaves their calls
        return version_converter.convert_version(network, OPSET)
    except Exception as error:
        raise PreparationError(
            f"scales for each channel need opset {OPSET}, the network has {opset}, and onnx can't convert it "
            f"({error}); convert it to {OPSET} or newer, or write int8_static(per_channel=False)"
        ) from error


def _name(network: Any) -> None:
    """Give a name of its own to every node that has none, or another one's."""
    from harness.runtimes.onnx_graph import nodes

    taken: set[str] = set()
    for number, node in enumerate(nodes(network.graph)):
        if not node.name or node.name in taken:
            node.name = f"{node.name or node.op_type}_{number}"
        taken.add(node.name)


def _separate_sums(network: Any) -> None:
    """Write each Gemm that does not multiply integers as a product and an Add, where no factor is on what it adds.

    Where a MatMul and the Add of a skip were fused, that is what they were before.
    """
    from onnx import helper

    graph = network.graph
    initializers = {tensor.name for tensor in graph.initializer}
    for place, node in reversed([*enumerate(graph.node)]):
        options = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if node.op_type != "Gemm" or multiplies_integers(node, initializers) or options.get("beta", 1) != 1:
            continue
        product = f"{node.output[0]} without {node.input[2]}"
        graph.node.insert(place + 1, helper.make_node("Add", [product, node.input[2]], [node.output[0]]))
        node.output[0] = product
        del node.input[2]
        if options.get("alpha", 1) == 1 and not options.get("transA") and not options.get("transB"):
            node.op_type = "MatMul"
            del node.attribute[:]


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


def _separate_biases(network: Any) -> None:
    """Give every node a bias of its own.

    ONNX Runtime's quantizer copies a shared one, under its name with a number behind, which another tensor may have.
    """
    from harness.runtimes.onnx_graph import constants

    for constant in constants(network.graph):
        biased = [node for node, number in constant.readers if number == 2 and node.op_type in _BIASED]
        for node in biased[1:]:
            own = network.graph.initializer.add()
            own.CopyFrom(constant.tensor)
            own.name = node.input[2] = f"{constant.tensor.name} of {node.name}"
