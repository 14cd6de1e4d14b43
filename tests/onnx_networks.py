"""Small ONNX networks, node by node."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness import Model
from harness.testing import tiny_onnx_model

__all__ = ["as_model", "conditional", "model", "tensor"]


def model(
    nodes_: Sequence[Any], tensors: Sequence[Any], outputs: Sequence[str] = ("y",), axes: Sequence[int] = (4,)
) -> Any:
    """A network from `x` (batch, and then `axes`) to float outputs of unknown shape."""
    graph = helper.make_graph(
        nodes_,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *axes])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        tensors,
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def as_model(network: Any, folder: Path) -> Model:
    """A model of such a network, whose inputs and calibration data are random numbers of 0 to 4."""
    path = folder / "network.onnx"
    onnx.save(network, str(path))
    axes = [axis.dim_value for axis in network.graph.input[0].type.tensor_type.shape.dim][1:]

    def inputs(size: int, seed: int) -> dict[str, Any]:
        return {"x": 4 * np.random.default_rng(seed).random((size, *axes), np.float32)}

    return dataclasses.replace(
        tiny_onnx_model(folder), load=lambda: path, inputs=inputs, calibration=lambda: [inputs(4, 0), inputs(4, 1)]
    )


def tensor(name: str, array: Any, dtype: Any = np.float32) -> Any:
    return numpy_helper.from_array(np.asarray(array, dtype), name)


def branch(name: str, initializer: Any) -> Any:
    """A subgraph that multiplies the outer `x` by a weight of its own."""
    return helper.make_graph(
        [helper.make_node("MatMul", ["x", initializer.name], [name])],
        name,
        [],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        [initializer],
    )


def conditional() -> Any:
    """A network whose weights lie in the two branches of an If."""
    choice = helper.make_node(
        "If",
        ["choice"],
        ["y"],
        then_branch=branch("a", tensor("wa", np.ones((4, 3)))),
        else_branch=branch("b", tensor("wb", np.zeros((4, 3)))),
    )
    total = helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0)
    greater = helper.make_node("Greater", ["sum", "zero"], ["choice"])
    return model([total, greater, choice], [tensor("zero", 0.0)])
