"""Which part of the suites a run of pytest selects."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.grid import Case
from harness.timed_test import TimedTest

__all__ = [
    "FULL",
    "SELECTIONS",
    "folders_of",
    "is_filtered",
    "is_left",
    "is_report",
    "only_shows",
    "sees_all",
    "twice",
]

FULL = "full"
SELECTIONS = {
    FULL: "every case of the suites; on a test function: its cases are left to this selection",
    "default": "the cases that are run where no -m is given",
}
"""Marks that the cases of grids carry, and what pytest says of them."""


def folders_of(config: pytest.Config) -> set[str]:
    """The folders and files that were selected, relative to the project's folder."""
    root = config.rootpath
    return {path.relative_to(root).as_posix() if path.is_relative_to(root) else "." for path in _asked(config)}


def _asked(config: pytest.Config) -> set[Path]:
    here = config.invocation_params.dir  # a conftest or a fixture may have left it
    return {Path(os.path.abspath(here / argument)) for argument in config.args}  # noqa: PTH100 (keeps links)


def is_report(path: Path, config: pytest.Config) -> bool:
    """Whether a path is the folder of reports or lies in it, where a downloaded run may bring files of a stranger: in
    `reports`, into which the docs say to download, also where the runs of this project go elsewhere.

    Never where such a folder is a package, or holds the project, its suites or what was asked for.
    """
    root = config.rootpath
    told = Path(os.path.abspath(root / config.getoption("reports")))  # noqa: PTH100 (keeps links)
    around = [one for one in (root / "reports", told) if path.is_relative_to(one)]
    around = [one for one in around if not (one / "__init__.py").exists()]
    if not around:
        return False
    held = (root, *(root / folder for folder in config.getini("harness_suites")), *_asked(config))
    return not all(any(one.is_relative_to(reports) for one in held) for reports in around)


def is_filtered(config: pytest.Config, *, deselected: bool) -> bool:
    """Whether a part was selected: by deselecting or ignoring, by a file or an item, or by an error in one."""
    option = config.option
    chosen = deselected or option.keyword or getattr(option, "deselect", None)
    return bool(chosen) or option.markexpr.strip() not in ("", FULL) or not sees_all(config)


def sees_all(config: pytest.Config) -> bool:
    """Whether the plugin is shown every case, be it as one to run or as one that was deselected.

    -k, -m and --deselect leave out of what was collected, and say what. The others have not collected all, or keep what
    they leave out to themselves; so there nobody can tell a case that is gone from one that was left out.
    """
    names = ("lf", "stepwise", "ignore", "ignore_glob", "continue_on_collection_errors")
    hidden = any(getattr(config.option, name, None) for name in names)
    hidden = hidden or config.pluginmanager.hasplugin("TestmonSelect")  # pytest-testmon, of files without a change
    here = config.invocation_params.dir
    return not hidden and all("::" not in argument and (here / argument).is_dir() for argument in config.args)


def is_left(item: pytest.Item) -> bool:
    """Whether a mark says that a test is not run. What hangs on a condition, pytest decides when the test comes."""
    known = item.get_closest_marker("xfail")
    conditional = known is not None and (known.args or "condition" in known.kwargs)
    unrun = known is not None and not conditional and not known.kwargs.get("run", True)
    return unrun or item.get_closest_marker("skip") is not None


def only_shows(config: pytest.Config) -> bool:
    """Whether pytest was asked for what there is, and calls no test."""
    names = ("collectonly", "showfixtures", "show_fixtures_per_test", "setuponly", "setupplan")
    return any(getattr(config.option, name, False) for name in names)


def twice(item: pytest.Item, other: pytest.Item | None, case: Case | TimedTest, suite: str) -> str:
    """Why a suite has the case of an item twice, and the cure; `other` is the item that has it too, if known."""
    if other is not None and other.nodeid == item.nodeid:
        return "it was collected twice; name it once, without --keep-duplicates"
    spec = getattr(item, "callspec", None)
    further = sorted(set(spec.params) - {"case"}) if spec and isinstance(case, Case) else []
    if other is not None and further and _function(item) == _function(other):
        return (
            f"a test with a grid has other parameters too ({', '.join(further)}), which no child sees, so {case.id} "
            "would be one case for all of their values; make them parameters of a technique, or loop in the body after "
            "bench(case)"
        )
    cure = "give one of the models another name"
    if isinstance(case, TimedTest):
        cure = "give one of the tests another name, or their parameters ids=[...] that differ in letters or digits"
    return f"suite {suite!r} has the case {case.id} twice; {cure}"


def _function(item: pytest.Item) -> str:
    """The name of an item's function, without its parameters."""
    return str(getattr(item, "originalname", item.name))
