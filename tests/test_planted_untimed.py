"""Planted regressions that show in other things than times: red, with the case, the numbers and what to do.

Everything is planted in files, since no fixture reaches a child process. Nothing here is timed, so other tests may run
beside it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.project import CRASH, QUANTISED, REFERENCE, TUNED, Outcome, Project, assert_red, bias_for_a_loss

LYING, CRASHING = "digits/onnxruntime+lying/cpu", "digits/crashing/cpu"
BROKEN = f'''

{CRASH}

@technique(takes="torch")
def crashing(deployment):
    """Its network ends the process that calls it."""
    return deployment.replace(network=Crash()).promising(Promise("weights.float32", at_least=0.99))


@technique(takes="onnx")
def lying(deployment):
    """Promises to quantise, and does nothing."""
    return deployment.promising(Promise("quantized", at_least=0.5))
'''
UNTIMED = ("--plan", "screen=1", "--plan", "confirm=0", "--plan", "seconds=0.1", "--plan", "repeats=0")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a baseline of one block."""
    made = Project.make(tmp_path_factory.mktemp("project"))
    done = made.pytest(*UNTIMED, "--baseline=update", "--reason", "where we start")
    assert done.code == 0, done.text
    return made


@pytest.fixture
def planted(project: Project, tmp_path: Path) -> Project:
    return project.copy(tmp_path / "planted")


@pytest.fixture(scope="module")
def four(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A run of four cases with a fault each; what is broken is so whatever its baseline, and so needs none."""
    planted = project.copy(tmp_path_factory.mktemp("planted") / "project")
    planted.edit("suites/own.py", "# planted: network", f"network.classifier.bias.data[3] += {bias_for_a_loss()}")
    planted.edit(
        "suites/own.py",
        "    # planted: quantised",
        '    return deployment.promising(Promise("runtime", equals="onnxruntime"))',
    )
    path = planted.folder / "suites" / "own.py"
    path.write_text(path.read_text() + BROKEN)
    planted.edit("suites/test_small.py", "import quantised", "import crashing, lying, quantised")
    planted.edit("suites/test_small.py", "| quantised]", "| quantised, crashing, onnxruntime | lying]")
    return planted.pytest(*UNTIMED, "-k", "not reference")


def test_a_technique_that_does_not_quantise_is_invalid_and_a_child_that_crashes_is_red(four: Outcome) -> None:
    assert_red(four, f"{LYING}: invalid", "quantized >= 0.5", "found 0", "did not do what its name says")
    assert four.result(LYING)["outcome"] == "invalid"
    assert "quantized >= 0.5" in four.result(LYING)["reason"]
    assert_red(four, f"{CRASHING}: error", "crashed", "SIGABRT")
    assert four.result(CRASHING)["outcome"] == "crashed"
    assert "SIGABRT" in four.result(CRASHING)["reason"]


def test_half_a_point_lost_and_a_technique_that_promises_less_are_regressed(four: Outcome) -> None:
    done = four
    assert_red(done, f"{TUNED}: regressed", f"harness accept --case 'small/{TUNED}'")
    assert_red(done, f"{QUANTISED}: regressed", f"harness accept --case 'small/{QUANTISED}'")
    accuracy, size = done.comparison(TUNED, "accuracy"), done.comparison(QUANTISED, "size")
    quantized = done.comparison(QUANTISED, "quantized")
    for comparison in (accuracy, size, quantized):
        assert comparison["verdict"] == "regressed"
        assert comparison["reason"] in done.text
    assert "limit" in accuracy["reason"]
    assert "limit" in size["reason"]
    assert -0.008 < accuracy["candidate"]["point"] - accuracy["baseline"]["point"] <= -0.004


def test_a_leak_of_50_megabytes_is_regressed_and_a_deleted_case_is_missing(planted: Project) -> None:
    planted.edit(
        "suites/models/digits_network.py",
        "        logits: Tensor = ",
        # No more than 16: an evaluation makes a thousand calls.
        "        import torch\n\n        kept = self.__dict__.setdefault('kept', [])\n"
        "        if len(kept) < 16:\n            kept.append(torch.ones(1_310_720))\n"
        "        logits: Tensor = ",
    )
    planted.edit("suites/test_small.py", "reference, tuned, onnxruntime | quantised", "reference")
    done = planted.pytest(*UNTIMED)
    assert_red(done, REFERENCE, "memory.inference", "limit", "harness accept --case")
    comparison = done.comparison(REFERENCE, "memory.inference")
    assert comparison["verdict"] == "regressed"
    assert comparison["candidate"]["point"] - comparison["baseline"]["point"] > 45e6
    assert done.comparison(REFERENCE, "accuracy")["verdict"] == "unchanged"
    assert_red(done, TUNED, "missing", "harness prune")
    assert QUANTISED in done.text
    assert done.comparison(TUNED, "case")["verdict"] == "missing"
