"""What the plugin remembers between hooks: the options, the selected cases and the session they are measured in."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import HarnessError, SuiteError
from harness.grid import Address, Case, grids_of, own_metrics
from harness.hardware import Hardware, cpu, cuda
from harness.measure.ahead import usual_jobs
from harness.measure.availability import Availability
from harness.metrics import Metric
from harness.model import Model
from harness.plan import Plan
from harness.plugin.cases import TWIN, case_of, key_of, put_properties, suite_of
from harness.plugin.folders import import_folders
from harness.plugin.missing import MissingCase, has_baselines
from harness.plugin.options import against_of, command_of, lacked, mode_of
from harness.plugin.progress import Progress, writing
from harness.plugin.selection import folders_of, is_filtered, is_left, only_shows, sees_all, twice
from harness.records import Run, Scalar
from harness.settings import Decision, Settings
from harness.timed_test import TimedTest

if TYPE_CHECKING:
    from harness.session import Session

__all__ = ["STATE", "State"]


class State:
    """The plugin's state of one pytest session. The harness session starts with the first case that needs it."""

    def __init__(self, config: pytest.Config, plan: Plan) -> None:
        self._config = config
        self._plan = plan
        self._items: dict[tuple[str, str], pytest.Item] = {}
        self._files: dict[str, Path] = {}
        self._hardware: dict[str, Hardware] = {item.name: item for item in (cpu, cuda)}
        self._chosen: dict[str, Hardware] = {}
        self._own: dict[str, tuple[Metric, ...]] = {}
        self._session: Session | None = None
        self._found: set[tuple[str, str]] = set()
        self._left: dict[str, pytest.Item] = {}
        self._reserved: set[tuple[str, str]] = set()
        self._deselected: set[tuple[str, str]] = set()
        self._made_ahead = False
        self.xfailed: set[str] = set()  # the cases, as suite/case_id, that failed as the marks of their tests expect
        self.objected: set[str] = set()  # those, likewise, whose tests failed although their verdicts do not
        self.places: dict[str, Hardware] = {}  # by name, those of all grids, also where no case of theirs is selected
        self.progress = Progress(config)
        self.run: Run | None = None
        self.undone: str | None = None
        self.ended = False  # whether pytest came to the end of its tests
        self.measuring = threading.Lock()  # held by the thread that measures a case
        self.process = os.getpid()

    @property
    def session(self) -> Session:
        """The session, started now if it was not. Raises `pytest.UsageError`, which ends pytest wherever it is."""
        from harness.session import Session  # with it come the judge and scipy, which other test runs can do without

        if self._session is None:
            try:
                self._session = Session(
                    self._settings(),
                    self._hardware.values(),
                    len(self._items),
                    self._own,
                    self.progress.stage,
                    measurable=self._measurable(),
                    cases=[case for item in self._items.values() if isinstance(case := case_of(item), Case)],
                )
            except (HarnessError, OSError) as error:
                raise pytest.UsageError(str(error)) from None
            self.progress.note(self._session.notice)
        return self._session

    @property
    def folder(self) -> Path | None:
        """Where this run is written, None if nothing was run."""
        return self._session.folder if self._session else None

    @property
    def identity(self) -> dict[str, dict[str, Scalar]]:
        """What each hardware of this run is, empty if nothing was run."""
        return {name: dict(one) for name, one in self._session.environment.hardware.items()} if self._session else {}

    def left_to_full(self, items: list[pytest.Item]) -> dict[str, pytest.Item]:
        """By node id those that only the full selection runs, where neither -m nor the names of tests say otherwise."""
        named = all("::" in argument for argument in self._config.args)
        if not named and not self._config.option.markexpr:
            self._left = {item.nodeid: item for item in items if item.get_closest_marker("default") is None}
        return self._left

    def note_collected(self, item: pytest.Item) -> None:
        """Note what was found before anything was left out."""
        if key := key_of(item):
            self._found.add(key)

    def note_dropped(self, items: Iterable[pytest.Item]) -> None:
        """Note the cases that were found and are not among these: conftests and plugins drop some without a word."""
        for key in self._found - set(map(key_of, items)) - self._reserved:
            self._drop(key)

    def note_deselected(self, item: pytest.Item) -> None:
        """Note that an item is not run. A case that should have been makes the run one of a part of the suites.

        Some are deselected when the cases were counted already, by --lf and by a project's own hooks.
        """
        if (key := key_of(item)) and item.nodeid not in self._left:
            self._drop(key)

    def _drop(self, key: tuple[str, str]) -> None:
        self._deselected.add(key)
        if (item := self._items.pop(key, None)) is not None:
            self.progress.drop(item.nodeid)
            if self._session is not None:
                self._session.drop()

    def collected(self, session: pytest.Session, items: list[pytest.Item]) -> list[pytest.Item]:
        """Check the selected cases, and give an item for each baseline whose case is gone, or that is damaged.

        Raises `HarnessError`.
        """
        models: dict[tuple[str, str], Model] = {}
        self._reserved = {(suite_of(item), case.id) for item in self._left.values() if (case := case_of(item))}
        for item in items:
            self._select(item, models)
        required = set(self._config.getoption("require_hardware"))
        self._hardware |= {name: one for name, one in self.places.items() if name in required - self._hardware.keys()}
        if unknown := required - self._hardware.keys():
            there = ", ".join(self._hardware | self.places)
            raise SuiteError(f"--require-hardware={min(unknown)}: no grid has it; there is {there}")
        self.progress.expect({item.nodeid for item in items})
        settings = self._settings()
        if only_shows(self._config) or not (settings.gates and sees_all(self._config)):
            return []
        folders = folders_of(self._config)
        suites = self._config.getini("harness_suites")
        if not (items or has_baselines(settings, folders, suites, self._deselected)):
            return []
        present = self._items.keys() | self._reserved | self._deselected
        return [
            MissingCase.from_parent(
                session, name=f"{one.suite}/{one.case_id}", run=self.session, missing=(one, portable)
            )
            for one, portable in self.session.missing(folders, present)
            if (one.suite, one.case_id) not in self._deselected  # whose baseline may be damaged
        ]

    def measure(self, item: pytest.Item, case: Case | TimedTest) -> Decision:
        """Measure and judge the case of an item, or give what was decided before where its test is run again."""
        suite = suite_of(item)
        if (known := self.session.decided(suite, case.id)) and self.progress.again(known):
            return known
        if not self._made_ahead:
            self._made_ahead = True
            self._make_ahead()
        self.progress.start(case.id)
        if isinstance(case, TimedTest):
            decision = self.session.measure_test(case, suite)
        else:
            decision = self.session.measure(case, self._address(item, case), suite, item.nodeid)
        self.progress.done(decision)
        return decision

    def left_out(self, item: pytest.Item, case: Case | TimedTest, reason: str) -> Decision:
        """Record that the case of an item was skipped before it could be measured."""
        suite, session = suite_of(item), self.session
        with writing(session):
            return session.decided(suite, case.id) or session.leave_out(case, suite, item.nodeid, reason)

    def failed(self, item: pytest.Item, case: Case | TimedTest, reason: str) -> None:
        """Record that the test of a case failed although its verdict does not."""
        suite, session = suite_of(item), self.session
        with writing(session):
            if session.decided(suite, case.id) is None:
                session.leave_out(case, suite, item.nodeid, reason)
            session.object_to(suite, case.id, reason)
        self.objected.add(f"{suite}/{case.id}")
        if decision := session.decided(suite, case.id):
            put_properties(item, decision)
            self.progress.replaced(decision)

    def finish(self, *, complete: bool) -> bool:
        """End the run and write its reports. Gives whether the run fails although no test of it did."""
        runs = not only_shows(self._config)
        # It is no pass, whatever exit code `pytest.exit` was given.
        cut = runs and not complete and bool(self._session or self._items) and self._settings().gates
        if self._session is None and not (self._items and runs and complete):
            self.undone = lacked(self._config, self._hardware) if runs and complete else None
            return cut or self.undone is not None
        silent = [item for key, item in self._items.items() if complete and not self.session.decided(*key)]
        left = [
            self.session.leave_out(case, suite_of(item), item.nodeid, "its test ended before it was measured")
            for item in silent
            if (case := case_of(item))
        ]
        self.run, self.undone = self.session.finish(complete=complete, xfailed=self.xfailed)
        self.progress.note(self.session.notice)
        if (lost := [decision.result.case_id for decision in left if decision.fails]) and not self.undone:
            self.undone = f"{len(lost)} cases have a baseline and were not measured: {', '.join(lost[:5])}"
        return cut or self.undone is not None

    def _make_ahead(self) -> None:
        """Have the artefacts of all selected cases made, before the first one is timed."""
        wanted = [
            (case, self._address(item, case), suite)
            for (suite, _), item in self._items.items()
            if isinstance(case := case_of(item), Case) and not is_left(item)
        ]
        self.session.make_ahead(wanted, self.progress.ahead)
        self.progress.note(self.session.notice)
        self.progress.ahead_done()

    def _select(self, item: pytest.Item, models: dict[tuple[str, str], Model]) -> None:
        case, suite = case_of(item), suite_of(item)
        assert case is not None
        if self._files.setdefault(suite, item.path) != item.path:
            raise SuiteError(
                f"{item.path} and {self._files[suite]} would both be the suite {suite!r}, and share its metrics and "
                "baselines; rename one"
            )
        other = self._items.get((suite, case.id), item.stash.get(TWIN, None))
        if other is not None or (suite, case.id) in self._reserved:
            raise SuiteError(f"{item.nodeid}: {twice(item, other, case, suite)}")
        self._items[suite, case.id] = item
        if self._chosen.setdefault(case.hardware.name, case.hardware) != case.hardware:
            raise SuiteError(
                f"{item.nodeid}: two different kinds of hardware are named {case.hardware.name}, and what is measured "
                "on one would be taken for the other's; give one another name, or define it in one place alone"
            )
        self._hardware[case.hardware.name] = case.hardware
        if suite not in self._own:
            # Of all grids that pytest collects in the file, or what a case is judged by would hang on what is selected.
            module = item.getparent(pytest.Module)
            grids = grids_of(module.obj, module.istestfunction) if module else ()
            self._own[suite] = own_metrics(grids, f"suite {suite!r}")
        if isinstance(case, TimedTest):
            return
        if models.setdefault((suite, case.model.name), case.model) is not case.model:
            raise SuiteError(f"{item.nodeid}: suite {suite!r} has two models named {case.model.name}; rename one")

    def _measurable(self) -> set[tuple[str, str]]:
        """The selected cases, by suite and id, that can be measured on this machine and are not left out."""
        absent, lacks = {name for name, item in self._hardware.items() if item.available()}, Availability().lacks
        found = ((key, case_of(item)) for key, item in self._items.items() if not is_left(item))
        cases = {key: case for key, case in found if case and case.hardware.name not in absent}
        return {key for key, case in cases.items() if not (case.inapplicable() or lacks(case, 0.0))}

    def _address(self, item: pytest.Item, case: Case) -> Address:
        root = self._config.rootpath
        if not item.path.is_relative_to(root):
            raise SuiteError(f"{item.path} lies outside of {root}; run pytest with --rootdir that holds the suites")
        function = getattr(item, "originalname", item.name)
        return Address(str(root), item.path.relative_to(root).as_posix(), function, case.id)

    def _settings(self) -> Settings:
        config, root = self._config, self._config.rootpath
        return Settings(
            root=root,
            baselines=root / config.getoption("baselines"),
            reports=root / config.getoption("reports"),
            cache=root / ".harness",
            plan=self._plan,
            mode="quick" if config.getoption("quick") else mode_of(config),
            reason=config.getoption("reason"),
            cold=config.getoption("cold"),
            required=tuple(config.getoption("require_hardware")),
            allowed=tuple(config.getoption("allow_unavailable")),
            filtered=is_filtered(config, deselected=bool(self._deselected)),
            selected=tuple(sorted(folders_of(self._config))),
            command=command_of(config),
            revision=config.getoption("baseline_rev"),
            resume=config.getoption("resume"),
            against=against_of(config),
            budget=config.getoption("budget"),
            jobs=config.getoption("jobs") or usual_jobs(),
            history=config.getoption("history"),
            reserved=tuple(f"{suite}/{case_id}" for suite, case_id in sorted(self._reserved)),
            paths=tuple(os.path.relpath(path, root) for path in config.getini("pythonpath")),
            folders=import_folders(config, self._files.values()),
        )


STATE = pytest.StashKey[State]()
