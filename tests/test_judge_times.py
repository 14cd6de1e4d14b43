from __future__ import annotations

import dataclasses
import math
import re

import pytest

from harness.judge import Prior, Spread, compare, fresh_launches
from harness.judge.times import judged_launches, judged_values, sampled
from harness.metrics import Metric
from harness.records import Comparison, Result, Verdict
from harness.report.reasons import measured_change
from tests.judge_samples import IDENTITY, METRICS, NODEID, a_baseline, a_block, a_result, some_times

QUIET = Prior(
    launch={name: Spread(0.003**2, 6) for name in ("latency.p50", "speedup")},
    block={name: Spread(0.005**2, 6) for name in ("latency.p50", "speedup")},
)
LATENCY = [0.0112, 0.01121, 0.01119]
ANCHORED = [1.12, 1.121, 1.119]
SPEEDUP = [2.0, 2.002, 1.998]
BLOCK = a_block({"latency.p50": LATENCY, "speedup": SPEEDUP}, {"latency.p50": ANCHORED})
BASELINE = a_baseline(None, some_times([BLOCK] * 3))


def times(numbers: list[float], factor: float) -> list[float]:
    return [number * factor for number in numbers]


def measured(latency: float = 1.0, speedup: float = 1.0, machine: float = 1.0, **launches: int) -> Result:
    """A run in which the case takes `latency` times the baseline's time on a machine that takes `machine` times."""
    count = sum(launches.values()) // 3 or 1
    return a_result(
        {
            "latency.p50": times(LATENCY, latency * machine) * count,
            "speedup": times(SPEEDUP, speedup) * count,
        },
        {"latency.p50": times(ANCHORED, latency) * count},
        **launches,
    )


def judged(result: Result, prior: Prior = QUIET) -> dict[str, Comparison]:
    return {row.metric: row for row in compare(result, BASELINE, METRICS, prior, IDENTITY)}


def test_a_slow_hour_is_not_a_slow_model() -> None:
    rows = judged(measured(machine=1.5))
    assert {row.verdict for row in rows.values()} == {Verdict.UNCHANGED}


def test_a_slower_model_regresses_with_a_whole_sentence() -> None:
    row = judged(measured(latency=1.152))["latency.p50"]
    assert row.verdict is Verdict.REGRESSED
    assert row.reason.startswith("latency.p50 12.9 ms [12.87, 12.93] against 11.2 ms: +15.2 % [+13.")
    assert "] relative to the anchor; limit +10.0 %; 3 launches against 9 in 3 blocks." in row.reason
    assert row.change is not None
    assert row.change.point == pytest.approx(0.152, abs=0.001)
    assert row.change.low > row.limit == pytest.approx(0.10)
    assert row.detectable is not None
    assert 0.10 < row.detectable < 0.152
    assert row.baseline is not None
    assert row.candidate is not None
    assert row.candidate.point == pytest.approx(0.0129, rel=0.01)
    assert (row.unit, row.better, row.baseline.launches) == ("s", "lower", 9)


def test_an_interval_that_begins_just_beyond_the_limit_does_not_read_as_the_limit() -> None:
    """What regressed was said to have changed by [+10.0, +13.0] beside a limit of +10.0 %."""
    row = judged(measured(latency=1.1163))["latency.p50"]
    assert row.verdict is Verdict.REGRESSED
    assert row.change is not None
    assert 0.1 < row.change.low < 0.1004
    assert "[+10.0," not in row.reason
    assert "relative to the anchor; limit +10.00 %; 3 launches" in row.reason


def test_the_change_of_a_sampled_share_is_in_points_as_its_limit_is() -> None:
    """Four points more of fifty were +8.0 % beside a limit of -2.00 pt."""
    cover = Metric("cover", "share", "higher", slack=0.02)
    quiet = Prior(launch={"cover": Spread(1e-6, 6)}, block={"cover": Spread(1e-6, 6)})
    baseline = a_baseline(None, some_times([a_block({"cover": [0.5, 0.501, 0.499]})] * 3))

    def said(values: list[float], verdict: Verdict) -> str:
        (row,) = compare(a_result({"cover": values}), baseline, {"cover": cover}, quiet, IDENTITY)
        assert row.verdict is verdict
        return row.reason

    more = said([0.54, 0.541, 0.539], Verdict.IMPROVED)
    assert ": +4.00 pt [+" in more
    assert "]; limit -2.00 pt; 3 launches" in more
    assert "+8.0 %" not in more
    unsure = said([0.46, 0.5, 0.54], Verdict.INCONCLUSIVE)
    assert re.search(r" This can't be decided: from -\d\.\d\d pt on, a change would have been found\.", unsure)


def test_a_slower_technique_shows_in_the_speed_up_first() -> None:
    rows = judged(measured(latency=1.08, speedup=1 / 1.08))
    assert rows["speedup"].verdict is Verdict.REGRESSED
    assert "limit -5.0 %" in rows["speedup"].reason
    assert rows["latency.p50"].verdict is not Verdict.REGRESSED


def test_a_rise_in_speed_is_an_improvement() -> None:
    rows = judged(measured(latency=0.7, speedup=1 / 0.7))
    assert {row.verdict for row in rows.values()} == {Verdict.IMPROVED}


def test_a_faster_reference_lowers_the_speed_up_and_does_not_gate() -> None:
    """Its change was said to be one relative to the anchor, of which only the words that excuse it speak."""
    rows = judged(measured(latency=1.0, speedup=0.8))
    row = rows["speedup"]
    assert row.verdict is Verdict.UNCHANGED
    assert "because the reference became faster, by 20.0 %" in row.reason
    assert row.change is not None
    assert row.change.point == pytest.approx(-0.2)
    assert "anchor" not in measured_change(row)
    assert measured_change(rows["latency.p50"]).endswith("] relative to the anchor")


@pytest.mark.parametrize("latency", [1.06, 1.12, 1.25])
def test_a_speed_up_that_the_case_itself_lost_has_no_excuse(latency: float) -> None:
    assert judged(measured(latency=latency, speedup=0.8))["speedup"].verdict is Verdict.REGRESSED


def test_without_an_anchored_time_there_is_no_excuse() -> None:
    result = a_result({"speedup": times(SPEEDUP, 0.8)})
    rows = {row.metric: row for row in compare(result, BASELINE, METRICS, QUIET, IDENTITY)}
    assert rows["speedup"].verdict is Verdict.REGRESSED
    assert rows["latency.p50"].verdict is Verdict.MISSING


def test_only_fresh_launches_convict() -> None:
    slow, normal = times(ANCHORED, 1.5), ANCHORED
    values = {"latency.p50": times(LATENCY, 1.5) + LATENCY, "speedup": SPEEDUP * 2}
    looked_slow = a_result(values, {"latency.p50": slow + normal}, screen=3, confirm=3)
    assert judged_launches(looked_slow.launches, fresh=True) == (3, 4, 5)
    assert judged_launches(looked_slow.launches, fresh=False) == (0, 1, 2, 3, 4, 5)
    assert judged_values(looked_slow, (1, 2, 3, 4, 5, 6), fresh=True) == (4, 5, 6)
    assert judged_values(looked_slow, (7.0,)) == (7.0,)
    assert judged(looked_slow)["latency.p50"].verdict is Verdict.UNCHANGED
    is_slow = a_result(values, {"latency.p50": normal + slow}, screen=3, confirm=3)
    assert judged(is_slow)["latency.p50"].verdict is Verdict.REGRESSED


def test_a_screen_that_could_not_be_confirmed_convicts_nobody() -> None:
    slow = measured(latency=1.5, speedup=1 / 1.5)
    assert judged(slow)["latency.p50"].verdict is Verdict.REGRESSED  # two runs compared afterwards
    row = judged(dataclasses.replace(slow, cut_short=True))["latency.p50"]
    assert row.verdict is Verdict.INCONCLUSIVE
    assert "could not be confirmed, since its time was over" in row.reason


def test_what_cannot_be_decided_says_what_could_have_been_seen_and_what_settles_it() -> None:
    unsteady = a_result({"speedup": [1.5, 2.0, 2.7]})
    rows = compare(unsteady, BASELINE, METRICS, Prior(), IDENTITY)
    row = next(row for row in rows if row.metric == "speedup")
    assert row.verdict is Verdict.INCONCLUSIVE
    assert row.detectable is not None
    assert "This can't be decided: from -" in row.reason
    assert row.reason.endswith(f"More launches settle it: pytest '{NODEID}' --plan confirm=12")


def test_a_baseline_of_one_block_asks_for_another() -> None:
    wide = Prior(block={"speedup": Spread(0.02**2, 6)}, launch=QUIET.launch)
    baseline = a_baseline(None, some_times([BLOCK]))
    row = {row.metric: row for row in compare(measured(), baseline, METRICS, wide, IDENTITY)}["speedup"]
    assert row.verdict is Verdict.INCONCLUSIVE
    assert "The baseline has 1 block; another one" in row.reason
    assert row.reason.endswith(f"pytest '{NODEID}' --baseline=update --reason 'another block'")


@pytest.mark.parametrize(("confirm", "words"), [(0, "--plan confirm=8"), (3, "measure again on a quieter one")])
def test_a_full_baseline_on_a_restless_machine(confirm: int, words: str) -> None:
    restless = Prior(block={"speedup": Spread(0.1**2, 6)}, launch=QUIET.launch)
    row = judged(measured(screen=3, confirm=confirm), restless)["speedup"]
    assert row.verdict is Verdict.INCONCLUSIVE
    assert words in row.reason


def test_a_limit_that_is_an_absolute_time_is_shown_as_one() -> None:
    metrics = {"latency.p99": Metric("latency.p99", "s", "lower", slack=0.001)}
    block = a_block({"latency.p99": [0.010, 0.010, 0.010]})
    quiet = Prior(launch={"latency.p99": Spread(1e-8, 6)}, block={"latency.p99": Spread(1e-8, 6)})
    for value, verdict in ((0.01095, Verdict.UNCHANGED), (0.01105, Verdict.REGRESSED)):
        result = a_result({"latency.p99": [value] * 3})
        (row,) = compare(result, a_baseline(None, some_times([block])), metrics, quiet, IDENTITY)
        assert row.verdict is verdict
        assert "limit +1.00 ms" in row.reason


def test_a_baseline_without_ratios_to_the_anchor_is_no_match() -> None:
    bare = a_baseline(None, some_times([a_block({"latency.p50": LATENCY})]))
    rows = {row.metric: row for row in compare(measured(), bare, METRICS, QUIET, IDENTITY)}
    assert rows["latency.p50"].verdict is Verdict.INCOMPARABLE
    assert "no ratio to the anchor" in rows["latency.p50"].reason
    unanchored = a_result({"latency.p50": LATENCY, "speedup": SPEEDUP})
    assert judged(unanchored)["latency.p50"].verdict is Verdict.INVALID


@pytest.mark.parametrize(
    ("metric", "values", "relative", "expected"),
    [
        ("latency.p50", (1.0, 1.0), (1.0, 1.0), True),
        ("latency.p50", (1.0,), (1.0,), True),
        ("speedup", (1.0,), (), True),
        ("memory.peak", (1.0,), (), False),
        ("accuracy", (1.0,), (), False),
    ],
)
def test_what_varies_from_launch_to_launch(
    metric: str, values: tuple[float, ...], relative: tuple[float, ...], expected: bool
) -> None:
    measurement = a_result({metric: values}, {metric: relative}).measurements[0]
    assert sampled(METRICS[metric], measurement) is expected


def test_confirmation_is_asked_for_what_is_suspicious_or_undecided() -> None:
    def asks(result: Result, prior: Prior = QUIET) -> int:
        return fresh_launches(result, BASELINE, METRICS, prior, 16)

    assert not asks(measured())
    assert not asks(measured(latency=0.7, speedup=1 / 0.7))
    assert not asks(measured(latency=1.0, speedup=0.8)), "the reference became faster"
    assert asks(measured(latency=1.3, speedup=1 / 1.3)) == 5
    assert asks(measured(), Prior(block={"speedup": Spread(0.1**2, 6)})) == 5
    assert not asks(measured(latency=1.3, speedup=1 / 1.3, screen=3, confirm=5)), "there are fresh ones already"


@pytest.mark.parametrize(("launch", "count"), [(0.02, 5), (0.06, 9), (0.09, 16)])
def test_as_many_fresh_launches_as_it_takes_to_see_what_the_hours_leave(launch: float, count: int) -> None:
    prior = Prior(launch={"speedup": Spread(launch**2, 1e6)}, block={"speedup": Spread(0.02**2, 1e6)})
    assert fresh_launches(measured(speedup=0.95), BASELINE, METRICS, prior, 16) == count


def test_no_launches_without_a_baseline() -> None:
    assert not fresh_launches(measured(latency=2.0), a_baseline(), METRICS, QUIET, 16)


def test_what_cannot_vary_needs_no_confirmation() -> None:
    baseline = a_baseline(None, some_times([a_block({"memory.peak": [1e8], "speedup": SPEEDUP})]))
    result = a_result({"memory.peak": [2e8], "speedup": SPEEDUP})
    assert not fresh_launches(result, baseline, METRICS, QUIET, 16)
    invalid = a_result({"speedup": [2.0, 2.0]}, screen=3)
    assert not fresh_launches(invalid, baseline, METRICS, QUIET, 16), "it fails as it is"


def test_numbers_at_the_edge_of_floating_point_stay_numbers() -> None:
    tiny, huge = [1e-300] * 3, [1e300] * 3
    for now, before in ((tiny, huge), (huge, tiny)):
        baseline = a_baseline(None, some_times([a_block({"speedup": before})]))
        (row,) = compare(a_result({"speedup": now}), baseline, {"speedup": METRICS["speedup"]}, QUIET, IDENTITY)
        assert row.change is not None
        assert math.isfinite(row.change.point)
        assert math.isfinite(row.change.high)
        assert row.verdict in (Verdict.REGRESSED, Verdict.IMPROVED)
