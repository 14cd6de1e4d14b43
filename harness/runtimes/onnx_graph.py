"""Reading an ONNX network: its nodes and its weights, also those inside subgraphs. onnx is imported in functions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.errors import PreparationError
from harness.fidelity import bits_of
from harness.runtimes.facts import Weight, is_weight_dtype, is_weight_shape, kept_patterns, weight_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Constant", "check_size", "constants", "elements", "network_weights", "nodes", "weights"]

LARGEST = 2**31 - 1
"""Bytes that a message of protobuf may have, which an .onnx file is."""

_ZERO_POINTS = {
    ("DequantizeLinear", 0): 2, ("QLinearConv", 3): 5, ("QLinearMatMul", 3): 5, ("QGemm", 3): 5,
    ("ConvInteger", 1): 3, ("MatMulInteger", 1): 3, ("DynamicQuantizeMatMul", 1): 3, ("MatMulIntegerToFloat", 1): 5,
    ("DynamicQuantizeLSTM", 1): 9, ("DynamicQuantizeLSTM", 2): 11, ("QAttention", 1): 7,
    ("QLinearConv", 0): 2, ("QLinearMatMul", 0): 2, ("QGemm", 0): 2, ("ConvInteger", 0): 2, ("MatMulInteger", 0): 2,
    ("MatMulIntegerToFloat", 0): 4, ("QAttention", 0): 6,
}  # fmt: skip
"""(operator, number of the input that is quantized) -> number of the input that is its zero point.

A table is the first operand of products, whose rows are looked up and multiplied as the integers that they are.
"""

_NO_WEIGHTS = {
    "DequantizeLinear": (1, 2), "QuantizeLinear": (1, 2), "MatMulNBits": (2, 3), "GatherBlockQuantized": (2, 3),
    "LSTM": (3, 5, 6, 7), "GRU": (3, 5), "RNN": (3, 5), "DynamicQuantizeLSTM": (3, 5, 6, 7, 8, 9, 10, 11),
}  # fmt: skip
"""Operators whose scales, zero points, biases and states may have several axes, in blocks or one for each direction,
and the numbers of those inputs.
"""

_INPUT_AXES = {
    ("MatMul", 1): -2, ("Conv", 1): 1, ("MatMulInteger", 1): -2, ("ConvInteger", 1): 1, ("QLinearMatMul", 3): -2,
    ("QLinearConv", 3): 1, ("DynamicQuantizeMatMul", 1): -2, ("MatMulIntegerToFloat", 1): -2,
}  # fmt: skip
"""(operator, number of the input that is a weight) -> the weight's axis that is multiplied with inputs."""


@dataclass
class Constant:
    """A constant tensor of a network, and the nodes that read it as (node, number of the input)."""

    tensor: Any
    readers: list[tuple[Any, int]] = field(default_factory=list)

    @property
    def elements(self) -> int:
        """Numbers that it stands for: packed ones count singly."""
        for node, number in self.readers:
            if node.op_type == "MatMulNBits" and number == 1:
                return int(_attribute(node, "K", 0) * _attribute(node, "N", 0))
        return int(math.prod(self.tensor.dims))


Known = dict[tuple[int, int], Constant]
"""(id of a node, number of an input) -> the constant that is read there."""


def nodes(graph: Any) -> Iterator[Any]:
    """All nodes of a graph, those of subgraphs (If, Loop, Scan) after the node that holds them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for subgraph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from nodes(subgraph)


def constants(graph: Any) -> list[Constant]:
    """Every initializer and every tensor of a Constant node, once, with its readers."""
    found: list[Constant] = []
    _collect(graph, {}, found)
    return found


def network_weights(model: Any) -> list[Weight]:
    """The weights that an `onnx.ModelProto` holds; see `harness.runtimes.facts` for what a weight is."""
    found = constants(model.graph)
    # By the node that reads: of two branches of an If, each may have a tensor of the same name.
    known = {(id(node), number): constant for constant in found for node, number in constant.readers}
    readers: dict[str, list[tuple[Any, int]]] = {}
    for node in nodes(model.graph):
        for number, name in enumerate(node.input):
            readers.setdefault(name, []).append((node, number))
    return [_weight(constant, known, readers) for constant in found if _is_weight(constant)]


def weights(model: Any) -> list[Constant]:
    """The constants of an `onnx.ModelProto` that are weights."""
    return [constant for constant in constants(model.graph) if _is_weight(constant)]


def elements(model: Any) -> int:
    """Numbers that the weights of an `onnx.ModelProto` stand for."""
    return sum(constant.elements for constant in weights(model))


def check_size(model: Any) -> None:
    """Raise `PreparationError` where the constants of an `onnx.ModelProto` are more than one .onnx file can hold: the
    error of protobuf, where it is written, names neither cause nor cure.
    """
    tensors = [constant.tensor for constant in constants(model.graph)]
    size = sum(math.prod(tensor.dims) * bits_of(_dtype_name(tensor)) for tensor in tensors) // 8
    if size > LARGEST:
        raise PreparationError(
            f"the constants of the network are {size / 1e9:.1f} GB, more than the 2 GB that one .onnx file can hold; "
            "serve a torch network by compiled or aotinductor, or take a smaller one"
        )


def _collect(graph: Any, outer: dict[str, Constant], found: list[Constant]) -> None:
    scope = dict(outer)
    for tensor in graph.initializer:
        scope[tensor.name] = Constant(tensor)
        found.append(scope[tensor.name])
    for node in graph.node:
        if node.op_type == "Constant":
            tensor = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
            if tensor is not None:
                scope[node.output[0]] = Constant(tensor)
                found.append(scope[node.output[0]])
        for number, name in enumerate(node.input):
            if name in scope:
                scope[name].readers.append((node, number))
        for attribute in node.attribute:
            for subgraph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                _collect(subgraph, scope, found)


def _is_weight(constant: Constant) -> bool:
    other = any(number in _NO_WEIGHTS.get(node.op_type, ()) for node, number in constant.readers)
    return not other and is_weight_shape(constant.tensor.dims) and is_weight_dtype(_dtype_name(constant.tensor))


def _weight(constant: Constant, known: Known, readers: dict[str, list[tuple[Any, int]]]) -> Weight:
    from onnx import numpy_helper

    tensor = constant.tensor
    for node, number in constant.readers:
        if node.op_type == "MatMulNBits" and number == 1:
            nonzero = _nonzero_in_blocks(node, known)
            dtype, zeros = f"int{_attribute(node, 'bits', 4)}", int((~nonzero).sum())
            return Weight(dtype, constant.elements, zeros, patterns=kept_patterns(nonzero, 1))
    values = numpy_helper.to_array(tensor)
    dtype = _dtype_name(tensor)
    axis = _input_axis(constant.readers, readers)
    # Rows of a table are integers still, and who reads them knows their zero.
    rows = [
        read
        for node, number in constant.readers
        if node.op_type == "Gather" and number == 0
        for read in readers.get(node.output[0], [])
    ]
    return weight_of(dtype, values, lambda: _zero_point(constant.readers, rows, known, values.shape), axis)


def _input_axis(found: list[tuple[Any, int]], readers: dict[str, list[tuple[Any, int]]]) -> int | None:
    """The axis of a weight that is multiplied with inputs, also behind conversions and transposition; None where no
    product reads it.
    """
    for node, number in found:
        if node.op_type in ("Gemm", "QGemm") and number in (1, 3):
            return 1 if _attribute(node, "transB", 0) else 0
        if (node.op_type, number) in _INPUT_AXES:
            return _INPUT_AXES[node.op_type, number]
        if node.op_type in ("DequantizeLinear", "Cast") and number == 0:
            return _input_axis(readers.get(node.output[0], []), readers)
        if node.op_type == "Transpose":
            axis = _input_axis(readers.get(node.output[0], []), readers)
            order = next((attribute.ints for attribute in node.attribute if attribute.name == "perm"), None)
            if axis is not None:
                return int(order[axis]) if order else -1 - axis
    return None


def _zero_point(
    reads: list[tuple[Any, int]], rows: list[tuple[Any, int]], known: Known, lengths: tuple[int, ...]
) -> np.ndarray[Any, Any] | int:
    """The zero point of a quantized tensor, shaped so that it can be subtracted; 0 where no reader names one.

    `rows` read what is looked up in it, of whose axes the last alone is one of its own: a zero point for each column,
    or a single one, counts.
    """
    from onnx import numpy_helper

    for place, (node, number) in enumerate([*reads, *rows]):
        position = _ZERO_POINTS.get((node.op_type, number))
        if position is None or (id(node), position) not in known:
            continue
        point: np.ndarray[Any, Any] = numpy_helper.to_array(known[id(node), position].tensor).astype("int32")
        if point.size == 1:
            return int(point.reshape(-1)[0])
        if place >= len(reads):
            if point.size == lengths[-1]:
                return point.reshape(-1)
            continue
        if node.op_type == "DynamicQuantizeLSTM":  # of each direction
            return point.reshape(len(point), 1, -1)
        default = 0 if "Conv" in node.op_type else len(lengths) - 1
        axis = _attribute(node, "axis", 1 if node.op_type == "DequantizeLinear" else default)
        shape = [1] * len(lengths)
        shape[axis] = -1
        return point.reshape(shape)
    return 0


def _nonzero_in_blocks(node: Any, known: Known) -> np.ndarray[Any, Any]:
    """Which elements are not at the zero point of their block, in the weight of a MatMulNBits: outputs x inputs."""
    from onnx import numpy_helper

    bits, rows, columns = (_attribute(node, name, default) for name, default in (("bits", 4), ("N", 1), ("K", 1)))
    packed = numpy_helper.to_array(known[id(node), 1].tensor)
    blocks = packed.shape[1]
    values = _unpacked(packed.reshape(rows * blocks, -1), bits).reshape(rows, blocks, -1)
    points: Any = 1 << (bits - 1)
    if (id(node), 3) in known:
        stored = numpy_helper.to_array(known[id(node), 3].tensor)
        points = _unpacked(stored.reshape(rows, -1), bits)[:, :blocks, None]
    nonzero: np.ndarray[Any, Any] = (values != points).reshape(rows, -1)[:, :columns]
    return nonzero


def _unpacked(packed: np.ndarray[Any, Any], bits: int) -> np.ndarray[Any, Any]:
    """Rows of bytes as rows of numbers of `bits`, of which the first of a byte lies in its lowest bits."""
    import numpy as np

    parts = [(packed >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, axis=-1).reshape(len(packed), -1)


def _attribute(node: Any, name: str, default: int) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), default)


def _dtype_name(tensor: Any) -> str:
    from onnx import helper

    return str(helper.tensor_dtype_to_np_dtype(tensor.data_type).name)
