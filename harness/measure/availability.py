"""Whether what cases need is on this machine, asked as seldom as the answers may change."""

from __future__ import annotations

from harness.grid import Case
from harness.techniques.base import Pipeline
from harness.timed_test import TimedTest

__all__ = ["Availability"]


class Availability:
    """What is not on this machine and cases need, asked once a second of all with the same hardware, technique and form
    of model: each answer is read from the kernel's files, and may be another one later in the run.
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._answers: dict[tuple[str, str, int], tuple[Pipeline, str | None]] = {}

    def lacks(self, case: Case | TimedTest, now: float) -> str | None:
        """What `case.unavailable` says; `now` is in seconds of a clock that is never set."""
        if not isinstance(case, Case):
            return case.unavailable()
        if now >= self._until:
            self._until, self._answers = now + 1, {}
        # By its identity, since a parameter may have no hash; it is held, so that no other one gets the same.
        key = (case.hardware.name, case.model.form, id(case.technique))
        if key not in self._answers:
            self._answers[key] = (case.technique, case.unavailable())
        return self._answers[key][1]
