"""What an engine of TensorRT computes, read from what its inspector says of the layers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.records import Scalar
from harness.runtimes.facts import node_facts

__all__ = ["Layer", "layer_facts", "read_layers"]

_PRODUCTS = ("conv", "gemm", "matmul", "matrixmultiply", "einsum", "lstm", "gru", "rnn", "attention", "mha")
"""What the type of a layer that multiplies and adds holds, in the inspector's words and in ONNX's."""
_TYPES = (
    ("int8", ("int8",)),
    ("int4", ("int4",)),
    ("float8_e4m3fn", ("fp8", "float8")),
    ("float4_e2m1fn", ("fp4", "float4")),
    ("bfloat16", ("bf16", "bfloat16")),
    ("float16", ("fp16", "half", "float16")),
    ("float32", ("fp32", "float", "float32")),
    ("int32", ("int32",)),
    ("int64", ("int64",)),
    ("uint8", ("uint8",)),
    ("bool", ("bool",)),
)
"""The types of the harness, and the words for them: `Half`, or `Thirty-two wide channel vectorized row major Int8`."""
_TOLD = ("Format/Datatype", "DataType", "Datatype", "Format")
"""Where the inspector tells the type of a tensor; the first became the second and the last. Source: NVIDIA, "Migrating
IEngineInspector Usage from TensorRT 10.x to 11.x"."""


@dataclass(frozen=True)
class Layer:
    """One layer of an engine, which stands for one node of the ONNX network, for several fused ones, or for none.

    dtype    of its first input; "" where the inspector does not tell
    product  it is a matrix product, convolution, recurrence or attention, or one is fused into it
    """

    name: str
    dtype: str
    product: bool

    @property
    def arithmetic(self) -> str:
        """The type in which it computes; `unknown` where the inspector does not tell."""
        return self.dtype or "unknown"

    @property
    def quantized(self) -> bool:
        """Whether it is a product that computes on integers of 8 bits or fewer."""
        return self.product and self.dtype in ("int8", "int4")


def read_layers(text: str, operators: Mapping[str, str]) -> list[Layer]:
    """The layers in the inspector's JSON; `operators` has the type of each node of the ONNX network by its name."""
    return [_layer(entry, operators) for entry in json.loads(text).get("Layers", [])]


def layer_facts(text: str, operators: Mapping[str, str]) -> dict[str, Scalar]:
    """The standard facts about what runs."""
    return node_facts(read_layers(text, operators))


def _layer(entry: Any, operators: Mapping[str, str]) -> Layer:
    if isinstance(entry, str):  # an engine that was built without details has names alone
        return Layer(entry, "", _is_product([*_types_of(entry, operators), entry]))
    inputs = entry.get("Inputs") or [{}]
    types = [str(entry.get("LayerType", "")), str(entry.get("ParameterType", ""))]
    fused = _types_of(f"{entry.get('Name', '')} {entry.get('Metadata', '')}", operators)
    moves = "Reformat" in types or "NoOp" in types
    return Layer(
        str(entry.get("Name", "")),
        next((dtype for key in _TOLD if (dtype := _dtype(str(inputs[0].get(key, ""))))), ""),
        not moves and _is_product([*types, *fused]),
    )


def _types_of(text: str, operators: Mapping[str, str]) -> Iterable[str]:
    """The ONNX types of the nodes that a layer's name (`a + b`) or metadata (`[ONNX Layer: a]`) names."""
    words = re.split(r"\s\+\s|\[ONNX Layer: |\]|[\s\x1e\x1f]", text)
    return [operators[word] for word in words if word and word in operators]


def _is_product(types: Iterable[str]) -> bool:
    return any(word in name.lower() for name in types for word in _PRODUCTS)


def _dtype(text: str) -> str:
    words = set(re.findall(r"[a-z0-9]+", text.lower()))
    return next((dtype for dtype, names in _TYPES if words & set(names)), "")
