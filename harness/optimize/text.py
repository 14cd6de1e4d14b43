"""What a search says: a line for each trial, and the answer at its end."""

from __future__ import annotations

import math
from collections.abc import Iterator

from harness.optimize.goal import Goal
from harness.optimize.search import Found, Tried
from harness.optimize.trial import Trial
from harness.records import Estimate, Outcome
from harness.report.memory import HOST, memory_words
from harness.report.text import one_line, shorten
from harness.units import quantity, ratio

__all__ = ["answer", "final_line", "round_title", "trial_line", "unproved", "unshipped"]

_REASON = 160


def round_title(number: int) -> str:
    """What a round does."""
    titles = {0: "the model as it is", 1: "one technique at a time, then what the file itself shows"}
    later = "what extends the best so far, or is left of the file's own"
    return f"round {number}: {titles.get(number, later)}"


def trial_line(tried: Tried, goal: Goal) -> str:
    """One trial: `bf16  2.21x [2.15, 2.27]  0.48 ms  98.80 %  61.0 MiB  451 KiB  kept: better than reference`."""
    trial = tried.trial
    words = [one_line(trial.case.technique.id)]
    if tried.gain and trial.steps:
        low, high = (significant_ratio(end) for end in (tried.gain.least, tried.gain.most))
        width = "" if tried.gain.least == tried.gain.most else f" [{low}, {high}]"
        words.append(f"{ratio(math.exp(tried.gain.point))}{width}")
    words += values(trial, goal)
    return "  ".join([*words, shorten(one_line(tried.decision), _REASON)])


def final_line(one: Trial, other: Trial, compared: str, change: Estimate) -> str:
    """What came of two trials in turns: `bf16 takes 96.2 % [95.5, 97.0] of the latency.p95 of fp16, in turns`."""
    shares = (f"{100 * (1 + end):.1f}" for end in (change.point, change.low, change.high))
    width = "{} % [{}, {}]".format(*shares)
    return f"{one.case.technique.id} takes {width} of the {compared} of {other.case.technique.id}, in turns"


def values(trial: Trial, goal: Goal, memory: str = HOST) -> list[str]:
    """The goal's metric and those that decide between deployments, as far as they were measured, and with their names
    others that have a limit; `memory` is the metric by which memory is compared.
    """
    shown = (("accuracy", "share"), (memory, "bytes"), ("size", "bytes"))
    wanted = {goal.metric: goal.unit, **dict(shown)}
    limited = {limit.metric: limit.unit for limit in goal.limits if limit.metric not in wanted}
    found = [quantity(one.point, unit) for name, unit in wanted.items() if (one := trial.estimate(name))]
    named = (f"{name} {quantity(one.point, unit)}" for name, unit in limited.items() if (one := trial.estimate(name)))
    return [*found, *named]


def answer(found: Found, goal: Goal, expression: str) -> Iterator[str]:
    """The front, and the recommended deployment as Python writes it: `expression`, "" where it can't be written."""
    kind = memory_words(found.memory)
    yield f"on the front, none beaten by another in {goal.metric}, accuracy and {kind} at once:"
    for trial in found.front:
        yield f"  {'  '.join([one_line(trial.case.technique.id), *values(trial, goal, found.memory)])}"
    tried = sum(len(one) for one in found.rounds)
    hopeless = f"; {found.skipped} combinations could not have come near the best and were left out"
    left = hopeless if found.skipped else ""
    yield f"{tried} tried{left}{'' if found.complete else '; the time was over before all was tried'}"
    if not found.best.stands:
        yield f"nothing that was tried keeps every limit ({goal})"
        return
    gain = math.exp(next(iter(found.best.gains), 0.0)) if len(found.best.gains) == 1 else None
    words = "  ".join(values(found.best, goal, found.memory))
    yield f"recommended: {one_line(found.best.case.technique.id)}{f'  {ratio(gain)}' if gain else ''}  {words}"
    yield from (f"  {sentence}, so that the limit may not hold" for sentence in goal.untold(found.best.result))
    if expression:
        yield f"  technique=[{expression}]"


def unshipped(found: Found) -> str:
    """Why no other command can ship what a search recommends, by what that measured; "" where one can.

    What failed can't be taken over, and a search without a technique is an error where its time is over.
    """
    tried = (one.trial.result for part in found.rounds for one in part if one.trial.steps)
    if found.complete or any(result.outcome is Outcome.COMPLETED for result in tried):
        return ""
    return "nothing to ship yet: the time was over, and all techniques that were tried failed; give a longer --budget"


def unproved(found: Found, weights: str) -> str:
    """Why the numbers of what a search recommends are none of an artefact with this digest of its files; "" where they
    are. One that left the cache is made again, and not every technique makes the same twice.
    """
    if weights == found.best.result.weights:
        return ""
    return (
        "the artefact was made again and is not bit for bit what was measured, so that its numbers are not proved; "
        "search without --resume to export what is measured"
    )


def significant_ratio(logarithm: float) -> str:
    """A bound of a gain as a number without its sign of multiplication."""
    return ratio(math.exp(logarithm)).removesuffix("x")
