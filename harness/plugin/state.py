"""What the plugin remembers between hooks: the options, the selected cases and the session they are measured in."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.baseline.records import Portable
from harness.errors import Regression, SuiteError
from harness.grid import Address, Case, Grid, grid_of
from harness.names import check_name
from harness.plan import Plan
from harness.plugin.progress import Progress
from harness.records import Comparison, Run
from harness.settings import Decision, Settings

if TYPE_CHECKING:
    from harness.session import Session

__all__ = ["MissingCase", "State", "case_of", "plan_of"]


def plan_of(config: pytest.Config) -> Plan:
    """The sampling plan that the options ask for. Raises `SuiteError` for a name or value that is none."""
    plan = Plan.quick() if config.getoption("quick") else Plan()
    fields = {field.name: field for field in dataclasses.fields(Plan)}
    for option in config.getoption("plan"):
        name, _, text = option.partition("=")
        if name not in fields:
            raise SuiteError(f"--plan {option}: no {name!r} in a plan; it has {', '.join(fields)}")
        kind = type(getattr(plan, name))
        try:
            plan = dataclasses.replace(plan, **{name: text == "true" if kind is bool else kind(text)})
        except ValueError:
            raise SuiteError(f"--plan {option}: {text!r} is no {kind.__name__}") from None
    return plan


def case_of(item: pytest.Item) -> Case | None:
    """The case that a test item measures, None for any other item."""
    spec = getattr(item, "callspec", None)
    value = spec.params.get("case") if spec else None
    return value if isinstance(value, Case) else None


class State:
    """The plugin's state of one pytest session. The harness session starts with the first case that needs it."""

    def __init__(self, config: pytest.Config, plan: Plan) -> None:
        self._config = config
        self._plan = plan
        self._cases: dict[tuple[str, str], Case] = {}
        self._session: Session | None = None
        self.progress = Progress(config)
        self.run: Run | None = None
        self.undone: str | None = None

    @property
    def session(self) -> Session:
        """The session, started now if it was not. Raises `HarnessError`."""
        from harness.session import Session  # with it come the judge and scipy, which other test runs can do without

        if self._session is None:
            hardware = {case.hardware.name: case.hardware for case in self._cases.values()}
            self._session = Session(self._settings(), hardware.values(), len(self._cases), self.progress.stage)
            self.progress.note(self._session.notice)
        return self._session

    @property
    def folder(self) -> Path | None:
        """Where this run is written, None if nothing was run."""
        return self._session.folder if self._session else None

    def collected(self, items: list[pytest.Item]) -> list[pytest.Item]:
        """Check the selected cases, and give an item for each baseline whose case is gone. Raises `SuiteError`."""
        for item in items:
            case = case_of(item)
            assert case is not None
            key = (suite_of(item), case.id)
            if key in self._cases:
                raise SuiteError(
                    f"{item.nodeid}: suite {key[0]!r} has the case {case.id} twice; give one of the files, "
                    "or one of the models, another name"
                )
            self._cases[key] = case
        self.progress.expect({item.nodeid for item in items})
        if self._config.option.collectonly or self._filtered() or not self._settings().gates:
            return []
        folders = {str(Path(argument).resolve().relative_to(self._config.rootpath)) for argument in self._config.args}
        parent = items[0].session
        return [
            MissingCase.from_parent(parent, name=f"{portable.suite}/{portable.case_id}", missing=(portable, comparison))
            for portable, comparison in self.session.missing(folders, set(self._cases))
        ]

    def measure(self, item: pytest.Item, case: Case) -> Decision:
        """Measure and judge the case of an item."""
        self.progress.start(case.id)
        grid = grid_of(getattr(item, "function", None))
        assert isinstance(grid, Grid)
        decision = self.session.measure(case, self._address(item, case), suite_of(item), item.nodeid, grid.metrics)
        self.progress.done(decision)
        return decision

    def left_out(self, item: pytest.Item, case: Case, reason: str) -> Decision:
        """Record that the case of an item was skipped before it could be measured."""
        known = self.session.decided(suite_of(item), case.id)
        return known or self.session.leave_out(case, suite_of(item), item.nodeid, reason)

    def finish(self, *, complete: bool) -> bool:
        """End the run and write its reports. Gives whether the run fails although no test of it did."""
        if self._session is None:
            return False
        self.run, self.undone = self._session.finish(complete=complete)
        return self.undone is not None

    def _address(self, item: pytest.Item, case: Case) -> Address:
        root = self._config.rootpath
        function = getattr(item, "originalname", item.name)
        return Address(str(root), item.path.relative_to(root).as_posix(), function, case.id)

    def _settings(self) -> Settings:
        config = self._config
        root = config.rootpath
        quick = config.getoption("quick")
        return Settings(
            root=root,
            baselines=root / config.getoption("baselines"),
            reports=root / config.getoption("reports"),
            cache=root / ".harness",
            plan=self._plan,
            mode="quick" if quick else config.getoption("baseline"),
            reason=config.getoption("reason"),
            cold=config.getoption("cold"),
            required=tuple(config.getoption("require_hardware")),
            allowed=tuple(config.getoption("allow_unavailable")),
            filtered=self._filtered(),
            command=shlex.join(["pytest", *config.invocation_params.args]),
            revision=config.getoption("baseline_rev"),
            resume=config.getoption("resume"),
        )

    def _filtered(self) -> bool:
        """Whether the user selected a part: by expression, by marker, by failure, or by a file or item."""
        option = self._config.option
        chosen = any(getattr(option, name, None) for name in ("keyword", "markexpr", "lf", "deselect", "stepwise"))
        return chosen or any("::" in argument or not Path(argument).is_dir() for argument in self._config.args)


class MissingCase(pytest.Item):
    """A baseline whose case is gone, as a test that fails, so that every reader of results sees it."""

    def __init__(self, *, missing: tuple[Portable, Comparison], **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self._missing = missing

    def runtest(self) -> None:
        portable, comparison = self._missing
        self.config.stash[STATE].session.add_missing(portable, comparison)
        raise Regression(
            f"{comparison.reason}\n  if it was removed on purpose: harness prune\n"
            f"  if it can't run here:            --allow-unavailable='{portable.case_id}'"
        )

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:  # noqa: ARG002
        return str(excinfo.value)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.config.rootpath, None, f"missing case {self.name}"


STATE = pytest.StashKey[State]()


def suite_of(item: pytest.Item) -> str:
    """The suite of an item: its file's name without `test_` and suffix."""
    return check_name("suite", item.path.stem.removeprefix("test_"))
