"""Every error of the harness, in one tree.

::

    HarnessError
    ├── SuiteError          a suite file is wrong: empty grid, duplicate id, techniques in an order that cannot work
    │   └── AbsentError     it has no such case: another commit may lack what this one has
    ├── UnavailableError    hardware, a runtime, a package or a compiler is not here
    │   └── LostError       hardware that was here failed while it was used
    ├── PreparationError    a technique, a training or an export failed
    │   └── EvidenceError   it ran, and what it promised is not in the artefact
    ├── MeasurementError    a child process crashed, hung, ran out of memory or answered wrongly
    │   └── WrongTreeError  it imported other sources than those that it should serve
    ├── HistoryError        the store of earlier runs can't be reached, read or written
    └── RecordError         a file of ours can't be read
        └── BaselineError   a committed baseline is damaged, or an acceptance is refused

    Regression(AssertionError)    stands outside: the harness worked, the model got worse

Every message names the case, the cause and the cure.
"""

from __future__ import annotations

__all__ = [
    "AbsentError",
    "BaselineError",
    "EvidenceError",
    "HarnessError",
    "HistoryError",
    "LostError",
    "MeasurementError",
    "PreparationError",
    "RecordError",
    "Regression",
    "SuiteError",
    "UnavailableError",
    "WrongTreeError",
]


class HarnessError(Exception):
    """Base of all errors that the harness raises on purpose.

    `outcome` is how a case that meets this error ends, in the vocabulary of `harness.records.Outcome`.
    """

    outcome: str = "failed"


class SuiteError(HarnessError):
    """A suite file is wrong; nothing is measured until it is mended."""


class AbsentError(SuiteError):
    """A tree has no such case."""

    outcome = "absent"


class UnavailableError(HarnessError):
    """Something that a case needs is not on this machine. `cure` is how to get it, "" where there is none."""

    outcome = "unavailable"

    def __init__(self, reason: str, cure: str = "") -> None:
        super().__init__(f"{reason} ({cure})" if cure else reason)
        self.reason = reason
        self.cure = cure


class LostError(UnavailableError):
    """Hardware that was here failed while it was used: who asks whether it is here may call it unavailable, and a case
    that it fails under has failed, whatever the next question would be answered."""

    outcome = "failed"


class PreparationError(HarnessError):
    """A technique, a training or an export did not give a servable artefact."""


class EvidenceError(PreparationError):
    """An artefact was made, and it does not hold what its technique promises."""

    outcome = "invalid"


class MeasurementError(HarnessError):
    """A child process did not give a valid measurement; `outcome` says how it ended, `log` is its last output."""

    def __init__(self, message: str, *, outcome: str = "failed", log: str = "") -> None:
        super().__init__(message)
        self.outcome = outcome
        self.log = log


class WrongTreeError(MeasurementError):
    """A child imported other sources than those that it should serve, so that its numbers are of something else."""

    def __init__(self, message: str) -> None:
        super().__init__(message, outcome="invalid")


class HistoryError(HarnessError):
    """The store of earlier runs can't be reached, read or written. It is information, and changes no verdict."""


class RecordError(HarnessError):
    """A file that the harness wrote (or that claims so) can't be read."""


class BaselineError(RecordError):
    """A committed baseline is damaged, or accepting into it was refused."""


class Regression(AssertionError):
    """A case got worse than its committed baseline, or can't be shown not to have. Makes its own test fail."""
