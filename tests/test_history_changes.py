from __future__ import annotations

import dataclasses
import random

import pytest

pytest.importorskip("ruptures", reason="change points need the extra `history`")

from harness.history.changes import FEWEST, SHORTEST, changes, levels, with_changes
from harness.history.entries import Kept, Wanted, entry_of
from harness.history.past import series_of
from harness.report.past import Point, Series
from tests.history_runs import STEP, days, steady


def series(
    values: list[float], relative: list[float] | None = None, unit: str = "s", metric: str = "latency.p50"
) -> Series:
    ratios = relative or [None] * len(values)
    points = tuple(
        Point(f"run{i}", f"2026-01-{i + 1:02}T10:00:00+00:00", f"{i:040x}", False, value, value, value, ratio)
        for i, (value, ratio) in enumerate(zip(values, ratios, strict=True))
    )
    return Series("toys", "a/reference/cpu", metric, unit, "lower", "cpu-1", points)


def test_a_step_is_told_with_its_numbers_its_run_and_its_commit() -> None:
    (told,) = with_changes(series(STEP)).sentences()
    assert told.startswith("latency.p50 went from 1.20 ms to 1.40 ms (+17.1 %, ")
    assert "for the worse) at run run10 (commit 0000000000), 11 Jan 2026, 10:00 UTC" in told


def test_the_newest_change_comes_first() -> None:
    values = [*steady(10), *steady(10, around=1.5, seed=2), *steady(10, around=1.2, seed=3)]
    found = with_changes(series(values))
    assert [change.at for change in found.changes] == [10, 20]
    newest, oldest = found.sentences()
    assert "for the better" in newest
    assert "for the worse" in oldest


@pytest.mark.parametrize("count", [1, FEWEST - 1])
def test_too_few_runs_say_so(count: int) -> None:
    found = with_changes(series([1.0] * (count // 2) + [2.0] * (count - count // 2)))
    assert found.changes == ()
    assert found.note == "8 runs are needed to look for changes"
    assert levels([1.0, 2.0] * (FEWEST // 2 - 1)) == []


@pytest.mark.parametrize("place", [0, 1, 12, 23, 24])
def test_one_odd_run_is_no_change(place: int) -> None:
    values = steady(25)
    values[place] *= 1.5
    assert levels(values) == []


def test_a_level_must_have_held() -> None:
    before = steady(20)
    assert levels([*before, *steady(SHORTEST - 1, around=1.5, seed=2)]) == []
    assert levels([*before, *steady(SHORTEST, around=1.5, seed=2)]) == [20]


@pytest.mark.parametrize("noise", [0.0, 0.005, 0.05])
def test_what_is_steady_has_few_changes(noise: float) -> None:
    """Of 200 steady series; docs/history.md has the rates, measured on many more."""
    found = sum(bool(levels(steady(30, noise=noise, seed=seed))) for seed in range(200))
    assert found <= 8


def test_steps_that_stand_out_are_found() -> None:
    found = 0
    for seed in range(100):
        at = random.Random(seed).randrange(5, 25)
        values = [*steady(at, noise=0.02, seed=seed), *steady(30 - at, around=1.15, noise=0.02, seed=1000 + seed)]
        starts = levels(values)
        found += len(starts) == 1 and abs(starts[0] - at) <= 1
    assert found >= 90


def test_a_counted_value_moves_by_a_little() -> None:
    found = with_changes(series([0.986] * 10 + [0.984] * 10, unit="share", metric="accuracy"))
    (told,) = found.sentences()
    assert "accuracy went from 98.60 % to 98.40 % (-0.20 pt" in told
    assert levels([7.0] * 30) == []
    assert levels([0.0] * 15 + [0.5] * 15) == [15]
    assert levels([0.0] * 30) == []


def test_several_changes_of_a_counted_value_do_not_count_as_noise() -> None:
    """Across three runs each of them is three steps, which made more than a quarter of all."""
    assert levels([1.0] * 8 + [1.02] * 7 + [1.04] * 8 + [1.06] * 7) == [8, 15, 23]
    assert levels([1.0] * 6 + [1.02] * 5 + [1.04] * 6 + [1.06] * 6 + [1.08] * 7) == [6, 11, 17, 23]


def test_a_counted_value_that_comes_and_goes_is_no_change() -> None:
    """With the median step its noise was none, so that three odd runs in a row were a level that had held."""
    odd = [0.984]
    values = [0.986] * 8 + odd + [0.986] * 5 + odd * 3 + [0.986] * 6 + odd + [0.986] * 4 + odd + [0.986]
    assert len(values) == 30
    assert levels(values) == []
    assert levels([0.986] * 10 + odd * 10) == [10]


def test_several_changes_do_not_count_as_noise() -> None:
    before, after = steady(8), steady(8, around=1.5, seed=2)
    assert levels([*before, *after, *steady(7, around=1.2, seed=3), *steady(7, around=1.6, seed=4)]) == [8, 16, 23]


def test_the_ratio_to_the_anchor_is_looked_at_where_every_run_has_one() -> None:
    """A slower machine slows the anchor too; what is left is the case's own."""
    machine = [*steady(10), *steady(10, around=1.3, seed=2)]
    own = [*steady(15, seed=3), *steady(5, around=1.2, seed=4)]
    values = [a * b for a, b in zip(machine, own, strict=True)]
    found = with_changes(series(values, own))
    assert [change.at for change in found.changes] == [15]
    assert "% against the anchor, for the worse)" in next(found.sentences())
    partly = with_changes(series(values, own))
    points = (dataclasses.replace(partly.points[0], relative=None), *partly.points[1:])
    assert 10 in [change.at for change in changes(dataclasses.replace(partly, points=points))]


def test_another_question_is_another_series() -> None:
    runs = days([*[0.0012] * 6, *[0.0030] * 6])
    for i, run in enumerate(runs[:6]):
        (result,) = run.results
        asked = dataclasses.replace(result, workload={**result.workload, "inputs": "other"})
        runs[i] = dataclasses.replace(run, results=(asked,))
    found = series_of([entry_of(run) for run in runs], 50, Wanted(metrics=["latency.p50"]))
    assert [len(one.points) for one in found] == [6]
    assert {round(point.value, 4) for point in found[0].points} == {0.003}


def test_times_without_ratios_stand_in_no_series_with_those_that_have_some() -> None:
    """With their seconds a machine that got slower would be a change of the case, in every run's."""
    runs = days([*steady(8, around=0.001), *steady(9, around=0.0013, seed=2)])
    anchored = [dataclasses.replace(entry, cases=tuple(map(even, entry.cases))) for entry in map(entry_of, runs)]
    *before, last = anchored
    bare = dataclasses.replace(last, cases=tuple(map(without_ratios, last.cases)))
    (found,) = series_of([*before, bare], 50, Wanted(metrics=["latency.p50"]))
    assert len(found.points) == 16
    assert not with_changes(found).changes
    (whole,) = series_of([*before[:3], bare, *before[4:]], 50, Wanted(metrics=["size"]))
    assert len(whole.points) == 16, "what has no ratios in any run is as it was"
    (alone,) = series_of(
        [dataclasses.replace(one, cases=tuple(map(without_ratios, one.cases))) for one in before],
        50,
        Wanted(metrics=["latency.p50"]),
    )
    assert len(alone.points) == 16
    assert with_changes(alone).changes


def even(kept: Kept) -> Kept:
    """A case whose time has the same ratio to the anchor in each run."""
    return with_ratio(kept, 0.01)


def without_ratios(kept: Kept) -> Kept:
    return with_ratio(kept, None)


def with_ratio(kept: Kept, ratio: float | None) -> Kept:
    values = (dataclasses.replace(one, relative=ratio) if one.metric == "latency.p50" else one for one in kept.values)
    return dataclasses.replace(kept, values=tuple(values))


@pytest.mark.parametrize("declared", [{"unit": "ms"}, {"better": "higher"}])
def test_another_unit_or_direction_is_another_series(declared: dict[str, str]) -> None:
    runs = days([*[1.2] * 6, *[0.0012] * 6])
    for i, run in enumerate(runs[:6]):
        metrics = tuple({**one, **declared} if one["name"] == "latency.p50" else one for one in run.metrics)
        runs[i] = dataclasses.replace(run, metrics=metrics)
    (found,) = series_of([entry_of(run) for run in runs], 50, Wanted(metrics=["latency.p50"]))
    assert (found.unit, found.better) == ("s", "lower")
    assert {round(point.value, 4) for point in found.points} == {0.0012}
    assert len(found.points) == 6
