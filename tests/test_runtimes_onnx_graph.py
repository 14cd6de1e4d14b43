"""Weights of ONNX networks: each once, by role, also inside subgraphs."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from harness import PreparationError
from harness.runtimes.onnx_graph import check_size, network_weights, nodes, weights
from tests.onnx_networks import conditional, model, tensor


def test_weights_in_subgraphs_count() -> None:
    network = conditional()
    assert [node.op_type for node in nodes(network.graph)] == ["ReduceSum", "Greater", "If", "MatMul", "MatMul"]
    assert sorted((weight.elements, weight.zeros) for weight in network_weights(network)) == [(12, 0), (12, 12)]
    read = [(constant.elements, [node.op_type for node, _ in constant.readers]) for constant in weights(network)]
    assert read == [(12, ["MatMul"]), (12, ["MatMul"])]


def test_a_weight_that_two_nodes_read_counts_once() -> None:
    steps = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])]
    assert sum(weight.elements for weight in network_weights(model(steps, [tensor("w", np.ones((4, 4)))]))) == 16


def test_a_weight_in_a_constant_node_counts() -> None:
    constant = helper.make_node("Constant", [], ["w"], value=tensor("", np.ones((4, 2))))
    network = model([constant, helper.make_node("MatMul", ["x", "w"], ["y"])], [])
    assert [weight.elements for weight in network_weights(network)] == [8]


def test_weights_in_several_constant_nodes_count_each() -> None:
    """The tensors inside have no names."""
    steps = [
        helper.make_node("Constant", [], ["a"], value=tensor("", np.ones((4, 4)))),
        helper.make_node("Constant", [], ["b"], value=tensor("", np.zeros((4, 2)))),
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("MatMul", ["h", "b"], ["y"]),
    ]
    assert [(weight.elements, weight.zeros) for weight in network_weights(model(steps, []))] == [(16, 0), (8, 8)]


def test_weights_of_one_name_in_two_branches_count_each_with_its_own_zero_point() -> None:
    network = conditional()
    (choice,) = (node for node in network.graph.node if node.op_type == "If")
    for attribute, point in zip(choice.attribute, (3, 5), strict=True):
        del attribute.g.initializer[:]
        values = np.full((4, 3), point)
        values[0, 0] = 4
        tensors = [tensor("q", values, np.uint8), tensor("s", 0.1), tensor("z", point, np.uint8)]
        attribute.g.initializer.extend(tensors)
        attribute.g.node[0].input[1] = "w"
        attribute.g.node.insert(0, helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"]))
    assert [(weight.elements, weight.zeros) for weight in network_weights(network)] == [(12, 11), (12, 11)]


def test_biases_scales_and_indices_are_no_weights() -> None:
    steps = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Mul", ["h", "scale"], ["m"]),
        helper.make_node("Gather", ["m", "indices"], ["y"]),
    ]
    tensors = [
        tensor("w", np.ones((4, 4))),
        tensor("b", np.ones((1, 4))),
        tensor("scale", np.ones((1, 4))),
        tensor("indices", [[0, 1], [1, 0]], np.int64),
    ]
    assert [weight.elements for weight in network_weights(model(steps, tensors))] == [16]


def test_zeros_of_quantized_weights_are_at_their_zero_point() -> None:
    steps = [helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=1)]
    steps.append(helper.make_node("MatMul", ["x", "w"], ["y"]))
    values = [[7, 0], [7, 9], [8, 9], [8, 255]]
    tensors = [tensor("q", values, np.uint8), tensor("s", [0.1, 0.1]), tensor("z", [7, 9], np.uint8)]
    (weight,) = network_weights(model(steps, tensors))
    assert (weight.dtype, weight.elements, weight.zeros, weight.magnitude) == ("uint8", 8, 4, 246)


@pytest.mark.parametrize(
    ("reader", "inputs"),
    [
        ("DequantizeLinear", ["rows", "s", "z"]),
        ("MatMulInteger", ["rows", "w", "z", "v"]),
        ("QLinearMatMul", ["rows", "s", "z", "w", "s", "v", "s", "v"]),
    ],
)
def test_zeros_of_a_table_are_at_the_zero_point_of_its_rows(reader: str, inputs: list[str]) -> None:
    steps = [helper.make_node("Gather", ["q", "x"], ["rows"]), helper.make_node(reader, inputs, ["y"])]
    tensors = [tensor("q", [[7, 7], [7, 0]], np.uint8), tensor("w", [1, 1], np.uint8), tensor("s", 0.1)]
    tensors += [tensor("z", 7, np.uint8), tensor("v", 9, np.uint8)]
    (found,) = network_weights(model(steps, tensors))
    assert (found.elements, found.zeros, found.magnitude) == (4, 3, 7)


@pytest.mark.parametrize(("points", "zeros"), [([7, 9], 3), ([7, 9, 7], 1)], ids=["of columns", "of rows"])
def test_zero_points_of_rows_are_those_of_the_columns_of_their_table(points: list[int], zeros: int) -> None:
    """Its other axes are not theirs: those of what is looked up are more."""
    steps = [
        helper.make_node("Gather", ["q", "x"], ["rows"]),
        helper.make_node("DequantizeLinear", ["rows", "s", "z"], ["y"], axis=2 if zeros == 3 else 1),
    ]
    scales = tensor("s", [0.1] * len(points))
    (found,) = network_weights(
        model(steps, [tensor("q", [[7, 9], [7, 0]], np.uint8), scales, tensor("z", points, np.uint8)])
    )
    assert (found.elements, found.zeros) == (4, zeros)


def test_each_direction_of_a_recurrence_has_zero_points_of_its_own() -> None:
    values = np.full((2, 3, 4), 7)
    values[1] = 9
    values[:, 0, 0] = 8
    inputs = ["x", "q", "q", "b", "", "", "", "", "s", "z", "s", "z"]
    step = helper.make_node("DynamicQuantizeLSTM", inputs, ["y"], domain="com.microsoft", hidden_size=1)
    for points in ([[7] * 4, [9] * 4], [7, 9]):
        tensors = [tensor("q", values, np.uint8), tensor("b", np.ones((2, 8))), tensor("z", points, np.uint8)]
        (found,) = network_weights(model([step], [*tensors, tensor("s", np.ones((2, 4)))]))
        assert (found.elements, found.zeros, found.magnitude) == (24, 22, 1)


def test_symmetric_weights_have_their_zero_at_zero() -> None:
    steps = [helper.make_node("DequantizeLinear", ["q", "s"], ["w"]), helper.make_node("MatMul", ["x", "w"], ["y"])]
    values = np.array([[0, -64]] * 4)
    (weight,) = network_weights(model(steps, [tensor("q", values, np.int8), tensor("s", 0.1)]))
    assert (weight.zeros, weight.magnitude) == (4, 64)


def test_blockwise_scales_are_no_weights_and_packed_elements_count_singly() -> None:
    node = helper.make_node(
        "MatMulNBits", ["x", "q", "s"], ["y"], domain="com.microsoft", K=64, N=8, bits=4, block_size=32
    )
    tensors = [tensor("q", np.zeros((8, 2, 16)), np.uint8), tensor("s", np.ones((8, 2)))]
    (weight,) = network_weights(model([node], tensors))
    assert (weight.dtype, weight.elements, weight.bits) == ("int4", 512, 4)


def test_patterns_of_packed_weights_lie_on_the_axis_of_the_inputs() -> None:
    """What fills the last block is no weight. Zeros are at 8 where the node names no zero points."""
    values = np.full((4, 2, 32), 9)
    values[:, 0, 2::4] = values[:, 0, 3::4] = 8  # two of four, but for the last four of the 36 inputs
    values[:, 1, 4:] = 8
    packed = values[..., ::2] | values[..., 1::2] << 4
    node = helper.make_node(
        "MatMulNBits", ["x", "q", "s"], ["y"], domain="com.microsoft", K=36, N=4, bits=4, block_size=32
    )
    tensors = [tensor("q", packed, np.uint8), tensor("s", np.ones((4, 2)))]
    (weight,) = network_weights(model([node], tensors))
    assert (weight.elements, weight.zeros) == (4 * 36, 4 * 16)
    assert weight.patterns == {"1:2": 64, "1:4": 0, "2:4": 4 * 32, "4:8": 0}


def test_half_precision_is_told_by_its_type() -> None:
    steps = [helper.make_node("Cast", ["w"], ["wide"], to=TensorProto.FLOAT)]
    steps.append(helper.make_node("MatMul", ["x", "wide"], ["y"]))
    network = model(steps, [tensor("w", np.ones((4, 2)), np.float16)])
    assert [weight.dtype for weight in network_weights(network)] == ["float16"]


@pytest.mark.parametrize(
    ("dtype", "name", "size"),
    [
        (TensorProto.DOUBLE, "float64", 64),
        (TensorProto.BFLOAT16, "bfloat16", 16),
        (TensorProto.FLOAT8E4M3FN, "float8_e4m3fn", 8),
        (TensorProto.FLOAT8E5M2, "float8_e5m2", 8),
        (TensorProto.INT4, "int4", 4),
        (TensorProto.UINT4, "uint4", 4),
        (TensorProto.FLOAT4E2M1, "float4_e2m1fn", 4),
    ],
)
def test_types_that_numpy_does_not_have_are_told_by_their_names(dtype: int, name: str, size: int) -> None:
    """onnx before 1.19 gives the types of numpy that hold their numbers: float32 for bfloat16, int8 for int4."""
    held = helper.make_tensor("w", dtype, [4, 4], bytes(16 * size // 8), raw=True)
    (weight,) = network_weights(model([helper.make_node("MatMul", ["x", "w"], ["y"])], [held]))
    assert (weight.dtype, weight.bits, weight.zeros) == (name, size, 16)


def test_a_network_that_no_file_can_hold_is_refused_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above 2 GB protobuf can write no message, and says nothing but that."""
    monkeypatch.setattr("harness.runtimes.onnx_graph.LARGEST", 1000)
    steps = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    check_size(model(steps, [tensor("w", np.ones((4, 62)))]))
    check_size(model(steps, [tensor("w", np.ones((4, 125)), np.float16)]))
    check_size(model(steps, [helper.make_tensor("w", TensorProto.INT4, [4, 500], bytes(1000), raw=True)]))
    words = r"more than the 2 GB that one \.onnx file can hold; serve a torch network by compiled or aotinductor"
    for network in (model(steps, [tensor("w", np.ones((4, 63)))]), model(steps, [tensor("w", np.ones((4, 32)), "f8")])):
        with pytest.raises(PreparationError, match=words):
            check_size(network)


def test_patterns_lie_on_the_axis_that_is_multiplied_with_inputs() -> None:
    kept = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 0, 0]])  # outputs x inputs
    kept[0, 0] = 2
    broken = np.array([[1, 1, 1, 0]] * 4)
    kernel = np.ones((2, 4, 3, 3))
    kernel[:, 1:3] = 0
    steps = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Gemm", ["h", "b"], ["i"], transB=1),
        helper.make_node("Gemm", ["i", "c"], ["j"]),
        helper.make_node("DequantizeLinear", ["d", "s", "z"], ["w"], axis=1),
        helper.make_node("MatMul", ["j", "w"], ["k"]),
        helper.make_node("Conv", ["k", "e"], ["l"]),
        helper.make_node("Gather", ["f", "l"], ["y"]),
    ]
    tensors = [
        tensor("a", kept.T),
        tensor("b", kept),
        tensor("c", broken.T),
        tensor("d", kept.T + 7, np.uint8),
        tensor("s", [0.1] * 4),
        tensor("z", [7] * 4, np.uint8),
        tensor("e", kernel),
        tensor("f", kept),
    ]
    found = [weight.patterns and weight.patterns["2:4"] for weight in network_weights(model(steps, tensors))]
    assert found == [16, 16, 0, 16, 72, None]


def test_patterns_are_found_behind_a_transposition() -> None:
    """As torch exports a linear layer that is called several times."""
    kept = np.array([[1, 1, 0, 0]] * 3 + [[0, 1, 0, 1]] * 3)  # outputs x inputs
    kernel = np.ones((3, 4, 2, 2))
    kernel[:, 2:] = 0
    steps = [
        helper.make_node("Transpose", ["a"], ["at"]),
        helper.make_node("MatMul", ["x", "at"], ["h"]),
        helper.make_node("Transpose", ["b"], ["bt"], perm=[1, 0]),
        helper.make_node("Identity", ["bt"], ["unused"]),
        helper.make_node("MatMul", ["h", "bt"], ["i"]),
        helper.make_node("Transpose", ["c"], ["ct"], perm=[1, 0, 2, 3]),
        helper.make_node("Conv", ["i", "ct"], ["j"]),
        helper.make_node("Transpose", ["d"], ["dt"]),
        helper.make_node("Gather", ["dt", "j"], ["y"]),
    ]
    tensors = [tensor(name, kept) for name in "abd"]
    tensors.insert(2, tensor("c", kernel.transpose(1, 0, 2, 3)))
    found = [weight.patterns and weight.patterns["2:4"] for weight in network_weights(model(steps, tensors))]
    assert found == [24, 24, 48, None]
