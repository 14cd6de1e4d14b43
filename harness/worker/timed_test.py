"""Serving a test written for pytest-benchmark as an arm of a launch: this process runs pytest on that one test.

Only documented parts of pytest-benchmark are used: `pedantic` with its `teardown`, `benchmark.stats`, the options of
the command line, and the hooks, which give its own record of the test.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import re
import shutil
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from harness.hardware.base import Hardware
from harness.records import Scalar

from .imported import imported
from .in_turns import Conversation, InTurns
from .protocol import EXPECTED, TIMED_TEST, UNREACHED, Failure, Load, Message, Stopped

__all__ = ["host"]

IMPORTED = "ignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning"
"""The harness, a plugin of pytest's, is there before it in this process; a project may make errors of warnings."""
TEXT = 200
"""Characters of a text of the test's own that a result keeps."""


@dataclass(frozen=True)
class Served:
    """Which test.

    iterations  calls in a round, 0 where they are still to be found
    temporary   a folder for temporary files, "" for none
    """

    nodeid: str
    config: str
    iterations: int
    temporary: str


def host(request: Load, requests: BinaryIO, replies: BinaryIO) -> None:
    """Run the test that the folder names, and answer every request from `Load` to `Stop` meanwhile.

    A failure is the answer to the request that was open when it came.
    """
    served = Served(**json.loads((Path(request.folder) / TIMED_TEST).read_text(encoding="utf-8")))
    hardware: Hardware = request.hardware.build()
    hardware.enter()
    talk = Conversation(hardware, requests, replies, served.iterations)
    launch = Launch(talk, served.temporary)
    config = _settings(Path(request.root), served.config)
    # -s: what is printed goes to the log at once, and is there also if this process does not live to tell.
    command = [*config, "--rootdir", request.root, "-W", IMPORTED, "-s", served.nodeid]
    code = pytest.main(command, plugins=[launch])
    talk.say(launch.outcome(int(code)))


class Launch:
    """The pytest plugin of a launch: it keeps pytest to the one test, and learns how that ended."""

    def __init__(self, talk: Conversation, temporary: str = "") -> None:
        self._talk, self._temporary = talk, temporary
        self._known = talk.iterations > 0
        self._looked = False
        self._gave_up = self._marked = False
        self._problem: Failure | None = None
        self._record: Mapping[str, Any] | None = None

    def outcome(self, code: int) -> Message:
        """How it ended, as the answer to the request that is open."""
        if self._problem is not None:
            return self._problem
        if code == pytest.ExitCode.USAGE_ERROR and self._looked:
            return Failure("absent", "there is no such test")
        # A plugin may count a failure that no test had: pytest-cov does where too little is covered.
        if code != pytest.ExitCode.OK and not (code == pytest.ExitCode.TESTS_FAILED and self._talk.called):
            return Failure("failed", f"its pytest ended with exit code {code} and measured nothing; the log says why")
        if not self._talk.called:
            return Failure("failed", "the test asked for `benchmark` and never called it, so nothing was measured")
        if not self._talk.stopped or self._record is None:
            return Failure("failed", "the test passed, and pytest-benchmark has no record of it")
        # Only the first process of a case is asked what the test is; launches would say the same again.
        facts = {} if self._known else {"iterations": self._talk.iterations, **_facts(self._record)}
        return Stopped(self._talk.turns, facts, {} if self._known else imported())

    @pytest.hookimpl(wrapper=True)
    def pytest_load_initial_conftests(self, early_config: pytest.Config) -> Generator[None, object, object]:
        """Leave coverage out, which pytest-cov begins here: it slows what is timed, and erases the outer run's data."""
        if hasattr(early_config.known_args_namespace, "cov_source"):
            early_config.known_args_namespace.cov_source = []
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> Generator[None, object, object]:
        """Take back what a configuration may say of other runs: selections, other processes, files to write."""
        for name, value in OPTIONS.items():
            if hasattr(config.option, name):
                setattr(config.option, name, value)
        if any(map(config.pluginmanager.hasplugin, PYTEST_TIMEOUT)):
            config.option.timeout = 0  # a launch has a deadline of its own
        with _own_temporary(config.option, self._temporary):
            return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Come after pytest-benchmark, whose fixture ours builds on."""
        config.pluginmanager.register(InTurns(self._talk), "harness-launch")
        # What failed last is for the user's own run to note; a second attempt would come to a launch that has answered.
        for name in ("lfplugin", "nfplugin", "stepwiseplugin", *RERUNFAILURES):
            if config.pluginmanager.hasplugin(name):
                config.pluginmanager.unregister(name=name)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, object, object]:
        """Keep the one test, whatever shares tests out over machines: of a single one, most get none."""
        only = [*items]
        result = yield
        items[:] = items or only
        return result

    def pytest_collection(self) -> None:
        """Options are understood and plugins are here; from now on it is the test that is not found."""
        self._looked = True

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_benchmark_generate_machine_info(self) -> dict[str, Any]:
        """pytest-benchmark's own keys, which a conftest's hooks count on.

        The processor is left empty: the harness knows it, and asking for it again takes a second.
        """
        return {
            "node": platform.node(),
            "processor": "",
            "machine": platform.machine(),
            "python_compiler": platform.python_compiler(),
            "python_implementation": platform.python_implementation(),
            "python_implementation_version": platform.python_version(),
            "python_version": platform.python_version(),
            "python_build": platform.python_build(),
            "release": platform.release(),
            "system": platform.system(),
            "cpu": {"arch": platform.machine(), "count": os.cpu_count(), "brand_raw": "", "flags": []},
        }

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_benchmark_generate_commit_info(self) -> dict[str, Any]:
        """Nor is git asked: this is what pytest-benchmark says where there is no repository."""
        return {
            "id": "unversioned",
            "time": None,
            "author_time": None,
            "dirty": False,
            "project": "",
            "branch": "(unknown)",
        }

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_json(self, output_json: Mapping[str, Any]) -> None:
        """pytest-benchmark's own record of the test; it makes none of a test that had an error."""
        self._record = next(iter(output_json["benchmarks"]), None)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that can't be imported."""
        if report.failed:
            self._note("failed", f"{report.nodeid} can't be collected", str(report.longrepr))

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """See whether the outer item has a mark xfail too, as this one has before its fixtures are set up."""
        self._marked = item.get_closest_marker("xfail") is not None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        """See whether the test called `pytest.xfail()`: its report tells that no more from a mark."""
        self._gave_up = call.excinfo is not None and call.excinfo.errisinstance(pytest.xfail.Exception)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The first thing that went wrong, or the reason for a skip."""
        if report.failed:
            known = self._marked and isinstance(report.longrepr, str) and report.longrepr.startswith("[XPASS(strict)]")
            if known:
                return  # it was measured, and the mark on the outer item makes that red
            crash = getattr(report.longrepr, "reprcrash", None)
            message = f"the test failed in its {report.when}: {crash.message if crash else report.longrepr}"
            self._note("failed", message.splitlines()[0][: 5 * TEXT], str(report.longrepr))
        elif report.skipped and not hasattr(report, "context"):  # a subtest that skips leaves its test measured
            expected = getattr(report, "wasxfail", None)
            if expected is None:
                text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
                hint = f" ({UNREACHED})" if report.when == "setup" else ""
                self._note("unavailable", text.removeprefix("Skipped: ") + hint, "")
            elif self._gave_up:
                self._note("unavailable", f"xfail: {expected}", "")
            else:
                self._note("failed", f"{EXPECTED}{expected}", str(report.longrepr))

    def _note(self, outcome: str, message: str, log: str) -> None:
        self._problem = self._problem or Failure(outcome, message, log[-8000:])


OPTIONS: Mapping[str, object] = {
    "benchmark_json": Path(os.devnull),  # or pytest-benchmark would make no record, and call no hook
    "benchmark_save": None,
    "benchmark_autosave": None,
    "benchmark_compare": [],
    "benchmark_compare_fail": None,
    "benchmark_histogram": [],
    "benchmark_skip": False,
    "benchmark_disable": False,
    "benchmark_cprofile": None,
    "keyword": "",
    "markexpr": "",
    "numprocesses": None,
    "dist": "no",
    "tx": [],
    "forked": False,
    "xmlpath": None,
    "collectonly": False,
    "log_file": os.devnull,  # an empty one would leave that of the settings
    "htmlpath": None,
    "report_log": None,
    "allure_report_dir": None,
}
"""Options of pytest and its plugins that a launch has its own values of."""
RERUNFAILURES = ("rerunfailures", "pytest_rerunfailures")
"""The names of pytest-rerunfailures as a plugin, by itself and by -p."""
PYTEST_TIMEOUT = ("timeout", "pytest_timeout")
"""Its names as a plugin, by itself and by -p. A project may have a `--timeout` of its own, which its tests read."""


SETTINGS: Mapping[str, str] = {
    "pytest.toml": "",
    ".pytest.toml": "",
    "pytest.ini": "",
    ".pytest.ini": "",
    "pyproject.toml": r"\[tool\.pytest[.\]]",
    "tox.ini": r"\[pytest\]",
    "setup.cfg": r"\[tool:pytest\]",
}
"""Where pytest looks for a project's settings, in its order, and the pattern without which a file has none."""


def _settings(root: Path, config: str) -> list[str]:
    """The options by which pytest takes a tree's settings: those of the file that the outer pytest read, "" for none.

    Another commit may have no settings in that file, and has those of the file that its own pytest would find in its
    folder, or none. pytest itself is not let look for it: a checkout lies in the working tree, whose settings it would
    come to.
    """
    if not config:
        return []
    own = (root / name for name in (config, *SETTINGS) if re.search(SETTINGS.get(name, ""), _text(root / name)))
    found = next((file for file in (*own, root / config) if file.exists() and not file.is_dir()), Path(os.devnull))
    # A file outside of the tree does not say where conftests end, and the working tree's lie above a checkout.
    return ["-c", str(found), *([] if found.is_relative_to(root) else ["--confcutdir", str(root)])]


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


@contextlib.contextmanager
def _own_temporary(option: Any, usual: str) -> Iterator[None]:
    """Temporary files of this process alone: where settings have them (`--basetemp`), which may be the disk that is
    timed, or else in the folder that its parent made for them, "" for none.

    In a folder of its own, since pytest empties it first; and removed at the end, since there are many launches, and
    pytest keeps a user's last three.
    """
    given = getattr(option, "basetemp", None) or usual
    if not given:
        yield
        return
    folder = Path(given).absolute() / f"launch-{os.getpid()}"
    with contextlib.suppress(OSError):  # pytest says so to a test that asks for such a folder
        folder.parent.mkdir(parents=True, exist_ok=True)
    option.basetemp = str(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _facts(record: Mapping[str, Any]) -> dict[str, Scalar]:
    """What pytest-benchmark recorded beside times: the group, and what the test put into `benchmark.extra_info`."""
    found: dict[str, Scalar] = {"group": str(record["group"])[:TEXT]} if record.get("group") else {}
    for name, value in record.get("extra_info", {}).items():
        plain = isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))
        found[f"extra.{name}"[:TEXT]] = value if plain and not isinstance(value, str) else str(value)[:TEXT]
    return found
