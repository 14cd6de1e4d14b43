"""TensorRT: engines built, kept, bound and called through a scripted package, and by TensorRT for RTX where it is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from harness import Deployment, MeasurementError, PreparationError, SuiteError, UnavailableError
from harness.hardware import cpu
from harness.runtimes.base import TIMINGS
from harness.runtimes.native import load_network, native_runtime
from harness.runtimes.onnxruntime import OnnxRuntime
from harness.runtimes.tensorrt import TensorRt, TensorRtRtx
from harness.runtimes.tensorrt_package import package
from harness.techniques import batched, fp16, int8_static, tensorrt, tensorrt_rtx
from harness.techniques.base import as_pipeline
from harness.testing import check_technique, tiny_onnx_model, tiny_torch_model
from tests.fake_cuda import Gpu
from tests.fake_tensorrt import FakeTensorRt, as_module
from tests.onnx_networks import model, tensor

TINY = tiny_torch_model(trained=False)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRt:
    script = FakeTensorRt()
    monkeypatch.setitem(sys.modules, "tensorrt", as_module(script))
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", as_module(script, "tensorrt_rtx"))
    monkeypatch.setattr(TensorRt, "unavailable", lambda self, hardware: None)
    return script


def network(folder: Path) -> Any:
    return onnx.load(str(tiny_onnx_model(folder).load()))


def inputs(batch: int, seed: int = 0) -> Any:
    return tiny_onnx_model(Path("unused")).inputs(batch, seed)


def packed(folder: Path, runtime: TensorRt | None = None, batch: int = 2) -> Path:
    (folder / "model").mkdir()
    (runtime or TensorRt()).pack(network(folder), inputs(batch), folder / "model", cpu)
    return folder / "model"


def test_calls_give_what_onnx_runtime_gives(script: FakeTensorRt, tmp_path: Path) -> None:
    session = TensorRt().load(packed(tmp_path), cpu)
    OnnxRuntime().pack(network(tmp_path), {}, tmp_path, cpu)
    other = OnnxRuntime().load(tmp_path, cpu)
    staged = [session.stage(inputs(2, seed)) for seed in range(3)]
    outputs = [session(each) for each in staged]
    for seed, output in enumerate(outputs):  # each staged batch has its own memory, so no call overwrote another's
        wanted = other.fetch(other(other.stage(inputs(2, seed))))
        np.testing.assert_allclose(session.fetch(output)["output"], wanted["output"], rtol=1e-5)


def test_a_network_that_no_file_can_hold_is_refused(
    script: FakeTensorRt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.runtimes.onnx_graph.LARGEST", 1000)
    with pytest.raises(PreparationError, match="more than the 2 GB that one"):
        packed(tmp_path)
    assert script.builds == []


def test_the_engine_is_strongly_typed_detailed_and_keeps_float32(script: FakeTensorRt, tmp_path: Path) -> None:
    packed(tmp_path)
    (build,) = script.builds
    assert build["flags"] == 1 << int(sys.modules["tensorrt"].NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert (build["cleared"], build["verbosity"]) == (["TF32"], "DETAILED")


@pytest.mark.parametrize(
    ("max_batch", "batches"),
    [(0, [2, 2, 2]), (8, [1, 2, 8]), (1, [1, 2, 2])],
)
def test_the_profile_has_the_served_shapes(script: FakeTensorRt, tmp_path: Path, max_batch: int, batches: Any) -> None:
    packed(tmp_path, TensorRt(max_batch))
    assert script.builds[0]["shapes"] == {"image": [[batch, 1, 12, 12] for batch in batches]}


def test_a_network_of_fixed_shapes_needs_no_profile(script: FakeTensorRt, tmp_path: Path) -> None:
    fixed = network(tmp_path)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    TensorRt().pack(fixed, inputs(2), tmp_path, cpu)
    assert script.builds[0]["shapes"] == {}


def test_one_build_for_a_version_and_a_gpu(
    script: FakeTensorRt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = packed(tmp_path)
    TensorRt().load(folder, cpu)
    assert len(script.builds) == 1
    monkeypatch.setitem(sys.modules, "tensorrt", as_module(newer := FakeTensorRt("11.4.0.106")))
    TensorRt().load(folder, cpu)
    TensorRt().load(folder, cpu)
    assert len(newer.builds) == 1
    assert len([path for path in (folder / "cache").iterdir() if path.is_dir()]) == 2


def test_engines_are_no_part_of_the_served_files(script: FakeTensorRt, tmp_path: Path) -> None:
    folder = packed(tmp_path)
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["model.onnx"]
    assert [path.suffix for path in folder.rglob("*.engine")] == [".engine"]


def test_what_a_build_learnt_is_given_to_the_next(script: FakeTensorRt, tmp_path: Path) -> None:
    folder = packed(tmp_path)
    for engine in folder.rglob("*.engine"):
        engine.unlink()
    TensorRt().load(folder, cpu)
    assert [build["timings"] for build in script.builds] == [b"", b"learnt"]


@pytest.mark.parametrize(("refuse", "second"), [(set(), b"learnt"), ({"timings"}, b"")])
def test_artefacts_share_what_their_builds_learnt(
    script: FakeTensorRt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: set[str], second: bytes
) -> None:
    """Each build timed the kernels anew, and its artefact kept what came out: unchanged code was slower than itself."""
    script.refuse = refuse
    monkeypatch.setenv(TIMINGS, str(tmp_path / "timings"))
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        packed(tmp_path / name)
    assert [build["timings"] for build in script.builds] == [b"", second]
    assert len([path for path in (tmp_path / "timings").rglob("*") if path.is_file()]) == 1
    assert not list((tmp_path / "one").rglob("timings"))


def test_timings_that_another_user_keeps_are_done_without(
    script: FakeTensorRt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file stands where the folder should, into which not even root can write."""
    (tmp_path / "timings").touch()
    monkeypatch.setenv(TIMINGS, str(tmp_path / "timings"))
    assert list(packed(tmp_path).rglob("*.engine"))


def test_an_engine_is_never_that_of_another_network(script: FakeTensorRt, tmp_path: Path) -> None:
    folder = packed(tmp_path)
    other = onnx.load(str(folder / "model.onnx"))
    other.producer_name = "another"
    onnx.save(other, str(folder / "model.onnx"))
    TensorRt().load(folder, cpu)
    assert len(script.builds) == 2


def test_facts(script: FakeTensorRt, tmp_path: Path) -> None:
    session = TensorRt().load(folder := packed(tmp_path), cpu)
    (engine,) = folder.rglob("*.engine")
    assert session.facts(inputs(2)) == {
        "runtime": "tensorrt",
        "provider": "cpu",
        "parameters": 144 * 48 + 48 * 4,
        "sparsity": 0.0,
        "quantized": 0.0,
        "weights.float32": 1.0,
        "precision": "float32",
        "arithmetic.float32": 1.0,
        "nodes": 4,
        "nodes.quantized": 0,
        "engine.size": engine.stat().st_size,
    }


def test_layers_of_nodes_without_a_name(script: FakeTensorRt, tmp_path: Path) -> None:
    """As onnx.helper makes them: TensorRT names them by their first output, and its layers tell of them so."""
    script.kind = "kgen"
    nodes = [
        onnx.helper.make_node("Cast", ["x"], ["half"], to=onnx.TensorProto.FLOAT16),
        onnx.helper.make_node("MatMul", ["half", "w"], ["product"]),
        onnx.helper.make_node("Cast", ["product"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    example = {"x": np.ones((2, 4), np.float32)}
    TensorRt().pack(model(nodes, [tensor("w", np.ones((4, 3)), np.float16)]), example, tmp_path, cpu)
    facts = TensorRt().load(tmp_path, cpu).facts(example)
    assert (facts["precision"], facts["arithmetic.float16"], facts["nodes"]) == ("float16", 1.0, 3)


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        (tensorrt, {"precision": "float32", "nodes.quantized": 0}),
        (tensorrt | fp16, {"weights.float16": 1.0, "arithmetic.float16": 1.0}),
        (tensorrt | int8_static, {"precision": "int8", "quantized": 1.0, "weights.int8": 1.0, "nodes.quantized": 3}),
        (tensorrt(max_batch=8) | batched(4), {"batch": 4}),
        (tensorrt_rtx, {"runtime": "tensorrt_rtx", "precision": "float32"}),
    ],
    ids=lambda value: getattr(value, "id", ""),
)
def test_it_composes_and_keeps_every_promise(script: FakeTensorRt, pipeline: Any, expected: dict[str, Any]) -> None:
    evidence, facts = check_technique(pipeline, TINY)
    assert all(item.kept for item in evidence)
    assert {name: facts[name] for name in expected} == expected


def quantized(folder: Path, technique: Any) -> Any:
    """The network that a technique leaves."""
    hardware: Any = cpu
    deployment = Deployment(TINY, load_network(TINY), native_runtime("torch"), hardware, folder)
    return as_pipeline(technique).apply(deployment).network


def test_integers_are_written_by_tensorrts_recipe(script: FakeTensorRt, tmp_path: Path) -> None:
    found = quantized(tmp_path, tensorrt | int8_static)
    values = {item.name: onnx.numpy_helper.to_array(item) for item in found.graph.initializer}
    points = {node.input[2] for node in found.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    assert {values[name].dtype.name for name in points} == {"int8"}
    assert not any(values[name].any() for name in points)
    biases = [node.input[2] for node in found.graph.node if node.op_type in ("Conv", "Gemm") and len(node.input) > 2]
    assert biases
    assert {values[name].dtype.name for name in biases} == {"float32"}
    quantizes = [node for node in found.graph.node if node.op_type == "QuantizeLinear"]
    makers = {output: node.op_type for node in found.graph.node for output in node.output}
    assert not {makers.get(node.input[0]) for node in quantizes} & {"Conv", "Gemm", "MatMul"}
    kernels = [
        node for node in found.graph.node if node.op_type == "DequantizeLinear" and values[node.input[1]].size > 1
    ]
    assert len(kernels) == 3


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        ("parse", r"can't read the network: In node 3 .* \(quantize and convert after tensorrt"),
        ("build", "can't build an engine of the network: build: refused by script"),
        ("deserialize", "can't load the engine: deserialize: refused by script"),
        ("context", "can't make an execution context of the engine: context: refused by script"),
        ("shape", r"does not take image in the shape \[2, 1, 12, 12\]: shape: refused by script"),
    ],
)
def test_what_gives_none_is_an_error_with_what_the_log_says(
    script: FakeTensorRt, tmp_path: Path, refused: str, message: str
) -> None:
    script.refuse.add(refused)
    with pytest.raises(PreparationError, match=message):
        packed(tmp_path)


def test_a_call_that_fails_is_an_error(script: FakeTensorRt, tmp_path: Path) -> None:
    session = TensorRt().load(packed(tmp_path), cpu)
    staged = session.stage(inputs(2))
    script.refuse.add("run")
    with pytest.raises(MeasurementError, match="could not run the engine: run: refused by script"):
        session(staged)


def test_an_output_whose_shape_depends_on_values_is_refused(script: FakeTensorRt, tmp_path: Path) -> None:
    open_ended = network(tmp_path)
    open_ended.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "unknown"
    with pytest.raises(PreparationError, match="the shape of the output output depends on values"):
        TensorRt().pack(open_ended, inputs(2), tmp_path, cpu)


def test_an_input_of_another_name_is_refused_with_both(script: FakeTensorRt, tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match="reads an input 'image', and is given pixels; "):
        TensorRt().pack(network(tmp_path), {"pixels": inputs(2)["image"]}, tmp_path, cpu)


def test_rtx_compiles_before_it_runs_and_keeps_its_kernels(script: FakeTensorRt, tmp_path: Path) -> None:
    folder = packed(tmp_path, TensorRtRtx())
    assert "strategy EAGER" in script.calls
    assert not [call for call in script.calls if call.startswith("cache ")]
    TensorRtRtx().load(folder, cpu)
    assert "cache b'kernels'" in script.calls


def test_libraries_that_do_not_load_are_told_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(UnavailableError, match="NVIDIA's own package index"):
        package("tensorrt", "tensorrt")


def test_where_it_runs_and_what_is_missing() -> None:
    assert "tensorrt runs on NVIDIA GPUs, and cpu is none (put cuda on the hardware axis" in str(
        TensorRt().unavailable(cpu)
    )
    assert "tensorrt is not installed (pip install 'inference-harness[tensorrt]')" in str(TensorRt().unavailable(Gpu()))
    with pytest.raises(SuiteError, match="max_batch=-1"):
        TensorRt(-1)


def test_a_network_of_another_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match=r"dict instead of an onnx\.ModelProto"):
        TensorRt().pack({}, {}, tmp_path, cpu)
