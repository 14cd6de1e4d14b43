"""The benchmark of what measuring costs: its arithmetic, and its parts on a small scale."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import call_costs as costs
from benchmarks import overhead
from benchmarks.call_costs import call_costs, median_interval
from benchmarks.launch_costs import LaunchCost, sampling_share
from benchmarks.overhead import ARMS, Row, of_cases, of_launches
from harness.records import Launch, Outcome, Result
from tests.report_samples import sample_run


def test_a_median_has_an_interval_of_order_statistics() -> None:
    assert median_interval([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    middle, low, high = median_interval([float(value) for value in range(40)])
    assert (middle, low, high) == (19.5, 13.0, 26.0)  # the 14th and 27th of 40 bound a median with 96 %


def test_each_loop_has_its_costs_with_their_intervals() -> None:
    costs = call_costs(lambda _: None, repetitions=3, seconds=0.001)
    assert set(costs) == {"harness", "pytest-benchmark, pedantic", "pytest-benchmark, automatic"}
    assert all(cost.loop[1] <= cost.loop[0] <= cost.loop[2] for cost in costs.values())


def test_pytest_benchmark_left_to_itself_makes_about_as_many_calls_as_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It had 2 µs for each call, so a tenth of the calls of 20 µs, over which it paid its calibration."""
    now, calls = [0.0], 0

    def clock() -> float:
        now[0] += 1e-7
        return now[0]

    def takes(_: object) -> None:
        nonlocal calls
        calls += 1
        now[0] += 20e-6

    monkeypatch.setattr(costs, "time", SimpleNamespace(perf_counter=clock))
    monkeypatch.setattr(costs, "perf_counter", clock)
    monkeypatch.setattr(costs, "perf_counter_ns", lambda: round(1e9 * clock()))
    seconds, given = costs.automatic(takes, 1000)
    assert calls == pytest.approx(1000 + costs.PROBED, rel=0.05), "the hundred that tell how long one takes besides"
    assert (seconds, given) == pytest.approx((20e-6, 20e-6), rel=0.05)


def test_the_document_has_what_a_call_costs_in_each_loop() -> None:
    """Of pytest-benchmark it told what one call a round costs, which is not its default."""
    document = " ".join((overhead.ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").split())
    rows = json.loads((overhead.ROOT / "benchmarks" / "results" / "overhead.json").read_text(encoding="utf-8"))
    every = {row["what"].removesuffix(", cost of a call"): row for row in rows if row["part"] == "calls"}

    def cost(of: str) -> tuple[float, float, float]:
        return every[of]["value"], every[of]["low"], every[of]["high"]

    value, low, high = cost("pytest-benchmark, pedantic: an empty function")
    assert f"with one call a round costs {value:.2f} µs more ({low:.2f} to {high:.2f})" in document
    value, low, high = cost("pytest-benchmark, automatic: an empty function")
    assert f"it costs {-value:.3f} µs less than a bare one ({-high:.3f} to {-low:.3f})" in document
    value, low, high = cost("pytest-benchmark, automatic: a function of 20 µs")
    assert f"that is {-value:.2f} µs less ({-low:.2f} less to {high:.2f} more)" in document
    value, low, high = cost("harness: a function of 20 µs")
    assert f"the loop of a turn costs {value:.2f} µs more ({-low:.2f} less to {high:.2f} more)" in document


def test_the_share_of_sampling_leaves_out_what_is_no_launch() -> None:
    def a_case(name: str, stages: dict[str, float], launches: int) -> Result:
        one = Launch("screen", 10, 1.0, None, {"candidate": (0.001,)}, 1.0, 0.1, wall_seconds=1.5, seconds=1.0)
        names = (name, "model", "technique", "cpu")
        return Result("suite", name, "id", *names[1:], Outcome.COMPLETED, launches=(one,) * launches, seconds=stages)

    stages = {
        "prepare": 4.0,
        "evaluate": 2.0,
        "memory": 1.0,
        "sample": 5.0,
        "prepare the other tree": 3.0,
        "ahead": 9.0,
    }
    run = dataclasses.replace(sample_run(1, 1), seconds=31.0, results=(a_case("a", stages, 3), a_case("b", {}, 3)))
    found = sampling_share(run)
    assert found.excluded == {"prepare": 7.0, "evaluate": 2.0, "memory": 1.0, "ahead": 9.0}
    assert (found.counted, found.launches, found.sampled, found.share) == (12.0, 9.0, 6.0, 0.5)
    with pytest.raises(ValueError, match="no case has launches"):
        sampling_share(dataclasses.replace(run, results=()))


@pytest.mark.parametrize(("fresh", "made"), [(True, "in this run"), (False, "when the cache got it")])
def test_launches_say_what_making_their_artefacts_took(fresh: bool, made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an artefact was cached, nothing said what preparing a case costs."""
    artefact = SimpleNamespace(manifest=SimpleNamespace(seconds=4.25), fresh=fresh)
    monkeypatch.setattr(overhead, "artefact_of", lambda root, technique: artefact)
    monkeypatch.setattr(overhead, "launch_cost", lambda artefact, count: LaunchCost((0.4, 0.3, 0.5), {"settle": 0.1}))
    rows = list(of_launches(Path(), 1))
    assert [row.what for row in rows[::2]] == [f"making the artefact of {technique}" for technique in ARMS]
    assert all((row.value, row.unit, row.met) == (4.25, "s", None) and made in row.note for row in rows[::2])
    assert [(row.value, row.target) for row in rows[1::2]] == [(0.4, target) for target in ARMS.values()]


@pytest.mark.parametrize(
    ("value", "sense", "met"), [(0.3, "at most", True), (0.31, "at most", False), (0.31, "at least", True)]
)
def test_a_figure_says_whether_its_target_is_kept(value: float, sense: str, met: bool) -> None:
    row = Row("a call", value, "µs", 0.1, 0.4, 0.3, sense)
    assert row.met is met
    assert ("NOT MET" in row.line()) is not met
    assert Row("a size", value, "MB").met is None


def test_many_cases_are_collected_judged_and_reported() -> None:
    rows = {row.what: row for row in of_cases(9, 5)}
    assert "collect 9 cases" in rows
    assert "judge and report 9 cases" in rows
    assert rows["size of run.json"].value > 0
    assert 0 < rows["CPU time of it"].value <= rows["judge and report 9 cases"].value + 0.1
