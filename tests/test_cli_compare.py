"""`harness compare`: verdicts and exit codes of one run against another."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.cli.compare import exit_code
from harness.cli.judging import compare_runs
from harness.cli.main import main
from harness.errors import RecordError
from harness.judge import estimate
from harness.metrics import METRICS, Metric
from harness.records import Comparison, Environment, Measurement, Outcome, Result, Verdict
from harness.report.record import metrics_of
from tests.cli_runs import IDENTITY, a_case, a_run, of_another_length, of_test, on_disk, without_numbers

CASES = [a_case("a"), a_case("b"), a_case("c")]
ENERGY = next(metric for metric in METRICS if metric.name == "energy.per_call").with_tolerance(0.1)


def compare(folder: Path, old: list[Result], new: list[Result], *options: str, **changes: Any) -> int:
    return main(["compare", on_disk(folder, "old", old), on_disk(folder, "new", new, **changes), *options])


def test_nothing_got_worse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(tmp_path, CASES, CASES, "--strict") == 0
    printed = capsys.readouterr().out
    assert all(result.case_id in printed for result in CASES)
    assert "unchanged" in printed


def test_better_is_no_failure(tmp_path: Path) -> None:
    better = a_case("a", latency=0.005, size=5e5, right="f" * 50)
    assert compare(tmp_path, [a_case("a", right="e" * 50)], [better], "--strict") == 0


@pytest.mark.parametrize(
    ("worse", "metric"),
    [
        (a_case("b", latency=0.013), "latency.p50"),
        (a_case("b", size=1.01e6), "size"),
        (a_case("b", right="0" + "f" * 49), "accuracy"),
    ],
)
def test_worse_is_1_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], worse: Result, metric: str
) -> None:
    assert compare(tmp_path, CASES, [a_case("a"), worse, a_case("c")]) == 1
    printed = capsys.readouterr().out
    (line,) = [line for line in printed.splitlines() if line.startswith("regressed") and "limit" in line]
    assert metric in line
    assert "\x1b" not in printed


def test_what_new_expects_to_fail_is_no_excuse_beside_old(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The words agree with the exit code: a mark of a test speaks of its own baseline."""
    here = a_run([]).environment
    known = dataclasses.replace(here, state={"xfailed": f"{CASES[0].suite}/b/reference/cpu"})
    worse = [a_case("a"), a_case("b", size=3e6), a_case("c")]
    assert compare(tmp_path, CASES, worse, environment=known) == 1
    printed = capsys.readouterr().out
    assert "1 case failed." in printed
    assert "known to fail" not in printed


def test_what_new_said_of_another_tree_is_not_said_beside_old(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for told in ({"pins": "constraints.txt"}, {"same": "main"}, {"undone": "nothing was decided"}):
        state = {"against": "main", **told}
        environment = dataclasses.replace(a_run([]).environment, state=state)
        assert compare(tmp_path, CASES, CASES, environment=environment) == 0
        printed = capsys.readouterr().out
        assert "constraints.txt" not in printed
        assert "is the commit that is measured" not in printed
        assert "nothing was decided" not in printed


def test_a_missing_case_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(tmp_path, CASES, CASES[:2]) == 1
    assert "c/reference/cpu" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "now", "against"),
    [
        ({"commit": "def5678"}, {}, "def5678"),
        ({"commit": "def5678"}, {"software": {"python": "3.11.9", "numpy": "2.4.0"}}, "def5678"),
        ({"dirty": True}, {}, "REV"),
        ({"commit": ""}, {"commit": ""}, "REV"),
        ({}, {"dirty": True}, "abc1234"),
        ({}, {}, "."),
        ({}, {"software": {"python": "3.11.9", "numpy": "2.4.0"}}, ". --with 'NAME==OLD'"),
    ],
    ids=["an older commit", "and packages", "edited", "no commit", "edited since", "one commit", "upgraded"],
)
def test_no_advice_is_of_baselines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: dict[str, Any], now: dict[str, Any], against: str
) -> None:
    """What it said would have put the numbers of a run that is suspected into the committed baselines, compared a
    commit with itself, or measured all of a folder that need not be there.
    """
    other = a_case("b", workload={**CASES[1].workload, "inputs": "12"})
    test = "bench/test_toys.py::test_toys[a/reference/cpu]"
    new = [a_case("a", latency=0.0108, nodeid=test), other, a_case("d")]
    there, here = (dataclasses.replace(a_run([]).environment, **changes) for changes in (before, now))
    old = on_disk(tmp_path, "old", CASES, environment=there)
    assert main(["compare", old, on_disk(tmp_path, "new", new, environment=here), "--json"]) == 1
    rows = {(one["case_id"][0], one["metric"]): one for one in json.loads(capsys.readouterr().out)["comparisons"]}
    for row in rows.values():
        for words in ("--baseline=update", "harness accept", "harness prune", "baseline"):
            assert words not in row["reason"]
    assert rows["a", "latency.p50"]["verdict"] == "inconclusive"
    assert rows["a", "latency.p50"]["reason"].endswith(
        f"One run is one block of launches; in turns it can be decided: harness compare --against {against} '{test}'"
    )
    assert "the workload's inputs changed between the two runs" in rows["b", "latency.p50"]["reason"]
    assert rows["c", "case"]["reason"].endswith(": the old run measured it, and this one has no result of it.")
    assert rows["d", "case"]["reason"].endswith(" has nothing in the old run to be compared with.")


def test_an_old_run_without_ratios_to_the_anchor_is_not_accepted_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(tmp_path, [without_anchor(a_case("a"))], [a_case("a")], "--json") == 0
    (time,) = [one for one in json.loads(capsys.readouterr().out)["comparisons"] if one["metric"] == "latency.p50"]
    assert time["verdict"] == "incomparable"
    assert "the old run holds no ratio to the anchor" in time["reason"]
    assert "ccept" not in time["reason"]


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--strict"], 3)])
def test_outputs_of_another_length_are_judged_as_in_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int
) -> None:
    """The run itself was green, and its comparison red."""
    old, new = of_another_length("b")
    assert compare(tmp_path, [CASES[0], old], [CASES[0], new], *options, "--json") == code
    rows = json.loads(capsys.readouterr().out)["comparisons"]
    (row,) = [one for one in rows if one["metric"] == "fidelity.error"]
    assert row["verdict"] == "incomparable"
    assert row["reason"].startswith("fidelity.error: not measured of outputs, since output 0 holds 3 elements")


def test_a_metric_in_another_unit_is_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """80 in per cent beside 0.93 as a share was an improvement."""
    runs = []
    for name, unit, value in (("old", "share", 0.93), ("new", "%", 80.0)):
        own = Metric("value", unit, "higher", tolerance=0.1, portable=True)
        declared = (*(metric.record() for metric in METRICS), {**own.record(), "suite": CASES[0].suite})
        more = Measurement("value", estimate([value]), (value,))
        case = dataclasses.replace(CASES[0], measurements=(*CASES[0].measurements, more))
        runs.append(on_disk(tmp_path, name, [case], metrics=declared))
    assert main(["compare", *runs, "--json"]) == 0
    (row,) = [one for one in json.loads(capsys.readouterr().out)["comparisons"] if one["metric"] == "value"]
    assert (row["verdict"], row["baseline"]) == ("incomparable", None)
    said = "value: it is in '%' now, and the old run's is in 'share', so that the two can't be compared."
    assert row["reason"] == said


@pytest.mark.parametrize(("limit", "code"), [(None, 0), (0.1, 1)])
def test_a_metric_of_old_alone_is_missing_where_it_had_a_limit(tmp_path: Path, limit: float | None, code: int) -> None:
    """What was reported and never judged made NEW red, although no committed baseline would have held it."""
    cost = Metric("cost", "USD", "lower", tolerance=limit)
    declared = (*(metric.record() for metric in METRICS), {**cost.record(), "suite": CASES[0].suite})
    measurements = (*CASES[0].measurements, Measurement("cost", estimate([3.0]), (3.0,)))
    old = on_disk(tmp_path, "old", [dataclasses.replace(CASES[0], measurements=measurements)], metrics=declared)
    assert main(["compare", old, on_disk(tmp_path, "new", CASES[:1])]) == code


def test_a_run_with_a_limit_that_no_suite_may_declare_any_more_is_compared() -> None:
    """It was damaged, and the cure was one for its suite, which had been mended."""
    cost = {**Metric("cost", "USD", "lower", tolerance=0.1).record(), "tolerance": 1.5, "suite": CASES[0].suite}
    declared = (*(metric.record() for metric in METRICS), cost)
    measurements = (*CASES[0].measurements, Measurement("cost", estimate([3.0]), (3.0,)))
    old = a_run([dataclasses.replace(CASES[0], measurements=measurements)], metrics=declared)
    found = {row.metric: row for row in compare_runs(old, old)}
    assert (found["cost"].verdict, found["cost"].limit) == (Verdict.UNCHANGED, 1.5)


def test_a_new_run_in_turns_with_another_tree_lacks_what_turns_do_not_measure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {"speedup": (2.0,) * 5, "fidelity.error": (0.01,), "energy.per_call": (0.5,) * 5, "value": (2.0,) * 5}
    more = tuple(Measurement(name, estimate(numbers), numbers) for name, numbers in values.items())
    full = dataclasses.replace(a_case("a"), measurements=(*a_case("a").measurements, *more))
    metrics = [*(metric for metric in METRICS if metric.name != "energy.per_call"), ENERGY]
    here = dataclasses.replace(a_run([]).environment, state={"against": "main"})
    own = Metric("value", "x", "higher", tolerance=0.1, derive=lambda values: values["speedup"])
    changes = {"metrics": (*(metric.record() for metric in metrics), {**own.record(), "suite": full.suite})}
    in_turns = [without_anchor(a_case("a"))]
    assert compare(tmp_path, [full], in_turns, "--json", environment=here, **changes) == 0
    rows = {one["metric"]: one for one in json.loads(capsys.readouterr().out)["comparisons"]}
    assert {name for name, row in rows.items() if row["verdict"] == "incomparable"} == {"latency.p50", *values}
    assert "the old run took turns with the anchor, and this one did not" in rows["latency.p50"]["reason"]
    assert all("not measured in turns with another tree" in rows[name]["reason"] for name in values)
    assert compare(tmp_path, [full], in_turns, "--strict", environment=here, **changes) == 3
    larger = [without_anchor(a_case("a", size=2e6))]
    assert compare(tmp_path, [full], larger, environment=here, **changes) == 1, "the rest is judged"
    declared = changes.pop("metrics")
    evaluated = {**dataclasses.replace(own, derive=None).record(), "suite": full.suite}
    lost = compare(tmp_path, [full], in_turns, environment=here, metrics=(*declared[:-1], evaluated))
    assert lost == 1, "what an evaluation gives is measured in turns"
    assert compare(tmp_path, [full], in_turns, environment=here) == 1, "a metric that is declared no more is missing"
    assert compare(tmp_path, [full], in_turns, **changes) == 1, "a run against baselines that lost them misses them"


def test_a_time_that_is_no_number_stays_invalid_beside_ratios(tmp_path: Path) -> None:
    odd = without_anchor(a_case("a"))
    first, *others = odd.measurements
    wrong = dataclasses.replace(first, values=(0.0, *first.values[1:]))
    odd = dataclasses.replace(odd, measurements=(wrong, *others))
    assert compare(tmp_path, [a_case("a")], [odd]) == 2


def test_a_case_that_became_unavailable_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = without_numbers("c", Outcome.UNAVAILABLE, "no compiler here")
    assert compare(tmp_path, CASES, [*CASES[:2], gone]) == 1
    printed = capsys.readouterr().out
    assert "no compiler here" in printed
    assert "prune" not in printed, "it is not gone, and the old run is no baseline"


def test_hardware_that_is_not_there_is_not_missed(tmp_path: Path) -> None:
    gone = without_numbers("c", Outcome.UNAVAILABLE, "no GPU")
    elsewhere = dataclasses.replace(gone, case_id="c/reference/cuda", hardware="cuda")
    before = dataclasses.replace(a_case("c"), case_id="c/reference/cuda", hardware="cuda")
    both = Environment({"cpu": IDENTITY, "cuda": {**IDENTITY, "kind": "cuda"}}, {}, {})
    old = on_disk(tmp_path, "old", [*CASES[:2], before], environment=both)
    assert main(["compare", old, on_disk(tmp_path, "new", [*CASES[:2], elsewhere]), "--strict"]) == 0
    assert main(["compare", old, on_disk(tmp_path, "whole", CASES[:2]), "--strict"]) == 0


def test_a_filtered_run_is_not_asked_for_the_rest(tmp_path: Path) -> None:
    assert compare(tmp_path, CASES, CASES[:1], filtered=True) == 0


@pytest.mark.parametrize(
    ("selected", "code"),
    [("suites/vision", 0), ("suites/text", 1), ("suites/vision\nsuites/text", 1), (".", 1), ("", 1)],
)
def test_cases_of_folders_that_were_not_selected_are_not_missing(tmp_path: Path, selected: str, code: int) -> None:
    """A record that says nothing of it is asked for everything, as it was before records did."""
    vision = a_case("a", suite="vision", nodeid="suites/vision/test_vision.py::test_it[a/reference/cpu]")
    text = a_case("b", suite="text", nodeid="suites/text/test_text.py::test_it[b/reference/cpu]")
    state = {"selected": selected} if selected else {}
    assert compare(tmp_path, [vision, text], [vision], environment=Environment({"cpu": IDENTITY}, {}, state)) == code


def test_a_suite_that_moved_is_asked_for_its_cases(tmp_path: Path) -> None:
    moved = a_case("a", nodeid="bench/test_toys.py::test_toys[a/reference/cpu]")
    here = Environment({"cpu": IDENTITY}, {}, {"selected": "bench"})
    assert compare(tmp_path, CASES, [moved], environment=here) == 1


def test_what_was_left_to_the_full_selection_is_not_missing(tmp_path: Path) -> None:
    left = tuple(f"{case.suite}/{case.case_id}" for case in CASES[1:])
    assert compare(tmp_path, CASES, CASES[:1], reserved=left) == 0
    assert compare(tmp_path, CASES, CASES[:1], reserved=left[:1]) == 1


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"complete": False}, "is not complete: go on with pytest suites/ --resume --maxfail=0, or"),
        ({"mode": "quick"}, "is a smoke test"),
    ],
)
def test_a_run_that_is_not_whole_is_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], note: str
) -> None:
    assert compare(tmp_path, CASES, CASES, **changes) == 2
    assert note in capsys.readouterr().out


def test_a_run_that_was_cut_short_goes_on_with_what_it_was_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "pytest -x bench/test_a.py 'my bench'"
    assert compare(tmp_path, CASES, CASES, complete=False, filtered=True, command=command) == 2
    again = f"{command} --resume --maxfail=0"
    assert f"The new run new is not complete: go on with {again}, or measure again." in capsys.readouterr().out


def test_what_a_search_tried_is_no_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """pytest could neither find it nor go on with it: the search can."""
    tried = [dataclasses.replace(without_anchor(a_case("a")), nodeid="my bench/test_a.py::optimize[a/reference/cpu]")]
    search = {"command": "harness optimize 'my bench/test_a.py' --model a", "complete": False}
    assert compare(tmp_path, tried, tried, "--json", **search) == 2
    told = json.loads(capsys.readouterr().out)
    (time,) = [one for one in told["comparisons"] if one["metric"] == "latency.p50"]
    assert time["reason"].endswith("harness compare --against REV 'my bench/test_a.py'")
    again = "harness optimize 'my bench/test_a.py' --model a --resume"
    assert told["notes"] == [f"The new run new is not complete: go on with {again}, or measure again."]


def test_an_old_run_that_is_not_whole_is_not_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--resume` goes on with the newest."""
    old = on_disk(tmp_path, "old", CASES, complete=False)
    assert main(["compare", old, on_disk(tmp_path, "new", CASES)]) == 2
    assert "The old run old is not complete: measure again." in (said := capsys.readouterr().out)
    assert "--resume" not in said.rpartition("is not complete")[2]


def test_what_was_shown_to_be_worse_stays_so_in_a_run_cut_short(tmp_path: Path) -> None:
    assert compare(tmp_path, CASES, [a_case("a", size=2e6)], complete=False) == 1


@pytest.mark.parametrize("outcome", [Outcome.CRASHED, Outcome.OOM, Outcome.INVALID, Outcome.TIMEOUT])
def test_a_case_that_failed_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], outcome: Outcome) -> None:
    assert compare(tmp_path, CASES, [*CASES[:2], without_numbers("c", outcome, "it broke")]) == 2
    assert "it broke" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("reason", "code"), [("the test failed: AssertionError: too few", 2), ("its baseline was not written: x", 0)]
)
def test_a_case_whose_own_test_failed_is_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reason: str, code: int
) -> None:
    assert compare(tmp_path, CASES, CASES, comparisons=(of_test(CASES[1], reason),)) == code
    assert (reason in capsys.readouterr().out) is bool(code)


def test_nothing_in_common_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(tmp_path, [a_case("a")], [a_case("z")], filtered=True) == 2
    assert "Nothing could be decided" in capsys.readouterr().out


def test_a_new_case_is_3_under_strict_alone(tmp_path: Path) -> None:
    assert compare(tmp_path, CASES[:2], CASES) == 0
    assert compare(tmp_path, CASES[:2], CASES, "--strict") == 3


def test_another_machine_judges_what_is_portable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = Environment({"cpu": {**IDENTITY, "model": "Other CPU"}}, {}, {})
    assert compare(tmp_path, CASES, [a_case("a", latency=0.1)], environment=other, filtered=True) == 0
    assert compare(tmp_path, CASES, [a_case("a", size=2e6)], environment=other, filtered=True) == 1
    assert "size" in capsys.readouterr().out


def without_anchor(result: Result) -> Result:
    """The same as a run in turns with another tree, or harness optimize, measures it."""
    return dataclasses.replace(
        result,
        measurements=tuple(dataclasses.replace(one, relative=()) for one in result.measurements),
        launches=tuple(dataclasses.replace(one, anchored=None) for one in result.launches),
    )


@pytest.mark.parametrize("latency", [0.0080, 0.0100, 0.0125])
def test_times_of_different_hours_are_not_compared_where_no_run_has_the_anchor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], latency: float
) -> None:
    """The same code on a slower machine is no regression, and slower code on a faster one no pass."""
    old, new = [without_anchor(a_case("a"))], [without_anchor(a_case("a", latency=latency))]
    assert compare(tmp_path, old, new, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["comparisons"]
    (time,) = [one for one in rows if one["metric"] == "latency.p50"]
    assert time["verdict"] == "incomparable"
    assert time["change"] is None
    assert time["reason"].endswith(f"harness compare --against REV '{new[0].nodeid}'")
    assert compare(tmp_path, old, new, "--strict") == 3
    assert "incomparable" in capsys.readouterr().out
    assert compare(tmp_path, old, [without_anchor(a_case("a", size=2e6))]) == 1, "the rest is judged"


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = compare(tmp_path, CASES, [a_case("a", size=2e6), *CASES[1:]], "--json")
    data = json.loads(capsys.readouterr().out)
    assert (data["old"], data["new"], data["exit"], data["notes"]) == ("old", "new", 1, [])
    (worse,) = [one for one in data["comparisons"] if one["verdict"] == "regressed"]
    assert (worse["suite"], worse["case_id"], worse["metric"]) == ("toys", "a/reference/cpu", "size")
    assert worse["reason"]
    assert code == 1


@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("strict", [False, True])
def test_exit_code_of_each_verdict(verdict: Verdict, strict: bool) -> None:
    codes = dict.fromkeys(("regressed", "missing"), 1) | dict.fromkeys(("invalid", "error"), 2)
    if strict:
        codes |= dict.fromkeys(("inconclusive", "incomparable", "new"), 3)
    comparisons = [Comparison("s", "c", "m", one, "because") for one in (Verdict.UNCHANGED, verdict)]
    assert exit_code(comparisons, whole=True, strict=strict) == codes.get(verdict, 0)


def test_metrics_come_from_the_record() -> None:
    built_in = {metric.name: metric for metric in METRICS}
    assert metrics_of(a_run([]), "digits") == built_in
    own = built_in["speedup"].with_tolerance(0.5)
    run = a_run([], metrics=(*(metric.record() for metric in METRICS), {**own.record(), "suite": "digits"}))
    assert metrics_of(run, "digits") == {**built_in, "speedup": own}
    assert metrics_of(run, "magika") == built_in
    with pytest.raises(RecordError, match=r"run .*: metrics: unknown field"):
        metrics_of(a_run([], metrics=({"name": "size", "unit": "bytes", "better": "lower", "surprise": 1},)), "digits")


@pytest.fixture
def handed_on(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What pytest is given; it ends with 7."""
    words: list[str] = []

    def run(arguments: Sequence[str]) -> int:
        words.extend(arguments)
        return 7

    monkeypatch.setattr("harness.cli.compare.run_pytest", run)
    return words


def test_two_trees_are_compared_by_pytest_whose_exit_code_is_ours(handed_on: list[str]) -> None:
    assert main(["compare", "--against", "main"]) == 7
    assert handed_on == ["suites", "--against", "main"]


def test_every_option_is_handed_on(handed_on: list[str]) -> None:
    options = "--against main --at HEAD~1 --with a==1 --with b==2 --python /py --tolerance 2% -k int8 --plan seconds=2"
    options += " --allow-unavailable compiled --allow-unavailable bf16"
    assert main(["compare", *options.split(), "suites/test_a.py", "more"]) == 7
    assert handed_on == [
        *("suites/test_a.py", "more", "--against", "main", "--at", "HEAD~1", "--against-python", "/py"),
        *("--against-with", "a==1", "--against-with", "b==2", "--against-tolerance", "0.02"),
        *("-k", "int8", "--plan", "seconds=2", "--allow-unavailable", "compiled", "--allow-unavailable", "bf16"),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("one", "give two runs"),
        ("one two three", "give two runs"),
        ("one two --at HEAD -k x", "--at, -k can only be used with --against REV"),
        ("one two --tolerance 0", "--tolerance can only be used with --against REV"),
        ("one two --allow-unavailable x", "--allow-unavailable can only be used with --against REV"),
        ("--against main --strict", "--strict and --json go with two runs"),
        ("--against main --tolerance 5", "--tolerance: '5' is no share between 0 and 1; write 1% or 0.01"),
        ("--against main --tolerance nan", "'nan' is no share"),
        ("--against main --tolerance -0.01", "'-0.01' is no share"),
    ],
)
def test_a_wrong_mix_is_wrong_usage(
    arguments: str, words: str, handed_on: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["compare", *arguments.split()])
    assert end.value.code == 2
    assert words in capsys.readouterr().err
    assert handed_on == []


def test_a_record_whose_plan_says_nothing_is_compared(tmp_path: Path) -> None:
    assert compare(tmp_path, CASES, CASES, plan={}) == 0
