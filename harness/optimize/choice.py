"""The last choice of a search: trials that look alike take turns with each other."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import MeasurementError
from harness.optimize.finals import TIE, compared, incomparable
from harness.optimize.measuring import Bench
from harness.optimize.text import final_line
from harness.optimize.trial import Trial
from harness.records import Verdict

__all__ = ["last_choice"]


def last_choice(bench: Bench, candidates: Sequence[Trial]) -> tuple[Trial, list[str]]:
    """The best of trials that look alike, the apparent best first: each takes turns with the leader.

    The challenger leads where it is better beyond doubt in what the goal asks for, or as good with fewer techniques;
    with more of them it has to be better by more than what counts as alike. A pair of which a child fails is not
    compared. Where that is all that was seen of the leader, it is launched alone, and where it fails there too, the
    others are left. Gives the leader, and a sentence for each comparison. Raises `MeasurementError` where none is left.
    """
    words: list[str] = []
    suspected = False
    for start in range(len(candidates)):
        best, told, seen = _in_order(bench, candidates[start:])
        words += told
        suspected = not seen if seen is not None else suspected
        if not suspected:
            return best, words
        try:
            bench.launch_alone(best)
        except MeasurementError as error:
            words.append(f"{best.case.technique.id} fails alone as well: {error}")
        else:
            return best, words
    raise MeasurementError(f"none of the best could be launched again: {'; '.join(words)}")


def _in_order(bench: Bench, candidates: Sequence[Trial]) -> tuple[Trial, list[str], bool | None]:
    """The leader, the sentences, and whether a comparison came to an end; None where none was begun."""
    best, words, seen = candidates[0], list[str](), list[bool]()
    for trial in candidates[1:]:
        if reason := incomparable(bench.goal, trial, best):
            words.append(reason)
            continue
        try:
            found = bench.faster(trial, best)
        except MeasurementError as error:
            pair = f"{trial.case.technique.id} was not compared with {best.case.technique.id} in turns"
            words.append(f"{pair}: {error}")
            seen.append(False)
            continue
        seen.append(True)
        words.append(final_line(trial, best, compared(bench.goal), found.change))
        more = len(trial.steps) - len(best.steps)
        if more > 0:
            leads = found.verdict is Verdict.IMPROVED
        else:
            leads = found.change.high < 0 or (more < 0 and found.change.high <= TIE)
        if leads:
            best = trial
    return best, words, any(seen) if seen else None
