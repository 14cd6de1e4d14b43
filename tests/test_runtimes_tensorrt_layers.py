"""What an engine computes, from the inspector's JSON in the forms that versions of TensorRT write."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.runtimes.tensorrt_layers import layer_facts, read_layers

OPERATORS = {"/conv/Conv": "Conv", "/fc/MatMul": "MatMul", "/relu/Relu": "Relu", "q1": "QuantizeLinear"}


def layer(kind: str, dtype: str, name: str = "", metadata: str = "", **more: Any) -> dict[str, Any]:
    return {
        "Name": name,
        "LayerType": kind,
        "Inputs": [{"Name": "x", "Location": "Device", "Dimensions": [1, 3, 8, 8], "Format/Datatype": dtype}],
        "Outputs": [],
        "Metadata": metadata,
        **more,
    }


def facts(*layers: Any) -> dict[str, Any]:
    return layer_facts(json.dumps({"Layers": list(layers), "Bindings": ["x"]}), OPERATORS)


@pytest.mark.parametrize(
    ("words", "dtype"),
    [
        ("Float", "float32"),
        ("Row major linear FP32", "float32"),
        ("Half", "float16"),
        ("Thirty-two wide channel vectorized row major FP16 format", "float16"),
        ("BFloat16", "bfloat16"),
        ("Row major linear BF16", "bfloat16"),
        ("Four wide channel vectorized row major Int8 format", "int8"),
        ("Int8", "int8"),
        ("FP8", "float8_e4m3fn"),
        ("Int64", "int64"),
        ("N/A due to dynamic shapes", ""),
    ],
)
def test_words_for_types(words: str, dtype: str) -> None:
    (found,) = read_layers(json.dumps({"Layers": [layer("CaskConvolution", words)]}), {})
    assert found.dtype == dtype


@pytest.mark.parametrize(
    "told",
    [
        {"DataType": "Int8", "Format": "Row major linear"},
        {"DataType": "Int8", "Format": "Row major linear FP32"},
        {"Datatype": "Int8"},
        {"Format": "Thirty-two wide channel vectorized row major Int8 format"},
    ],
    ids=["TensorRT 11", "TensorRT 11, of another word", "a type alone", "a format alone"],
)
def test_types_are_found_where_other_versions_tell_them(told: dict[str, str]) -> None:
    """TensorRT 11 tells types and formats apart: every layer was of an unknown type."""
    assert facts({"Name": "x", "LayerType": "CaskConvolution", "Inputs": [told]})["precision"] == "int8"


@pytest.mark.parametrize(
    "entry",
    [
        layer("CaskConvolution", "Int8", ParameterType="Convolution"),
        layer("CaskGemmMatrixMultiply", "Int8"),
        layer("gemm", "Int8"),
        layer("kgen", "Int8", "__myl_Fc", "[ONNX Layer: /fc/MatMul]\x1e[ONNX Layer: q1]"),
        layer("fusion", "Int8", "/conv/Conv + /relu/Relu"),
    ],
    ids=lambda entry: entry["LayerType"],
)
def test_products_are_told_by_the_layers_type_and_by_the_nodes_fused_into_it(entry: Any) -> None:
    assert facts(entry) == {"precision": "int8", "arithmetic.int8": 1.0, "nodes": 1, "nodes.quantized": 1}


@pytest.mark.parametrize(
    "entry",
    [
        layer("Reformat", "Int8", "Reformatting CopyNode for Input Tensor 0 to /conv/Conv", ParameterType="Reformat"),
        layer("kgen", "Int8", "__myl_Cast", "[ONNX Layer: q1]"),
        layer("PointWiseV2", "Int8", "PWN(/relu/Relu)"),
    ],
    ids=lambda entry: entry["LayerType"],
)
def test_moving_and_converting_integers_is_not_computing_on_them(entry: Any) -> None:
    found = facts(layer("gemm", "Float"), entry)
    assert (found["precision"], found["nodes"], found["nodes.quantized"]) == ("float32", 2, 0)


def test_nodes_without_a_name_make_no_products_of_other_layers() -> None:
    """Their common name, which is empty, was found in each layer that names any node."""
    layers = [layer("gemm", "Float"), layer("PointWiseV2", "Int8", metadata="[ONNX Layer: r]")]
    found = layer_facts(json.dumps({"Layers": layers}), {"": "Gemm"})
    assert (found["precision"], found["nodes"], found["nodes.quantized"]) == ("float32", 2, 0)


def test_types_are_shares_of_the_products() -> None:
    found = facts(layer("CaskConvolution", "Int8"), layer("gemm", "Half"), layer("PointWiseV2", "Float"))
    assert (found["precision"], found["arithmetic.int8"], found["arithmetic.float16"]) == ("float16+int8", 0.5, 0.5)


def test_an_engine_that_tells_no_types_is_not_described_as_if_it_did() -> None:
    """Built with names alone, or by a version with another format: no promise about types is kept by silence."""
    assert facts("/conv/Conv + /relu/Relu", "other") == {
        "precision": "unknown", "arithmetic.unknown": 1.0, "nodes": 2, "nodes.quantized": 0,
    }  # fmt: skip
    assert facts({"Name": "x", "LayerType": "gemm"})["precision"] == "unknown"
