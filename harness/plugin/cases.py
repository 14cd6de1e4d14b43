"""Which case a test item measures, of which suite, and what other tools are told of it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from harness.grid import Case
from harness.names import check_name, suite_name
from harness.plugin.timed_test import TEST
from harness.report.junit import properties
from harness.settings import Decision
from harness.timed_test import TimedTest

__all__ = ["TWIN", "case_of", "key_of", "note_twins", "put_properties", "suite_of"]

TWIN = pytest.StashKey[pytest.Item]()
"""Where an item carries another one of its function that has the same case."""


def case_of(item: pytest.Item) -> Case | TimedTest | None:
    """The case that a test item measures, None for any other item."""
    timed = item.stash.get(TEST, None)
    if timed is not None:
        return timed
    spec = getattr(item, "callspec", None)
    value = spec.params.get("case") if spec else None
    return value if isinstance(value, Case) else None


def note_twins(items: Iterable[pytest.Item]) -> None:
    """Note which items of one function have the same case: they differ by parameters beside the grid's."""
    first: dict[str, pytest.Item] = {}
    for item in items:
        case = case_of(item)
        if case is not None and (other := first.setdefault(case.id, item)) is not item:
            item.stash[TWIN], other.stash[TWIN] = other, item


def key_of(item: pytest.Item) -> tuple[str, str] | None:
    """The suite and the id of that case; the suite's name is not checked."""
    case = case_of(item)
    return (suite_name(item.path), case.id) if case is not None else None


def suite_of(item: pytest.Item) -> str:
    """The suite of an item. Raises `SuiteError` where its file's name can't be part of a case id."""
    return check_name("suite", suite_name(item.path))


def put_properties(item: pytest.Item, decision: Decision) -> None:
    """Say this of an item's case in its properties, which JUnit files show, in place of what they said before."""
    others = [one for one in item.user_properties if not str(one[0]).startswith("harness.")]
    item.user_properties[:] = [*others, *properties(decision.result, decision.comparisons)]
