"""The pytest edge: options, the `bench` fixture, one test item a case, and the gate.

Nothing is green by omission: a `bench` that was requested and not called fails its test, a verdict stands whatever the
test does with the exception, and a run that measured or decided nothing fails.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from harness.errors import HarnessError, Regression, UnavailableError
from harness.grid import Case, grid_of
from harness.measured import Measured
from harness.plugin.state import STATE, State, case_of, plan_of
from harness.report.junit import properties
from harness.settings import MODES, Decision, check_reason

CASE = pytest.StashKey["Bench"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("harness", "inference harness")
    group.addoption(
        "--baseline",
        choices=MODES,
        default="compare",
        help="compare: fail on what got worse (default); strict: also on what could not be decided; "
        "update: accept what is measured, with --reason; off: measure only",
    )
    group.addoption("--reason", default="", help="why --baseline=update is right; kept in the baseline")
    group.addoption("--baselines", default="baselines", help="folder of the committed baselines (default: %(default)s)")
    group.addoption("--baseline-rev", default="", metavar="REV", help="read the baselines from another git revision")
    group.addoption("--reports", default="reports", help="folder that runs are written into (default: %(default)s)")
    group.addoption("--quick", action="store_true", help="smoke test: one short launch a case, and no verdict")
    group.addoption("--cold", action="store_true", help="prepare every artefact anew, whatever the cache holds")
    group.addoption("--resume", action="store_true", help="go on with the latest run if it was interrupted")
    group.addoption(
        "--plan",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change the sampling plan, such as --plan seconds=3 (see docs/writing-a-suite.md)",
    )
    group.addoption(
        "--require-hardware", action="append", default=[], metavar="NAME", help="fail where this hardware is absent"
    )
    group.addoption(
        "--allow-unavailable",
        action="append",
        default=[],
        metavar="NAME",
        help="cases with this model, technique or id may be unavailable although they have a baseline",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Read the options once, and refuse what makes no sense together."""
    try:
        plan = plan_of(config)
        check_reason(config.getoption("baseline"), config.getoption("reason"))
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[STATE] = State(config, plan)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each case of a grid."""
    grid = grid_of(metafunc.function)
    if grid is None:
        return
    for name in ("case", "bench"):
        if name not in metafunc.fixturenames:
            raise pytest.UsageError(
                f"{metafunc.definition.nodeid}: a function with a grid takes `case` and `bench`, and this one has no "
                f"{name!r}; write: def {metafunc.function.__name__}(case, bench): bench(case)"
            )
    cases = grid.cases()
    metafunc.parametrize("case", [_parameter(case) for case in cases])


def _parameter(case: Case) -> Any:
    reason = case.inapplicable()
    marks = [pytest.mark.skip(reason=reason)] if reason else []
    return pytest.param(case, id=case.id, marks=marks)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check the selected cases together, and add a failing item for each baseline whose case is gone."""
    state = config.stash[STATE]
    cases = [item for item in items if case_of(item)]
    if not cases or hasattr(config, "workerinput"):
        return
    try:
        items += state.collected(cases)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Callable[[Case], Measured]:
    """Measure a case and compare it with its baseline: `result = bench(case)`.

    Gives a `harness.measured.Measured`. Raises `Regression` where the case got worse than the committed baseline.
    """
    if hasattr(request.config, "workerinput"):
        pytest.fail(
            "harness cases can't be timed under pytest-xdist: processes beside each other disturb each other; "
            "run the suites without -n, in a run of their own",
            pytrace=False,
        )
    used = Bench(request.node, request.config.stash[STATE])
    request.node.stash[CASE] = used
    return used


class Bench:
    """The callable behind the fixture, which remembers what it decided."""

    def __init__(self, item: pytest.Function, state: State) -> None:
        self._item = item
        self._state = state
        self.decision: Decision | None = None
        self.called = False

    def __call__(self, case: Case) -> Measured:
        __tracebackhide__ = True
        self.called = True
        session = self._state.session
        required = session.require(case)
        if required:
            raise UnavailableError(f"{case.id}: --require-hardware={case.hardware.name}: {required}")
        self.decision = decision = self._state.measure(self._item, case)
        self._item.user_properties.extend(properties(decision.result, decision.comparisons))
        if decision.fails:
            raise Regression(decision.message)
        if decision.result.outcome == "unavailable":
            pytest.skip(decision.result.reason)
        return Measured(decision.result, decision.verdict)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a test red where its verdict says so, whatever the test made of it."""
    report = yield
    case = case_of(item)
    if case is None:
        return report
    state = item.config.stash[STATE]
    used = item.stash.get(CASE, None)
    if report.when == "setup" and report.skipped and not hasattr(report, "wasxfail"):
        decision = state.left_out(item, case, _skip_reason(report))
        if decision.fails:
            _fail(report, decision.message)
    elif report.when == "call" and not hasattr(report, "wasxfail"):
        if used is not None and not used.called and report.passed:
            _fail(report, f"{case.id}: `bench` was requested and never called, so nothing was measured")
        elif used is not None and used.decision and used.decision.fails and not report.failed:
            _fail(report, f"{used.decision.message}\n  (the test caught this or went on; the verdict stands)")
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> tuple[str, str, Any] | None:
    """Print the line of a case in place of a dot."""
    return config.stash[STATE].progress.status(report)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """End the run, write its reports, and fail it where it measured or decided nothing."""
    state = session.config.stash[STATE]
    interrupted = exitstatus == pytest.ExitCode.INTERRUPTED or bool(session.shouldstop) or bool(session.shouldfail)
    if state.finish(complete=not interrupted) and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the verdicts and where the report is."""
    state = terminalreporter.config.stash[STATE]
    if state.run is not None:
        state.progress.summary(terminalreporter, state.run, state.folder, state.undone)


def _skip_reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def _fail(report: pytest.TestReport, message: str) -> None:
    report.outcome = "failed"
    report.longrepr = message
