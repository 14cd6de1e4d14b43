"""torch.compile: compiled once, taken from the cache after that, and never silently eager."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import PreparationError
from harness.hardware import cpu
from harness.runtimes.inductor import Inductor, compiler
from harness.runtimes.inductor_session import InductorSession
from tests.test_docs_techniques import documented_facts, generic

PACK = """
import json, sys
from pathlib import Path
from harness import Deployment
from harness.hardware import cpu
from harness.runtimes.eager import Eager
from harness.techniques import compiled
from harness.testing import tiny_torch_model

import torch

model, folder = tiny_torch_model(), Path(sys.argv[1]) / "made"
folder.mkdir()
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 16), torch.nn.GELU(), torch.nn.Linear(16, 4))
deployment = compiled.apply(Deployment(model, network.eval(), Eager(), cpu, folder))
deployment.runtime.pack(deployment.network, model.inputs(1, 0), folder, cpu)
session = deployment.runtime.load(folder, cpu)
facts = session.facts(model.inputs(1, 0))
packed = [facts, [[str(p), p.check(name, facts).kept] for name, p in deployment.promises]]
"""

LOAD = """
import json, sys
from pathlib import Path
from harness.hardware import cpu
from harness.runtimes.eager import Eager
from harness.runtimes.inductor import Inductor
from harness.testing import tiny_torch_model

inputs, folder = tiny_torch_model().inputs(1, 1), Path(sys.argv[1])
eager, fast = (runtime.load(folder, cpu) for runtime in (Eager(), Inductor()))
one, two = (session.fetch(session(session.stage(inputs)))["output"].tolist() for session in (eager, fast))
print(json.dumps([one, two, fast.facts(inputs)["graphs"]]))
"""

LIMITED = """
import json, sys
from pathlib import Path
import numpy as np, torch
from harness import PreparationError
from harness.hardware import cpu
from harness.runtimes import inductor_session
from harness.runtimes.inductor import Inductor

default, inductor_session.SHAPES = inductor_session.SHAPES, 2
folder, said = Path(sys.argv[1]) / "limited", []
folder.mkdir()
Inductor().pack(torch.nn.Linear(4, 4).eval(), {"x": np.ones((1, 4), np.float32)}, folder, cpu)
session = Inductor().load(folder, cpu)
for length in (1, 2, 1, 3):
    try:
        said.append(list(session(session.stage({"x": np.ones((length, 4), np.float32)})).shape))
    except PreparationError as error:
        said.append(str(error))
inductor_session.SHAPES = default
limited = [default, said]
"""


GRAPHS = """
import json, sys
from pathlib import Path
import numpy as np, torch
from harness import PreparationError
from harness.hardware import cpu
from harness.runtimes.inductor import Inductor
from harness.runtimes.inductor_session import InductorSession

folder, said = Path(sys.argv[1]) / "graphs", []
folder.mkdir()
Inductor(mode="reduce-overhead").pack(torch.nn.Linear(4, 4).eval(), {"x": np.ones((1, 4), np.float32)}, folder, cpu)
session = InductorSession("inductor", torch.nn.Linear(4, 4).eval(), "reduce-overhead", torch.device("cpu"))
session._graphs = True  # as on a GPU; the compiler counts the same on a CPU, which has no such graphs
try:
    session.compile((torch.ones(1, 4),))
except PreparationError as error:
    said.append(str(error))
print(json.dumps([packed, limited, said]))
"""


def run(code: str, folder: Path) -> Any:
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder of what one process compiled, and what it said: each load resets the compiler, whose start is slow."""
    folder = tmp_path_factory.mktemp("compiled")
    return folder, run(PACK + LIMITED + GRAPHS, folder)


@pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler, as torch.compile does")
def test_an_artefact_that_was_moved_is_loaded_without_the_compiler(compiled: tuple[Path, Any]) -> None:
    folder, ((facts, promises), _, _) = compiled
    assert (facts["runtime"], facts["graphs"], facts["graph_breaks"]) == ("inductor", 1, 0)
    assert all(kept for _, kept in promises), promises
    assert generic(facts) | {"batch"} == documented_facts("inductor"), "the batch is what prepares an artefact adds"

    moved = (folder / "made").rename(folder / "moved")
    binaries = set(moved.rglob("*.so"))
    assert binaries
    eager, fast, graphs = run(LOAD, moved)
    np.testing.assert_allclose(fast, eager, rtol=1e-4, atol=1e-5)
    assert graphs == 1
    assert set(moved.rglob("*.so")) == binaries
    assert [path.name for path in moved.iterdir() if path.is_file()] == ["model.pt"]


@pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler, as torch.compile does")
def test_more_shapes_than_are_compiled_are_refused_and_not_run_eagerly(compiled: tuple[Path, Any]) -> None:
    _, (_, (default, said), _) = compiled
    assert default > 8, "torch's own limit, after which it goes on without the compiler"
    assert said[:3] == [[1, 4], [2, 4], [1, 4]]
    assert "has compiled 2 forms of this network" in said[3]


@pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler, as torch.compile does")
def test_a_mode_of_cuda_graphs_that_makes_none_is_refused(compiled: tuple[Path, Any]) -> None:
    _, (_, _, (said,)) = compiled
    assert "torch.compile left 1 of its parts without one" in said


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="needs a torch with MKL")
def test_linear_layers_that_mkl_packs_are_products() -> None:
    """As frozen float32 ones are on x86: unseen, the other products would speak for them."""
    inputs, weight, bias = torch.ones(2, 8), torch.ones(4, 8), torch.zeros(4)
    packed = torch.ops.mkl._mkl_reorder_linear_weight(weight, 2)
    session = InductorSession("inductor", torch.nn.Linear(8, 4), "default", torch.device("cpu"))
    session._function = lambda x: torch.ops.mkl._mkl_linear(x, packed, weight, bias, 2)
    assert session._executed((inputs,)) == ["float32"]


def test_without_a_compiler_it_is_unavailable_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "apt-get install g++" in str(Inductor().unavailable(cpu))


def test_a_compiler_that_cxx_names_and_is_not_there_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert compiler() is None


def test_a_compiler_that_cxx_names_and_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told to install one, and g++ was there."""
    monkeypatch.setenv("CXX", "ccache g++")
    cure = "CXX names 'ccache g++', which is no program here: unset it, or name one program"
    assert Inductor().unavailable(cpu) == f"torch.compile needs a C++ compiler ({cure})"


@pytest.mark.parametrize("place", ["cache", "cache/locks/of-a-kernel.lock"])
def test_a_cache_that_can_not_be_written_is_named_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """torch opens its locks there at each load, also where every kernel is kept."""
    (tmp_path / "cache" / "locks").mkdir(parents=True)
    (tmp_path / "cache" / "locks" / "of-a-kernel.lock").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / place)
    with pytest.raises(PreparationError) as caught:
        Inductor().load(tmp_path, cpu)
    assert str(caught.value).startswith(f"{tmp_path / place} can't be written, and torch.compile writes there")
    assert str(caught.value).endswith(": make the artefact's folder yours (chown -R), or use a copy of it")


def test_a_network_that_is_not_compiled_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match="compiled nothing"):
        Inductor().pack(Eagerly(), {"x": np.ones((1, 4), np.float32)}, tmp_path, cpu)


class Eagerly(torch.nn.Module):
    """A network that keeps the compiler out."""

    @torch.compiler.disable
    def forward(self, x: Any) -> Any:
        return x + 1


def breaks_of(module: torch.nn.Module) -> tuple[int, int]:
    """How many graphs torch makes of a module, and where it gives up; no kernels are written, which takes long."""
    session = InductorSession("inductor", module.eval(), "default", torch.device("cpu"))
    session._function = torch.compile(module, backend="eager", dynamic=False)
    session.compile((torch.ones(1, 4),))
    return session._compiled["graphs"], session._compiled["graph_breaks"]


def test_where_torch_gives_up_is_counted_at_branches_and_in_loops_too() -> None:
    """torch's own counter has neither: a loop that breaks runs the whole of forward eagerly."""
    branching, looping, plain = (breaks_of(module) for module in (Branching(), Looping(), Plain()))
    assert min(*branching, *looping) >= 1
    assert plain == (1, 0)


class Plain(torch.nn.Module):
    """Some blocks in a loop, and nothing that breaks a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(Block() for _ in range(2))

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return x


class Looping(Plain):
    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
            print(x.shape)
        return x


class Branching(Plain):
    def forward(self, x: Any) -> Any:
        return self.blocks[0](x) if x.sum() > 0 else self.blocks[1](x)


class Block(torch.nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.relu(x + 1)
