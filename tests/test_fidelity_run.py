"""Fidelity through real processes: several outputs, whole numbers, batches, and a runtime that pretends."""

from __future__ import annotations

import pytest

from tests.folder import PLAN, Folder

SUITE = '''
import dataclasses
import os

from harness.runtimes.onnxruntime import OnnxRuntime


def two_outputs():
    """The tiny network, with the class that it chooses as a second output."""
    import onnx

    path = tiny.load()
    network = onnx.load(path)
    path = path.with_name(f"two-{os.getpid()}.onnx")  # of this process alone: several load the network at a time
    network.graph.node.append(onnx.helper.make_node("ArgMax", ["output"], ["label"], axis=1, keepdims=0))
    network.graph.output.append(onnx.helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["batch"]))
    onnx.save(network, path)
    return path


@dataclasses.dataclass(frozen=True)
class Pretending(OnnxRuntime):
    """Computes as ever, and calls it INT8."""

    def load(self, folder, hardware):
        session = super().load(folder, hardware)
        real = session.facts
        session.facts = lambda example: {**real(example), "precision": "int8", "quantized": 1.0}
        return session


@technique
def pretended(deployment):
    return deployment.replace(runtime=Pretending()).promising(Promise("quantized", at_least=0.5))


two = dataclasses.replace(tiny, name="two", load=two_outputs)


@grid(model=[two], technique=[reference, batched(7), int8_dynamic, pretended], hardware=[cpu])
def test_two(case, bench):
    bench(case)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    pytest.importorskip("onnxruntime")
    made = Folder(tmp_path_factory.mktemp("fidelity") / "project")
    made.suite("test_two", SUITE)
    made.pytest("suites", "--baseline=off", *PLAN)
    return made


def fidelity(folder: Folder, technique: str) -> dict[str, float]:
    """The metrics of a case that are about its outputs."""
    result = folder.result(f"two/{technique}/cpu")
    assert result["outcome"] == "completed", result["reason"]
    values = {m["metric"]: m["estimate"]["point"] for m in result["measurements"]}
    return {name.removeprefix("fidelity."): value for name, value in values.items() if name.startswith("fidelity.")}


def test_the_reference_is_compared_with_nothing(folder: Folder) -> None:
    assert fidelity(folder, "reference") == {}


def test_batches_answer_as_single_items_do(folder: Folder) -> None:
    """200 examples in calls of 7: the last call is filled up, and what fills it is compared with nothing."""
    near = fidelity(folder, "batched:7")
    assert near.get("sqnr", 200) > 100
    assert near["cosine"] == pytest.approx(1, abs=1e-9)
    assert near["agreement"] == 1
    # The labels, one of five elements, are equal whatever the order of the sums does to the scores.
    assert near["identical"] >= 0.2


def test_int8_is_as_near_as_8_bits_can_be(folder: Folder) -> None:
    near = fidelity(folder, "int8_dynamic")
    assert 15 < near["sqnr"] < 60
    assert near["error"] == pytest.approx(10 ** (-near["sqnr"] / 20))
    assert near["identical"] < 0.5
    assert near["agreement"] > 0.9


def test_a_runtime_that_only_calls_itself_int8_is_invalid(folder: Folder) -> None:
    result = folder.result("two/pretended/cpu")
    assert result["outcome"] == "invalid"
    assert "two/pretended/cpu: products in int8, by what was read from the network" in result["reason"]
    assert "equals the reference's to the last bit" in result["reason"]
