"""What the report of a test becomes by its case: red where the verdict says so, whatever the test made of it."""

from __future__ import annotations

import os

import pytest

from harness.grid import Case
from harness.names import TEST_FAILED
from harness.plugin.benching import BESIDE_OTHERS, BESIDE_THREADS, CASE, MARKED, Bench
from harness.plugin.cases import case_of, put_properties, suite_of
from harness.plugin.selection import only_shows
from harness.plugin.state import STATE
from harness.plugin.timed_test import TEST, disabled, expected, open_gate, unexcused
from harness.timed_test import TimedTest

__all__ = ["settle"]


def settle(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Turn the report of a part of a test red where the verdict of its case does, and record what the test itself says
    of the case: that it was left out, and why, or that it failed although its verdict does not.
    """
    case = case_of(item)
    if case is None and hasattr(report, "wasxfail") and (text := open_gate(item.config, [item])):
        _fail(report, text)  # under pytest-xdist, where the run does not end; it is no failure that a mark expects
    if case is None or only_shows(item.config):
        return  # nothing is measured
    if hasattr(item.config, "workerinput"):  # no process of pytest-xdist's begins a run of its own
        if hasattr(report, "wasxfail") and not (TEST in item.stash and disabled(item.config)):
            _fail(report, BESIDE_OTHERS)  # no failure that a mark expects
        return
    state = item.config.stash[STATE]
    used, name = item.stash.get(CASE, None), f"{suite_of(item)}/{case.id}"
    failing = used.decision if used is not None and used.decision and used.decision.fails else None
    if report.when == "call" and used is not None and not used.ended:
        # It is one of a subtest, and says nothing yet of what the test will have measured.
        used.broken = used.broken or (call if report.failed else None)
        return
    unmeasured = used is None or not used.called
    empty = report.when == "call" and report.passed and used is not None and used.decision is None
    if hasattr(report, "wasxfail") and call.excinfo is not None and str(call.excinfo.value) == BESIDE_THREADS:
        _fail(report, BESIDE_THREADS)  # no failure that a mark expects
    if hasattr(report, "wasxfail") and not empty:  # a mark excuses a failure, and no pass that measured nothing
        if report.skipped and unmeasured:
            _leave_out(item, case, report, f"xfail: {report.wasxfail}")
        elif (
            failing
            and call.excinfo is not None
            and call.excinfo.errisinstance(pytest.xfail.Exception)
            and expected(item, failing) is None
        ):
            # A mark says beforehand what is known to fail; a call comes after the verdict, and can't take it back.
            _fail(report, f"{failing.message}\n  (the test called xfail after that; the verdict stands)")
        elif failing and not item.stash[MARKED] and expected(item, failing) is None:
            _fail(report, f"{failing.message}\n  (a mark xfail came into force after that; the verdict stands)")
        elif failing and (name in state.objected or unexcused(item, failing)):
            # Its test failed before and is run again, or was not measured: neither is a failure that a mark expects.
            _fail(report, failing.message)
        elif failing:
            state.xfailed.add(name)
        return
    if report.when == "call" and used is not None and used.broken and not report.failed:
        call = used.broken
        if not failing:
            _fail(report, f"{case.id}: a subtest failed")
    if report.skipped and unmeasured:
        _leave_out(item, case, report, _skip_reason(report))
    elif failing and report.skipped and report.when == "setup":
        # A fixture has measured it, or its test is run again.
        _fail(report, f"{failing.message}\n  (the test skipped after that; the verdict stands)")
    elif report.when == "call" and used is not None:
        if report.passed and unmeasured:
            _fail(report, f"{case.id}: `bench` was requested and never called, so nothing was measured")
        elif report.passed and used.decision is None:
            _fail(report, f"{case.id}: `bench` failed, and the test went on, so nothing was measured")
        elif failing and not report.failed:
            _fail(report, f"{failing.message}\n  (the test caught this or went on; the verdict stands)")
        if report.failed and not failing:
            state.failed(item, case, _failure(case, used, call, report))
    elif report.failed and used is not None and used.called and not failing and name not in state.objected:
        state.failed(item, case, _failure(case, used, call, report))  # by a fixture: it may hold a promise as well
        report.user_properties = list(item.user_properties)  # which pytest has copied, and JUnit takes of the last one


def _leave_out(item: pytest.Item, case: Case | TimedTest, report: pytest.TestReport, reason: str) -> None:
    """Record that a case was not measured, and why; its test fails where it should have been."""
    state = item.config.stash[STATE]
    if state.process != os.getpid():
        return  # a forked one would begin a run of its own
    decision = state.left_out(item, case, reason)
    put_properties(item, decision)
    if decision.fails:
        _fail(report, decision.message)


def _skip_reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def _failure(case: Case | TimedTest, used: Bench, call: pytest.CallInfo[None], report: pytest.TestReport) -> str:
    """Why a test failed although its verdict does not."""
    if call.excinfo is not None:
        first = str(call.excinfo.value).strip().splitlines()[:1]
        return f"{TEST_FAILED}{call.excinfo.typename}: {' '.join(first)}"
    if not used.called:
        return "the test never called `bench`, so nothing was measured"
    # It raised nothing: what is marked as known to fail passed, or the test caught an error of `bench`.
    first = report.longreprtext.splitlines()[:1]
    return f"{TEST_FAILED}{' '.join(first).removeprefix(f'{case.id}: ')}"


def _fail(report: pytest.TestReport, message: str) -> None:
    if hasattr(report, "wasxfail"):
        del report.wasxfail  # by which pytest would count it as expected
    report.outcome = "failed"
    report.longrepr = message
