"""Annotations for GitHub Actions: workflow commands that a step prints."""

from __future__ import annotations

import os
from pathlib import Path

from harness.records import Run
from harness.report.overview import Overview
from harness.report.text import shorten, visible

__all__ = ["LIMIT", "annotation_lines", "prefix_of"]

LIMIT = 10
"""GitHub shows no more of one step."""
_MESSAGE = 2000


def annotation_lines(run: Run, limit: int = LIMIT, prefix: str = "") -> list[str]:
    """`::error` lines for the worst failures; the last one says how many more there are, if any are left out.

    `prefix` stands before the suites' files (see `prefix_of`).
    """
    seen = Overview(run)
    found = seen.failures
    files = {(r.suite, r.case_id): r.nodeid.split("::", 1)[0] for r in run.results}
    shown = found if len(found) <= limit else found[: limit - 1]
    lines = []
    for c in shown:
        name = seen.label(c) if c.metric == "case" else f"{c.metric} of {seen.label(c)}"
        title = _property(f"{c.verdict.value}: {shorten(name, 200)}")
        file = files.get((c.suite, c.case_id), "")
        where = f"file={_property(prefix + file)}," if file else ""
        lines.append(f"::error {where}title={title}::{_data(c.reason)}")
    if len(found) > len(shown):
        lines.append(f"::error title=harness::{len(found) - len(shown)} more failures are in the report.")
    return lines


def prefix_of(root: Path) -> str:
    """What leads from the repository, where GitHub looks for files, to those of the project at `root`, which node ids
    name; "" where that is the same folder, or lies elsewhere.

    A job may check the repository out into a folder of its workspace. Where there is no git, GitHub's checkout writes
    the files alone, and the workspace stands for the repository.
    """
    place = root.resolve()
    checkouts = (folder for folder in (place, *place.parents) if (folder / ".git").exists())
    top = next(checkouts, Path(os.environ.get("GITHUB_WORKSPACE") or place).resolve())
    return f"{place.relative_to(top).as_posix()}/" if top in place.parents else ""


def _data(text: str) -> str:
    """A message: what would end the line is encoded as the runner decodes it, everything else unseen is written out."""
    return visible(shorten(text, _MESSAGE)).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A property's value, in which two more characters have a meaning."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
