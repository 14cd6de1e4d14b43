"""A small project of a user's own, given as text, and pytest and git run on it in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_PARTS = ("screen=1", "confirm=0", "seconds=0.1", "rounds=3", "repeats=0")
PLAN = tuple(word for part in _PARTS for word in ("--plan", part))
"""As little as measures. Beside other tests every launch is disturbed: with repeats each would be made three times."""

MODEL = '''\
from pathlib import Path

from harness import Promise, grid, technique
from harness.hardware import cpu, cuda
from harness.techniques import batched, bf16, int8_dynamic, onnxruntime, reference
from harness.testing import tiny_onnx_model

models = Path(__file__).parent.parent / ".model"
models.mkdir(exist_ok=True)
tiny = tiny_onnx_model(models)


@technique
def liar(deployment):
    """Promises INT8 and does nothing."""
    return deployment.promising(Promise("quantized", at_least=0.5))
'''

SLOWED = '''
import copy

from harness import Promise, technique

LAYERS = {layers}


@technique(takes="onnx")
def slowed(deployment):
    """The same answers, after some products that nobody needs."""
    import numpy as np
    import onnx

    network = copy.deepcopy(deployment.network)
    graph = network.graph
    square = onnx.numpy_helper.from_array(np.full((144, 144), 1e-3, np.float32), "square")
    graph.initializer.append(square)
    flat = graph.node[0].output[0]
    for number in range(LAYERS):
        graph.node.append(onnx.helper.make_node("MatMul", [flat, "square"], [f"extra{{number}}"], name=f"e{{number}}"))
        flat = f"extra{{number}}"
    if LAYERS:
        graph.output.append(onnx.helper.make_tensor_value_info(flat, onnx.TensorProto.FLOAT, ["batch", 144]))
    return deployment.replace(network=network).promising(Promise("runtime", equals="onnxruntime"))
'''


def git(path: Path, *arguments: str) -> str:
    """Run git in a folder as somebody, and give what it says."""
    own = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    command = ["git", "-C", str(path), *own, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Folder:
    """A project with suite files given as text; they find a tiny ONNX model and some techniques.

    Its runs are kept in the store `history`: "" is the usual one, which takes a second a run.
    """

    def __init__(self, path: Path, history: str = "off") -> None:
        self.path = path
        self.history = history
        (path / "suites").mkdir(parents=True)
        (path / "suites" / "__init__.py").touch()
        (path / "suites" / "common.py").write_text(MODEL)
        (path / "pytest.ini").write_text("[pytest]\n")

    def suite(self, name: str, text: str) -> None:
        (self.path / "suites" / f"{name}.py").write_text(f"import pytest\nfrom suites.common import *\n\n{text}")

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "HARNESS_HISTORY_URL": self.history}

    def pytest(self, *arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.path, env=self.env, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def run(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / "reports" / "latest" / "run.json").read_text())
        return found

    def result(self, case_id: str) -> dict[str, Any]:
        (found,) = (result for result in self.run()["results"] if result["case_id"] == case_id)
        return dict(found)

    def git(self, *arguments: str) -> str:
        return git(self.path, *arguments)

    def commit(self, message: str) -> str:
        """Commit everything and give the commit."""
        if not (self.path / ".git").exists():
            (self.path / ".gitignore").write_text(".harness\n.model\nreports\n__pycache__\n")
            self.git("init", "-q")
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def slow_down(self, layers: int) -> None:
        """Write the technique `slowed` of `suites/own.py`, with so many products that nobody needs."""
        (self.path / "suites" / "own.py").write_text(SLOWED.format(layers=layers))
