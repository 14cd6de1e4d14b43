"""Adding launches: lots, lengths, disturbed ones again, and the end of the time."""

from __future__ import annotations

import dataclasses
import math
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.disturbance import circumstances, disturbances
from harness.hardware import cpu
from harness.judge.compare import LEAST_FRESH
from harness.measure import sampling
from harness.measure.budget import Budget
from harness.measure.sampling import best_seconds, sample
from harness.plan import Plan
from harness.records import Launch


def a_launch(phase: str = "screen", ratio: float = 1.0, **fields: object) -> Launch:
    basics = {"seconds": 1.0, "within": {"against": 0.004}, "calls": 500}
    return Launch(phase, 20, None, None, {}, 1.0, 0.1, 1.4, against=ratio, **{**basics, **fields})  # type: ignore[arg-type]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Launch]:
    """The launches that `sample` asked for, in the place of real ones; `script` gives what is wrong with them."""
    launches: list[Launch] = []
    script: Iterator[float] = iter(PRESSURES)

    def launch(arms: object, *, phase: str, seconds: float, **_: object) -> Launch:
        launches.append(a_launch(phase, seconds=seconds, pressure=next(script, 0.0)))
        return launches[-1]

    monkeypatch.setattr(sampling, "launch", launch)
    return launches


PRESSURES: list[float] = []


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    PRESSURES.clear()
    yield
    PRESSURES.clear()


def run(plan: Plan, wanted: Sequence[int], left: float = float("inf")) -> tuple[Launch, ...]:
    answers = iter(wanted)
    return sample(
        {},
        hardware=cpu,
        plan=plan,
        rng=random.Random(0),
        logs=Path(),
        more=lambda _: next(answers, 0),
        end=lambda: time.perf_counter() + left,
    ).launches


def phases(launches: Sequence[Launch]) -> str:
    return "".join(launch.phase[0] for launch in launches)


def test_lots_are_added_while_they_are_wanted(made: list[Launch]) -> None:
    assert phases(run(Plan(), [3, 5])) == "sss" + "c" * 8
    assert phases(run(Plan(), [])) == "sss"


def test_a_plan_splits_its_fresh_launches_into_lots() -> None:
    assert Plan().lots == (5, 5, 6)
    assert [sum(Plan(confirm=count).lots) for count in range(40)] == list(range(40))
    assert Plan(confirm=4).lots == (1, 1, 2)


def test_a_disturbed_launch_is_made_again_twice_and_then_counts(made: list[Launch]) -> None:
    PRESSURES.extend([0.0, 0.5, 0.5, 0.5, 0.5])
    found = run(Plan(repeats=2), [])
    assert phases(found) == "srrss"
    assert circumstances(found) == "; 2 of 3 launches were disturbed: other work competed for the CPU"


def test_no_launch_is_begun_after_the_end_save_the_screen(made: list[Launch]) -> None:
    PRESSURES.extend([0.0, 0.0, 0.0])
    assert phases(run(Plan(), [3], left=0)) == "sss"
    PRESSURES.extend([0.5])
    assert phases(run(Plan(budget=1e-9), [16])) == "sss" + "c" * 5, "nor is a disturbed one made again"


@pytest.mark.parametrize(
    ("seconds", "plan", "wanted", "left", "found"),
    [
        (31.0, Plan(), [16], math.inf, "sss" + "c" * LEAST_FRESH),
        (31.0, Plan(), [5, 5, 6], math.inf, "sss" + "c" * LEAST_FRESH),
        (31.0, Plan(confirm=2), [2, 2], math.inf, "ssscc"),
        (31.0, Plan(), [16], 40.0, "ssscc"),
        (10.0, Plan(), [16], math.inf, "sss" + "c" * 9),
        (5.0, Plan(), [16], math.inf, "sss" + "c" * 16),
    ],
    ids=["one lot", "several lots", "a plan that wants fewer", "the time of the run is over", "in time", "soon enough"],
)
def test_a_case_has_as_many_fresh_launches_as_convict_however_long_they_take(
    monkeypatch: pytest.MonkeyPatch, seconds: float, plan: Plan, wanted: Sequence[int], left: float, found: str
) -> None:
    """The slower a model became, the fewer of them its own time had room for, and fewer than five convict nobody."""
    now = [0.0]

    def launch(arms: object, *, phase: str, **_: object) -> Launch:
        now[0] += seconds
        return a_launch(phase)

    monkeypatch.setattr(sampling, "launch", launch)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    assert phases(run(plan, wanted, left)) == found


@pytest.mark.parametrize(
    ("within", "spread", "start", "seconds"),
    [
        (0.004, 0.0, 0.4, 0.84),  # sqrt(0.4) * 0.4 % / 0.3 %
        (0.004, 0.0, 1.6, 1.69),
        (0.0001, 0.01, 0.4, 0.4),  # the launches differ, not the rounds: as short as may be
        (0.02, 0.0, 1.6, 2.4),  # the rounds differ: as long as may be
    ],
)
def test_a_launch_is_as_long_as_its_rounds_and_its_start_call_for(
    within: float, spread: float, start: float, seconds: float
) -> None:
    launches = [
        dataclasses.replace(a_launch(ratio=1 + share * spread, within={"against": within}), wall_seconds=1.0 + start)
        for share in (-1, 0, 1)
    ]
    assert best_seconds(launches, Plan(seconds=0.8)) == pytest.approx(seconds, rel=0.02)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pressure": 0.2}, "other work competed"),
        ({"steal": 0.06}, "hypervisor"),
        ({"disturbed": 0.3}, "kept from the CPU"),
        ({"state": {"frequency_before": 3000.0, "frequency": 2500.0}}, "clock changed"),
        ({"state": {"slowdown": "thermal"}}, "slowed down (thermal)"),
        ({"state": {"throttled_calls": 3}}, "below its clock"),
        ({"state": {"foreign_processes": "4711"}}, "other processes"),
        ({"unsettled": ("anchor", "candidate")}, "the anchor and the candidate never came to a steady time"),
    ],
)
def test_what_disturbs_a_launch_is_said(fields: dict[str, object], words: str) -> None:
    (found,) = disturbances(a_launch(**fields))
    assert words in found


def test_a_quiet_launch_is_not_disturbed() -> None:
    quiet = {"frequency_before": 3000.0, "frequency": 2950.0, "slowdown": "none", "foreign_processes": "none"}
    assert disturbances(a_launch(pressure=0.02, steal=0.0, state=quiet)) == ()
    assert circumstances([a_launch()]) == ""


def test_a_budget_keeps_what_the_other_cases_need_and_gives_a_share_of_the_rest() -> None:
    now = [100.0]
    budget = Budget(100.0, 3, clock=lambda: now[0])
    budget.begin()
    now[0] = 110.0  # the screen is made; the two to come are expected to take ten seconds each
    assert budget.end() == 110.0 + (90 - 20) / 4
    now[0] = 120.0
    budget.begin()
    now[0] = 150.0  # one that took thirty: twenty are expected of the last
    assert budget.end() == 150.0 + (50 - 20) / 4
    budget.begin()
    now[0] = 190.0
    assert budget.end() == 190.0 + 10 / 4
    now[0] = 210.0
    assert budget.end() == 210.0, "it is over"


def test_what_was_made_for_several_cases_is_shared_out_among_them() -> None:
    now = [0.0]
    budget = Budget(100.0, 3, clock=lambda: now[0])
    now[0] = 12.0
    budget.share(12.0, 3)
    budget.begin()
    now[0] = 20.0  # its own eight seconds, and four of the twelve: as much is expected of each of the two to come
    assert budget.end() == 20.0 + (80 - 2 * 12) / 4


def test_without_a_budget_there_is_no_end() -> None:
    budget = Budget(cases=2)
    budget.begin()
    assert budget.end() == float("inf")
