"""`review.json` in a run's folder: what a reviewer decided, so that a review can be left and gone on with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.codec import decode, dumps, loads
from harness.errors import BaselineError, RecordError
from harness.files import write_atomic
from harness.names import timestamp

__all__ = ["REVIEW_NAME", "Decision", "Decisions"]

REVIEW_NAME = "review.json"
_SCHEMA = 1
_KINDS = ("accepted", "rejected")


@dataclass(frozen=True)
class Decision:
    """What was decided of one case: `accepted` or `rejected`, when (ISO 8601, UTC) and why ("" for no reason)."""

    suite: str
    case_id: str
    kind: str
    when: str
    reason: str = ""


@dataclass(frozen=True)
class _Kept:
    schema: int
    run: str
    decisions: tuple[Decision, ...]


class Decisions:
    """The decisions on one run, each on the disk before the next question is asked. Others may make some meanwhile."""

    def __init__(self, folder: Path, run: str) -> None:
        """Read what was decided before. Raises `RecordError` for a file that is damaged or of another run."""
        self._path = folder / REVIEW_NAME
        self._run = run
        self.refresh()

    def refresh(self) -> None:
        """Read what was decided by now, by whoever reviews the run as well. Raises `RecordError` as at first."""
        found = self._read() if self._path.exists() else ()
        self._made = {(one.suite, one.case_id): one for one in found}

    def of(self, suite: str, case_id: str) -> Decision | None:
        """What was decided of a case; None where nothing was."""
        return self._made.get((suite, case_id))

    def all(self) -> tuple[Decision, ...]:
        """Every decision, in the order in which they were made."""
        return tuple(self._made.values())

    def keep(self, suite: str, case_id: str, kind: str, reason: str) -> Decision:
        """Note a decision, in place of an earlier one of the case. Raises `BaselineError` where the disk refuses."""
        self.refresh()
        decision = Decision(suite, case_id, kind, timestamp(), reason)
        made = {key: one for key, one in self._made.items() if key != (suite, case_id)}
        made[suite, case_id] = decision
        text = dumps(_Kept(_SCHEMA, self._run, tuple(made.values())), indent=1)
        try:
            write_atomic(self._path, f"{text}\n".encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise BaselineError(
                f"{case_id}: the decision can't be kept in {self._path}: {error.strerror}; review a copy of the run's "
                "folder in a place where you can write"
            ) from error
        self._made = made
        return decision

    def _read(self) -> tuple[Decision, ...]:
        cure = "delete it to review the run anew"
        try:
            text = self._path.read_text(encoding="utf-8")
            kept: _Kept = decode(_Kept, loads(text, str(self._path)), str(self._path))
        except UnicodeDecodeError as error:
            raise RecordError(f"{self._path}: not UTF-8 text: {error.reason}; {cure}") from None
        except RecordError as error:
            raise RecordError(f"{error}; {cure}") from None
        if kept.schema != _SCHEMA or kept.run != self._run or any(one.kind not in _KINDS for one in kept.decisions):
            raise RecordError(f"{self._path}: holds no decisions on run {self._run}; {cure}")
        return kept.decisions
