"""The record of a search, `optimize.json`: what it tried and recommends, and what goes on with it may take over."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.codec import decode, loads
from harness.errors import RecordError
from harness.judge.against import Judged
from harness.optimize.finals import Final
from harness.optimize.goal import Goal
from harness.optimize.search import Found, Tried
from harness.optimize.text import values
from harness.optimize.trial import Trial
from harness.report.memory import HOST

__all__ = ["NAME", "finals_of", "record_of"]

NAME = "optimize.json"


def record_of(
    run: str,
    found: Found,
    goal: Goal,
    *,
    python: Mapping[str, str | None],
    words: Sequence[str],
    finals: Sequence[Final],
    untried: Mapping[str, str],
) -> dict[str, Any]:
    """A search as JSON has it.

    python   what is said of the recommended pipeline as Python, by field
    words    the sentences on the last comparisons, and `finals` their numbers
    untried  why techniques could not be tried, by their ids
    """

    # In rounds it is the host's memory, as in the lines of the trials: all of them have that.
    def row(trial: Trial, memory: str = HOST) -> dict[str, Any]:
        return {"technique": trial.case.technique.id, "values": values(trial, goal, memory)}

    def tried(one: Tried) -> dict[str, Any]:
        gain = [math.exp(end) for end in (one.gain.point, one.gain.least, one.gain.most)] if one.gain else None
        return {**row(one.trial), "gain": gain, "decision": one.decision, "launches": len(one.trial.result.launches)}

    return {
        "run": run,
        "goal": str(goal),
        "untried": untried,
        "rounds": [[tried(one) for one in part] for part in found.rounds],
        "skipped": found.skipped,
        "complete": found.complete,
        "memory": found.memory,
        "front": [row(trial, found.memory) for trial in found.front],
        "finals": words,
        "compared": finals,
        "recommended": {**row(found.best, found.memory), **python} if found.best.stands else None,
    }


def finals_of(folder: Path, goal: Goal) -> dict[tuple[str, str], Judged]:
    """The last comparisons of the search in a folder, by their two case ids; none where it had another goal, did not
    end, or was recorded otherwise.
    """
    path = folder / NAME
    try:
        record = loads(path.read_text(encoding="utf-8"), str(path))
        if not isinstance(record, dict) or record.get("goal") != str(goal):
            return {}
        finals: tuple[Final, ...] = decode(tuple[Final, ...], record.get("compared"), str(path))
    except (OSError, UnicodeDecodeError, RecordError):
        return {}
    return {(one.candidate, one.other): one.judged for one in finals}
