"""AOTInductor: compiled once, loaded without a compiler, and described by the package that runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from harness import PreparationError
from harness.hardware import cpu
from harness.runtimes.aotinductor import AotInductor
from harness.runtimes.aotinductor_session import AotInductorSession, _with_patterns
from harness.runtimes.aotinductor_source import Constant, Source, read_source
from harness.runtimes.facts import Weight, weight_facts
from harness.runtimes.inductor import Inductor, compiler
from harness.runtimes.torch_session import as_tensors, module_weights
from tests.fake_cuda import Gpu
from tests.test_docs_techniques import documented_facts, generic

PACK = """
import json, sys
from pathlib import Path
import torch
from harness import Deployment
from harness.hardware import cpu
from harness.runtimes.eager import Eager
from harness.techniques import aotinductor
from harness.testing import tiny_torch_model

class Answers(dict):
    "Outputs of a class that the process which loads the package does not know, as those of Hugging Face are."

class Answering(torch.nn.Sequential):
    def forward(self, image):
        return Answers(output=super().forward(image))

torch.utils._pytree.register_pytree_node(
    Answers, lambda answers: (list(answers.values()), list(answers)), lambda values, names: Answers(zip(names, values)),
    serialized_type_name="tests.Answers",
)
model, folder = tiny_torch_model(), Path(sys.argv[1])
network = Answering(torch.nn.Flatten(), torch.nn.Linear(144, 16), torch.nn.GELU(), torch.nn.Linear(16, 4))
network[1].weight.data[:8] = 0
deployment = aotinductor.apply(Deployment(model, network.eval(), Eager(), cpu, folder))
deployment.runtime.pack(deployment.network, model.inputs(2, 0), folder, cpu)
session = deployment.runtime.load(folder, cpu)
inputs = model.inputs(2, 1)
facts = session.facts(inputs)
wanted = network(torch.from_numpy(inputs["image"]))["output"].tolist()
print(json.dumps([facts, [[str(p), p.check(name, facts).kept] for name, p in deployment.promises], wanted]))
"""

LOAD = """
import json, sys
from pathlib import Path
from harness.hardware import cpu
from harness.runtimes.aotinductor import AotInductor
from harness.testing import tiny_torch_model

inputs, folder = tiny_torch_model().inputs(2, 1), Path(sys.argv[1])
session = AotInductor().load(folder, cpu)
outputs = session.fetch(session(session.stage(inputs)))["output"].tolist()
print(json.dumps([outputs, [name for name in ("torch._dynamo", "torch._inductor") if name in sys.modules]]))
"""

SOURCE = """
extern "C" void aoti_torch_cpu_declared(int);
AOTInductorModel::AOTInductorModel() {
    constants_info_[0].name = "a_weight";
    constants_info_[0].dtype = cached_torch_dtype_int8;
    constants_info_[0].shape = {16, 8};
    constants_info_[1].dtype = static_cast<int32_t>(cached_torch_dtype_float32);
    constants_info_[1].shape = {};
}
void AOTInductorModel::run_impl() {
    aoti_torch_empty_strided(2, x);
    aoti_torch_cpu_empty(3);
    CHECK(aoti_torch_cpu__qlinear_pointwise_tensor(buf0, buf1));
    CHECK(aoti_torch_cuda_addmm_out(buf0, buf1));
}
"""

needs_compiler = pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler, as AOTInductor does")


def run(code: str, folder: Path, **variables: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True, text=True, check=False, env={**os.environ, **variables},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@needs_compiler
def test_a_package_that_was_moved_is_loaded_without_a_compiler_and_is_of_its_program(tmp_path: Path) -> None:
    """Each load imported the compiler all the same, and tried to build a library for each instruction set."""
    (tmp_path / "made").mkdir()
    facts, promises, wanted = run(PACK, tmp_path / "made")
    assert all(kept for _, kept in promises), promises
    assert (facts["runtime"], facts["provider"], facts["graphs"]) == ("aotinductor", "cpu", 1)
    assert (facts["parameters"], facts["precision"]) == (144 * 16 + 16 * 4, "float32")
    assert facts["sparsity"] == pytest.approx(8 * 144 / (144 * 16 + 16 * 4), abs=1e-3)
    assert facts["nodes.quantized"] == 0
    assert generic(facts) | {"batch"} == documented_facts("aotinductor"), "the batch is what prepares an artefact adds"

    moved = (tmp_path / "made").rename(tmp_path / "moved")
    (temporary := tmp_path / "temporary").mkdir()
    found, imported = run(LOAD, moved, PATH="/nonexistent", CXX="/nonexistent", TMPDIR=str(temporary))
    assert imported == []
    assert not [*temporary.glob("torchinductor_*")]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert [path.name for path in moved.iterdir() if path.is_file()] == ["model.pt2"]

    session = AotInductor().load(moved, cpu)
    for other in (np.zeros((2, 1, 12, 9), np.float32), np.zeros((3, 1, 12, 12), np.float32), np.zeros((2, 1, 12, 12))):
        words = rf"is for inputs of float32 \[2, 1, 12, 12\], and the call gives {other.dtype} .* or use compiled"
        with pytest.raises(PreparationError, match=words):
            session.stage({"image": other})

    with (moved / "cache" / "program.pt2").open("ab") as program:
        program.write(b"x")
    with pytest.raises(PreparationError, match="was compiled from another program"):
        AotInductor().load(moved, cpu).facts({"x": np.zeros((2, 1, 12, 12), np.float32)})


def test_on_a_gpu_torch_is_ready_before_the_package_takes_memory_from_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The loader itself asks nothing of the GPU first, and torch's allocator gives no memory before it is set up."""
    asked: list[Any] = []

    def loader(*given: Any) -> Any:
        asked.append(given)
        structure = torch.utils._pytree.treespec_dumps(torch.utils._pytree.tree_structure(0))
        return SimpleNamespace(get_call_spec=lambda: ["", structure], boxed_run=list)

    monkeypatch.setattr(torch.cuda, "init", lambda: asked.append("init"))
    monkeypatch.setattr(torch._C._aoti, "AOTIModelPackageLoader", loader)
    AotInductorSession("aotinductor", tmp_path, torch.device("cuda"))
    assert asked == ["init", (str(tmp_path / "model.pt2"), "model", False, 1, -1)]


def test_the_pattern_of_the_weights_is_read_from_the_program() -> None:
    network = torch.nn.Sequential(torch.nn.Conv1d(8, 4, 3), torch.nn.Flatten(), torch.nn.Linear(24, 8)).eval()
    with torch.no_grad():
        network[0].weight[:, 2:4] = network[0].weight[:, 6:] = 0  # two of four, on the axis of the inputs
    program = torch.export.export(network, (torch.ones(1, 8, 8),)).module()
    stored = [Weight("float32", 96, 48), Weight("float32", 192, 0)]
    assert "sparsity.2:4" not in weight_facts(_with_patterns(stored, module_weights(program))), "a third of the weights"
    with torch.no_grad():
        network[2].weight[:, ::2] = 0
    program = torch.export.export(network, (torch.ones(1, 8, 8),)).module()
    facts = weight_facts(_with_patterns(stored, module_weights(program)))
    assert facts["sparsity.2:4"] == 1.0
    program = torch.export.export(torch.nn.ReLU(), (torch.ones(2),)).module()
    assert _with_patterns(stored, module_weights(program)) == stored, "it multiplies nothing with weights"


class Multiplying(torch.nn.Module):
    """A pruned linear layer of what is multiplied with a parameter, which no layer holds."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.layer = torch.nn.Parameter(torch.ones(8, 8)), torch.nn.Linear(8, 8)
        with torch.no_grad():
            self.layer.weight[:, ::2] = 0

    def forward(self, values: Any) -> Any:
        return self.layer(torch.matmul(values, self.weight))


def test_the_pattern_is_that_of_layers_and_of_no_parameter_by_itself() -> None:
    """The network itself counts none where torch multiplies a copy of it, and what was valid broke its promise."""
    program = torch.export.export(Multiplying().eval(), (torch.ones(2, 8),)).module()
    stored = [Weight("float32", 64, 0), Weight("float32", 64, 32)]
    assert weight_facts(_with_patterns(stored, module_weights(program)))["sparsity.2:4"] == 1.0


def test_the_source_in_a_package_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data/aotinductor/model/c1.wrapper.cpp", SOURCE)
    source = read_source(path)
    assert source is not None
    assert source.constants == (Constant("int8", (16, 8)), Constant("float32", ()))
    assert source.calls == ("_qlinear_pointwise_tensor", "addmm_out")


def test_a_package_without_its_source_tells_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/version", "1")
    assert read_source(path) is None


def test_a_network_that_can_not_be_exported_is_refused_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match=r"can't be compiled ahead of time: .* or use compiled"):
        AotInductor().pack(Wayward(), {"x": np.ones((1, 4), np.float32)}, tmp_path, cpu)


def test_a_package_that_computes_otherwise_than_its_program_is_refused() -> None:
    from harness.runtimes.aotinductor_session import _check

    wanted = {"y": torch.tensor([3.0, 4.0]), "z": torch.ones(2)}
    _check({**wanted, "y": wanted["y"] * 1.04}, wanted)
    for found in (wanted["y"] * 1.06, torch.full((2,), torch.nan)):
        with pytest.raises(PreparationError, match=r"gives y .* away from the exported program's; the limit is 0\.05"):
            _check({**wanted, "y": found}, wanted)
    turned = torch.tensor([3.0 + 4.0j])
    with pytest.raises(PreparationError, match="gives y"):
        _check({"y": turned.conj()}, {"y": turned})
    ids = torch.tensor([5, 2])
    _check({**wanted, "ids": ids.flip(0)}, {**wanted, "ids": ids})  # where rounding put two scores the other way round
    with pytest.raises(PreparationError, match="gives ids"):
        _check({"ids": ids.flip(0)}, {"ids": ids})


def test_without_a_compiler_it_is_unavailable_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "apt-get install g++" in str(AotInductor().unavailable(cpu))


def test_on_a_gpu_without_the_cuda_toolkit_it_is_unavailable_with_the_cure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """torch from PyPI brings none: the case failed, with the cure of a network that can't be exported."""
    gpu, toolkit, compiler_of_it = Gpu(), tmp_path / "cuda", tmp_path / "nvcc"
    monkeypatch.setattr(Inductor, "unavailable", lambda self, hardware: None)  # triton and a C++ compiler are there
    monkeypatch.setattr("harness.runtimes.aotinductor._TOOLKIT", toolkit)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    reason = str(AotInductor().unavailable(gpu))
    assert "CUDA toolkit" in reason
    assert "CUDA_HOME; or use compiled" in reason
    assert AotInductor().unavailable(cpu) is None
    toolkit.mkdir()
    assert AotInductor().unavailable(gpu) is None
    toolkit.rmdir()
    compiler_of_it.touch(mode=0o755)
    assert AotInductor().unavailable(gpu) is None
    compiler_of_it.unlink()
    monkeypatch.setenv("CUDA_HOME", "/opt/cuda")
    assert AotInductor().unavailable(gpu) is None


class Wayward(torch.nn.Module):
    """A network whose way depends on values."""

    def forward(self, x: Any) -> Any:
        return x + 1 if x.sum() > 0 else x


class Likeness(torch.nn.Module):
    """Ids to the likeness of each to every row of a table, which is no layer's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(16, 8)

    def forward(self, ids: Any) -> Any:
        return torch.nn.functional.linear(self.table(ids), self.table.weight)


@pytest.mark.parametrize(
    ("shapes", "parameters"),
    [(((16, 8), (16, 8)), 16 * 8), (((15, 8),), 15 * 8)],
    ids=["packed once more", "a row that no input reaches folded away"],
)
def test_a_weight_that_the_package_holds_twice_counts_once(
    shapes: tuple[tuple[int, ...], ...], parameters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which ones it would hold so was guessed from the layers, and a wrong guess broke the promise of what pruned."""
    session: Any = AotInductorSession.__new__(AotInductorSession)
    network = Likeness().eval()
    session._name, session._folder, session._guard, session._function = "aotinductor", Path(), torch.no_grad, network
    session._program = lambda: SimpleNamespace(module=lambda: network)
    session._loader = SimpleNamespace(get_metadata=lambda: {"AOTI_DEVICE_KEY": "cpu"})
    session.stage = as_tensors
    source = Source(tuple(Constant("float32", shape) for shape in shapes), ("addmm_out",))
    monkeypatch.setattr("harness.runtimes.aotinductor_session.read_source", lambda path: source)
    facts = session.facts({"ids": np.arange(4)[None]})
    assert facts["parameters"] == parameters
    assert (facts["weights.float32"], facts["precision"]) == (1.0, "float32")


def test_there_are_no_facts_of_a_package_that_computes_otherwise_than_its_program() -> None:
    session: Any = AotInductorSession.__new__(AotInductorSession)
    session._guard, session._function = torch.no_grad, lambda _: torch.zeros(1, 4)
    session._program = lambda: SimpleNamespace(module=lambda: torch.nn.Linear(4, 4))
    session.stage = as_tensors
    with pytest.raises(PreparationError, match="away from the exported program's"):
        session.facts({"x": np.ones((1, 4), np.float32)})
