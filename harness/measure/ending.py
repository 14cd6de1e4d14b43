"""How an error ends a case: as its outcome, and as nothing else's; and what helps where its time was over."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import traceback
from collections.abc import Iterator

from harness.errors import HarnessError, MeasurementError
from harness.records import Outcome, Result

__all__ = ["ended", "longer", "raise_exit"]

LOG = 8000
"""Characters of a log that a result keeps, from its end."""


def raise_exit(error: Exception) -> None:
    """Raise an error again that ends the run and not the case: `pytest.exit`'s, as of a project's signal handler."""
    pytest = sys.modules.get("pytest")  # without it there is nobody who raises that
    if pytest is not None and isinstance(error, pytest.exit.Exception):
        raise error


def ended(result: Result, error: Exception) -> Result:
    """The result of a case that met this error, also one that is nobody's on purpose: a full disk, a suite's bug.

    What `pytest.exit` raises is raised again.
    """
    raise_exit(error)
    if isinstance(error, HarnessError):
        log = error.log[-LOG:] if isinstance(error, MeasurementError) else ""
        return dataclasses.replace(result, outcome=Outcome(error.outcome), reason=str(error), log=log)
    log = "".join(traceback.format_exception(error))[-LOG:]
    return dataclasses.replace(result, outcome=Outcome.FAILED, reason=f"{type(error).__name__}: {error}", log=log)


@contextlib.contextmanager
def longer(name: str, seconds: float) -> Iterator[None]:
    """While a child is waited for: an error that says that it gave no answer says how to give it more time as well.

    name     what the sampling plan calls the time that it has
    seconds  how much that is now
    """
    try:
        yield
    except MeasurementError as error:
        if error.outcome == Outcome.TIMEOUT:
            error.args = (f"{error}; if it needs longer: --plan {name}={4 * seconds:g}",)
        raise
