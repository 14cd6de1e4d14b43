"""Whether two trees ask for the same packages, by the files that pin them."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path

from harness.measure.tree import Tree, git

__all__ = ["unlike"]

_FILES = (
    *("constraints*.txt", "requirements*.txt", "requirements/*.txt", "pyproject.toml", "setup.cfg"),
    *("*.lock", "pylock*.toml", "environment*.yml", "environment*.yaml"),
)


def unlike(here: Tree, there: Tree) -> tuple[str, ...]:
    """The files that pin packages and are not the same in a checkout of another commit as in this tree, by their names
    in the repository: those of the project, and those in the repository's top folder. None without a checkout, and
    where that lacks the project's folder: each case says that.

    Raises `SuiteError` where git fails.
    """
    if there.checkout is None or not there.root.is_dir():
        return ()
    pins, others = _pins(here.root), _pins(there.root)
    return tuple(sorted(name for name in pins.keys() | others.keys() if pins.get(name) != others.get(name)))


def _pins(project: Path) -> dict[str, object]:
    top = Path(git(project, "rev-parse", "--show-toplevel"))
    wanted = [f"{where}{name}" for name in _FILES for where in (":(glob)**/", ":(top,glob)")]
    listed = git(project, "ls-files", "-z", "--full-name", "--", *wanted).split("\0")
    return {name: _asked_for(top / name) for name in listed if name and (top / name).is_file()}


def _asked_for(path: Path) -> object:
    """What a file says of packages: of a `pyproject.toml`, which says much else, the parts that are about them."""
    content = path.read_bytes()
    if path.name != "pyproject.toml":
        return content
    with contextlib.suppress(ValueError, AttributeError):  # tests are made with such files
        told = tomllib.loads(content.decode("utf-8"))
        project = told.get("project", {})
        own = (project.get("dependencies"), project.get("optional-dependencies"))
        parts = (*own, told.get("dependency-groups"), told.get("build-system"))
        return parts if any(parts) else None
    return content
