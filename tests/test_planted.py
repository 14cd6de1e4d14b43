"""Planted regressions of times: the real thing, run on real models, must turn red and say what happened.

Everything is planted in files, since no fixture reaches a child process.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import EXTRA, REFERENCE, TUNED, Project, assert_red, bias_for_a_loss

pytestmark = pytest.mark.alone

FAST = ("--plan", "seconds=0.3", "--plan", "confirm=5", "--plan", "repeats=0")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a baseline of two blocks. A run that is too noisy to extend it is refused, and made again."""
    made = Project.make(tmp_path_factory.mktemp("project"))
    runs = [made.pytest(*FAST, "--baseline=update", "--reason", "where we start")]
    while sum(run.code == 0 for run in runs) < 2:
        assert len(runs) < 5, runs[-1].text
        assert runs[-1].code == 0 or "could not be decided" in runs[-1].text, runs[-1].text
        runs.append(made.pytest(*FAST, "--baseline=update", "--reason", "where we start"))
    return made


@pytest.fixture
def planted(project: Project, tmp_path: Path) -> Project:
    return project.copy(tmp_path / "planted")


def products(project: Project, case_id: str, share: float) -> int:
    """How many of the planted matrix products take this share of a case's latency."""
    (result,) = (r for r in project.latest()["results"] if r["case_id"] == case_id)
    latency = statistics.median(launch["latency"]["p50"] for launch in result["launches"])
    code = (
        "import time, torch; torch.set_num_threads(1); m = torch.full((96, 96), 0.01); t = []\n"
        "for _ in range(2000):\n s = time.perf_counter(); torch.mm(m, m); t.append(time.perf_counter() - s)\n"
        "print(sorted(t)[1000])"
    )
    one = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    return max(1, round(share * latency / one))


def test_a_second_run_of_the_same_code_is_green(project: Project) -> None:
    done = project.pytest(*FAST)
    assert done.code == 0, done.text
    assert {c["verdict"] for c in done.run["comparisons"]} <= {"unchanged", "improved", "inconclusive"}


def test_extra_work_in_a_technique(project: Project, planted: Project) -> None:
    count = products(project, TUNED, 0.25)
    path = planted.folder / "suites" / "own.py"
    path.write_text(f"{path.read_text()}\n\n{EXTRA}")
    planted.edit("suites/own.py", "# planted: network", f"network = Extra(network, {count})")
    done = planted.pytest(*FAST, "-k", "tuned")
    assert_red(done, TUNED, "speedup", "limit", "harness accept --case")
    comparison = done.comparison(TUNED, "speedup")
    assert comparison["verdict"] == "regressed"
    assert comparison["change"]["point"] < -0.1
    assert comparison["baseline"]["point"] > comparison["candidate"]["point"]


def test_extra_work_in_the_model_slows_reference_and_candidate(project: Project, planted: Project) -> None:
    count = products(project, REFERENCE, 0.25)
    planted.edit(
        "suites/models/digits_network.py",
        "        logits: Tensor = ",
        "        import torch\n\n        square = torch.full((96, 96), 0.01)\n"
        f"        for _ in range({count}):\n            torch.mm(square, square)\n        logits: Tensor = ",
    )
    done = planted.pytest(*FAST, "-k", "reference or tuned")
    assert_red(done, REFERENCE, "latency.p50", "relative to the anchor", "limit", "harness accept --case")
    for case_id in (REFERENCE, TUNED):
        assert done.comparison(case_id, "latency.p50")["verdict"] == "regressed"


def test_a_rise_in_accuracy_and_speed_is_not_red(planted: Project) -> None:
    path = planted.folder / "suites" / "own.py"
    good = path.read_text()
    path.write_text(f"{good}\n\n{EXTRA}")
    planted.edit(
        "suites/own.py",
        "# planted: network",
        f"network.classifier.bias.data[3] += {bias_for_a_loss()}; network = Extra(network, 60)",
    )
    worse = planted.pytest(*FAST, "-k", "tuned", "--baseline=update", "--reason", "a bad day")
    assert worse.code == 0, worse.text
    path.write_text(good)
    done = planted.pytest(*FAST, "-k", "tuned")
    assert done.code == 0, done.text
    assert done.comparison(TUNED, "accuracy")["verdict"] == "improved"
    assert done.comparison(TUNED, "speedup")["verdict"] == "improved"
