"""How an error ends a case: as its outcome, and as nothing else's."""

from __future__ import annotations

import dataclasses
import traceback

from harness.errors import HarnessError, MeasurementError
from harness.records import Outcome, Result

__all__ = ["ended"]

LOG = 8000
"""Characters of a log that a result keeps, from its end."""


def ended(result: Result, error: Exception) -> Result:
    """The result of a case that met this error, also one that is nobody's on purpose: a full disk, a suite's bug."""
    if isinstance(error, HarnessError):
        log = error.log[-LOG:] if isinstance(error, MeasurementError) else ""
        return dataclasses.replace(result, outcome=Outcome(error.outcome), reason=str(error), log=log)
    log = "".join(traceback.format_exception(error))[-LOG:]
    return dataclasses.replace(result, outcome=Outcome.FAILED, reason=f"{type(error).__name__}: {error}", log=log)
