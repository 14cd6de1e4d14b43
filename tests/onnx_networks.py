"""Small ONNX networks, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

__all__ = ["conditional", "model", "tensor"]


def model(nodes_: Sequence[Any], tensors: Sequence[Any], outputs: Sequence[str] = ("y",)) -> Any:
    """A network from `x` (batch, 4) to float outputs of unknown shape."""
    graph = helper.make_graph(
        nodes_,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        tensors,
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


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
