"""torchao on torch networks: integers stored, integers computed with, and what must follow."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from harness import Deployment, Model, PreparationError, Promise, SuiteError
from harness.hardware import Cpu, cpu
from harness.records import Scalar
from harness.runtimes.eager import Eager
from harness.runtimes.facts import weight_facts
from harness.runtimes.inductor import Inductor, compiler
from harness.runtimes.torch_operators import OperatorTypes
from harness.runtimes.torch_session import TorchSession, module_weights
from harness.techniques import batched, bf16, fp8, int8_dynamic, int8_static, int8_weights, pruned_n_m
from harness.techniques.base import Technique, as_pipeline
from harness.techniques.shares import most_of
from harness.testing import check_technique, tiny_torch_model

TORCH = tiny_torch_model()
WEIGHTS = 16 * 9 + 32 * 16 * 9 + 1152

COMPILED = """
import json
from harness.techniques import *
from harness.testing import check_technique, tiny_torch_model
from tests.test_techniques_torchao import residual_model

print(json.dumps(check_technique({technique}, {model}())[1]))
"""


@dataclasses.dataclass(frozen=True)
class Gpu(Cpu):
    """A GPU that says its compute capability and nothing else."""

    capability: str = "9.0"

    def describe(self) -> Mapping[str, Scalar]:
        return {"kind": "cuda", "compute_capability": self.capability}


def compiled_facts(technique: str, model: str = "tiny_torch_model") -> dict[str, Any]:
    """Of a process of its own, whose settings compiling changes."""
    pytest.importorskip("torchao")
    if compiler() is None:
        pytest.skip("needs a C++ compiler, as torch.compile does")
    code = COMPILED.format(technique=technique, model=model)
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stderr[-3000:]
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def test_dynamic_integers_are_seen_inside_their_tensors() -> None:
    pytest.importorskip("torchao")
    evidence, facts = check_technique(int8_dynamic, TORCH)
    assert all(item.kept for item in evidence)
    assert facts["weights.int8"] == facts["quantized"] == pytest.approx(1152 / WEIGHTS)
    assert facts["precision"] == "float32+int8"
    assert facts["nodes.quantized"] == 1
    assert facts["parameters"] == WEIGHTS


def test_after_bf16_only_the_rest_is_bfloat16() -> None:
    pytest.importorskip("torchao")
    _, facts = check_technique(as_pipeline(int8_dynamic), TORCH)
    with pytest.raises(AssertionError, match=r"bf16 promised weights\.bfloat16"):
        check_technique(bf16 | int8_dynamic, TORCH)
    assert "weights.bfloat16" not in facts


def test_keep_names_modules() -> None:
    pytest.importorskip("torchao")
    with pytest.raises(SuiteError, match=r"keep='fc' names no layer of the network; there are 0, 4, 8"):
        check_technique(int8_dynamic(keep="fc"), TORCH)
    with pytest.raises(Exception, match="there is nothing to quantize: torchao changes linear layers"):
        check_technique(int8_dynamic(keep="8"), TORCH)


def test_a_layer_with_one_output_is_no_weight_and_promises_nothing() -> None:
    pytest.importorskip("torchao")
    wide = torch.nn.Linear(32 * 144, 1)
    layers = [torch.nn.Conv2d(1, 32, 3, padding=1), torch.nn.Flatten(), wide]
    alone = dataclasses.replace(TORCH, load=lambda: torch.nn.Sequential(*layers).eval())
    for technique in (int8_dynamic, int8_weights, int8_static(keep="0")):
        with pytest.raises(PreparationError, match="there is nothing to quantize"):
            check_technique(technique, alone)
    more = [torch.nn.Flatten(), torch.nn.Linear(144, 32 * 144), torch.nn.ReLU(), wide]
    beside = dataclasses.replace(TORCH, load=lambda: torch.nn.Sequential(*more).eval())
    evidence, facts = check_technique(int8_dynamic, beside)
    assert evidence[0].promise == "quantized >= 0.9"
    assert facts["quantized"] == 1.0


def test_parameters_of_onnx_networks_are_refused() -> None:
    pytest.importorskip("torchao")
    with pytest.raises(SuiteError, match="on a torch network it has keep, and no ops"):
        check_technique(int8_dynamic(ops="Conv"), TORCH)
    with pytest.raises(SuiteError, match=r"on a torch network it has a method \(minmax, histogram\) and keep"):
        check_technique(int8_static(max_drop=0.01), TORCH)
    with pytest.raises(SuiteError, match="has no method 'entropy'; use minmax, histogram"):
        check_technique(int8_static("entropy"), TORCH)


def test_static_integers_without_anything_to_calibrate_with_are_refused() -> None:
    """An observer that saw nothing has a range as well."""
    pytest.importorskip("torchao")
    with pytest.raises(PreparationError, match=r"Model\.calibration of tiny gives no batches; give some, anew at each"):
        check_technique(int8_static, dataclasses.replace(TORCH, calibration=lambda: []))


def test_calibration_data_are_read_batch_by_batch(tmp_path: Path) -> None:
    """All at once may be more than memory holds. A network that can't be marked is refused after the first."""
    pytest.importorskip("torchao")

    def batches() -> Iterator[Any]:
        yield TORCH.inputs(4, 0)
        raise AssertionError("nothing watches yet")

    model = dataclasses.replace(TORCH, calibration=batches)
    again = Again(torch.nn.Conv2d(1, 1, 3, padding=1)).eval()
    with pytest.raises(PreparationError, match="can't mark this network"):
        int8_static.apply(Deployment(model, again, Eager(), cpu, tmp_path))


@pytest.mark.parametrize(
    ("machine", "hardware", "reduced"),
    [
        ("x86_64", cpu, True),
        ("AMD64", cpu, True),
        ("aarch64", cpu, False),
        ("arm64", cpu, False),
        ("x86_64", Gpu(), False),
    ],
)
def test_values_keep_to_seven_bits_on_x86_without_vnni_alone(
    machine: str, hardware: Cpu, reduced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchao advises it on each ARM CPU too, since none has VNNI."""
    pytest.importorskip("torchao")
    from harness.techniques import torchao_linear

    asked: list[bool] = []

    def note(network: Any, config: Any, filter_fn: Any) -> None:
        asked.append(config.reduce_range)

    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(torchao_linear, "should_reduce_range", lambda device: device.type == "cpu")
    monkeypatch.setattr(torchao_linear, "quantize_", note)
    network = torch.nn.Sequential(torch.nn.Linear(144, 32))
    int8_dynamic.apply(Deployment(TORCH, network, Eager(), hardware, tmp_path))
    assert asked == [reduced]


def test_quantizing_that_does_nothing_breaks_the_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchao")
    from harness.techniques import torchao_linear

    monkeypatch.setattr(torchao_linear, "quantize_", lambda *_, **__: None)
    with pytest.raises(AssertionError, match="int8_dynamic promised quantized"):
        check_technique(int8_dynamic, TORCH)


def test_a_marked_graph_that_is_not_compiled_breaks_the_promise() -> None:
    pytest.importorskip("torchao")
    with pytest.raises(AssertionError, match=r"runtime = inductor, found eager; .*nodes\.quantized >= 1, found 0"):
        check_technique(int8_static, TORCH)


def test_what_torchao_does_not_mark_is_refused_with_the_cure(tmp_path: Path) -> None:
    """Or its error would stand there alone, or a promise that no change of the promised network could keep."""
    pytest.importorskip("torchao")
    again = Again(torch.nn.Conv2d(1, 1, 3, padding=1))
    rows = torch.nn.Sequential(torch.nn.Flatten(1, 2), torch.nn.Conv1d(12, 8, 3), torch.nn.Tanh())
    for network, words in (
        (again, r"can't mark this network: .* output node; let forward call each convolution in one place"),
        (torch.nn.Conv2d(1, 4, 3, padding="same"), r"is not an aten conv2d operator; .* padding in numbers"),
        (rows, r"left 1 in float, so that nothing is quantized; put onnxruntime before it"),
    ):
        with pytest.raises(PreparationError, match=words):
            int8_static.apply(Deployment(TORCH, network.eval(), Eager(), cpu, tmp_path))


@pytest.mark.parametrize("technique", [int8_static, int8_static(keep="3")], ids=lambda technique: technique.id)
def test_a_convolution_that_torchao_leaves_in_float_is_noted_and_not_promised(
    technique: Technique, tmp_path: Path
) -> None:
    pytest.importorskip("torchao")
    rows = torch.nn.Sequential(
        torch.nn.Flatten(1, 2), torch.nn.Conv1d(12, 8, 3), torch.nn.ReLU(), torch.nn.Conv1d(8, 8, 3), torch.nn.Tanh()
    )
    marked = technique.apply(Deployment(TORCH, rows.eval(), Eager(), cpu, tmp_path))
    assert marked.network(torch.from_numpy(TORCH.inputs(2, 0)["image"])).shape == (2, 8, 8)
    share = 12 * 24 / (12 * 24 + 8 * 24)
    assert weight_facts(module_weights(marked.network))["quantized"] == pytest.approx(share)
    assert f"quantized >= {most_of(share)}" in [str(promise) for _, promise in marked.promises]
    assert marked.notes == {"kept": "3"}


@pytest.mark.parametrize("keep", [(), "8"], ids=["all", "but one"])
def test_patterns_are_found_in_a_marked_graph(keep: Any, tmp_path: Path) -> None:
    """Of its integers, and of what is left in float, which no module holds either."""
    pytest.importorskip("torchao")
    deployment = Deployment(TORCH, TORCH.load(), Eager(), cpu, tmp_path)
    network = (pruned_n_m(finetune=False) | int8_static(keep=keep)).apply(deployment).network
    with torch.no_grad(), OperatorTypes() as operators:
        network(torch.from_numpy(TORCH.inputs(2, 0)["image"]))
    facts = weight_facts(module_weights(network, operators.addresses))
    assert facts["quantized"] == pytest.approx(1 - 1152 / WEIGHTS if keep else 1.0)
    assert facts["sparsity.2:4"] == pytest.approx(1 - 144 / WEIGHTS)


@pytest.mark.parametrize("technique", [int8_dynamic, int8_weights])
def test_patterns_are_found_in_a_program_of_torchaos_tensors(technique: Technique, tmp_path: Path) -> None:
    """As aotinductor compiles it: the products are of what lies inside."""
    pytest.importorskip("torchao")
    deployment = Deployment(TORCH, TORCH.load(), Eager(), cpu, tmp_path)
    network = (pruned_n_m(finetune=False) | technique).apply(deployment).network
    program = torch.export.export(network, (torch.from_numpy(TORCH.inputs(2, 0)["image"]),)).module()
    assert weight_facts(module_weights(program))["sparsity.2:4"] == pytest.approx(1 - 144 / WEIGHTS)


def test_what_is_quantized_already_stays_as_it_is_and_counts_as_a_weight_without_the_pattern() -> None:
    pytest.importorskip("torchao")
    evidence, facts = check_technique(int8_dynamic | pruned_n_m(finetune=False), TORCH)
    share = 32 * 16 * 9 / WEIGHTS
    assert float(evidence[-1].promise.removeprefix("sparsity.2:4 >= ")) == pytest.approx(share - 0.001)
    assert facts["sparsity.2:4"] == pytest.approx(share)


def test_static_integers_are_computed_with_once_compiled() -> None:
    facts = compiled_facts("int8_static | compiled | batched(4)")
    assert facts["quantized"] == 1.0
    assert facts["nodes.quantized"] == 3
    assert facts["precision"] == "int8"


def test_a_marked_graph_is_for_one_length_and_refuses_others(tmp_path: Path) -> None:
    """In calibration and in evaluation; torch said that some product inside does not fit."""
    pytest.importorskip("torchao")
    wider = {"image": np.zeros((2, 1, 12, 14), np.float32)}
    words = r"for inputs of \[any, 1, 12, 12\], and it gets \[2, 1, 12, 14\]; pad them to one length"
    marked = int8_static.apply(Deployment(TORCH, TORCH.load(), Eager(), cpu, tmp_path)).network
    network = pickle.loads(pickle.dumps(marked))
    session = TorchSession("eager", network, network, torch.device("cpu"))
    assert [list(tensor.shape) for tensor in session.stage(TORCH.inputs(5, 0))] == [[5, 1, 12, 12]]
    with pytest.raises(PreparationError, match=words):
        session.stage(wider)
    model = dataclasses.replace(TORCH, calibration=lambda: [TORCH.inputs(4, 0), wider])
    with pytest.raises(PreparationError, match=words):
        int8_static.apply(Deployment(model, TORCH.load(), Eager(), cpu, tmp_path))


def test_a_relu_that_a_block_calls_twice_is_marked_as_two_are(tmp_path: Path) -> None:
    """As in torchvision's ResNets, whose authors need no other network for it."""
    pytest.importorskip("torchao")
    shared = Residual().eval()
    apart = copy.deepcopy(shared)
    apart.other = torch.nn.ReLU(inplace=True)
    graphs = []
    for network in (shared, apart):
        marked = int8_static.apply(Deployment(TORCH, network, Eager(), cpu, tmp_path)).network
        assert weight_facts(module_weights(marked))["quantized"] == 1.0
        graphs.append(marked.graph.code)
    assert graphs[0] == graphs[1]


def test_a_block_with_one_relu_is_computed_with_in_integers_once_compiled() -> None:
    facts = compiled_facts("int8_static | compiled", "residual_model")
    assert facts["quantized"] == 1.0
    assert facts["nodes.quantized"] >= 1
    assert facts["precision"] == "int8"


def test_what_keep_names_is_computed_with_in_float() -> None:
    facts = compiled_facts('int8_static("histogram", keep="0") | compiled')
    assert facts["quantized"] == pytest.approx(1 - 144 / WEIGHTS)
    assert facts["nodes.quantized"] == 2


def test_the_size_of_a_marked_graph_does_not_depend_on_the_batch(tmp_path: Path) -> None:
    """torch stores the inputs that a program was traced with beside it: here 36 kB of images."""
    pytest.importorskip("torchao")
    sizes, image = [], torch.from_numpy(TORCH.inputs(3, 0)["image"])
    for batch in (2, 64):
        deployment = Deployment(TORCH, TORCH.load(), Eager(), cpu, tmp_path)
        network = (batched(batch) | int8_static).apply(deployment).network
        stored = pickle.dumps(network)
        sizes.append(len(stored))
        torch.testing.assert_close(pickle.loads(stored)(image), network(image))
    assert abs(sizes[1] - sizes[0]) < 2000


def test_a_marked_graph_gives_outputs_that_every_process_can_rebuild(tmp_path: Path) -> None:
    """The one that serves it does not import the class that the network gives them in."""
    pytest.importorskip("torchao")
    deployment = int8_static.apply(Deployment(TORCH, Named(TORCH.load()).eval(), Eager(), cpu, tmp_path))
    found = deployment.network(torch.from_numpy(TORCH.inputs(3, 0)["image"]))
    assert type(found) is dict
    assert [(name, list(value.shape)) for name, value in found.items()] == [("output_0", [3, 4]), ("output_1", [3])]


def test_dynamic_integers_survive_the_compiler() -> None:
    facts = compiled_facts("int8_dynamic | compiled")
    assert facts["weights.int8"] == pytest.approx(1152 / WEIGHTS)
    assert facts["nodes.quantized"] == 1


@pytest.mark.parametrize(("technique", "frozen"), [(int8_weights, False), (int8_dynamic, True)])
def test_weights_that_are_integers_in_memory_alone_are_not_frozen(
    technique: Technique, frozen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler folded them into float32 ones, and what was timed under the name of int8 had none."""
    pytest.importorskip("torchao")
    from harness.runtimes import inductor_session

    asked: list[bool] = []
    monkeypatch.setattr(inductor_session, "configure", lambda cache, *, freezing, compiler: asked.append(freezing))
    monkeypatch.setattr(inductor_session.InductorSession, "compile", lambda session, example: None)
    deployment = technique.apply(Deployment(TORCH, TORCH.load(), Eager(), cpu, tmp_path))
    Inductor().pack(deployment.network, TORCH.inputs(1, 0), tmp_path, cpu)
    assert asked == [frozen]


def test_linear_layers_bring_no_patterns_that_the_serving_process_would_not_have() -> None:
    """What is compiled where it is prepared would not be what is timed."""
    pytest.importorskip("torchao")
    code = "import sys, harness.techniques.torchao_linear; print([name for name in sys.modules if 'pt2e' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr[-3000:]


def test_fp8_says_which_hardware_it_needs() -> None:
    assert "compute capability 8.9 or more" in str(as_pipeline(fp8).unavailable(TORCH, cpu))
    assert "of compute capability 8.0 is none" in str(as_pipeline(fp8).unavailable(TORCH, Gpu(capability="8.0")))
    pytest.importorskip("torchao")
    assert as_pipeline(fp8).unavailable(TORCH, Gpu()) is None


def test_fp8_asks_torchao_for_the_layers_that_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchao")
    from harness.techniques import torchao_linear

    asked: list[Any] = []

    def note(network: Any, config: Any, filter_fn: Any) -> None:
        asked.append((type(config).__name__, [name for name, part in network.named_modules() if filter_fn(part, name)]))

    monkeypatch.setattr(torchao_linear, "quantize_", note)
    network = torch.nn.Sequential(torch.nn.Linear(144, 32), torch.nn.Linear(32, 10), torch.nn.Linear(10, 16))
    deployment = fp8.apply(Deployment(TORCH, network, Eager(), Gpu(), tmp_path))
    assert {weight.dtype for weight in deployment.network.parameters()} == {torch.bfloat16}
    assert asked == [("Float8DynamicActivationFloat8WeightConfig", ["0"])]
    assert str(deployment.promises[0][1]).startswith("weights.float8_e4m3fn >= 0.8")
    with pytest.raises(PreparationError, match="there is nothing to quantize"):
        fp8(keep="0").apply(Deployment(TORCH, network, Eager(), Gpu(), tmp_path))


class Answer(NamedTuple):
    """What a network gives."""

    logits: Any
    best: Any


class Named(torch.nn.Module):
    """A network that gives its outputs in a class of its own."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Any) -> Any:
        logits = self.network(image)
        return Answer(logits, logits.amax(1))


class Again(torch.nn.Module):
    """One layer that is called in two places."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, image: Any) -> Any:
        return self.layer(torch.relu(self.layer(image)))


class Residual(torch.nn.Module):
    """A block as in a ResNet, with one ReLU that is called twice, or with an `other` for the second call."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.first_norm = torch.nn.Conv2d(1, 8, 3, padding=1, bias=False), torch.nn.BatchNorm2d(8)
        self.second, self.second_norm = torch.nn.Conv2d(8, 8, 3, padding=1, bias=False), torch.nn.BatchNorm2d(8)
        self.widened, self.last = torch.nn.Conv2d(1, 8, 1), torch.nn.Linear(8, 4)
        self.relu = torch.nn.ReLU(inplace=True)
        self.other: Any = None

    def forward(self, image: Any) -> Any:
        rows = self.second_norm(self.second(self.relu(self.first_norm(self.first(image)))))
        rows += self.widened(image)
        return self.last((self.other or self.relu)(rows).mean((2, 3)))


def residual_model() -> Model:
    """A block that is called as the tiny model is."""
    return dataclasses.replace(TORCH, load=lambda: Residual().eval())


class Tied(torch.nn.Module):
    """Ids to the likeness of each to every row of a table: the table is the weight of the last layer too."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.layer = torch.nn.Embedding(64, 32), torch.nn.Linear(32, 32)
        self.last = torch.nn.Linear(32, 64)
        self.last.weight = self.rows.weight

    def forward(self, ids: Any) -> Any:
        return self.last(self.layer(self.rows(ids)))


class Twice(torch.nn.Module):
    """Ids to rows, and two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.first, self.second = torch.nn.Embedding(64, 32), *(torch.nn.Linear(32, 32) for _ in range(2))
        self.second.weight = self.first.weight

    def forward(self, ids: Any) -> Any:
        return self.second(self.first(self.rows(ids)).relu())


SHARED = {
    "tied": (Tied, (64 + 32) / (64 + 32 + 64)),
    "twice": (Twice, 64 / (64 + 64)),
    "twice, marked": (Twice, 32 / (32 + 64)),
}
"""The share that is quantized, in rows of 32 weights."""


def sharing_model(kind: type[torch.nn.Module]) -> Model:
    """Four ids an item."""
    made = kind().eval()

    def inputs(size: int, seed: int) -> dict[str, Any]:
        return {"ids": np.random.default_rng(seed).integers(0, 64, (size, 4))}

    return dataclasses.replace(TORCH, load=lambda: made, inputs=inputs, calibration=lambda: [inputs(4, 0)])


@pytest.mark.parametrize("name", ["tied", "twice"])
@pytest.mark.parametrize("technique", [int8_dynamic, int8_weights])
def test_shared_weights_are_promised_as_torchao_leaves_them(technique: Technique, name: str) -> None:
    """A tensor of its own for each layer, and the table stays in float."""
    pytest.importorskip("torchao")
    kind, share = SHARED[name]
    evidence, facts = check_technique(technique, sharing_model(kind))
    assert facts["quantized"] == pytest.approx(share)
    assert evidence[0].promise == f"quantized >= {most_of(share)}"


@pytest.mark.parametrize("name", ["tied", "twice, marked"])
def test_shared_weights_are_promised_as_a_marked_graph_has_them(name: str, tmp_path: Path) -> None:
    """Layers with one weight have one still."""
    pytest.importorskip("torchao")
    kind, share = SHARED[name]
    deployment = int8_static.apply(Deployment(sharing_model(kind), kind().eval(), Eager(), cpu, tmp_path))
    facts = weight_facts(module_weights(deployment.network))
    assert facts["quantized"] == pytest.approx(share)
    assert f"quantized >= {most_of(share)}" in [str(promise) for _, promise in deployment.promises]


@pytest.mark.parametrize("technique", [int8_dynamic, int8_weights, int8_static, fp8], ids=lambda one: one.id)
def test_what_torchao_stores_twice_breaks_no_promise_of_a_step_before_it(
    technique: Technique, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """96 rows of 32 weights are 160; of a third of zeros in the first there may be a fifth left."""
    pytest.importorskip("torchao")
    if technique.name == "fp8":
        from harness.techniques import torchao_linear

        monkeypatch.setattr(torchao_linear, "quantize_", _with_own_weights)
    hardware = Gpu() if technique.name == "fp8" else cpu
    before = Deployment(sharing_model(Tied), Tied().eval(), Eager(), hardware, tmp_path).promising(
        Promise("parameters", at_most=96 * 32), Promise("sparsity", at_least=1 / 3), Promise("nodes", at_least=1)
    )
    done = technique.apply(before)
    assert weight_facts(module_weights(done.network))["parameters"] == 160 * 32
    kept = [promise for _, promise in done.promises[:3]]
    assert kept[0] == Promise("parameters", at_most=160 * 32)
    assert kept[1].at_least == pytest.approx(1 / 5)
    assert kept[2] == Promise("nodes", at_least=1)


def _with_own_weights(network: Any, config: Any, filter_fn: Any) -> None:
    """What torchao does to the layers that it is asked for, on hardware without FP8 as well."""
    for name, layer in network.named_modules():
        if filter_fn(layer, name):
            layer.weight = torch.nn.Parameter(layer.weight.detach().clone())
