"""What a plan can find agrees with what the judge finds, and the plan that is asked for is the cheapest that holds."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest

from harness.judge.against import expected, judge_launches
from harness.judge.change import change_of
from harness.judge.design import MOST_LAUNCHES, AgainstBaseline, InTurns, Launching, detectable, in_time, plan_for
from harness.judge.prior import Prior, Spread, between, pooled
from harness.metrics import METRICS
from harness.plan import Plan
from harness.records import Launch, Verdict

METRIC = {metric.name: metric for metric in METRICS}
TIME, SPEEDUP = METRIC["latency.p50"], METRIC["speedup"]
SPREAD = Spread(1.0, 6.0)
"""As large as it is expected of launches (`harness.judge.against.expected`)."""
USUAL = Spread(expected(()), SPREAD.freedom)
"""The same as a variance, for launches whose rounds leave nothing."""


def launches(logs: list[float]) -> tuple[Launch, ...]:
    found = [Launch("confirm", 9, None, None, {}, 1.0, 0.1, 1.0, against=math.exp(log)) for log in logs]
    return tuple(found)


@pytest.mark.parametrize("tolerance", [0.0, 0.01, 0.05])
def test_in_turns_it_is_the_judge_s_own_number(tolerance: float) -> None:
    logs = [0.002, -0.004, 0.001, 0.003, -0.002, 0.0, 0.004, -0.001]
    own = pooled([logs])
    precision = InTurns(Launching(USUAL.moderate(own.variance, own.freedom).variance), USUAL.freedom)
    found = detectable(precision, Plan(confirm=len(logs)), TIME, tolerance)
    assert found == pytest.approx(judge_launches(launches(logs), tolerance, SPREAD).detectable, rel=1e-12)


def test_in_turns_one_odd_launch_hides_no_more_than_ranks_do() -> None:
    """By t the spread that the odd one makes would double it: ranks judge here, and find it."""
    rng = random.Random(5)
    logs = [rng.gauss(0.0, 0.005) for _ in range(15)]
    said = judge_launches(launches([*logs, 0.08]), 0.01, SPREAD).detectable
    assert 0.01 < said < 0.023
    found = 0
    for _ in range(400):
        drawn = [rng.gauss(math.log1p(said), 0.005) for _ in range(15)]
        drawn.append(drawn[0] + 0.08)
        found += judge_launches(launches(drawn), 0.01, SPREAD).verdict is Verdict.REGRESSED
    assert found >= 300


@pytest.mark.parametrize("earlier", [3, 12])
@pytest.mark.parametrize(("launch", "block"), [(0.02, 0.001), (0.002, 0.02), (0.01, 0.01)])
def test_against_a_baseline_it_is_the_judge_s_own_change(launch: float, block: float, earlier: int) -> None:
    rng = random.Random(3)
    prior = Prior({"speedup": Spread(launch**2, 5.0)}, {"speedup": Spread(block**2, 4.0)})
    blocks = [[rng.gauss(hour, launch) for _ in range(earlier)] for hour in (0.0, block, -block)]
    now = [rng.gauss(0.0, launch) for _ in range(8)]
    whole, hours = pooled([now, *blocks]), between(blocks)
    usual, between_runs = prior.launches("speedup"), prior.blocks("speedup")
    precision = AgainstBaseline(
        Launching(usual.moderate(whole.variance, whole.freedom).variance),
        usual.freedom,
        Spread(between_runs.moderate(hours.variance, hours.freedom).variance, between_runs.freedom),
        earlier=earlier,
    )
    values = [[math.exp(log) for log in group] for group in (now, *blocks)]
    judged = change_of(values[0], values[1:], prior, "speedup")
    planned = precision.change(8, 1.0)
    assert (planned.error, planned.freedom) == pytest.approx((judged.error, judged.freedom), rel=1e-9)
    assert planned.sampling is judged.sampling


def test_four_in_five_runs_find_what_is_called_detectable() -> None:
    true = detectable(InTurns(Launching(USUAL.variance), USUAL.freedom), Plan(), TIME, 0.01)
    rng = random.Random(4)
    found = 0
    for _ in range(1000):
        logs = [rng.gauss(math.log1p(true), math.sqrt(USUAL.variance)) for _ in range(Plan().confirm)]
        found += judge_launches(launches(logs), 0.01, SPREAD).verdict is Verdict.REGRESSED
    assert 770 <= found <= 840


def test_a_fall_of_a_speed_up_is_given_as_a_positive_share() -> None:
    precision = AgainstBaseline(Launching(0.01**2), 6.0, Spread(0.005**2, 4.0), 3)
    up, down = (detectable(precision, Plan(), metric) for metric in (TIME, SPEEDUP))
    assert (1 + up) * (1 - down) == pytest.approx(1.0)


def test_longer_launches_help_with_what_their_rounds_leave() -> None:
    assert Launching(5e-5, 4e-5).longer(4) == pytest.approx(2e-5)
    assert Launching(5e-5).longer(4) == 5e-5
    assert Launching(5e-5, 9e-5).longer(10) == pytest.approx(5e-6)  # no more than all of it


def test_the_fewest_launches_that_hold_a_tolerance() -> None:
    precision = InTurns(Launching(0.008**2), 6.0)
    plan = Plan(confirm=4)
    assert detectable(precision, plan, TIME) > 0.01
    found = plan_for(precision, plan, TIME, 0.01)
    assert found.keys() == {"confirm"}
    more = dataclasses.replace(plan, confirm=int(found["confirm"]))
    fewer = dataclasses.replace(plan, confirm=int(found["confirm"]) - 1)
    assert detectable(precision, more, TIME) <= 0.01 < detectable(precision, fewer, TIME)


def test_longer_launches_where_starting_them_costs_more() -> None:
    shaky = InTurns(Launching(0.016**2, 0.0159**2, start=3.0), 6.0)
    found = plan_for(shaky, Plan(), TIME, 0.008)
    assert found["seconds"] > Plan().seconds
    assert found["confirm"] < plan_for(InTurns(Launching(0.016**2, start=3.0), 6.0), Plan(), TIME, 0.008)["confirm"]
    quick = InTurns(Launching(0.016**2, 0.001**2, start=0.1), 6.0)
    assert "seconds" not in plan_for(quick, Plan(), TIME, 0.015)


def test_a_plan_that_needs_more_than_the_budget_says_so() -> None:
    slow = InTurns(Launching(0.02**2, start=5.0), 6.0)
    found = plan_for(slow, Plan(), TIME, 0.012)
    assert found["budget"] >= found["confirm"] * 5.8 > Plan().budget


def test_launches_whose_rounds_take_longer_than_asked_are_not_made_longer_by_asking_for_less() -> None:
    long = InTurns(Launching(0.016**2, 0.0159**2, start=1.0, sampled=10.0), 6.0)
    found = plan_for(long, Plan(), TIME, 0.01)
    assert found.keys() == {"confirm", "budget"}
    assert found["budget"] >= (Plan().screen + found["confirm"]) * 11.0
    assert found["confirm"] == plan_for(InTurns(Launching(0.016**2), 6.0), Plan(), TIME, 0.01)["confirm"]


@pytest.mark.parametrize(("start", "made"), [(1.0, 16), (9.2, 9), (19.2, 5), (60.0, 5)])
def test_a_case_has_the_fresh_launches_that_its_time_leaves(start: float, made: int) -> None:
    """As `test_a_case_has_as_many_fresh_launches_as_convict_however_long_they_take` has it of sampling."""
    assert in_time(Launching(1e-4, start=start), Plan()).confirm == made
    assert in_time(Launching(1e-4, start=start), Plan(confirm=2)).confirm == 2


def test_no_plan_makes_the_hours_agree() -> None:
    hours = AgainstBaseline(Launching(0.003**2, 0.002**2), 6.0, Spread(0.02**2, 4.0), 3)
    assert plan_for(hours, Plan(), SPEEDUP, 0.05) == {}
    assert plan_for(InTurns(Launching(0.3**2), 6.0), Plan(), TIME, 0.01) == {}
    assert detectable(InTurns(Launching(0.3**2), 6.0), Plan(confirm=MOST_LAUNCHES), TIME) > 0.01
