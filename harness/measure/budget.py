"""A run's time, shared out over its cases, so that how long a suite takes can be foretold."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Budget"]

SHARE = 0.25
"""Part of what is left over that one case may take: an undecided one among the first must not use up everything."""


@dataclass
class Budget:
    """How long a case may go on adding launches, of `seconds` for `cases` that are still to be measured.

    What every case gets (its artefact, its accuracy, its screen) is always made, so a budget that is too small for that
    is exceeded, and leaves no case half measured. What the cases so far took for it is expected of those to come; a
    share of what then is left over is for the case that is undecided now.
    """

    seconds: float = math.inf
    cases: int = 0
    clock: Callable[[], float] = time.perf_counter
    _taken: list[float] = field(default_factory=list)
    _ahead: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._end = self.clock() + self.seconds
        self._case = self.clock()

    def share(self, seconds: float, cases: int) -> None:
        """So many seconds were spent for this case and some that come after it, together so many."""
        self._ahead.append((seconds, cases))

    def begin(self) -> None:
        """A case begins."""
        self.cases -= 1
        self._case = self.clock()

    def end(self) -> float:
        """The present case has what every case gets: the reading of the clock until which it may get more."""
        now = self.clock()
        self._taken.append(now - self._case)
        if self._end == math.inf:
            return math.inf
        each = statistics.fmean(self._taken)
        if cases := sum(cases for _, cases in self._ahead):
            each += sum(seconds for seconds, _ in self._ahead) / cases
        over = self._end - now - max(0, self.cases) * each
        return now + SHARE * max(0.0, over)
