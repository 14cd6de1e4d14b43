"""`harness bisect`: the first bad commit, also past merges and commits that can't be decided."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from harness.cli.bisect import _words
from harness.cli.collecting import Found as FoundCase
from harness.cli.collecting import choose, collect
from harness.cli.commits import Found, History, State, first_bad
from harness.cli.main import main
from harness.errors import SuiteError
from harness.plan import Plan
from harness.records import Comparison, Estimate, Run, Verdict
from tests.cli_runs import a_case, a_run
from tests.folder import Folder

CASES = [
    FoundCase("a/int8+batched:8/cpu", "toys", "suites/test_toys.py::test_it[a/int8+batched:8/cpu]"),
    FoundCase("a/reference/cpu", "toys", "suites/test_toys.py::test_it[a/reference/cpu]"),
    FoundCase("a/reference/cpu", "games", "suites/test_games.py::test_it[a/reference/cpu]"),
]
AGAIN = f" --plan confirm={2 * Plan().confirm} --plan budget={2 * Plan().budget:g}"
"""What a second trial is given beside what the first one was."""
SUITE = """
from suites.own import slowed


@grid(model=[tiny], technique=[batched(64), slowed | batched(64)], hardware=[cpu])
def test_it(case, bench):
    bench(case)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "project")


def search(
    folder: Folder, good: str, bad: str, *, worse: Iterable[str], undecided: Iterable[str] = ()
) -> tuple[Found, list[str]]:
    """Search where these commits are worse and these can't be decided; gives also the commits that were asked for."""
    asked = []

    def state_of(commit: str, steps: int) -> State:
        asked.append(commit)
        assert steps >= 1
        if commit in set(undecided):
            return State.SKIPPED
        return State.BAD if commit in set(worse) else State.GOOD

    return first_bad(History(folder.path), good, bad, state_of), asked


def test_in_a_line_it_is_found_in_a_few_steps(folder: Folder) -> None:
    commits = [folder.commit(str(number)) for number in range(12)]
    for first in range(1, 12):
        found, asked = search(folder, commits[0], commits[-1], worse=commits[first:])
        assert found == Found(commits[first], ())
        assert len(asked) <= 4


def test_a_branch_that_was_merged_is_searched(folder: Folder) -> None:
    start = folder.commit("start")
    main = folder.git("branch", "--show-current")
    folder.git("switch", "-qc", "side")
    side = [folder.commit(f"side {number}") for number in range(3)]
    folder.git("switch", "-q", main)
    folder.commit("main")
    folder.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    merge = folder.git("rev-parse", "HEAD")
    bad = folder.commit("after")
    found, _ = search(folder, start, bad, worse=[*side[1:], merge, bad])
    assert found == Found(side[1], ())


def forked(folder: Folder) -> tuple[str, str, list[str], list[str]]:
    """A branch that forked before the good commit and was merged after it: start, good, the branch, merge and later."""
    start = folder.commit("start")
    main = folder.git("branch", "--show-current")
    folder.git("switch", "-qc", "side")
    side = [folder.commit(f"side {number}") for number in range(2)]
    folder.git("switch", "-q", main)
    good = folder.commit("speed-up")
    folder.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    return start, good, side, [folder.git("rev-parse", "HEAD"), folder.commit("after")]


def test_a_branch_from_before_the_good_commit_is_not_blamed_for_what_it_lacks(folder: Folder) -> None:
    start, good, side, (merge, bad) = forked(folder)
    found, asked = search(folder, good, bad, worse=[start, *side, bad])
    assert found == Found(side[0], (), (start,))
    assert asked.count(start) == 1
    found, _ = search(folder, good, bad, worse=[*side, bad], undecided=[start])
    assert found == Found(side[0], (), (start,))
    found, _ = search(folder, good, bad, worse=[start, side[1], bad], undecided=side[:1])
    assert found == Found(side[1], (side[0],), (start,))
    for first in range(2):  # where the branch was good when it forked, a commit of it is to blame
        found, _ = search(folder, good, bad, worse=[*side[first:], merge, bad])
        assert found == Found(side[first], ())


def test_what_can_not_be_decided_is_named_where_it_may_be_the_first(folder: Folder) -> None:
    commits = [folder.commit(str(number)) for number in range(8)]
    found, asked = search(folder, commits[0], commits[7], worse=commits[5:], undecided=commits[3:5])
    assert found.bad == commits[5]
    assert set(found.skipped) == set(commits[3:5])
    assert len(asked) == len(set(asked))
    found, _ = search(folder, commits[0], commits[7], worse=commits[5:], undecided=commits[1:3])
    assert found == Found(commits[5], ())


def test_the_good_commit_must_come_before(folder: Folder) -> None:
    first, second = folder.commit("1"), folder.commit("2")
    history = History(folder.path)
    history.check(first, second)
    with pytest.raises(SuiteError, match="the same commit"):
        history.check(first, first)
    with pytest.raises(SuiteError, match=f"no ancestor.*--good {first[:12]}"):
        history.check(second, first)
    with pytest.raises(SuiteError, match="no-such"):
        history.commit("no-such")
    assert history.subject("HEAD") == "2"


def test_commits_without_one_in_common_are_refused_with_the_cure(folder: Folder) -> None:
    first = folder.commit("1")
    folder.git("switch", "-q", "--orphan", "other")
    other = folder.commit("2")
    said = r"have no commit in common, .* git fetch --unshallow"
    with pytest.raises(SuiteError, match=f"{first[:12]} .--good. and {other[:12]} .--bad. {said}"):
        History(folder.path).check(first, other)


@pytest.mark.parametrize("word", ["a/int8+batched:8/cpu", "*int8*", "toys/a/int8*"])
def test_a_case_by_id_or_glob(word: str) -> None:
    assert choose(CASES, word) == CASES[0]
    assert choose(CASES, "games/a/reference/cpu") == CASES[2]


@pytest.mark.parametrize(
    ("word", "said", "named"),
    [
        ("a/reference/cpu", "fits 2 cases", {"toys/a/reference/cpu", "games/a/reference/cpu"}),
        ("b/*", "no case is named b/*", {"toys/a/int8+batched:8/cpu", "toys/a/reference/cpu", "games/a/reference/cpu"}),
    ],
)
def test_any_other_word_is_refused_with_the_cases_that_there_are(word: str, said: str, named: set[str]) -> None:
    with pytest.raises(SuiteError) as raised:
        choose(CASES, word)
    first, *rest = str(raised.value).splitlines()
    assert said in first
    assert {line.strip() for line in rest} == named


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "addopts = -ra -q",
        "addopts = -v",
        "verbosity_test_cases = 2",
        "addopts = --ff --nf",
        "addopts = --lf --sw",
    ],
)
def test_cases_are_collected(folder: Folder, monkeypatch: pytest.MonkeyPatch, settings: str) -> None:
    (folder.path / "pytest.ini").write_text(f"[pytest]\n{settings}\n", encoding="utf-8")
    folder.suite("test_pair", SUITE)
    folder.slow_down(0)
    monkeypatch.chdir(folder.path)
    case = "tiny_onnx/slowed+batched:64/cpu"
    assert FoundCase(case, "pair", f"suites/test_pair.py::test_it[{case}]") in collect(["suites"])
    assert not (folder.path / ".pytest_cache").exists()


def test_a_folder_that_is_not_there_is_named(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.path / "pytest.ini").write_text("[pytest]\naddopts = -ra -q\n", encoding="utf-8")
    monkeypatch.chdir(folder.path)
    with pytest.raises(SuiteError, match=r"not found: .*nowhere"):
        collect(["nowhere"])


@pytest.fixture
def runs(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, list[Comparison]], list[str]]:
    """What pytest would find, by commit, one row a trial; and the options that it was given."""
    found: dict[str, list[Comparison]] = {}
    given: list[str] = []

    def run(arguments: Sequence[str], reports: Path) -> Run | None:
        given.append(" ".join(arguments))
        rows = found[arguments[arguments.index("--at") + 1]]
        return a_run([], comparisons=(rows.pop(0),)) if rows else None

    monkeypatch.setattr("harness.cli.bisect.measured", run)
    monkeypatch.setattr("harness.cli.bisect.collect", lambda suites: CASES)
    monkeypatch.chdir(folder.path)
    return found, given


def a_row(verdict: Verdict, metric: str = "latency.p50") -> Comparison:
    return Comparison(
        "toys", CASES[0].case_id, metric, verdict, "a reason.", change=Estimate(0.12, 0.11, 0.13), limit=0.01
    )


def test_a_change_of_a_share_is_said_in_points() -> None:
    """Of an accuracy that lost two points it said -4.0 % [-4.0, -4.0]."""
    row = a_row(Verdict.REGRESSED, "accuracy")
    before, lost = Estimate.exact(0.5), Estimate.exact(-0.04)
    row = dataclasses.replace(row, baseline=before, change=lost, limit=0.004, unit="share", better="higher")
    assert _words(row) == "-2.00 pt"


def test_an_undecided_commit_is_tried_again_with_more_launches_and_then_left(
    folder: Folder, runs: tuple[dict[str, list[Comparison]], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    found, given = runs
    commits = [folder.commit(f"commit {number}") for number in range(4)]
    open_, worse = a_row(Verdict.INCONCLUSIVE), a_row(Verdict.REGRESSED)
    found.update({commits[1]: [open_, a_row(Verdict.UNCHANGED)], commits[2]: [open_, open_], commits[3]: [worse]})
    assert main(["bisect", "*int8*", "--good", commits[0], "--plan", "confirm=4"]) == 1
    said = capsys.readouterr().out
    assert "the first bad commit is one of these" in said
    assert {
        f"  {commit[:10]} {name}" for commit, name in zip(commits[2:], ("commit 2", "commit 3"), strict=True)
    } < set(said.splitlines())
    assert f"at {commits[3][:10]}, latency.p50 against {commits[0][:10]}: +12.0 % [+11.0, +13.0]" in said
    again = [options for options in given if options.endswith(AGAIN)]
    assert len(given) == 5
    assert len(again) == 2
    assert all("--plan confirm=4" in options and f"--against {commits[0]}" in options for options in given)


def test_a_second_trial_has_the_time_that_its_launches_take(
    folder: Folder, runs: tuple[dict[str, list[Comparison]], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the time is not enough for twice as many where the first had room for five, each of 30 s."""
    good, bad = folder.commit("good"), folder.commit("bad")
    slow = a_case("a", launches=tuple(dataclasses.replace(one, wall_seconds=30.0) for one in a_case("a").launches))
    given: list[str] = []

    def run(arguments: Sequence[str], reports: Path) -> Run:
        given.append(" ".join(arguments))
        return a_run([slow], comparisons=(a_row(Verdict.INCONCLUSIVE),))

    monkeypatch.setattr("harness.cli.bisect.measured", run)
    assert main(["bisect", "*int8*", "--good", good, "--bad", bad]) == 2
    launches = Plan().screen + 2 * Plan().confirm
    assert given[-1].endswith(f" --plan confirm={2 * Plan().confirm} --plan budget={30 * launches}")


@pytest.mark.parametrize("undecided", [False, True])
def test_the_command_at_the_end_has_the_plan_that_decided(
    folder: Folder,
    runs: tuple[dict[str, list[Comparison]], list[str]],
    capsys: pytest.CaptureFixture[str],
    undecided: bool,
) -> None:
    good, bad = folder.commit("good"), folder.commit("bad")
    runs[0][bad] = [*([a_row(Verdict.INCONCLUSIVE)] if undecided else []), a_row(Verdict.REGRESSED)]
    assert main(["bisect", "*int8*", "--good", good, "--plan", "confirm=4", "--plan", "seconds=0.2"]) == 0
    doubled = AGAIN if undecided else ""
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith("to see it: pytest ")
    assert told.endswith(f" --plan confirm=4 --plan seconds=0.2{doubled}")


def test_a_fork_that_was_bad_already_is_said(
    folder: Folder, runs: tuple[dict[str, list[Comparison]], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    start, good, side, (merge, bad) = forked(folder)
    runs[0].update({commit: [a_row(Verdict.REGRESSED)] for commit in (start, *side, bad)})
    runs[0][merge] = [a_row(Verdict.UNCHANGED)]
    assert main(["bisect", "*int8*", "--good", good]) == 1
    said = capsys.readouterr().out
    assert "the first bad commit" not in said
    assert f"no commit is to blame: {side[0][:10]} lies on a branch that forked before {good[:10]}" in said
    assert f"  {start[:10]} start" in said.splitlines()
    assert f"--against {good[:10]} --at {side[0][:10]}" in said


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([a_row(Verdict.UNCHANGED)], "is not shown to be worse than"),
        ([a_row(Verdict.REGRESSED, "accuracy")], "ask for it with --metric accuracy"),
        ([a_row(Verdict.ERROR, "case")] * 2, "error: a reason."),
        ([], "pytest made no run; what it said is in"),
    ],
)
def test_a_bad_commit_that_is_not_worse_ends_it(
    folder: Folder,
    runs: tuple[dict[str, list[Comparison]], list[str]],
    capsys: pytest.CaptureFixture[str],
    rows: list[Comparison],
    words: str,
) -> None:
    good, bad = folder.commit("good"), folder.commit("bad")
    runs[0][bad] = rows.copy() + rows.copy()
    assert main(["bisect", "*int8*", "--good", good]) == 2
    printed = capsys.readouterr()
    assert words in printed.out + printed.err
    assert "first bad commit" not in printed.out


@pytest.mark.alone
def test_the_commit_that_slowed_a_case_is_found(folder: Folder) -> None:
    folder.suite("test_pair", SUITE)
    folder.slow_down(0)
    commits = [folder.commit("start"), folder.commit("still quick")]
    folder.slow_down(4)
    commits.append(folder.commit("four products too many"))
    fast = ["--tolerance", "0.1", "--plan", "screen=2", "--plan", "confirm=8", "--plan", "seconds=0.2"]
    command = [sys.executable, "-m", "harness.cli.main", "bisect", "*slowed*", "--good", commits[0], *fast]
    done = subprocess.run(command, cwd=folder.path, capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert f"the first bad commit is {commits[2]}\n  four products too many" in text
    short = commits[2][:10]
    assert f"--against '{short}~1' --at {short} --against-tolerance 0.1" in text
    assert folder.git("status", "--porcelain") == ""
