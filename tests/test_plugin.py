"""The pytest edge, run as users run it: nothing is green by omission, and mistakes get a clear error."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import pynvml
import pytest

import harness.plugin
import harness.session
from harness import SuiteError, grid
from harness.baseline.store import Store
from harness.errors import Regression
from harness.grid import Address, Case
from harness.hardware import Cpu, Hardware, cpu, cuda
from harness.measured import Measured
from harness.metrics import Metric, resolve
from harness.plan import Plan
from harness.plugin import pytest_collection_modifyitems, pytest_runtest_makereport
from harness.plugin.benching import BESIDE_THREADS, CASE, MARKED, Bench
from harness.plugin.missing import MissingCase
from harness.plugin.state import STATE, State
from harness.records import Comparison, Outcome, Result, Verdict
from harness.report.record import failed_tests, read_run
from harness.report.summary import escape
from harness.session import Session
from harness.settings import Decision, Settings
from harness.techniques import Technique, onnxruntime, reference
from harness.techniques.base import as_pipeline
from harness.testing import tiny_onnx_model
from tests.fake_nvml import FakeBoard, fake_nvml
from tests.folder import PLAN, Folder
from tests.judge_samples import a_launch, a_portable, a_result


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_test_can_not_hide_what_was_measured(folder: Folder) -> None:
    folder.suite(
        "test_hiding",
        """
from harness import SuiteError

@grid(model=[tiny], technique=[liar], hardware=[cpu])
def test_swallows(case, bench):
    try:
        bench(case)
    except AssertionError:
        pass

@grid(model=[tiny], technique=[liar | onnxruntime], hardware=[cpu])
def test_skips_late(case, bench):
    try:
        bench(case)
    except AssertionError:
        pytest.skip("never mind")

@grid(model=[tiny], technique=[liar | batched(5)], hardware=[cpu])
def test_xfails_late(case, bench):
    try:
        bench(case)
    except AssertionError:
        pytest.xfail("slow today")

@pytest.fixture
def kept(case, bench):
    try:
        return bench(case)
    except AssertionError:
        pytest.skip("noise")

@grid(model=[tiny], technique=[liar | batched(7)], hardware=[cpu])
def test_skips_in_a_fixture(case, bench, kept):
    pass

@grid(model=[tiny], technique=[liar | batched(8)], hardware=[cpu])
def test_marks_late(case, bench, request):
    try:
        bench(case)
    except AssertionError:
        request.node.add_marker(pytest.mark.xfail(reason="slow today"))
        raise

BUSY = False

@pytest.mark.xfail("BUSY", reason="a busy machine")
@grid(model=[tiny], technique=[liar | batched(9)], hardware=[cpu])
def test_is_busy_late(case, bench):
    global BUSY
    try:
        bench(case)
    except AssertionError:
        BUSY = True
        raise

@pytest.mark.xfail(strict=True, reason="known to lie")
@grid(model=[tiny], technique=[liar | batched(2)], hardware=[cpu])
def test_expected(case, bench, request):
    try:
        bench(case)
    finally:
        request.node.add_marker(pytest.mark.xfail(reason="a second one changes nothing"))

@grid(model=[tiny], technique=[batched(3)], hardware=[cpu])
def test_forgets(case, bench):
    pass

@pytest.mark.xfail(reason="known to be slow")
@grid(model=[tiny], technique=[batched(6)], hardware=[cpu])
def test_forgets_with_a_mark(case, bench):
    pass

@grid(model=[tiny], technique=[batched(4), bf16], hardware=[cpu, cuda(index=99)])
def test_measures(case, bench):
    with pytest.raises(SuiteError, match="bench measures the test's own case"):
        bench(case.reference)
    first = bench(case)
    assert bench(case).result is first.result
    assert first.speedup > 0 and first.accuracy > 0.5 and first["size"] == first.size
    with pytest.raises(KeyError, match="has no metric 'speed'"):
        first["speed"]

@grid(model=[tiny], technique=[reference], hardware=[cpu])
def test_promises(case, bench):
    assert bench(case).accuracy > 2

@technique
def boasting(deployment):
    return deployment.noting(**{"sparsity.2:4": 1.0}).promising(Promise("sparsity.2:4", at_least=0.9))

@grid(model=[tiny], technique=[boasting], hardware=[cpu])
def test_boasts(case, bench):
    bench(case)

@technique(requires=lambda hardware, form: {}[form])
def unsure(deployment):
    return deployment.promising(Promise("batch", equals=1))

@grid(model=[tiny], technique=[unsure], hardware=[cpu])
def test_asks(case, bench):
    bench(case)
""",
    )
    code, text = folder.pytest("suites", "--baseline=off", *PLAN, "--junitxml", "junit.xml", "-rfs")
    assert code == 1
    assert "10 failed, 1 passed, 3 skipped, 1 xfailed, 1 error" in text
    assert "FAILED suites/test_hiding.py::test_forgets_with_a_mark" in text
    # A skip while fixtures are set up was green, with the verdict in the record.
    assert "ERROR at setup of test_skips_in_a_fixture[tiny_onnx/liar+batched:7/cpu]" in text
    assert "the test skipped after that; the verdict stands" in text
    # A mark says beforehand what is known to fail; a call comes after the verdict, and so does a mark that a test adds,
    # or whose condition came true meanwhile.
    late = "a mark xfail came into force"
    for name, words in (("xfails_late", "the test called xfail"), ("marks_late", late), ("is_busy_late", late)):
        assert f"FAILED suites/test_hiding.py::test_{name}" in text
        assert f"{words} after that; the verdict stands" in text
    assert "; 1 failed as expected." in text
    (known,) = folder.run()["environment"]["state"]["xfailed"].splitlines()
    assert known.endswith("/tiny_onnx/liar+batched:2/cpu")
    assert text.count("quantized >= 0.5, found 0") >= 2
    assert "`bench` was requested and never called" in text
    assert "bf16 works on a torch network, and tiny_onnx exists only as an ONNX network" in text
    absent = folder.result("tiny_onnx/batched:4/cuda.99")
    assert (absent["outcome"], absent["reason"]) == ("unavailable", cuda(index=99).available())
    assert absent["reason"] in text
    outcomes = {result["case_id"]: result["outcome"] for result in folder.run()["results"]}
    assert outcomes["tiny_onnx/liar/cpu"] == "invalid"
    assert outcomes["tiny_onnx/batched:4/cpu"] == "completed"
    assert outcomes["tiny_onnx/bf16/cpu"] == "unavailable"
    properties = {
        (case.get("name"), item.get("name")): item.get("value")
        for case in ET.parse(folder.path / "junit.xml").iter("testcase")
        for item in case.iter("property")
    }
    assert any("batched:4" in name and "latency.p50" in key for name, key in properties)
    # The verdict of a promise that fails is that of its test, for other tools and in the line of the case as well.
    (broken,) = (name for name, key in properties if name and "promises" in name and key == "harness.verdict")
    assert properties[broken, "harness.verdict"] == properties[broken, "harness.case.verdict"] == "error"
    assert (broken, "harness.accuracy") in properties
    assert re.search(r"^\[ *\d+/\d+\] error +tiny_onnx/reference/cpu", text, re.MULTILINE)
    # No promise rests on a technique's own word.
    assert outcomes["tiny_onnx/boasting/cpu"] == "invalid"
    boasted = folder.result("tiny_onnx/boasting/cpu")["reason"]
    assert "boasting promised sparsity.2:4 >= 0.9, found not found" in boasted
    # What a technique requires can't be asked: that is an error of its own case, and the others are measured.
    unsure = folder.result("tiny_onnx/unsure/cpu")
    assert unsure["outcome"] == "failed"
    assert "technique unsure failed: KeyError: 'onnx'" in unsure["reason"]
    # A promise of the suite that fails is in the record.
    (promise,) = (one for one in folder.run()["comparisons"] if one["case_id"] == "tiny_onnx/reference/cpu")
    assert promise["verdict"] == "error"
    assert "the test failed: AssertionError" in promise["reason"]
    assert failed_tests(read_run(folder.path / "reports" / "latest")).keys() == {("hiding", "tiny_onnx/reference/cpu")}


@pytest.mark.skipif(not hasattr(pytest, "Subtests"), reason="this pytest has no subtests")
def test_a_subtest_says_nothing_of_what_its_test_measures(folder: Folder) -> None:
    folder.suite(
        "test_parts",
        """
@grid(model=[tiny], technique=[reference], hardware=[cpu])
def test_passes_before(case, bench, subtests):
    with subtests.test("inputs"):
        pass
    bench(case)

@grid(model=[tiny], technique=[batched(2)], hardware=[cpu])
def test_skips_before(case, bench, subtests):
    with subtests.test("inputs"):
        pytest.skip("not today")
    bench(case)

@grid(model=[tiny], technique=[batched(3)], hardware=[cpu])
def test_fails_before(case, bench, subtests):
    with subtests.test("inputs"):
        raise ValueError("a shape is wrong")
    bench(case)

@grid(model=[tiny], technique=[batched(5)], hardware=[cpu])
def test_skips_after(case, bench, subtests):
    bench(case)
    with subtests.test("outputs"):
        raise ValueError("a value is wrong")
    pytest.skip("not today")

@grid(model=[tiny], technique=[batched(4)], hardware=[cpu])
def test_forgets(case, bench, subtests):
    with subtests.test("inputs"):
        pass

@grid(model=[tiny], technique=[liar], hardware=[cpu])
def test_swallows(case, bench, subtests):
    with subtests.test("speed"):
        bench(case)
""",
    )
    code, text = folder.pytest("suites", "--baseline=off", *PLAN)
    assert code == 1
    outcomes = {result["case_id"]: result["outcome"] for result in folder.run()["results"]}
    measured = {name for name, outcome in outcomes.items() if outcome == "completed"}
    assert measured == {f"tiny_onnx/{name}/cpu" for name in ("reference", "batched:2", "batched:3", "batched:5")}
    reasons = {(one["case_id"], one["verdict"]): one["reason"] for one in folder.run()["comparisons"]}
    assert "a shape is wrong" in reasons["tiny_onnx/batched:3/cpu", "error"]
    assert "a value is wrong" in reasons["tiny_onnx/batched:5/cpu", "error"]
    assert "never called `bench`" in reasons["tiny_onnx/batched:4/cpu", "error"]
    assert not {one for one, _ in reasons} & {"tiny_onnx/reference/cpu", "tiny_onnx/batched:2/cpu"}
    for name in ("test_fails_before", "test_forgets", "test_swallows"):
        assert f"FAILED suites/test_parts.py::{name}" in text
    assert "the verdict stands" in text
    assert "2 passed" in text


def test_children_import_from_where_pytest_does(tmp_path: Path) -> None:
    """The settings lie above the folder that one stands in, which holds a package of suites, and a plain folder. What
    lies beside a suite comes before what the project's own folder has of that name, and after the standard library;
    what lies beside another one after both.
    """
    folder = Folder(tmp_path / "project" / "ml")
    (folder.path / "pytest.ini").rename(tmp_path / "project" / "pytest.ini")
    hidden = "raise ImportError('this is hidden by what lies beside the suite')\n"
    (tmp_path / "project" / "shapes.py").write_text(hidden)
    (tmp_path / "project" / "sizes.py").write_text("SIZE = 1\n")
    (tmp_path / "project" / "conftest.py").touch()  # for which pytest imports from there
    suite = "@grid(model=[tiny], technique=[reference], hardware=[cpu])\ndef test_it(case, bench):\n    bench(case)\n"
    folder.suite("test_packed", f"from sizes import SIZE\n\n\n{suite}")
    plain = folder.path / "plain"
    plain.mkdir()
    (plain / "shapes.py").write_text((folder.path / "suites" / "common.py").read_text())
    (plain / "test_plain.py").write_text(f"from shapes import *\n\n\n{suite}")
    (plain / "sizes.py").write_text("raise ImportError('this lies beside another suite')\n")
    (plain / "random.py").write_text("raise ImportError('this hides the standard library')\n")
    code, text = folder.pytest("suites", "plain", "--quick")
    assert code == 0, text
    assert "2 passed" in text
    (report,) = (line.removeprefix("report: ") for line in text.splitlines() if line.startswith("report: "))
    assert (folder.path / report).is_file(), "it is named from where pytest was called"


@pytest.mark.alone
def test_a_first_run_without_a_baseline_is_no_pass(folder: Folder) -> None:
    suite = "@grid(model=[tiny], technique=[{}], hardware=[cpu])\ndef test_{}(case, bench):\n    bench(case)\n"
    folder.suite("test_first", suite.format("reference", "it"))
    plan = (*PLAN, "--plan", "repeats=2")
    code, text = folder.pytest("suites", *plan)
    assert code == 1
    assert "nothing was decided" in text
    assert "--baseline=update" in text
    code, text = folder.pytest("suites", *plan, "--baseline=update", "--reason", "first figures")
    assert code == 0
    assert len(list((folder.path / "baselines" / "first").rglob("*.json"))) == 2
    code, text = folder.pytest("suites", *plan)
    assert code == 0, text
    # A baseline that was damaged is an error of its case, and never an empty default; strict refuses a case without.
    (portable,) = (folder.path / "baselines").rglob("portable.json")
    portable.write_text(portable.read_text()[:-20])
    folder.suite("test_first", suite.format("reference", "it") + suite.format("batched(2)", "new"))
    code, text = folder.pytest("suites/test_first.py", *plan, "--baseline=strict")
    assert code == 1
    assert "portable.json" in text
    assert "FAILED suites/test_first.py::test_new" in text
    assert "has no baseline yet" in text
    # The history is off in these runs.
    assert (folder.path / "reports" / "latest" / "index.html").exists()
    assert not (folder.path / "reports" / "history.db").exists()


WRONG = {
    "test_empty": (
        "@grid(model=[], technique=[reference], hardware=[cpu])\ndef test_x(case, bench): ...",
        "'model' is empty",
    ),
    "test_half": (
        "@grid(model=[tiny], technique=[batched], hardware=[cpu])\ndef test_x(case, bench): ...",
        "batched needs 'n'",
    ),
    "test_double": (
        "@grid(model=[tiny], technique=[reference, reference], hardware=[cpu])\ndef test_x(case, bench): ...",
        "share the id tiny_onnx/reference/cpu",
    ),
    "test_unused": (
        "@grid(model=[tiny], technique=[reference], hardware=[cpu])\ndef test_x(case): ...",
        "no 'bench'",
    ),
    "test_words": (
        "@grid(model=[tiny], technique=[reference], hardware=['cpu'])\ndef test_x(case, bench): ...",
        "'cpu' on the axis 'hardware'",
    ),
    "test_method": (
        "class TestIt:\n    @grid(model=[tiny], technique=[reference], hardware=[cpu])\n"
        "    def test_x(self, case, bench): ...",
        "write test_x outside of TestIt, without self",
    ),
}


def test_a_wrong_grid_is_an_error_at_collection(folder: Folder) -> None:
    for name, (text, _) in WRONG.items():
        folder.suite(name, text)
    code, output = folder.pytest("suites")
    assert code == 2
    parts = output.partition("short test summary info")[0].split("ERROR collecting suites/")[1:]
    said = {part.partition(".py")[0]: part for part in parts}
    assert said.keys() == WRONG.keys()
    for name, (_, words) in WRONG.items():
        assert words in said[name]
    assert not (folder.path / "reports").exists()


def test_an_option_that_a_conftest_has_as_well_names_the_plugin(folder: Folder) -> None:
    hook = "def pytest_addoption(parser):\n    parser.addoption('--quick', action='store_true')\n"
    (folder.path / "conftest.py").write_text(hook)
    code, output = folder.pytest("suites", "--collect-only")
    assert code == 4
    assert "ERROR: option dest 'quick' already used" in output
    assert "the plugin of inference-harness has this option" in output
    assert "-p no:harness" in output


def test_a_run_that_is_refused_is_none(folder: Folder) -> None:
    folder.suite(
        "test_one",
        "@grid(model=[tiny], technique=[reference, bf16], hardware=[cpu, cuda(index=99)])\n"  # one is skipped by a mark
        "def test_it(case, bench):\n    bench(case)\n\n\n"
        "@pytest.mark.skipif(True, reason='no GPU')\n"
        "@grid(model=[tiny], technique=[onnxruntime], hardware=[cuda(index=99)])\n"
        "def test_marked(case, bench):\n    bench(case)\n",
    )
    for arguments, words in (
        (("--plan", "speed=3"), "no 'speed' in a plan"),
        (("--baseline-rev", "v1.0"), "not a git repository"),
    ):
        code, text = folder.pytest("suites", *arguments)
        assert code == 4 if "--plan" in arguments else code != 0
        assert words in text
        assert not (folder.path / "reports").exists()
    code, text = folder.pytest("suites", "-k", "cuda", "--require-hardware=cuda.99", "--baseline=off")
    assert code == 1
    said = "tiny_onnx/onnxruntime/cuda.99: --require-hardware=cuda.99, and it is not here: "
    assert said in text, "a mark skipped it"


def test_an_interrupted_run_keeps_what_it_has_and_is_resumed(folder: Folder) -> None:
    folder.suite(
        "test_long",
        "import time\n\n"
        "@grid(model=[tiny], technique=[reference, batched(2)], hardware=[cpu])\n"
        "def test_it(case, bench):\n"
        "    while case.id == 'tiny_onnx/batched:2/cpu' and Path('.held').exists():\n        time.sleep(0.05)\n"
        "    bench(case)\n",
    )
    held = folder.path / ".held"  # so that the run does not come to its end before it is interrupted
    held.touch()
    arguments = ("suites", "--baseline=off", *PLAN)
    process = subprocess.Popen(
        folder.command(*arguments),
        cwd=folder.path, env=folder.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    journal = folder.path / "reports" / "latest" / "journal.jsonl"
    while process.poll() is None and not (journal.exists() and len(journal.read_text().splitlines()) >= 2):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    text = process.communicate(timeout=300)[0]
    held.unlink()
    assert process.returncode == 2, text
    run = folder.run()
    assert not run["complete"]
    (first,) = run["results"]
    code, text = folder.pytest(*arguments, "--resume")
    assert code == 0, text
    run = folder.run()
    assert run["complete"]
    assert len(run["results"]) == 2
    assert run["results"][0] == first
    assert "cases were measured before the run was interrupted" in text


def test_a_run_that_a_test_ends_makes_no_baseline_and_is_resumed(folder: Folder) -> None:
    """With the exit code that pytest.exit was given it looked whole: what it had measured became the baseline."""
    folder.suite(
        "test_ending",
        "@grid(model=[tiny], technique=[reference, batched(2)], hardware=[cpu])\n"
        "def test_it(case, bench):\n"
        "    if case.id == 'tiny_onnx/batched:2/cpu':\n        pytest.exit('enough', returncode=1)\n"
        "    bench(case)\n",
    )
    arguments = ("suites", *PLAN, "--baseline=update", "--reason", "first figures")
    code, text = folder.pytest(*arguments)
    assert code == 1, text
    assert not folder.run()["complete"]
    assert not (folder.path / "baselines").exists()
    _, text = folder.pytest(*arguments, "--resume")
    assert "--resume: 1 cases were measured before the run was interrupted" in text


def test_a_run_that_is_ended_early_is_no_pass(folder: Folder) -> None:
    """pytest.exit was given 0, and nobody was told of the baselines that it had not come to."""
    for case_id in ("digits/reference/cpu", "digits/bf16/cpu"):
        Store(folder.path / "baselines").write(a_portable({"size": 4.0}, case_id=case_id))
    hook = "import pytest\n\n\ndef pytest_runtest_logfinish():\n    pytest.exit('enough', returncode=0)\n"
    (folder.path / "conftest.py").write_text(hook)
    code, text = folder.pytest("suites", *PLAN)
    assert code == 2, text
    run = folder.run()
    assert not run["complete"]
    assert len(run["comparisons"]) == 1


def test_a_case_that_no_test_decided_is_missing(folder: Folder) -> None:
    text = (
        "@grid(model=[tiny], technique=[reference], hardware=[cpu])\ndef test_it(case, bench):\n    {first}\n\n"
        "{mark}@grid(model=[tiny], technique=[batched(2)], hardware=[cpu])\n"
        "def test_other(case, bench):\n    {second}\n"
    )
    folder.suite("test_omits", text.format(first="bench(case)", mark="", second="bench(case)"))
    code, output = folder.pytest("suites", *PLAN, "--baseline=update", "--reason", "start")
    assert code == 0, output
    mark = "@pytest.mark.skip(reason='another day')\n"
    folder.suite("test_omits", text.format(first="pytest.skip('not today')", mark=mark, second="bench(case)"))
    code, output = folder.pytest("suites", *PLAN)
    assert code == 1, output
    assert "FAILED suites/test_omits.py::test_it" in output
    assert "ERROR suites/test_omits.py::test_other" in output
    assert {c["verdict"] for c in folder.run()["comparisons"]} == {"missing"}
    reasons = {c["case_id"]: c["reason"] for c in folder.run()["comparisons"]}
    assert "not today; it has a baseline" in reasons["tiny_onnx/reference/cpu"]
    assert "another day; it has a baseline" in reasons["tiny_onnx/batched:2/cpu"]
    assert "nothing was measured" in output
    # Nor does an xfail decide it that leaves nothing to be measured, by a call or by its mark.
    mark = "@pytest.mark.xfail(run=False, reason='ends the process')\n"
    folder.suite("test_omits", text.format(first="pytest.xfail('not today')", mark=mark, second="bench(case)"))
    code, output = folder.pytest("suites", *PLAN)
    assert code == 1, output
    assert "FAILED suites/test_omits.py::test_it" in output
    assert "ERROR suites/test_omits.py::test_other" in output
    assert {c["verdict"] for c in folder.run()["comparisons"]} == {"missing"}
    reasons = {c["case_id"]: c["reason"] for c in folder.run()["comparisons"]}
    assert "xfail: not today; it has a baseline" in reasons["tiny_onnx/reference/cpu"]
    assert "xfail: [NOTRUN] ends the process; it has a baseline" in reasons["tiny_onnx/batched:2/cpu"]
    assert "nothing was measured" in output
    # The whole file is gone: its baselines are still due, wherever the project's settings say that they lie.
    (folder.path / "suites" / "test_omits.py").unlink()
    (folder.path / "baselines").rename(folder.path / "golden")
    (folder.path / "pytest.ini").write_text("[pytest]\naddopts = --baselines golden\n")
    code, output = folder.pytest("suites", *PLAN)
    assert code == 1
    assert output.count("harness prune") >= 2
    page = (folder.path / "reports" / "latest" / "index.html").read_text(encoding="utf-8")
    assert "harness prune --baselines golden" in output
    assert "harness prune --baselines golden" in page
    code, output = folder.pytest("suites/common.py", *PLAN)
    assert code == 5, "a filtered run looks only at what it selected"


def test_a_suite_that_is_gone_with_its_baselines_is_missed_by_those_of_a_commit(folder: Folder) -> None:
    """Where no case was left, those of the working tree were looked at, which were gone as well. Of a commit that is
    not known nobody can tell.
    """
    known = a_portable({"size": 4.0})
    Store(folder.path / "baselines").write(known)
    folder.commit("kept")
    shutil.rmtree(folder.path / "baselines")
    (folder.path / "suites" / "test_plain.py").write_text("def test_it():\n    pass\n")
    code, text = folder.pytest("suites", "--baseline-rev", "HEAD")
    assert code == 1, text
    assert f"{known.case_id} has a baseline" in text
    assert "1 failed, 1 passed" in text
    code, text = folder.pytest("suites", "--baseline-rev", "nowhere")
    assert code == 4, text


def test_ordinary_tests_need_no_commit_that_holds_baselines(folder: Folder) -> None:
    """With --baseline-rev in addopts they were an error in a clone without that commit."""
    Store(folder.path / "baselines").write(a_portable({"size": 4.0}))
    (folder.path / "tests").mkdir()
    (folder.path / "tests" / "test_x.py").write_text("def test_x():\n    pass\n")
    code, text = folder.pytest("tests", "--baseline-rev", "nowhere")
    assert code == 0, text


def test_a_budget_ends_the_adding_of_launches_and_says_so(folder: Folder) -> None:
    # No reference, which has no speed-up in any run.
    folder.suite(
        "test_short",
        """
@grid(model=[tiny], technique=[batched(4)], hardware=[cpu])
def test_it(case, bench):
    result = bench(case)
    if "speedup" in result:
        assert result.speedup > 0
    with pytest.raises(KeyError, match="in turns with another tree"):
        result["speedup"]
""",
    )
    plan = ("--plan", "seconds=0.1", "--plan", "rounds=3", "--plan", "repeats=0")
    code, text = folder.pytest("suites", "--against", ".", "--against-tolerance", "0.00001", "--budget", "1s", *plan)
    assert code in (0, 1), text
    result = folder.result("tiny_onnx/batched:4/cpu")
    assert [launch["phase"] for launch in result["launches"]] == ["screen"] * 3
    assert "error" not in {one["verdict"] for one in folder.run()["comparisons"]}, "no promise of the test was broken"
    (verdict,) = (one["verdict"] for one in folder.run()["comparisons"] if one["metric"] == "latency.p50")
    said = any("its time was over before it was decided" in warning for warning in result["warnings"])
    assert said == (verdict == "inconclusive")  # nearly always: chance may call so short a screen improved


@pytest.mark.parametrize("metric", ["speedup", "fidelity.sqnr", "energy.per_call"])
def test_a_promise_about_what_turns_do_not_measure_can_wait_for_another_run(metric: str) -> None:
    launch = dataclasses.replace(a_launch(), anchored=None, speedup=None, against=1.0)
    in_turns = Measured(a_result({"size": [4.0]}, launches=(launch,)), Verdict.UNCHANGED)
    assert "size" in in_turns
    assert metric not in in_turns
    with pytest.raises(KeyError) as caught:
        in_turns[metric]
    assert "in turns with another tree (--against) neither speed-ups nor" in caught.value.args[0]
    assert f"put the promise under `if '{metric}' in result:`" in caught.value.args[0]
    with pytest.raises(KeyError) as caught:
        in_turns["sise"]
    assert "in turns" not in caught.value.args[0], "a condition would hide a slip of the pen"
    alone = Measured(a_result({"size": [4.0], "speedup": [2.0]}), Verdict.UNCHANGED)
    assert "speedup" in alone
    with pytest.raises(KeyError) as caught:
        alone["fidelity.cosine"]
    assert caught.value.args[0].endswith("it has size, speedup")


def test_memory_is_the_peak_that_reports_and_limits_name_so() -> None:
    """A promise of at most 100 MB held for a process of 300 MB, of which calls took 20 beyond what loading had."""
    found = Measured(a_result({"memory.inference": [2e7], "memory.peak": [3e8]}), Verdict.UNCHANGED)
    assert found.memory == found["memory.peak"] == 3e8


@harness.technique(takes="onnx", requires=lambda hardware, form: "needs a part that nobody has")
def partless(deployment):
    """Never here."""
    return deployment


def item_of(case: Case, *marks: pytest.MarkDecorator) -> Any:
    """A test item as far as the plugin's state asks it."""
    found = {one.name: one.mark for one in marks}
    return SimpleNamespace(
        stash={}, callspec=SimpleNamespace(params={"case": case}), get_closest_marker=found.get,
        iter_markers=lambda name: [found[name]] if name in found else [],
    )  # fmt: skip


def test_cases_are_refused_where_the_system_is_no_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be looked at there."""
    monkeypatch.setattr("harness.measure.environment.sys", SimpleNamespace(platform="darwin"))
    items = [item_of(Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu))]
    state = SimpleNamespace(note_dropped=lambda _: None, left_to_full=lambda _: {}, collected=lambda *_: [])

    def collected(*, only: bool) -> None:
        option = SimpleNamespace(collectonly=only)
        config = SimpleNamespace(stash={STATE: state}, option=option, getoption=lambda _: "")
        pytest_collection_modifyitems(cast(Any, None), cast(Any, config), items)

    with pytest.raises(pytest.UsageError, match="cases are measured on Linux, and this is darwin"):
        collected(only=False)
    collected(only=True)


def test_a_case_of_two_tests_stays_where_one_of_them_is_deselected(tmp_path: Path) -> None:
    """What is looked for among those that are left, however often, is the case."""
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    state = State(cast(Any, None), Plan())
    left, kept = item_of(case), item_of(case)
    for name, item in (("test_left", left), ("test_kept", kept)):
        item.path, item.nodeid = tmp_path / "test_m.py", f"test_m.py::{name}"
        state.note_collected(item)
    state.note_deselected(left)
    state._items["m", case.id] = kept
    state.note_dropped([kept])
    assert [*state._items] == [("m", case.id)]
    state.note_dropped([])
    assert not state._items


def test_two_files_of_one_name_are_refused_whatever_their_cases(tmp_path: Path) -> None:
    model = tiny_onnx_model(tmp_path)
    state = cast(Any, SimpleNamespace(_files={}, _items={}, _reserved=set(), _hardware={}, _chosen={}, _own={}))
    for folder, technique in (("a", reference), ("b", onnxruntime)):
        item = item_of(Case(model, as_pipeline(technique), cpu))
        item.path = tmp_path / folder / "test_one.py"
        item.getparent = lambda _: None
        wrong = pytest.raises(SuiteError, match=r"b/test_one\.py and .*a/test_one\.py would .*; rename one$")
        with wrong if folder == "b" else contextlib.nullcontext():
            State._select(state, item, {})


@pytest.mark.parametrize(
    ("names", "parameters", "words"),
    [
        (("test_it", "test_it"), ("quality",), r"other parameters too \(quality\), which no child sees, so tiny_onnx/"),
        (("test_it", "test_other"), ("quality",), "suite 'm' has the case .* twice; give one of the models another"),
        (("test_it", "test_it"), (), "it was collected twice; name it once, without --keep-duplicates"),
        (("test_it", "test_other"), (), "suite 'm' has the case .* twice; give one of the models another"),
    ],
    ids=["parametrized", "two functions, one parametrized", "named twice", "two functions"],
)
def test_a_case_that_is_there_twice_names_the_cause(
    tmp_path: Path, names: tuple[str, str], parameters: tuple[str, ...], words: str
) -> None:
    """Parameters beside a grid's, of the test or of a fixture, were called two models of one name. So was a test that
    was named twice.
    """
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    state = cast(Any, SimpleNamespace(_files={}, _items={}, _reserved=set(), _hardware={}, _chosen={}, _own={}))
    for number, name in enumerate(names):
        item = item_of(case)
        value = f"-{number}" if parameters else ""
        item.path, item.name, item.originalname = tmp_path / "test_m.py", f"{name}[{case.id}{value}]", name
        item.nodeid = f"test_m.py::{item.name}"
        item.callspec.params.update(dict.fromkeys(parameters, number))
        item.getparent = lambda _: None
        with pytest.raises(SuiteError, match=words) if number else contextlib.nullcontext():
            State._select(state, item, {})


def test_parameters_beside_a_grids_are_refused_whichever_of_their_values_is_selected(tmp_path: Path) -> None:
    """With -k, a node id or a shard one value was left, and measured as the case of all."""
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    items = [item_of(case) for _ in range(2)]
    for number, item in enumerate(items):
        item.path, item.name, item.originalname = tmp_path / "test_m.py", f"test_it[{number}-{case.id}]", "test_it"
        item.nodeid = f"test_m.py::{item.name}"
        item.callspec.params["quality"] = number
    hook = harness.plugin.pytest_pycollect_makeitem()  # a name of this module would be a hook of its own
    next(hook)
    with pytest.raises(StopIteration) as ended:
        hook.send(items)
    assert ended.value.value is items
    for selected in items:
        state = cast(Any, SimpleNamespace(_files={}, _items={}, _reserved=set()))
        with pytest.raises(SuiteError, match=r"other parameters too \(quality\), .* one case for all of their values"):
            State._select(state, selected, {})


@dataclasses.dataclass(frozen=True)
class Board(Cpu):
    """Hardware of somebody's own, whose name does not tell its speed."""

    clock: int = 0

    @property
    def name(self) -> str:
        return "board"


@dataclasses.dataclass(frozen=True)
class OwnCpu(Cpu):
    """Hardware of somebody's own, which kept the name of the harness's."""


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        (Board(clock=1), Board(clock=2), True),
        (Board(clock=1), Board(clock=1), False),
        (cpu(threads=2), Cpu(threads=2), False),
        (cpu, OwnCpu(), True),
        (OwnCpu(), OwnCpu(), False),
    ],
    ids=["another clock", "equal", "equal ones of the harness", "another class", "in place of the harness's own"],
)
def test_two_kinds_of_hardware_of_one_name_are_refused(
    tmp_path: Path, first: Hardware, second: Hardware, refused: bool
) -> None:
    """The identity of the last one was everyone's, in the record and in the classes of machines."""
    state = cast(Any, SimpleNamespace(_files={}, _items={}, _reserved=set(), _hardware={}, _chosen={}, _own={}))
    state._hardware["cpu"] = cpu  # as a run begins
    for suite, hardware in (("a", first), ("b", second)):
        item = item_of(Case(tiny_onnx_model(tmp_path), as_pipeline(reference), hardware))
        item.path, item.nodeid = tmp_path / f"test_{suite}.py", f"test_{suite}.py::test_it"
        item.getparent = lambda _: None
        said = f"test_b.py::test_it: two different kinds of hardware are named {second.name}, and .*; give one another"
        with pytest.raises(SuiteError, match=said) if refused and suite == "b" else contextlib.nullcontext():
            State._select(state, item, {})
    assert state._hardware[first.name] == first


def test_hooks_of_reports_read_a_missing_case_as_they_read_any_test(request: pytest.FixtureRequest) -> None:
    """As those that put the docstring of each test into a report do."""
    gone: Any = (SimpleNamespace(reason="it is gone"), None)
    item: Any = MissingCase.from_parent(request.session, name="m/tiny_onnx/reference/cpu", run=None, missing=gone)
    assert (item.function, item.cls, item.module, item.instance) == (None,) * 4
    assert not item.fixturenames
    assert not item.funcargs


@pytest.mark.parametrize(
    ("called", "when", "report", "words"),
    [
        (True, "call", ("failed", "[XPASS(strict)] known to lie"), "the test failed: [XPASS(strict)] known to lie"),
        (
            True,
            "call",
            ("passed", None),
            "the test failed: `bench` failed, and the test went on, so nothing was measured",
        ),
        (False, "call", ("passed", None), "the test never called `bench`, so nothing was measured"),
        (
            True,
            "call",
            ("xpassed", None),
            "the test failed: `bench` failed, and the test went on, so nothing was measured",
        ),
        (False, "call", ("xpassed", None), "the test never called `bench`, so nothing was measured"),
        (True, "setup", ("failed", "too slow"), "the test failed: too slow"),
        (True, "teardown", ("failed", "too slow"), "the test failed: too slow"),
    ],
    ids=[
        "mended",
        "caught",
        "forgotten",
        "caught under a mark",
        "forgotten under a mark",
        "fixture that calls bench",
        "fixture that ends",
    ],
)
def test_the_record_says_how_a_test_failed_that_raised_nothing(
    tmp_path: Path,
    called: bool,
    when: Literal["setup", "call", "teardown"],
    report: tuple[Literal["passed", "xpassed", "failed"], str | None],
    words: str,
) -> None:
    """pytest fails a strict xfail that passes, and the plugin what a test keeps to itself. Fixtures promise as well.

    A plain mark of xfail made a test green that never called `bench`.
    """
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    said: list[tuple[str, ...]] = []
    state = cast(Any, State.__new__(State))
    state.objected = set()
    state._session = SimpleNamespace(
        folder=tmp_path,
        decided=lambda *_: None,
        leave_out=lambda *_: None,
        object_to=lambda *row: said.append(row),
    )
    item = item_of(case)
    item.path, item.nodeid = tmp_path / "test_m.py", "test_m.py::test_it"
    item.user_properties = []
    item.config = SimpleNamespace(option=SimpleNamespace(), stash={STATE: state})
    item.stash[CASE] = used = cast(Any, SimpleNamespace(called=called, ended=True, broken=None, decision=None))
    if report[0] == "failed":
        used.decision = SimpleNamespace(fails=False)
    call = pytest.CallInfo.from_call(lambda: None, when)
    hook = pytest_runtest_makereport(item, call)
    next(hook)
    outcome: Literal["passed", "failed"] = "failed" if report[0] == "failed" else "passed"
    made = pytest.TestReport(item.nodeid, ("test_m.py", 1, "test_it"), {}, outcome, report[1], when)
    if report[0] == "xpassed":
        made.wasxfail = "known to be slow"
    with pytest.raises(StopIteration) as ended:
        hook.send(made)
    assert ended.value.value.failed
    assert not hasattr(made, "wasxfail"), "pytest would count it as expected"
    assert said == [("m", case.id, words)]
    assert state.objected == {f"m/{case.id}"}


@pytest.mark.parametrize("fails", [True, False])
def test_a_case_with_a_baseline_whose_test_ended_without_a_report_makes_the_run_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """As where another plugin runs it in a way of its own: no test of the run is red."""
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    item = item_of(case)
    item.path, item.nodeid = tmp_path / "test_m.py", "test_m.py::test_it"
    told: list[tuple[object, ...]] = []

    def leave_out(*words: object) -> Decision:
        told.append(words)
        verdict = Verdict.MISSING if fails else Verdict.SKIPPED
        return Decision(a_result({}, suite="m", case_id=case.id), (), verdict, fails)

    config = SimpleNamespace(option=SimpleNamespace(), pluginmanager=SimpleNamespace(get_plugin=lambda _: None))
    state = State(cast(Any, config), Plan())
    state._items["m", case.id] = item
    known = {"decided": lambda *_: None, "leave_out": leave_out, "finish": lambda **_: (None, None), "notice": ""}
    state._session = cast(Any, SimpleNamespace(**known))
    monkeypatch.setattr(State, "_settings", lambda _: SimpleNamespace(gates=False))
    assert state.finish(complete=False) is False
    assert told == [], "an interrupted run has not come to it"
    assert state.finish(complete=True) is fails
    assert told == [(case, "m", item.nodeid, "its test ended before it was measured")]
    assert state.undone == (f"1 cases have a baseline and were not measured: {case.id}" if fails else None)


@pytest.mark.parametrize(
    ("called", "fails", "objected"),
    [(True, True, False), (True, False, True), (False, False, False)],
    ids=["its verdict fails", "its body failed", "it was not measured"],
)
def test_a_fixture_that_fails_beside_something_else_is_said_by_pytest_alone(
    tmp_path: Path, called: bool, fails: bool, objected: bool
) -> None:
    """The record has the reason that came first, and a regression stays one."""
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    state = SimpleNamespace(objected={f"m/{case.id}"} if objected else set(), failed=None)
    item = item_of(case)
    item.path, item.nodeid = tmp_path / "test_m.py", "test_m.py::test_it"
    item.config = SimpleNamespace(option=SimpleNamespace(), stash={STATE: state})
    decision = SimpleNamespace(fails=fails, message="got worse") if called else None
    item.stash[CASE] = SimpleNamespace(called=called, ended=True, broken=None, decision=decision)
    hook = pytest_runtest_makereport(item, pytest.CallInfo.from_call(lambda: None, "teardown"))
    next(hook)
    report = pytest.TestReport(item.nodeid, ("test_m.py", 1, "test_it"), {}, "failed", "too slow", "teardown")
    with pytest.raises(StopIteration):
        hook.send(report)
    assert report.longreprtext == "too slow"


def test_what_a_mended_test_is_told_when_it_is_run_again_is_no_failure_that_its_mark_expects(tmp_path: Path) -> None:
    """As plugins do that run again what failed: `bench` then raises what was said of the strict xfail that passed."""
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    state = cast(Any, SimpleNamespace(objected={f"m/{case.id}"}, xfailed=set()))
    item = item_of(case)
    item.config = SimpleNamespace(option=SimpleNamespace(), stash={STATE: state})
    item.stash[MARKED] = True
    for suite, expected in (("m", False), ("n", True)):  # of the other nothing was said before
        item.path, item.nodeid = tmp_path / f"test_{suite}.py", f"test_{suite}.py::test_it"
        decision = SimpleNamespace(fails=True, message=f"{case.id}: the test failed: [XPASS(strict)] known to lie")
        item.stash[CASE] = SimpleNamespace(called=True, ended=True, broken=None, decision=decision)
        report = pytest.TestReport(item.nodeid, (f"test_{suite}.py", 1, "test_it"), {}, "skipped", None, "call")
        report.wasxfail = "known to lie"
        hook = pytest_runtest_makereport(item, pytest.CallInfo.from_call(lambda: None, "call"))
        next(hook)
        with pytest.raises(StopIteration):
            hook.send(report)
        assert hasattr(report, "wasxfail") is expected
        assert report.skipped is expected
        assert ("XPASS(strict)" in report.longreprtext) is not expected
    assert state.xfailed == {f"n/{case.id}"}


def test_a_red_case_counts_once_where_its_test_is_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a plugin that does so with what failed: the terminal counted a case for each attempt."""
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    item = item_of(case)
    item.path, item.nodeid = tmp_path / "test_m.py", "test_m.py::test_it"
    decision = Decision(a_result({"size": [4.0]}, suite="m", case_id=case.id), (), Verdict.REGRESSED, True, "larger")
    made: list[Decision] = []

    def measured(*_: object) -> Decision:
        made.append(decision)
        return decision

    state = State(cast(Any, None), Plan())
    monkeypatch.setattr(state, "_make_ahead", lambda: None)
    monkeypatch.setattr(state, "_address", lambda *_: None)
    known = {"decided": lambda *_: made[0] if made else None, "measure": measured}
    monkeypatch.setattr(state, "_session", SimpleNamespace(**known))
    item.config = SimpleNamespace(stash={STATE: state}, getini=lambda _: False)
    item.user_properties = [("seed", 3)]
    marks: list[pytest.Mark] = []
    item.iter_markers = lambda name: marks
    for _ in range(3):
        with pytest.raises(Regression, match="larger"):
            Bench.of(item)(case)
        marks.append(pytest.mark.xfail.mark)
    assert len(made) == 1
    assert state.progress._done == 1
    assert item.stash[MARKED] is False, "what an attempt adds comes after the verdict"
    names = [name for name, _ in item.user_properties]
    assert names[:2] == ["seed", "harness.case"]
    assert len(set(names)) == len(names), "other tools are told once"


def test_nothing_is_measured_in_a_forked_process() -> None:
    """As with --forked of pytest-forked: each result stayed in its process, and every case was called unmeasured."""
    state = State(cast(Any, None), Plan())
    item: Any = SimpleNamespace(config=SimpleNamespace(stash={STATE: state}), stash={})
    assert Bench.of(item)
    state.process += 1
    with pytest.raises(pytest.fail.Exception, match="can't be measured in a forked process"):
        Bench.of(item)


def test_no_case_is_measured_beside_another_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with --parallel-threads of pytest-run-parallel: a case had two results, measured beside each other."""
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    item = item_of(case)
    item.path, item.nodeid = tmp_path / "test_m.py", "test_m.py::test_it"
    item.user_properties = []
    decision = Decision(a_result({"size": [4.0]}, suite="m", case_id=case.id), (), Verdict.UNCHANGED, False)
    made: list[Decision] = []
    begun, over = threading.Event(), threading.Event()

    def measured(*_: object) -> Decision:
        made.append(decision)
        begun.set()
        assert len(made) > 1 or over.wait(60)
        return decision

    state = State(cast(Any, None), Plan())
    monkeypatch.setattr(state, "_make_ahead", lambda: None)
    monkeypatch.setattr(state, "_address", lambda *_: None)
    monkeypatch.setattr(state, "_session", SimpleNamespace(decided=lambda *_: None, measure=measured))
    item.config = SimpleNamespace(stash={STATE: state})
    used = Bench.of(item)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(used, case)
        try:
            assert begun.wait(60)
            with pytest.raises(pytest.fail.Exception, match=BESIDE_THREADS):
                used(case)
        finally:
            over.set()
        assert other.result().result is decision.result, "a thread of one's own may measure"
    assert made == [decision]


def test_that_another_thread_measures_is_no_failure_that_a_mark_expects(tmp_path: Path) -> None:
    """One that passes by now was green under a strict mark: its second thread failed, as if the mark expected that."""
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    said: list[str] = []
    state = SimpleNamespace(objected=set(), xfailed=set(), failed=lambda item, case, reason: said.append(reason))
    item = item_of(case)
    item.path, item.nodeid = tmp_path / "test_m.py", "test_m.py::test_it"
    item.config = SimpleNamespace(option=SimpleNamespace(), stash={STATE: state})
    decision = SimpleNamespace(fails=False)
    item.stash[CASE] = SimpleNamespace(called=True, ended=True, broken=None, decision=decision)

    def body() -> None:
        pytest.fail(BESIDE_THREADS, pytrace=False)

    hook = pytest_runtest_makereport(item, pytest.CallInfo.from_call(body, "call"))
    next(hook)
    report = pytest.TestReport(item.nodeid, ("test_m.py", 1, "test_it"), {}, "skipped", None, "call")
    report.wasxfail = "known to lie"
    with pytest.raises(StopIteration):
        hook.send(report)
    assert report.failed
    assert report.longreprtext == BESIDE_THREADS
    assert not hasattr(report, "wasxfail"), "pytest would count it as expected"
    assert said == [f"the test failed: Failed: {BESIDE_THREADS}"], "the record has it"


def test_a_case_that_is_gone_is_one_row_where_its_test_is_run_again(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    settings = Settings(tmp_path, tmp_path / "baselines", tmp_path / "reports", tmp_path / ".harness", Plan())
    session = Session(settings, [cpu], 1, {}, lambda _: None)
    gone = Comparison("m", "tiny_onnx/reference/cpu", "case", Verdict.MISSING, "it is gone")
    name = f"{gone.suite}/{gone.case_id}"
    test: Any = MissingCase.from_parent(request.session, name=name, run=session, missing=(gone, None))
    for _ in range(3):
        with pytest.raises(Regression, match="it is gone"):
            test.runtest()
    assert test.user_properties == [("harness.verdict", "missing")]
    assert session.comparisons() == (gone,)
    assert read_run(session.folder).comparisons == (gone,), "the journal has it once as well"


def test_a_budget_is_for_the_cases_that_will_be_measured(tmp_path: Path) -> None:
    model = tiny_onnx_model(tmp_path)
    here, there = Case(model, as_pipeline(reference), cpu), Case(model, as_pipeline(reference), cuda)
    lacking = Case(model, as_pipeline(partless), cpu)
    items = {(name, case.id): item_of(case) for name in "ab" for case in (here, there, lacking)}
    items["c", here.id] = item_of(here, pytest.mark.skip)
    items["d", here.id] = item_of(here, pytest.mark.xfail(run=False))
    absent = SimpleNamespace(available=lambda: "no such thing here")
    state = cast(Any, SimpleNamespace(_hardware={"cpu": cpu, "cuda": absent}, _items=items))
    assert State._measurable(state) == {("a", here.id), ("b", here.id)}


@pytest.mark.parametrize(
    ("technique", "hardware", "said", "baseline", "verdict"),
    [
        (partless, cpu, {"required": ("cpu",)}, False, "skipped"),
        (partless, cpu, {"required": ("cpu",)}, True, "missing"),
        (partless, cpu, {"allowed": ("partless",)}, True, "skipped"),
        (reference, cpu(threads=9999), {"required": ("cpu.9999threads",)}, False, "error"),
        (reference, cpu(threads=9999), {}, True, "skipped"),
    ],
    ids=["package", "package and baseline", "allowed", "required hardware", "hardware and baseline"],
)
def test_a_case_that_can_not_run_here_is_red_where_it_is_missed_or_its_hardware_required(
    tmp_path: Path, technique: Technique, hardware: Hardware, said: dict[str, Any], baseline: bool, verdict: str
) -> None:
    """Nothing held that absent hardware, and what the user allowed, misses no case that is still in its suite."""
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(technique), hardware)
    folders = (tmp_path / name for name in ("baselines", "reports", ".harness"))
    settings = Settings(tmp_path, *folders, Plan(), **said)
    if baseline:
        Store(settings.baselines).write(a_portable({"size": 4.0}, suite="it", case_id=case.id))
    session = Session(settings, [hardware], 1, {"it": ()}, lambda _: None, cases=[case])
    address = Address(str(tmp_path), "test_it.py", "test_it", case.id)
    decision = session.measure(case, address, "it", "id")
    assert decision.verdict == verdict
    assert decision.fails is (verdict != "skipped")


def test_a_case_that_may_be_unavailable_is_skipped_although_it_has_a_baseline(folder: Folder) -> None:
    """Or every run on a machine without its part would be red."""
    folder.suite(
        "test_lacking",
        """
@technique(takes="onnx", requires=lambda hardware, form: "needs a part that nobody has")
def partless(deployment):
    return deployment

@grid(model=[tiny], technique=[partless], hardware=[cpu])
def test_it(case, bench):
    bench(case)
""",
    )
    case_id = "tiny_onnx/partless/cpu"
    known = a_portable(
        {"size": 4.0}, suite="lacking", case_id=case_id, nodeid=f"suites/test_lacking.py::test_it[{case_id}]"
    )
    Store(folder.path / "baselines").write(known)
    code, text = folder.pytest("suites", "--allow-unavailable=partless")
    assert code == 1, text
    assert "1 skipped" in text
    assert "nothing was measured" in text, "which is why the run is red"
    (row,) = folder.run()["comparisons"]
    assert row["verdict"] == "skipped"


def session_that_requires(hardware: Hardware, folder: Path, *cases: Case) -> Session:
    settings = Settings(
        folder, folder / "baselines", folder / "reports", folder / ".harness", Plan(), mode="off", history="off",
        required=(hardware.name,),
    )  # fmt: skip
    return Session(settings, [cpu, hardware], len(cases), {"it": ()}, lambda _: None, cases=cases)


def test_required_hardware_that_is_absent_is_red_whatever_left_its_case_out(tmp_path: Path) -> None:
    """A machine that had lost its GPU was green: suites skip their GPU cases where torch finds none."""
    hardware = cpu(threads=9999)
    model = tiny_onnx_model(tmp_path)
    there, here = (Case(model, as_pipeline(reference), one) for one in (hardware, cpu))
    session = session_that_requires(hardware, tmp_path, there, here)
    assert not session.leave_out(here, "it", "id", "marked").fails
    decision = session.leave_out(there, "it", "id", "marked")
    assert decision.fails
    assert decision.verdict is Verdict.ERROR
    assert f"{there.id}: --require-hardware={hardware.name}, and it is not here: " in decision.message
    run, said = session.finish(complete=True)
    assert said == f"--require-hardware={hardware.name}, and it is not here: {hardware.available()}"
    assert run.environment.state["undone"] == said


def test_what_makes_a_run_red_although_no_case_is_stands_in_its_record_and_reports(tmp_path: Path) -> None:
    """A GPU's tests may not even be collected where torch finds none: every report of a red run was green."""
    hardware = cpu(threads=9999)
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    session = session_that_requires(hardware, tmp_path, case)
    session.leave_out(case, "it", "id", "marked")
    _, said = session.finish(complete=True)
    assert said is not None
    assert read_run(session.folder).environment.state["undone"] == said
    text = (session.folder / "summary.md").read_text(encoding="utf-8")
    assert text.startswith(f"## ❌ The run failed.\n\n{escape(f'0 of 1 cases were measured; {said}.')}\n")


@pytest.mark.parametrize(
    ("complete", "option", "red"), [(True, "", True), (True, "collectonly", False), (False, "", False)]
)
def test_required_hardware_is_missed_where_no_case_at_all_was_collected(complete: bool, option: str, red: bool) -> None:
    """A file of the GPU's cases may skip itself whole where there is none, beside tests that pass."""
    missing = cpu(threads=9999)
    asked = SimpleNamespace(getoption=lambda _: ["cpu", missing.name], option=SimpleNamespace(**{option: True}))
    state = State(cast(Any, asked), Plan())
    state._hardware[missing.name] = missing
    assert state.finish(complete=complete) is red
    said = f"--require-hardware={missing.name}, and it is not here: {missing.available()}"
    assert state.undone == (said if red else None)
    assert state.run is None, "there is nothing to write"


def test_required_hardware_is_missed_where_none_of_its_cases_is_selected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that was on a grid was refused as on none, where -k or the usual selection left its cases out."""
    missing = cpu(threads=9999)
    required = [missing.name]
    asked = SimpleNamespace(
        getoption=lambda _: required, option=SimpleNamespace(collectonly=False), args=[str(tmp_path)], stash={},
        invocation_params=SimpleNamespace(dir=tmp_path),
    )  # fmt: skip
    asked.stash[STATE] = state = State(cast(Any, asked), Plan())
    monkeypatch.setattr(state, "_settings", lambda: SimpleNamespace(gates=False))
    no_session = cast(Any, None)
    with pytest.raises(SuiteError, match=f"--require-hardware={missing.name}: no grid has it; there is cpu, cuda$"):
        state.collected(no_session, [])
    axes: dict[str, Any] = {"model": [tiny_onnx_model(tmp_path)], "technique": [reference]}
    seen = SimpleNamespace(
        function=grid(**axes, hardware=[cpu, cpu(threads=2), missing])(lambda case, bench: bench(case)),
        cls=None, fixturenames=["case", "bench"], config=asked, parametrize=lambda *_: None,
        definition=SimpleNamespace(get_closest_marker=lambda _: None),
    )  # fmt: skip
    harness.plugin.pytest_generate_tests(cast(Any, seen))  # a name of this module would be a hook of its own
    assert state.collected(no_session, []) == []
    assert [*state._hardware] == ["cpu", "cuda", missing.name], "what is not required is none of the run's"
    assert state.finish(complete=True)
    assert state.undone == f"--require-hardware={missing.name}, and it is not here: {missing.available()}"
    required[0] = "edge"
    with pytest.raises(SuiteError, match=f"there is cpu, cuda, {missing.name}, cpu.2threads$"):
        state.collected(no_session, [])


def test_required_hardware_that_goes_away_during_a_run_is_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU does that falls off the bus, or that a container loses."""
    board = FakeBoard("GPU-aaaa")
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([board]))
    monkeypatch.setattr(sys.modules["harness.hardware.cuda"], "_torch_without_cuda", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cuda)
    settings = Settings(
        tmp_path, tmp_path / "baselines", tmp_path / "reports", tmp_path / ".harness", Plan(), required=("cuda",)
    )
    session = Session(settings, [cuda], 1, {"it": ()}, lambda _: None, cases=[case])
    assert session.absent == {}
    board.failing = {"nvmlDeviceGetName": pynvml.NVML_ERROR_GPU_IS_LOST}
    decision = session.measure(case, Address(str(tmp_path), "test_it.py", "test_it", case.id), "it", "id")
    assert decision.verdict is Verdict.ERROR
    assert decision.fails
    assert "--require-hardware=cuda, and it is not here: the NVIDIA driver failed" in decision.message


def test_a_suite_of_one_name_that_another_folder_accepted_first_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They never share a run, as of two teams with a job each, and shared one baseline without a word."""
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    first, second = (f"{team}/suites/test_ops.py" for team in "ab")
    for file in (first, second):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("def test_it(case, bench): ...\n")
    known = a_portable({"size": 4.0}, suite="ops", case_id=case.id, nodeid=f"{first}::test_it")
    Store(tmp_path / "baselines").write(known)
    names = iter("abcd")
    monkeypatch.setattr(harness.session, "run_id", lambda: next(names))

    class Broken:
        def measure(
            self, case: Case, address: Address, suite: str, nodeid: str, metrics: object
        ) -> tuple[Result, None]:
            return Result(suite, case.id, nodeid, *case.words, Outcome.FAILED, "it was measured"), None

    def decided(mode: str) -> tuple[str, str]:
        """What is said of the second file's case, and where a mark skips it."""
        folders = (tmp_path / name for name in ("baselines", "reports", ".harness"))
        settings = Settings(tmp_path, *folders, Plan(), mode=mode, history="off")
        session = Session(settings, [cpu], 1, {"ops": ()}, lambda _: None, cases=[case], measuring=lambda _: Broken())
        address = Address(str(tmp_path), second, "test_it", case.id)
        made = session.measure(case, address, "ops", f"{second}::test_it")
        return made.message, session.leave_out(case, "ops", f"{second}::test_it", "marked").message

    for mode in ("compare", "update"):
        for message in decided(mode):
            assert f"{second} and {first} would both be the suite 'ops'" in message
            assert "it was measured" not in message
    assert "it was measured" in decided("off")[0]
    (tmp_path / first).unlink()
    measured, skipped = decided("compare")
    assert "it was measured" in measured, "the file has moved"
    assert "it has a baseline" in skipped


def test_a_run_is_of_the_sources_that_its_cases_are_measured_of(tmp_path: Path) -> None:
    settings = Settings(tmp_path, tmp_path / "baselines", tmp_path / "reports", tmp_path / ".harness", Plan())
    session = Session(settings, [cpu], 1, {}, lambda _: None)
    began = session._head.environment.state["sources"]
    (tmp_path / "out.json").touch()
    session.make_ahead([], lambda ready, wanted: None)
    now = session._head.environment.state["sources"]
    assert now == session._cache.sources[:16]
    assert now != began
    assert read_run(session.folder).environment.state["sources"] == now, "which is all that is left where it is killed"


def test_nothing_is_made_ahead_for_what_a_mark_leaves_out(tmp_path: Path) -> None:
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    xfail = pytest.mark.xfail
    marks = {
        "skipped": pytest.mark.skip(reason="not today"),
        "left": xfail(run=False, reason="ends the process"),
        "known": xfail(strict=True),
        "open": xfail(False, run=False, reason="only there"),  # pytest decides when its test comes
    }
    items = {(suite, case.id): item_of(case, mark) for suite, mark in marks.items()}
    made: list[str] = []
    session = SimpleNamespace(make_ahead=lambda wanted, _: made.extend(suite for *_, suite in wanted), notice="")
    progress = SimpleNamespace(ahead=None, ahead_done=lambda: None, note=lambda _: None)
    state = SimpleNamespace(_items=items, _address=lambda *_: None, session=session, progress=progress)
    State._make_ahead(cast(Any, state))
    assert made == ["known", "open"]


def test_a_part_of_a_file_has_the_metrics_of_all_its_grids(tmp_path: Path) -> None:
    model = tiny_onnx_model(tmp_path)
    cost = Metric("cost", "USD", "lower", tolerance=0.25, derive=lambda values: 1 / values["throughput"])
    wider = resolve()["latency.p50"].with_tolerance(0.5)

    @grid(model=[model], technique=[reference], hardware=[cpu], metrics=[cost, wider])
    def test_a(case, bench): ...

    @grid(model=[model], technique=[onnxruntime], hardware=[cpu])
    def test_b(case, bench): ...

    @grid(model=[model], technique=[onnxruntime], hardware=[cpu], metrics=[cost.with_tolerance(0.1)])
    def test_otherwise(case, bench): ...

    def metrics_of_b(**tests: object) -> Any:
        """What holds where only the case of `test_b` is selected, in a file with these tests."""
        item = item_of(Case(model, as_pipeline(onnxruntime), cpu))
        item.path, item.nodeid = tmp_path / "test_m.py", "test_m.py::test_b"
        module = SimpleNamespace(obj=SimpleNamespace(**tests), istestfunction=lambda _, name: name.startswith("test"))
        item.getparent = lambda _: module
        state = cast(Any, SimpleNamespace(_files={}, _items={}, _reserved=set(), _hardware={}, _chosen={}, _own={}))
        State._select(state, item, {})
        return state._own

    assert metrics_of_b(test_a=test_a, test_b=test_b) == {"m": (cost, wider)}
    assert metrics_of_b(test_b=test_b) == {"m": ()}
    assert metrics_of_b(_test_old=test_a, shared=test_otherwise, test_b=test_b) == {"m": ()}, "these are no tests"
    with pytest.raises(SuiteError, match="metric cost differs between two grids of suite 'm'; give both the same"):
        metrics_of_b(test_a=test_a, test_b=test_otherwise)


def test_a_budget_is_not_for_what_a_resumed_run_takes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_onnx_model(tmp_path)
    cases = [Case(model, as_pipeline(one), cpu) for one in (reference, onnxruntime)]
    keys = {("it", case.id) for case in cases}
    names = iter(("2026-05-04_100830_1", "2026-05-04_100830_2"))
    monkeypatch.setattr(harness.session, "run_id", lambda: next(names))

    def begun(*, resume: bool) -> Session:
        folders = (tmp_path / name for name in ("baselines", "reports", ".harness"))
        settings = Settings(tmp_path, *folders, Plan(), mode="off", budget=60.0, resume=resume)
        return Session(settings, [cpu], len(cases), {"it": ()}, lambda _: None, measurable=keys, cases=cases)

    first = begun(resume=False)
    assert cast(Any, first)._measurer.budget.cases == 2
    first.journal.append(Result("it", cases[0].id, "id", *cases[0].words, Outcome.COMPLETED), ())
    assert cast(Any, begun(resume=True))._measurer.budget.cases == 1


@pytest.mark.parametrize(
    ("ended", "stop", "fail"),
    [(True, "", ""), (True, "", "stopping after 1 failures"), (True, "enough", ""), (False, "", "")],
)
def test_a_run_that_pytest_was_told_to_stop_is_not_complete(ended: bool, stop: str, fail: str) -> None:
    """With -x its exit code is that of any red run, and pytest.exit is given one."""
    told: list[bool] = []

    def finish(*, complete: bool) -> bool:
        told.append(complete)
        return False

    config = SimpleNamespace(stash={STATE: SimpleNamespace(finish=finish, ended=ended)})
    run: Any = SimpleNamespace(config=config, shouldstop=stop, shouldfail=fail)
    harness.plugin.pytest_sessionfinish(run, pytest.ExitCode.TESTS_FAILED)
    assert told == [ended and not (stop or fail)]
