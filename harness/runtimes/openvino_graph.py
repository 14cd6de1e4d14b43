"""Reading an OpenVINO network: its weights, and the nodes that were executed. openvino is imported in functions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.fidelity import bits_of
from harness.runtimes.facts import Weight, is_weight_dtype, is_weight_shape, weight_of

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "PRODUCTS",
    "behind",
    "elements",
    "executed",
    "network_weights",
    "operations",
    "type_name",
    "weights_with_readers",
]

PRODUCTS = frozenset(
    {
        "MatMul", "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData",
        "BinaryConvolution", "DeformableConvolution", "Einsum", "LSTMCell", "LSTMSequence", "GRUCell", "GRUSequence",
        "RNNCell", "RNNSequence", "ScaledDotProductAttention",
    }
)  # fmt: skip
"""Operations that are matrix products, convolutions, recurrences or attention."""

_EXECUTED_PRODUCTS = frozenset(
    {
        "Convolution", "Deconvolution", "FullyConnected", "MatMul", "RNNCell", "RNNSeq", "MHA", "QKVProjection",
        "LLMMLP", "ScaledDotProductAttention", "DeformableConvolution", "BinaryConvolution",
    }
)  # fmt: skip
"""The same in the words of the CPU plugin. Fused into a `Subgraph`, they are known by their original names."""
_NO_WORK = frozenset({"Input", "Output", "Const"})

_MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze")
_SCALING = ("Subtract", "Multiply")
"""How stored integers become floating point numbers, after a `Convert`."""

_TYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "f64": "float64", "boolean": "bool"}
_INPUT_AXES = {"Convolution": 1, "GroupConvolution": 2}
"""Operation -> the axis of its weight that is multiplied with inputs; of `MatMul`, its attributes say it.

Transposed convolutions have none: no runtime here looks for patterns in theirs, as none is pruned in groups.
"""


def type_name(dtype: Any) -> str:
    """The harness's word for one of OpenVINO's types, or for its name: `f32` is `float32`, `u8` is `uint8`."""
    word = dtype if isinstance(dtype, str) else str(dtype.get_type_name())
    if word in _TYPES:
        return _TYPES[word]
    for short, long in (("i", "int"), ("u", "uint"), ("f", "float")):
        if word[:1] == short and word[1:2].isdigit():
            return long + word[1:]
    return word


def operations(model: Any) -> Iterator[Any]:
    """All operations of a network, those of bodies (If, Loop, TensorIterator) after the one that holds them."""
    for operation in model.get_ordered_ops():
        yield operation
        kind = operation.get_type_name()
        if kind == "If":
            for number in range(2):
                yield from operations(operation.get_function(number))
        elif kind in ("Loop", "TensorIterator"):
            yield from operations(operation.get_function())


def network_weights(model: Any) -> list[Weight]:
    """The weights that an `openvino.Model` holds; see `harness.runtimes.facts` for what a weight is."""
    return [_weight(constant) for constant in _weight_constants(model)]


def elements(model: Any) -> int:
    """How many elements the weights of an `openvino.Model` have."""
    return sum(count for count, _ in weights_with_readers(model))


def weights_with_readers(model: Any) -> list[tuple[int, list[Any]]]:
    """The elements of each weight, and the operations that read it, also behind a conversion."""
    return [
        (math.prod(map(int, constant.get_output_shape(0))), [reader for reader, _ in _readers(constant)])
        for constant in _weight_constants(model)
    ]


@dataclass(frozen=True)
class Executed:
    """One node that ran.

    dtype     the type of what it reads: of a product with compressed weights, theirs
    computed  the type in which its kernel computes
    product   whether it is a matrix product, convolution, recurrence or attention
    """

    dtype: str
    computed: str
    product: bool

    @property
    def arithmetic(self) -> str:
        """The type in which it computes: `int8` for integers of 8 bits, signed or not."""
        return "int8" if _few_bits(self.computed) else self.computed

    @property
    def quantized(self) -> bool:
        """Whether it is a product that reads integers of 8 bits or fewer; other nodes read masks in 8 bits, too."""
        return self.product and _few_bits(self.dtype)


def executed(runtime_model: Any, model: Any) -> tuple[Executed, ...]:
    """The nodes that calls have executed, by the counters of a network compiled with `PERF_COUNT`.

    `runtime_model` is what `CompiledModel.get_runtime_model` gives after a call, `model` what was compiled.
    """
    products = {found.get_friendly_name() for found in operations(model) if found.get_type_name() in PRODUCTS}
    ran = []
    for node in runtime_model.get_ordered_ops():
        info = {name: str(value.value) for name, value in node.get_rt_info().items()}
        kind = info["layerType"]
        if kind in _NO_WORK or info["execTimeMcs"] == "not_executed":
            continue
        origins = {name for name in info["originalLayersNames"].split(",") if name}
        product = kind in _EXECUTED_PRODUCTS or (kind == "Subgraph" and bool(origins & products))
        dtype = type_name(info["runtimePrecision"])
        # Kernels are named by what they compute in: brgemm_avx512_f32, brgconv_avx512_I8, unknown_f32.
        kernel = type_name(info["primitiveType"].rpartition("_")[2].lower())
        ran.append(Executed(dtype, kernel if bits_of(kernel) else dtype, product))
    return tuple(ran)


def _few_bits(dtype: str) -> bool:
    return "int" in dtype and 0 < bits_of(dtype) <= 8


def behind(operation: Any) -> list[Any]:
    """The operations that read the numbers of another, however they are moved in between."""
    return [reader for reader, _ in _targets(operation, _MOVES)]


def _weight_constants(model: Any) -> list[Any]:
    return [
        operation
        for operation in operations(model)
        if operation.get_type_name() == "Constant"
        and is_weight_dtype(type_name(operation.get_element_type()))
        and is_weight_shape(list(operation.get_output_shape(0)))
        and not _is_scale(operation)
    ]


def _is_scale(constant: Any) -> bool:
    """Whether a constant is the scale or the zero point of stored integers.

    They are written as `Multiply(Subtract(Convert(integers), Convert(zero point)), scale)`.
    """
    return any(
        reader.get_type_name() in _SCALING and number == 1 and _stored(reader.input_value(0).get_node()) is not None
        for reader, number in _targets(constant, through=("Convert",))
    )


def _stored(operation: Any) -> Any | None:
    """The constant of few bits whose numbers an operation converts back; None where it does something else."""
    while operation.get_type_name() in ("Convert", *_SCALING):
        operation = operation.input_value(0).get_node()
    few = operation.get_type_name() == "Constant" and 0 < bits_of(type_name(operation.get_element_type())) <= 8
    return operation if few else None


def _targets(operation: Any, through: tuple[str, ...]) -> Iterator[tuple[Any, int]]:
    """The operations that read an output, with the number of the input, behind those of the types in `through`."""
    for target in operation.output(0).get_target_inputs():
        reader, number = target.get_node(), target.get_index()
        if reader.get_type_name() in through and number == 0:
            yield from _targets(reader, through)
        else:
            yield reader, number


def _readers(constant: Any) -> list[tuple[Any, int]]:
    """What computes with a constant: the operations behind its conversion to floating point and its reshaping."""
    targets = constant.output(0).get_target_inputs()
    converted = all(target.get_node().get_type_name() == "Convert" for target in targets)
    return list(_targets(constant, ("Convert", "FakeQuantize", *_MOVES, *(_SCALING if converted else ()))))


def _weight(constant: Any) -> Weight:
    values = _values(constant)
    dtype = type_name(constant.get_element_type())
    return weight_of(dtype, values, lambda: _zero_point(constant), _input_axis(constant))


def _values(constant: Any) -> np.ndarray[Any, Any]:
    """The numbers as they are stored, in a type that numpy has: of four bits and of bfloat16, a wider one."""
    import numpy as np

    dtype = type_name(constant.get_element_type())
    if dtype == "bfloat16":
        return constant.get_data(dtype=np.float32)  # type: ignore[no-any-return]
    if bits_of(dtype) < 8:
        return constant.get_data(dtype=np.int32)  # type: ignore[no-any-return]
    return constant.data  # type: ignore[no-any-return]


def _zero_point(constant: Any) -> np.ndarray[Any, Any] | int:
    """The zero point of stored integers, shaped so that it can be subtracted; 0 where the network names none."""
    for reader, number in _targets(constant, through=("Convert",)):
        if reader.get_type_name() == "Subtract" and number == 0:
            point = _stored(reader.input_value(1).get_node())
            if point is not None:
                return _values(point).astype("int32")
    return 0


def _input_axis(constant: Any) -> int | None:
    """The axis of a weight that is multiplied with inputs; None where no product reads it, or in another shape."""
    for reader, number in _targets(constant, ("Convert", "FakeQuantize", *_SCALING)):
        kind = reader.get_type_name()
        if kind == "MatMul":
            attributes = reader.get_attributes()
            if number == 1:
                return -1 if attributes["transpose_b"] else -2
            return -2 if attributes["transpose_a"] else -1
        if kind in _INPUT_AXES and number == 1:
            return _INPUT_AXES[kind]
    return None
