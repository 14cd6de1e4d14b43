"""A run's time, shared out over its cases, so that how long a suite takes can be foretold."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Budget"]


@dataclass
class Budget:
    """How long each case may go on, of `seconds` for `cases` that are still to come.

    A case may take its equal share of what is left; what it does not need goes to those after it. The share ends the
    adding of launches and nothing else: what every case gets (its artefact, its accuracy, its screen) is always made,
    so a budget that is too small for that is exceeded, and leaves no case half measured.
    """

    seconds: float = math.inf
    cases: int = 0
    clock: Callable[[], float] = time.perf_counter
    _began: float = field(init=False)
    _case: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self._case = self.clock()

    def begin(self) -> None:
        """A case begins."""
        self._case = self.clock()

    def done(self) -> None:
        """A case was decided, measured or not."""
        self.cases -= 1

    def end(self) -> float:
        """The reading of the clock after which the present case gets no further launch."""
        left = self._began + self.seconds - self._case
        return self._case + max(0.0, left) / max(1, self.cases)

    @property
    def over(self) -> bool:
        """Whether the run has taken all of its time."""
        return self.clock() > self._began + self.seconds
