"""OpenVINO: in the precision that was asked for, without torch, and with facts of what was executed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from harness import MeasurementError, PreparationError, SuiteError
from harness.hardware import Cpu, cpu
from harness.runtimes.onnxruntime import OnnxRuntime
from harness.runtimes.openvino import OpenVino
from harness.testing import tiny_onnx_model
from tests.bare import imported_by_an_arm
from tests.onnx_networks import conditional, tensor
from tests.onnx_networks import model as onnx_network

openvino = pytest.importorskip("openvino")
MODEL = tiny_onnx_model(Path("unused"))
BFLOAT16 = pytest.mark.skipif(
    OpenVino("bfloat16").unavailable(cpu) is not None, reason="this CPU has no arithmetic in bfloat16"
)


def read(network: Any, folder: Path) -> Any:
    """An ONNX network as OpenVINO reads it."""
    path = folder / "network.onnx"
    onnx.save(network, str(path))
    return openvino.Core().read_model(path)


@pytest.fixture
def network(tmp_path: Path) -> Any:
    return read(onnx.load(str(tiny_onnx_model(tmp_path).load())), tmp_path)


@pytest.fixture
def packed(network: Any, tmp_path: Path) -> Path:
    OpenVino().pack(network, MODEL.inputs(2, 0), tmp_path, cpu)
    return tmp_path


def answer(session: Any, inputs: Any) -> Any:
    return session.fetch(session(session.stage(inputs)))["output"]


def test_an_arm_imports_neither_torch_nor_onnx(packed: Path) -> None:
    assert imported_by_an_arm(OpenVino, packed, "torch", "onnx", "nncf", "scipy", batch=2) == []


def test_facts_of_a_float_network(packed: Path) -> None:
    facts = OpenVino().load(packed, cpu).facts(MODEL.inputs(2, 0))
    assert 1 <= int(facts.pop("nodes")) <= 4  # by how much it fuses
    assert facts == {
        "runtime": "openvino",
        "provider": "CPU",
        "precision.float": "float32",
        "parameters": 144 * 48 + 48 * 4,
        "sparsity": 0.0,
        "quantized": 0.0,
        "weights.float32": 1.0,
        "precision": "float32",
        "arithmetic.float32": 1.0,
        "nodes.quantized": 0,
    }


def test_the_files_of_an_artefact(packed: Path, network: Any) -> None:
    assert {"model.xml", "model.bin"} <= {path.name for path in packed.iterdir()}
    assert (packed / "model.bin").stat().st_size >= 4 * (144 * 48 + 48 * 4)  # not halved, as is OpenVINO's default
    assert network.input(0).get_partial_shape()[0].is_dynamic  # what was given stays as it was


@pytest.mark.parametrize("threads", [1, 2])
def test_float32_is_float32(packed: Path, tmp_path: Path, threads: int) -> None:
    OnnxRuntime().pack(onnx.load(str(tiny_onnx_model(tmp_path).load())), {}, tmp_path, cpu)
    inputs = MODEL.inputs(2, 1)
    wanted = answer(OnnxRuntime().load(tmp_path, cpu), inputs)
    np.testing.assert_allclose(answer(OpenVino().load(packed, Cpu(threads)), inputs), wanted, rtol=1e-4, atol=1e-6)


def test_a_number_is_served_as_a_number(tmp_path: Path) -> None:
    step = onnx.helper.make_node("Unsqueeze", ["number", "first"], ["output"])
    made = onnx_network([step], [tensor("first", [0], np.int64)], ["output"])
    made.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("number", onnx.TensorProto.FLOAT, []))
    inputs = {"number": np.array(2, np.float32)}
    OpenVino().pack(read(made, tmp_path), inputs, tmp_path, cpu)
    output = answer(OpenVino().load(tmp_path, cpu), inputs)
    np.testing.assert_array_equal(output, np.array([2], np.float32), strict=True)


@BFLOAT16
def test_bfloat16_is_bfloat16(packed: Path) -> None:
    session, inputs = OpenVino("bfloat16").load(packed, cpu), MODEL.inputs(2, 0)
    facts = session.facts(inputs)
    assert (facts["precision"], facts["precision.float"]) == ("bfloat16", "bfloat16")
    assert facts["weights.float32"] == 1.0
    exact = answer(OpenVino().load(packed, cpu), inputs)
    assert 1e-4 < np.abs(answer(session, inputs) - exact).max() < 0.1


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(SuiteError, match="no precision 'float16' here; use float32 or bfloat16"):
        OpenVino("float16")


class Deaf:
    """A compiled network that did not listen to what it was told."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def get_property(self, name: str) -> Any:
        told = self._compiled.get_property(name)
        return openvino.Type.bf16 if name == "INFERENCE_PRECISION_HINT" else told


def test_a_precision_that_was_not_taken_is_invalid(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_model = openvino.Core.compile_model
    monkeypatch.setattr(openvino.Core, "compile_model", lambda *arguments: Deaf(compile_model(*arguments)))
    with pytest.raises(MeasurementError, match="told INFERENCE_PRECISION_HINT = f32, and took bf16") as caught:
        OpenVino().load(packed, cpu)
    assert caught.value.outcome == "invalid"


CALLS = """
import os, sys, time
from pathlib import Path
import numpy as np
from harness.hardware import cpu
from harness.runtimes.openvino import OpenVino
free = os.sched_getaffinity(0)
session = OpenVino().load(Path(sys.argv[1]), cpu)
staged = session.stage({"image": np.zeros((2, 1, 12, 12), np.float32)})
session(staged)
assert os.sched_getaffinity(0) == free  # loading and a first call leave the process where it was
cpu.settle()
print(*os.sched_getaffinity(0), flush=True)
end = time.monotonic() + 30
while time.monotonic() < end:
    session(staged)
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="there is one core to run on"
)
def test_calls_stay_on_the_cores_that_an_arm_is_pinned_to(packed: Path) -> None:
    """oneTBB would give the calling thread, within each call, the cores that the process had when it was loaded."""
    child = subprocess.Popen([sys.executable, "-c", CALLS, str(packed)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        pinned = {int(core) for core in child.stdout.readline().split()}
        end = time.monotonic() + 0.5
        seen: set[int] = set()
        while time.monotonic() < end:
            seen |= os.sched_getaffinity(child.pid)
    finally:
        child.kill()
        child.communicate()
    assert len(pinned) == 1
    assert seen == pinned


def test_threads_may_be_those_of_one_core(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the latency of one call OpenVINO leaves out the second threads of cores, unless it is told to take them."""
    told: list[Mapping[str, Any]] = []
    compile_model = openvino.Core.compile_model

    def listened(core: Any, model: Any, device: str, options: Mapping[str, Any]) -> Any:
        told.append(options)
        return compile_model(core, model, device, options)

    monkeypatch.setattr(openvino.Core, "compile_model", listened)
    for fusing in (True, False):
        OpenVino(fusing=fusing).load(packed, cpu)
    assert [options["ENABLE_HYPER_THREADING"] for options in told] == [True, True]


def test_inputs_are_read_where_they_lie(packed: Path) -> None:
    session, other = OpenVino().load(packed, cpu), MODEL.inputs(2, 1)["image"]
    image = MODEL.inputs(2, 0)["image"].copy()
    staged = session.stage({"image": image})
    before = session.fetch(session(staged))["output"]
    image[:] = other
    after = session.fetch(session(staged))["output"]
    np.testing.assert_array_equal(after, answer(session, {"image": other}))
    assert np.abs(after - before).max() > 0.01


def test_arrays_that_can_not_be_shared_are_copied(packed: Path) -> None:
    session = OpenVino().load(packed, cpu)
    image = MODEL.inputs(2, 0)["image"]
    wanted = answer(session, {"image": image})
    turned = np.ascontiguousarray(image.swapaxes(2, 3)).swapaxes(2, 3)
    frozen = image.copy()
    frozen.flags.writeable = False
    for array in (turned, frozen):
        np.testing.assert_array_equal(answer(session, {"image": array}), wanted)


def test_answers_that_were_fetched_stay(packed: Path) -> None:
    session = OpenVino().load(packed, cpu)
    first = answer(session, MODEL.inputs(2, 0))
    kept = first.copy()
    answer(session, MODEL.inputs(2, 1))
    np.testing.assert_array_equal(first, kept)


def test_other_shapes_are_compiled_when_they_come(packed: Path) -> None:
    session, inputs = OpenVino().load(packed, cpu), MODEL.inputs(5, 0)
    found = answer(session, inputs)
    assert found.shape == (5, 4)
    np.testing.assert_allclose(found[:2], answer(session, {"image": inputs["image"][:2]}), rtol=1e-4, atol=1e-6)


def test_an_input_of_another_name_is_refused_with_both(packed: Path) -> None:
    with pytest.raises(PreparationError, match="reads an input 'image', and is given pixels; "):
        OpenVino().load(packed, cpu).stage({"pixels": np.zeros((2, 1, 12, 12), np.float32)})


def test_an_input_of_another_type_is_refused_with_the_cure(packed: Path) -> None:
    words = r"input 'image' is float32 in the network, and .* float64; .* \.astype\('float32'\) in Model\.inputs"
    with pytest.raises(PreparationError, match=words):
        OpenVino().load(packed, cpu).stage({"image": np.zeros((2, 1, 12, 12))})


def test_shapes_that_the_network_does_not_take_are_refused(network: Any, tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match=r"does not take inputs of the shapes \[\[2, 1, 12, 13\]\]"):
        OpenVino().pack(network, {"image": np.zeros((2, 1, 12, 13), np.float32)}, tmp_path, cpu)


def test_a_network_of_another_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match=r"dict instead of an openvino\.Model"):
        OpenVino().pack({}, {}, tmp_path, cpu)


def test_a_damaged_file_is_a_failed_preparation(packed: Path) -> None:
    (packed / "model.xml").write_text("<net", encoding="utf-8")
    with pytest.raises(PreparationError, match="can't read the network"):
        OpenVino().load(packed, cpu)


class Answers:
    """A session that gives one answer to everything, and ids beside it."""

    def __init__(self, answer: float, ids: Sequence[int] = (1, 2), shape: tuple[int, ...] = (4,)) -> None:
        self._answer = answer
        self._ids, self._shape = ids, shape

    def stage(self, inputs: Any) -> Any:
        return inputs

    def __call__(self, staged: Any) -> Any:
        return staged

    def fetch(self, outputs: Any) -> Mapping[str, Any]:
        return {"output": np.full(self._shape, self._answer, np.float32), "ids": np.array(self._ids)}


def test_generated_code_that_computes_something_else_is_refused() -> None:
    from harness.runtimes.openvino_session import check_fusing

    check_fusing(Answers(1.01), Answers(1.0), {})
    check_fusing(Answers(1.0, (2, 1)), Answers(1.0), {})  # where rounding put two scores the other way round
    with pytest.raises(PreparationError, match=r"output 1 \(relative\) away .* openvino\(fusing=False\)"):
        check_fusing(Answers(0.0), Answers(1.0), {})
    with pytest.raises(PreparationError, match="generated code is at fault"):
        check_fusing(Answers(float("nan")), Answers(1.0), {})


def test_a_network_that_selects_otherwise_when_it_is_fused_is_refused() -> None:
    """Numpy held no row against one, and found them equal."""
    from harness.runtimes.openvino_session import check_fusing

    with pytest.raises(PreparationError, match=r"gives output the shape \[0, 6\], and \[1, 6\] when .*fusing=False"):
        check_fusing(Answers(1.0, shape=(0, 6)), Answers(1.0, shape=(1, 6)), {})


def test_nothing_is_fused_where_that_is_switched_off(packed: Path) -> None:
    facts = [OpenVino(fusing=fusing).load(packed, cpu).facts(MODEL.inputs(2, 0)) for fusing in (True, False)]
    assert int(facts[0]["nodes"]) <= int(facts[1]["nodes"]) == 2


def test_weights_of_bodies_count(tmp_path: Path) -> None:
    inputs = {"x": np.ones((1, 4), np.float32)}
    OpenVino().pack(read(conditional(), tmp_path), inputs, tmp_path, cpu)
    facts = OpenVino().load(tmp_path, cpu).facts(inputs)
    assert facts["parameters"] == 24
    assert facts["sparsity"] == 0.5


def product(weight: Any, *, transposed: bool = False) -> Any:
    """A network that multiplies its input (1, 4) with what an operation gives."""
    from openvino import opset13 as ops

    x = ops.parameter([1, 4], np.float32, name="x")
    return openvino.Model([ops.matmul(x, weight, False, transposed)], [x], "product")


def weights_of(network: Any) -> Any:
    from harness.runtimes.openvino_graph import network_weights

    return network_weights(network)


def test_stored_integers_are_counted_from_their_zero_point() -> None:
    from openvino import opset13 as ops

    stored = ops.constant(np.array([[8, 8, 9], [0, 8, 8], [8, 15, 8], [8, 8, 8]]), openvino.Type.u4)
    point = ops.convert(ops.constant(np.full((4, 3), 8), openvino.Type.u4), "f32")
    scale = ops.constant(np.full((4, 3), 0.5, np.float32))
    found = ops.multiply(ops.subtract(ops.convert(stored, "f32"), point), scale)
    (weight,) = weights_of(product(found))
    assert (weight.dtype, weight.elements, weight.zeros, weight.magnitude) == ("uint4", 12, 9, 8)
    assert weight.patterns["1:4"] == 12


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_short_floats_behind_a_conversion_are_weights(dtype: str) -> None:
    from openvino import opset13 as ops

    values = np.array([[1.0, -0.0], [0.0, 2.0], [3.0, 0.0], [0.5, 0.25]], np.float32)
    stored = ops.constant(values, getattr(openvino.Type, dtype))
    (weight,) = weights_of(product(ops.convert(stored, "f32")))
    assert (weight.dtype, weight.zeros) == ({"f16": "float16", "bf16": "bfloat16"}[dtype], 3)


def test_groups_of_zeros_lie_on_the_axis_of_the_inputs() -> None:
    from openvino import opset13 as ops

    values = np.tile(np.array([[1.0, 1.0, 0.0, 0.0]], np.float32), (4, 1))
    for transposed, kept in ((True, 16), (False, 8)):
        (weight,) = weights_of(product(ops.constant(values), transposed=transposed))
        assert weight.patterns["2:4"] == kept


class Info:
    def __init__(self, value: str) -> None:
        self.value = value


class Node:
    """A node as a compiled network describes it."""

    def __init__(self, kind: str, dtype: str, kernel: str, time: str = "3", origins: str = "") -> None:
        words = {"layerType": kind, "runtimePrecision": dtype, "primitiveType": kernel, "execTimeMcs": time}
        self._info = {name: Info(word) for name, word in {**words, "originalLayersNames": origins}.items()}

    def get_rt_info(self) -> dict[str, Info]:
        return self._info


class Graph:
    def __init__(self, *nodes: Node) -> None:
        self._nodes = nodes

    def get_ordered_ops(self) -> tuple[Node, ...]:
        return self._nodes


def test_products_are_told_by_their_kernels(network: Any) -> None:
    """What computes on integers, what only reads them, what moves and masks with them, and what did not run."""
    from harness.runtimes.facts import node_facts
    from harness.runtimes.openvino_graph import executed

    ran = Graph(
        Node("Input", "f32", "unknown_f32"),
        Node("Convolution", "u8", "brgconv_avx512_I8"),
        Node("FullyConnected", "i4", "brgemm_avx512_f32"),
        Node("Subgraph", "i8", "jit_avx512_i8", origins="features,relu,"),
        Node("Subgraph", "f32", "jit_avx512_f32", origins="relu,"),
        Node("Reorder", "u8", "jit_uni_I8"),
        Node("Select", "u8", "ref_any_I8"),
        Node("Reshape", "i8", "unknown_i8", time="not_executed"),
    )
    assert node_facts(executed(ran, network)) == {
        "precision": "float32+int8",
        "arithmetic.float32": pytest.approx(1 / 3),
        "arithmetic.int8": pytest.approx(2 / 3),
        "nodes": 6,
        "nodes.quantized": 3,
    }


def test_what_fusing_changes_is_packed_only_without_it(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenVino, "load", lambda self, _folder, _hardware: Answers(0.0 if self.fusing else 1.0))
    with pytest.raises(PreparationError, match="away from what it gives when it fuses no operations"):
        OpenVino().pack(network, MODEL.inputs(2, 0), tmp_path, cpu)
    OpenVino(fusing=False).pack(network, MODEL.inputs(2, 0), tmp_path, cpu)
