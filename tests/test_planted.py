"""Planted regressions: the real thing, run on real models, must turn red and say what happened.

Everything is planted in files, since no fixture reaches a child process.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import CRASH, EXTRA, Outcome, Project

pytestmark = pytest.mark.alone

REFERENCE = "digits/reference/cpu"
TUNED = "digits/tuned/cpu"
QUANTISED = "digits/onnxruntime+quantised/cpu"
FAST = ("--plan", "seconds=0.3", "--plan", "confirm=5", "--plan", "repeats=0")
UNTIMED = ("--plan", "screen=1", "--plan", "confirm=0", "--plan", "seconds=0.1")
"""For what shows in other things than times."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a baseline of two blocks."""
    made = Project.make(tmp_path_factory.mktemp("project"))
    for _ in range(2):
        done = made.pytest(*FAST, "--baseline=update", "--reason", "where we start")
        assert done.code == 0, done.text
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


def assert_red(done: Outcome, case_id: str, *words: str) -> None:
    assert done.code == 1, done.text
    assert case_id in done.text
    for word in words:
        assert word in done.text, f"{word!r} not in\n{done.text}"


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


def test_a_technique_that_stops_quantising_is_invalid(planted: Project) -> None:
    planted.edit(
        "suites/own.py",
        "    # planted: quantised",
        '    return deployment.promising(Promise("quantized", at_least=0.5))',
    )
    done = planted.pytest(*UNTIMED, "-k", "quantised")
    assert_red(done, QUANTISED, "quantized >= 0.5", "found 0", "did not do what its name says")
    assert done.result(QUANTISED)["outcome"] == "invalid"


def test_a_technique_that_stops_quantising_and_promises_less_is_regressed(planted: Project) -> None:
    planted.edit(
        "suites/own.py",
        "    # planted: quantised",
        '    return deployment.promising(Promise("runtime", equals="onnxruntime"))',
    )
    done = planted.pytest(*UNTIMED, "-k", "quantised")
    assert_red(done, QUANTISED, "quantized", "size", "limit", "harness accept --case")
    assert done.comparison(QUANTISED, "quantized")["verdict"] == "regressed"
    assert done.comparison(QUANTISED, "size")["verdict"] == "regressed"


def test_half_a_point_of_accuracy_lost(planted: Project) -> None:
    planted.edit("suites/own.py", "# planted: network", f"network.classifier.bias.data[3] += {bias_for_a_loss()}")
    done = planted.pytest(*UNTIMED, "-k", "tuned")
    assert_red(done, TUNED, "accuracy", "limit", "harness accept --case")
    comparison = done.comparison(TUNED, "accuracy")
    assert comparison["verdict"] == "regressed"
    assert -0.008 < comparison["candidate"]["point"] - comparison["baseline"]["point"] <= -0.004


def bias_for_a_loss() -> float:
    """How much the bias of one class must rise for 4 to 7 of the 1,000 answers to be lost."""
    code = (
        "import torch; from suites.models.digits import digits, examples\n"
        "torch.set_num_threads(1); net = digits.load(); x, y = examples()\n"
        "with torch.no_grad(): logits = net(torch.from_numpy(x['image'].copy())).numpy()\n"
        "right = (logits.argmax(1) == y).mean()\n"
        "for step in range(1, 400):\n"
        "    moved = logits.copy(); moved[:, 3] += step * 0.05\n"
        "    if right - (moved.argmax(1) == y).mean() >= 0.0045: print(step * 0.05); break"
    )
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def test_a_leak_of_50_megabytes(planted: Project) -> None:
    planted.edit(
        "suites/models/digits_network.py",
        "        logits: Tensor = ",
        "        import torch\n\n        self.__dict__.setdefault('kept', []).append(torch.ones(1_310_720))\n"
        "        logits: Tensor = ",
    )
    done = planted.pytest(*UNTIMED, "-k", "reference")
    assert_red(done, REFERENCE, "memory.inference", "limit", "harness accept --case")
    comparison = done.comparison(REFERENCE, "memory.inference")
    assert comparison["candidate"]["point"] - comparison["baseline"]["point"] > 45e6


def test_a_deleted_case_is_missing(planted: Project) -> None:
    planted.edit("suites/test_small.py", "reference, tuned, onnxruntime | quantised", "reference")
    done = planted.pytest(*UNTIMED)
    assert_red(done, TUNED, "missing", "harness prune")
    assert QUANTISED in done.text
    assert done.comparison(TUNED, "case")["verdict"] == "missing"
    assert done.comparison(REFERENCE, "latency.p50")["verdict"] != "regressed"


def test_a_child_that_crashes(planted: Project) -> None:
    path = planted.folder / "suites" / "own.py"
    path.write_text(f"{path.read_text()}\n\n{CRASH}")
    planted.edit("suites/own.py", "# planted: network", "network = Crash()")
    done = planted.pytest(*UNTIMED, "-k", "tuned")
    assert_red(done, TUNED, "crashed", "SIGABRT")
    assert done.result(TUNED)["outcome"] == "crashed"


def test_a_run_in_which_every_case_is_skipped(planted: Project) -> None:
    planted.edit("suites/test_small.py", "@grid(", '@__import__("pytest").mark.skip(reason="not today")\n@grid(')
    done = planted.pytest(*UNTIMED)
    assert_red(done, TUNED, "missing", "not today")
    assert "nothing was measured" in done.text


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
