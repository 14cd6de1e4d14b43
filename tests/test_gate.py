"""What makes a case red that has no result, and the words that say so."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from harness.baseline.store import Store, folder_of
from harness.comparing import Nothing, WithBaselines
from harness.due import damaged_is_due
from harness.gate import gate, gone, left_out, shared_suite, undone, without_case
from harness.plan import Plan
from harness.records import Comparison, Outcome, Run, Verdict
from harness.settings import Against, Settings
from tests.cli_runs import a_run
from tests.judge_samples import CASE, ENVIRONMENT, a_portable, a_result

GONE = "digits/bf16/cpu"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The baselines of a case and of one that is gone."""
    store = Store(tmp_path / "baselines")
    store.write(a_portable({"size": 4.0}))
    store.write(a_portable({"size": 4.0}, case_id=GONE))
    return store


def settings(folder: Path, **changes: object) -> Settings:
    return Settings(folder, folder / "baselines", folder / "reports", folder, Plan(), **changes)  # type: ignore[arg-type]


def found(folder: Path, store: Store, absent: set[str] | None = None, **changes: object) -> dict[str, Comparison]:
    """What there is to say of the baselines, in a run that has selected the case that is there."""
    rows = without_case(settings(folder, **changes), store, absent or set(), {"."}, {("digits", CASE)})
    return {row.case_id: row for row, _ in rows}


def test_a_baseline_whose_case_is_gone_is_missing(tmp_path: Path, store: Store) -> None:
    (row,) = found(tmp_path, store).values()
    assert (row.case_id, row.verdict) == (GONE, Verdict.MISSING)
    assert found(tmp_path, store, {"cpu"}) == {}


def a_suite(folder: Path, place: str, test: str = "test_inference", code: str = "") -> None:
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_text(code or f"@grid()\ndef {test}(case, bench): ...\n")


@pytest.mark.parametrize(
    ("files", "selected", "missed"),
    [
        (["suites/test_digits.py"], "suites", True),
        (["suites/test_digits.py"], "suites/test_digits.py", True),
        (["suites/test_digits.py"], "bench", False),
        (["bench/suites/test_digits.py"], "bench/suites", True),
        (["bench/suites/test_digits.py"], "suites", False),
        (["bench/suites/test_digits.py"], "suites/text", False),
        (["bench/test_digits.py", "other/test_digits.py"], "other", True),
        (["bench/suites/test_numbers.py"], "bench/suites", True),
        (["bench/suites/test_numbers.py"], "suites/text", True),
        (["suites/test_digits.py", "bench/test_digits.py"], "bench", False),
    ],
    ids=[
        *("in its place", "its file", "another folder", "moved", "moved away", "moved, and a third folder"),
        *("two may be it", "renamed", "nowhere", "another of its name"),
    ],
)
def test_a_case_is_missed_where_its_file_is_now(
    tmp_path: Path, store: Store, files: list[str], selected: str, missed: bool
) -> None:
    """A baseline names the place where its case was accepted, until it is accepted anew."""
    for file in files:
        a_suite(tmp_path, file)
    rows = list(without_case(settings(tmp_path), store, set(), {selected}, {("digits", CASE)}))
    assert [row.case_id for row, _ in rows] == ([GONE] if missed else [])


@pytest.mark.parametrize(
    ("files", "test", "nodeid", "shared"),
    [
        (["a/suites/test_digits.py", "b/suites/test_digits.py"], "test_it", "b/suites/test_digits.py::test_it", True),
        (["a/suites/test_digits.py", "b/suites/test_digits.py"], "test_it", "a/suites/test_digits.py::test_it", False),
        (["a/suites/test_digits.py"], "test_of_a_unit", "b/suites/test_digits.py::test_it", False),
        (["b/suites/test_digits.py"], "test_it", "b/suites/test_digits.py::test_it", False),
        (["a/suites/test_digits.py"], "test_it", "link/suites/test_digits.py::test_it", False),
        ([], "test_it", "id", False),
    ],
    ids=["another", "its own", "the case moved, and the file stayed", "moved", "the same by a link", "no file"],
)
def test_a_baseline_of_another_file_is_not_shared(
    tmp_path: Path, files: list[str], test: str, nodeid: str, *, shared: bool
) -> None:
    for file in files:
        a_suite(tmp_path, file, test)
    (tmp_path / "link").symlink_to("a")
    store = Store(tmp_path / "baselines")
    store.write(a_portable({"size": 4.0}, nodeid="a/suites/test_digits.py::test_it"))
    comparing = WithBaselines(store, ENVIRONMENT, Plan())
    said = shared_suite(comparing, tmp_path, a_result({}, nodeid=nodeid))
    assert said == (
        f"{CASE}: its baseline is that of a/suites/test_digits.py: b/suites/test_digits.py and "
        "a/suites/test_digits.py would both be the suite 'digits', and share its metrics and baselines; rename one"
        if shared
        else None
    )
    assert shared_suite(comparing, tmp_path, a_result({}, nodeid=nodeid, case_id=GONE)) is None
    assert shared_suite(Nothing(), tmp_path, a_result({}, nodeid=nodeid)) is None


@pytest.mark.parametrize(
    ("code", "shared"),
    [
        ("from common.grids import test_it\n", True),
        ("from common.grids import test_both, test_it  # of all teams\n", True),
        ("from common.grids import one as test_it\n", True),
        ("from common.grids import (\n    test_both,\n    test_it,\n)\n", True),
        ("try:\n    from common.grids import test_it\nexcept ImportError:\n    pass\n", True),
        ("from common.grids import *\n", True),
        ("test_it = grid(model=[tiny])(body)\n", True),
        ("class TestTiny:\n    test_it: Any = staticmethod(body)\n", True),
        ("from common.grids import test_it_all\n", False),
        ("from common.grids import (\n    test_both,\n)\n\n\ndef test_of_a_unit():\n    run('test_it')\n", False),
        ("# test_it = moved\nimport test_it\n", False),
        ("from common.grids import (  # of all (or most) teams\n    test_both,\n    test_it,\n)\n", True),
        ("from common.grids import test_both, \\\n    test_it\n", True),
        ("from common.grids import test_both  # and 2 * others\n", False),
        ("import common.test_it as test_it\n", False),
        ("first = test_it = grid(model=[tiny])(body)\n", True),
        ("async def test_it(case, bench): ...\n", True),
        ('"""The grids.\n\ntest_it = moved\nfrom common.grids import test_it\n"""\n', False),
        ("def test_it(case, bench): print 'of another Python'\n", True),
    ],
)
def test_a_test_need_not_be_written_where_it_is_collected(tmp_path: Path, code: str, shared: bool) -> None:
    """Two suites of one name held each other's baselines where both import their grids."""
    a_suite(tmp_path, "a/suites/test_digits.py", code=code)
    store = Store(tmp_path / "baselines")
    store.write(a_portable({"size": 4.0}, nodeid=f"a/suites/test_digits.py::test_it[{CASE}]"))
    comparing = WithBaselines(store, ENVIRONMENT, Plan())
    said = shared_suite(comparing, tmp_path, a_result({}, nodeid=f"b/suites/test_digits.py::test_it[{CASE}]"))
    assert (said is not None) is shared


@pytest.mark.parametrize(
    ("code", "missed"),
    [
        ("def test_inference_of_nothing(): ...\n", True),
        ("from helpers import *\n\n\ndef test_of_a_unit(): ...\n", True),
        ("from helpers import batch  # and 2 * others\n", True),
        ("from common.grids import (  # of all (or most) teams\n    test_inference,\n)\n", False),
    ],
)
def test_a_file_of_the_same_name_without_the_test_is_another(
    tmp_path: Path, store: Store, code: str, *, missed: bool
) -> None:
    """A lost case was told by nobody where ordinary tests of the same name imported all of a helper's."""
    a_suite(tmp_path, "tests/test_digits.py", code=code)
    rows = list(without_case(settings(tmp_path), store, set(), {"suites"}, {("digits", CASE)}))
    assert [row.case_id for row, _ in rows] == ([GONE] if missed else [])


@pytest.mark.parametrize("name", [GONE, "digits", "bf16"])
def test_a_case_that_may_be_unavailable_may_be_gone(tmp_path: Path, store: Store, name: str) -> None:
    assert found(tmp_path, store, allowed=(name,)) == {}
    assert found(tmp_path, store, allowed=("int8",)).keys() == {GONE}


@pytest.mark.parametrize("case_id", [CASE, GONE])
def test_a_damaged_baseline_is_an_error_of_its_own(tmp_path: Path, store: Store, case_id: str) -> None:
    folder = folder_of("digits", case_id)
    (tmp_path / "baselines" / folder / "portable.json").write_text("<<<<<<< ours\n{}\n")
    rows = found(tmp_path, store)
    # Who hasn't its case can't tell which it was: the folder's name stands for it.
    error = rows.pop(case_id if case_id == CASE else folder.partition("/")[2])
    assert error.verdict is Verdict.ERROR
    assert f"{folder}/portable.json: holds git conflict markers" in error.reason
    assert {row.verdict for row in rows.values()} == ({Verdict.MISSING} if case_id == CASE else set())


@pytest.mark.parametrize(
    ("file", "code", "selected", "told"),
    [
        ("suites/test_digits.py", "", "suites", True),
        ("suites/test_digits.py", "", "suites/test_digits.py", True),
        ("suites/test_digits.py", "", "tests", False),
        ("bench/suites/test_digits.py", "", "suites", False),
        ("suites/test_numbers.py", "", "tests", True),
        ("src/digits.py", "COUNT = 10\n", "tests", True),
        ("src/digits.py", "# see the benchmark\nCOUNT = 10\n", "tests", True),
        ("suites/test_digits.py", "def test_it(benchmark): print 'of another Python'\n", "tests", False),
        ("suites/test_digits.py", "@mark.benchmark(group='x')\ndef test_it(timed): ...\n", "tests", False),
        ("suites/test_digits.py", "pytestmark = mark.usefixtures('benchmark')\n", "tests", False),
        ("suites/test_digits.py", "@harness.grid(model=[digits])\ndef test_it(case, timed): ...\n", "tests", False),
        ("suites/test_digits.py", "from common import test_inference\n", "tests", False),
    ],
    ids=[
        *("its folder", "its file", "another folder", "moved away", "no suite of its name", "a module of its name"),
        *("one that names a benchmark", "one that can't be parsed", "by a mark", "by a name", "a grid", "imported"),
    ],
)
def test_a_damaged_baseline_is_told_where_its_suite_is(
    tmp_path: Path, store: Store, file: str, code: str, selected: str, *, told: bool
) -> None:
    """One of a suite turned the runs of every folder red, of those without a case too."""
    a_suite(tmp_path, file, code=code)
    (tmp_path / "baselines" / folder_of("digits", GONE) / "portable.json").write_text("{")
    rows = list(without_case(settings(tmp_path), store, set(), {selected}, {("digits", CASE)}))
    assert [row.verdict for row, _ in rows] == ([Verdict.ERROR] if told else [])


@pytest.mark.parametrize(("folder", "told"), [("digits/*", False), ("*/*", True)], ids=["a suite's", "that of all"])
def test_a_folder_of_baselines_that_can_not_be_read_is_told_where_its_suite_is(
    tmp_path: Path, folder: str, *, told: bool
) -> None:
    """That of one suite turned the runs of every folder red."""
    a_suite(tmp_path, "suites/test_digits.py")
    assert damaged_is_due(folder, tmp_path, {"tests"}, [tmp_path / "suites" / "test_digits.py"]) is told


@pytest.mark.parametrize(("against", "before"), [(None, True), (Against("main"), True), (Against("main"), False)])
def test_a_case_that_was_not_measured_is_not_said_to_be_gone(
    tmp_path: Path, against: Against | None, before: bool
) -> None:
    """`before` says that it has a baseline; else the other tree can measure it."""
    unmeasured = dataclasses.replace(a_result({}), outcome=Outcome.UNAVAILABLE, reason="no compiler")
    portable = a_portable({"size": 4.0}) if before else None
    row = left_out(unmeasured, portable, None if before else a_result({"size": (4.0,)}))
    fails, text = gate(settings(tmp_path, against=against), unmeasured, [row])
    assert fails
    for words in (row.reason, text):
        assert "no compiler" in words
        assert f"--allow-unavailable='{CASE}'" in words
        assert "prune" not in words
    assert ("first baseline" in text) is before
    assert ("--against main" in text) is bool(against)


@pytest.mark.parametrize(
    ("changes", "again", "accepted"),
    [
        ({}, "", ""),
        ({"baselines": "golden"}, " --baselines golden", " --baselines golden"),
        ({"reports": "nightly/runs"}, " --reports nightly/runs", " --from nightly/runs/latest"),
        (
            {"baselines": "my golden", "reports": "nightly", "revision": "v1"},
            " --baselines 'my golden' --baseline-rev v1 --reports nightly",
            None,
        ),
    ],
)
def test_what_helps_speaks_of_the_folders_of_the_run(
    tmp_path: Path, changes: dict[str, str], again: str, accepted: str | None
) -> None:
    """Else the case is judged by other baselines when it is measured again, and another run is accepted elsewhere."""
    asked = settings(tmp_path)
    folders = {name: tmp_path / folder for name, folder in changes.items() if name != "revision"}
    asked = dataclasses.replace(asked, **folders, revision=changes.get("revision", ""))  # type: ignore[arg-type]
    result = a_result({"size": [4.0]})
    row = Comparison("digits", CASE, "size", Verdict.REGRESSED, "It grew.")
    fails, text = gate(asked, result, [row])
    assert fails
    reproduce = f"reproduce: pytest '{result.nodeid}'{again}"
    if accepted is None:
        assert text.endswith(reproduce), "the baselines of a commit stay as they are"
    else:
        assert f"{reproduce}; if the change is right: " in text
        assert f"harness accept --case 'digits/{CASE}'{accepted} --reason " in text


def test_a_case_that_is_gone_is_pruned_from_no_commit(tmp_path: Path, store: Store) -> None:
    portable = a_portable({"size": 4.0}, case_id=GONE)
    for revision, pruned in (("", True), ("v1", False)):
        asked = settings(tmp_path, revision=revision)
        (row,) = found(tmp_path, store, revision=revision).values()
        assert row.reason.startswith(f"{GONE} has a baseline (accepted ")
        for text in (row.reason, gone(asked, portable)):
            assert ("harness prune" in text) is pruned
        assert f"can't run here:{' ' * (12 if pruned else 1)}--allow-unavailable='{GONE}'" in gone(asked, portable)
    said = undone(asked, a_whole_run({"a": Verdict.NEW}))
    assert said == "nothing was decided: no selected case could be compared with its baseline at v1"


def test_a_folder_outside_of_the_project_is_named_whole(tmp_path: Path) -> None:
    asked = dataclasses.replace(settings(tmp_path / "project"), baselines=tmp_path / "golden")
    row = Comparison("digits", CASE, "size", Verdict.REGRESSED, "It grew.")
    _, text = gate(asked, a_result({"size": [4.0]}), [row])
    assert text.count(f" --baselines {tmp_path / 'golden'}") == 2


def test_what_helps_tells_no_password_of_a_package(tmp_path: Path) -> None:
    packages = ("mine @ git+https://user:SECRET@host/x@v1", "other @ https://SECRET@host/y.whl")
    row = Comparison("digits", CASE, "latency.p50", Verdict.REGRESSED, "It is slower.")
    against = Against("main", packages=packages)
    _, text = gate(settings(tmp_path, against=against), a_result({"size": [4.0]}), [row])
    assert "--against-with 'mine @ git+https://***@host/x@v1'" in text
    assert "SECRET" not in text
    found = undone(settings(tmp_path, against=against), a_whole_run({"a": Verdict.INCOMPARABLE}))
    assert "could be compared with main with mine @ " in (found or "")
    assert "SECRET" not in (found or "")


def a_whole_run(rows: dict[str, Verdict], **state: str) -> Run:
    """A run of the cases of these suites, each with one comparison; `state` goes to its environment."""
    comparisons = tuple(Comparison(suite, CASE, "size", verdict, "said") for suite, verdict in rows.items())
    results = [dataclasses.replace(a_result({"size": [4.0]}), suite=suite) for suite in rows]
    run = a_run(results, comparisons=comparisons)
    return dataclasses.replace(run, environment=dataclasses.replace(run.environment, state=state))


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.INVALID, Outcome.FAILED])
@pytest.mark.parametrize(
    ("others", "red"),
    [((Verdict.NEW, Verdict.INCONCLUSIVE), True), ((Verdict.NEW, Verdict.UNCHANGED), False), ((), False)],
)
def test_what_is_known_to_fail_decides_nothing_for_the_others(
    tmp_path: Path, others: tuple[Verdict, ...], red: bool, outcome: Outcome
) -> None:
    rows = {"liar": Verdict.INVALID, **{f"s{number}": verdict for number, verdict in enumerate(others)}}
    run = a_whole_run(rows, xfailed=f"liar/{CASE}")
    liar = dataclasses.replace(run.results[0], outcome=outcome)
    found = undone(settings(tmp_path), dataclasses.replace(run, results=(liar, *run.results[1:])))
    assert ("nothing was decided" in (found or "")) is red
    assert bool(found) is red


@pytest.mark.parametrize("mode", ["compare", "off"])
def test_what_is_known_to_fail_is_no_measurement_of_what_was_skipped(tmp_path: Path, mode: str) -> None:
    run = a_whole_run({"liar": Verdict.INVALID, "s": Verdict.SKIPPED}, xfailed=f"liar/{CASE}")
    ended = (Outcome.INVALID, Outcome.UNAVAILABLE)
    results = tuple(dataclasses.replace(one, outcome=outcome) for one, outcome in zip(run.results, ended, strict=True))
    found = undone(settings(tmp_path, mode=mode), dataclasses.replace(run, results=results))
    assert "nothing was measured" in (found or "")


@pytest.mark.parametrize(
    ("required", "red"), [(("cuda",), True), (("cpu", "cuda"), True), (("cpu",), False), ((), False)]
)
def test_required_hardware_is_missed_where_no_case_is_on_it(
    tmp_path: Path, required: tuple[str, ...], red: bool
) -> None:
    """As in a suite that asks for the GPU only where torch finds one."""
    found = undone(settings(tmp_path, required=required), a_whole_run({"s": Verdict.UNCHANGED}), (), {"cuda": "no GPU"})
    assert found == ("--require-hardware=cuda, and it is not here: no GPU" if red else None)


def test_the_first_baseline_is_made_where_the_run_looked_for_it(tmp_path: Path) -> None:
    asked = dataclasses.replace(settings(tmp_path, selected=("bench",)), baselines=tmp_path / "golden")
    found = undone(asked, a_whole_run({"a": Verdict.NEW}))
    assert "make one with: pytest bench --baselines golden --baseline=update --reason 'first baseline'" in (found or "")


def test_what_the_other_tree_lacks_decides_nothing(tmp_path: Path) -> None:
    found = undone(settings(tmp_path, against=Against("main")), a_whole_run({"a": Verdict.INCOMPARABLE}))
    assert found == "nothing was decided: no selected case could be compared with main"


@pytest.mark.parametrize(("mode", "red"), [("strict", True), ("compare", False)])
def test_a_commit_beside_itself_decides_nothing_that_strict_asks_for(tmp_path: Path, mode: str, red: bool) -> None:
    """`$(git merge-base main HEAD)` on main is the measured commit, and every case of it is unchanged."""
    asked = settings(tmp_path, mode=mode, against=Against("v1"))
    found = undone(asked, a_whole_run({"a": Verdict.UNCHANGED}, against="v1", same="v1"))
    assert found == ("v1 is the commit that is measured, so nothing could be found" if red else None)
    assert undone(asked, a_whole_run({"a": Verdict.UNCHANGED}, against="v1")) is None


def test_what_has_no_baseline_is_skipped() -> None:
    unmeasured = dataclasses.replace(a_result({}), outcome=Outcome.UNAVAILABLE, reason="no compiler")
    assert left_out(unmeasured, None, None).verdict is Verdict.SKIPPED
    assert left_out(unmeasured, None, unmeasured).verdict is Verdict.SKIPPED
