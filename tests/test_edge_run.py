"""A real model on a small device: what fits is measured, what does not is told with its need, and the run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.hardware.limit import means
from tests.project import Project

SUITE = '''\
"""Digits in little memory."""

from harness import grid
from harness.hardware import edge
from harness.techniques import onnxruntime, reference
from suites.models import digits


@grid(model=[digits], technique=[reference, onnxruntime], hardware=[edge(memory="128MB")])
def test_small(case, bench):
    bench(case)
'''

PLAN = ("--plan", "screen=1", "--plan", "confirm=0", "--plan", "seconds=0.3", "--plan", "repeats=0")

pytestmark = pytest.mark.skipif(bool(means()[1]), reason=f"memory can't be limited here: {means()[1]}")


def test_torch_is_too_large_and_onnx_runtime_is_not(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    project = Project.make(tmp_path / "project")
    (project.folder / "suites" / "test_small.py").write_text(SUITE)
    done = project.pytest("--baseline=off", *PLAN)
    large, fits = (done.result(f"digits/{technique}/edge.128MB") for technique in ("reference", "onnxruntime"))
    assert done.code == 1, done.text
    assert large["outcome"] == "oom"
    assert "needs more than edge.128MB allows: without it, the process held" in large["reason"]

    assert fits["outcome"] == "completed"
    names = [measurement["metric"] for measurement in fits["measurements"]]
    assert {"accuracy", "latency.p50", "memory.peak"} <= set(names)
    assert "speedup" not in names
    assert any("its reference can't run here" in warning for warning in fits["warnings"])
    (limit,) = (item for item in fits["evidence"] if item["technique"] == "edge.128MB")
    assert limit["promise"] == "memory <= 128MB"
    assert limit["kept"]
    assert {launch["state"]["memory_limit"] for launch in fits["launches"]} == {128_000_000}
    assert done.run["environment"]["hardware"]["edge.128MB"]["memory_limit"] == 128_000_000
