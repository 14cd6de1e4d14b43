"""False alarms: verdicts on what did not change, and how high their rate may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import betaincinv

from harness.records import Comparison, Verdict

__all__ = ["Alarms", "alarms_of", "at_most"]

CONFIDENCE = 0.95
_JUDGING = (Verdict.UNCHANGED, Verdict.IMPROVED, Verdict.REGRESSED, Verdict.INCONCLUSIVE)


@dataclass(frozen=True)
class Alarms:
    """How verdicts fell on what did not change.

    false  the sentences of those that said REGRESSED
    bound  the highest rate of false alarms that fits them, with 95 % confidence; None of no verdicts
    """

    verdicts: int
    unchanged: int
    inconclusive: int
    improved: int
    false: tuple[str, ...]
    bound: float | None


def alarms_of(rows: Sequence[Comparison]) -> Alarms:
    """Count comparisons of things with themselves."""
    count = Counter(row.verdict for row in rows)
    judged = sum(count[verdict] for verdict in _JUDGING)
    false = tuple(f"{row.case_id}: {row.reason}" for row in rows if row.verdict is Verdict.REGRESSED)
    unchanged, open_, improved = (
        count[verdict] for verdict in (Verdict.UNCHANGED, Verdict.INCONCLUSIVE, Verdict.IMPROVED)
    )
    return Alarms(judged, unchanged, open_, improved, false, at_most(len(false), judged))


def at_most(count: int, of: int, confidence: float = CONFIDENCE) -> float | None:
    """The highest rate that fits `count` of so many: the one-sided bound of Clopper and Pearson (1934).

    None where there is nothing to count.
    """
    if of == 0:
        return None
    return 1.0 if count == of else float(betaincinv(count + 1, of - count, confidence))
