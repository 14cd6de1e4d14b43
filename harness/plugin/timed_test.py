"""Tests written for pytest-benchmark: which of them are cases, and the items that measure them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import HarnessError, Regression, SuiteError
from harness.grid import grid_of
from harness.plugin.options import is_gate
from harness.plugin.selection import is_left, only_shows
from harness.records import Outcome
from harness.settings import Decision
from harness.timed_test import TimedTest
from harness.units import plural
from harness.worker.protocol import EXPECTED

__all__ = [
    "FIXTURE",
    "OLDEST",
    "TEST",
    "TimedItem",
    "check_asked",
    "check_installed",
    "disabled",
    "expected",
    "open_gate",
    "tell",
    "timed_test",
    "unexcused",
    "unjudged",
]

FIXTURE = "benchmark"
OLDEST = "5.3"
"""The pytest-benchmark that a launch needs: older ones have no `teardown` in `pedantic`, or take no path for JSON."""
TEST = pytest.StashKey[TimedTest]()
"""Where an item that is a case of this kind carries it."""
SHOWN = ("function", "cls", "module", "instance", "fixturenames", "callspec", "originalname")
"""What hooks of users read of the item of a test function."""


def timed_test(item: pytest.Item) -> TimedTest | None:
    """The case that a collected item is, None where it is none.

    It is one if it asks for pytest-benchmark's fixture and lies in a folder of suites: elsewhere such tests stay
    pytest-benchmark's alone. In a launch, which is pytest on such a test, it is what is measured, and no case. The
    cases of a grid are measured by `bench`.
    """
    if FIXTURE not in getattr(item, "fixturenames", ()) or not _is_for_cases(item):
        return None
    root, settings = item.config.rootpath, item.config.inipath
    if settings is None:
        return TimedTest(item.nodeid)
    inside = settings.is_relative_to(root)
    return TimedTest(item.nodeid, settings.relative_to(root).as_posix() if inside else str(settings))


def _is_for_cases(item: pytest.Item) -> bool:
    """Whether an item is a case if it asks for the fixture."""
    folders = (item.config.rootpath / folder for folder in item.config.getini("harness_suites"))
    return _is_for_benchmark(item) and any(item.path.is_relative_to(folder) for folder in folders)


def _is_for_benchmark(item: pytest.Item) -> bool:
    """Whether an item is a test of pytest-benchmark's if it asks for the fixture."""
    plugins = item.config.pluginmanager
    if not plugins.hasplugin("pytest-benchmark") or plugins.hasplugin("harness-launch"):
        return False
    return grid_of(getattr(item, "function", None)) is None


def unjudged(config: pytest.Config, items: Iterable[pytest.Item]) -> str:
    """What is said of the tests of pytest-benchmark's that are to be run and are no cases although they lie in a folder
    that is called as one of suites is, with the cure; "" where there are none. Folders of suites are relative to
    pytest's rootdir, which may be another folder than the one where pytest was called.
    """
    root, known = config.rootpath, config.getini("harness_suites")
    there = [folder for folder in known if (root / folder).is_dir()]
    around = {*root.parents, root} if there else {*root.parents}  # whatever they are called, they hold the project
    names = [parts for folder in known if (parts := Path(folder).parts)]

    def alike(path: Path) -> Path | None:
        folders = (folder for folder in path.parents if folder not in around)
        return next((folder for folder in folders if any(folder.parts[-len(one) :] == one for one in names)), None)

    tests = [item for item in items if FIXTURE in getattr(item, "fixturenames", ()) and _is_for_benchmark(item)]
    tests = [item for item in tests if not _is_for_cases(item) and not is_left(item)]
    found = [folder for item in tests if (folder := alike(item.path))]
    if not found:
        return ""
    inside = sorted({folder.relative_to(root).as_posix() for folder in found if folder.is_relative_to(root)})
    outside = sorted({str(folder) for folder in found if not folder.is_relative_to(root)})
    setting = f"set harness_suites = {shlex.join([*there, *inside])}"
    cure = "run pytest with --rootdir that holds them" if outside else setting
    return (
        f"{plural(len(found), 'test')} of pytest-benchmark in {', '.join([*inside, *outside])}, not among the folders "
        f"of suites of {root}: not judged; {cure}"
    )


def open_gate(config: pytest.Config, items: Iterable[pytest.Item]) -> str:
    """What `unjudged` says where it ends a run, "" where it does not: verdicts were asked for by name, and no folder of
    suites is where pytest's rootdir has them, or the tests would be cases if it were the folder where pytest was
    called. Others may rightly be none.
    """
    if not is_gate(config) or only_shows(config):
        return ""
    known = config.getini("harness_suites")
    if any((config.rootpath / folder).is_dir() for folder in known):
        folders = [config.invocation_params.dir / folder for folder in known]
        items = [item for item in items if any(item.path.is_relative_to(one) for one in folders)]
    text = unjudged(config, items)
    return text if text and not disabled(config) else ""


def check_asked(item: pytest.Item) -> None:
    """Fail a test that comes to the fixture and is no case: `request.getfixturevalue` is not seen in collection, and
    under pytest-xdist the process that was started sees none.
    """
    config = item.config
    if text := open_gate(config, [item]):
        pytest.fail(text, pytrace=False)
    if TEST in item.stash or not _is_for_cases(item) or disabled(config) or config.getoption("benchmark_skip"):
        return
    pytest.fail(
        f"{item.nodeid} asks for benchmark while it runs, so it is no case: name benchmark among the arguments of the "
        "test or of its fixture",
        pytrace=False,
    )


def disabled(config: pytest.Config) -> bool:
    """Whether pytest was asked to measure none of them."""
    return bool(config.getoption("benchmark_disable") and not config.getoption("benchmark_enable"))


def check_installed(items: Iterable[pytest.Item]) -> None:
    """Raise `SuiteError` where such a case is to be measured, and the installed pytest-benchmark is too old for it."""
    if not any(TEST in item.stash and not is_left(item) and not disabled(item.config) for item in items):
        return
    from packaging.version import Version
    from pytest_benchmark import __version__ as found  # here: only who has such a test has it

    if Version(found).release < Version(OLDEST).release:
        raise SuiteError(
            f"tests that ask for `benchmark` are measured with pytest-benchmark {OLDEST} or newer, and {found} is "
            "installed: pip install -U pytest-benchmark"
        )


class TimedItem(pytest.Item):
    """The item of such a test. It runs nothing of the test itself: its launches do, each in a process of its own."""

    def __init__(self, *, test: pytest.Item, measure: Callable[[TimedItem], None], **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.test = test
        self.obj = getattr(test, "obj", None)  # conditions of skipif are read in its module
        for name in SHOWN:
            if hasattr(test, name):
                setattr(self, name, getattr(test, name))
        self.funcargs: dict[str, object] = {}
        self.told = False
        self._measure = measure
        self.own_markers = list(test.own_markers)
        self.keywords.update(test.keywords)
        self.stash[TEST] = test.stash[TEST]

    @classmethod
    def of(cls, test: pytest.Item, measure: Callable[[TimedItem], None]) -> TimedItem:
        """The item in the place of a collected one."""
        assert test.parent is not None
        item: TimedItem = cls.from_parent(test.parent, name=test.name, test=test, measure=measure)
        return item

    def runtest(self) -> None:
        self._measure(self)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> Any:  # noqa: ARG002
        if isinstance(excinfo.value, (Regression, HarnessError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        return self.test.reportinfo()


def expected(item: pytest.Item, decision: Decision | None) -> str | None:
    """The reason of the mark as which such a test failed in its launch; None of other items and other failures.

    The launch has seen the error itself, and so what the mark says of it (`raises`).
    """
    reason = decision.result.reason if TEST in item.stash and decision is not None else ""
    return reason.removeprefix(EXPECTED) if reason.startswith(EXPECTED) else None


def unexcused(item: pytest.Item, decision: Decision) -> bool:
    """Whether such a test was not measured, and not because it failed as its mark expects: it skipped itself, crashed,
    took too long, never called `benchmark`.
    """
    if TEST not in item.stash or decision.result.outcome is Outcome.COMPLETED:
        return False
    return expected(item, decision) is None


def tell(item: TimedItem, decision: Decision) -> None:
    """Hand what was measured to pytest-benchmark, as if it had: to its table, its files, and the hooks of users.

    Its rounds are the calls that the launches kept. Nothing is handed on of a test that gave no times, nor once more of
    one that is run again.
    """
    result = decision.result
    if item.told or result.outcome is not Outcome.COMPLETED or not result.launches:
        return
    item.told = True
    from pytest_benchmark.stats import Metadata

    from harness.report.overview import CaseView  # here: only who measures such a test needs them
    from harness.report.pytest_benchmark import extra_info

    made: Any = Metadata  # it has no types
    session: Any = item.config.pluginmanager.get_plugin("pytest-benchmark")
    spec = getattr(item.test, "callspec", None)
    facts = result.facts
    counted = [one for one in result.launches if one.counts]
    iterations = int(facts["iterations"])
    fixture = SimpleNamespace(
        name=item.name,
        fullname=item.nodeid,
        group=facts.get("group"),
        param=spec.id if spec else None,
        params=spec.params if spec else None,
        extra_info=extra_info(CaseView(result.suite, result.case_id, result, decision.comparisons), result),
        cprofile_stats=None,
        has_error=False,
    )
    told = made(fixture, iterations, {"timer": time.perf_counter, "warmup": True})
    for one in counted:
        for seconds in one.samples["candidate"]:
            told.update(seconds * iterations)
    session.benchmarks.append(told)
