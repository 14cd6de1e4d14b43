"""What a run was asked to do, and what it decided of a case: the words between a session and its edges."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.plan import Plan
from harness.records import Comparison, Result, Verdict

__all__ = ["MODES", "WORKING_TREE", "Against", "Decision", "Settings", "path_variables", "without_credentials"]

MODES = ("compare", "strict", "update", "off")
WORKING_TREE = "."
"""In place of a revision: the working tree as it is."""


@dataclass(frozen=True)
class Against:
    """The tree to compare with, in turns: a git revision, another interpreter for it, or other packages.

    revision   `WORKING_TREE` compares the working tree with itself
    tolerance  relative slow-down that is accepted
    at         git revision of the candidate, "" for the working tree
    """

    revision: str
    python: str = ""
    packages: tuple[str, ...] = ()
    tolerance: float = 0.01
    at: str = ""

    def __str__(self) -> str:
        return " ".join([self.revision, *(f"with {package}" for package in self.told.packages)])

    @property
    def told(self) -> Against:
        """The same for what is said and kept: without the passwords and tokens of packages, which it can't install."""
        return dataclasses.replace(self, packages=tuple(map(without_credentials, self.packages)))

    @property
    def options(self) -> tuple[str, ...]:
        """The options of pytest that ask for this comparison, a word each."""
        words = ["--against", self.revision]
        words += ["--at", self.at] if self.at else []
        words += ["--against-python", self.python] if self.python else []
        words += [word for package in self.packages for word in ("--against-with", package)]
        words += ["--against-tolerance", f"{self.tolerance:g}"] if self.tolerance != Against.tolerance else []
        return tuple(words)


def without_credentials(text: str) -> str:
    """A text without the passwords and tokens that URLs in it have before their host."""
    # Of these the name may be the token, with any password or none; of others, such as ssh, it names a user.
    text = re.sub(r"(https?://)[^/\s]*@", r"\1***@", text, flags=re.IGNORECASE)
    return re.sub(r"(://[^/@\s:]*):[^/\s]*@", r"\1:***@", text)


def path_variables(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """The environment variable that gives children of a tree the import paths that pytest was configured with."""
    if not paths:
        return {}
    inherited = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    return {"PYTHONPATH": os.pathsep.join([*(str(root / path) for path in paths), *inherited])}


@dataclass(frozen=True)
class Settings:
    """What the user asked for, parsed once.

    mode       compare, strict, update, off or quick
    required   names of hardware that must be here
    allowed    words of case ids whose cases may be unavailable or gone although they have a baseline
    filtered   whether only a part of the suites was selected
    selected   files and folders that pytest was given, relative to the project
    revision   git revision to read the baselines from, "" for the working tree
    budget     seconds that the whole run may take, shared out over its cases; infinite where none was set
    against    another tree to compare with instead of the baselines
    paths      pytest's `pythonpath`, relative to the project
    folders    those that pytest imports the selected files from by itself, relative to the project
    reserved   cases, as `suite/case_id`, that the suites have and that only the full selection runs
    jobs       artefacts that are made at a time before anything is timed; with one, each is made when its case comes
    history    URL or file of the store of earlier runs, `off` for none, "" for the usual one
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
    selected: tuple[str, ...] = ()
    command: str = ""
    revision: str = ""
    resume: bool = False
    against: Against | None = None
    paths: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    budget: float = math.inf
    reserved: tuple[str, ...] = ()
    jobs: int = 1
    history: str = ""

    def allows(self, case_id: str) -> bool:
        """Whether a case that has a baseline may be without a result, by the user's word."""
        model, _, rest = case_id.partition("/")
        technique = rest.rpartition("/")[0]
        steps = {step.split(":")[0] for step in technique.split("+")}
        return bool({case_id, model, technique, *steps} & set(self.allowed))

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
