"""ONNX Runtime: on the provider that was asked for, without torch, and with facts of what was executed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from harness import MeasurementError, PreparationError, SuiteError
from harness.hardware import Cpu, cpu
from harness.runtimes.onnx_profile import fallbacks
from harness.runtimes.onnxruntime import OnnxRuntime
from harness.runtimes.onnxruntime_session import BoundSession, OrtSession, load_libraries, session_options
from harness.testing import tiny_onnx_model
from tests.bare import imported_by_an_arm
from tests.fake_cuda import Gpu
from tests.onnx_networks import conditional, model, tensor


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    network = onnx.load(str(tiny_onnx_model(tmp_path).load()))
    OnnxRuntime().pack(network, {}, tmp_path, cpu)
    return tmp_path


def inputs(batch: int = 2) -> Any:
    return tiny_onnx_model(Path("unused")).inputs(batch, 0)


def serve(network: Any, folder: Path, **options: Any) -> Any:
    OnnxRuntime().pack(network, {}, folder, cpu)
    return OnnxRuntime(**options).load(folder, cpu)


def test_an_arm_imports_neither_torch_nor_onnx(packed: Path) -> None:
    assert imported_by_an_arm(OnnxRuntime, packed, "torch", "onnx", "scipy") == []


def test_facts_of_a_float_network(packed: Path) -> None:
    facts = OnnxRuntime("extended").load(packed, cpu).facts(inputs())
    assert facts == {
        "runtime": "onnxruntime",
        "provider": "CPUExecutionProvider",
        "level": "extended",
        "arena": True,
        "parameters": 144 * 48 + 48 * 4,
        "sparsity": 0.0,
        "quantized": 0.0,
        "weights.float32": 1.0,
        "precision": "float32",
        "arithmetic.float32": 1.0,
        "nodes": 4,
        "nodes.quantized": 0,
        "nodes.CPUExecutionProvider": 4,
        "fallbacks": 0,
    }


@pytest.mark.parametrize("level", ["disable", "basic", "extended", "all"])
def test_the_level_is_read_back_from_the_session(packed: Path, level: str) -> None:
    assert OnnxRuntime(level).load(packed, cpu).facts(inputs())["level"] == level


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(SuiteError, match="disable, basic, extended, all"):
        OnnxRuntime("fast")


def test_threads_are_the_hardwares() -> None:
    options = session_options("CPUExecutionProvider", "all", 2, spinning=False)
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"


def test_the_same_values_with_more_threads(packed: Path) -> None:
    one, two = (OnnxRuntime().load(packed, Cpu(threads)) for threads in (1, 2))
    results = [session.fetch(session(session.stage(inputs())))["output"] for session in (one, two)]
    np.testing.assert_allclose(*results, rtol=1e-5)


def test_nodes_and_weights_of_subgraphs_count(tmp_path: Path) -> None:
    facts = serve(conditional(), tmp_path).facts({"x": np.ones((1, 4), np.float32)})
    assert facts["parameters"] == 24
    assert facts["arithmetic.float32"] == 1.0
    assert facts["nodes"] == 4


def test_a_provider_that_is_not_here_is_invalid(packed: Path) -> None:
    with pytest.raises(MeasurementError, match="CUDAExecutionProvider was asked for") as caught:
        OnnxRuntime(provider="CUDAExecutionProvider").load(packed, cpu)
    assert caught.value.outcome == "invalid"


def test_a_provider_that_would_leave_nodes_to_the_cpu_is_invalid(packed: Path) -> None:
    other = next(name for name in ort.get_available_providers() if name != "CPUExecutionProvider")
    with pytest.raises(MeasurementError, match=f"{other} was asked for, and can't run all") as caught:
        OnnxRuntime(provider=other).load(packed, cpu)
    assert caught.value.outcome == "invalid"


def test_only_cudas_provider_may_leave_nodes_to_the_cpu_which_the_facts_look_at(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves the arithmetic of shapes there on purpose, and a session that may leave none would be refused."""
    entry = "session.disable_cpu_ep_fallback"
    assert session_options("TensorrtExecutionProvider", "all", 1, spinning=True).get_session_config_entry(entry) == "1"
    with pytest.raises(RuntimeError):
        session_options("CUDAExecutionProvider", "all", 1, spinning=True).get_session_config_entry(entry)
    session = OnnxRuntime().load(packed, cpu)
    monkeypatch.setattr(session, "_provider", "CUDAExecutionProvider")
    monkeypatch.setattr(OrtSession, "_open", lambda self, options: ort.InferenceSession(str(self._path), options))
    with pytest.raises(MeasurementError, match="ran these operators elsewhere: Flatten, MatMul, Relu") as caught:
        session.facts(inputs())
    assert caught.value.outcome == "invalid"


def test_the_arithmetic_of_shapes_is_told_from_that_of_numbers(tmp_path: Path) -> None:
    """What ONNX Runtime gives to the CPU on purpose: a few numbers in, a few out."""
    nodes = [
        onnx.helper.make_node("Shape", ["x"], ["shape"]),
        onnx.helper.make_node("Gather", ["shape", "first"], ["batch"]),
        onnx.helper.make_node("Concat", ["batch", "rest"], ["wanted"], axis=0),
        onnx.helper.make_node("Reshape", ["x", "wanted"], ["pairs"]),
        onnx.helper.make_node("Mul", ["pairs", "two"], ["y"]),
    ]
    tensors = [tensor("first", [0], np.int64), tensor("rest", [2, 2], np.int64), tensor("two", 2.0)]
    session = serve(model(nodes, tensors), tmp_path, level="disable")
    ran = session._profile({"x": np.ones((3, 4), np.float32)})
    assert {node.operator for node in ran if node.shapes} == {"Gather", "Concat"}
    assert {node.operator for node in fallbacks(ran, "CUDAExecutionProvider")} == {"Shape", "Reshape", "Mul"}
    assert fallbacks(ran, "CPUExecutionProvider") == ()


def test_a_session_that_fell_back_is_invalid(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that names a provider, and silently gives the CPU where its libraries don't load."""
    real = ort.InferenceSession
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "InferenceSession", lambda path, *_, **__: real(path, providers=["CPUExecutionProvider"]))
    with pytest.raises(MeasurementError, match="fell back to CPUExecutionProvider") as caught:
        OnnxRuntime().load(packed, Gpu())
    assert caught.value.outcome == "invalid"


@pytest.mark.parametrize("provider", ["CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"])
def test_a_gpus_libraries_are_loaded_from_their_wheels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, provider: str
) -> None:
    """Nothing else loads them in a process without torch, and ONNX Runtime would go on with the CPU."""
    loaded = []
    (tmp_path / "tensorrt.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setattr(ort, "preload_dlls", lambda: loaded.append("cuda"))
    load_libraries(provider)
    assert loaded == ([] if provider.startswith("CPU") else ["cuda"])
    assert ("tensorrt" in sys.modules) is provider.startswith("Tensorrt")
    sys.modules.pop("tensorrt", None)


def test_on_a_gpu_the_gpus_provider_is_asked_for() -> None:
    assert OnnxRuntime().provider_on(Gpu()) == "CUDAExecutionProvider"
    assert OnnxRuntime().provider_on(cpu) == "CPUExecutionProvider"
    assert "pip install onnxruntime-gpu" in str(OnnxRuntime().unavailable(Gpu()))
    assert OnnxRuntime().unavailable(cpu) is None


def test_bound_memory_gives_the_same_values(packed: Path) -> None:
    plain = OnnxRuntime().load(packed, cpu)
    bound = BoundSession(
        packed / "model.onnx", provider="CPUExecutionProvider", level="all", threads=1, spinning=True,
        cache=packed / "cache", device="cpu",
    )  # fmt: skip
    batches = [tiny_onnx_model(packed).inputs(2, seed) for seed in range(2)]
    staged = [bound.stage(batch) for batch in batches]
    outputs = [bound(each) for each in staged]
    for batch, output in zip(batches, outputs, strict=True):
        np.testing.assert_array_equal(bound.fetch(output)["output"], plain.fetch(plain(plain.stage(batch)))["output"])
    assert bound.facts(batches[0])["nodes"] == 4


def test_half_precision_outputs_are_fetched_as_float32(tmp_path: Path) -> None:
    cast = onnx.helper.make_node("Cast", ["x"], ["y"], to=onnx.TensorProto.FLOAT16)
    network = model([cast], [])
    network.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    session = serve(network, tmp_path)
    assert session.fetch(session(session.stage({"x": np.ones((1, 4), np.float32)})))["y"].dtype == np.float32


def test_quantized_operators_are_told_from_conversions(tmp_path: Path) -> None:
    steps = [
        onnx.helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "point"]),
        onnx.helper.make_node("MatMulInteger", ["q", "w", "point"], ["sum"]),
        onnx.helper.make_node("Cast", ["sum"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    facts = serve(model(steps, [tensor("w", np.ones((4, 4)), np.int8)]), tmp_path).facts(
        {"x": np.ones((1, 4), np.float32)}
    )
    assert facts["nodes.quantized"] == 1
    assert facts["precision"] == "int8"
    assert facts["quantized"] == 1.0


def test_an_input_of_another_name_is_refused_with_both(packed: Path) -> None:
    """Of an evaluate that alone had another name, the error said that Model.inputs had it."""
    session = OnnxRuntime().load(packed, cpu)
    words = r"reads an input 'image', and is given pixels; .* in Model\.inputs, evaluate and calibration alike"
    with pytest.raises(PreparationError, match=words):
        session.stage({"pixels": np.zeros((1, 1, 12, 12), np.float32)})


def test_an_input_of_another_length_is_refused_with_the_cure(packed: Path) -> None:
    """An evaluation that pads each batch to its own longest text ended in ONNX Runtime's own words."""
    session = OnnxRuntime().load(packed, cpu)
    words = r"input 'image' .* shape \['batch', 1, 12, 12\], and .* it \[3, 1, 12, 9\]; .*\(padded to one length"
    with pytest.raises(PreparationError, match=words):
        session.stage({"image": np.zeros((3, 1, 12, 9), np.float32)})
    session.stage({"image": np.zeros((3, 1, 12, 12), np.float32)})


@pytest.mark.parametrize(
    ("kind", "name"),
    [("FLOAT", "float32"), ("DOUBLE", "float64"), ("FLOAT16", "float16"), ("INT64", "int64"), ("BOOL", "bool")],
)
def test_an_input_of_another_type_is_refused_with_the_cure(tmp_path: Path, kind: str, name: str) -> None:
    """numpy makes float64 and int64 of most, and ONNX Runtime's own words name no input of several."""
    network = model([onnx.helper.make_node("Cast", ["x"], ["y"], to=onnx.TensorProto.FLOAT)], [])
    network.graph.input[0].type.tensor_type.elem_type = getattr(onnx.TensorProto, kind)
    session = serve(network, tmp_path)
    given = np.ones((1, 4), name)
    assert session.fetch(session(session.stage({"x": given})))["y"].tolist() == [[1.0] * 4]
    words = rf"input 'x' is {name} in the \.onnx file, and .* it int8; .* \.astype\('{name}'\) in Model\.inputs"
    with pytest.raises(PreparationError, match=words):
        session.stage({"x": given.astype(np.int8)})


def test_inputs_of_texts_are_left_to_onnx_runtime(tmp_path: Path) -> None:
    network = model([onnx.helper.make_node("Identity", ["x"], ["y"])], [])
    for value in (network.graph.input[0], network.graph.output[0]):
        value.type.tensor_type.elem_type = onnx.TensorProto.STRING
    session = serve(network, tmp_path)
    texts = np.array([["a", "b", "c", "d"]])
    assert session.fetch(session(session.stage({"x": texts})))["y"].tolist() == texts.tolist()


def test_an_input_that_has_a_default_in_the_file_is_refused_where_it_is_given(tmp_path: Path) -> None:
    """The default was computed with, in the reference as in every technique, whatever the suite gave."""
    network = model([onnx.helper.make_node("Mul", ["x", "factor"], ["y"])], [tensor("factor", [2.0])])
    network.graph.input.append(onnx.helper.make_tensor_value_info("factor", onnx.TensorProto.FLOAT, [1]))
    session = serve(network, tmp_path)
    given = {"x": np.ones((1, 4), np.float32)}
    assert session.fetch(session(session.stage(given)))["y"].tolist() == [[2.0] * 4]
    with pytest.raises(PreparationError, match=r"'factor' .* default .*; remove it from graph\.initializer, or don't"):
        session.stage({**given, "factor": np.array([3.0], np.float32)})


def test_a_batch_that_the_network_does_not_take_is_refused_with_the_cure(tmp_path: Path) -> None:
    network = model([onnx.helper.make_node("Relu", ["x"], ["y"])], [])
    network.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    session = serve(network, tmp_path)
    words = (
        r"shape \[1, 4\], and .* \[8, 4\]; where .* the batch, export the network with a free one, .*batchable=False; "
    )
    with pytest.raises(PreparationError, match=words):
        session.stage({"x": np.zeros((8, 4), np.float32)})
    with pytest.raises(PreparationError, match=r"\[8, 3\]; let Model\.evaluate pass"):
        session.stage({"x": np.zeros((8, 3), np.float32)})


def test_a_network_that_onnx_runtime_refuses_is_a_failed_preparation(tmp_path: Path) -> None:
    network = model([onnx.helper.make_node("NoSuchOperator", ["x"], ["y"])], [])
    with pytest.raises(PreparationError, match=r"refuses the network.*NoSuchOperator"):
        serve(network, tmp_path)


def test_a_network_of_another_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match=r"dict instead of an onnx\.ModelProto"):
        OnnxRuntime().pack({}, {}, tmp_path, cpu)


def test_a_network_that_no_file_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """protobuf's error, without cause or cure, ended it."""
    monkeypatch.setattr("harness.runtimes.onnx_graph.LARGEST", 50)
    with pytest.raises(PreparationError, match="more than the 2 GB that one"):
        OnnxRuntime().pack(conditional(), {}, tmp_path, cpu)
    assert list(tmp_path.iterdir()) == []


def test_a_number_is_served_as_a_number(tmp_path: Path) -> None:
    """ONNX Runtime takes a list of one for it, and computes something else."""
    network = model([onnx.helper.make_node("Unsqueeze", ["number", "first"], ["y"])], [tensor("first", [0], np.int64)])
    network.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("number", onnx.TensorProto.FLOAT, []))
    session = serve(network, tmp_path)
    output = session.fetch(session(session.stage({"number": np.float32(2)})))["y"]
    np.testing.assert_array_equal(output, np.array([2], np.float32), strict=True)
