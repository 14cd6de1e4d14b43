"""Every technique on real small networks: it keeps its promises, and breaks them where it is sabotaged."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from harness import Deployment, EvidenceError, Model, PreparationError
from harness.hardware import cpu
from harness.runtimes.eager import Eager
from harness.runtimes.onnx_graph import weights
from harness.techniques import (
    Pipeline,
    Technique,
    aotinductor,
    autocast,
    batched,
    bf16,
    compiled,
    cuda_graph,
    distilled,
    fp16,
    int8_dynamic,
    int8_static,
    onnxruntime,
    pruned_channels,
    pruned_weights,
    quantize_onnx,
    reference,
)
from harness.techniques.base import as_pipeline
from harness.techniques.torch_modules import CastNetwork
from harness.testing import check_technique, tiny_student_model, tiny_torch_model
from harness.worker.prepare import evidence_of
from tests.onnx_networks import as_model, conditional, tensor
from tests.onnx_networks import model as onnx_network

TORCH = tiny_torch_model()
STUDENT = tiny_student_model()
WEIGHTS = 16 * 9 + 32 * 16 * 9 + 4 * 288


def accuracy(technique: Technique | Pipeline, model: Model = TORCH) -> float:
    """Of the torch network that a technique makes."""
    with tempfile.TemporaryDirectory() as folder:
        deployment = Deployment(model, model.load(), Eager(), cpu, Path(folder))
        network = as_pipeline(technique).apply(deployment).network
    with torch.no_grad():
        return model.evaluate(lambda x: {"output": network(torch.from_numpy(x["image"])).numpy()}).value


@pytest.mark.parametrize(
    ("technique", "expected"),
    [
        (bf16, {"weights.bfloat16": 1.0, "precision": "bfloat16", "parameters": WEIGHTS}),
        (fp16, {"weights.float16": 1.0, "precision": "float16", "parameters": WEIGHTS}),
        (autocast, {"weights.float32": 1.0, "precision": "bfloat16", "parameters": WEIGHTS}),
        (autocast("float16"), {"weights.float32": 1.0, "arithmetic.float16": 1.0}),
        (batched(4), {"batch": 4, "runtime": "eager"}),
        (batched(3) | onnxruntime, {"batch": 3, "parameters": WEIGHTS, "runtime": "onnxruntime", "level": "all"}),
        (onnxruntime("basic") | fp16, {"weights.float16": 1.0, "precision": "float32", "level": "basic"}),
        (pruned_weights(0.8, finetune=False), {"sparsity": pytest.approx(0.8, abs=1e-3)}),
        (pruned_channels(0.25, finetune=False), {"parameters": 12 * 9 + 24 * 12 * 9 + 4 * 24 * 9}),
        (distilled(into=STUDENT), {"parameters": 4 * 9 + 8 * 4 * 9 + 4 * 72, "runtime": "eager"}),
        (
            pruned_channels(0.5) | onnxruntime | int8_static,
            {"parameters": 8 * 9 + 16 * 8 * 9 + 4 * 144, "quantized": 1.0, "precision": "int8", "nodes.quantized": 3},
        ),
        (
            pruned_weights(0.9) | onnxruntime | int8_dynamic(ops=("MatMul", "Conv")),
            {"sparsity": pytest.approx(0.9, abs=0.02), "weights.int8": 1.0, "nodes.quantized": 3},
        ),
    ],
    ids=lambda value: value.id if isinstance(value, (Technique, Pipeline)) else "",
)
def test_on_a_torch_model(technique: Technique | Pipeline, expected: dict[str, Any]) -> None:
    evidence, facts = check_technique(technique, TORCH)
    assert all(item.kept for item in evidence)
    assert {name: facts[name] for name in expected} == expected


def test_autocast_promises_nothing_of_weights_that_a_compiler_may_cast_once(tmp_path: Path) -> None:
    """Each case with aotinductor was invalid: its package holds them in the short type."""
    deployment = (autocast | aotinductor).apply(Deployment(TORCH, TORCH.load(), Eager(), cpu, tmp_path))
    facts: dict[str, Any] = {
        "runtime": "aotinductor", "graphs": 1, "weights.bfloat16": 1.0, "arithmetic.bfloat16": 1.0
    }  # fmt: skip
    assert all(promise.check(name, facts).kept for name, promise in deployment.promises)
    evidence = [promise.check(name, {**facts, "arithmetic.bfloat16": 0.0}) for name, promise in deployment.promises]
    assert [item.technique for item in evidence if not item.kept] == ["autocast"]


@pytest.mark.parametrize(
    ("technique", "expected"),
    [
        (onnxruntime("disable"), {"level": "disable", "precision": "float32"}),
        (fp16, {"weights.float16": 1.0, "precision": "float32"}),
        (int8_dynamic, {"quantized": 1.0, "precision": "int8", "nodes.quantized": 2}),
        (int8_static, {"quantized": 1.0, "precision": "int8", "quantized.bits": 8}),
        (int8_static("entropy"), {"quantized": 1.0, "nodes.quantized": 2}),
        (int8_static("percentile", per_channel=False), {"quantized": 1.0, "nodes.quantized": 2}),
        (int8_static | batched(4), {"quantized": 1.0, "batch": 4}),
    ],
    ids=lambda value: value.id if isinstance(value, (Technique, Pipeline)) else "",
)
def test_on_an_onnx_model(technique: Technique | Pipeline, expected: dict[str, Any], onnx_model: Model) -> None:
    evidence, facts = check_technique(technique, onnx_model)
    assert all(item.kept for item in evidence)
    assert {name: facts[name] for name in expected} == expected


def test_only_the_named_operators_are_quantized() -> None:
    _, facts = check_technique(onnxruntime | int8_static(ops="Conv"), TORCH)
    assert facts["quantized"] == pytest.approx(1 - 4 * 288 / WEIGHTS)
    assert facts["precision"] == "float32+int8"


def test_each_quantizer_of_a_pipeline_measures_its_own_ranges() -> None:
    steps = onnxruntime | int8_static(ops="Conv") | int8_static("percentile", ops="Gemm")
    _, facts = check_technique(steps, TORCH)
    _, of_convolutions = check_technique(onnxruntime | int8_static(ops="Conv"), TORCH)
    assert facts["nodes.quantized"] > of_convolutions["nodes.quantized"]


def test_layers_that_share_a_bias_are_quantized_each_with_its_own(onnx_model: Model, tmp_path: Path) -> None:
    """ONNX Runtime's own copy of the second would be named `b0`, as the features are here."""
    from onnx import helper, numpy_helper

    network = onnx.load(str(onnx_model.load()))
    flatten, _, relu, classes = network.graph.node
    relu.input[0] = "again"
    first = helper.make_node("Gemm", ["flat", "first", "b"], ["b0"], name="first")
    second = helper.make_node("Gemm", ["b0", "same", "b"], ["again"], name="second")
    del network.graph.node[:]
    network.graph.node.extend([flatten, first, second, relu, classes])
    arrays = {"b": np.full(48, 0.01, np.float32), "same": np.eye(48, dtype=np.float32)}
    network.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    path = tmp_path / "shared.onnx"
    onnx.save(network, str(path))
    _, facts = check_technique(int8_static, dataclasses.replace(onnx_model, load=lambda: path))
    assert facts["nodes.quantized"] == 3
    assert facts["quantized"] == 1.0


def test_without_vnni_the_weights_keep_to_seven_bits(onnx_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(quantize_onnx, "instruction_sets", lambda: ("avx", "avx2", "fma"))
    evidence, facts = check_technique(int8_static, onnx_model)
    assert facts["quantized.bits"] == 7
    assert "quantized.bits <= 7" in [item.promise for item in evidence]


def test_seven_bits_are_not_promised_of_a_table_that_no_product_reads(
    onnx_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime quantizes it as an activation, from its least to its largest number."""
    random = np.random.default_rng(0)
    steps = [
        onnx.helper.make_node("Cast", ["x"], ["ids"], to=onnx.TensorProto.INT64),
        onnx.helper.make_node("Gather", ["table", "ids"], ["rows"]),
        onnx.helper.make_node("MatMul", ["rows", "w"], ["y"]),
    ]
    weights = [tensor("table", random.random((16, 8)) + 1), tensor("w", random.standard_normal((8, 4)))]
    path = tmp_path / "table.onnx"
    onnx.save(onnx_network(steps, weights), str(path))

    def inputs(size: int, seed: int) -> dict[str, Any]:
        return {"x": np.random.default_rng(seed).integers(0, 16, (size, 4)).astype(np.float32)}

    model = dataclasses.replace(onnx_model, load=lambda: path, inputs=inputs, calibration=lambda: [inputs(4, 0)])
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(quantize_onnx, "instruction_sets", lambda: ("avx", "avx2", "fma"))
    for technique in (int8_static, int8_dynamic(ops=("MatMul", "Gather"))):
        evidence, facts = check_technique(technique, model)
        assert facts["quantized"] == 1.0
        assert facts["quantized.bits"] == 8
        assert "quantized.bits <= 7" not in [item.promise for item in evidence]
    for technique in (int8_static(keep="Gather"), int8_static(ops="MatMul"), int8_dynamic):
        evidence, facts = check_technique(technique, model)
        assert facts["quantized.bits"] == 7
        assert "quantized.bits <= 7" in [item.promise for item in evidence]


def test_half_precision_reaches_weights_that_are_inputs_too(onnx_model: Model, tmp_path: Path) -> None:
    """As in files of IR 3, and of some newer exporters."""
    made = onnx.load(str(onnx_model.load()))
    made.graph.input.extend(
        onnx.helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in made.graph.initializer
    )
    made.ir_version = 3
    path = tmp_path / "inputs.onnx"
    onnx.save(made, str(path))
    _, facts = check_technique(fp16, dataclasses.replace(onnx_model, load=lambda: path))
    assert facts["weights.float16"] == 1.0


def one_name_in_two_branches() -> Any:
    """An If whose branches each have a weight of one name, of which one is read in the branches of a further If."""
    network = conditional()
    (choice,) = (node for node in network.graph.node if node.op_type == "If")
    for attribute in choice.attribute:
        (product,) = attribute.g.node
        attribute.g.initializer[0].name = product.input[1] = "w"
    inner = []
    for name in "cd":
        product.output[0] = name
        value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        inner.append(onnx.helper.make_graph([product], name, [], [value]))
    output = attribute.g.output[0].name
    product.CopyFrom(onnx.helper.make_node("If", ["choice"], [output], then_branch=inner[0], else_branch=inner[1]))
    return network


def test_half_precision_reaches_weights_of_one_name_in_two_branches(tmp_path: Path) -> None:
    """The converter of ONNX Runtime keeps them by name, and ended without a word."""
    model = as_model(one_name_in_two_branches(), tmp_path)
    _, facts = check_technique(fp16, model)
    assert (facts["weights.float16"], facts["parameters"], facts["sparsity"]) == (1.0, 24, 0.5)
    network = onnx.load(str(model.load()))
    made = fp16.apply(Deployment(model, network, _onnx_runtime(), cpu, tmp_path)).network
    assert sorted((one.elements, len(one.readers)) for one in weights(made)) == [(12, 1), (12, 2)]


def test_half_precision_reaches_weights_that_functions_multiply(onnx_model: Model, tmp_path: Path) -> None:
    """ONNX Runtime refused the file, whose function was still of float32."""
    network = onnx.load(str(onnx_model.load()))
    product = onnx.helper.make_node("MatMul", ["a", "b"], ["c"])
    opsets = [onnx.helper.make_opsetid("", 20)]
    scaled = [
        onnx.helper.make_node("Constant", [], ["two"], value=tensor("", 2.0)),
        product,
        onnx.helper.make_node("Mul", ["c", "two"], ["d"]),
    ]
    network.functions.append(onnx.helper.make_function("own", "Classes", ["a", "b"], ["d"], scaled, opsets))
    network.opset_import.append(onnx.helper.make_opsetid("own", 1))
    node = next(node for node in network.graph.node if node.name == "classes")
    node.op_type, node.domain = "Classes", "own"
    path = tmp_path / "functions.onnx"
    onnx.save(network, str(path))
    _, facts = check_technique(fp16, dataclasses.replace(onnx_model, load=lambda: path))
    assert (facts["weights.float16"], facts["parameters"]) == (1.0, 144 * 48 + 48 * 4)


def test_nothing_to_quantize_is_refused_with_what_there_is(onnx_model: Model) -> None:
    with pytest.raises(PreparationError, match="no Conv of this network has weights; those that have are MatMul"):
        check_technique(int8_static(ops="Conv"), onnx_model)


def test_quantizing_does_not_touch_the_network_it_was_given(onnx_model: Model, tmp_path: Path) -> None:
    network = onnx.load(str(onnx_model.load()))
    before = network.SerializeToString()
    for step in (int8_static, int8_dynamic, fp16):
        folder = tmp_path / step.name
        folder.mkdir()
        step.apply(Deployment(onnx_model, network, Eager(), cpu, folder).replace(runtime=_onnx_runtime()))
    assert network.SerializeToString() == before


def test_techniques_do_not_touch_the_torch_network_they_were_given(tmp_path: Path) -> None:
    network = TORCH.load()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for step in (bf16, pruned_weights(0.5), pruned_channels(0.5), distilled(STUDENT)):
        step.apply(Deployment(TORCH, network, Eager(), cpu, tmp_path))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_fine_tuning_recovers_and_distillation_teaches() -> None:
    assert accuracy(reference) > 0.93
    assert accuracy(pruned_weights(0.9)) > accuracy(pruned_weights(0.9, finetune=False))
    assert accuracy(distilled(into=STUDENT)) > accuracy(reference, STUDENT) + 0.3


def test_the_layers_of_all_outputs_keep_their_channels() -> None:
    model = dataclasses.replace(TORCH, load=lambda: TwoHeads().eval())
    _, facts = check_technique(pruned_channels(0.5, finetune=False), model)
    assert facts["parameters"] == 8 * 144 + 4 * 8 + 3 * 8


def test_a_network_whose_code_fixes_its_channels_is_refused_with_the_cure() -> None:
    model = dataclasses.replace(TORCH, load=lambda: FixedWidth().eval())
    with pytest.raises(PreparationError, match=r"can't run with fewer channels.*Model\.unsupported"):
        check_technique(pruned_channels(0.5, finetune=False), model)


def test_a_student_that_is_not_smaller_is_refused() -> None:
    with pytest.raises(PreparationError, match="a student must be smaller"):
        check_technique(distilled(into=TORCH), TORCH)


def test_arithmetic_that_the_runtime_does_not_have_breaks_the_promise() -> None:
    with pytest.raises(AssertionError, match=r"fp16 promised arithmetic\.float16 >= 0\.9, found not found"):
        check_technique(fp16 | onnxruntime, TORCH)


def test_integers_that_are_only_stored_break_the_promise(onnx_model: Model) -> None:
    with pytest.raises(AssertionError, match=r"int8_static promised arithmetic\.int8 >= 0\.001, found not found"):
        check_technique(onnxruntime("disable") | int8_static, onnx_model)


def _copied(source: Path, target: Path, *_: Any, **__: Any) -> None:
    shutil.copy(source, target)


def _untouched(network: Any, *_: Any, **__: Any) -> Any:
    return network


SABOTAGES: list[tuple[Technique | Pipeline, str, Callable[..., Any], str]] = [
    (bf16, "harness.techniques.torch_modules.CastNetwork", lambda network, _: torch.nn.Sequential(network), "bf16"),
    (fp16, "harness.techniques.torch_modules.CastNetwork", lambda network, _: torch.nn.Sequential(network), "fp16"),
    (onnxruntime | fp16, "onnxruntime.transformers.float16.convert_float_to_float16", _untouched, "weights.float16"),
    (onnxruntime | int8_dynamic, "onnxruntime.quantization.quantize_dynamic", _copied, "quantized"),
    (onnxruntime | int8_static, "onnxruntime.quantization.quantize_static", _copied, "quantized"),
    (pruned_weights(0.5), "harness.techniques.prune._smallest", lambda *_: [], "sparsity"),
    (pruned_channels(0.5), "harness.techniques.prune_channels._remove_channels", lambda *_: None, "parameters"),
]


@pytest.mark.parametrize(("technique", "target", "fake", "words"), SABOTAGES, ids=[row[0].id for row in SABOTAGES])
def test_a_technique_that_does_nothing_breaks_its_promise(
    technique: Pipeline, target: str, fake: Callable[..., Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, fake)
    with pytest.raises(AssertionError, match=f"promised.*{words}|{words}.*promised"):
        check_technique(technique, TORCH)


def test_masks_that_fine_tuning_forgets_break_the_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.techniques import prune, training

    monkeypatch.setattr(prune, "retrain", training.train)
    with pytest.raises(AssertionError, match="promised sparsity"):
        check_technique(pruned_weights(0.5), TORCH)


def test_compiling_that_does_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)
    monkeypatch.setattr("harness.runtimes.inductor.compiler", lambda: "g++")
    with pytest.raises(PreparationError, match="compiled nothing"):
        check_technique(compiled, TORCH)


def test_a_network_of_volumes_and_images_is_cast() -> None:
    """What has five axes has no layout with the channels last."""
    model = dataclasses.replace(TORCH, load=lambda: VolumesAndImages().eval())
    _, facts = check_technique(bf16, model)
    assert (facts["weights.bfloat16"], facts["precision"]) == (1.0, "bfloat16")
    assert facts["parameters"] == 4 * 9 + 4 * 4 * 144
    cast = CastNetwork(VolumesAndImages(), torch.bfloat16).network
    assert cast.images.weight.is_contiguous(memory_format=torch.channels_last)
    assert cast.volumes.weight.is_contiguous()


@pytest.mark.parametrize("technique", [bf16, fp16])
def test_float32_that_forward_makes_itself_is_named_with_the_cure(technique: Technique) -> None:
    """Of images in whole numbers: nothing casts what it makes of them, and torch's error named no way out."""
    model = dataclasses.replace(
        TORCH,
        load=lambda: Pixels().eval(),
        inputs=lambda size, seed: {"image": np.random.default_rng(seed).integers(0, 256, (size, 1, 12, 12), np.uint8)},
    )
    words = (
        r"in b?float16: .*; what it makes of whole numbers, .* \(x\.to\(self\.conv\.weight\.dtype\)\), or use autocast"
    )
    with pytest.raises(PreparationError, match=words):
        check_technique(technique, model)
    assert check_technique(autocast, model)[1]["precision"] == "bfloat16"


def _onnx_runtime() -> Any:
    from harness.runtimes.onnxruntime import OnnxRuntime

    return OnnxRuntime()


class TwoHeads(torch.nn.Module):
    """Two outputs from one hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 16), torch.nn.ReLU())
        self.left = torch.nn.Linear(16, 4)
        self.right = torch.nn.Linear(16, 3)

    def forward(self, image: Any) -> Any:
        hidden = self.body(image)
        return self.left(hidden), self.right(hidden).softmax(-1)


class VolumesAndImages(torch.nn.Module):
    """A three-dimensional convolution before a two-dimensional one."""

    def __init__(self) -> None:
        super().__init__()
        self.volumes = torch.nn.Conv3d(1, 4, (1, 3, 3), padding=(0, 1, 1))
        self.images = torch.nn.Conv2d(4, 4, 12)

    def forward(self, image: Any) -> Any:
        return self.images(self.volumes(image.unsqueeze(2)).squeeze(2)).flatten(1)


class Pixels(torch.nn.Module):
    """Takes images in whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3)

    def forward(self, image: Any) -> Any:
        return self.conv(image.float() / 255).mean((2, 3))


class FixedWidth(torch.nn.Module):
    """Reshapes its hidden layer to a size that is written in the code."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = torch.nn.Linear(144, 16)
        self.last = torch.nn.Linear(16, 4)

    def forward(self, image: Any) -> Any:
        return self.last(self.hidden(image.flatten(1)).reshape(-1, 4, 4).flatten(1))


@pytest.mark.parametrize(
    ("technique", "facts", "words"),
    [
        (
            reference,
            {"batch": 1, "runtime": "eager", "weights.float32": 1.0, "precision": "bfloat16"},
            "reference promised precision = float32, found bfloat16: the reference is what",
        ),
        (bf16, {"weights.bfloat16": 1.0, "arithmetic.float32": 1.0}, r"arithmetic\.bfloat16 >= 0\.9, found not found"),
        (cuda_graph, {"runtime": "cudagraph", "cuda_graph": False}, "promised cuda_graph = True, found False"),
        (
            pruned_channels(0.5, finetune=False),
            {"parameters": 4000},
            f"parameters >= 1 and <= {int(0.6 * WEIGHTS)}, found 4000",
        ),
    ],
    ids=["reference", "bf16", "cuda_graph", "pruned_channels"],
)
def test_a_technique_that_did_a_part_of_its_work_breaks_its_promise(
    technique: Technique, facts: dict[str, Any], words: str, tmp_path: Path
) -> None:
    made = as_pipeline(technique).apply(Deployment(TORCH, TORCH.load(), Eager(), cpu, tmp_path))
    with pytest.raises(EvidenceError, match=words):
        evidence_of(made, dict(facts))
