"""Tests of pytest-benchmark's as cases: measured in launches, judged, and no way around the gate."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest
import pytest_benchmark
from pytest_benchmark import plugin, utils

import harness
from harness.cli.main import main
from harness.errors import MeasurementError, Regression, SuiteError, WrongTreeError
from harness.grid import ATTRIBUTE, Grid
from harness.hardware import cpu
from harness.measure import timed_test as measuring
from harness.measure.budget import Budget
from harness.measure.timed_test import TestMeasurer, a_call
from harness.measure.tree import Tree
from harness.plan import Plan
from harness.plugin import pytest_runtest_makereport
from harness.plugin.benching import CASE, MARKED
from harness.plugin.state import STATE, State
from harness.plugin.timed_test import OLDEST, TEST, check_asked, check_installed, open_gate, tell, timed_test, unjudged
from harness.records import Launch, Outcome, Verdict
from harness.settings import Decision
from harness.timed_test import TimedTest
from harness.worker import timed_test as worker
from harness.worker.in_turns import ROUND_SECONDS, Conversation, iterations_for
from harness.worker.protocol import (
    EXPECTED,
    TIMED_TEST,
    UNREACHED,
    Failure,
    Load,
    Loaded,
    Settled,
    Stopped,
    Turn,
    TurnDone,
)
from tests.folder import PLAN as SHORT
from tests.folder import Folder
from tests.judge_samples import a_result

PLAN = (*SHORT, "--plan", "screen=2")

SORTING = """
import random
import pytest

EXTRA = 0  # planted


@pytest.fixture
def numbers(size):
    return random.Random(1).sample(range(size * 10), size)


def work(values):
    for _ in range(EXTRA):
        sorted(values)
    return sorted(values)


@pytest.mark.parametrize("size", [2000])
def test_sort(benchmark, numbers):
    benchmark.extra_info["size"] = len(numbers)
    assert benchmark(work, numbers) == sorted(numbers)
    assert benchmark.stats.stats.median < 1
"""

OTHERS = """
class TestThings:
    @pytest.mark.benchmark(group="small", disable_gc=True)
    def test_tiny(self, benchmark):
        assert __import__("os").environ["ONEDNN_DEFAULT_FPMATH_MODE"] == "BF16", "it computes as its author has it"
        assert benchmark(lambda: 1 + 1) == 2


def test_in_place(benchmark):
    seen = []
    values = random.Random(1).sample(range(10_000), 2000)

    def undo(values):
        assert values == sorted(values)
        seen.append(len(values))

    benchmark.pedantic(list.sort, setup=lambda: ((list(values),), {}), teardown=undo, rounds=2, warmup_rounds=3)
    assert len(seen) > 10
    assert benchmark.stats["rounds"] >= 5


def test_plain():
    pass


def test_forgets(benchmark):
    pass


def test_wrong(benchmark):
    assert benchmark(lambda: 3) == 4


def test_breaks(benchmark):
    calls = []

    def work():
        calls.append(1)
        assert len(calls) < 500, "enough of it"

    benchmark(work)


def test_ends(benchmark):
    benchmark(__import__("os")._exit, 0)


def test_twice(benchmark):
    benchmark(sum, [1])
    benchmark(sum, [2])


@pytest.mark.xfail(reason="known to be wrong")
def test_expected(benchmark):
    assert benchmark(lambda: 3) == 4


@pytest.mark.xfail(raises=ValueError, reason="known to raise")
def test_raises(benchmark):
    raise ValueError("as ever")


@pytest.mark.xfail(strict=True, reason="was wrong once")
def test_mended(benchmark):
    assert benchmark(lambda: 3) == 3


def test_gives_up(benchmark):
    pytest.xfail("needs AVX512")


def test_skips(benchmark):
    pytest.skip("not today")


@pytest.mark.skip(reason="never")
def test_marked(benchmark):
    benchmark(sum, [1])


@pytest.mark.full
def test_reserved(benchmark):
    benchmark(sum, [1])
"""


def project(path: Path, text: str, ini: str = "") -> Folder:
    """A project with one suite file of such tests."""
    folder = Folder(path)
    (path / "suites" / "test_sorting.py").write_text(text)
    (path / "pytest.ini").write_text(f"[pytest]\n{ini}")
    return folder


def by_test(folder: Folder) -> dict[str, dict[str, Any]]:
    return {result["model"]: result for result in folder.run()["results"]}


def test_names() -> None:
    test = TimedTest("suites/test_x.py::TestThings::test_a[10/b c-é]")
    assert test.id == "TestThings.test_a-10-b-c/pytest-benchmark/cpu"
    assert test.words == tuple(test.id.split("/"))


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ("1", "test_a-1"),
        ("-1", "test_a--1"),
        ("1-1", "test_a-1-1"),
        ("1--1", "test_a-1--1"),
        ("-0.5", "test_a--0.5"),
        ("1e-05", "test_a-1e-05"),
        ("a-1", "test_a-a-1"),
        ("-a", "test_a-a"),
    ],
)
def test_the_sign_of_a_number_is_in_its_name(parameters: str, name: str) -> None:
    assert TimedTest(f"suites/test_x.py::test_a[{parameters}]").name == name


@pytest.mark.parametrize("seconds", [1e-9, 3e-8, 1e-6, 7e-6, 2.4e-5, 5e-5, 1.0])
def test_a_round_is_long_enough_and_hardly_longer(seconds: float) -> None:
    iterations = iterations_for(seconds)
    assert iterations == 1 or iterations * seconds >= ROUND_SECONDS * (1 - 1e-9)
    assert iterations == 1 or iterations * seconds < 2.5 * ROUND_SECONDS


def test_times_of_rounds_become_those_of_calls() -> None:
    of_rounds = Launch(
        "screen", 3, 2.0, None, {"candidate": (0.01, 0.02), "anchor": (0.3,)}, 1.0, 0.1, 1.0, latency={"p50": 0.015},
        against=1.1, within={"anchored": 0.01},
    )  # fmt: skip
    of_calls = a_call(of_rounds, 100)
    assert of_calls.anchored == 0.02
    assert of_calls.samples == {"candidate": (0.0001, 0.0002), "anchor": (0.3,)}
    assert of_calls.latency == {"p50": 0.00015}
    assert (of_calls.against, of_calls.within) == (1.1, {"anchored": 0.01}), "a ratio of equal rounds is one of calls"
    assert a_call(of_rounds, 1) is of_rounds


def a_test(test: bool = True, *marks: pytest.Mark, **options: bool) -> Any:
    """What is asked of a collected item before anything is measured."""
    known = {mark.name: mark for mark in marks}
    config = SimpleNamespace(getoption=lambda name: options.get(name, False))
    stash = {TEST: TimedTest("test_x.py::test_x")} if test else {}
    return SimpleNamespace(stash=stash, get_closest_marker=known.get, config=config)


def collected(folder: Path, *fixtures: str, on_grid: bool = False, **options: object) -> Any:
    """What is asked of an item that pytest collects in a folder of suites."""
    config = SimpleNamespace(
        rootpath=folder,
        inipath=None,
        getini=lambda _: ["suites"],
        getoption=lambda name: {"against_with": (), **options}.get(name, False),
        option=SimpleNamespace(),
        invocation_params=SimpleNamespace(dir=folder),
        pluginmanager=SimpleNamespace(hasplugin="pytest-benchmark".__eq__),
    )
    return SimpleNamespace(
        nodeid="suites/test_x.py::test_x",
        path=folder / "suites" / "test_x.py",
        fixturenames=fixtures,
        function=SimpleNamespace(**{ATTRIBUTE: Grid((), (), ())} if on_grid else {}),
        get_closest_marker=lambda _: None,
        config=config,
        stash={},
    )


@pytest.mark.parametrize("on_grid", [False, True])
def test_a_fixture_of_ones_own_that_is_called_bench_takes_no_test_out_of_the_gate(
    tmp_path: Path, on_grid: bool
) -> None:
    """Its tests came to `benchmark` by it, and were judged by nobody. On a grid it is the harness's."""
    found = timed_test(collected(tmp_path, "bench", "benchmark", on_grid=on_grid))
    assert found == (None if on_grid else TimedTest("suites/test_x.py::test_x"))


def test_a_test_that_asks_for_benchmark_while_it_runs_is_red(tmp_path: Path) -> None:
    """It was green, and judged by nobody."""
    folder = project(tmp_path, "def test_late(request):\n    request.getfixturevalue('benchmark')(sum, [1])\n")
    code, text = folder.pytest("suites")
    assert code == 1, text
    assert "suites/test_sorting.py::test_late asks for benchmark while it runs, so it is no case" in text


def test_a_test_may_ask_for_benchmark_while_it_runs_where_it_is_to_be_no_case(tmp_path: Path) -> None:
    """Elsewhere, on a grid, and where benchmarks are left out."""
    elsewhere = collected(tmp_path)
    elsewhere.path = tmp_path / "tests" / "test_x.py"
    check_asked(elsewhere)
    check_asked(collected(tmp_path, on_grid=True))
    check_asked(collected(tmp_path, benchmark_disable=True))
    check_asked(collected(tmp_path, benchmark_skip=True))
    with pytest.raises(pytest.fail.Exception, match="asks for benchmark while it runs"):
        check_asked(collected(tmp_path))


@pytest.mark.parametrize(
    ("root", "file", "words"),
    [
        ("repo", "repo/ml/suites/a/test_x.py", "^1 test of .* in ml/suites, .*; set harness_suites = ml/suites$"),
        ("repo/suites", "repo/suites/test_x.py", r" in \., not among .*/repo/suites: .*; set harness_suites = \.$"),
        (
            "repo",
            "other/suites/test_x.py",
            "/other/suites, not among .*/repo: .*; run pytest with --rootdir that holds",
        ),
        ("repo", "repo/suites/test_x.py", None),
        ("repo", "repo/tests/test_x.py", None),
        ("suites", "suites/tests/test_x.py", None),
        ("suites/repo", "suites/repo/tests/test_x.py", None),
    ],
)
def test_tests_in_what_only_looks_like_a_folder_of_suites_are_told(
    tmp_path: Path, root: str, file: str, words: str | None
) -> None:
    """Folders of suites are relative to pytest's rootdir: who stood elsewhere had no case, and no word of it."""
    (tmp_path / "suites" / "suites").mkdir(parents=True)
    item = collected(tmp_path / root, "benchmark")
    item.path = tmp_path / file
    said = unjudged(item.config, [item, collected(tmp_path / root)])
    assert re.search(words, said) if words else said == ""
    item.get_closest_marker = {"skip": pytest.mark.skip.mark}.get
    assert unjudged(item.config, [item]) == "", "it is not run, as with --benchmark-skip"


@pytest.mark.parametrize(
    ("here", "place", "options", "ends"),
    [
        ("ml", "suites", {"baseline": "strict"}, True),
        (".", "suites", {"baseline": "strict"}, False),
        (".", "tests", {"baseline": "strict"}, True),
        ("ml", "suites", {"baseline": "strict", "benchmark_disable": True}, False),
        ("ml", "suites", {}, False),
    ],
    ids=["beside them", "elsewhere", "without suites", "benchmarks are disabled", "no verdicts by name"],
)
def test_tests_that_are_no_cases_end_a_gate_that_was_called_beside_them(
    tmp_path: Path, here: str, place: str, options: dict[str, object], *, ends: bool
) -> None:
    """From elsewhere they may rightly be ordinary ones, which were an error, and so were those that measure nothing."""
    (tmp_path / place).mkdir(exist_ok=True)
    item = collected(tmp_path, "benchmark", **options)
    item.path = tmp_path / "ml" / "suites" / "test_x.py"
    item.config.invocation_params.dir = tmp_path / here
    assert bool(open_gate(item.config, [item])) is ends
    assert unjudged(item.config, [item])


def test_ordinary_tests_in_another_folder_that_is_called_suites_end_no_gate(tmp_path: Path) -> None:
    """A project with suites at their place had an error for its benchmarks in tests/suites."""
    folder = Folder(tmp_path)
    (tmp_path / "tests" / "suites").mkdir(parents=True)
    text = "def test_sum(benchmark):\n    assert benchmark.pedantic(sum, ([1],)) == 1\n"
    (tmp_path / "tests" / "suites" / "test_sort.py").write_text(text)
    code, text = folder.pytest("tests", "--baseline=strict")
    assert code == 0, text
    assert "\n1 test of pytest-benchmark in tests/suites, not among the folders of suites of " in text


def test_a_gate_over_tests_that_are_no_cases_is_an_error(tmp_path: Path) -> None:
    """It was green, and judged nothing. Settings above the folder that one stands in make theirs the rootdir. A run
    that was begun for the cases beside them took the place of the latest one, which --resume goes on with.
    """
    folder = project(tmp_path / "repo" / "ml", "def test_sum(benchmark):\n    assert benchmark(sum, [1]) == 1\n")
    folder.suite(
        "test_grid",
        "@grid(model=[tiny], technique=[reference], hardware=[cpu])\ndef test_it(case, bench):\n    bench(case)\n",
    )
    (folder.path / "pytest.ini").rename(tmp_path / "repo" / "pytest.ini")
    said = "1 test of pytest-benchmark in ml/suites, not among the folders of suites of "
    code, text = folder.pytest("suites", "--baseline=strict")
    assert code == 4, text
    assert f"ERROR: {said}" in text
    assert not (tmp_path / "repo" / "reports").exists()
    code, text = folder.pytest("suites/test_sorting.py", "--benchmark-disable")
    assert code == 0, text
    assert f"\n{said}" in text
    code, text = folder.pytest("suites/test_sorting.py", "--baseline=strict", "-n1")
    assert code == 1, text
    assert said in text, "each process of pytest-xdist says it of its own"


@pytest.mark.parametrize(("found", "old"), [("5.1.0", True), ("5.2.3", True), ("5.3.0", False), ("5.10.0", False)])
def test_a_pytest_benchmark_that_is_too_old_is_refused_once(
    found: str, old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 5.2 `pedantic` takes no `teardown`, and before 5.3 its JSON is no path: every test was red for itself."""
    monkeypatch.setattr(pytest_benchmark, "__version__", found)
    said = rf"5\.3 or newer, and {found} is installed: pip install -U pytest-benchmark"
    with pytest.raises(SuiteError, match=said) if old else contextlib.nullcontext():
        check_installed([a_test(False), a_test()])
    check_installed([a_test(False)])


def test_a_pytest_benchmark_that_is_too_old_is_refused_only_where_it_is_to_measure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`--benchmark-skip` puts a mark on every such test."""
    monkeypatch.setattr(pytest_benchmark, "__version__", "5.1.0")
    check_installed([a_test(True, pytest.mark.skip.mark), a_test(benchmark_disable=True)])
    with pytest.raises(SuiteError, match="is installed"):
        check_installed([a_test(benchmark_disable=True, benchmark_enable=True)])


def test_one_oldest_version_is_named() -> None:
    root = Path(__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"pytest-benchmark>={OLDEST}" in project["optional-dependencies"]["dev"]
    page = (root / "docs" / "pytest-benchmark.md").read_text(encoding="utf-8")
    assert f"pytest-benchmark ({OLDEST} or newer)" in page


def test_every_kind_of_test_and_every_way_to_go_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project(tmp_path, SORTING + OTHERS)
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16")
    code, text = folder.pytest("suites", "--baseline=off", *SHORT, "--junitxml", "junit.xml", "-rsx")
    assert code == 1
    assert "6 failed, 4 passed, 3 skipped, 1 deselected, 2 xfailed" in text
    # Where there is no terminal, each case has a line, and nothing is shown while it goes on.
    assert "\r" not in text
    assert "\x1b" not in text
    assert "launch 1" not in text
    assert "[ 1/14] measured     test_sort-2000/pytest-benchmark/cpu" in text
    found = by_test(folder)

    sort = found["test_sort-2000"]
    assert sort["outcome"] == "completed"
    assert (sort["suite"], sort["technique"], sort["hardware"]) == ("sorting", "pytest-benchmark", "cpu")
    assert sort["nodeid"] == "suites/test_sorting.py::test_sort[2000]"
    assert sort["facts"]["extra.size"] == 2000
    assert sort["facts"]["runtime"].startswith("pytest-benchmark ")
    (launch,) = sort["launches"]
    assert launch["samples"].keys() == {"candidate", "anchor"}
    assert launch["rounds"] >= 3
    measured = {one["metric"]: one for one in sort["measurements"]}
    assert len(measured["latency.p50"]["relative"]) == 1
    assert measured["latency.p50"]["estimate"]["point"] > 0 < measured["throughput"]["estimate"]["point"]

    tiny = found["TestThings.test_tiny"]
    assert tiny["facts"]["group"] == "small"
    assert tiny["facts"]["iterations"] >= 100
    (p50,) = (one for one in tiny["measurements"] if one["metric"] == "latency.p50")
    assert p50["estimate"]["point"] < 5e-6, "the time of a call, not that of its round"
    assert found["test_in_place"]["outcome"] == "completed"
    assert found["test_in_place"]["facts"]["iterations"] == 1

    assert "never called it" in found["test_forgets"]["reason"]
    assert "assert 3 == 4" in found["test_wrong"]["reason"]
    assert "enough of it" in found["test_breaks"]["reason"]
    assert "Fixture can only be used once" in found["test_twice"]["reason"]
    assert found["test_ends"]["outcome"] == "premature_exit"
    assert found["test_skips"]["outcome"] == "unavailable"
    assert found["test_skips"]["reason"] == "not today"
    assert (found["test_marked"]["outcome"], found["test_marked"]["reason"]) == ("unavailable", "never")
    # Marks and calls of xfail end as pytest ends them, and what passes under a strict mark is red.
    known = {name.split("/")[1] for name in folder.run()["environment"]["state"]["xfailed"].splitlines()}
    assert known == {"test_expected", "test_raises"}
    assert "as its xfail expects: known to raise" in found["test_raises"]["reason"]
    assert found["test_mended"]["launches"]
    assert "[XPASS(strict)] was wrong once" in text
    assert (found["test_gives_up"]["outcome"], found["test_gives_up"]["reason"]) == (
        "unavailable",
        "xfail: needs AVX512",
    )
    assert "test_plain" not in found, "what has no fixture is no case"
    assert "test_reserved" not in found
    assert folder.run()["reserved"] == ["sorting/test_reserved/pytest-benchmark/cpu"]
    names = {case.get("name") for case in ET.parse(tmp_path / "junit.xml").iter("testcase")}
    assert "test_sort[2000]" in names


@pytest.mark.alone
def test_the_gate(tmp_path: Path) -> None:
    """A first run, one that changed nothing, a slow-down that is planted, and a test that is gone."""
    folder = project(tmp_path, SORTING)
    plan = ("--plan", "screen=2", "--plan", "confirm=5", "--plan", "seconds=0.1", "--plan", "repeats=0")
    code, text = folder.pytest("suites", *plan, "--baseline=update", "--reason", "first figures")
    assert code == 0, text
    kept = sorted(path.name for path in (tmp_path / "baselines" / "sorting").rglob("*.json"))
    assert len(kept) == 2
    assert "Nothing was judged" in text

    code, text = folder.pytest("suites", *plan)
    (row,) = (one for one in folder.run()["comparisons"] if one["metric"] == "latency.p50")
    assert row["verdict"] in ("unchanged", "inconclusive", "improved")
    if row["verdict"] == "inconclusive":  # on a noisy machine; then the run says that it has decided nothing
        assert code == 1
        assert "nothing was decided" in text
    else:
        assert code == 0, text
    assert "relative to the anchor" in row["reason"]

    file = tmp_path / "suites" / "test_sorting.py"
    file.write_text(SORTING.replace("EXTRA = 0", "EXTRA = 2"))
    code, text = folder.pytest("suites", *plan)
    assert code == 1, text
    (row,) = (one for one in folder.run()["comparisons"] if one["metric"] == "latency.p50")
    assert row["verdict"] == "regressed"
    assert "test_sort-2000/pytest-benchmark/cpu: regressed" in text
    assert "harness accept --case" in text

    file.write_text(SORTING.replace("benchmark(work", "(lambda f, *a: f(*a))(work").replace("benchmark", "tmp_path"))
    code, text = folder.pytest("suites", *plan)
    assert code == 1
    assert "missing case" in text
    file.write_text(SORTING)
    code, text = folder.pytest("suites", *plan, "--benchmark-disable")
    assert code == 1
    assert "benchmarks are disabled (--benchmark-disable); it has a baseline" in text
    (row,) = folder.run()["comparisons"]
    assert (row["metric"], row["verdict"]) == ("case", "missing")


@pytest.mark.alone
def test_in_turns_with_another_commit(tmp_path: Path) -> None:
    """Which lacks the settings of today: its pytest was told to read a file that is not there."""
    folder = project(tmp_path, SORTING)
    (tmp_path / "pytest.ini").unlink()
    folder.commit("good")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    file = tmp_path / "suites" / "test_sorting.py"
    file.write_text(
        SORTING.replace("EXTRA = 0", "EXTRA = 1") + "\n\ndef test_new(benchmark):\n    benchmark(sum, [1])\n"
    )
    plan = ("--plan", "screen=2", "--plan", "confirm=5", "--plan", "seconds=0.1")
    code, text = folder.pytest("suites", "--against", "HEAD", *plan)
    assert code == 1, text
    rows = {(one["case_id"].split("/")[0], one["metric"]): one for one in folder.run()["comparisons"]}
    assert rows["test_sort-2000", "latency.p50"]["verdict"] == "regressed"
    assert rows["test_new", "case"]["verdict"] == "incomparable"
    assert "at HEAD it is absent" in rows["test_new", "case"]["reason"]
    launch = by_test(folder)["test_sort-2000"]["launches"][0]
    assert launch["samples"].keys() == {"candidate", "previous"}
    assert launch["against"] > 1.5


def test_what_a_configuration_says_of_other_runs_does_not_reach_a_launch(tmp_path: Path) -> None:
    """Selections, files to write and other processes are the outer run's; how to time is for both."""
    ini = (
        "addopts = --junitxml=junit.xml --benchmark-json=mine.json --benchmark-disable-gc -k sort -m full -ra\n"
        "    --basetemp=.temporary\n"
        "log_file = mine.log\n"
        "harness_suites = other\n"
    )
    folder = project(tmp_path, SORTING, ini)
    (tmp_path / "suites").rename(tmp_path / "other")
    (tmp_path / "other" / "test_gc.py").write_text("""
import gc

def test_sort_gc(benchmark, tmp_path):
    assert tmp_path.parents[1].name == ".temporary"
    states = set()
    benchmark.pedantic(lambda: states.add(gc.isenabled()))
    assert states == {False, True}
""")
    (tmp_path / "conftest.py").write_text("""
import logging
import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session):
    if session.config.pluginmanager.hasplugin("harness-launch"):
        result = yield
        session.testsfailed += 1  # as pytest-cov does where too little is covered
        return result
    logging.getLogger().warning("said outside of launches")
    return (yield)
""")
    kept = tmp_path / ".temporary" / "kept"
    kept.parent.mkdir()
    kept.touch()
    code, text = folder.pytest("other", "--baseline=off", *SHORT)
    assert code == 0, text
    assert {result["outcome"] for result in by_test(folder).values()} == {"completed"}
    names = {case.get("name") for case in ET.parse(tmp_path / "junit.xml").iter("testcase")}
    assert names == {"test_sort[2000]", "test_sort_gc"}
    assert list(kept.parent.iterdir()) == [kept], "each launch had a folder of its own there"
    assert "said outside of launches" in (tmp_path / "mine.log").read_text()


XPASS = "[XPASS(strict)] was wrong once"


@pytest.mark.parametrize(
    ("marked", "error", "longrepr", "word", "answer"),
    [
        (True, None, XPASS, None, None),
        (False, None, XPASS, None, Failure("failed", f"the test failed in its call: {XPASS}", XPASS)),
        (True, ValueError("as ever"), "as ever", "known", Failure("failed", f"{EXPECTED}known", "as ever")),
        (False, pytest.xfail.Exception("known"), "XFailed: known", "known", Failure("unavailable", "xfail: known")),
        (False, pytest.skip.Exception("no"), "Skipped: no", None, Failure("unavailable", "no")),
    ],
    ids=["a strict mark", "a strict mark that a fixture adds", "a mark", "a call", "a skip"],
)
def test_a_launch_tells_a_mark_that_expects_a_failure_from_a_call(
    marked: bool, error: BaseException | None, longrepr: str, word: str | None, answer: Failure | None
) -> None:
    """A mark is for the item outside to apply where it has it, and what calls `pytest.xfail()` is not measured."""

    def body() -> None:
        if error is not None:
            raise error

    launch = worker.Launch(Conversation(cpu, io.BytesIO(), io.BytesIO(), 1))
    launch.pytest_runtest_setup(cast(Any, SimpleNamespace(get_closest_marker={"xfail": marked or None}.get)))
    launch.pytest_runtest_makereport(pytest.CallInfo.from_call(body, "call"))
    outcome: Literal["failed", "skipped"] = "failed" if error is None else "skipped"
    report = pytest.TestReport("test_x.py::test_x", ("test_x.py", 1, "test_x"), {}, outcome, longrepr, "call")
    if word is not None:
        report.wasxfail = word
    launch.pytest_runtest_logreport(report)
    assert launch._problem == answer


@pytest.mark.parametrize(("when", "told"), [("setup", f"needs --runslow ({UNREACHED})"), ("call", "needs --runslow")])
def test_a_launch_that_skips_a_test_before_its_call_says_that_options_do_not_reach_it(
    when: Literal["setup", "call"], told: str
) -> None:
    """The reason asked for an option that was given, and for which the test outside was not skipped. What a fixture
    skips for another reason was told to put options into addopts as well.
    """
    assert UNREACHED.startswith("if an option of the command line decides that: none reaches a launch")
    launch = worker.Launch(Conversation(cpu, io.BytesIO(), io.BytesIO(), 1))
    skip = ("conftest.py", 3, "Skipped: needs --runslow")
    report = pytest.TestReport("test_x.py::test_x", ("test_x.py", 1, "test_x"), {}, "skipped", skip, when)
    launch.pytest_runtest_logreport(report)
    assert launch._problem == Failure("unavailable", told)


def test_a_subtest_that_skips_leaves_its_test_measured() -> None:
    """The whole case was unavailable. A subtest is told by its report's context."""
    launch = worker.Launch(Conversation(cpu, io.BytesIO(), io.BytesIO(), 1))
    report = pytest.TestReport("test_x.py::test_x", ("test_x.py", 1, "test_x"), {}, "skipped", "Skipped: no", "call")
    report.context = SimpleNamespace(msg="a part", kwargs={})
    launch.pytest_runtest_logreport(report)
    assert launch._problem is None
    report.outcome = "failed"
    launch.pytest_runtest_logreport(report)
    assert launch._problem is not None


def test_a_failure_that_a_plugin_counts_is_no_failure_of_a_test_that_was_measured() -> None:
    talk = Conversation(cpu, io.BytesIO(), io.BytesIO(), 1)
    launch = worker.Launch(talk)
    not_measured = launch.outcome(pytest.ExitCode.TESTS_FAILED)
    assert isinstance(not_measured, Failure)
    assert "exit code 1 and measured nothing" in not_measured.message
    talk.called = talk.stopped = True
    not_recorded = launch.outcome(pytest.ExitCode.TESTS_FAILED)
    assert isinstance(not_recorded, Failure)
    assert "no record of it" in not_recorded.message
    launch.pytest_benchmark_update_json({"benchmarks": [{"group": None, "extra_info": {}}]})
    assert isinstance(launch.outcome(pytest.ExitCode.TESTS_FAILED), Stopped)
    ended = launch.outcome(pytest.ExitCode.INTERNAL_ERROR)
    assert isinstance(ended, Failure)
    assert "exit code 3" in ended.message


@pytest.mark.parametrize("known", [0, 1])
def test_the_first_process_of_a_test_tells_what_its_calls_imported(known: int) -> None:
    """Launches are not asked again."""
    talk = Conversation(cpu, io.BytesIO(), io.BytesIO(), known)
    talk.called = talk.stopped = True
    launch = worker.Launch(talk)
    launch.pytest_benchmark_update_json({"benchmarks": [{"group": None, "extra_info": {}}]})
    ended = launch.outcome(pytest.ExitCode.OK)
    assert isinstance(ended, Stopped)
    assert ("pytest" in ended.modules) is (known == 0)


def test_no_coverage_is_taken_in_a_launch() -> None:
    """pytest-cov begins before conftests are loaded, and as the first that does anything then."""
    seen: list[object] = []

    class Coverage:
        @pytest.hookimpl(tryfirst=True)
        def pytest_load_initial_conftests(self, early_config: Any) -> None:
            seen.append(early_config.known_args_namespace.cov_source)

    plugins = pytest.PytestPluginManager()
    plugins.register(worker.Launch(Conversation(cpu, io.BytesIO(), io.BytesIO(), 1)))
    plugins.register(Coverage())
    config = SimpleNamespace(known_args_namespace=SimpleNamespace(cov_source=["src"]))
    plugins.hook.pytest_load_initial_conftests(early_config=config, parser=None, args=[])
    assert seen == [[]]


@pytest.mark.parametrize(("plugin", "timeout"), [("timeout", 0), ("pytest_timeout", 0), ("mine", 5)])
def test_a_time_limit_is_taken_back_where_it_is_pytest_timeouts(plugin: str, timeout: int) -> None:
    """A project's own option of that name says something else."""
    plugins = pytest.PytestPluginManager()
    plugins.register(worker.Launch(Conversation(cpu, io.BytesIO(), io.BytesIO(), 1)))
    plugins.register(object(), plugin)
    config = SimpleNamespace(option=SimpleNamespace(timeout=5), pluginmanager=plugins)
    plugins.hook.pytest_cmdline_main(config=config)
    assert config.option.timeout == timeout


def test_a_launch_forks_for_no_test() -> None:
    """As pytest-forked does where settings ask for it: the launch has no answer of what is measured there."""
    plugins = pytest.PytestPluginManager()
    plugins.register(worker.Launch(Conversation(cpu, io.BytesIO(), io.BytesIO(), 1)))
    config = SimpleNamespace(option=SimpleNamespace(forked=True), pluginmanager=plugins)
    plugins.hook.pytest_cmdline_main(config=config)
    assert not config.option.forked


def test_a_launch_runs_no_test_again() -> None:
    """As pytest-rerunfailures does in the outer run, where the answer stays the first."""
    launch = worker.Launch(Conversation(cpu, io.BytesIO(), io.BytesIO(), 1))
    for name in ("rerunfailures", "pytest_rerunfailures"):
        plugins = pytest.PytestPluginManager()
        plugins.register(object(), name)
        launch.pytest_configure(cast(Any, SimpleNamespace(pluginmanager=plugins)))
        assert not plugins.hasplugin(name)


def test_a_launch_keeps_its_test_where_tests_are_shared_out() -> None:
    """By position, of which a launch has one alone."""
    plugins = pytest.PytestPluginManager()
    plugins.register(worker.Launch(Conversation(cpu, io.BytesIO(), io.BytesIO(), 1)))
    second = SimpleNamespace(pytest_collection_modifyitems=lambda items: items.__delitem__(slice(0, None, 2)))
    plugins.register(second)
    for items, left in ((["test_a"], ["test_a"]), (["test_a", "test_b"], ["test_b"]), ([], [])):
        plugins.hook.pytest_collection_modifyitems(session=None, config=None, items=items)
        assert items == left


@pytest.mark.parametrize(
    ("config", "files", "options"),
    [
        ("pytest.ini", {"pytest.ini": "", "pyproject.toml": "[tool.pytest.ini_options]"}, ["-c", "pytest.ini"]),
        (
            "pytest.ini",
            {"pyproject.toml": "[tool.pytest.ini_options]", "tox.ini": "[pytest]"},
            ["-c", "pyproject.toml"],
        ),
        (
            "pytest.ini",
            {"pyproject.toml": "[project]", "tox.ini": "[tox]", "setup.cfg": "[tool:pytest]"},
            ["-c", "setup.cfg"],
        ),
        ("pytest.ini", {"pyproject.toml": "[project]"}, ["-c", os.devnull, "--confcutdir", "."]),
        ("pyproject.toml", {"pyproject.toml": "[project]", "pytest.ini": "[pytest]"}, ["-c", "pytest.ini"]),
        ("pyproject.toml", {"pyproject.toml": "[tool.pytest_env]", "pytest.ini": "[pytest]"}, ["-c", "pytest.ini"]),
        ("pyproject.toml", {"pyproject.toml": "[project]"}, ["-c", "pyproject.toml"]),
    ],
    ids=["the same", "another", "the last one", "none", "moved out of it", "a plugin's in it", "none in it"],
)
def test_a_tree_without_the_settings_of_today_has_its_own(
    tmp_path: Path, config: str, files: dict[str, str], options: list[str]
) -> None:
    """And never those of the working tree, in which it lies."""
    tree = tmp_path / ".harness" / "trees" / "abc"
    tree.mkdir(parents=True)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for name, text in files.items():
        (tree / name).write_text(text)
    known = {name: str(tree / name) for name in (*files, ".")}
    assert worker._settings(tree, config) == [known.get(option, option) for option in options]
    assert worker._settings(tree, "") == []


def test_settings_outside_of_the_project_reach_its_launches(tmp_path: Path) -> None:
    """With -c ../ci/pytest.ini --rootdir=. the pytest of a launch looked for settings by itself, and found none."""
    root, outside = tmp_path / "project", tmp_path / "ci" / "pytest.ini"
    outside.parent.mkdir()
    outside.write_text("[pytest]\n")
    item = collected(root, "benchmark")
    for file, config in (
        (outside, str(outside)),
        (Path(os.devnull), os.devnull),
        (root / "ci" / "pytest.ini", "ci/pytest.ini"),
        (None, ""),
    ):
        item.config.inipath = file
        assert timed_test(item) == TimedTest(item.nodeid, config)
    for config in (str(outside), os.devnull):
        assert worker._settings(root, config) == ["-c", config, "--confcutdir", str(root)]


@pytest.mark.parametrize("place", ["disk/new", "file/in", None])
def test_temporary_files_of_a_launch_lie_in_a_folder_of_its_own_where_settings_have_them(
    tmp_path: Path, place: str | None
) -> None:
    """Settings may name the disk that is timed. Where it can't be written, that is for tests that write there. Where
    they name none, launches would push out the three folders that pytest keeps of the user's own runs.
    """
    (tmp_path / "file").touch()
    seen: list[Path] = []

    class Run:
        def pytest_cmdline_main(self, config: Any) -> int:
            folder = Path(config.option.basetemp)
            if folder.parent.is_dir():
                (folder / "of the test").mkdir(parents=True)
            seen.append(folder)
            return 0

    plugins = pytest.PytestPluginManager()
    plugins.register(worker.Launch(Conversation(cpu, io.BytesIO(), io.BytesIO(), 1), str(tmp_path / "of the case")))
    plugins.register(Run())
    given = None if place is None else str(tmp_path / place)
    config = SimpleNamespace(option=SimpleNamespace(basetemp=given), pluginmanager=plugins)
    assert plugins.hook.pytest_cmdline_main(config=config) == 0
    (folder,) = seen
    assert folder == tmp_path / (place or "of the case") / f"launch-{os.getpid()}"
    assert not folder.exists()


def test_a_launch_whose_temporary_files_can_not_lie_anywhere_leaves_that_to_pytest() -> None:
    """It is no failure of a test that writes none."""
    plugins = pytest.PytestPluginManager()
    plugins.register(worker.Launch(Conversation(cpu, io.BytesIO(), io.BytesIO(), 1)))
    config = SimpleNamespace(option=SimpleNamespace(basetemp=None), pluginmanager=plugins)
    plugins.hook.pytest_cmdline_main(config=config)
    assert config.option.basetemp is None


def test_pytest_benchmark_is_told(tmp_path: Path) -> None:
    """Its table, its file and the hooks of a user's conftest have what the launches showed; the hooks run there too.

    Warnings are errors in this project. Hooks of reports find what the item of a test function has.
    """
    folder = project(tmp_path, SORTING, "filterwarnings = error\n")
    (tmp_path / "conftest.py").write_text("""
import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    report.description = str(item.function.__doc__)
    assert (item.originalname, item.callspec.id, item.cls, item.instance) == ("test_sort", "2000", None, None)
    assert item.module.EXTRA == 0
    assert "numbers" in item.fixturenames
    assert "page" not in item.funcargs
    return report


def pytest_benchmark_update_machine_info(machine_info):
    machine_info.pop("node")


def pytest_benchmark_update_json(config, output_json):
    output_json["mine"] = len(output_json["benchmarks"])
    output_json["of"] = output_json["commit_info"]["id"]
    if config.pluginmanager.hasplugin("harness-launch"):
        output_json["benchmarks"][0]["extra_info"]["place"] = "a launch"


def pytest_benchmark_group_stats(benchmarks):
    return [("my group", benchmarks)]
""")
    out = tmp_path / "out.json"
    code, text = folder.pytest("suites", "--baseline=off", *PLAN, f"--benchmark-json={out}")
    assert code == 0, text
    assert "benchmark 'my group': 1 tests" in text
    data = json.loads(out.read_text())
    assert (data["mine"], data["of"]) == (1, data["commit_info"]["id"])
    assert "node" not in data["machine_info"]
    assert data["machine_info"]["harness"]["cpu"]["kind"] == "cpu"
    (one,) = data["benchmarks"]
    assert (one["fullname"], one["param"]) == ("suites/test_sorting.py::test_sort[2000]", "2000")
    assert one["extra_info"] == {"size": 2000, "place": "a launch", "verdict": "measured", "launches": 2}
    launches = by_test(folder)["test_sort-2000"]["launches"]
    kept = [seconds for launch in launches for seconds in launch["samples"]["candidate"]]
    assert one["stats"]["data"] == pytest.approx(kept)
    assert main(["export", str(folder.path / "reports" / "latest"), "--output", str(out)]) == 0
    (exported,) = json.loads(out.read_text())["benchmarks"]
    assert exported["extra_info"] == exported["extra_info"] | one["extra_info"], "both say the same"
    assert exported["extra_info"]["latency.p50"] > 0


def test_pytest_benchmark_is_told_once_of_a_test_that_is_run_again() -> None:
    table = SimpleNamespace(benchmarks=[])
    config = SimpleNamespace(pluginmanager=SimpleNamespace(get_plugin=lambda _: table))
    item = SimpleNamespace(told=False, test=None, name="test_sort", nodeid="test_x.py::test_sort", config=config)
    decision = Decision(a_result({"latency.p50": [0.01]}, facts={"iterations": 1}), (), Verdict.REGRESSED, True)
    for _ in range(2):
        tell(cast(Any, item), decision)
    (told,) = table.benchmarks
    assert told.name == "test_sort"


def test_hooks_of_a_launch_find_what_pytest_benchmark_says_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "get_cpu_info", dict)
    monkeypatch.setattr("platform.processor", str)
    monkeypatch.setattr(utils, "in_any_parent", lambda name: False)
    launch = worker.Launch(Conversation(cpu, io.BytesIO(), io.BytesIO(), 1))
    found = launch.pytest_benchmark_generate_machine_info()
    assert found["cpu"].keys() >= {"arch", "brand_raw", "count", "flags"}
    assert {**found, "cpu": {}} == plugin.pytest_benchmark_generate_machine_info()
    assert {**launch.pytest_benchmark_generate_commit_info(), "project": "mine"} == utils.get_commit_info("mine")


def test_elsewhere_they_stay_what_they_are(tmp_path: Path) -> None:
    """Outside of the folders of suites the harness measures nothing, and writes nothing."""
    folder = Folder(tmp_path)
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "test_sorting.py").write_text(SORTING)
    out = tmp_path / "out.json"
    code, text = folder.pytest("checks", f"--benchmark-json={out}", "--benchmark-max-time=0.05")
    assert code == 0, text
    assert not (tmp_path / "reports").exists()
    (one,) = json.loads(out.read_text())["benchmarks"]
    assert one["stats"]["rounds"] >= 5


def test_nothing_is_timed_beside_other_processes(tmp_path: Path) -> None:
    """Nor is a case of a grid. Under a mark xfail it was green, as if it had failed as the mark expects."""
    folder = project(tmp_path, SORTING)
    folder.suite(
        "test_grid",
        "@grid(model=[tiny], technique=[reference, bf16], hardware=[cpu])\n"  # one is skipped by a mark
        "def test_it(case, bench):\n    bench(case)\n\n"
        "@pytest.mark.xfail(reason='known to be slow')\n"
        "@grid(model=[tiny], technique=[onnxruntime], hardware=[cpu])\n"
        "def test_known(case, bench):\n    bench(case)\n",
    )
    code, text = folder.pytest("suites", "-n1", *PLAN)
    assert code == 1
    assert "FAILED suites/test_sorting.py::test_sort[2000]" in text
    assert "ERROR suites/test_grid.py::test_it[tiny_onnx/reference/cpu]" in text
    assert "ERROR suites/test_grid.py::test_known[tiny_onnx/onnxruntime/cpu]" in text
    assert text.count("can't be timed under pytest-xdist") >= 3
    assert "1 failed, 1 skipped, 2 errors" in text
    assert not (folder.path / "reports").exists()


def test_what_is_left_out_beside_other_processes_is_not_red(tmp_path: Path) -> None:
    """--benchmark-disable leaves all of them out, and one with a mark that runs none was red under pytest-xdist."""
    mark = "@pytest.mark.xfail(run=False, reason='ends the process')\n"
    folder = project(tmp_path, f"import pytest\n\n\n{mark}def test_sum(benchmark):\n    benchmark(sum, [1])\n")
    code, text = folder.pytest("suites", "-n1", "--benchmark-disable")
    assert code == 0, text
    assert "1 xfailed" in text


@pytest.mark.parametrize("parameters", [("a b", "a-b"), ("<", "<=")])
def test_two_tests_with_one_name(parameters: tuple[str, str]) -> None:
    """Signs are no part of a name. The cure says how parameters get names."""
    state = cast(Any, SimpleNamespace(_files={}, _items={}, _reserved=set(), _hardware={}, _chosen={}, _own={}))
    for number, parameter in enumerate(parameters):
        test = TimedTest(f"suites/test_x.py::test_x[{parameter}]")
        item = SimpleNamespace(
            stash={TEST: test}, path=Path("suites/test_x.py"), nodeid=test.nodeid, getparent=lambda _: None
        )
        with pytest.raises(SuiteError, match=r"twice; .*ids=\[") if number else contextlib.nullcontext():
            State._select(state, cast(Any, item), {})


def test_a_test_of_the_wrong_tree_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be compared with itself: that is no fault of the other tree."""
    here, other = Tree(tmp_path), Tree(tmp_path / "other", revision="ab" * 20)

    def prepare(_: object, test: TimedTest, tree: Tree, folder: Path, temporary: str) -> dict[str, Any]:
        if tree is other:
            raise WrongTreeError("it imported the working tree's")
        return {"iterations": 1}

    monkeypatch.setattr(TestMeasurer, "_prepare", prepare)
    monkeypatch.setattr(TestMeasurer, "_sample", lambda _, result, *__: result)
    cache: Any = SimpleNamespace(tree=here, check_going_on=lambda _: None, check_unedited=lambda _: None)
    measurer = TestMeasurer(cache, other, Plan(), tmp_path, lambda *_: 0, lambda _: None, Budget())
    found, previous = measurer.measure(TimedTest("suites/test_x.py::test_sum"), "x", {})
    assert (found.outcome, previous) == (Outcome.INVALID, None)


class Slow:
    """A child whose test takes too long, once it has loaded."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> Slow:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, request: object) -> None:
        pass

    def reply(self, kind: type, deadline: float) -> Loaded:
        if kind is Loaded:
            return Loaded(0.1, harness.__file__)
        raise MeasurementError(f"preparing it: no answer within {deadline:g} s", outcome=Outcome.TIMEOUT)


def a_measurer(folder: Path) -> TestMeasurer:
    """One whose sources stay as they are."""
    cache: Any = SimpleNamespace(tree=Tree(folder), check_going_on=lambda _: None, check_unedited=lambda _: None)
    return TestMeasurer(cache, None, Plan(), folder, lambda *_: 0, lambda _: None, Budget())


@pytest.mark.parametrize("where", ["preparing it", "candidate arm"])
def test_a_test_whose_time_was_over_can_have_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """A slow fixture is no fault, and each launch sets it up."""

    def sample(*_: object, **__: object) -> None:
        raise MeasurementError("candidate arm: no answer within 120 s", outcome=Outcome.TIMEOUT)

    monkeypatch.setattr(measuring, "Child", Slow)
    monkeypatch.setattr(measuring, "sample", sample)
    if where == "candidate arm":
        monkeypatch.setattr(TestMeasurer, "_prepare", lambda *_: {"iterations": 1})
    found, _ = a_measurer(tmp_path).measure(TimedTest("suites/test_x.py::test_sum"), "x", {})
    assert found.outcome is Outcome.TIMEOUT
    assert found.reason == f"{where}: no answer within 120 s; if it needs longer: --plan deadline=480"


def test_a_test_that_its_launch_does_not_find_may_hang_on_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters that `--size` decides of have other names there. Another tree may simply lack it."""

    class Absent(Slow):
        def reply(self, kind: type, deadline: float) -> Loaded:
            raise MeasurementError("there is no such test", outcome=Outcome.ABSENT)

    monkeypatch.setattr(measuring, "Child", Absent)
    measurer, test = a_measurer(tmp_path), TimedTest("suites/test_x.py::test_sum[10]")
    found, _ = measurer.measure(test, "x", {})
    assert (found.outcome, found.reason) == (Outcome.ABSENT, f"there is no such test in its launch ({UNREACHED})")
    assert measurer._previous(test, found, Tree(tmp_path), tmp_path, "").reason == "there is no such test"


def test_the_first_process_makes_as_many_rounds_as_pytest_benchmark_at_least(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It made a single one, so that a test was red that asserts something of `benchmark.stats["rounds"]`."""
    turns: list[Turn] = []
    replies = {Loaded: Loaded(0.1, harness.__file__), Settled: Settled(1.0, 6, True), TurnDone: TurnDone((1,) * 5, 5)}

    class Asked(Slow):
        def ask(self, request: object) -> None:
            if isinstance(request, Turn):
                turns.append(request)

        def reply(self, kind: type, deadline: float) -> Any:
            return replies[kind]

        def stop(self, deadline: float) -> Stopped:
            return Stopped(1, {"iterations": 1})

    monkeypatch.setattr(measuring, "Child", Asked)
    a_measurer(tmp_path)._prepare(TimedTest("suites/test_x.py::test_sum"), Tree(tmp_path), tmp_path, "")
    assert turns == [Turn(0, 5)]


def test_what_ends_the_run_is_no_failure_of_a_test(tmp_path: Path) -> None:
    """A project's signal handler that calls pytest.exit failed the test in whose time it came, and the run went on."""
    measurer = a_measurer(tmp_path)
    cast(Any, measurer.cache).check_going_on = lambda _: pytest.exit("enough")
    with pytest.raises(pytest.exit.Exception, match="enough"):
        measurer.measure(TimedTest("suites/test_x.py::test_sum"), "x", {})


@pytest.mark.parametrize("there", [True, False])
def test_temporary_files_of_a_launch_that_is_killed_go_with_its_case(
    tmp_path: Path, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else would ever remove them. Where there can be no such folder, the test is measured all the same."""
    usual = tmp_path / "usual"
    if there:
        usual.mkdir()
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", str(usual))
    seen: list[str] = []

    class Killed(Slow):
        def ask(self, request: object) -> None:
            if isinstance(request, Load):
                served = worker.Served(**json.loads((Path(request.folder) / TIMED_TEST).read_text()))
                seen.append(served.temporary)
                if there:
                    Path(served.temporary, "launch-1").mkdir()

    monkeypatch.setattr(measuring, "Child", Killed)
    found, _ = a_measurer(tmp_path).measure(TimedTest("suites/test_x.py::test_sum"), "x", {})
    assert found.outcome is Outcome.TIMEOUT
    assert [Path(folder).parent for folder in seen] == ([usual] if there else [Path()])
    assert not there or list(usual.iterdir()) == []


@pytest.mark.parametrize(
    ("outcome", "reason", "called", "marked", "red"),
    [
        (Outcome.FAILED, f"{EXPECTED}known", True, True, False),
        (Outcome.FAILED, f"{EXPECTED}known", True, False, False),
        (Outcome.COMPLETED, "", True, True, True),
        (Outcome.COMPLETED, "", False, True, False),
        (Outcome.COMPLETED, "", False, False, True),
        (Outcome.UNAVAILABLE, "xfail: needs AVX512", False, True, True),
        (Outcome.CRASHED, "candidate arm: killed by SIGSEGV", False, True, True),
        (Outcome.FAILED, "its pytest ended with exit code 1 and measured nothing", False, True, True),
    ],
    ids=[
        "as its mark expects",
        "as a mark expects that it adds in its launch",
        "a call after the verdict",
        "a verdict that its mark expects",
        "a mark after the verdict",
        "a skip of its own",
        "a crash",
        "a strict mark, and benchmark never called",
    ],
)
def test_a_mark_excuses_what_failed_and_not_what_was_not_measured(
    tmp_path: Path, outcome: Outcome, reason: str, called: bool, marked: bool, red: bool
) -> None:
    """What a mark expects is what pytest sees of the test: no crash, and no test that leaves before it is measured."""
    test = TimedTest("suites/test_m.py::test_it")
    state = SimpleNamespace(objected=set(), xfailed=set())
    decision = SimpleNamespace(fails=True, message="red", result=SimpleNamespace(outcome=outcome, reason=reason))
    used = SimpleNamespace(called=True, ended=True, broken=None, decision=decision)
    config = SimpleNamespace(option=SimpleNamespace(), stash={STATE: state})
    stash = {TEST: test, CASE: used, MARKED: marked}
    item: Any = SimpleNamespace(stash=stash, path=tmp_path / "test_m.py", config=config)

    def body() -> None:
        raise pytest.xfail.Exception("known") if called else Regression("red")

    hook = pytest_runtest_makereport(item, pytest.CallInfo.from_call(body, "call"))
    next(hook)
    report = pytest.TestReport(test.nodeid, ("test_m.py", 1, "test_it"), {}, "skipped", None, "call")
    report.wasxfail = "known"
    with pytest.raises(StopIteration):
        hook.send(report)
    assert report.failed is red
    assert state.xfailed == (set() if red else {f"m/{test.id}"})
