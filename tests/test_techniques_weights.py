"""Weights of few bits: stored so, and computed with in floating point."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from harness import Deployment, Model, PreparationError, SuiteError, UnavailableError
from harness.hardware import cpu
from harness.runtimes.onnx_graph import network_weights, nodes
from harness.runtimes.onnxruntime import OnnxRuntime
from harness.techniques import int4_weights, int8_dynamic, int8_weights, onnxruntime, pruned_weights
from harness.techniques.base import Technique, as_pipeline
from harness.techniques.preprocess_onnx import preprocessed
from harness.testing import check_technique, tiny_torch_model
from tests.onnx_networks import conditional
from tests.torch_networks import Convolution


@pytest.mark.parametrize(
    ("technique", "dtype"), [(int8_weights, "int8"), (int4_weights, "int4"), (int4_weights(block=16), "int4")]
)
def test_on_an_onnx_model(technique: Technique, dtype: str, onnx_model: Model) -> None:
    evidence, facts = check_technique(technique, onnx_model)
    assert all(item.kept for item in evidence)
    assert facts[f"weights.{dtype}"] == 1.0
    assert facts["quantized"] == 1.0
    assert facts["precision"] == "float32"
    assert facts["nodes.quantized"] == 2
    assert facts["parameters"] == 144 * 48 + 48 * 4


def turned(network: Any) -> Any:
    """Each product with a weight as a Gemm that transposes it, as torch's linear layers are exported."""
    for node in nodes(network.graph):
        if node.op_type == "MatMul":
            node.op_type = "Gemm"
            node.attribute.append(helper.make_attribute("transB", 1))
    held = [attribute.g for node in network.graph.node for attribute in node.attribute if attribute.HasField("g")]
    for graph in (network.graph, *held):
        for weight in graph.initializer:
            array = np.asarray(numpy_helper.to_array(weight).T, order="C")
            weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    return network


@pytest.mark.parametrize("technique", [int8_dynamic, int8_weights, int4_weights])
def test_weights_that_are_transposed_for_the_quantizer_count_once(
    technique: Technique, onnx_model: Model, tmp_path: Path
) -> None:
    """The first stay beside their copies, and half of the network could stay float unnoticed."""
    path = tmp_path / "turned.onnx"
    onnx.save(turned(onnx.load(str(onnx_model.load()))), str(path))
    evidence, facts = check_technique(technique, dataclasses.replace(onnx_model, load=lambda: path))
    assert evidence[0].promise == "quantized >= 0.9"
    assert facts["quantized"] == 1.0


def test_weights_in_subgraphs_are_transposed_once_and_those_that_are_read_stay(
    onnx_model: Model, tmp_path: Path
) -> None:
    network = turned(conditional())
    network.graph.node.append(helper.make_node("MatMul", ["y", "last"], ["z"]))
    network.graph.output[0].name = "z"
    network.graph.initializer.append(numpy_helper.from_array(np.ones((3, 2), np.float32), "last"))
    deployment = Deployment(onnx_model, network, OnnxRuntime(), cpu, tmp_path)
    ready = onnx.load(str(preprocessed(deployment, gemm=False)))
    assert sorted(weight.elements for weight in network_weights(ready)) == [6, 12, 12]
    assert "Gemm" not in {node.op_type for node in nodes(ready.graph)}


def test_an_exported_network_keeps_its_convolutions() -> None:
    _, facts = check_technique(onnxruntime | int4_weights, tiny_torch_model())
    assert facts["weights.int4"] == pytest.approx(1152 / (16 * 9 + 32 * 16 * 9 + 1152))


@pytest.mark.parametrize("technique", [int8_weights, int4_weights(block=16)])
def test_zeros_are_found_in_packed_blocks(technique: Technique) -> None:
    _, facts = check_technique(pruned_weights(0.9, finetune=False) | onnxruntime | technique, tiny_torch_model())
    assert float(facts["sparsity"]) >= 0.9


def test_on_a_torch_model() -> None:
    pytest.importorskip("torchao")
    evidence, facts = check_technique(int8_weights, tiny_torch_model())
    assert all(item.kept for item in evidence)
    assert facts["weights.int8"] == pytest.approx(1152 / (16 * 9 + 32 * 16 * 9 + 1152))
    assert facts["precision"] == "float32"
    assert facts["nodes.quantized"] == 0


def test_four_bits_of_a_torch_network_are_unavailable_with_the_way_round() -> None:
    reason = as_pipeline(int4_weights).unavailable(tiny_torch_model(), cpu)
    assert reason is not None
    assert "put onnxruntime before it" in reason
    with pytest.raises(UnavailableError, match="put onnxruntime before it"):
        check_technique(int4_weights, tiny_torch_model())


def test_blocks_that_kernels_do_not_have_are_refused(onnx_model: Model) -> None:
    with pytest.raises(SuiteError, match="use 16, 32, 64, 128, 256"):
        check_technique(int4_weights(block=48), onnx_model)


def test_a_quantizer_that_does_nothing_breaks_the_promise(onnx_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    monkeypatch.setattr(MatMulNBitsQuantizer, "process", lambda self: None)
    with pytest.raises(AssertionError, match=r"promised weights\.int4"):
        check_technique(int4_weights, onnx_model)


def test_a_network_without_products_is_refused() -> None:
    model = dataclasses.replace(tiny_torch_model(), load=lambda: Convolution().eval())
    with pytest.raises(PreparationError, match=r"no matrix product of this network .* are Conv"):
        check_technique(onnxruntime | int8_weights, model)
