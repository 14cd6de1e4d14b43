"""ONNX Runtime's quantizers: what they reach is promised, and no more; what computes in float32 is no INT8."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, version_converter

from harness import Deployment, Evaluation, Model, PreparationError, Promise
from harness.hardware import cpu
from harness.runtimes import packages
from harness.runtimes.native import load_network, native_runtime
from harness.techniques import int4_weights, int8_dynamic, int8_static, int8_weights, quantize_onnx
from harness.techniques.base import Technique, as_pipeline, technique
from harness.techniques.preprocess_onnx import preprocessed
from harness.testing import check_technique, tiny_onnx_model
from tests.onnx_networks import as_model, conditional, model, tensor


def weight(name: str, *shape: int) -> Any:
    return tensor(name, np.random.default_rng(len(name)).standard_normal(shape))


def test_products_that_stay_float_are_not_excused_by_a_neighbour_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime has an integer kernel for the activation between them, and none for transposed convolutions."""
    steps = [
        helper.make_node("ConvTranspose", ["x", "a"], ["h"], strides=[2, 2]),
        helper.make_node("LeakyRelu", ["h"], ["l"]),
        helper.make_node("ConvTranspose", ["l", "b"], ["y"], strides=[2, 2]),
    ]
    network = model(steps, [weight("a", 4, 8, 2, 2), weight("b", 8, 3, 2, 2)], axes=(4, 4, 4))
    with pytest.raises(PreparationError, match=r"nothing to quantize: ONNX Runtime has no integers for ConvTranspose$"):
        check_technique(int8_static, as_model(network, tmp_path))
    monkeypatch.setattr(quantize_onnx, "_FLOATS", ())
    with pytest.raises(
        AssertionError, match=r"promised arithmetic\.int8 >= 0\.001, found not found.*nodes\.quantized': 1,"
    ):
        check_technique(int8_static, as_model(network, tmp_path))


def test_a_transposed_convolution_between_others_stays_float_as_it_is(tmp_path: Path) -> None:
    """Stored as integers, its weight would be converted to float at each call."""
    steps = [
        helper.make_node("Conv", ["x", "first"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("ConvTranspose", ["r", "wider"], ["t"], strides=[2]),
        helper.make_node("Relu", ["t"], ["s"]),
        helper.make_node("Conv", ["s", "last"], ["y"]),
    ]
    weights = [weight("first", 8, 4, 3), weight("wider", 8, 8, 2), weight("last", 4, 8, 3)]
    made = as_model(model(steps, weights, axes=(4, 8)), tmp_path)
    evidence, facts = check_technique(int8_static, made)
    assert evidence[0].promise == "quantized >= 0.54"
    assert (facts["quantized"], facts["weights.float32"]) == (0.6, 0.4)
    assert (facts["arithmetic.int8"], facts["arithmetic.float32"]) == pytest.approx((2 / 3, 1 / 3))
    with pytest.raises(PreparationError, match=r"integers for ConvTranspose; others with weights are Conv \(choose"):
        check_technique(int8_static(ops="ConvTranspose"), made)


@pytest.mark.parametrize("technique", [int8_dynamic(ops="Gather"), int8_static(ops="Gather")])
def test_of_tables_alone_no_arithmetic_is_promised(technique: Technique, tmp_path: Path) -> None:
    steps = [
        helper.make_node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w"], ["y"]),
    ]
    network = model(steps, [weight("table", 64, 8), weight("w", 8, 4)])
    evidence, facts = check_technique(technique, as_model(network, tmp_path))
    assert [item.promise for item in evidence] == ["quantized >= 0.847"]
    assert (facts["quantized"], facts["precision"]) == (512 / 544, "float32")


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_recurrent_weights_of_one_direction_and_of_two_are_quantized(direction: str, tmp_path: Path) -> None:
    """Of two, ONNX Runtime stores zero points and biases as a row for each."""
    ways = 2 if direction == "bidirectional" else 1
    step = helper.make_node("LSTM", ["x", "w", "r", "b"], ["y"], hidden_size=3, direction=direction)
    weights = [weight("w", ways, 12, 4), weight("r", ways, 12, 3), weight("b", ways, 24)]
    _, facts = check_technique(int8_dynamic(ops="LSTM"), as_model(model([step], weights, axes=(2, 4)), tmp_path))
    assert (facts["parameters"], facts["quantized"], facts["precision"]) == (ways * 12 * (4 + 3), 1.0, "int8")


def test_zeros_of_a_table_that_is_looked_up_as_integers_are_counted(tmp_path: Path) -> None:
    """ONNX Runtime quantizes it as an activation: its zero point is where its rows are multiplied or converted back."""
    table = np.random.default_rng(0).standard_normal((16, 8)) + 0.5
    table[2:] = 0
    network = rows_and_likeness([helper.make_node("Add", ["h", "rows"], ["y"])], (8, 8))
    network.graph.initializer[0].CopyFrom(tensor("table", table))
    made = as_model(network, tmp_path)
    for ops in ("Gather", ("MatMul", "Gather")):
        _, facts = check_technique(int8_dynamic(ops=ops), made)
        assert facts["weights.uint8"] == 128 / 192
        assert float(facts["sparsity"]) >= 112 / 192


def left_and_right() -> Any:
    """A product with a constant on its left, and one with a constant on its right, a fifth of the weights."""
    steps = [helper.make_node("MatMul", ["a", "x"], ["h"]), helper.make_node("MatMul", ["h", "b"], ["y"])]
    return model(steps, [weight("a", 16, 4), weight("b", 4, 4)], axes=(4, 4))


def stacked_and_plain() -> Any:
    """A product with a matrix for each of two heads, four fifths of the weights, and one with a single matrix."""
    steps = [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("MatMul", ["h", "b"], ["y"])]
    return model(steps, [weight("a", 2, 32, 32), weight("b", 32, 16)], axes=(2, 4, 32))


@pytest.mark.parametrize("network", [left_and_right, stacked_and_plain])
@pytest.mark.parametrize("technique", [int8_dynamic, int8_static, int8_weights])
def test_products_that_the_quantizer_does_not_take_stay_float_and_are_not_promised(
    technique: Technique, network: Callable[[], Any], tmp_path: Path
) -> None:
    """ONNX Runtime would store some and multiply floats, and others would fail at the first call."""
    evidence, facts = check_technique(technique, as_model(network(), tmp_path))
    assert evidence[0].promise == "quantized >= 0.18"
    assert facts["quantized"] == pytest.approx(0.2)
    assert facts["precision"] == ("float32" if technique is int8_weights else "float32+int8")


def test_with_one_scale_for_a_weight_several_matrices_are_multiplied_as_integers(tmp_path: Path) -> None:
    _, facts = check_technique(int8_static(per_channel=False), as_model(stacked_and_plain(), tmp_path))
    assert (facts["quantized"], facts["precision"]) == (1.0, "int8")


def two_products(*nodes: Any) -> Any:
    """A network of nodes that read `x`, the weights `first` and `second`, and the bias `b`."""
    return model(nodes, [weight("first", 16, 16), weight("second", 16, 16), tensor("b", np.ones(16))], axes=(16,))


def two_skips() -> Any:
    return two_products(
        helper.make_node("MatMul", ["x", "first"], ["m"]),
        helper.make_node("Add", ["m", "x"], ["s"]),
        helper.make_node("Sigmoid", ["s"], ["r"]),
        helper.make_node("MatMul", ["r", "second"], ["n"]),
        helper.make_node("Add", ["n", "r"], ["y"]),
    )


def block_with_a_skip() -> Any:
    return two_products(
        helper.make_node("Gemm", ["x", "first", "b"], ["m"]),
        helper.make_node("Relu", ["m"], ["r"]),
        helper.make_node("MatMul", ["r", "second"], ["n"]),
        helper.make_node("Add", ["n", "x"], ["y"]),
    )


def sum_of_products() -> Any:
    return two_products(
        helper.make_node("MatMul", ["x", "first"], ["m"]),
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("MatMul", ["r", "second"], ["n"]),
        helper.make_node("Add", ["m", "n"], ["y"]),
    )


def skip_in_a_gemm(added: str = "r", **options: Any) -> Any:
    """A Gemm that adds what is computed, or a constant."""
    return two_products(
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Gemm", ["r", "first", added], ["m"], name="sum", **options),
        helper.make_node("Sigmoid", ["m"], ["n"]),
        helper.make_node("MatMul", ["n", "second"], ["y"]),
    )


@pytest.mark.parametrize(
    "network",
    [
        two_skips(),
        block_with_a_skip(),
        sum_of_products(),
        skip_in_a_gemm(),
        skip_in_a_gemm(alpha=0.5, transB=1),
        skip_in_a_gemm("b", alpha=0.5),
    ],
    ids=["skips", "block", "sum", "gemm", "turned", "scaled"],
)
def test_a_product_whose_sum_with_something_computed_was_fused_is_of_integers(network: Any, tmp_path: Path) -> None:
    """ONNX Runtime's own preprocessing fuses them into a Gemm for which it has no integers, and stores some."""
    _, facts = check_technique(int8_static, as_model(network, tmp_path))
    assert (facts["quantized"], facts["arithmetic.int8"]) == (1.0, 1.0)


def test_a_product_for_which_there_are_no_integers_stays_float_and_is_not_promised(tmp_path: Path) -> None:
    evidence, facts = check_technique(int8_static, as_model(skip_in_a_gemm(beta=2.0), tmp_path))
    assert evidence[0].promise == "quantized >= 0.45"
    assert (facts["quantized"], facts["arithmetic.int8"], facts["arithmetic.float32"]) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("technique", [int8_dynamic, int8_static, int4_weights])
def test_a_network_without_a_product_that_is_taken_is_refused(technique: Technique, tmp_path: Path) -> None:
    network = model([helper.make_node("MatMul", ["a", "x"], ["y"])], [weight("a", 16, 4)], axes=(4, 4))
    with pytest.raises(PreparationError, match="no matrix product of this network has a weight of two axes on its"):
        check_technique(technique, as_model(network, tmp_path))


@pytest.mark.parametrize("technique", [int8_dynamic, int8_static])
def test_what_takes_weights_of_more_axes_is_named_where_there_are_no_others(
    technique: Technique, tmp_path: Path
) -> None:
    network = model([helper.make_node("MatMul", ["x", "a"], ["y"])], [weight("a", 2, 32, 32)], axes=(2, 4, 32))
    with pytest.raises(PreparationError, match=r"two axes, which int8_static\(per_channel=False\) alone takes"):
        check_technique(technique, as_model(network, tmp_path))


def test_beside_a_product_that_is_not_taken_the_operators_to_choose_are_named(tmp_path: Path) -> None:
    steps = [helper.make_node("Conv", ["x", "c"], ["h"]), helper.make_node("MatMul", ["a", "h"], ["y"])]
    network = model(steps, [weight("c", 8, 4, 1), weight("a", 16, 8)], axes=(4, 4))
    with pytest.raises(PreparationError, match=r"takes; others with weights are Conv \(choose with ops=…\)"):
        check_technique(int8_dynamic, as_model(network, tmp_path))


def behind_a_branch() -> Any:
    """A product with 6 numbers behind an If, of which each branch has one with 12."""
    network = conditional()
    network.graph.node.append(helper.make_node("MatMul", ["y", "last"], ["z"]))
    network.graph.output[0].name = "z"
    network.graph.initializer.append(weight("last", 3, 2))
    return network


def with_biases(network: Any) -> Any:
    """The same with linear layers in the branches: products that add constants of their own subgraph."""
    (choice,) = (node for node in network.graph.node if node.op_type == "If")
    for attribute in choice.attribute:
        (product,) = attribute.g.node
        product.op_type = "Gemm"
        product.input.append(f"{product.output[0]}_bias")
        attribute.g.initializer.append(tensor(product.input[2], np.ones(3)))
    return network


def test_static_quantization_leaves_subgraphs_in_float(tmp_path: Path) -> None:
    evidence, facts = check_technique(int8_static, as_model(behind_a_branch(), tmp_path))
    assert evidence[0].promise == "quantized >= 0.18"
    assert (facts["quantized"], facts["precision"]) == (0.2, "float32+int8")
    _, facts = check_technique(int8_dynamic, as_model(behind_a_branch(), tmp_path))
    assert (facts["quantized"], facts["precision"]) == (1.0, "int8")
    for network in (conditional(), with_biases(conditional())):
        with pytest.raises(PreparationError, match=r"weights of this network lie in subgraphs .* int8_dynamic does"):
            check_technique(int8_static, as_model(network, tmp_path))


@pytest.mark.parametrize(("technique", "stored"), [(int8_dynamic, 2), (int8_static, 1)])
def test_a_weight_that_only_one_of_its_readers_keeps_may_be_stored_twice(
    technique: Technique, stored: int, tmp_path: Path
) -> None:
    steps = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"], name="second"),
    ]
    shared = as_model(model(steps, [weight("w", 4, 4)]), tmp_path)
    evidence, facts = check_technique(technique(keep="first"), shared)
    assert [item.promise for item in evidence][:2] == ["quantized >= 0.45", "arithmetic.int8 >= 0.001"]
    assert (facts["parameters"], facts["quantized"]) == (16 * stored, 1 / stored)
    assert facts["arithmetic.float32"] == 0.5


def rows_and_likeness(last: Sequence[Any], shape: tuple[int, int]) -> Any:
    """Ids to rows of a table, and what a layer makes of them times the same table."""
    steps = [
        helper.make_node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w"], ["h"]),
        *last,
    ]
    return model(steps, [weight("table", 16, 8), weight("w", *shape), tensor("flat", [-1, 8], np.int64)])


def tied_by_a_gemm() -> Any:
    last = [
        helper.make_node("Reshape", ["h", "flat"], ["f"]),
        helper.make_node("Gemm", ["f", "table"], ["y"], transB=1),
    ]
    return rows_and_likeness(last, (8, 8))


def tied_by_a_product() -> Any:
    return rows_and_likeness([helper.make_node("MatMul", ["h", "table"], ["y"])], (8, 16))


@pytest.mark.parametrize("ops", [(), ("Gather", "Gemm", "MatMul")], ids=["all", "tables"])
@pytest.mark.parametrize("network", [tied_by_a_gemm, tied_by_a_product])
def test_a_table_that_is_a_products_weight_too_is_looked_up_in_float(
    network: Callable[[], Any], ops: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found there would be quantized with the scales of the product's channels, and fail at the first call."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(quantize_onnx, "instruction_sets", lambda: ("avx", "avx2", "fma"))
    evidence, facts = check_technique(int8_static(ops=ops), as_model(network(), tmp_path))
    assert "quantized.bits <= 7" in [item.promise for item in evidence]
    assert (facts["quantized"], facts["arithmetic.int8"]) == (1.0, 1.0)


def tied_by_a_transposed_table() -> Any:
    last = [helper.make_node("Transpose", ["table"], ["t"], perm=[1, 0]), helper.make_node("MatMul", ["h", "t"], ["y"])]
    return rows_and_likeness(last, (8, 8))


@technique(takes="onnx")
def no_larger(deployment: Deployment, most: int) -> Deployment:
    """What a step that made the network smaller promises of it."""
    return deployment.promising(Promise("parameters", at_least=1, at_most=most))


@pytest.mark.parametrize(
    "step", [int8_dynamic, int8_static, int8_static(max_drop=0.5), int8_weights], ids=lambda step: step.id
)
def test_a_weight_that_a_quantizer_stores_twice_breaks_no_promise_of_a_step_before_it(
    step: Technique, tmp_path: Path
) -> None:
    """The table of 128 numbers is looked up in float, and its transposed copy is quantized."""
    right = Evaluation(value=1.0, scores=np.ones(4), workload="ones", label="accuracy")
    tied = dataclasses.replace(as_model(tied_by_a_transposed_table(), tmp_path), evaluate=lambda _: right)
    evidence, facts = check_technique(no_larger(128 + 64) | step, tied)
    assert (evidence[0].promise, facts["parameters"]) == ("parameters >= 1 and <= 320", 2 * 128 + 64)
    with pytest.raises(AssertionError, match=r"no_larger:191 promised parameters >= 1 and <= 319, found 320\."):
        check_technique(no_larger(128 + 64 - 1) | step, tied)


def rewritten(folder: Path, change: Callable[[Any], None]) -> Model:
    """The tiny ONNX model with something changed in its file."""
    made = tiny_onnx_model(folder)
    network = onnx.load(str(made.load()))
    change(network)
    path = folder / "rewritten.onnx"
    onnx.save(network, str(path))
    return dataclasses.replace(made, load=lambda: path)


def older(network: Any) -> None:
    network.opset_import[0].version, network.ir_version = 11, 6


def test_a_network_of_an_old_opset_gets_scales_for_each_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below opset 13 the node that ONNX Runtime's quantizer writes for them is refused where it is loaded."""
    model_ = rewritten(tmp_path, older)
    _, facts = check_technique(int8_static, model_)
    assert (facts["quantized"], facts["precision"]) == (1.0, "int8")

    def refuse(*_: Any) -> None:
        raise RuntimeError("no adapter")

    monkeypatch.setattr(version_converter, "convert_version", refuse)
    with pytest.raises(PreparationError, match=r"has 11, .*\(no adapter\); convert it to 13 or newer, or .*=False\)"):
        check_technique(int8_static, model_)
    assert check_technique(int8_static(per_channel=False), model_)[1]["quantized"] == 1.0


def older_with_functions(network: Any) -> None:
    """Of opset 11, its second product in a function of its own."""
    product = helper.make_node("MatMul", ["a", "b"], ["c"], name="classes")
    opsets = [helper.make_opsetid("", 11)]
    network.functions.append(helper.make_function("own", "Classes", ["a", "b"], ["c"], [product], opsets))
    network.opset_import.append(helper.make_opsetid("own", 1))
    network.opset_import[0].version, network.ir_version = 11, 8
    node = next(node for node in network.graph.node if node.name == "classes")
    node.op_type, node.domain = "Classes", "own"


def test_functions_of_a_network_of_an_old_opset_are_converted_too(tmp_path: Path) -> None:
    _, facts = check_technique(int8_static, rewritten(tmp_path, older_with_functions))
    assert (facts["quantized"], facts["precision"], facts["nodes.quantized"]) == (1.0, "int8", 2)


def one_at_a_time(network: Any) -> None:
    network.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    network.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1


def test_calibration_data_are_cut_into_the_batch_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    real = quantize_onnx._Batches.get_next

    def counted(self: Any) -> Any:
        batch = real(self)
        seen.extend(array.shape for array in (batch or {}).values())
        return batch

    monkeypatch.setattr(quantize_onnx._Batches, "get_next", counted)
    fixed = rewritten(tmp_path, one_at_a_time)
    assert check_technique(int8_static, fixed)[1]["quantized"] == 1.0
    assert seen == [(1, 1, 12, 12)] * 128
    with pytest.raises(PreparationError, match="fewer than the 1 examples of one call; give more of it, or export the"):
        check_technique(
            int8_static, dataclasses.replace(fixed, calibration=lambda: [{"image": np.empty((0, 1, 12, 12))}])
        )


def with_a_mask(model_: Model) -> Model:
    """The same, whose batches hold an array that the network does not read."""

    def masked(batch: Any) -> Any:
        return {"mask": np.ones(1, np.int64), **batch}

    calibration = model_.calibration or list
    return dataclasses.replace(
        model_,
        inputs=lambda size, seed: masked(model_.inputs(size, seed)),
        calibration=lambda: map(masked, calibration()),
    )


def test_an_array_of_the_calibration_data_that_the_network_does_not_read_is_left_out(tmp_path: Path) -> None:
    """As in a call and in an evaluation; ONNX Runtime refuses it, and its length is that of no batch."""
    for made in (tiny_onnx_model(tmp_path), rewritten(tmp_path, one_at_a_time)):
        assert check_technique(int8_static, with_a_mask(made))[1]["quantized"] == 1.0


def test_calibration_data_of_several_lengths_are_cut_length_by_length(tmp_path: Path) -> None:
    network = model([helper.make_node("MatMul", ["x", "w"], ["y"])], [weight("w", 4, 4)], axes=(4, 4))
    batch, length, _ = network.graph.input[0].type.tensor_type.shape.dim
    batch.dim_value, length.dim_param = 2, "length"
    lengths = [np.ones((size, number, 4), np.float32) for size, number in ((1, 3), (3, 5), (2, 3))]
    fixed = dataclasses.replace(
        as_model(network, tmp_path),
        inputs=lambda _, seed: {"x": np.random.default_rng(seed).random((2, 4, 4), np.float32)},
        calibration=lambda: [{"x": one} for one in lengths],
    )
    assert check_technique(int8_static, fixed)[1]["quantized"] == 1.0
    with pytest.raises(PreparationError, match="fewer than the 2 examples of one call in each shape that it has; give"):
        check_technique(
            int8_static, dataclasses.replace(fixed, calibration=lambda: [{"x": one[:1]} for one in lengths[:2]])
        )


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_histograms_are_made_of_calibration_data_of_several_lengths(method: str, tmp_path: Path) -> None:
    """Batches of one shape stay joined, and give the ranges that they gave; others ONNX Runtime could not join."""
    network = model([helper.make_node("MatMul", ["x", "w"], ["y"])], [weight("w", 16, 8)], axes=(16,))
    made = as_model(network, tmp_path)
    batches = [dict(made.inputs(size, seed)) for seed, size in enumerate((32, 32, 4))]
    _, facts = check_technique(int8_static(method), dataclasses.replace(made, calibration=lambda: batches))
    assert (facts["quantized"], facts["arithmetic.int8"]) == (1.0, 1.0)
    assert quantize_onnx._one_by_one(batches, method) == {"CalibStridedMinMax": 1}
    assert quantize_onnx._one_by_one(batches[:2], method) == {}


def ranges_of(method: str, made: Model, folder: Path) -> dict[str, float]:
    """The scales of the activations, by the names of their tensors."""
    start = Deployment(made, load_network(made), native_runtime(made.form), cpu, folder)
    network = as_pipeline(int8_static(method)).apply(start).network
    values = {one.name: numpy_helper.to_array(one) for one in network.graph.initializer}
    quantizers = [node for node in network.graph.node if node.op_type == "QuantizeLinear"]
    return {node.input[0]: float(values[node.input[1]].item()) for node in quantizers}


def test_entropy_cuts_off_what_is_rare(tmp_path: Path) -> None:
    """Of as many bins as it quantizes to, ONNX Runtime's default, the whole range is the only candidate."""
    values = np.random.default_rng(0).uniform(-1, 1, (64, 16)).astype(np.float32)
    values[0, 0] = 50
    network = model([helper.make_node("MatMul", ["x", "w"], ["y"])], [weight("w", 16, 8)], axes=(16,))
    made = dataclasses.replace(
        as_model(network, tmp_path), calibration=lambda: [{"x": values[:32]}, {"x": values[32:]}]
    )
    by_entropy, by_extremes = (ranges_of(method, made, tmp_path)["x"] for method in ("entropy", "minmax"))
    assert by_extremes == pytest.approx(51 / 255, rel=0.01)
    assert by_entropy < by_extremes / 2


def in_brackets(network: Any) -> None:
    for node in network.graph.node:
        node.name = f"layers[{node.name}]"


def test_a_name_with_brackets_is_kept_by_that_name(tmp_path: Path) -> None:
    _, facts = check_technique(int8_static(keep="layers[classes]"), rewritten(tmp_path, in_brackets))
    assert facts["weights.float32"] == pytest.approx(4 / 148)


def test_a_network_that_no_file_can_hold_is_not_quantized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tiny_onnx_model(tmp_path)
    deployment = Deployment(made, load_network(made), native_runtime(made.form), cpu, tmp_path)
    monkeypatch.setattr("harness.runtimes.onnx_graph.LARGEST", 1000)
    with pytest.raises(PreparationError, match="more than the 2 GB that one"):
        preprocessed(deployment)


def test_without_sympy_nothing_is_quantized_of_shapes_that_are_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime does not bring it, and its absence was taken for a network on which its inference gives up."""
    made = tiny_onnx_model(tmp_path)
    deployment = Deployment(made, load_network(made), native_runtime(made.form), cpu, tmp_path)
    cure = r"\(pip install 'inference-harness\[onnx\]'\)$"
    with monkeypatch.context() as absent:
        absent.setitem(sys.modules, "sympy", None)
        absent.delitem(sys.modules, "onnxruntime.tools.symbolic_shape_infer", raising=False)
        with pytest.raises(PreparationError, match=f"can't infer shapes without sympy {cure}"):
            preprocessed(deployment)
    monkeypatch.setattr(packages, "_found", lambda module: module != "sympy")
    for one in (int8_dynamic, int8_static, int8_weights, int4_weights):
        assert re.match(f"sympy is not installed {cure}", str(as_pipeline(one).unavailable(made, cpu)))
