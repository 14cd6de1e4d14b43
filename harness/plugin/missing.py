"""Baselines without a case, and those that can't be read, as tests that fail."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.baseline.records import Portable
from harness.baseline.store import Store
from harness.due import damaged_is_due, python_files
from harness.errors import BaselineError, Regression
from harness.names import within
from harness.records import Comparison
from harness.settings import Settings

if TYPE_CHECKING:
    from harness.session import Session

__all__ = ["MissingCase", "has_baselines"]


def has_baselines(
    settings: Settings, folders: Collection[str], suites: Collection[str], deselected: Collection[tuple[str, str]]
) -> bool:
    """Whether there is something to miss in a run that has no case at all: a suite's file may be gone.

    `folders` are those that were selected, `suites` those of suites, `deselected` the cases, by suite and id, that were
    left out. Raises `BaselineError` where suites were selected and the revision that holds the baselines is not known,
    or has none.
    """
    store = Store(settings.baselines) if settings.baselines.is_dir() else None
    if settings.revision:
        try:
            store = Store.at_revision(settings.baselines, settings.revision)
        except BaselineError:  # it may stand in addopts, and is no matter of ordinary tests
            if any(within(one, each) or within(each, one) for one in suites for each in folders):
                raise
    if store is None:
        return False
    damaged = []
    for folder, one in store.each():
        if isinstance(one, BaselineError):
            damaged.append(folder)
        elif (one.suite, one.case_id) not in deselected and any(within(one.nodeid, each) for each in folders):
            return True
    if deselected or not damaged:
        return False
    files = python_files(settings.root)
    return any(damaged_is_due(folder, settings.root, folders, files) for folder in damaged)


class MissingCase(pytest.Item):
    """A baseline whose case is gone, or None with what is wrong with one, as a test that fails: every reader of results
    sees it, and the other cases are measured.

    `run` is the session that it is recorded in.
    """

    # Hooks of users read these of each item, as of that of a test function.
    function = cls = module = instance = None
    fixturenames = ()

    def __init__(self, *, run: Session, missing: tuple[Comparison, Portable | None], **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self._run = run
        self._comparison, self._portable = missing
        self.funcargs: dict[str, object] = {}

    def runtest(self) -> None:
        from harness.gate import gone  # with it come the judge and scipy

        text = self._comparison.reason
        self._run.add_missing(self._comparison, self._portable)
        said = ("harness.verdict", self._comparison.verdict.value)
        if said not in self.user_properties:
            self.user_properties.append(said)
        if self._portable:
            text += f"\n{gone(self._run.settings, self._portable)}"
        raise Regression(text)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:  # noqa: ARG002
        return str(excinfo.value)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        what = "missing case" if self._portable else "damaged baseline of"
        return self.config.rootpath, None, f"{what} {self.name}"
