"""LiteRT's quantizer on LiteRT networks, and the conversion of torch networks."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("litert_quantizer")

from ai_edge_litert import schema_py_generated as schema
from litert_quantizer import Quantizer
from litert_quantizer.qtyping import TFLOperationName

from harness import Deployment, Model, PreparationError, Promise, SuiteError
from harness.hardware import cpu
from harness.runtimes.litert import LiteRt
from harness.runtimes.litert_graph import Graph
from harness.techniques import (
    int4_dynamic,
    int4_weights,
    int8_dynamic,
    int8_static,
    int8_weights,
)
from harness.techniques.base import Technique
from harness.testing import check_technique
from tests.litert_networks import dense, ids, network, tiny_litert_model, transposed

WEIGHTS = 144 * 48 + 48 * 4


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return tiny_litert_model(tmp_path)


@pytest.mark.parametrize("technique", [int8_dynamic, int8_static])
def test_products_compute_on_integers(technique: Technique, model: Model) -> None:
    evidence, facts = check_technique(technique, model)
    assert [item.promise.partition(" ")[0] for item in evidence] == ["quantized", "weights.int8", "nodes.quantized"]
    assert facts["parameters"] == WEIGHTS
    assert (facts["weights.int8"], facts["precision"], facts["nodes.quantized"]) == (1.0, "int8", 2)
    assert facts["quantized.bits"] == 8


def test_a_file_without_a_signature_is_calibrated(tmp_path: Path) -> None:
    """As older ones are: it ended in the quantizer's "None signature_key provided"."""
    _, facts = check_technique(int8_static, tiny_litert_model(tmp_path, signatures=()))
    assert (facts["weights.int8"], facts["nodes.quantized"]) == (1.0, 2)


@pytest.mark.parametrize("technique", [int8_dynamic, int8_static])
def test_a_transposed_convolution_computes_on_integers(technique: Technique, model: Model, tmp_path: Path) -> None:
    path = tmp_path / "transposed.tflite"
    path.write_bytes(transposed())

    def inputs(size: int, seed: int) -> dict[str, Any]:
        return {"x": np.random.default_rng(seed).random((size, 3, 3, 4), np.float32)}

    made = dataclasses.replace(model, load=lambda: path, inputs=inputs, calibration=lambda: [inputs(4, 0)])
    _, facts = check_technique(technique, made)
    assert (facts["quantized"], facts["arithmetic.int8"], facts["nodes.quantized"]) == (1.0, 1.0, 1)


def test_weights_of_a_large_file_are_found(model: Model, tmp_path: Path) -> None:
    """The quantizer writes the weights of a file of 256 KiB and more behind everything else."""
    weights = np.random.default_rng(0).standard_normal((600, 600)).astype(np.float32)
    tensors = {"x": ((1, 600), "float32"), "w": weights, "y": ((1, 600), "float32")}
    content = network(tensors, [("FULLY_CONNECTED", ["x", "w", ""], ["y"], dense())], ["x"], ["y"])
    (tmp_path / "large.tflite").write_bytes(content)
    large = dataclasses.replace(
        model,
        load=lambda: tmp_path / "large.tflite",
        inputs=lambda size, seed: {"x": np.full((size, 600), seed, np.float32)},
    )
    _, facts = check_technique(int8_dynamic, large)
    assert (facts["parameters"], facts["weights.int8"], facts["precision"]) == (360_000, 1.0, "int8")


@pytest.mark.parametrize(("technique", "dtype"), [(int8_weights, "int8"), (int4_weights, "int4")])
def test_weights_alone(technique: Technique, dtype: str, model: Model) -> None:
    _, facts = check_technique(technique, model)
    assert (facts[f"weights.{dtype}"], facts["precision"], facts["nodes.quantized"]) == (1.0, "float32", 0)


@pytest.mark.parametrize("block", [0, 16])
def test_four_bits_with_inputs_quantized_at_each_call(block: int, model: Model) -> None:
    if block == 16:
        with pytest.raises(SuiteError, match=r"int4_dynamic\(block=16\): use 0, 32, 64, 128, 256"):
            check_technique(int4_dynamic(block=block), model)
    else:
        _, facts = check_technique(int4_dynamic, model)
        assert (facts["weights.int4"], facts["precision"], facts["quantized.bits"]) == (1.0, "int8", 4)


@pytest.mark.parametrize(
    "technique", [int8_dynamic(keep="hidden"), int8_dynamic(keep=["out*"]), int8_static(keep="hid*")]
)
def test_what_is_kept_stays_in_float(technique: Technique, model: Model) -> None:
    _, facts = check_technique(technique, model)
    kept = 48 * 4 if "out" in technique.id else 144 * 48
    assert facts["weights.float32"] == pytest.approx(kept / WEIGHTS)
    assert facts["arithmetic.float32"] == 0.5


def test_a_name_with_brackets_is_kept_by_that_name(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "brackets.tflite"
    path.write_bytes(Path(model.load()).read_bytes().replace(b"hidden", b"hid[0]"))
    _, facts = check_technique(int8_dynamic(keep="hid[0]"), dataclasses.replace(model, load=lambda: path))
    assert facts["weights.float32"] == pytest.approx(144 * 48 / WEIGHTS)


def test_a_kind_of_operator_can_be_kept(model: Model) -> None:
    with pytest.raises(PreparationError, match=r"nothing to quantize: .* those of this network are in FULLY_CONNECTED"):
        check_technique(int8_static(keep="FULLY_CONNECTED"), model)


def test_a_pattern_that_names_nothing_is_refused(model: Model) -> None:
    with pytest.raises(SuiteError, match=r"keep='conv\*' names no operator .* products write hidden, output"):
        check_technique(int8_dynamic(keep="conv*"), model)


def test_parameters_of_other_forms_are_refused(model: Model) -> None:
    for technique in (int8_dynamic(ops="Conv"), int8_static("entropy"), int8_static(per_channel=False)):
        with pytest.raises(SuiteError, match=r"(of|on) ONNX networks"):
            check_technique(technique, model)
    with pytest.raises(SuiteError, match="has no block on a LiteRT network"):
        check_technique(int4_weights(block=64), model)


def test_a_network_without_products_is_refused(model: Model, tmp_path: Path) -> None:
    (tmp_path / "ids.tflite").write_bytes(ids())
    other = dataclasses.replace(
        model,
        load=lambda: tmp_path / "ids.tflite",
        inputs=lambda size, seed: {"ids": np.zeros((size, 4), np.int64)},
    )
    with pytest.raises(PreparationError, match="those of this network are in GATHER"):
        check_technique(int8_dynamic, other)


def tied(model: Model, folder: Path) -> Model:
    """One whose table of 8 by 4 is looked up and multiplied with."""
    tensors = {
        "ids": ((1,), "int32"),
        "table": np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32),
        "row": ((1, 4), "float32"),
        "scores": ((1, 8), "float32"),
    }
    nodes = [
        ("GATHER", ["table", "ids"], ["row"], schema.GatherOptionsT()),
        ("FULLY_CONNECTED", ["row", "table", ""], ["scores"], dense()),
    ]
    path = folder / "tied.tflite"
    path.write_bytes(network(tensors, nodes, ["ids"], ["scores"]))
    return dataclasses.replace(
        model, load=lambda: path, inputs=lambda size, seed: {"ids": np.full(size, seed, np.int64)}
    )


def test_a_table_that_is_looked_up_and_multiplied_is_stored_twice(model: Model, tmp_path: Path) -> None:
    """The look-up keeps a copy in float, and the promise was of the whole table: what had worked was invalid."""
    _, facts = check_technique(int8_dynamic, tied(model, tmp_path))
    assert (facts["weights.int8"], facts["weights.float32"], facts["nodes.quantized"]) == (0.5, 0.5, 1)


@pytest.mark.parametrize("technique", [int8_dynamic, int8_weights])
def test_a_table_that_is_stored_twice_breaks_no_promise_of_a_step_before_it(
    technique: Technique, model: Model, tmp_path: Path
) -> None:
    """What had pruned a network with such a table was invalid."""
    looked_up = tied(model, tmp_path)
    before = Deployment(looked_up, Path(looked_up.load()).read_bytes(), LiteRt(), cpu, tmp_path).promising(
        Promise("parameters", at_most=8 * 4), Promise("sparsity", at_least=0.5)
    )
    done = technique.apply(before)
    assert sum(weight.elements for weight in Graph(done.network).weights()) == 2 * 8 * 4
    kept = {promise.fact: promise for _, promise in done.promises}
    assert kept["parameters"].at_most == 2 * 8 * 4
    assert kept["sparsity"].at_least == 0.25


def test_of_a_network_whose_tables_alone_are_quantized_no_product_is_promised(model: Model, tmp_path: Path) -> None:
    """It looks rows up in integers, and a product that computes on them was promised."""
    tensors = {
        "ids": ((4,), "int32"),
        "table": np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32),
        "rows": ((4, 8), "float32"),
    }
    path = tmp_path / "table.tflite"
    path.write_bytes(network(tensors, [("EMBEDDING_LOOKUP", ["ids", "table"], ["rows"], None)], ["ids"], ["rows"]))
    table = dataclasses.replace(
        model, load=lambda: path, inputs=lambda size, seed: {"ids": np.full(4 * size, seed, np.int64)}
    )
    evidence, facts = check_technique(int8_dynamic, table)
    assert [item.promise.partition(" ")[0] for item in evidence] == ["quantized", "weights.int8"]
    assert (facts["weights.int8"], facts["nodes.quantized"]) == (1.0, 0)


def test_a_quantizer_that_does_nothing_breaks_the_promise(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quantizer, "add_dynamic_config", lambda self, *_: self.add_weight_only_config(".^", "*", 8))
    with pytest.raises(AssertionError, match=r"promised quantized >= 0\.9, found 0\.0"):
        check_technique(int8_dynamic, model)


def test_calibration_comes_in_the_batches_of_the_file(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    real = Quantizer.calibrate

    def calibrate(self: Any, data: Any, **options: Any) -> Any:
        (batches,) = data.values()
        seen.extend(batch["image"].shape for batch in batches)
        return real(self, data, **options)

    monkeypatch.setattr(Quantizer, "calibrate", calibrate)
    check_technique(int8_static, model)
    assert seen == [(1, 1, 12, 12)] * 128


@pytest.mark.parametrize(
    ("batches", "said"),
    [
        ([], "gives no batches"),
        ([{"image": np.zeros((0, 1, 12, 12), np.float32)}], "fewer than the 1 examples of one call"),
    ],
    ids=["none", "empty"],
)
def test_too_few_examples_to_calibrate_are_refused(model: Model, batches: list[Any], said: str) -> None:
    with pytest.raises(PreparationError, match=said):
        check_technique(int8_static, dataclasses.replace(model, calibration=lambda: batches))


def test_a_file_that_is_integer_up_to_its_ends_takes_and_gives_floats(model: Model, tmp_path: Path) -> None:
    content = Path(model.load()).read_bytes()
    assert model.calibration is not None
    quantizer = Quantizer(bytearray(content))
    quantizer.add_static_config(".*", TFLOperationName.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
    examples = [{"image": image[None]} for batch in model.calibration() for image in batch["image"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranges = quantizer.calibrate({"serving_default": examples}, num_threads=1)
        whole = bytes(quantizer.quantize(ranges, enable_progress_report=False).quantized_model)
    outputs = []
    for number, file in enumerate((content, whole)):
        folder = tmp_path / str(number)
        folder.mkdir()
        LiteRt().pack(file, {}, folder, cpu)
        session = LiteRt().load(folder, cpu)
        staged = session.stage(model.inputs(1, 0))
        assert staged[0][1].dtype == (np.float32, np.int8)[number]
        outputs.append(session.fetch(session(staged))["output"])
    assert outputs[1].dtype == np.float32
    np.testing.assert_allclose(outputs[1], outputs[0], atol=0.1)
    assert [one.name for one in Graph(whole).operators() if one.name in ("QUANTIZE", "DEQUANTIZE")] == []
