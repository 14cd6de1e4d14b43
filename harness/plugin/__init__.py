"""The pytest edge: options, the `bench` fixture, one test item a case, and the gate.

Nothing is green by omission: a `bench` that was requested and not called fails its test, a verdict stands whatever the
test does with the exception, and a run that measured or decided nothing fails.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.grid import Case, grid_of
from harness.measure.environment import check_system
from harness.measured import Measured
from harness.plugin.benching import CASE, Bench, measure
from harness.plugin.cases import case_of, note_twins
from harness.plugin.makereport import settle
from harness.plugin.options import add_options, check_options, plan_of, pytest_load_initial_conftests  # noqa: F401
from harness.plugin.progress import unwritable
from harness.plugin.selection import SELECTIONS, is_report, only_shows
from harness.plugin.state import STATE, State
from harness.plugin.timed_test import (
    FIXTURE,
    TEST,
    TimedItem,
    check_asked,
    check_installed,
    open_gate,
    timed_test,
    unjudged,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options once, and refuse what makes no sense together."""
    for name, words in SELECTIONS.items():
        config.addinivalue_line("markers", f"{name}: {words}")
    try:
        plan = plan_of(config)
        check_options(config)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[STATE] = State(config, plan)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collect nothing among the reports; pytest does not ask about what was named."""
    return is_report(collection_path, config) or None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each case of a grid."""
    if (grid := grid_of(metafunc.function)) is None:
        return
    if grid.fault:
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: {grid.fault}")
    if metafunc.cls is not None:
        name, owner = metafunc.function.__name__, metafunc.cls.__name__
        raise pytest.UsageError(
            f"{metafunc.definition.nodeid}: a grid stands on a method of a class, and the process that measures a case "
            f"finds it by a function of its file; write {name} outside of {owner}, without self"
        )
    for name in ("case", "bench"):
        if name not in metafunc.fixturenames:
            raise pytest.UsageError(
                f"{metafunc.definition.nodeid}: a function with a grid takes `case` and `bench`, and this one has no "
                f"{name!r}; write: def {metafunc.function.__name__}(case, bench): bench(case)"
            )
    metafunc.config.stash[STATE].places |= {one.name: one for one in grid.hardware}
    # A mark on the function leaves its cases to the full selection, which has those of the default one as well.
    marks = [pytest.mark.full]
    if metafunc.definition.get_closest_marker("full") is None:
        marks.append(pytest.mark.default)
    metafunc.parametrize("case", [_parameter(case, marks) for case in grid.cases()])


def _parameter(case: Case, marks: list[pytest.MarkDecorator]) -> Any:
    reason = case.inapplicable()
    return pytest.param(case, id=case.id, marks=[*marks, pytest.mark.skip(reason=reason)] if reason else marks)


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem() -> Generator[None, Any, Any]:
    """See what parameters a function with a grid has beside the grid's, whichever of their values is selected."""
    made = yield
    if isinstance(made, list):
        note_twins(made)
    return made


def pytest_itemcollected(item: pytest.Item) -> None:
    """See which tests of pytest-benchmark's are cases, and let the selections of cases apply to them."""
    if (test := timed_test(item)) is not None:
        item.stash[TEST] = test
        if item.get_closest_marker("full") is None:
            item.add_marker(pytest.mark.default)
        item.add_marker(pytest.mark.full)
    item.config.stash[STATE].note_collected(item)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check the selected cases together, and add a failing item for each baseline whose case is gone. Tests that look
    like cases and are none end a run that asks for verdicts: its gate would be open.
    """
    state = config.stash[STATE]
    state.note_dropped(items)
    left = state.left_to_full([item for item in items if case_of(item)])
    if left:
        items[:] = [item for item in items if item.nodeid not in left]
        config.hook.pytest_deselected(items=list(left.values()))
    items[:] = [TimedItem.of(item, measure) if TEST in item.stash else item for item in items]
    if hasattr(config, "workerinput"):
        return
    if text := open_gate(config, items):
        raise pytest.UsageError(text)  # before a run begins, which takes the place of the latest one
    cases = [item for item in items if case_of(item)]
    try:
        if cases and not only_shows(config):
            check_system()
            check_installed(cases)
        items += state.collected(session, cases)
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Note that a part of the suites was left out, by whatever means."""
    for item in items:
        if isinstance(item, pytest.Item):  # pytest-testmon counts with objects that are none
            item.config.stash[STATE].note_deselected(item)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Note what was left out after the cases were counted, and not said; say which tests look like cases and aren't."""
    config = session.config
    state = config.stash[STATE]
    state.note_dropped(session.items)
    if not hasattr(config, "workerinput"):
        state.progress.note(unjudged(config, session.items))


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Callable[[Case], Measured]:
    """Measure a case and compare it with its baseline: `result = bench(case)`.

    Gives a `harness.measured.Measured`. Raises `Regression` where the case got worse than the committed baseline.
    """
    return Bench.of(request.node)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
    """See that no test comes to `benchmark` without being a case."""
    if fixturedef.argname == FIXTURE and isinstance(request.node, pytest.Item):
        check_asked(request.node)


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """See whether the tests came to their end: `pytest.exit` may leave the exit code of a run whose tests did."""
    result = yield
    session.config.stash[STATE].ended = True
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """See when a test is over."""
    try:
        return (yield)
    finally:
        used = item.stash.get(CASE, None)
        if used is not None:
            used.ended = True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a test red where its verdict says so, whatever the test made of it."""
    report = yield
    settle(item, call, report)
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Say in pytest-benchmark's files what the harness knows the machine by."""
    if identity := config.stash[STATE].identity:
        machine_info["harness"] = identity


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> tuple[str, str, Any] | None:
    """Print the line of a case in place of a dot."""
    return config.stash[STATE].progress.status(report)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """End the run, write its reports, and fail it where it measured or decided nothing."""
    state = session.config.stash[STATE]
    whole = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
    complete = whole and state.ended and not session.shouldstop and not session.shouldfail
    try:
        if state.finish(complete=complete) and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED if complete else pytest.ExitCode.INTERRUPTED
    except OSError as error:
        # Said in the summary, unless it has ended pytest already: raised from here, it would take the summary along.
        if exitstatus != pytest.ExitCode.USAGE_ERROR:
            state.undone = unwritable(state.session, error, complete=complete)
        session.exitstatus = pytest.ExitCode.USAGE_ERROR


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the verdicts and where the report is."""
    state = terminalreporter.config.stash[STATE]
    if state.run is not None:
        state.progress.summary(terminalreporter, state.run, state.folder, state.undone)
    elif state.undone:
        terminalreporter.write_line(f"ERROR: {state.undone}", red=True)
