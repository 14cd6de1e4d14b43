"""The cases that suites have, as pytest collects them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from harness.cli.running import run_pytest
from harness.errors import SuiteError
from harness.names import suite_name

__all__ = ["Found", "choose", "collect"]

LINE = re.compile(r"(?P<nodeid>(?P<file>[^\n]+?\.py)::[^\n]*?\[(?P<case>[^/\n]+/[^/\n]+/[^/\n]+)\])")
IDS = ("-o", "verbosity_test_cases=-1")
"""Prints the id of each test, a line each, whatever -q and -v there are among the project's `addopts`."""

SHOWN = 20
"""Cases that an error names."""


@dataclass(frozen=True)
class Found:
    """A case and the id of its test."""

    case_id: str
    suite: str
    nodeid: str


def collect(suites: Sequence[str]) -> list[Found]:
    """Every case of these files and folders. Raises `SuiteError` where pytest can't collect them, or finds none."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "pytest.log"
        # Empty, and not left out: pytest would not know what the project's `addopts` ask of it, such as --ff.
        cache = ("-o", f"cache_dir={Path(folder) / 'cache'}")
        code = run_pytest([*suites, "-m", "full", "--collect-only", *IDS, *cache], log)
        text = log.read_text(encoding="utf-8", errors="replace")
    matches = [match for line in text.splitlines() if (match := LINE.fullmatch(line))]
    if code or not matches:
        last = "\n".join(text.strip().splitlines()[-15:])
        raise SuiteError(f"pytest found no case in {' '.join(suites)} (exit code {code}):\n{last}")
    return [Found(one["case"], suite_name(one["file"]), one["nodeid"]) for one in matches]


def choose(cases: Sequence[Found], word: str) -> Found:
    """The one case with this id, or that this glob fits, by itself or as `suite/id`. Raises `SuiteError`."""
    fitting = [case for case in cases if word in _names(case)]
    fitting = fitting or [case for case in cases if any(fnmatchcase(name, word) for name in _names(case))]
    if len(fitting) == 1:
        return fitting[0]
    shown = [f"  {case.suite}/{case.case_id}" for case in (fitting or cases)[:SHOWN]]
    more = len(fitting or cases) - len(shown)
    said = f"{word} fits {len(fitting)} cases, and one is needed" if fitting else f"no case is named {word}; there are"
    raise SuiteError("\n".join([f"{said}:", *shown, *([f"  and {more} more"] if more else [])]))


def _names(case: Found) -> tuple[str, str]:
    return case.case_id, f"{case.suite}/{case.case_id}"
