"""How the error of a verdict is shared out over the looks that are taken at a case.

Looking again and again at intervals of one level inflates the error (five looks at 5 % give 14 %). So each look has a
part of the whole, and the parts add up (Bonferroni's inequality: a spending function in the sense of Lan and DeMets
1983 that is on the safe side whatever the looks share). The two errors look at different launches. Only fresh ones
convict: the screen's chance is why they were made, and must not speak twice. The screen clears, and so do the fresh
launches alone and all together: together they know more, alone they outlive a screen that something disturbed.

Against another tree fresh launches come in lots (`Plan.lots`), with a look after each. Against a baseline there
is one lot, whose size the screen sets (two stages, as Stein 1945): what remains there is the spread between runs, which
more looks at one run only see again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.plan import LOTS
from harness.records import Launch

__all__ = ["ALPHA", "BETA", "FRESH", "LOT", "POWER", "SCREEN", "Levels", "confirmed"]

ALPHA = 0.01
"""Chance that a case that is worse by exactly the limit is convicted, over all looks."""

BETA = 0.05
"""Chance that a case that is worse by exactly the limit is cleared, over all looks."""

POWER = 0.80
"""Chance of being found that the smallest detectable change has."""

SCREEN_SHARE = 0.4
"""Part of BETA that the screen spends: most cases are unchanged, and should need no more than it."""


@dataclass(frozen=True)
class Levels:
    """One-sided confidence of the bound that convicts and of the bound that clears, at one look."""

    convicts: float
    clears: float


SCREEN = Levels(1 - ALPHA, 1 - SCREEN_SHARE * BETA)
"""Of launches that all belong to the screen. They convict only where no fresh ones are made: one look, all of ALPHA."""

FRESH = Levels(1 - ALPHA, 1 - (1 - SCREEN_SHARE) * BETA / 2)
"""Of one lot of fresh launches."""

LOT = Levels(1 - ALPHA / len(LOTS), 1 - (1 - SCREEN_SHARE) * BETA / (2 * len(LOTS)))
"""After each of several lots of fresh launches."""


def confirmed(launches: Sequence[Launch]) -> bool:
    """Whether there are fresh launches, made because the screen did not decide."""
    return any(launch.phase == "confirm" for launch in launches)
