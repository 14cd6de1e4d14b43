"""The default and the full selection of cases: what is left to `-m full` is neither run nor missed without it."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import harness.plugin
from harness.baseline.store import Store
from harness.cli.collecting import collect
from harness.plugin.selection import folders_of, is_filtered, is_report, only_shows, sees_all
from tests.folder import PLAN, Folder
from tests.judge_samples import a_portable

DEFAULT, RESERVED = "tiny_onnx/reference/cpu", "tiny_onnx/batched:2/cpu"
SUITE = """
@grid(model=[tiny], technique=[reference], hardware=[cpu])
def test_it(case, bench):
    bench(case)

def test_ordinary():
    pass
"""
MORE = """
@pytest.mark.full
@grid(model=[tiny], technique=[{technique}], hardware=[cpu])
def test_more(case, bench):
    bench(case)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    folder.suite("test_both", SUITE + MORE.format(technique="batched(2)"))
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A project whose full selection has baselines."""
    folder = Folder(tmp_path_factory.mktemp("kept"))
    folder.suite("test_both", SUITE + MORE.format(technique="batched(2)"))
    code, text = folder.pytest("suites", *PLAN, "-m", "full", "--baseline=update", "--reason", "start")
    assert code == 0, text
    assert measured(folder) == {DEFAULT, RESERVED}
    return folder


def missing(folder: Folder) -> set[str]:
    return {c["case_id"] for c in folder.run()["comparisons"] if c["verdict"] == "missing"}


def measured(folder: Folder) -> set[str]:
    return {result["case_id"] for result in folder.run()["results"]}


def test_the_default_selection_misses_nothing_of_the_full_one_and_the_full_one_misses_all(
    folder: Folder, kept: Folder
) -> None:
    shutil.copytree(kept.path / "baselines", folder.path / "baselines")
    _, text = folder.pytest("suites", *PLAN)
    run = folder.run()
    assert measured(folder) == {DEFAULT}
    assert not missing(folder)
    assert (run["filtered"], run["reserved"]) == (False, [f"both/{RESERVED}"])
    assert run["environment"]["state"]["selected"] == "suites"
    assert "1 deselected" in text
    assert "1 more are left to the full selection" in (folder.path / "reports/latest/index.html").read_text()
    # A case that is gone is due in both selections.
    folder.suite("test_both", SUITE)
    for selection in ((), ("-m", "full")):
        code, _ = folder.pytest("suites", *PLAN, *selection)
        assert code == 1
        assert missing(folder) == {RESERVED}
        assert not folder.run()["filtered"]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("suites", "-k", "tiny_onnx"), {DEFAULT}),
        (("suites", "-m", "full and not default"), {RESERVED}),
        (("suites", "-m", "not skip"), {DEFAULT, RESERVED}),
        (("suites/test_both.py::test_more",), {RESERVED}),
    ],
    ids=["part", "rest", "other", "named"],
)
def test_what_is_selected(folder: Folder, arguments: tuple[str, ...], found: set[str]) -> None:
    """Hardware that is required may be that of cases which are not: left to the full selection, or of other tests."""
    more = MORE.format(technique="batched(2)")
    elsewhere = more.replace("test_more", "test_elsewhere").replace("[cpu]", "[cpu(threads=2)]")
    folder.suite("test_both", SUITE + more + elsewhere)
    required = ("--require-hardware=cpu", "--require-hardware=cpu.2threads")
    code, text = folder.pytest(*arguments, "--collect-only", "-q", "--strict-markers", *required)
    assert code == 0, text
    assert {case for case in (DEFAULT, RESERVED) if f"[{case}]" in text} == found


def test_what_only_shows_is_no_run(folder: Folder, pytestconfig: pytest.Config) -> None:
    for option in ("--collect-only", "--fixtures", "--fixtures-per-test", "--setup-plan", "--setup-only", "--quick"):
        asked = SimpleNamespace(option=pytestconfig._parser.parse_known_args([option]))
        assert only_shows(asked) is (option != "--quick")  # type: ignore[arg-type]
    folder.suite("test_both", SUITE.replace("[reference]", "[reference, bf16]"))  # which is skipped in its setup
    code, text = folder.pytest("suites", "--setup-only")
    assert code == 0, text
    assert not (folder.path / "reports").exists()


def test_a_case_of_both_selections_is_refused_in_the_default_one(folder: Folder) -> None:
    folder.suite("test_both", SUITE + MORE.format(technique="reference"))
    code, text = folder.pytest("suites")
    assert code == 4
    assert f"has the case {DEFAULT} twice" in text
    assert not (folder.path / "reports").exists()


def asked_for(here: Path, **options: str) -> Any:
    """The configuration of a pytest that was called in a folder, for all that is in it."""
    invocation = SimpleNamespace(dir=here)
    return SimpleNamespace(
        args=[str(here)],
        invocation_params=invocation,
        option=SimpleNamespace(**options),
        pluginmanager=pytest.PytestPluginManager(),
    )


@pytest.mark.parametrize(
    ("marks", "filtered"), [("", False), ("full", False), ("full and not default", True), ("not slow", True)]
)
def test_a_part_of_the_full_selection_is_a_part(tmp_path: Path, marks: str, filtered: bool) -> None:
    asked = asked_for(tmp_path, keyword="", markexpr=marks)
    assert is_filtered(asked, deselected=False) is filtered


def test_what_was_selected_is_found_from_where_pytest_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conftest or a fixture that changed the working directory hid each case that was gone."""
    (tmp_path / "ml" / "suites").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "ml" / "suites")
    asked = asked_for(tmp_path / "ml")
    asked.args, asked.rootpath = ["suites", str(tmp_path / "other")], tmp_path
    assert folders_of(asked) == {"ml/suites", "other"}
    assert not sees_all(asked), "there is no such folder"
    asked.args.pop()
    assert sees_all(asked)
    asked.pluginmanager.register(object(), "TestmonSelect")
    assert not sees_all(asked), "it collects no file without a change, and says nothing"


def test_what_a_downloaded_run_brings_is_not_collected(tmp_path: Path) -> None:
    """pytest ran its conftest and imported its tests, which may be a stranger's."""
    folder, run = Folder(tmp_path), tmp_path / "reports" / "ci"
    run.mkdir(parents=True)
    (run / "conftest.py").write_text("raise RuntimeError('a stranger was here')\n")
    (run / "test_evil.py").write_text("def test_evil():\n    pass\n")
    (tmp_path / "test_own.py").write_text("def test_own():\n    pass\n")
    code, text = folder.pytest(".", "--collect-only", "-q")
    assert code == 0, text
    assert "test_own.py::test_own" in text
    assert "evil" not in text


@pytest.mark.parametrize(
    ("reports", "asked", "path", "ignored"),
    [
        ("reports", ".", "reports", True),
        ("reports", "suites", "reports/ci/conftest.py", True),
        ("reports", ".", "reports.py", False),
        ("reports", "reports/ci", "reports/ci/test_it.py", False),
        ("reports", "reports/ci/test_it.py::test_it", "reports/ci/conftest.py", False),
        ("out/runs", ".", "out/runs/ci", True),
        ("out/runs", ".", "reports/ci", True),
        ("reports/calibrate", ".", "reports/ci/conftest.py", True),
        ("out/runs", "reports/ci", "reports/ci/test_it.py", False),
        (".", ".", "test_it.py", False),
        ("..", ".", "test_it.py", False),
        ("suites", ".", "suites/test_it.py", False),
        ("package", ".", "package/test_it.py", False),
    ],
)
def test_tests_are_ignored_in_the_folders_of_reports_alone(
    tmp_path: Path, reports: str, asked: str, path: str, ignored: bool
) -> None:
    """Not where one holds the project, its suites or what was asked for, or is one of the project's packages. What was
    downloaded to reports/ci was collected wherever runs go elsewhere.
    """
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    config = asked_for(tmp_path)
    config.args, config.rootpath = [asked], tmp_path
    config.getoption, config.getini = {"reports": reports}.get, {"harness_suites": ["suites"]}.get
    assert is_report(tmp_path / path, config) is ignored


def test_commands_find_the_cases_of_both(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.path)
    assert {found.case_id for found in collect(["suites"])} == {DEFAULT, RESERVED}


UNSAID = """
def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if "batched:2" not in item.name]
"""
LATE = """
import pytest

@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    left = [item for item in items if "batched" in item.name]
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=left[:1])
"""


def test_what_is_deselected_late_or_without_a_word_is_not_due(folder: Folder, kept: Folder) -> None:
    """Plugins that share tests out over machines drop those of the others, and say nothing."""
    folder.suite("test_both", SUITE.replace("[reference]", "[reference, batched(2), batched(3), batched(4)]"))
    shutil.copytree(kept.path / "baselines", folder.path / "baselines")
    (folder.path / "conftest.py").write_text(UNSAID)
    (folder.path / "suites" / "conftest.py").write_text(LATE)
    _, text = folder.pytest("suites", *PLAN)
    run = folder.run()
    assert measured(folder) == {DEFAULT}
    assert not missing(folder)
    assert (run["filtered"], run["expected"]) == (True, 1)
    assert "[1/1]" in text


def test_what_is_deselected_and_is_no_test_is_no_case() -> None:
    """pytest-testmon says how many tests it left out with objects that have a `config` and nothing else."""
    harness.plugin.pytest_deselected(cast(Any, [SimpleNamespace(config=None)]))  # a name of this module would be a hook


def test_what_failed_last_is_run_alone(folder: Folder, kept: Folder) -> None:
    """pytest keeps all tests of a file that was given, and deselects those that passed when all else is collected."""
    suite = SUITE.replace("[reference]", "[reference, batched(2)]")
    shutil.copytree(kept.path / "baselines", folder.path / "baselines")
    cached = ("suites/test_both.py", "-p", "cacheprovider", *PLAN)
    folder.suite("test_both", suite.replace("bench(case)", "assert 'batched' in case.id"))
    folder.pytest(*cached, "-k", "reference")
    folder.suite("test_both", suite)
    _, text = folder.pytest(*cached, "--lf")
    assert "2 deselected" in text
    assert measured(folder) == {DEFAULT}
    assert not missing(folder)
    assert "not measured" not in text


GONE, SLOW = "tiny_onnx/batched:3/cpu", "tiny_onnx/batched:4/cpu"
PART = """
from harness import Metric

cost = Metric("cost", "USD", "lower", tolerance=0.25, derive=lambda values: 1 / values["throughput"])

@pytest.mark.slow
@grid(model=[tiny], technique=[batched(4)], hardware=[cpu], metrics=[cost])
def test_slow(case, bench):
    bench(case)
"""


def test_a_part_that_was_chosen_from_all_misses_what_is_gone(folder: Folder) -> None:
    folder.suite("test_both", SUITE.replace("[reference]", "[reference, batched(3)]") + PART)
    code, text = folder.pytest("suites", *PLAN, "--baseline=update", "--reason", "start")
    assert code == 0, text
    times = list((folder.path / "baselines" / "both").rglob("times.*.json"))
    assert len(times) == 3
    assert all('"cost"' in file.read_text() for file in times), "metrics hold for the whole file"
    # What can't be seen whole is not searched, nor is a run begun for tests that are none of cases.
    folder.suite("test_both", SUITE + PART)
    seen = folder.run()["id"]
    code, text = folder.pytest("suites", *PLAN, "--ignore=suites/test_both.py")
    assert code == 5, text
    assert folder.run()["id"] == seen
    # A filter that stands in the settings must not end the search for good.
    (folder.path / "pytest.ini").write_text("[pytest]\naddopts = -m 'not slow'\nmarkers = slow: takes long\n")
    code, text = folder.pytest("suites", *PLAN)
    assert code == 1, text
    assert missing(folder) == {GONE}, "the metrics of the grid that is left out are known"
    assert measured(folder) == {DEFAULT}
    assert folder.run()["filtered"]
    assert "selected" not in folder.run()["environment"]["state"]
    assert "cost" in {one["metric"] for one in folder.result(DEFAULT)["measurements"]}
    for part in (("-k", "ordinary"), ("--deselect=suites/test_both.py::test_it",)):
        code, text = folder.pytest("suites", *PLAN, *part)
        assert code == 1, text
        assert missing(folder) == {GONE}
    # A baseline that is damaged is a matter of the runs that its case is in.
    (slow,) = (folder.path / "baselines" / "both").glob("tiny_onnx-batched-4*/portable.json")
    slow.write_text("{")
    (gone,) = (folder.path / "baselines" / "both").glob("tiny_onnx-batched-3*")
    shutil.rmtree(gone)
    seen = folder.run()["id"]
    code, text = folder.pytest("suites", *PLAN, "-k", "ordinary")
    assert code == 0, text
    assert folder.run()["id"] == seen


def test_a_damaged_baseline_is_no_matter_of_other_tests(folder: Folder) -> None:
    """Each run of ordinary tests was red, and took the place of the latest run, which --resume goes on with."""
    store = Store(folder.path / "baselines")
    file = store.write(a_portable({"size": 4.0}, suite="both", case_id=DEFAULT, nodeid="suites/test_both.py::test_it"))
    file.write_text("{")
    (folder.path / "tests").mkdir()
    (folder.path / "tests" / "test_x.py").write_text("def test_x():\n    pass\n")
    code, text = folder.pytest("tests")
    assert code == 0, text
    assert not (folder.path / "reports").exists()
