"""What of a run waits for a reviewer: changes of the baseline that nobody accepted or rejected yet."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from harness.baseline.store import Store
from harness.errors import BaselineError, RecordError
from harness.records import Comparison, Outcome, Result, Run, Verdict
from harness.report.numbers import estimate_text
from harness.report.weight import comparisons_by_weight
from harness.review.acceptor import Acceptor
from harness.review.decisions import Decision, Decisions

__all__ = ["CHANGES", "Pending", "Review"]

CHANGES = (Verdict.REGRESSED, Verdict.IMPROVED, Verdict.NEW, Verdict.INCOMPARABLE, Verdict.MISSING)
"""The verdicts after which the baseline would be another one. What is unchanged is for `harness accept`, as a block."""

_FIGURES = (("latency.p50", "s"), ("speedup", "x"), ("accuracy", "share"), ("memory.peak", "bytes"), ("size", "bytes"))


@dataclass(frozen=True)
class Pending:
    """One case whose baseline would change, or is damaged. `changes` holds the comparisons that say so, heaviest first;
    `refused` why the case can't be accepted, "" where it can.
    """

    result: Result
    changes: tuple[Comparison, ...]
    refused: str

    @property
    def name(self) -> str:
        """The suite and the case id: what tells this case from all others."""
        return f"{self.result.suite}/{self.result.case_id}"

    @property
    def verdict(self) -> Verdict:
        """The worst of its changes."""
        return max((one.verdict for one in self.changes), key=lambda verdict: verdict.severity)

    def figures(self) -> tuple[tuple[str, str], ...]:
        """Of a case that is new, the metrics that one looks at first, as text; nothing of other cases."""
        if self.verdict is not Verdict.NEW:
            return ()
        found = ((name, unit, self.result.measurement(name)) for name, unit in _FIGURES)
        return tuple((name, estimate_text(one.estimate, unit)) for name, unit, one in found if one)


class Review:
    """The review of one run. What was decided is kept in the run's folder; baselines change by `accept` alone."""

    def __init__(self, run: Run, folder: Path, store: Store) -> None:
        self.run = run
        self._acceptor = Acceptor(store, run)
        self._decisions = Decisions(folder, run.id)

    def pending(self) -> tuple[Pending, ...]:
        """The changes that nobody decided on yet, those that can be accepted first, worst first.

        They are judged against the baselines as they are now, so that a case that was accepted in another way is not
        asked about, and one whose acceptance was taken back is. Cases that gave no numbers are not here: there is
        nothing to accept.
        """
        self._decisions.refresh()
        found = [self._looked_at(result) for result in self.run.results if result.outcome is Outcome.COMPLETED]
        waiting = [one for one in found if one and not self._settled(one)]
        return tuple(sorted(waiting, key=lambda one: (bool(one.refused), -one.verdict.severity, one.name)))

    def still(self, one: Pending) -> Pending | None:
        """A case as it waits now; None where it was decided on meanwhile, by whoever reviews the run as well."""
        self._decisions.refresh()
        found = self._looked_at(one.result)
        return None if found is None or self._settled(found) else found

    def decisions(self) -> tuple[Decision, ...]:
        """All that was decided, in order."""
        return self._decisions.all()

    def accept(self, pending: Pending, reason: str) -> list[Path]:
        """Write a case into the baseline, and give the files.

        Raises `BaselineError` where it is refused, and where the decision can't be kept, with what was written.
        """
        paths = self._acceptor.accept(pending.result, reason)
        try:
            self._decisions.keep(pending.result.suite, pending.result.case_id, "accepted", reason.strip())
        except RecordError as error:
            written = f". The baseline was written all the same: {', '.join(map(str, paths))}" if paths else ""
            raise BaselineError(f"{error}{written}") from error
        return paths

    def reject(self, pending: Pending, reason: str) -> None:
        """Leave the baseline as it is, and do not ask about this result again. Raises `RecordError` as `accept`."""
        self._decisions.keep(pending.result.suite, pending.result.case_id, "rejected", reason.strip())

    def diff(self, pending: Pending) -> list[str]:
        """The lines of a unified diff of the baseline files, as accepting would change them."""
        if pending.refused:
            return []
        lines: list[str] = []
        for path, before, after in self._acceptor.preview(pending.result, "(your reason)"):
            old, new = before.splitlines(), after.splitlines()
            lines += difflib.unified_diff(old, new, path if old else "/dev/null", path, n=1, lineterm="")
        return lines

    def _settled(self, one: Pending) -> bool:
        """Whether a case was decided on: an acceptance that was taken back, as git can do it, decides nothing."""
        made = self._decisions.of(one.result.suite, one.result.case_id)
        if made is None or made.kind == "rejected":
            return made is not None
        return self._acceptor.newer(one.result, made.when) or not (
            one.refused or self._acceptor.preview(one.result, "(your reason)")
        )

    def _looked_at(self, result: Result) -> Pending | None:
        try:
            judged = self._acceptor.judged(result)
        except BaselineError as error:
            damaged = Comparison(result.suite, result.case_id, "case", Verdict.ERROR, str(error))
            return Pending(result, (damaged,), str(error))
        changes = [one for one in judged.comparisons if one.verdict in CHANGES]
        if not changes:
            return None
        return Pending(result, comparisons_by_weight(changes), judged.refused or self._acceptor.hindrance(result))
