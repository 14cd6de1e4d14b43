from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.baseline.accept import KEPT_BLOCKS, accept, baseline_of, proposed, refusal
from harness.baseline.compare import compare_with_baseline
from harness.baseline.records import Portable, Times, machine_class, written
from harness.baseline.store import Store
from harness.errors import BaselineError
from harness.judge import Prior, Spread, case_verdict, compare, estimate
from harness.metrics import Metric, resolve
from harness.records import Comparison, Environment, Estimate, Measurement, Outcome, Result, Verdict
from tests.judge_samples import CASE, ELSEWHERE, ENVIRONMENT, IDENTITY, METRICS, WORKLOAD, a_result, portables, scores

QUIET = Prior(
    launch={name: Spread(0.003**2, 6) for name in ("latency.p50", "speedup")},
    block={name: Spread(0.005**2, 6) for name in ("latency.p50", "speedup")},
)
AWAY = dataclasses.replace(ENVIRONMENT, hardware={"cpu": ELSEWHERE}, commit="def5678")
WHEN = "2026-02-{:02d}T12:00:00+00:00"


def measured(
    hour: int = 0, *, latency: float = 1.0, speedup: float = 1.0, memory: float = 1e8, **changes: Any
) -> Result:
    """One run of the case; another `hour` gives launches that differ by little."""
    drift = 1 + hour * 1e-4
    values = {
        "latency.p50": [latency * drift * one for one in (0.0112, 0.01121, 0.01119)],
        "latency.p99": [changes.pop("p99", 0.02)] * 3,
        "speedup": [speedup * drift * one for one in (2.0, 2.002, 1.998)],
        "memory.peak": [memory],
        "size": [changes.pop("size", 4e7)],
        "accuracy": [changes.pop("accuracy", 0.75)],
    }
    relative = {"latency.p50": [latency * drift * one for one in (1.12, 1.121, 1.119)]}
    return a_result(values, relative, scores=changes.pop("scores", scores("1110")), **changes)


def take(
    store: Store,
    result: Result,
    reason: str = "because",
    day: int = 1,
    where: Environment = ENVIRONMENT,
    metrics: Mapping[str, Metric] = METRICS,
) -> list[str]:
    found = accept(store, result, where, reason, WHEN.format(day), metrics=metrics, prior=QUIET)
    return [path.name for path in found]


def parts(store: Store, identity: Any = IDENTITY) -> tuple[Portable, Times]:
    found = store.read("digits", CASE, identity)
    assert found.portable is not None
    assert found.times is not None
    return found.portable, found.times


TIMES = f"times.{machine_class(IDENTITY)}.json"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "baselines")


def test_a_first_result_becomes_the_baseline(store: Store) -> None:
    facts = {"nodes": 19, "nodes.quantized": 3, "runtime": "onnxruntime", "sparsity": 0.5}
    assert take(store, measured(facts=facts), "first baseline") == ["portable.json", TIMES]
    portable, times = parts(store)
    assert portable.values == {"size": 4e7, "accuracy": 0.75}
    assert (portable.made_on, portable.weights, portable.scores) == (machine_class(IDENTITY), "aaaa", scores("1110"))
    assert portable.workload == {"evaluation": "2222", "metric": "top-1 accuracy"}
    assert times.workload == {"batch": "1", "inputs": "1111"}
    assert (times.identity, times.software) == (IDENTITY, ENVIRONMENT.software)
    assert times.ran == {"nodes": 19, "nodes.quantized": 3}
    (block,) = times.blocks
    assert set(block.values) == {"latency.p50", "speedup", "memory.peak"}, "what nobody judges is not kept"
    assert block.relative == {"latency.p50": (1.12, 1.121, 1.119)}
    assert (block.when, block.commit) == (WHEN.format(1), "abc1234")
    assert times.accepted == portable.accepted
    assert (times.accepted.reason, times.accepted.previous) == ("first baseline", {})


def test_what_was_accepted_is_unchanged_when_it_is_measured_again(store: Store) -> None:
    take(store, measured())
    found = compare(measured(1), store.read("digits", CASE, IDENTITY), METRICS, QUIET, IDENTITY)
    assert {one.verdict for one in found} == {Verdict.UNCHANGED}


def test_launches_that_agree_become_another_block_and_touch_nothing_else(store: Store) -> None:
    take(store, measured(), "first baseline")
    before, first = parts(store)
    for day in range(2, 5):
        assert take(store, measured(day), f"block {day}", day) == [TIMES]
    portable, times = parts(store)
    assert portable == before
    assert [block.when for block in times.blocks] == [WHEN.format(day) for day in range(1, 5)]
    assert times.accepted == first.accepted
    assert (written(times), written(portable)) == (WHEN.format(4), WHEN.format(1))


def test_only_the_newest_blocks_are_kept(store: Store) -> None:
    for day in range(1, KEPT_BLOCKS + 3):
        take(store, measured(day), day=day)
    blocks = parts(store)[1].blocks
    timed = [block.when for block in blocks if "latency.p50" in block.values]
    assert timed == [WHEN.format(day) for day in range(3, KEPT_BLOCKS + 3)]
    counted = [block.when for block in blocks if "memory.peak" in block.values]
    assert counted == [WHEN.format(day) for day in range(1, 4)], "what repeats keeps its first blocks"


def test_memory_does_not_creep_with_the_blocks_that_are_accepted(store: Store) -> None:
    """Each of them agreed with the eight before it, and nothing was red until it had doubled."""
    for day in range(20):
        result = measured(day, memory=1e8 * 1.004**day)
        rows = compare(result, store.read("digits", CASE, IDENTITY), METRICS, QUIET, IDENTITY)
        if Verdict.REGRESSED in [one.verdict for one in rows if one.metric == "memory.peak"]:
            break
        assert take(store, result, day=day + 1)
        assert take(store, result, day=day + 1) == [], "it is there, without its memory as well"
    assert day == 6
    take(store, result, "a cache that grows", day + 1)
    assert ["memory.peak" in block.values for block in parts(store)[1].blocks] == [False] * 6 + [True]


def test_a_metric_that_is_gone_can_be_accepted_beside_memory_that_stays(store: Store) -> None:
    own = Metric("pages", "count", "lower", tolerance=0.1)
    metrics = {**METRICS, "pages": own}
    for day in (1, 2, 3):
        take(store, a_result({"memory.peak": [1e8 + day], "pages": [100.0 + day]}), day=day, metrics=metrics)
    assert take(store, a_result({"memory.peak": [1e8 + 4]}), "pages tell nothing", 4, metrics=metrics) == [TIMES]
    times = parts(store)[1]
    assert [list(block.values) for block in times.blocks] == [["memory.peak"]] * 3
    assert times.accepted.previous == {"pages": pytest.approx(102.0, rel=1e-3)}
    assert written(times) == WHEN.format(4), "although its newest block is older"
    assert take(store, a_result({"memory.peak": [1e8 + 5]}), day=5, metrics=metrics) == []


def test_the_same_launches_are_not_evidence_twice(store: Store) -> None:
    take(store, measured())
    assert take(store, measured(), day=2) == []
    assert len(parts(store)[1].blocks) == 1


def test_launches_that_are_there_in_part_are_not_added_twice_either(store: Store) -> None:
    first = measured()
    take(store, first)
    take(store, measured(1, memory=2e8), "larger cache", 2)
    assert take(store, first, "the cache was a mistake", 3) == [TIMES]
    times = parts(store)[1]
    assert [sorted(block.values) for block in times.blocks] == [
        ["latency.p50", "speedup"],
        ["latency.p50", "memory.peak", "speedup"],
    ]
    assert [block.when for block in times.blocks] == [WHEN.format(2), WHEN.format(3)]
    assert times.blocks[1].values["memory.peak"] == (1e8,)
    assert times.accepted.previous == {"memory.peak": pytest.approx(2e8)}
    assert take(store, first, day=4) == []


def test_other_launches_with_equal_memory_are_another_block(store: Store) -> None:
    take(store, measured())
    take(store, measured(1, latency=1.3, speedup=0.77), "bigger model", 2)
    take(store, measured(2, latency=1.3, speedup=0.77), "another block", 3)
    assert ["memory.peak" in block.values for block in parts(store)[1].blocks] == [True, True, True]


TAIL = {**METRICS, "latency.p99": METRICS["latency.p99"].with_tolerance(0.10)}
"""A suite's metrics, of which a percentile has a limit."""


def with_calls(result: Result, calls: int) -> Result:
    return dataclasses.replace(
        result, launches=tuple(dataclasses.replace(launch, calls=calls) for launch in result.launches)
    )


def told(store: Store) -> list[bool]:
    """Of each block, whether it has the percentile."""
    return ["latency.p99" in block.values for block in parts(store)[1].blocks]


def test_a_percentile_of_too_few_calls_enters_no_block_and_removes_none(store: Store) -> None:
    for day in (1, 2, 3):
        take(store, with_calls(measured(day), 600), day=day, metrics=TAIL)
    for day in range(4, 5 + KEPT_BLOCKS):
        assert take(store, with_calls(measured(day, p99=0.05), 26), day=day, metrics=TAIL) == [TIMES]
    times = parts(store)[1]
    assert told(store) == [True] * 3 + [False] * KEPT_BLOCKS
    assert [set(block.values) for block in times.blocks[:3]] == [{"latency.p99", "memory.peak"}] * 3
    assert times.accepted.previous == {}
    again = with_calls(measured(20), 600)
    found = {one.metric: one for one in compare(again, store.read("digits", CASE, IDENTITY), TAIL, QUIET, IDENTITY)}
    assert found["latency.p99"].verdict is Verdict.UNCHANGED
    take(store, again, day=20, metrics=TAIL)
    assert sum(told(store)) == 4


def test_a_first_baseline_lacks_what_too_few_calls_can_not_tell(store: Store) -> None:
    take(store, with_calls(measured(1), 26), metrics=TAIL)
    assert told(store) == [False]
    take(store, with_calls(measured(2), 500), day=2, metrics=TAIL)
    times = parts(store)[1]
    assert told(store) == [False, True]
    assert set(times.blocks[0].values) == {"latency.p50", "speedup", "memory.peak"}
    assert times.accepted.previous == {}


def test_a_percentile_of_other_work_does_not_outlive_its_workload(store: Store) -> None:
    take(store, with_calls(measured(), 600), metrics=TAIL)
    longer = measured(1, workload={**WORKLOAD, "inputs": "9999"})
    take(store, with_calls(longer, 26), "longer inputs", 2, metrics=TAIL)
    assert told(store) == [False]
    assert parts(store)[1].accepted.previous["latency.p99"] == pytest.approx(0.02)


def test_confirming_launches_are_the_ones_that_are_kept(store: Store) -> None:
    values = {"speedup": [1.0, 1.0, 1.0, 2.0, 2.1, 2.2]}
    take(store, a_result(values, screen=3, confirm=3))
    (block,) = parts(store)[1].blocks
    assert block.values == {"speedup": (2.0, 2.1, 2.2)}


def test_an_accepted_regression_starts_its_metrics_anew_and_keeps_the_others(store: Store) -> None:
    take(store, measured())
    take(store, measured(1), day=2)
    slower = measured(2, latency=1.3, speedup=1.0)
    assert take(store, slower, "bigger model", 3) == [TIMES]
    times = parts(store)[1]
    assert [sorted(block.values) for block in times.blocks] == [
        ["memory.peak", "speedup"],
        ["memory.peak", "speedup"],
        ["latency.p50", "memory.peak", "speedup"],
    ]
    assert times.blocks[0].relative == {}
    assert times.accepted.previous == {"latency.p50": pytest.approx(0.0112, rel=1e-3)}
    found = compare(measured(3, latency=1.3), store.read("digits", CASE, IDENTITY), METRICS, QUIET, IDENTITY)
    assert {one.verdict for one in found} == {Verdict.UNCHANGED}


def test_an_improvement_is_kept_so_that_it_cannot_be_lost_again(store: Store) -> None:
    take(store, measured())
    take(store, measured(1, latency=0.7, speedup=1 / 0.7), "faster kernel", 2)
    times = parts(store)[1]
    assert set(times.accepted.previous) == {"latency.p50", "speedup"}
    take(store, measured(2, latency=0.7, speedup=1 / 0.7), "another block", 3)
    assert parts(store)[1].accepted == times.accepted, "the last change is still told, and why it was right"
    assert times.accepted.reason == "faster kernel"


def test_a_metric_that_came_is_a_change_with_a_reason_of_its_own(store: Store) -> None:
    take(store, measured())
    take(store, measured(1, latency=1.3), "bigger model", 2)
    take(store, with_calls(measured(2, latency=1.3), 600), "a limit on the tail", 3, metrics=TAIL)
    accepted = parts(store)[1].accepted
    assert (accepted.reason, accepted.previous) == ("a limit on the tail", {})


def test_a_speed_up_that_its_reference_lowered_is_not_mixed_with_the_old_one(store: Store) -> None:
    take(store, measured())
    fallen = measured(1, speedup=0.8)
    rows = {one.metric: one for one in compare(fallen, store.read("digits", CASE, IDENTITY), METRICS, QUIET, IDENTITY)}
    assert rows["speedup"].verdict is Verdict.UNCHANGED
    take(store, fallen, "the reference became faster", 2)
    times = parts(store)[1]
    assert ["speedup" in block.values for block in times.blocks] == [False, True]
    assert times.accepted.previous == {"speedup": pytest.approx(2.0, rel=1e-3)}


def test_more_memory_starts_memory_anew_and_leaves_the_times(store: Store) -> None:
    take(store, measured())
    take(store, measured(1, memory=2e8), "larger cache", 2)
    times = parts(store)[1]
    assert ["memory.peak" in block.values for block in times.blocks] == [False, True]
    assert times.accepted.previous == {"memory.peak": pytest.approx(1e8)}


def test_a_changed_portable_value_replaces_the_portable_part(store: Store) -> None:
    take(store, measured())
    assert take(store, measured(1, size=8e7), "more weights", 2) == ["portable.json", TIMES]
    portable = parts(store)[0]
    assert portable.values["size"] == 8e7
    assert portable.accepted.previous == {"size": 4e7}


def test_what_is_within_its_limit_does_not_creep(store: Store) -> None:
    take(store, measured(accuracy=0.75, scores=None))
    for day in (2, 3):
        take(store, measured(day, accuracy=0.7485, scores=None), day=day)
    assert parts(store)[0].values["accuracy"] == 0.75
    lower = measured(4, accuracy=0.7475, scores=None)
    rows = compare(lower, store.read("digits", CASE, IDENTITY), METRICS, QUIET, IDENTITY)
    assert case_verdict(rows) is Verdict.REGRESSED, "although it is near what was accepted last"


def test_a_moved_test_takes_its_baseline_along(store: Store) -> None:
    take(store, measured())
    before = parts(store)[0]
    moved = measured(1, nodeid="suites/test_numbers.py::test_it[x]", accuracy=0.7485)
    assert "portable.json" in take(store, moved, "moved", 2, where=AWAY)
    portable = parts(store)[0]
    assert portable == dataclasses.replace(before, nodeid="suites/test_numbers.py::test_it[x]")


def test_a_changed_workload_starts_anew(store: Store) -> None:
    take(store, measured())
    take(store, measured(1, workload={**WORKLOAD, "inputs": "9999"}), "longer inputs", 2)
    portable, times = parts(store)
    assert len(times.blocks) == 1
    assert times.workload["inputs"] == "9999"
    assert portable.accepted.when == WHEN.format(1), "what the inputs do not concern stays"


def test_another_machine_class_adds_its_times_and_nothing_else(store: Store) -> None:
    take(store, measured())
    before = parts(store)
    assert take(store, measured(1, weights="bbbb"), day=2, where=AWAY) == [f"times.{machine_class(ELSEWHERE)}.json"]
    assert parts(store) == before
    portable, times = parts(store, ELSEWHERE)
    assert portable.made_on == machine_class(IDENTITY)
    assert (times.identity, len(times.blocks)) == (ELSEWHERE, 1)


def test_another_machine_class_replaces_portable_values_that_really_differ(store: Store) -> None:
    take(store, measured())
    take(store, measured(1, size=8e7), "more weights", 2, where=AWAY)
    portable = parts(store)[0]
    assert (portable.made_on, portable.values["size"]) == (machine_class(ELSEWHERE), 8e7)


def thousand(hour: int, *, lost: int = 0, **changes: Any) -> Result:
    """One run of the case on 1,000 examples, of which some are answered wrong."""
    return measured(hour, accuracy=1 - lost / 1000, scores=scores([0] * lost + [1] * (1000 - lost)), **changes)


def numpy(version: str, **changes: Any) -> Environment:
    identity = {**IDENTITY, "protocol": 2, "anchor": f"2 numpy {version}", **changes}
    return dataclasses.replace(ENVIRONMENT, hardware={"cpu": identity})


def accuracy(store: Store, result: Result, where: Environment) -> Verdict:
    identity = where.hardware["cpu"]
    rows = compare(result, store.read("digits", CASE, identity), METRICS, QUIET, identity)
    return next(one.verdict for one in rows if one.metric == "accuracy")


def test_after_an_upgrade_the_portable_part_is_at_home_again(store: Store) -> None:
    before, after = numpy("2.3"), numpy("2.4", protocol=3)
    take(store, thousand(0), where=before)
    old = parts(store, before.hardware["cpu"])[0]
    assert accuracy(store, thousand(1, lost=5), after) is Verdict.INCONCLUSIVE
    assert "portable.json" in take(store, thousand(1), "numpy 2.4", 2, where=after)
    new = parts(store, after.hardware["cpu"])[0]
    assert new.made_on == machine_class(after.hardware["cpu"])
    assert (new.values, new.scores, new.weights) == (old.values, old.scores, old.weights)
    assert new.accepted == old.accepted
    assert accuracy(store, thousand(2, lost=5), after) is Verdict.REGRESSED
    assert take(store, thousand(2), day=3, where=after) == [f"times.{new.made_on}.json"]


def test_an_upgrade_brings_nothing_home_that_would_fail_there(store: Store) -> None:
    before, after = numpy("2.3"), numpy("2.4")
    take(store, thousand(0), where=before)
    old = parts(store, before.hardware["cpu"])[0]
    assert "portable.json" not in take(store, thousand(1, lost=5), "numpy 2.4", 2, where=after)
    assert parts(store, after.hardware["cpu"])[0] == old
    take(store, thousand(2, lost=2), "it was a wrong build", 3, where=after)
    new = parts(store, after.hardware["cpu"])[0]
    assert (new.made_on, new.values) == (machine_class(after.hardware["cpu"]), old.values), "and nothing creeps"


def test_a_class_whose_times_were_deleted_is_nobodys_home(store: Store) -> None:
    (times,) = (one for one in accept(store, measured(), ENVIRONMENT, "b", WHEN.format(1)) if one.name == TIMES)
    times.unlink()
    take(store, measured(1), "the machine is gone", 2, where=AWAY)
    assert parts(store, ELSEWHERE)[0].made_on == machine_class(ELSEWHERE)
    take(store, measured(2), "it came back", 3)
    assert parts(store)[0].made_on == machine_class(ELSEWHERE)


def test_what_another_class_could_not_decide_is_not_replaced_with_what_differs(store: Store) -> None:
    take(store, thousand(0))
    before = parts(store)
    assert accuracy(store, thousand(1, lost=5), AWAY) is Verdict.INCONCLUSIVE
    with pytest.raises(
        BaselineError, match=r"size differs, and accuracy, .* could not be decided: .*-0.50 pt"
    ) as caught:
        take(store, thousand(1, lost=5, size=8e7), "a new exporter", 2, where=AWAY)
    assert f"Accept the change on {machine_class(IDENTITY)}" in str(caught.value)
    assert parts(store) == before
    assert take(store, thousand(1, size=8e7), "a new exporter", 2) == ["portable.json", TIMES]


def test_all_that_another_class_replaces_is_told(store: Store) -> None:
    take(store, thousand(0, lost=2))
    take(store, thousand(1, lost=1, size=8e7), "a new exporter", 2, where=AWAY)
    portable = parts(store)[0]
    assert portable.values == {"accuracy": 0.999, "size": 8e7}
    assert portable.accepted.previous == {"accuracy": 0.998, "size": 4e7}


FAITHFUL = {
    **METRICS,
    "fidelity.cosine": METRICS["fidelity.cosine"].with_tolerance(slack=0.01),
    "perplexity": Metric("perplexity", "count", "lower", tolerance=0.01, portable=True),
}
"""A suite's metrics, of which another one of fidelity has a limit, and one of its own."""


def faithful(result: Result, **values: float) -> Result:
    """A result with these values of fidelity as well."""
    named = {name if name in FAITHFUL else f"fidelity.{name}": one for name, one in values.items()}
    more = (Measurement(name, Estimate.exact(one), (one,)) for name, one in named.items())
    return dataclasses.replace(result, measurements=(*result.measurements, *more))


def test_what_is_only_new_on_another_class_comes_beside_the_values_that_are_there(store: Store) -> None:
    for day in (1, 2, 3):
        take(store, faithful(thousand(day), error=0.01), day=day)
    old = parts(store)[0]
    both = faithful(thousand(4, lost=2, weights="bbbb"), error=0.02, perplexity=9.0)
    assert "portable.json" in take(store, both, "a limit on the perplexity", 4, AWAY, FAITHFUL)
    new = parts(store)[0]
    assert (new.made_on, new.values) == (machine_class(IDENTITY), {**old.values, "perplexity": 9.0})
    assert (new.scores, new.weights, new.accepted.previous) == (old.scores, old.weights, {})
    take(store, faithful(thousand(5), error=0.02), "the perplexity tells nothing", 5, AWAY, FAITHFUL)
    new = parts(store)[0]
    assert (new.made_on, new.values) == (machine_class(IDENTITY), old.values)
    assert new.accepted.previous == {"perplexity": 9.0}


def test_a_loss_that_another_class_can_not_decide_keeps_no_new_metric_out(store: Store) -> None:
    take(store, faithful(thousand(0), error=0.01))
    undecided = faithful(thousand(1, lost=5), error=0.01, perplexity=9.0)
    take(store, undecided, "a limit on the perplexity", 2, AWAY, FAITHFUL)
    portable = parts(store)[0]
    assert (portable.values["accuracy"], portable.values["perplexity"]) == (1.0, 9.0)
    assert accuracy(store, thousand(2, lost=5), ENVIRONMENT) is Verdict.REGRESSED


def test_a_new_fidelity_waits_for_the_class_that_holds_it_to_its_strict_limit(store: Store) -> None:
    """Another class may be half as near; there it was called regressed by the first run at home."""
    take(store, thousand(0))
    there = faithful(thousand(1), error=0.01)
    assert "portable.json" not in take(store, there, "a limit on the error", 2, AWAY)
    assert "fidelity.error" not in parts(store)[0].values
    assert "portable.json" in take(store, faithful(thousand(2), error=0.02), "at home", 3)
    portable = parts(store)[0]
    assert (portable.made_on, portable.values["fidelity.error"]) == (machine_class(IDENTITY), 0.02)


def test_a_moved_test_takes_its_baseline_along_although_a_new_fidelity_waits(store: Store) -> None:
    """It kept its old place, so that a run of the file that it left called it missing."""
    take(store, thousand(0))
    before = parts(store)[0]
    place = "suites/test_numbers.py::test_it[x]"
    assert "portable.json" in take(store, faithful(thousand(1, nodeid=place), error=0.01), "moved", 2, AWAY)
    assert parts(store)[0] == dataclasses.replace(before, nodeid=place)


def test_a_first_accuracy_brings_its_class_along(store: Store) -> None:
    """It is judged to the last example where it was made, and by the margin elsewhere."""
    silent = dataclasses.replace(
        thousand(0),
        measurements=tuple(one for one in thousand(0).measurements if one.metric != "accuracy"),
        scores=None,
    )
    take(store, silent)
    assert "accuracy" not in parts(store)[0].values
    take(store, thousand(1), "evaluated", 2, AWAY)
    assert parts(store)[0].made_on == machine_class(AWAY.hardware["cpu"])


def test_a_new_metric_keeps_no_portable_part_from_coming_home_after_an_upgrade(store: Store) -> None:
    before, after = numpy("2.3"), numpy("2.4")
    take(store, faithful(thousand(0), error=0.01), where=before)
    take(store, faithful(thousand(1), error=0.01, cosine=0.999), "numpy 2.4", 2, after, FAITHFUL)
    portable = parts(store, after.hardware["cpu"])[0]
    assert (portable.made_on, portable.values["fidelity.cosine"]) == (machine_class(after.hardware["cpu"]), 0.999)


def test_a_vanished_metric_can_be_accepted(store: Store) -> None:
    take(store, measured())
    without = dataclasses.replace(
        measured(1), measurements=tuple(one for one in measured(1).measurements if one.metric != "speedup")
    )
    take(store, without, "it is the reference now", 2)
    times = parts(store)[1]
    assert all("speedup" not in block.values for block in times.blocks)
    assert len(times.blocks) == 2
    assert times.accepted.previous == {"speedup": pytest.approx(2.0, rel=1e-3)}


def test_a_dirty_tree_is_said(store: Store) -> None:
    take(store, measured(), where=dataclasses.replace(ENVIRONMENT, dirty=True))
    portable, times = parts(store)
    assert portable.accepted.commit == times.blocks[0].commit == "abc1234-dirty"


@pytest.mark.parametrize("reason", ["", "   ", "\n"])
def test_accepting_needs_a_reason(store: Store, reason: str) -> None:
    with pytest.raises(BaselineError, match=f"{CASE}: accepting needs a reason"):
        take(store, measured(), reason)


@pytest.mark.parametrize("kind", ["my board", "npu/2", "npu:2", "kärnan"])
def test_a_kind_of_hardware_that_makes_no_file_name_is_refused(store: Store, kind: str) -> None:
    """Its times were written under a name that is never read: every slow-down was new, and green."""
    where = dataclasses.replace(ENVIRONMENT, hardware={"cpu": {**IDENTITY, "kind": kind}})
    with pytest.raises(BaselineError, match=f"its hardware's kind is '{kind}'.* letters"):
        proposed(store, measured(), where, "because", WHEN.format(1), metrics=METRICS, prior=QUIET)


def test_a_run_that_does_not_know_its_hardware_is_refused(store: Store) -> None:
    with pytest.raises(BaselineError, match="does not say what its hardware 'cpu' is"):
        take(store, measured(), where=dataclasses.replace(ENVIRONMENT, hardware={}))


def test_metrics_of_a_suites_own_must_be_given(store: Store) -> None:
    own = Metric("energy", "J", "lower", tolerance=0.1, portable=True)
    result = dataclasses.replace(
        measured(), measurements=(*measured().measurements, Measurement("energy", Estimate.exact(3.0), (3.0,)))
    )
    with pytest.raises(BaselineError, match="has the metric energy, and what it means was not given"):
        take(store, result)
    accept(store, result, ENVIRONMENT, "because", WHEN.format(1), metrics=resolve([own]), prior=QUIET)
    assert parts(store)[0].values["energy"] == 3.0


def test_a_metric_in_another_unit_is_not_compared_and_starts_anew(store: Store) -> None:
    """0.93 of before as a share, beside 80 in per cent, was an improvement; so was 0.024 s beside 12 ms."""
    before, after = (
        resolve(
            [
                Metric("value", share, "higher", tolerance=0.1, portable=True),
                Metric("lag", time, "lower", tolerance=0.1),
            ]
        )
        for share, time in (("share", "ms"), ("%", "s"))
    )

    def with_own(hour: int, value: float, lag: float) -> Result:
        lags = (lag, 1.001 * lag, 0.999 * lag)
        more = (Measurement("value", Estimate.exact(value), (value,)), Measurement("lag", estimate(lags), lags))
        return dataclasses.replace(measured(hour), measurements=(*measured(hour).measurements, *more))

    def verdicts(result: Result) -> dict[str, Verdict]:
        rows = compare_with_baseline(result, store.read("digits", CASE, IDENTITY), after, QUIET, IDENTITY)
        return {one.metric: one.verdict for one in rows if one.metric in ("value", "lag")}

    take(store, with_own(0, 0.93, 12.0), metrics=before)
    portable, times = parts(store)
    assert (portable.units, times.units) == ({"value": "share"}, {"lag": "ms"}), "the built-in ones have theirs"
    worse = with_own(1, 80.0, 0.024)
    rows = compare_with_baseline(worse, store.read("digits", CASE, IDENTITY), after, QUIET, IDENTITY)
    apart = {one.metric: one for one in rows if one.verdict is Verdict.INCOMPARABLE}
    assert set(apart) == {"value", "lag"}
    assert apart["value"].reason.startswith("value: it is in '%' now, and the baseline's is in 'share', so that the")
    assert (apart["lag"].baseline, apart["lag"].change, apart["lag"].unit) == (None, None, "s")
    store.write(dataclasses.replace(portable, units={}))
    assert verdicts(worse)["value"] is Verdict.IMPROVED, "a file of before units were kept does not tell"
    store.write(portable)
    take(store, worse, "other units", 2, metrics=after)
    portable, times = parts(store)
    assert (portable.values["value"], portable.units) == (80.0, {"value": "%"})
    assert ["lag" in block.values for block in times.blocks] == [False, True]
    assert times.units == {"lag": "s"}
    assert Verdict.INCOMPARABLE not in verdicts(with_own(2, 80.0, 0.024)).values()


def test_what_an_evaluation_tells_of_other_data_is_not_compared_and_starts_anew(store: Store) -> None:
    """A word error rate of another test set was worse for nothing, or hid a loss beside an incomparable accuracy."""
    derived = Metric("cost", "USD", "lower", tolerance=0.05, derive=lambda values: values["latency.p50"])
    metrics = resolve([Metric("wer", "share", "lower", tolerance=0.05), derived])

    def of(data: str, wer: float, hour: int = 0) -> Result:
        result = measured(hour, workload={**WORKLOAD, "evaluation": data})
        costs = tuple((1 + hour * 1e-4) * cost for cost in (3.0, 3.001, 2.999))
        more = (Measurement("wer", Estimate.exact(wer), (wer,)), Measurement("cost", estimate(costs), costs))
        return dataclasses.replace(result, measurements=(*result.measurements, *more))

    def judged(result: Result) -> dict[str, Comparison]:
        rows = compare_with_baseline(result, store.read("digits", CASE, IDENTITY), metrics, QUIET, IDENTITY)
        return {one.metric: one for one in rows}

    take(store, of("2222", 0.1), metrics=metrics)
    assert judged(of("2222", 0.2, 1))["wer"].verdict is Verdict.REGRESSED
    rows = judged(of("3333", 0.2, 1))
    assert (rows["wer"].verdict, rows["wer"].baseline, rows["wer"].change) == (Verdict.INCOMPARABLE, None, None)
    assert rows["wer"].reason == rows["accuracy"].reason.replace("accuracy", "wer", 1)
    assert rows["cost"].verdict is not Verdict.INCOMPARABLE
    take(store, of("3333", 0.2, 1), "another test set", 2, metrics=metrics)
    assert judged(of("3333", 0.2, 2))["wer"].verdict is Verdict.UNCHANGED


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.COMPLETED])
def test_only_what_completed_is_accepted(store: Store, outcome: Outcome) -> None:
    result = measured(outcome=outcome, reason="it went wrong")
    refused = refusal(result, (), store.read("digits", CASE, IDENTITY))
    assert refused is not None
    assert "it went wrong" in refused
    with pytest.raises(BaselineError, match=f"{CASE}: not accepted into the baseline"):
        take(store, result)
    assert portables(store) == []


def test_numbers_that_do_not_count_are_refused(store: Store) -> None:
    with pytest.raises(BaselineError, match="no measurement"):
        take(store, measured(memory=0.0))


def row(verdict: Verdict, *, point: float = 0.0, better: str = "lower", sampled: bool = True) -> Comparison:
    return Comparison(
        "digits", CASE, "speedup", verdict, "Its sentence.", change=Estimate.exact(point), limit=0.05, better=better,
        detectable=0.1 if sampled else None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "blocks", "updating", "refused"),
    [
        (row(Verdict.UNCHANGED), 3, False, False),
        (row(Verdict.REGRESSED, point=0.3), 3, False, False),
        (row(Verdict.IMPROVED, point=-0.3), 3, False, False),
        (row(Verdict.MISSING), 3, False, False),
        (row(Verdict.INVALID), 1, True, True),
        (row(Verdict.ERROR), 1, True, True),
        (row(Verdict.INCONCLUSIVE, point=0.05), 3, False, True),
        (row(Verdict.INCONCLUSIVE, point=0.05), 3, True, False),
        (row(Verdict.INCONCLUSIVE, point=0.05), 2, False, False),
        (row(Verdict.INCONCLUSIVE, point=0.051), 2, True, True),
        (row(Verdict.INCONCLUSIVE, point=-0.051, better="higher"), 2, True, True),
        (row(Verdict.INCONCLUSIVE, point=0.2, better="higher"), 2, True, False),
        (row(Verdict.INCONCLUSIVE, point=-0.2, sampled=False), 3, False, False),
    ],
)
def test_what_may_be_accepted(store: Store, one: Comparison, blocks: int, updating: bool, refused: bool) -> None:
    for day in range(1, blocks + 1):
        take(store, measured(day), day=day)
    baseline = store.read("digits", CASE, IDENTITY)
    assert (refusal(measured(), [one], baseline, updating=updating) is not None) is refused


def test_a_metric_that_started_anew_learns_its_spread_anew(store: Store) -> None:
    """What the judge advises for it, another block, must not be refused for the blocks that only the others have."""
    for day in (1, 2, 3):
        take(store, measured(day), day=day)
    take(store, measured(4, latency=1.3), "bigger model", 4)
    baseline, again = store.read("digits", CASE, IDENTITY), measured(5, latency=1.3 * 1.08)
    rows = {one.metric: one for one in compare(again, baseline, METRICS, QUIET, IDENTITY)}
    assert rows["latency.p50"].verdict is Verdict.INCONCLUSIVE
    assert "another block" in rows["latency.p50"].reason
    assert refusal(again, rows.values(), baseline) is None
    unsure = measured(5, latency=1.3, speedup=0.96)
    rows = {one.metric: one for one in compare(unsure, baseline, METRICS, QUIET, IDENTITY)}
    assert rows["speedup"].verdict is Verdict.INCONCLUSIVE
    assert "speedup could not be decided" in str(refusal(unsure, rows.values(), baseline))


def test_a_run_that_confirms_nothing_is_told_what_does(store: Store) -> None:
    take(store, measured())
    baseline, one = store.read("digits", CASE, IDENTITY), row(Verdict.INCONCLUSIVE, point=0.2)
    advice = f"--plan screen={4 * len(measured().launches)}"
    assert advice in str(refusal(measured(), [one], baseline, updating=True))
    assert advice not in str(refusal(measured(), [one], baseline))


def test_what_took_turns_with_another_tree_is_no_baseline(store: Store) -> None:
    baseline, result = store.read("digits", CASE, IDENTITY), measured()
    launches = tuple(dataclasses.replace(launch, anchored=None, against=1.0) for launch in result.launches)
    said = str(refusal(dataclasses.replace(result, launches=launches), (), baseline))
    assert "harness optimize" in said, "whose runs have no anchor either"
    assert "measure it with pytest and without --against" in said
    unfinished = refusal(dataclasses.replace(result, launches=launches), (), baseline, run_complete=False)
    assert unfinished == said, "--resume does not go with --against, and would make no baseline of it"


def test_what_was_not_timed_is_no_baseline(store: Store) -> None:
    """A search times no trial that loses too much accuracy; accepting one would take the times from its baseline."""
    take(store, measured())
    untimed = a_result({"size": [4e7], "accuracy": [0.5]}, screen=0)
    said = str(refusal(untimed, (), store.read("digits", CASE, IDENTITY)))
    assert "no times were taken of it" in said
    assert "measure it with pytest" in said
    before = parts(store)
    with pytest.raises(BaselineError, match="no times were taken"):
        take(store, untimed, day=2)
    assert parts(store) == before


def test_unfinished_and_quick_runs_are_refused(store: Store) -> None:
    baseline = store.read("digits", CASE, IDENTITY)
    # Taken from the journal, a case that made -x end the run would end the next one too.
    finish = "finish it with the same command and --resume (pytest's with --maxfail=0 too), or measure it again"
    assert finish in str(refusal(measured(), (), baseline, run_complete=False))
    assert "quick run" in str(refusal(measured(), (), baseline, quick=True))
    assert refusal(measured(), (), baseline) is None


def test_two_runs_are_compared_like_a_run_and_its_baseline() -> None:
    old, new = measured(), measured(1, latency=1.3, accuracy=0.5, scores=scores("1100"), size=3e7)
    baseline = baseline_of(old, ENVIRONMENT)
    rows = {one.metric: one.verdict for one in compare(new, baseline, METRICS, QUIET, IDENTITY)}
    assert rows == {
        "latency.p50": Verdict.REGRESSED,
        "speedup": Verdict.UNCHANGED,
        "memory.peak": Verdict.UNCHANGED,
        "size": Verdict.IMPROVED,
        "accuracy": Verdict.REGRESSED,
    }
    assert {one.verdict for one in compare(old, baseline, METRICS, QUIET, IDENTITY)} == {Verdict.UNCHANGED}
    elsewhere = compare(old, baseline, METRICS, QUIET, ELSEWHERE)
    assert {one.metric for one in elsewhere if one.verdict is Verdict.INCOMPARABLE} == {
        "latency.p50", "speedup", "memory.peak"
    }  # fmt: skip


def test_no_run_is_held_to_a_percentile_that_the_earlier_one_had_too_few_calls_for() -> None:
    new = with_calls(measured(1, p99=0.03), 600)
    for calls, verdict in ((26, Verdict.NEW), (600, Verdict.REGRESSED)):
        baseline = baseline_of(with_calls(measured(), calls), ENVIRONMENT)
        rows = {one.metric: one.verdict for one in compare(new, baseline, TAIL, QUIET, IDENTITY)}
        assert rows["latency.p99"] is verdict
        assert rows["latency.p50"] is Verdict.UNCHANGED


def test_a_run_without_numbers_is_no_baseline() -> None:
    baseline = baseline_of(measured(outcome=Outcome.CRASHED), ENVIRONMENT)
    assert (baseline.portable, baseline.times, baseline.others) == (None, None, ())
