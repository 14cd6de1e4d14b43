"""Reading a .tflite file: its operators, its weights and its signature. The reader is imported in functions."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import PreparationError
from harness.fidelity import bits_of
from harness.runtimes.facts import Weight, is_weight_dtype, is_weight_shape, weight_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PRODUCTS", "Graph", "Operator", "renamed", "signed"]

_INPUT_AXES = {"CONV_2D": 3, "CONV_3D": 3, "DEPTHWISE_CONV_2D": 0, "FULLY_CONNECTED": 1}
"""Operators with a weight, and the axis of it that is multiplied with inputs.

Transposed convolutions are none of them: no runtime here looks for patterns in theirs, as none is pruned in groups.
"""

_DATA = {"TRANSPOSE_CONV": 2, "CONV_3D_TRANSPOSE": 2}
"""Where operators have what they compute on whose first input is the shape of their output."""

PRODUCTS = frozenset(
    (
        *_INPUT_AXES, "BATCH_MATMUL", "TRANSPOSE_CONV", "CONV_3D_TRANSPOSE", "LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "SVDF", "RNN",
    )
)  # fmt: skip
"""Operators that are matrix products, convolutions or recurrences."""

_IDENTIFIER = b"TFL3"


@dataclass(frozen=True)
class Operator:
    """One operator of a network.

    name             as the schema has it: `CONV_2D`
    number           its place in its subgraph, which is also that of its node in the interpreter
    inputs, outputs  indices of the tensors that it reads and writes
    written          names of the tensors that it writes
    dtype            type of what it computes on, its first input but for a few operators; "" without inputs
    weights          types of the constants among its other inputs, but for the shape of its output
    """

    name: str
    number: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    written: tuple[str, ...]
    dtype: str
    weights: tuple[str, ...]

    @property
    def product(self) -> bool:
        """Whether it is a matrix product, convolution or recurrence."""
        return self.name in PRODUCTS

    @property
    def arithmetic(self) -> str:
        """The type in which it computes.

        A product of floating point inputs with integer weights quantizes its inputs to 8 bits at each call. Weights
        that are only stored in integers have an operator of their own before the product that converts them.
        """
        few = any("float" not in dtype and bits_of(dtype) <= 8 for dtype in self.weights)
        return "int8" if self.product and few and "float" in self.dtype else self.dtype

    @property
    def quantized(self) -> bool:
        """Whether it is a product that computes on integers of 8 bits or fewer."""
        return self.product and "float" not in self.arithmetic and 0 < bits_of(self.arithmetic) <= 8


class Graph:
    """The operators and constants of a .tflite file. Raises `PreparationError` for bytes that are none."""

    def __init__(self, content: bytes) -> None:
        self._model = _parsed(content)
        self._names = [_operator_name(code) for code in self._model.operatorCodes]

    def operators(self, subgraph: int = 0) -> list[Operator]:
        """The operators of a subgraph in the order in which they run; the first one is the network."""
        graph = self._model.subgraphs[subgraph]
        return [self._operator(graph, number, operator) for number, operator in enumerate(graph.operators)]

    def bodies(self) -> list[Operator]:
        """The operators of the other subgraphs, which are the bodies and conditions of WHILE and IF."""
        return [operator for number in range(1, len(self._model.subgraphs)) for operator in self.operators(number)]

    def weights(self) -> list[Weight]:
        """The weights that the file holds; see `harness.runtimes.facts` for what a weight is.

        Raises `PreparationError` for one that is stored sparsely.
        """
        return [weight for weight, _ in self.weights_with_readers()]

    def weights_with_readers(self) -> list[tuple[Weight, tuple[Operator, ...]]]:
        """Each weight once, with the operators that read it, by whatever tensor, also behind a conversion to floats."""
        found: dict[int, tuple[Weight, tuple[Operator, ...]]] = {}
        for number, graph in enumerate(self._model.subgraphs):
            operators = self.operators(number)
            scales = _scales(graph.tensors)
            for index, tensor in enumerate(graph.tensors):
                weight = index not in scales and is_weight_shape(_shape(tensor)) and is_weight_dtype(_dtype(tensor))
                if weight and self._is_constant(tensor):
                    readers = tuple(_readers(index, operators))
                    known, others = found.get(tensor.buffer) or (self._weight(tensor, readers), ())
                    found[tensor.buffer] = known, (*others, *readers)
        return list(found.values())

    def _weight(self, tensor: Any, readers: Sequence[Operator]) -> Weight:
        if tensor.sparsity is not None:
            raise PreparationError(
                f"the weight {_text(tensor.name)!r} of the .tflite file is stored sparsely, which is not read here; "
                "convert without tf.lite.Optimize.EXPERIMENTAL_SPARSITY"
            )
        dtype = _dtype(tensor)
        shape = _shape(tensor)
        values = _values(self._model.buffers[tensor.buffer].data, dtype)[: math.prod(shape)].reshape(shape)
        axes = {_INPUT_AXES.get(reader.name) for reader in readers}
        axis = axes.pop() if len(axes) == 1 else None
        return weight_of(dtype, values, lambda: _zero_points(tensor), axis)

    def _operator(self, graph: Any, number: int, operator: Any) -> Operator:
        inputs = tuple(int(index) for index in operator.inputs if index >= 0)
        outputs = tuple(int(index) for index in operator.outputs if index >= 0)
        tensors = [graph.tensors[index] for index in inputs]
        name = self._names[operator.opcodeIndex]
        place = _DATA.get(name, 0)
        others = [tensor for number, tensor in enumerate(tensors) if number not in (0, place)]
        return Operator(
            name=name,
            number=number,
            inputs=inputs,
            outputs=outputs,
            written=tuple(_text(graph.tensors[index].name) for index in outputs),
            dtype=_dtype(tensors[place]) if tensors else "",
            weights=tuple(_dtype(tensor) for tensor in others if self._is_constant(tensor)),
        )

    def _is_constant(self, tensor: Any) -> bool:
        """Whether the file holds the values of a tensor."""
        data = self._model.buffers[tensor.buffer].data
        return data is not None and len(data) > 0


def renamed(content: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """The same file with other names in its signature, given in the order of its inputs and of its outputs."""
    model = _parsed(content)
    for signature in model.signatureDefs:
        graph = model.subgraphs[signature.subgraphIndex]
        for entries, indices, names in (
            (signature.inputs, graph.inputs, inputs),
            (signature.outputs, graph.outputs, outputs),
        ):
            by_tensor = dict(zip(map(int, indices), names, strict=True))
            for entry in entries:
                entry.name = by_tensor[entry.tensorIndex]
    return _written(model, len(content))


def signed(content: bytes) -> bytes:
    """The same file, with a signature where it has none: inputs and outputs are called as their tensors."""
    from ai_edge_litert import schema_py_generated as schema

    model = _parsed(content)
    if model.signatureDefs:
        return content
    graph, signature = model.subgraphs[0], schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    signature.inputs, signature.outputs = [], []
    for entries, indices in ((signature.inputs, graph.inputs), (signature.outputs, graph.outputs)):
        for index in map(int, indices):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = graph.tensors[index].name, index
            entries.append(entry)
    model.signatureDefs = [signature]
    return _written(model, len(content))


def _written(model: Any, size: int) -> bytes:
    """The bytes of a model, which are about so many."""
    import flatbuffers

    builder = flatbuffers.Builder(size)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _parsed(content: bytes) -> Any:
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    if content[4:8] != _IDENTIFIER:
        raise PreparationError("these are no bytes of a .tflite file: its identifier, TFL3, is missing")
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:  # large files have their constants behind everything else; 0 and 1 say that there is none
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def _scales(tensors: Sequence[Any]) -> set[int]:
    """Indices of the tensors that others name as their scales and zero points: those of blocks have two axes."""
    details = [tensor.quantization.details for tensor in tensors if tensor.quantization is not None]
    named = {getattr(one, name, 0) for one in details for name in ("scales", "zeroPoints")}
    return named - {0}  # which is read where none is named


def _readers(index: int, operators: Sequence[Operator]) -> Iterator[Operator]:
    for operator in operators:
        if index in operator.inputs:
            if operator.name == "DEQUANTIZE":
                yield from _readers(operator.outputs[0], operators)
            else:
                yield operator


def _operator_name(code: Any) -> str:
    """The name of a builtin operator, or the one that a custom operator gives itself."""
    # Old files have the number in a field of a byte, which is too small for what came later.
    name = _enumerator("BuiltinOperator", max(code.builtinCode, code.deprecatedBuiltinCode))
    return _text(code.customCode) if name == "CUSTOM" else name


def _dtype(tensor: Any) -> str:
    return _enumerator("TensorType", tensor.type).lower()


@functools.cache
def _enumerator(enumeration: str, value: int) -> str:
    """What the schema calls a value; the number where it is newer than the schema here."""
    from ai_edge_litert import schema_py_generated as schema

    names = {number: name for name, number in vars(getattr(schema, enumeration)).items() if not name.startswith("_")}
    return str(names.get(value, value))


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(int(length) for length in (tensor.shape if tensor.shape is not None else ()))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _values(data: Any, dtype: str) -> np.ndarray[Any, Any]:
    """The numbers of a constant; of less than 8 bits, the first of a byte lies in its lowest bits."""
    import numpy as np

    content, bits = np.asarray(data, np.uint8), bits_of(dtype)
    if bits >= 8:
        return content.view(np.uint16 if dtype == "bfloat16" else dtype)
    shifted = np.stack([content << (8 - bits - shift) for shift in range(0, 8, bits)], axis=-1).reshape(-1)
    return shifted.view(np.int8) >> (8 - bits)


def _zero_points(tensor: Any) -> np.ndarray[Any, Any] | int:
    """The zero points of a quantized tensor, shaped so that they can be subtracted; 0 where it names none."""
    import numpy as np

    points = tensor.quantization.zeroPoint if tensor.quantization is not None else None
    if points is None or len(points) == 0:
        return 0
    if len(points) == 1:
        return int(points[0])
    shape = [1] * len(_shape(tensor))
    shape[tensor.quantization.quantizedDimension] = -1
    return np.asarray(points, np.int32).reshape(shape)
