"""What the `bench` fixture gives a test."""

from __future__ import annotations

import os

import pytest
from _pytest.skipping import evaluate_xfail_marks, xfailed_key

from harness.errors import Regression, SuiteError
from harness.grid import Case
from harness.measured import Measured
from harness.plugin.cases import case_of, put_properties
from harness.plugin.state import STATE
from harness.plugin.timed_test import TEST, TimedItem, disabled, expected, tell
from harness.settings import Decision
from harness.timed_test import TimedTest

__all__ = ["BESIDE_OTHERS", "BESIDE_THREADS", "CASE", "MARKED", "Bench", "measure"]

BESIDE_OTHERS = (
    "harness cases can't be timed under pytest-xdist: processes beside each other disturb each other; run the suites "
    "without -n, in a run of their own"
)
BESIDE_THREADS = (
    "harness cases can't be measured in several threads at a time: they disturb each other; run the suites without "
    "--parallel-threads, in a run of their own"
)
CASE = pytest.StashKey["Bench"]()
"""Where an item carries the one that its test was given."""
MARKED = pytest.StashKey[bool]()
"""Where it carries whether a mark xfail was in force before its case was decided, also where it is run again."""


class Bench:
    """The callable behind the fixture, which remembers what it decided."""

    @classmethod
    def of(cls, item: pytest.Item) -> Bench:
        """The one for this item."""
        if hasattr(item.config, "workerinput"):
            pytest.fail(BESIDE_OTHERS, pytrace=False)
        if item.config.stash[STATE].process != os.getpid():
            pytest.fail(
                "harness cases can't be measured in a forked process, where their results would stay; run the suites "
                "without --forked, and without the mark forked",
                pytrace=False,
            )
        item.stash[CASE] = used = cls(item)
        return used

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._state = item.config.stash[STATE]
        self.decision: Decision | None = None
        self.called = self.ended = False
        self.broken: pytest.CallInfo[None] | None = None  # the first of its subtests that failed

    def __call__(self, case: Case | TimedTest) -> Measured:
        __tracebackhide__ = True
        own = case_of(self._item)
        if own is None or case is not own:
            raise SuiteError(f"{self._item.nodeid}: bench measures the test's own case, {own}, and was given {case}")
        self.called = True
        if not self._state.measuring.acquire(blocking=False):
            pytest.fail(BESIDE_THREADS, pytrace=False)
        try:
            # As pytest finds it, which reads the marks once more when the test is over.
            marked = self._item.stash.get(xfailed_key, None) or evaluate_xfail_marks(self._item)
            self.decision = decision = self._state.measure(self._item, case)
        finally:
            self._state.measuring.release()
        self._item.stash.setdefault(MARKED, marked is not None)
        put_properties(self._item, decision)
        if decision.fails:
            raise Regression(decision.message)
        if decision.result.outcome == "unavailable":
            pytest.skip(decision.result.reason)
        return Measured(decision.result, decision.verdict)


def measure(item: TimedItem) -> None:
    """Measure a test of pytest-benchmark's. Raises `Regression` where its verdict fails it."""
    if disabled(item.config):
        pytest.skip("benchmarks are disabled (--benchmark-disable)")
    bench = Bench.of(item)
    try:
        bench(item.stash[TEST])
    except Regression:
        if (reason := expected(item, bench.decision)) is not None:
            # Said for the mark, which may ask for an error that the launch has seen, and that this one is not.
            pytest.xfail(reason)
        raise
    finally:
        if bench.decision is not None:
            tell(item, bench.decision)
