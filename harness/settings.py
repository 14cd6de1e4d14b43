"""What a run was asked to do, and what it decided of a case: the words between a session and its edges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import BaselineError
from harness.plan import Plan
from harness.records import Comparison, Result, Verdict

__all__ = ["MODES", "Decision", "Settings", "check_reason"]

MODES = ("compare", "strict", "update", "off")


@dataclass(frozen=True)
class Settings:
    """What the user asked for, parsed once.

    mode       compare, strict, update, off or quick
    required   names of hardware that must be here
    allowed    words of case ids whose cases may be unavailable although they have a baseline
    filtered   whether only a part of the suites was selected
    revision   git revision to read the baselines from, "" for the working tree
    """

    root: Path
    baselines: Path
    reports: Path
    cache: Path
    plan: Plan
    mode: str = "compare"
    reason: str = ""
    cold: bool = False
    required: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    filtered: bool = False
    command: str = ""
    revision: str = ""
    resume: bool = False

    @property
    def judges(self) -> bool:
        """Whether results are compared with baselines."""
        return self.mode in ("compare", "strict", "update")

    @property
    def gates(self) -> bool:
        """Whether a verdict can make a test fail."""
        return self.mode in ("compare", "strict")


@dataclass(frozen=True)
class Decision:
    """A case, decided. `fails` says whether its test must be red; `message` says why, with the commands that help."""

    result: Result
    comparisons: tuple[Comparison, ...]
    verdict: Verdict
    fails: bool
    message: str = ""


def check_reason(mode: str, reason: str) -> None:
    """Raise `BaselineError` for an update that nobody gave a reason for."""
    if mode == "update" and not reason.strip():
        raise BaselineError("--baseline=update needs --reason 'why these numbers are right'; it is kept with them")
