"""Taking turns with scripted arms: which rounds count, how many are made again, and what a ratio's error is."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable

import pytest

from harness.errors import MeasurementError
from harness.measure.turns import Series, paired, take_turns
from harness.plan import Plan
from harness.worker.protocol import Turn, TurnDone

PLAN = Plan(rounds=20)


class ScriptedArm:
    """Stands for a child: `turn(number)` gives its seconds a call and the share of a core that it had."""

    def __init__(self, turn: Callable[[int], tuple[float, float]], calls: int = 4) -> None:
        self._turn, self._calls, self._taken = turn, calls, 0

    def ask(self, request: Turn) -> None:
        self._calls = request.calls

    def reply(self, kind: type, deadline: float) -> TurnDone:
        seconds, share = self._turn(self._taken)
        self._taken += 1
        spent = [round(seconds * 1e9)] * self._calls
        return TurnDone(tuple(spent), round(sum(spent) * share))


def arms(**turns: Callable[[int], tuple[float, float]]) -> dict[str, Series]:
    return {role: Series(ScriptedArm(turn), Turn(1, 4)) for role, turn in turns.items()}  # type: ignore[arg-type]


def test_rounds_without_the_processor_are_made_again_and_do_not_count() -> None:
    disturbed = {3, 4, 11}
    both = arms(
        candidate=lambda n: (0.002, 0.5) if n in disturbed else (0.001, 1.0),
        previous=lambda n: (0.001, 1.0),
    )
    turns = take_turns(both, PLAN, random.Random(0), seconds=0.0)
    assert turns.rounds == PLAN.rounds + 3
    assert [number for number, kept in enumerate(turns.kept) if not kept] == sorted(disturbed)
    assert turns.disturbed == 0
    ratio, error = paired(both["candidate"].turns, both["previous"].turns, turns.kept)
    assert ratio == pytest.approx(1.0)
    assert error == pytest.approx(0.0, abs=1e-6)


def test_what_is_disturbed_all_along_is_said_to_be() -> None:
    both = arms(candidate=lambda n: (0.001, 1.0 if n % 5 < 3 else 0.6), previous=lambda n: (0.001, 1.0))
    turns = take_turns(both, PLAN, random.Random(0), seconds=0.0)
    assert turns.rounds == PLAN.rounds + 8
    assert turns.disturbed == pytest.approx(0.1)  # 18 of the 20 rounds that were wanted


def test_an_arm_that_waits_by_itself_is_not_disturbed_by_others() -> None:
    both = arms(candidate=lambda n: (0.001, 0.1 + 0.1 * (n % 2)), previous=lambda n: (0.001, 1.0))
    turns = take_turns(both, PLAN, random.Random(0), seconds=0.0)
    assert (turns.rounds, turns.disturbed, all(turns.kept)) == (PLAN.rounds, 0, True)


def test_a_clock_that_stands_still_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="the candidate arm's clock gave") as caught:
        take_turns(arms(candidate=lambda n: (0.0, 1.0)), PLAN, random.Random(0), seconds=0.0)
    assert caught.value.outcome == "invalid"


@pytest.mark.parametrize("carry", [0.0, 0.6])
def test_the_error_of_a_ratio_is_that_of_its_median(carry: float) -> None:
    """2,000 launches of 60 rounds: their medians spread by about what each of them says, also with carried noise."""
    rng = random.Random(3)
    points, errors = [], []
    for _ in range(2000):
        level, over = 0.0, []
        for _ in range(60):
            level = carry * level + rng.gauss(0, 0.02) * math.sqrt(1 - carry**2)
            over.append(math.exp(level))
        ratio, error = paired(over, [1.0] * 60, [True] * 60)
        points.append(math.log(ratio))
        errors.append(error**2)
    assert math.sqrt(statistics.fmean(errors)) == pytest.approx(statistics.pstdev(points), rel=0.25)
