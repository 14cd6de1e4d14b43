"""What a terminal shows: live on terminals of any width, plain lines elsewhere, more with -v and less with -q."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.plugin import progress
from harness.plugin.progress import Progress
from harness.records import Comparison, Estimate, Outcome, Run, Verdict
from harness.report.overview import Overview, cases
from harness.report.terminal import MAX_REASONS, MAX_ROWS, case_line, closing_lines, live_line, painted, verdict_table
from harness.report.weight import comparisons_by_weight
from harness.settings import Decision
from tests.folder import Folder
from tests.report_samples import sample_run

CASE = "digits/pruned_channels:0.5+onnxruntime+int8_static/cpu"
RUN = sample_run(models=4, techniques=10)
PLAN = ("--plan", "screen=1", "--plan", "confirm=0", "--plan", "seconds=0.1", "--plan", "repeats=0")
SUITE = """
def test_one_with_quite_a_long_name(benchmark):
    benchmark(sum, [1])

def test_plain():
    pass

def test_wrong(benchmark):
    assert benchmark(lambda: 3) == 4
"""


@pytest.mark.parametrize("width", [1, 10, 20, 40, 60, 80, 120, 200])
def test_a_live_line_never_wraps(width: int) -> None:
    line = live_line(f"[3/12] {CASE}", "launch 2 of at most 19", "  (4 min left)", {"regressed": 1}, width)
    assert len(line) < width
    if width >= 40:
        assert line.startswith("[3/12] dig")
        assert "launch 2 of at mo" in line
    assert ("1 regressed" in line) == (width >= 120)
    assert ("4 min left" in line) == (width >= 120)
    assert (CASE in line) == (width >= 120)


@pytest.mark.parametrize("width", [12, 30, 40, 60, 80, 120])
def test_the_line_of_a_case_fits(width: int) -> None:
    for view in cases(RUN):
        if view.result is None:  # a case that is missing has no line of its own
            continue
        line = case_line(view.result, view.comparisons, view.verdict, width=width)
        assert line.startswith(view.word[:width])
        assert len(line) <= max(width, 14), line  # a verdict is never cut
        assert view.id in case_line(view.result, view.comparisons, view.verdict)
        assert view.id not in case_line(view.result, view.comparisons, view.verdict, id=False)


def test_more_with_v_and_less_with_q() -> None:
    least, less, usual, more = ("\n".join(closing_lines(RUN, verbosity=level)) for level in (-2, -1, 0, 1))
    verdict = usual.splitlines()[-1]
    assert least == verdict, "with -qq nothing but the verdict on the run"
    assert less.endswith(verdict)
    assert "speed-up" in usual
    assert "speed-up" not in less
    worst = next(one for one in RUN.comparisons if one.verdict is Verdict.REGRESSED)
    assert worst.reason in less
    assert worst.reason in usual
    fine = [one.reason for one in RUN.comparisons if one.verdict is Verdict.UNCHANGED]
    assert len(fine) > MAX_REASONS
    assert not any(reason in usual for reason in fine)
    assert all(reason in more for reason in fine)


def judged(number: int, verdict: Verdict, change: float, *, better: str = "lower") -> Comparison:
    reason = f"latency.p50 of m{number}: {change:+.1%}"
    found, name = Estimate(change, change - 0.01, change + 0.01, 8, 90), f"m{number}/reference/cpu"
    return Comparison("s", name, "latency.p50", verdict, reason, change=found, limit=0.05, better=better)


def a_run(*rows: Comparison) -> Run:
    results = tuple(dataclasses.replace(RUN.results[0], suite=row.suite, case_id=row.case_id) for row in rows)
    return dataclasses.replace(RUN, results=results, comparisons=rows, expected=len(rows), baselines={})


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_what_may_have_got_worse_is_told_before_what_may_have_got_better(better: str) -> None:
    """Undecided improvements beyond the limit, more than are told, hid the one that looks like a loss."""
    sign = 1 if better == "lower" else -1
    rows = [judged(i, Verdict.INCONCLUSIVE, -0.06 * sign, better=better) for i in range(MAX_REASONS + 10)]
    worst = judged(99, Verdict.INCONCLUSIVE, 0.055 * sign, better=better)
    lines = closing_lines(a_run(*rows, worst))
    (first, *_) = [line for line in lines if ": latency.p50 of m" in line]
    assert first.endswith(worst.reason)
    assert "and 11 more, which are in the report" in lines


def test_what_got_better_by_most_is_the_first_of_what_did() -> None:
    rows = [judged(i, Verdict.IMPROVED, change) for i, change in enumerate((-0.06, -0.5, -0.1))]
    assert [c.case_id[:2] for c in comparisons_by_weight(rows)] == ["m1", "m2", "m0"]


def test_a_long_table_ends_with_the_worst_and_leaves_out_the_mildest() -> None:
    rows = [judged(i, Verdict.REGRESSED, 0.9 if i == 0 else 0.06 + i / 1e6) for i in range(MAX_ROWS + 50)]
    seen = Overview(a_run(*rows))
    *_, last, left_out = verdict_table(seen)
    assert last.split()[1] == seen.failing[0].view.id == "m0/reference/cpu"
    assert left_out == "50 further cases are in the report"
    *_, left_out = verdict_table(Overview(a_run(*rows[: MAX_ROWS + 1])))
    assert left_out == "1 further case is in the report"
    fine = Overview(a_run(*(judged(i, Verdict.UNCHANGED, 0.0) for i in range(3))))
    order = [line.split()[1] for line in verdict_table(fine)[1:]]
    assert order == [view.id for view in fine.cases], "equals stand in the order of the run"


def test_a_painted_line_is_the_same_line() -> None:
    for line in ("regressed    digits/compiled/cpu  1.24x", "unchanged    a/b/cpu", "error", ""):
        assert re.sub(r"\x1b\[[0-9;]*m", "", painted(line)) == line
    assert painted("regressed    a/b/cpu").startswith("\x1b[31mregressed\x1b[0m ")


class Clock:
    """What tells a run's progress the time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def a_progress(cases: int) -> Progress:
    """That of a run of so many cases, without a terminal."""
    made = Progress(cast(Any, SimpleNamespace(pluginmanager=SimpleNamespace(get_plugin=lambda _: None))))
    made.expect({str(number) for number in range(cases)})
    return made


def decided(verdict: Verdict = Verdict.UNCHANGED) -> Decision:
    result = next(one for one in RUN.results if one.outcome is Outcome.COMPLETED)
    return Decision(result, (Comparison(result.suite, result.case_id, "case", verdict, "told"),), verdict, False)


def test_what_a_case_is_decided_to_be_in_the_end_is_what_is_counted(clock: Clock) -> None:
    """A test that fails for a reason of its own does so when its case is done already."""
    run = a_progress(3)
    run.replaced(decided(Verdict.ERROR))
    assert run._tally == {}, "nothing was done whose verdict it could be"
    run.done(decided())
    run.replaced(decided(Verdict.ERROR))
    assert dict(run._tally) == {"error": 1}
    assert run._decision == decided(Verdict.ERROR)


def test_a_case_about_which_nothing_is_asked_is_counted_as_measured(clock: Clock) -> None:
    """The live line of `--quick` and `--baseline=off` counted new cases, which the table at the end called measured."""
    run = a_progress(2)
    run.done(dataclasses.replace(decided(Verdict.NEW), comparisons=()))
    assert dict(run._tally) == {"measured": 1}
    run.replaced(decided(Verdict.ERROR))
    assert dict(run._tally) == {"error": 1}


def test_a_case_that_is_asked_for_again_counts_once(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a plugin runs again what failed."""
    run = a_progress(3)
    assert not run.again(decided(Verdict.ERROR)), "its first attempt ended before it was measured"
    run.done(decided(Verdict.ERROR))
    known = decided(Verdict.ERROR)
    assert run.again(known)
    assert run._decision is known, "its line is written once more"
    assert (run._done, dict(run._tally)) == (1, {"error": 1})
    # Its reports come at the end of an attempt then, with that of the setup first.
    monkeypatch.setattr(run, "_reporter", lambda: SimpleNamespace(verbosity=-1))
    monkeypatch.setattr(run, "_wipe", lambda _: None)
    for when, kept in (("setup", known), ("call", None)):
        run.status(cast(Any, SimpleNamespace(nodeid="0", when=when)))
        assert run._decision is kept


def test_what_was_taken_over_took_no_time_that_tells_of_the_rest(clock: Clock) -> None:
    run = a_progress(100)
    for _ in range(90):
        run.start(CASE)
        run.done(decided())
    assert run._left() == "", "nothing was measured yet"
    run.start(CASE)
    run.stage("launch 1 of at most 3")
    clock.now += 60
    run.done(decided())
    assert run._left() == "  (9 min 0 s left)"
    # Half of what was come to can't run here, and so of the rest.
    run.start(CASE)
    absent = next(one for one in RUN.results if one.outcome is Outcome.UNAVAILABLE)
    run.done(Decision(absent, (), Verdict.SKIPPED, False))
    assert run._left() == "  (4 min 0 s left)"


class Screen:
    """The little of a terminal that pytest and the harness use: lines, returns, colours, and wrapping."""

    def __init__(self, width: int, output: str) -> None:
        self.lines = [""]
        self.wraps = 0
        column = 0
        for char in re.sub(r"\x1b\[[0-9;]*m", "", output):
            if char == "\r":
                column = 0
            elif char == "\n":
                self.lines.append("")
            else:
                if column == width:
                    self.lines.append("")
                    self.wraps += 1
                    column = 0
                line = self.lines[-1].ljust(column)
                self.lines[-1] = line[:column] + char + line[column + 1 :]
                column += 1

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines)


def on_terminal(folder: Folder, width: int, *arguments: str, **variables: str) -> str:
    """What pytest writes to a terminal of so many columns."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    hidden = {"COLUMNS", "NO_COLOR", "PY_COLORS", "FORCE_COLOR", "CI"}
    env = {name: value for name, value in folder.env.items() if name not in hidden}
    process = subprocess.Popen(
        folder.command(*arguments), cwd=folder.path, env={**env, "TERM": "xterm", **variables},
        stdin=subprocess.DEVNULL, stdout=child, stderr=child,
    )  # fmt: skip
    os.close(child)
    parts = []
    try:
        while part := os.read(parent, 1 << 16):
            parts.append(part)
    except OSError:  # Linux says so when the last writer is gone
        pass
    os.close(parent)
    process.wait(60)
    return b"".join(parts).decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    made = Folder(tmp_path_factory.mktemp("terminal"))
    (made.path / "suites" / "test_names.py").write_text(SUITE)
    return made


@pytest.mark.parametrize(("width", "variables"), [(40, {}), (80, {"NO_COLOR": "1"})], ids=["colour", "no colour"])
def test_on_a_terminal(folder: Folder, width: int, variables: dict[str, str]) -> None:
    output = on_terminal(folder, width, "suites", "--baseline=off", *PLAN, **variables)
    live = [part for part in re.split(r"[\r\n]", output) if re.search(r"launch \d", part)]
    assert live
    assert all(len(part) < width for part in live), "what wraps can't be written over"
    screen = Screen(width, output)
    assert not re.search(r"launch \d|preparing|prepare$", screen.text), "nothing of what was live stays"
    lines = screen.text.splitlines()
    (first,) = (number for number, line in enumerate(lines) if line.startswith("[1/2] measured"))
    assert lines[first - 1].startswith("suites/test_names.py")
    assert sum(line.startswith("[2/2] error") for line in lines) == 1
    if variables:
        assert "\x1b" not in output
    else:
        assert "\x1b[31merror\x1b[0m" in output, "the verdict in its colour"


def test_on_a_terminal_with_v(folder: Folder) -> None:
    text = Screen(60, on_terminal(folder, 60, "suites", "--baseline=off", "-v", *PLAN)).text
    assert "launch" not in text.replace("launches", "")
    flat = text.replace("\n", "")
    assert re.search(r"test_names\.py::test_one_with_quite_a_long_name +measured", flat)
    assert re.search(r"test_names\.py::test_plain PASSED", flat)
    assert flat.count("::test_wrong error") == 1


def test_with_q_there_are_failures_only(folder: Folder) -> None:
    _, quiet = folder.pytest("suites", "--baseline=off", "-q", *PLAN)
    assert "[1/2]" not in quiet
    assert "speed-up" not in quiet
    assert "report: " in quiet
    assert "assert 3 == 4" in quiet
