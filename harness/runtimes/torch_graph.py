"""The weights in the products of a graph that torch exported. Imports torch: import this inside functions only."""

from __future__ import annotations

import functools
from typing import Any

import torch

from harness.runtimes.facts import is_weight_shape

__all__ = ["graph_weights"]

_PRODUCTS = (
    *(getattr(torch.ops.aten, name).default for name in ("linear", "conv1d", "conv2d", "conv3d", "convolution")),
    *(getattr(torch.ops.aten, name).padding for name in ("conv1d", "conv2d", "conv3d")),
)
"""The operators of an exported program that multiply inputs with a weight, their second argument."""


def graph_weights(module: Any) -> list[Any]:
    """The weights of linear layers and convolutions in an exported program, shared ones once; axis 1 is the inputs'.

    Where the program is marked for quantization, they are the integers that are dequantized for a product. That of a
    linear layer which torchao has quantized is torchao's tensor.
    """
    found: dict[int, Any] = {}
    for node in module.graph.nodes:
        source = _weight_of(node) if node.op == "call_function" else None
        if source is not None and source.op == "get_attr":
            weight = functools.reduce(getattr, source.target.split("."), module)
            if is_weight_shape(weight.shape):
                found[id(weight)] = weight
    return list(found.values())


def _weight_of(node: Any) -> Any:
    """The node that gives a product's weight; None for an operator that is none."""
    if node.target in _PRODUCTS:
        source = node.args[1]
        return source.args[0] if source.op == "call_function" and "dequantize" in str(source.target) else source
    # The product itself is of a tensor inside: torchao wraps the weights of linear layers alone.
    return node.args[0] if "access_subclass_inner_tensor" in str(node.target) else None
