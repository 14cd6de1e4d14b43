"""The search finds what trying everything finds, with less, and decides by what was measured."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Mapping, Sequence

import pytest

from benchmarks.optimize import combinations, exhausted, searched
from harness import Deployment, Promise, grid
from harness.cli.optimize import _choose
from harness.cli.shipping import kept
from harness.errors import MeasurementError, SuiteError
from harness.grid import grid_of
from harness.hardware import cpu, cuda
from harness.judge.against import Judged
from harness.judge.interval import Interval
from harness.model import Model
from harness.optimize import Goal, Limit, Search, Space, Trial
from harness.optimize.choice import last_choice
from harness.optimize.goal import gains_of, without_gain
from harness.optimize.record import record_of
from harness.optimize.text import answer
from harness.records import Estimate, Measurement, Outcome, Result, Verdict
from harness.report.memory import memory_metric
from harness.techniques import Pipeline, Technique, batched, reference, technique
from harness.testing import tiny_torch_model

MODEL = tiny_torch_model()
GOAL = Goal("latency.p50", "s", "lower", (Limit("accuracy", 0.01, "share"),))


def made(
    name: str, *, takes: str | Sequence[str] | None = "torch", gives: str | None = None, needs: Sequence[str] = ()
) -> Technique:
    def function(deployment: Deployment) -> Deployment:
        return deployment.promising(Promise("batch", equals=1))

    function.__name__ = name
    return technique(takes=takes, gives=gives, needs=needs)(function)


HALF, SMALL, EXPORT, INTEGERS, NOTHING, HARM = (
    made("half"),
    made("small"),
    made("export", gives="onnx"),
    made("integers", takes="onnx"),
    made("nothing"),
    made("harm"),
)
EITHER = made("either", takes=("torch", "onnx"))


def space(*techniques: Technique | Pipeline, only: Sequence[str] = (), model: Model = MODEL) -> Space:
    @grid(model=[model], technique=[reference, *techniques], hardware=[cpu])
    def test_it(case, bench):
        bench(case)

    found = grid_of(test_it)
    assert found is not None
    return Space.of([found], "tiny", "cpu", only)


class Measuring:
    """Trials of which the factors of their techniques are known; `losses` are of accuracy, and add up; `gpu` are of its
    memory, which no trial tells where there are none.
    """

    def __init__(
        self,
        space: Space,
        factors: Mapping[str, float],
        losses: Mapping[str, float] = {},
        memory: Mapping[str, float] = {},
        together: Mapping[frozenset[str], float] = {},
        failing: frozenset[str] = frozenset(),
        seed: int = 0,
        gpu: Mapping[str, float] | None = None,
    ) -> None:
        self.space, self.factors, self.losses, self.memory = space, factors, losses, memory
        self.together, self.failing, self.random, self.gpu = together, failing, random.Random(seed), gpu
        self.tried: list[str] = []
        self.to_beat: dict[str, Interval | None] = {}

    def factor(self, steps: frozenset[str]) -> float:
        return math.prod(self.factors[step] for step in steps) * self.together.get(steps, 1.0)

    def __call__(self, pipeline: Pipeline, best: Interval | None) -> Trial:
        case = self.space.case(pipeline)
        names = frozenset(step.id for step in pipeline.steps if step.name != "reference")
        self.tried.append(pipeline.id)
        self.to_beat[pipeline.id] = best
        accuracy = 0.9 - sum(self.losses.get(name, 0.0) for name in names)
        memory = 100.0 * math.prod(self.memory.get(name, 1.0) for name in names)
        held = {} if self.gpu is None else {"gpu_memory.process": 100.0 * math.prod(self.gpu[name] for name in names)}
        result = Result(
            "tiny", case.id, "", "tiny", pipeline.id, "cpu", Outcome.COMPLETED,
            measurements=tuple(
                Measurement(name, Estimate.exact(value), (value,))
                for name, value in {"accuracy": accuracy, "memory.peak": memory, **held}.items()
            ),
        )  # fmt: skip
        if names and names <= self.failing:
            return Trial(case, result, failed="invalid: it did nothing")
        lossy = 0.9 - accuracy > 0.01 + 1e-12
        level = math.log(self.factor(names))
        gains = (0.0,) if not names else tuple(level + self.random.gauss(0, 0.004) for _ in range(4))
        broken = ("accuracy",) if lossy else ("memory",) if memory > 150 else ()
        return Trial(case, result, gains, broken=broken, lossy=lossy)


def best_of_all(measuring: Measuring) -> float:
    """The largest factor of all combinations that keep the limits."""
    every = combinations(measuring.space)
    found = [1.0]
    for pipeline in every:
        steps = frozenset(step.id for step in pipeline.steps)
        if sum(measuring.losses.get(step, 0.0) for step in steps) <= 0.01 + 1e-12:
            found.append(measuring.factor(steps))
    return max(found)


def test_what_gains_alone_is_put_together_and_what_harms_is_not() -> None:
    measuring = Measuring(space(HALF, SMALL, HARM), {"half": 2.0, "small": 1.5, "harm": 0.5})
    found = Search(measuring.space, GOAL, measuring).run()
    assert found.best.steps == {"half", "small"}
    assert found.complete
    assert measuring.tried == ["reference", "half", "small", "harm", "half+small"]
    decisions = {one.trial.case.technique.id: one.decision for part in found.rounds for one in part}
    assert decisions["harm"] == "worse than reference"
    assert decisions["half"] == "kept: better than reference"
    assert decisions["half+small"] == "kept: better than half"


def test_a_technique_that_needs_another_form_comes_after_what_gives_it() -> None:
    measuring = Measuring(space(EXPORT, INTEGERS, SMALL), {"export": 0.9, "integers": 4.0, "small": 1.5})
    found = Search(measuring.space, GOAL, measuring).run()
    assert found.best.case.technique.id == "small+export+integers"


def test_what_gives_a_form_is_tried_before_what_takes_it_wherever_it_stands() -> None:
    other = made("other", gives="onnx")
    factors = {"export": 0.9, "integers": 4.0, "other": 1.2}
    measuring = Measuring(space(EXPORT, INTEGERS, other), factors)
    found = Search(measuring.space, GOAL, measuring).run()
    assert found.best.case.technique.id == "other+integers"
    assert measuring.tried[:3] == ["reference", "export", "other"]


def test_nothing_is_put_after_a_form_that_could_not_be_made() -> None:
    measuring = Measuring(
        space(EXPORT, INTEGERS, SMALL), {"export": 1, "integers": 4, "small": 1.5}, failing=frozenset({"export"})
    )
    found = Search(measuring.space, GOAL, measuring).run()
    assert found.best.steps == {"small"}
    assert measuring.tried == ["reference", "export", "small"]


def test_what_breaks_on_one_form_is_tried_on_another() -> None:
    factors = {"export": 1.0, "either": 2.0, "small": 1.5}
    measuring = Measuring(space(EXPORT | EITHER, EXPORT, EITHER, SMALL), factors, failing=frozenset({"either"}))
    found = Search(measuring.space, GOAL, measuring).run()
    assert measuring.tried[:5] == ["reference", "export", "either", "small", "export+either"]
    assert "small+either" not in measuring.tried
    assert found.best.case.technique.id == "small+export+either"


def test_what_does_harm_on_one_form_is_tried_on_another() -> None:
    together = {frozenset({"export", "either"}): 6.0, frozenset({"small", "export", "either"}): 6.0}
    factors = {"export": 2.0, "either": 0.33, "small": 1.5}
    measuring = Measuring(space(EXPORT, EITHER, SMALL), factors, together=together)
    found = Search(measuring.space, GOAL, measuring).run()
    assert "small+either" not in measuring.tried
    assert found.best.case.technique.id == "small+export+either"


def test_a_technique_is_tried_once_on_a_form_before_it_is_put_on_others() -> None:
    other = made("other", gives="onnx")
    factors = {"export": 1.0, "other": 0.5, "either": 0.9, "integers": 0.8}
    measuring = Measuring(space(EXPORT, other, EITHER, INTEGERS), factors)
    Search(measuring.space, GOAL, measuring).run()
    assert measuring.tried == ["reference", "export", "other", "either", "export+either", "export+integers"]


def test_another_order_is_tried_where_one_breaks_since_its_forms_are_others() -> None:
    class Unexportable(Measuring):
        def __call__(self, pipeline: Pipeline, best: Interval | None) -> Trial:
            trial = super().__call__(pipeline, best)
            late = pipeline.id == "export+either"
            return dataclasses.replace(trial, failed="error: no such kernel") if late else trial

    measuring = Unexportable(space(EXPORT, EITHER), {"export": 2.0, "either": 2.0})
    found = Search(measuring.space, GOAL, measuring).run()
    assert measuring.tried == ["reference", "export", "either", "export+either", "either+export"]
    assert found.best.case.technique.id == "either+export"


def test_the_files_own_pipelines_are_tried_where_a_part_does_harm() -> None:
    factors = {"half": 0.5, "harm": 0.5, "small": 1.0, "nothing": 1.0}
    measuring = Measuring(
        space(HARM | HALF, SMALL | NOTHING, EXPORT | HALF, HARM | HALF | SMALL),
        {**factors, "export": 1.0},
        together={frozenset({"harm", "half"}): 12.0, frozenset({"harm", "half", "small"}): 20.0},
    )
    found = Search(measuring.space, GOAL, measuring).run()
    assert measuring.tried[:8] == [
        "reference", "harm", "half", "small", "nothing", "export", "harm+half", "harm+half+small"
    ]  # fmt: skip
    assert found.best.case.technique.id == "harm+half+small"
    broken = Measuring(measuring.space, {**factors, "export": 1.0}, failing=frozenset({"harm"}))
    Search(broken.space, GOAL, broken).run()
    assert not any("harm" in one for one in broken.tried if one != "harm")


def test_the_files_own_pipelines_are_tried_that_are_hopeless_by_their_parts() -> None:
    measuring = Measuring(
        space(HALF, SMALL | NOTHING),
        {"half": 3.0, "small": 1.01, "nothing": 1.01},
        together={frozenset({"small", "nothing"}): 4.0},
    )
    found = Search(measuring.space, GOAL, measuring).run()
    assert measuring.tried[-1] == "small+nothing"
    assert found.best.steps == {"small", "nothing"}
    assert found.rounds[-1][0].decision == "kept: better than small"
    assert (found.complete, found.skipped) == (True, 0)
    again = Measuring(measuring.space, measuring.factors, together=measuring.together)
    known = measuring.tried[:-1]
    cut = Search(again.space, GOAL, again, end=0.0, known=lambda pipeline: pipeline.id in known).run()
    assert (again.tried, cut.complete, cut.skipped) == (known, False, 1)


def test_the_files_own_pipelines_are_tried_whatever_their_length_and_names() -> None:
    names = ("a", "b", "c", "d", "e")
    measuring = Measuring(space(Pipeline(tuple(map(made, names)))), dict.fromkeys(names, 1.5))
    assert Search(measuring.space, GOAL, measuring).run().best.steps == set(names)
    assert measuring.tried[-1] == "+".join(names)

    @technique(takes="torch")
    def level(deployment: Deployment, number: int) -> Deployment:
        return deployment.promising(Promise("batch", equals=number))

    twice = Measuring(space(level(1) | level(2)), {"level:1": 1.5, "level:2": 1.5})
    assert Search(twice.space, GOAL, twice).run().best.steps == {"level:1", "level:2"}


def test_a_combination_that_several_rounds_leave_out_counts_once() -> None:
    names = ("big", "a", "b", "c", "d", "e")
    factors = {"big": 3.0, "a": 1.01, "b": 1.0, "c": 1.0, "d": 1.0, "e": 1.02}
    measuring = Measuring(space(*map(made, names)), factors)
    found = Search(measuring.space, GOAL, measuring).run()
    without = [one for one in measuring.tried if "+" in one and "big" not in one]
    assert without == []
    # Nothing but pairs was left out: what would extend one of them was never come to.
    assert found.skipped == math.comb(len(names) - 1, 2)


def test_what_loses_accuracy_is_in_no_combination() -> None:
    measuring = Measuring(space(HALF, SMALL), {"half": 9.0, "small": 1.5}, losses={"half": 0.02})
    found = Search(measuring.space, GOAL, measuring).run()
    assert found.best.steps == {"small"}
    assert measuring.tried == ["reference", "half", "small"]


def test_losses_that_add_up_are_seen_only_together() -> None:
    measuring = Measuring(space(HALF, SMALL), {"half": 2.0, "small": 1.5}, losses={"half": 0.006, "small": 0.006})
    found = Search(measuring.space, GOAL, measuring).run()
    assert found.best.steps == {"half"}
    assert "half+small" in measuring.tried


def test_what_takes_too_much_memory_may_be_extended_by_what_saves_it() -> None:
    measuring = Measuring(
        space(HALF, SMALL), {"half": 3.0, "small": 1.1}, memory={"half": 2.0, "small": 0.5}
    )  # fmt: skip
    found = Search(measuring.space, GOAL, measuring).run()
    assert found.best.steps == {"half", "small"}


def test_what_fails_is_not_extended() -> None:
    measuring = Measuring(space(HALF, SMALL), {"half": 3.0, "small": 1.1}, failing=frozenset({"half"}))
    found = Search(measuring.space, GOAL, measuring).run()
    assert found.best.steps == {"small"}
    assert len(measuring.tried) == 3


def test_what_brings_nothing_alone_is_tried_on_the_best_and_no_other() -> None:
    measuring = Measuring(
        space(HALF, NOTHING, SMALL),
        {"half": 2.0, "nothing": 1.0, "small": 1.02},
        together={frozenset({"half", "nothing"}): 1.25},
    )
    found = Search(measuring.space, GOAL, measuring).run()
    assert {"half", "nothing"} <= found.best.steps
    assert "nothing+small" not in measuring.tried


def test_what_is_longer_than_the_best_has_to_be_better_by_two_percent() -> None:
    measuring = Measuring(space(HALF, SMALL), {"half": 2.0, "small": 1.5})
    Search(measuring.space, GOAL, measuring).run()
    assert measuring.to_beat["reference"] is None
    alone, together = measuring.to_beat["small"], measuring.to_beat["half+small"]
    assert alone is not None
    assert together is not None
    assert alone.least < alone.point < alone.most
    assert together.least == together.most == pytest.approx(alone.point + 0.02, abs=0.002)


def test_an_order_of_the_suite_is_kept() -> None:
    found = space(SMALL | HALF, NOTHING).extended(Pipeline((SMALL,)), HALF)
    assert found is not None
    assert found.id == "small+half"
    reverse = space(HALF | SMALL, NOTHING).extended(Pipeline((SMALL,)), HALF)
    assert reverse is not None
    assert reverse.id == "half+small"
    both = space(HALF | SMALL, SMALL | HALF).extended(Pipeline((SMALL,)), HALF)
    assert both is not None, "a file with both orders forbids neither"
    assert both.id == "small+half"


def test_what_batches_comes_before_what_makes_a_file_of_one_shape() -> None:
    """As late as it applies came after the conversion, whose file can't be batched: the two were never found together,
    where the conversion gained more.
    """
    convert = made("convert", gives="litert")
    found = space(convert, batched(8)).extended(Pipeline((convert,)), batched(8))
    assert found is not None
    assert found.id == "batched:8+convert"
    late = space(EXPORT, batched(8)).extended(Pipeline((EXPORT,)), batched(8))
    assert late is not None, "an ONNX network takes any batch"
    assert late.id == "export+batched:8"


def test_what_trains_comes_first_unless_the_suite_shows_otherwise() -> None:
    trained = made("trained", needs=["training"])
    late = space(HALF, trained).extended(Pipeline((HALF,)), trained)
    early = space(HALF, trained).extended(Pipeline((trained,)), HALF)
    shown = space(HALF | trained).extended(Pipeline((HALF,)), trained)
    assert late is not None
    assert early is not None
    assert shown is not None
    assert (late.id, early.id, shown.id) == ("trained+half", "trained+half", "half+trained")


def test_the_time_ends_a_search_that_keeps_what_it_has() -> None:
    measuring = Measuring(space(HALF, SMALL), {"half": 2.0, "small": 1.5})
    found = Search(measuring.space, GOAL, measuring, end=1.5, clock=itertools.count().__next__).run()
    assert not found.complete
    assert found.best.steps == {"half"}


@pytest.mark.parametrize("failing", [frozenset(), frozenset({"harm"})], ids=["all work", "the first one failed"])
@pytest.mark.parametrize(("end", "best"), [(1.5, {"half"}), (4.5, {"half", "small"}), (math.inf, {"half", "small"})])
def test_what_is_known_takes_no_time(end: float, best: set[str], failing: frozenset[str]) -> None:
    """So that what a search recommended when its time was over is what can be shipped, and nothing else. Of what failed
    nothing is known.
    """
    steps, factors = space(HARM, HALF, SMALL, NOTHING), {"harm": 0.5, "half": 2.0, "small": 1.5, "nothing": 0.997}
    first, again = (Measuring(steps, factors, failing=failing) for _ in range(2))
    before = Search(steps, GOAL, first, end=end, clock=itertools.count().__next__).run()
    known = [name for name in first.tried if name not in failing]
    found = Search(steps, GOAL, again, end=0.0, known=lambda pipeline: pipeline.id in known).run()
    assert again.tried == known
    assert found.best.steps == before.best.steps == best
    assert before.complete is (end == math.inf)
    assert found.complete is (before.complete and not failing)


def test_the_reference_is_recommended_where_nothing_gains() -> None:
    measuring = Measuring(space(HARM), {"harm": 0.5})
    assert Search(measuring.space, GOAL, measuring).run().best.steps == frozenset()


def test_the_front_holds_what_no_other_beats() -> None:
    measuring = Measuring(
        space(HALF, SMALL),
        {"half": 2.0, "small": 1.5},
        losses={"half": 0.009, "small": 0.0},
        memory={"half": 1.2, "small": 0.5},
    )
    found = Search(measuring.space, GOAL, measuring).run()
    assert [one.case.technique.id for one in found.front] == ["half+small", "small"]


def test_the_front_is_of_the_gpus_memory_where_all_tell_it() -> None:
    measuring = Measuring(
        space(HALF, SMALL), {"half": 2.0, "small": 1.5}, memory={"small": 1.1}, gpu={"half": 1.2, "small": 0.5}
    )
    found = Search(measuring.space, GOAL, measuring).run()
    assert [one.case.technique.id for one in found.front] == ["half+small", "small"]
    said = [*answer(found, GOAL, "")]
    assert said[0] == "on the front, none beaten by another in latency.p50, accuracy and GPU memory at once:"
    assert said[1:3] == ["  half+small  90.00 %  60 B", "  small  90.00 %  50 B"]
    record = record_of("run", found, GOAL, python={}, words=(), finals=(), untried={})
    assert [one["values"] for one in record["front"]] == [["90.00 %", "60 B"], ["90.00 %", "50 B"]]
    assert record["recommended"]["values"] == ["90.00 %", "60 B"]
    values = {one["technique"]: one["values"] for part in record["rounds"] for one in part}
    assert values["small"] == ["90.00 %", "110 B"], "the host's, which every trial tells"

    measuring.gpu = None
    of_host = Search(measuring.space, GOAL, measuring).run()
    assert [one.case.technique.id for one in of_host.front] == ["half+small", "half"]
    assert next(answer(of_host, GOAL, "")).endswith(" in latency.p50, accuracy and memory at once:")
    assert memory_metric([]) == of_host.memory == "memory.peak", "also where nothing keeps the limits"


def test_what_was_asked_easier_questions_drives_nothing_off_the_front() -> None:
    class Easier(Measuring):
        def __call__(self, pipeline: Pipeline, best: Interval | None) -> Trial:
            trial = super().__call__(pipeline, best)
            asked = {"evaluation": "easier" if "half" in pipeline.id else "whole"}
            return dataclasses.replace(trial, result=dataclasses.replace(trial.result, workload=asked))

    measuring = Easier(space(HALF, SMALL), {"half": 2.0, "small": 1.5}, losses={"half": -0.05})
    found = Search(measuring.space, GOAL, measuring).run()
    assert [one.case.technique.id for one in found.front] == ["small"]
    assert [one.id for one in kept(found)] == ["reference", "small", "half+small"]


class InTurns:
    """A bench on which each pipeline takes a known time, else 1, which turns show to half a percent."""

    goal = GOAL

    def __init__(self, **times: float) -> None:
        self.times, self.pairs = {name.replace("_", "+"): time for name, time in times.items()}, list[str]()

    def faster(self, one: Trial, other: Trial) -> Judged:
        words = [trial.case.technique.id for trial in (one, other)]
        self.pairs.append(" ".join(words))
        point = self.times.get(words[0], 1.0) / self.times.get(words[1], 1.0) - 1
        change = Estimate(point, point - 0.005, point + 0.005)
        return Judged(Verdict.IMPROVED if change.high < -0.0099 else Verdict.UNCHANGED, change, 0.0)


def test_what_is_as_good_with_fewer_techniques_wins_from_behind_the_front() -> None:
    measuring = Measuring(space(HALF, SMALL), {"half": 3.0, "small": 1.01}, memory={"small": 0.99})
    search, bench = Search(measuring.space, GOAL, measuring), InTurns(half=1.003, half_small=1.0)
    found, words = _choose(search, bench)  # type: ignore[arg-type]
    assert bench.pairs == ["half half+small"]
    assert words == ["half takes 100.3 % [99.8, 100.8] of the latency.p50 of half+small, in turns"]
    assert [one.case.technique.id for one in found.front] == ["half+small"]
    assert found.best.case.technique.id == "half"
    assert [one.id for one in kept(found)] == ["reference", "half+small", "half"]


def test_the_best_is_recommended_where_the_shorter_one_is_worse_in_turns() -> None:
    measuring = Measuring(space(HALF, SMALL), {"half": 3.0, "small": 1.01}, memory={"small": 0.99})
    search, bench = Search(measuring.space, GOAL, measuring), InTurns(half=1.02, half_small=1.0)
    found, _ = _choose(search, bench)  # type: ignore[arg-type]
    assert bench.pairs == ["half half+small"]
    assert found.best.case.technique.id == "half+small"
    assert [one.id for one in kept(found)] == ["reference", "half+small"]


def test_those_with_the_fewest_techniques_take_turns_first_and_three_at_most() -> None:
    names = ("one", "two", "three", "four", "five")
    sets = [frozenset(some) for count in (2, 3, 4) for some in itertools.combinations(names, count)]
    together = {some: 2.0 ** (1 - len(some)) for some in sets}
    measuring = Measuring(space(*map(made, names)), dict.fromkeys(names, 2.0), together=together)
    search, bench = Search(measuring.space, GOAL, measuring), InTurns()
    found, words = _choose(search, bench)  # type: ignore[arg-type]
    assert len(bench.pairs) == 3
    assert {pair.split()[0] for pair in bench.pairs} <= set(names)
    assert len(found.best.steps) == 1
    left = len(measuring.tried) - len(("reference", "the best", *bench.pairs))
    assert words[3:] == [f"{left} more may be as good by their intervals; at most 3 take turns with the best"]


def test_what_breaks_a_limit_or_is_clearly_worse_challenges_nothing() -> None:
    measuring = Measuring(
        space(HALF, SMALL, NOTHING, HARM),
        {"half": 2.0, "small": 1.99, "nothing": 1.99, "harm": 1.5},
        losses={"nothing": 0.02},
        memory={"small": 2.0},
        failing=frozenset({"half", "harm"}),
    )
    search = Search(measuring.space, GOAL, measuring)
    found = search.run()
    assert search.alike(found.best) == []


class Crashing(InTurns):
    """Turns that end in a crash wherever one of these pipelines is among the two."""

    def __init__(self, *crashing: str) -> None:
        super().__init__()
        self.crashing, self.alone = crashing, list[str]()

    def faster(self, one: Trial, other: Trial) -> Judged:
        self.check(one, other)
        return super().faster(one, other)

    def launch_alone(self, trial: Trial) -> None:
        self.alone.append(trial.case.technique.id)
        self.check(trial)

    def check(self, *trials: Trial) -> None:
        """Raise where one of the trials crashes."""
        for trial in trials:
            if trial.case.technique.id in self.crashing:
                raise MeasurementError(f"serving {trial.case.technique.id}: the child was killed")


def three() -> list[Trial]:
    """A pipeline of two techniques, and each alone: all alike."""
    measuring = Measuring(space(HALF, SMALL), {"half": 1.0, "small": 1.0})
    return [measuring(Pipeline(steps), None) for steps in ((HALF, SMALL), (HALF,), (SMALL,))]


def test_a_crash_in_turns_costs_one_comparison() -> None:
    bench = Crashing("small")
    best, words = last_choice(bench, three())  # type: ignore[arg-type]
    assert best.case.technique.id == "half"
    assert bench.pairs == ["half half+small"]
    assert words[1:] == ["small was not compared with half in turns: serving small: the child was killed"]
    assert bench.alone == []


def test_what_crashes_is_not_recommended_for_how_it_looked_before() -> None:
    bench = Crashing("half+small")
    best, words = last_choice(bench, three())  # type: ignore[arg-type]
    assert best.case.technique.id == "half"
    assert bench.alone == ["half+small"]
    assert bench.pairs == ["small half"]
    assert words[2] == "half+small fails alone as well: serving half+small: the child was killed"
    assert len(words) == 4


def test_what_is_left_after_a_crash_is_launched_before_it_is_recommended() -> None:
    bench = Crashing("half", "small")
    assert last_choice(bench, three())[0].case.technique.id == "half+small"  # type: ignore[arg-type]
    assert bench.alone == ["half+small"]
    bench = Crashing("half+small", "half")
    assert last_choice(bench, three())[0].case.technique.id == "small"  # type: ignore[arg-type]
    assert bench.alone == ["half+small", "half", "small"]
    bench = Crashing("half+small", "half", "small")
    with pytest.raises(MeasurementError, match=r"none of the best .*: .*small fails alone as well"):
        last_choice(bench, three())  # type: ignore[arg-type]


@pytest.mark.parametrize(("times", "leads"), [((0.985, 1.0), True), ((0.994, 1.0), False), ((1.0, 1.0), False)])
def test_a_longer_pipeline_leads_where_it_is_better_by_more_than_what_is_alike(
    times: tuple[float, float], leads: bool
) -> None:
    measuring = Measuring(space(HALF, SMALL), {"half": 2.0, "small": 1.0})
    both, half = (measuring(Pipeline(steps), None) for steps in ((HALF, SMALL), (HALF,)))
    best, _ = last_choice(InTurns(half_small=times[0], half=times[1]), [half, both])  # type: ignore[arg-type]
    assert best is (both if leads else half)


def test_the_benchmark_of_the_search_lets_the_best_take_turns_and_counts_it() -> None:
    for run in (searched, exhausted):
        measuring = Measuring(space(HALF, SMALL), {"half": 3.0, "small": 1.01}, memory={"small": 0.99})
        bench = InTurns(half=1.003, half_small=1.0)
        bench.space, bench.measure = measuring.space, measuring  # type: ignore[attr-defined]
        best, cost = run(bench)  # type: ignore[arg-type]
        assert bench.pairs == ["half half+small"]
        assert best.case.technique.id == "half"
        assert (cost.trials, cost.making) == (4, 0.0)
        assert cost.measuring == cost.finals > 0  # these trials themselves took no time


@pytest.mark.parametrize("seed", range(30))
def test_as_good_as_trying_everything_where_techniques_multiply(seed: int) -> None:
    draw = random.Random(seed)
    steps = [made(f"step{number}") for number in range(5)]
    factors = {step.id: draw.choice([0.7, 0.98, 1.0, 1.1, 1.4, 2.2]) for step in steps}
    losses = {step.id: draw.choice([0.0, 0.0, 0.003, 0.006, 0.03]) for step in steps}
    measuring = Measuring(space(*steps), factors, losses, seed=seed)
    found = Search(measuring.space, GOAL, measuring).run()
    reached = measuring.factor(found.best.steps)
    assert reached >= 0.95 * best_of_all(measuring)
    assert len(measuring.tried) <= len(combinations(measuring.space)) + 1


def test_every_combination_is_counted_once() -> None:
    every = [one.id for one in combinations(space(HALF, EXPORT, INTEGERS))]
    assert sorted(every) == sorted(
        ["half", "export", "export+integers", "half+export", "half+export+integers"]
    )  # fmt: skip


def test_only_some_techniques() -> None:
    @technique(takes="torch")
    def level(deployment: Deployment, number: int) -> Deployment:
        return deployment.promising(Promise("batch", equals=number))

    @technique(takes="torch")
    def named(deployment: Deployment, number: int = 0) -> Deployment:
        return deployment.promising(Promise("batch", equals=number))

    tried = [reference, HALF, SMALL, level(1), level(2), named, named(1)]

    @grid(model=[MODEL], technique=tried, hardware=[cpu])
    def test_it(case, bench):
        bench(case)

    found = grid_of(test_it)
    assert found is not None
    assert [step.id for step in Space.of([found], "tiny", "cpu", ["half"]).steps] == ["half"]
    assert [step.id for step in Space.of([found], "tiny", "cpu", ["level"]).steps] == ["level:1", "level:2"]
    assert [step.id for step in Space.of([found], "tiny", "cpu", ["level:2", "named"]).steps] == ["level:2", "named"]
    with pytest.raises(SuiteError, match="no technique 'quarter' in this file; it has half, small, level:1"):
        Space.of([found], "tiny", "cpu", ["quarter"])
    with pytest.raises(SuiteError, match="no model 'huge' in this file; it has tiny"):
        Space.of([found], "huge", "cpu")


def test_a_model_and_a_hardware_that_no_grid_puts_together_are_refused() -> None:
    other = dataclasses.replace(MODEL, name="other")

    @grid(model=[MODEL], technique=[reference, HALF], hardware=[cpu])
    def test_it(case, bench):
        bench(case)

    @grid(model=[other], technique=[reference, HALF], hardware=[cuda])
    def test_other(case, bench):
        bench(case)

    grids = [found for test in (test_it, test_other) if (found := grid_of(test))]
    with pytest.raises(SuiteError, match="no grid of this file has tiny on cuda; it has tiny on cpu"):
        Space.of(grids, "tiny", "cuda")
    assert [step.id for step in Space.of(grids, "other", "cuda").steps] == ["half"]


def test_two_techniques_of_one_id_are_refused_before_anything_is_measured() -> None:
    """The search named one of them, and its children took the other."""
    with pytest.raises(SuiteError, match=r"differ and share the id half; .*: make it once$"):
        space(HALF, made("half") | SMALL)


def test_what_can_not_be_tried_is_named_with_the_reason() -> None:
    missing = technique(takes="torch", requires=lambda hardware, form: "no such package; install it")(HALF.function)
    taught = made("taught", takes="onnx", needs=["calibration"])
    bare = dataclasses.replace(MODEL, calibration=None)

    assert space(SMALL, EXPORT, INTEGERS).untried() == {}
    assert space(missing, SMALL).untried() == {"half": "no such package; install it"}
    (reason,) = space(INTEGERS, SMALL).untried().values()
    assert reason.startswith("integers works on an ONNX network, and gets a torch network: put onnxruntime before it")
    (reason,) = space(EXPORT, taught, model=bare).untried().values()
    assert reason.startswith("taught needs data to calibrate with"), "the nearer reason, since the form can be made"


def test_what_only_some_techniques_need_is_taken_from_the_file() -> None:
    shown = (EXPORT | INTEGERS, EITHER)
    measuring = Measuring(space(*shown, only=["integers"]), {"export": 1.0, "integers": 3.0})
    best = Search(measuring.space, GOAL, measuring).run().best
    assert measuring.space.untried() == {}
    assert measuring.tried == ["reference", "export+integers"]
    assert best.case.technique.id == "export+integers"
    alone = [pipeline.id for _, pipeline in space(*shown, only=["either"]).singles()]
    assert alone == ["either"], "what stands alone needs nothing that was not asked for"


def test_a_counted_goal_is_compared_without_launches() -> None:
    def sized(size: float) -> Result:
        measured = (Measurement("size", Estimate.exact(size), (size,)),)
        return Result("s", "a/b/c", "", "a", "b", "c", Outcome.COMPLETED, measurements=measured)

    goal = Goal("size", "bytes", "lower")
    assert gains_of(goal, sized(50.0), sized(100.0)) == (pytest.approx(math.log(2)),)
    assert not goal.sampled


def test_nothing_left_of_a_counted_goal_is_a_gain_like_others_and_of_nothing_there_is_none() -> None:
    def having(**values: float) -> Result:
        measured = tuple(Measurement(name, Estimate.exact(value), (value,)) for name, value in values.items())
        return Result("s", "a/b/c", "", "a", "b", "c", Outcome.COMPLETED, measurements=measured)

    wer, sparsity = Goal("wer", "share", "lower"), Goal("sparsity", "share", "higher")
    assert gains_of(wer, having(wer=0.0), having(wer=0.1)) == (pytest.approx(math.log(1e6)),)
    assert gains_of(wer, having(wer=0.0), having(wer=0.0)) == ()
    assert gains_of(sparsity, having(sparsity=0.5), having(sparsity=0.0)) == ()
    said = [
        without_gain(goal, having(**own), having(**other))
        for goal, own, other in (
            (wer, {"wer": 0.0}, {"wer": 0.1}),
            (sparsity, {"sparsity": 0.5}, {"sparsity": 0.0}),
            (sparsity, {"sparsity": 0.5}, {}),
            (sparsity, {"sparsity": 0.0}, {"sparsity": 0.5}),
            (sparsity, {}, {"sparsity": 0.5}),
        )
    ]
    no_factor = "of the model as it is, so that no gain can be a factor of it; take another goal"
    assert said == [
        "",
        f"sparsity is 0.00 % {no_factor}",
        f"sparsity was not measured {no_factor}",
        "sparsity, which is the goal, is 0.00 % of it",
        "sparsity, which is the goal, was not measured of it",
    ]


def test_a_limit_says_what_is_too_much() -> None:
    def having(**values: float) -> Result:
        measured = tuple(Measurement(n.replace("_", "."), Estimate.exact(v), (v,)) for n, v in values.items())
        return Result("s", "a/b/c", "", "a", "b", "c", Outcome.COMPLETED, measurements=measured)

    reference = having(accuracy=0.95, memory_peak=100.0)
    drop, memory = Limit("accuracy", 0.01, "share"), Limit("memory.peak", 2.0**20, "bytes")
    assert drop.broken(having(accuracy=0.94), reference) == ""
    assert drop.broken(having(accuracy=0.93), reference) == "accuracy -2.00 pt"
    assert drop.broken(having(), reference) == "accuracy is unknown"
    asked = dataclasses.replace(having(accuracy=0.99), workload={"evaluation": "others"})
    assert drop.broken(asked, reference) == "accuracy is of other data than the reference's"
    assert without_gain(Goal("accuracy", "share", "higher"), asked, reference) == drop.broken(asked, reference)
    scored, f1 = (dataclasses.replace(one, measurements=having(f1=0.9).measurements) for one in (reference, asked))
    of_others = "f1 is of other data than the reference's"
    assert without_gain(Goal("f1", "share", "higher", evaluated=True), f1, scored) == of_others
    assert without_gain(Goal("f1", "share", "higher"), f1, scored) == "", "of what a suite derives nothing is known"
    assert drop.broken(asked, dataclasses.replace(reference, workload=asked.workload)) == ""
    assert drop.broken(asked, having()).startswith("accuracy "), "of a reference that failed no data are known"
    assert "other data" not in drop.broken(asked, having())
    assert memory.broken(having(memory_peak=2.0**21), reference) == "memory.peak 2.00 MiB"
    assert str(drop) == "accuracy at most 1.00 pt below the reference's"


def test_a_limit_on_a_percentile_of_too_few_calls_is_said_to_be_of_so_few() -> None:
    """A p95 of 30 calls, which errs low, kept the limit, and who shipped it was not told."""
    goal = Goal("latency.p50", "s", "lower", (Limit("latency.p95", 0.005, "s"),))

    class Timed(Measuring):
        calls = 30

        def __call__(self, pipeline: Pipeline, best: Interval | None) -> Trial:
            trial = super().__call__(pipeline, best)
            timed = Measurement("latency.p95", Estimate(0.0049, 0.0048, 0.005, 2, self.calls), (0.0048, 0.005))
            result = dataclasses.replace(trial.result, measurements=(*trial.result.measurements, timed))
            return dataclasses.replace(trial, result=result)

    measuring = Timed(space(HALF), {"half": 2.0})
    found = Search(measuring.space, goal, measuring).run()
    decision = found.rounds[1][0].decision
    *_, recommended, last = answer(found, goal, "")
    few = "latency.p95 4.90 ms is of 30 calls a launch, and 100 tell it"
    assert decision == f"kept: better than reference; {few}"
    assert last == f"  {few}, so that the limit may not hold"
    assert recommended.startswith("recommended: half  ")
    assert recommended.endswith("  latency.p95 4.90 ms")
    tighter = Limit("latency.p95", 0.004, "s")
    assert tighter.broken(found.best.result, found.reference.result) == few

    measuring.calls = 100
    enough = Search(measuring.space, goal, measuring).run()
    assert enough.rounds[1][0].decision == "kept: better than reference"
    assert [*answer(enough, goal, "")][-1] == recommended
    assert tighter.broken(enough.best.result, enough.reference.result) == "latency.p95 4.90 ms"


def test_only_what_the_harness_times_is_a_timed_goal() -> None:
    """What a suite derives or an evaluation gives has one value a run, or one a launch, whatever it is called."""
    timed = ("latency.p95", "latency.mean", "throughput", "speedup")
    counted = ("latency.max", "latency.onset", "time.load", "size")
    assert [name for name in (*timed, *counted) if Goal(name, "s", "lower").sampled] == [*timed]
