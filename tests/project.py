"""A project of a user's own: the bundled models, three cases, a baseline; and ways to plant a fault in its files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

REFERENCE = "digits/reference/cpu"
TUNED = "digits/tuned/cpu"
QUANTISED = "digits/onnxruntime+quantised/cpu"

TECHNIQUES = '''\
"""Techniques of this project."""

import copy

from harness import Promise, technique
from harness.techniques import int8_static


@technique(takes="torch")
def tuned(deployment):
    """The same network, with its weights in the order that convolutions like."""
    import torch

    network = copy.deepcopy(deployment.network).to(memory_format=torch.channels_last)
    # planted: network
    return deployment.replace(network=network).promising(Promise("weights.float32", at_least=0.99))


@technique(takes="onnx", needs=["calibration"])
def quantised(deployment):
    """Static INT8, as this project likes it."""
    # planted: quantised
    return int8_static.function(deployment)
'''

SUITE = '''\
"""Three cases on the digits."""

from harness import grid
from harness.hardware import cpu
from harness.techniques import onnxruntime, reference
from suites.models import digits
from suites.own import quantised, tuned


@grid(model=[digits], technique=[reference, tuned, onnxruntime | quantised], hardware=[cpu])
def test_small(case, bench):
    bench(case)
'''

CRASH = '''\
class Crash(__import__("torch").nn.Module):
    """Ends its process as a fault in native code does."""

    def forward(self, image):
        __import__("os").abort()
'''


@dataclass(frozen=True)
class Outcome:
    """What a run of pytest gave: its exit code, its output, and the record that it wrote (None for none)."""

    code: int
    text: str
    run: dict[str, Any]

    def comparison(self, case_id: str, metric: str) -> dict[str, Any]:
        (found,) = (c for c in self.run["comparisons"] if (c["case_id"], c["metric"]) == (case_id, metric))
        return found

    def result(self, case_id: str) -> dict[str, Any]:
        (found,) = (r for r in self.run["results"] if r["case_id"] == case_id)
        return found


@dataclass(frozen=True)
class Project:
    """A folder with suites, a baseline, and nothing of this repository but the bundled models."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, techniques: str = TECHNIQUES, suite: str = SUITE) -> Project:
        suites = folder / "suites"
        ignored = shutil.ignore_patterns("__pycache__", "test_*.py")
        shutil.copytree(ROOT / "suites", suites, ignore=ignored)
        (suites / "own.py").write_text(techniques)
        (suites / "test_small.py").write_text(suite)
        (folder / "pytest.ini").write_text("[pytest]\n")
        return cls(folder)

    def copy(self, folder: Path) -> Project:
        """The same project elsewhere, to plant something in."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("reports", "__pycache__"))
        return Project(folder)

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text in a file; it must stand there once."""
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new))

    def pytest(self, *arguments: str) -> Outcome:
        """Run pytest in the project, in a process of its own."""
        done = self.python("-m", "pytest", "-p", "no:cacheprovider", "suites", *arguments)
        return Outcome(done.returncode, done.stdout + done.stderr, self.latest())

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the project, with this repository's data and without a history."""
        data = os.environ.get("HARNESS_DATA", str(ROOT / ".harness" / "data"))
        env = {**os.environ, "HARNESS_DATA": data, "HARNESS_HISTORY_URL": "off"}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder, env=env, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip

    def latest(self) -> dict[str, Any]:
        """The record of the latest run; empty where there is none."""
        record = self.folder / "reports" / "latest" / "run.json"
        return json.loads(record.read_text()) if record.exists() else {}


def assert_red(done: Outcome, case_id: str, *words: str) -> None:
    assert done.code == 1, done.text
    assert case_id in done.text
    for word in words:
        assert word in done.text, f"{word!r} not in\n{done.text}"


def bias_for_a_loss() -> float:
    """How much the bias of one class must rise for 4 to 7 of the 1,000 answers to be lost."""
    import torch

    from suites.models.digits import digits, examples

    inputs, labels = examples()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            logits = digits.load()(torch.from_numpy(inputs["image"].copy())).numpy()
    finally:
        torch.set_num_threads(threads)
    right = (logits.argmax(1) == labels).mean()
    for step in range(1, 400):
        moved = logits.copy()
        moved[:, 3] += step * 0.05
        if right - (moved.argmax(1) == labels).mean() >= 0.0045:
            return step * 0.05
    raise AssertionError("no bias of this class loses so many answers")
