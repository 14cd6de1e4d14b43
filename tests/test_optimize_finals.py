"""The last comparison of a search is made in what the goal asks for, and says where it could not be made."""

from __future__ import annotations

import dataclasses
import math
import random
import re
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli import optimize as command
from harness.codec import dumps
from harness.errors import PreparationError
from harness.grid import Case
from harness.hardware import cpu
from harness.measure import sampling
from harness.measure.launch import ArmSpec
from harness.measure.turns import paired
from harness.metrics import resolve
from harness.optimize import Found, Goal, Limit, Space, Trial
from harness.optimize.choice import last_choice
from harness.optimize.finals import launch_seconds, shortest
from harness.optimize.measuring import Bench
from harness.optimize.record import finals_of, record_of
from harness.optimize.search import Tried
from harness.records import Estimate, Launch, Measurement, Outcome, Result
from harness.techniques import batched, bf16, fp16, onnxruntime
from harness.techniques import reference as plain
from harness.techniques.base import as_pipeline
from harness.testing import tiny_torch_model

ROUNDS, CALLS = 25, 4
MODEL = tiny_torch_model()
MS = 1e-3
Call = Callable[[random.Random], float]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Launch]:
    """The launches that were asked for, in the place of real ones: an arm's folder tells its calls (`FakeBench`)."""
    launches: list[Launch] = []
    draw = random.Random(7)

    def launch(arms: Mapping[str, ArmSpec], *, phase: str, seconds: float, **_: object) -> Launch:
        level = dict.fromkeys(arms, 1.0) | {"candidate": 1 + SPREAD[0] * (-1) ** len(launches)}
        times = {
            role: [level[role] * CALLS_OF[arm.folder](draw) for _ in range(ROUNDS * CALLS)]
            for role, arm in arms.items()
        }
        turns = {
            role: [statistics.median(every[start : start + CALLS]) for start in range(0, ROUNDS * CALLS, CALLS)]
            for role, every in times.items()
        }
        per_item = {role: [seconds / arms[role].items for seconds in turns[role]] for role in arms}
        kept = (True,) * ROUNDS
        ratios: dict[str, tuple[float, float]] = {}
        if "reference" in arms:
            ratios["speedup"] = paired(per_item["reference"], per_item["candidate"], kept)
        if "previous" in arms:
            ratios["against"] = paired(turns["candidate"], turns["previous"], kept)
        found = Launch(
            phase, ROUNDS, None, ratios.get("speedup", (None, 0.0))[0],
            {role: tuple(every) for role, every in times.items()}, 1.0, 0.1, 1.0 + seconds,
            against=ratios.get("against", (None, 0.0))[0], calls=ROUNDS * CALLS, seconds=seconds,
            within={name: error for name, (_, error) in ratios.items()},
        )  # fmt: skip
        launches.append(found)
        return found

    monkeypatch.setattr(sampling, "launch", launch)
    return launches


CALLS_OF: dict[str, Call] = {}
"""The seconds of one call, by the folder of the arm that makes it."""
SPREAD = [0.001]
"""By how much the candidate is slower in one launch and faster in the next."""


@pytest.fixture(autouse=True)
def _fresh() -> None:
    CALLS_OF.clear()
    SPREAD[0] = 0.001


def about(seconds: float, tail: float = 0.0, share: float = 0.0) -> Call:
    """Calls that take so long, a share of them longer."""

    def call(draw: random.Random) -> float:
        return (tail if draw.random() < share else seconds) * math.exp(draw.gauss(0, 0.003))

    return call


class FakeBench(Bench):
    """A bench whose artefacts are no more than a folder's name and the items of a call."""

    def __post_init__(self) -> None:
        self.folder = Path("folder")
        self.metrics = resolve()
        self.edits: list[str] = []
        self._artefacts = SimpleNamespace(check_unedited=self.check_unedited)  # type: ignore[assignment]

    def check_unedited(self, case_id: str) -> None:
        """Raise where sources were edited."""
        if self.edits:
            raise PreparationError(f"{case_id}: {self.edits[0]}")

    def artefact(self, trial: Trial) -> Any:
        items = next((dict(step.parameters)["n"] for step in trial.case.technique.steps if step.name == "batched"), 1)
        return SimpleNamespace(
            tree=None, folder=trial.case.technique.id, manifest=SimpleNamespace(batch_size=items)
        )  # fmt: skip


def a_bench(metric: str) -> FakeBench:
    goal = Goal(metric, "s", "higher" if metric in ("throughput", "speedup") else "lower")
    nowhere = Path("nowhere")
    return FakeBench(
        root=nowhere, file="test_s.py", space=Space(MODEL, cpu, ()), goal=goal, grids=(), reports=nowhere,
        cache=nowhere, command="", progress=lambda _: None,
    )  # fmt: skip


def a_trial(pipeline: Any, call: Call, gain: float, *, median: float = MS, **values: tuple[float, ...]) -> Trial:
    """A trial with so many times the reference's goal, whose artefact makes these calls."""
    case = Case(MODEL, as_pipeline(pipeline), cpu)
    CALLS_OF[case.technique.id] = call
    measured = {"latency.p50": (median,), **{name.replace("_", "."): found for name, found in values.items()}}
    result = Result(
        "s", case.id, "", "tiny", case.technique.id, "cpu", Outcome.COMPLETED,
        measurements=tuple(Measurement(name, Estimate.exact(found[0]), found) for name, found in measured.items()),
    )  # fmt: skip
    return Trial(case, result, (math.log(gain),) * 4)


@pytest.mark.parametrize("goal", ["throughput", "speedup"])
def test_what_takes_less_time_a_call_and_more_an_item_does_not_win_by_items(made: list[Launch], goal: str) -> None:
    leader = a_trial(onnxruntime | batched(32), about(32 * MS / 8), 8.0)
    challenger = a_trial(onnxruntime, about(MS / 7.2), 7.2)
    best, words = last_choice(a_bench(goal), [leader, challenger])
    assert best is leader
    assert words[0].startswith("onnxruntime takes 111.")
    assert words[0].endswith(" of the time per item of onnxruntime+batched:32, in turns")


def test_a_larger_batch_that_is_faster_an_item_wins(made: list[Launch]) -> None:
    leader = a_trial(onnxruntime, about(MS / 8), 8.0)
    challenger = a_trial(onnxruntime | batched(64), about(64 * MS / 8.8), 7.9)
    best, words = last_choice(a_bench("throughput"), [leader, challenger])
    assert best is challenger
    assert re.search(r"takes 9[01]\.", words[0])


def test_a_latency_is_that_of_a_call_whatever_it_holds(made: list[Launch]) -> None:
    leader = a_trial(onnxruntime | batched(2), about(1.5 * MS), 8.0)
    challenger = a_trial(onnxruntime, about(MS), 7.2)
    best, words = last_choice(a_bench("latency.p50"), [leader, challenger])
    assert best is challenger
    assert words[0].endswith(" of the latency.p50 of onnxruntime+batched:2, in turns")


def test_launches_are_added_while_the_time_per_item_is_open(made: list[Launch]) -> None:
    SPREAD[0] = 0.05
    leader = a_trial(onnxruntime | batched(32), about(32 * MS), 1.0)
    challenger = a_trial(onnxruntime, about(MS), 1.0)
    a_bench("throughput").faster(challenger, leader)
    assert any(launch.phase == "confirm" for launch in made)
    made.clear()
    a_bench("latency.p50").faster(challenger, leader)
    assert [launch.phase for launch in made] == ["screen"] * 3


def test_nothing_is_recommended_by_turns_of_edited_code(made: list[Launch]) -> None:
    bench = a_bench("latency.p50")
    bench.edits = ["sources were edited while the run went on"]
    with pytest.raises(PreparationError, match="sources were edited"):
        last_choice(bench, [a_trial(onnxruntime, about(MS), 1.0), a_trial(bf16, about(MS), 1.0)])


def test_what_is_launched_alone_is_launched_once_beside_nothing(made: list[Launch]) -> None:
    a_bench("latency.p50").launch_alone(a_trial(bf16, about(MS), 1.0))
    assert [(launch.phase, launch.samples.keys()) for launch in made] == [("screen", {"candidate"})]


@pytest.mark.parametrize("goal", ["latency.p90", "latency.p95", "latency.p99", "latency.mean"])
def test_a_better_median_does_not_win_where_the_goal_is_worse(made: list[Launch], goal: str) -> None:
    leader = a_trial(bf16, about(MS), 2.0)
    challenger = a_trial(fp16, about(0.9 * MS, tail=4 * MS, share=0.2), 1.9)
    best, words = last_choice(a_bench(goal), [leader, challenger])
    assert best is leader
    assert f" of the {goal} of bf16, in turns" in words[0]
    assert last_choice(a_bench("latency.p50"), [leader, challenger])[0] is challenger


def test_a_worse_median_wins_where_the_goal_is_better(made: list[Launch]) -> None:
    leader = a_trial(bf16, about(0.9 * MS, tail=4 * MS, share=0.2), 2.0)
    challenger = a_trial(fp16, about(MS), 1.9)
    assert last_choice(a_bench("latency.p95"), [leader, challenger])[0] is challenger


def test_the_calls_of_a_percentile_make_its_interval(made: list[Launch]) -> None:
    """Tails that scatter leave open what medians would decide at once."""
    one, other = (a_trial(step, about(MS, tail=2 * MS, share=0.05), 2.0) for step in (bf16, fp16))
    tail = a_bench("latency.p95").faster(one, other).change
    median = a_bench("latency.p50").faster(one, other).change
    assert tail.low < 0 < tail.high
    assert tail.high - tail.low > 5 * (median.high - median.low)


def test_a_launch_lasts_as_long_as_a_percentile_needs(made: list[Launch]) -> None:
    one, other = (a_trial(step, about(5 * MS), 2.0, median=5 * MS) for step in (bf16, fp16))
    seconds = {goal: launch_seconds(a_bench(goal).goal, one, other) for goal in ("latency.p50", "latency.p95")}
    assert seconds["latency.p95"] > 100 * 2 * 5 * MS > seconds["latency.p50"]
    a_bench("latency.p95").faster(one, other)
    assert made[0].seconds == seconds["latency.p95"]


def test_a_percentile_that_no_launch_has_the_calls_for_is_left_out_and_said(made: list[Launch]) -> None:
    leader = a_trial(onnxruntime | bf16, about(50 * MS), 2.0, median=50 * MS)
    challenger = a_trial(bf16, about(50 * MS), 2.0, median=50 * MS)
    best, words = last_choice(a_bench("latency.p99"), [leader, challenger])
    assert best is leader
    assert not made
    assert words[0].startswith(
        "bf16 was not compared with onnxruntime+bf16 in turns: latency.p99 needs 500 calls of each in a launch, which "
    )


def test_a_search_that_goes_on_takes_over_the_comparisons_of_what_it_takes_over(
    made: list[Launch], tmp_path: Path
) -> None:
    leader, challenger = a_trial(bf16, about(MS), 2.0), a_trial(fp16, about(0.9 * MS), 1.9)
    bench = a_bench("latency.p50")
    best, words = last_choice(bench, [leader, challenger])
    assert best is challenger
    found = Found(leader, (), (best,), best, complete=True)
    record = record_of("run", found, bench.goal, python={}, words=words, finals=bench.finals, untried={})
    (tmp_path / "optimize.json").write_text(dumps(record), encoding="utf-8")

    def again(metric: str, *reused: Trial) -> tuple[Trial, list[str]]:
        made.clear()
        after = a_bench(metric)
        after._compared = finals_of(tmp_path, after.goal)
        after._reused = {trial.case.id for trial in reused}
        return last_choice(after, [leader, challenger])

    CALLS_OF["fp16"] = about(1.1 * MS)  # what chance could bring, if it were measured anew
    assert again("latency.p50", leader, challenger) == (challenger, words)
    assert not made
    assert again("latency.p50", leader)[0] is leader, "of one that was measured again, nothing is known"
    assert made
    assert again("latency.mean", leader, challenger)[0] is leader
    assert made


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"goal": "least latency.p50"}', '{"goal": "least latency.p50", '])
def test_a_record_without_comparisons_has_none_to_take_over(tmp_path: Path, text: str) -> None:
    goal = a_bench("latency.p50").goal
    assert finals_of(tmp_path, goal) == {}
    (tmp_path / "optimize.json").write_text(text, encoding="utf-8")
    assert finals_of(tmp_path, goal) == {}


def test_a_goal_that_varies_and_is_no_time_is_left_out_and_said(made: list[Launch]) -> None:
    varies, counted = (
        a_trial(bf16, about(MS), 2.0, **values)
        for values in ({"utilization_cpu": (0.9, 1.1)}, {"size": (100.0,)})
    )  # fmt: skip

    def words(goal: str, best: Trial) -> list[str]:
        search = SimpleNamespace(run=lambda: Found(best, (), (best,), best, complete=True))
        return command._choose(search, a_bench(goal))[1]  # type: ignore[arg-type]

    (said,) = words("utilization.cpu", varies)
    assert said.startswith("the best was not compared in turns: utilization.cpu differs from launch to launch")
    assert words("size", counted) == []
    assert not made


def test_what_is_alike_in_a_counted_goal_is_decided_by_the_techniques(made: list[Launch]) -> None:
    """As much memory as pages come to is noise: it recommended the longer pipeline."""
    megabyte = 1e6
    reference = a_trial(plain, about(MS), 1.0, memory_peak=(100 * megabyte,))
    shorter = a_trial(bf16, about(MS), 2.0, memory_peak=(50 * megabyte,))
    longer = a_trial(onnxruntime | bf16, about(MS), 100 / 49.96, memory_peak=(49.96 * megabyte,))
    worse = a_trial(fp16, about(MS), 100 / 52, memory_peak=(52 * megabyte,))
    trials = [dataclasses.replace(one, gains=one.gains[:1]) for one in (reference, longer, worse, shorter)]

    def chosen(*tried: Trial) -> tuple[str, list[str]]:
        rounds = (tuple(Tried(one, None, "kept") for one in tried),)
        search = SimpleNamespace(run=lambda: Found(tried[0], rounds, (), tried[1], complete=True))
        bench = a_bench("memory.peak")
        bench.goal = Goal("memory.peak", "bytes", "lower")
        found, words = command._choose(search, bench)  # type: ignore[arg-type]
        return found.best.case.technique.id, words

    said = "onnxruntime+bf16 is better in memory.peak by 39.1 KiB, which counts as alike, and bf16 has fewer techniques"
    assert chosen(*trials) == ("bf16", [said])
    assert chosen(*trials[:3]) == ("onnxruntime+bf16", [])
    assert chosen(*trials[:2], dataclasses.replace(trials[3], broken=("accuracy",))) == ("onnxruntime+bf16", [])
    assert not made


def test_what_differs_by_exactly_what_counts_as_alike_is_alike() -> None:
    """0.988 - 0.978 is more than 0.01 by its rounding alone."""
    longer = a_trial(onnxruntime | bf16, about(MS), 1.0, accuracy=(0.988,))
    shorter = a_trial(bf16, about(MS), 1.0, accuracy=(0.978,))
    goal = Goal("accuracy", "share", "higher")
    assert shortest(goal, 0.01, longer, [longer, shorter])[0] is shorter
    assert shortest(goal, 0.009, longer, [longer, shorter])[0] is longer


def test_a_goal_that_was_not_measured_is_no_trial_that_stands(made: list[Launch]) -> None:
    """The reference too: with nothing to compare it would be recommended, and nothing said."""
    bench = a_bench("gained")
    bench._reference = None
    one, other = a_trial(onnxruntime, about(MS), 1.0), a_trial(onnxruntime, about(MS), 1.0, gained=(2.0,))
    launches = (sampling.launch({}, phase="screen", seconds=1.0),)
    found = [
        bench._trial(trial.case.technique, dataclasses.replace(trial.result, launches=launches))
        for trial in (one, other)
    ]
    assert [trial.failed for trial in found] == ["gained, which is the goal, was not measured of it", ""]
    assert not found[0].stands


def test_a_goal_that_is_nothing_of_the_model_as_it_is_ends_the_search(made: list[Launch]) -> None:
    bench = a_bench("latency.p50")
    bench.goal, bench._reference = Goal("sparsity", "share", "higher"), None
    launches = (sampling.launch({}, phase="screen", seconds=1.0),)
    dense, sparse = (
        dataclasses.replace(a_trial(step, about(MS), 1.0, sparsity=(share,)).result, launches=launches)
        for step, share in ((bf16, 0.0), (fp16, 0.5))
    )
    trial = bench._trial(as_pipeline(bf16), dense)
    assert trial.failed.startswith("sparsity is 0.00 % of the model as it is")
    assert not trial.stands
    bench._reference = dense
    assert not bench._trial(as_pipeline(fp16), sparse).stands
    bench._reference = sparse
    assert bench._trial(as_pipeline(fp16), sparse).stands


def test_a_trial_beyond_a_limit_may_not_be_recommended_and_one_that_lost_too_much_is_not_extended(
    made: list[Launch],
) -> None:
    bench = a_bench("latency.p50")
    limits = (Limit("accuracy", 0.01, "share"), Limit("memory.peak", 2.0**20, "bytes"))
    bench.goal = Goal("size", "bytes", "lower", limits)
    launches = (sampling.launch({}, phase="screen", seconds=1.0),)

    def trial(accuracy: float, memory: float) -> Trial:
        found = a_trial(bf16, about(MS), 1.0, size=(50.0,), accuracy=(accuracy,), memory_peak=(memory,))
        return bench._trial(as_pipeline(bf16), dataclasses.replace(found.result, launches=launches))

    whole = a_trial(plain, about(MS), 1.0, size=(100.0,), accuracy=(0.9,), memory_peak=(2.0**22,))
    bench._reference = whole.result
    kept, lossy, large = trial(0.9, 2.0**20), trial(0.88, 2.0**20), trial(0.9, 2.0**21)
    assert kept.stands
    assert (lossy.stands, lossy.extensible, lossy.broken) == (False, False, ("accuracy -2.00 pt",))
    assert (large.stands, large.extensible, large.broken) == (False, True, ("memory.peak 2.00 MiB",))
    assert [bench._timed(one.result) for one in (kept, lossy, large)] == [True, False, True]
