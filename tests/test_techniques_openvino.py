"""OpenVINO and NNCF as techniques: what they leave, what they promise, and where they are refused."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import Deployment, Model, PreparationError, Promise, SuiteError
from harness.hardware import Cpu, cpu
from harness.records import Scalar
from harness.runtimes import openvino as runtime
from harness.runtimes import packages
from harness.runtimes.eager import Eager
from harness.runtimes.onnxruntime import OnnxRuntime
from harness.runtimes.openvino_graph import network_weights
from harness.techniques import (
    batched,
    fp16,
    int4_weights,
    int8_static,
    int8_weights,
    onnxruntime,
    openvino,
    pruned_n_m,
    pruned_weights,
    quantize_onnx,
)
from harness.techniques.base import Pipeline, Technique, as_pipeline
from harness.testing import check_technique, tiny_onnx_model, tiny_torch_model
from tests.attention_networks import encoder_model
from tests.onnx_networks import as_model, tensor
from tests.onnx_networks import model as network
from tests.torch_networks import Convolution

TORCH = tiny_torch_model()
LINEAR = 1152
WEIGHTS = 16 * 9 + 32 * 16 * 9 + LINEAR
PLAIN = openvino(fusing=False)
"""What two quantized linear layers need, until OpenVINO's generated code for them is right."""


@dataclasses.dataclass(frozen=True)
class Gpu(Cpu):
    """A GPU that says what it is and nothing else."""

    def describe(self) -> Mapping[str, Scalar]:
        return {"kind": "cuda"}


def network_of(model: Model, folder: Path) -> Any:
    """The network of an ONNX model as OpenVINO reads it."""
    import onnx

    loaded = onnx.load(str(model.load()))
    return openvino.apply(Deployment(model, loaded, OnnxRuntime(), cpu, folder)).network


def test_ids_name_what_is_not_the_default() -> None:
    assert openvino(precision="bfloat16").id == "openvino:precision-bfloat16"
    assert (PLAIN | int8_static(transformer=False)).id == "openvino:fusing-False+int8_static:transformer-False"


def test_what_is_missing_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"openvino", "nncf"}
    monkeypatch.setattr(packages, "_found", lambda module: module not in absent)
    cure = r"is not installed (pip install 'inference-harness[openvino]')"
    for technique in (openvino, openvino | int8_static, openvino | fp16):
        assert as_pipeline(technique).unavailable(TORCH, cpu) == f"openvino {cure}"
    absent.remove("openvino")
    assert as_pipeline(openvino | int8_weights).unavailable(TORCH, cpu) == f"nncf {cure}"


def test_it_runs_on_cpus_alone() -> None:
    reason = as_pipeline(openvino).unavailable(TORCH, Gpu())
    assert reason is not None
    assert "OpenVINO runs on CPUs here" in reason


def test_bfloat16_needs_a_cpu_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "missing", lambda *_: None)
    asked = as_pipeline(openvino(precision="bfloat16"))
    monkeypatch.setattr(runtime, "instruction_sets", lambda: ("avx2", "avx512f"))
    reason = asked.unavailable(TORCH, cpu)
    assert reason is not None
    assert "no arithmetic in bfloat16" in reason
    assert "leave the precision at float32" in reason
    monkeypatch.setattr(runtime, "instruction_sets", lambda: ("avx512_bf16",))
    assert asked.unavailable(TORCH, cpu) is None


def test_forms_that_do_not_fit_are_refused_with_the_way_round() -> None:
    assert as_pipeline(openvino | onnxruntime).inapplicable(TORCH) == (
        "onnxruntime works on a torch network or an ONNX network, and the steps before it have made it an OpenVINO "
        "network: put it first"
    )


def test_a_network_that_no_file_can_hold_is_refused(
    onnx_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr("harness.runtimes.onnx_graph.LARGEST", 1000)
    with pytest.raises(PreparationError, match="more than the 2 GB that one"):
        network_of(onnx_model, tmp_path)


@pytest.mark.parametrize("technique", [openvino, openvino(precision="bfloat16"), openvino | batched(3)])
def test_a_torch_network_is_exported(technique: Technique | Pipeline) -> None:
    pytest.importorskip("openvino")
    if missing := as_pipeline(technique).unavailable(TORCH, cpu):
        pytest.skip(missing)
    evidence, facts = check_technique(technique, TORCH)
    assert all(item.kept for item in evidence)
    assert facts["parameters"] == WEIGHTS
    assert facts["precision"] == facts["precision.float"]
    assert facts["nodes.quantized"] == 0


def test_zeros_stay_zeros() -> None:
    pytest.importorskip("nncf")
    pipeline = pruned_weights(0.9, finetune=False) | PLAIN
    assert float(check_technique(pipeline, TORCH)[1]["sparsity"]) >= 0.9
    assert float(check_technique(pipeline | int8_weights, TORCH)[1]["sparsity"]) >= 0.9


@pytest.mark.parametrize("method", ["minmax", "mean", "percentile", "histogram"])
def test_integers_are_computed_with(method: str, onnx_model: Model) -> None:
    pytest.importorskip("nncf")
    _, facts = check_technique(PLAIN | int8_static(method), onnx_model)
    assert facts["weights.int8"] == facts["quantized"] == 1.0
    assert facts["precision"] == "int8"
    assert facts["nodes.quantized"] == 2


def test_an_array_of_the_calibration_data_that_the_network_does_not_read_is_left_out(onnx_model: Model) -> None:
    pytest.importorskip("nncf")
    image = next(iter(tiny_onnx_model(Path("unused")).calibration()))
    masked = dataclasses.replace(onnx_model, calibration=lambda: [{"mask": image["image"], **image}])
    assert check_technique(PLAIN | int8_static, masked)[1]["quantized"] == 1.0


def test_calibration_data_are_cut_into_the_batch_of_the_file(onnx_model: Model, tmp_path: Path) -> None:
    """As they are for ONNX Runtime: NNCF called the network with batches that it does not take."""
    pytest.importorskip("nncf")
    import onnx

    one_at_a_time, path = onnx.load(str(onnx_model.load())), tmp_path / "fixed.onnx"
    for value in (one_at_a_time.graph.input[0], one_at_a_time.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(one_at_a_time, str(path))
    fixed = dataclasses.replace(onnx_model, load=lambda: path)
    assert check_technique(PLAIN | int8_static, fixed)[1]["quantized"] == 1.0


def test_convolutions_are_quantized() -> None:
    pytest.importorskip("nncf")
    _, facts = check_technique(openvino | int8_static(per_channel=False), TORCH)
    assert facts["quantized"] == 1.0
    assert facts["arithmetic.int8"] == 1.0
    assert facts["parameters"] == WEIGHTS


@pytest.mark.parametrize(("extensions", "bits"), [(("avx2", "avx512f"), 7), (("avx2", "avx512_vnni"), 8)])
def test_without_vnni_the_weights_keep_to_seven_bits(
    extensions: tuple[str, ...], bits: int, onnx_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NNCF by itself sees to the first convolutions alone."""
    pytest.importorskip("nncf")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(quantize_onnx, "instruction_sets", lambda: extensions)
    for technique, model in ((openvino | int8_static, TORCH), (PLAIN | int8_static(per_channel=False), onnx_model)):
        evidence, facts = check_technique(technique, model)
        assert facts["quantized.bits"] == bits
        assert ("quantized.bits <= 7" in [item.promise for item in evidence]) is (bits == 7)


def test_what_keep_names_stays_in_float(onnx_model: Model) -> None:
    """The last product goes by the name of the output that it gives."""
    pytest.importorskip("nncf")
    _, facts = check_technique(PLAIN | int8_static(keep="out*"), onnx_model)
    assert facts["weights.float32"] == pytest.approx(48 * 4 / (144 * 48 + 48 * 4))
    assert facts["nodes.quantized"] == 1
    with pytest.raises(SuiteError, match=r"keep='classes' names no operation of the network; there are features, out"):
        check_technique(PLAIN | int8_static(keep="classes"), onnx_model)


def test_a_weight_that_only_one_of_its_readers_keeps_is_stored_twice(tmp_path: Path) -> None:
    """Named as it is, with its brackets, which would be a set in a glob."""
    pytest.importorskip("nncf")
    import onnx

    steps = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["h"], name="layers[0]"),
        onnx.helper.make_node("Relu", ["h"], ["r"]),
        onnx.helper.make_node("MatMul", ["r", "w"], ["y"], name="layers[1]"),
    ]
    shared = as_model(network(steps, [tensor("w", np.eye(4) - 0.5)]), tmp_path)
    evidence, facts = check_technique(PLAIN | int8_static(keep="layers[0]"), shared)
    assert "quantized >= 0.45" in [item.promise for item in evidence]
    assert (facts["parameters"], facts["quantized"], facts["arithmetic.float32"]) == (32, 0.5, 0.5)


def test_what_follows_from_constants_does_not_stop_it(tmp_path: Path) -> None:
    """As the embedding of positions in a transformer: a row for each of them is looked up by constants."""
    pytest.importorskip("nncf")
    import onnx

    steps = [
        onnx.helper.make_node("Gather", ["table", "positions"], ["rows"]),
        onnx.helper.make_node("MatMul", ["x", "w"], ["z"]),
        onnx.helper.make_node("Add", ["z", "rows"], ["sum"]),
        onnx.helper.make_node("MatMul", ["sum", "w"], ["y"]),
    ]
    tables = [tensor("table", np.eye(6, 4)), tensor("positions", [0], np.int64), tensor("w", np.eye(4) - 0.5)]
    path = tmp_path / "positions.onnx"
    onnx.save(network(steps, tables), str(path))
    inputs = {"x": np.ones((2, 4), np.float32)}
    model = dataclasses.replace(
        tiny_onnx_model(tmp_path),
        load=lambda: path,
        inputs=lambda size, seed: {"x": np.random.default_rng(seed).random((size, 4), np.float32)},
        calibration=lambda: [inputs],
    )
    assert check_technique(PLAIN | int8_static, model)[1]["nodes.quantized"] == 2


def test_keeping_everything_is_refused(onnx_model: Model) -> None:
    pytest.importorskip("nncf")
    with pytest.raises(PreparationError, match="has weights that keep leaves"):
        check_technique(PLAIN | int8_static(keep="MatMul"), onnx_model)


@pytest.mark.parametrize(
    ("technique", "text"),
    [
        (int8_static(ops="Conv"), r"on an OpenVINO network it has a method \(minmax, mean, percentile, histogram\)"),
        (int8_static(max_drop=0.01), "int8_static has ops and max_drop on ONNX networks"),
        (int8_static("entropy"), "has no method 'entropy' on an OpenVINO network; use minmax, mean"),
        (int4_weights(block=48), "use 16, 32, 64, 128, 256"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(technique: Technique, text: str, onnx_model: Model) -> None:
    pytest.importorskip("nncf")
    with pytest.raises(SuiteError, match=text):
        check_technique(openvino | technique, onnx_model)


def test_the_scheme_for_transformers_is_openvinos(onnx_model: Model) -> None:
    with pytest.raises(SuiteError, match="is of OpenVINO networks: put openvino before it"):
        check_technique(int8_static(transformer=True), onnx_model)


def test_quantizing_that_does_nothing_breaks_the_promise(onnx_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    nncf = pytest.importorskip("nncf")
    monkeypatch.setattr(nncf, "quantize", lambda network, *_, **__: network)
    monkeypatch.setattr(nncf, "compress_weights", lambda network, **_: network)
    with pytest.raises(AssertionError, match=r"int8_static promised quantized >= 0\.9, found 0\.0"):
        check_technique(openvino | int8_static, onnx_model)
    with pytest.raises(AssertionError, match=r"int4_weights promised .* weights\.int4"):
        check_technique(openvino | int4_weights, onnx_model)


def test_attention_is_found_and_quantized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nncf = pytest.importorskip("nncf")
    from harness.techniques.quantize_openvino import has_attention

    asked: list[Any] = []
    quantize = nncf.quantize
    monkeypatch.setattr(
        nncf, "quantize", lambda *given, **named: asked.append(named["model_type"]) or quantize(*given, **named)
    )
    model = encoder_model()
    model = dataclasses.replace(model, calibration=lambda: [model.inputs(4, seed) for seed in range(2)])
    _, facts = check_technique(openvino | int8_static, model)
    assert facts["arithmetic.int8"] > 0.5
    check_technique(openvino | int8_static(transformer=False), model)
    assert asked == [nncf.ModelType.TRANSFORMER, None]
    assert not has_attention(network_of(tiny_onnx_model(tmp_path), tmp_path))


@pytest.mark.parametrize(
    ("technique", "dtype"), [(int8_weights, "int8"), (int4_weights, "int4"), (int4_weights(block=16), "int4")]
)
def test_weights_of_few_bits(technique: Technique, dtype: str, onnx_model: Model) -> None:
    """The integers are read by kernels that compute in float32."""
    pytest.importorskip("nncf")
    evidence, facts = check_technique(openvino | technique, onnx_model)
    assert all(item.kept for item in evidence)
    assert facts[f"weights.{dtype}"] == facts["quantized"] == 1.0
    assert facts["precision"] == "float32"
    assert facts["nodes.quantized"] == 2
    assert facts["parameters"] == 144 * 48 + 48 * 4


@pytest.mark.parametrize("technique", [int8_weights, int4_weights])
def test_weights_behind_a_transposition_are_compressed(technique: Technique, tmp_path: Path) -> None:
    """As torch exports a linear layer that is called several times."""
    pytest.importorskip("nncf")
    import onnx

    steps = [
        onnx.helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        onnx.helper.make_node("MatMul", ["x", "wt"], ["h"]),
        onnx.helper.make_node("MatMul", ["h", "wt"], ["y"]),
    ]
    path = tmp_path / "turned.onnx"
    onnx.save(network(steps, [tensor("w", np.eye(4) - 0.3)]), str(path))
    model = dataclasses.replace(
        tiny_onnx_model(tmp_path),
        load=lambda: path,
        inputs=lambda size, seed: {"x": np.random.default_rng(seed).random((size, 4), np.float32)},
    )
    _, facts = check_technique(openvino | technique, model)
    assert facts["quantized"] == 1.0


@pytest.mark.parametrize("technique", [int8_static, int8_weights, int4_weights])
def test_a_table_that_is_stored_twice_breaks_no_promise_of_a_step_before_it(
    technique: Technique, tmp_path: Path
) -> None:
    """As torch exports an embedding that gives the logits too: what had pruned such a network was invalid."""
    pytest.importorskip("nncf")
    import onnx

    steps = [
        onnx.helper.make_node("ArgMax", ["x"], ["ids"], axis=1, keepdims=0),
        onnx.helper.make_node("Gather", ["table", "ids"], ["rows"]),
        onnx.helper.make_node("Transpose", ["table"], ["turned"], perm=[1, 0]),
        onnx.helper.make_node("MatMul", ["rows", "turned"], ["y"]),
    ]
    table = np.random.default_rng(0).random((64, 32))
    model = as_model(network(steps, [tensor("table", table)], axes=[64]), tmp_path)
    before = openvino.apply(Deployment(model, onnx.load(str(model.load())), OnnxRuntime(), cpu, tmp_path)).promising(
        Promise("parameters", at_most=64 * 32), Promise("sparsity", at_least=0.5)
    )
    done = technique.apply(before)
    assert sum(weight.elements for weight in network_weights(done.network)) == 2 * 64 * 32
    kept = {promise.fact: promise for _, promise in done.promises}
    assert kept["parameters"].at_most == 2 * 64 * 32
    assert kept["sparsity"].at_least == 0.25


def test_only_matrix_products_are_compressed() -> None:
    pytest.importorskip("nncf")
    _, facts = check_technique(openvino | int8_weights, TORCH)
    assert facts["weights.int8"] == pytest.approx(LINEAR / WEIGHTS)


def test_compressing_leaves_the_others_in_half_precision(tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    deployment = Deployment(TORCH, TORCH.load(), Eager(), cpu, tmp_path)
    done = (openvino | fp16 | int8_weights).apply(deployment).network
    assert {weight.dtype for weight in network_weights(done)} == {"float16", "int8"}


def test_no_pattern_of_zeros_is_looked_for_in_transposed_convolutions() -> None:
    """Nor is one in torch and ONNX networks: theirs were taken for weights that were pruned and have none."""
    pytest.importorskip("openvino")
    layers = torch.nn.Conv2d(4, 4, 1), torch.nn.ConvTranspose2d(4, 4, 2, stride=2)
    model = dataclasses.replace(
        TORCH,
        load=lambda: torch.nn.Sequential(*layers).eval(),
        inputs=lambda size, seed: {"x": np.random.default_rng(seed).random((size, 4, 6, 6), np.float32)},
    )
    assert check_technique(pruned_n_m(finetune=False) | openvino, model)[1]["sparsity.2:4"] == 1.0


def test_a_network_without_products_is_refused() -> None:
    pytest.importorskip("nncf")
    model = dataclasses.replace(TORCH, load=lambda: Convolution().eval())
    with pytest.raises(PreparationError, match=r"no matrix product of this network .* are Convolution"):
        check_technique(openvino | int8_weights, model)


def test_half_precision_is_storage(onnx_model: Model) -> None:
    pytest.importorskip("openvino")
    _, facts = check_technique(openvino | fp16, onnx_model)
    assert facts["weights.float16"] == 1.0
    assert facts["precision"] == "float32"


def test_nothing_is_sent_home_and_nothing_is_left_behind() -> None:
    pytest.importorskip("nncf")
    code = (
        "import os; from harness.techniques.quantize_openvino import _quiet_nncf\n"
        "with _quiet_nncf(): pass\n"
        "from nncf.telemetry.wrapper import NNCFTelemetry, telemetry\n"
        "print(isinstance(telemetry, NNCFTelemetry), 'NNCF_CI' in os.environ)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"
