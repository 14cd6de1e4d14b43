"""Which baselines a run of some files and folders should have met: by the files of a project that have their tests."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from harness.baseline.records import Portable
from harness.baseline.store import folder_of
from harness.measure.sources import sources
from harness.names import suite_name, within

__all__ = ["damaged_is_due", "defines", "is_due", "python_files"]

_OF_CASES = {"bench", "benchmark"}
"""The fixtures that the code of a suite names, as arguments or in marks."""


def damaged_is_due(folder: str, root: Path, nodeids: Iterable[str], files: Iterable[Path]) -> bool:
    """Whether a run of these files and folders is told of a damaged baseline, of which its folder (see `Store.each`) is
    known: of the project's `files`, one of its suite that has cases lies in them, or there is none.
    """
    suite = folder.partition("/")[0]
    own = [path for path in files if folder_of(suite_name(path), "").partition("/")[0] == suite]
    places = [path.relative_to(root).as_posix() for path in own if _has(path, _is_of_cases, "bench")]
    return not places or any(within(place, nodeid) for place in places for nodeid in nodeids)


def python_files(root: Path) -> list[Path]:
    """Those of a project."""
    return [one for one in sources(root) if one.suffix == ".py" and one.is_file()]


def is_due(baseline: Portable, root: Path, nodeids: set[str], files: Callable[[], Iterable[Path]]) -> bool:
    """Whether a run of these files and folders should have found the case of a baseline: its test lies in one of
    them, or is nowhere any more.

    A baseline names the file in which its case was accepted last. Where that is gone, the test is where another file of
    the same suite defines it: so the folder that it left does not miss it, and the one that it came to does. One that
    imports all of another file names no test, and hides no case that is lost.
    """
    file = baseline.nodeid.partition("::")[0]
    if (root / file).is_file():
        return any(within(file, nodeid) for nodeid in nodeids)
    places = [
        path.relative_to(root).as_posix()
        for path in files()
        if suite_name(path) == baseline.suite and defines(path, baseline.nodeid)
    ]
    return not places or any(within(place, nodeid) for place in places for nodeid in nodeids)


def defines(path: Path, nodeid: str, *, star: bool = False) -> bool:
    """Whether a file defines, assigns or imports the name of a node id's test.

    star  whether to import all that another file has, which may be the test as well, counts
    """
    test = nodeid.partition("::")[2].partition("[")[0].rpartition("::")[2]
    wanted = {test, "*"} if star else {test}
    return _has(path, lambda part: not wanted.isdisjoint(_bound(part)), rf"\bdef {re.escape(test)}\(")


def _is_of_cases(part: ast.AST) -> bool:
    """Whether a part of a file is one that suites alone have, which may import their tests as well."""
    if isinstance(part, ast.ImportFrom):
        return any(one.name == "*" or one.name.startswith("test") for one in part.names)
    if isinstance(part, ast.FunctionDef):
        return any(re.match(r"(\w+\.)*grid\(", ast.unparse(one)) for one in part.decorator_list)
    return not _OF_CASES.isdisjoint(str(getattr(part, key, "")) for key in ("arg", "attr", "id", "value"))


def _has(path: Path, fits: Callable[[ast.AST], bool], pattern: str) -> bool:
    """Whether a part of a file fits; of one that can't be parsed, whether its text has the pattern."""
    source = path.read_bytes()
    try:
        with warnings.catch_warnings(action="ignore"):  # they are for those who run the file
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return re.search(pattern, source.decode("utf-8", "replace")) is not None
    return any(map(fits, ast.walk(tree)))


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that a part of a file binds to what may be a test; a module, as `import` gives, is none."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
            yield name
        case ast.ImportFrom(names=names):
            yield from (one.asname or one.name for one in names)
