"""Why a run failed, case by case: what is named, in which order, by which rule and with which commands."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

import pytest

from harness.records import Comparison, Estimate, Measurement, Outcome, Result, Run, Scalar, Verdict
from harness.report.commands import acceptable, accepted_by_all, measuring_options, reproduce_command
from harness.report.html import render, why
from harness.report.html.cases import anchor
from harness.report.overview import CaseView, Overview, cases, other_tree
from harness.report.ran import facts_beside, more_or_fewer, references
from harness.report.reasons import MAX_NAMED, brief, rule, said
from tests.report_samples import sample_run
from tests.test_report_html import Page, plain

EXACT = Estimate.exact(1.0)


def worse(metric: str, change: Estimate, limit: float = 0.05, reason: str = "It is worse.") -> Comparison:
    return Comparison(
        "test_digits", "digits/bf16/cpu", metric, Verdict.REGRESSED, reason, EXACT, EXACT, change, limit, "s"
    )


def run_with(*comparisons: Comparison) -> Run:
    return dataclasses.replace(sample_run(1, 3, samples=4), comparisons=comparisons)


def with_facts(facts: dict[str, Scalar], reference: dict[str, Scalar]) -> tuple[CaseView, CaseView]:
    first, second, *_ = sample_run(1, 2, samples=2).results
    results = (dataclasses.replace(first, facts=reference), dataclasses.replace(second, facts=facts))
    before, view, *_ = cases(dataclasses.replace(sample_run(1, 2, samples=2), results=results))
    return view, before


def test_a_case_has_one_card_and_what_decides_comes_first_in_it() -> None:
    metrics = ("size", "fidelity.error", "latency.p50", "accuracy", "memory.peak", "speedup")
    far = {"size": 9.0, "fidelity.error": 99.0, "latency.p50": 0.2, "accuracy": 0.1, "memory.peak": 3.0, "speedup": 0.3}
    run = run_with(*(worse(metric, Estimate.exact(far[metric])) for metric in metrics))
    (one,) = Overview(run).failing
    order = ["accuracy", "speedup", "latency.p50", "memory.peak", "fidelity.error", "size"]
    assert [c.metric for c in one.comparisons] == order
    page = Page(render(run))
    assert len(page.find("article", id="why-1")) == 1
    assert not page.find("article", id="why-2")
    assert len([i for i in page.attributes("id") if re.fullmatch(r"why-1-\d-t", i)]) == len(order)


def test_cases_that_answer_wrongly_come_before_slow_ones_and_after_those_without_numbers() -> None:
    seen = Overview(sample_run(samples=4))
    kinds = [one.worst.verdict.value if one.worst.metric == "case" else one.worst.metric for one in seen.failing]
    assert kinds == [*["error"] * 7, "invalid", "missing", "accuracy", "speedup", "memory.peak"]
    assert [view.id for view in seen.worst_first[: len(kinds)]] == [one.view.id for one in seen.failing]


def test_the_worst_cases_are_named_below_the_verdict_with_links_to_their_cards() -> None:
    run = sample_run(samples=4)
    page = Page(render(run))
    text = plain(page.text)
    failing = Overview(run).failing
    for one in failing[:MAX_NAMED]:
        assert text.index(f"{one.view.id} {brief(one.worst)}") < text.index("Can it be trusted?", 300)
    links = page.attributes("href")
    assert {f"#why-{i}" for i in range(1, MAX_NAMED + 1)} <= set(links)
    assert f"and {len(failing) - MAX_NAMED} more" in text
    (slow,) = (one for one in failing if one.view.id == "digits/compiled/cpu")
    assert brief(slow.worst) == "speed-up 1.50x -> 1.31x, -13.1 %"


def test_past_the_cards_what_fails_is_in_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(why, "MAX_CARDS", 3)
    run = sample_run(samples=4)
    page = Page(render(run))
    assert len([i for i in page.attributes("id") if re.fullmatch(r"why-\d+", i)]) == 3
    text = plain(page.text)
    for one in Overview(run).failing:
        assert said(one.worst) in text


def test_what_is_not_decided_is_counted_whole_and_shown_as_far_as_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("harness.report.html.page.MAX_LINES", (3,))
    kinds = [Verdict.INCONCLUSIVE] * 5 + [Verdict.IMPROVED] * 3
    rows = [
        dataclasses.replace(worse(f"own.{i}", EXACT, reason=f"Row {i}."), verdict=kind) for i, kind in enumerate(kinds)
    ]
    text = plain(Page(render(run_with(*rows))).text).partition("Nothing failed.")[2]
    text = text.partition("What each technique buys")[0]
    assert "Could not be decided 5 verdict" in text
    assert "Got better 3 verdict" in text
    assert len(re.findall(r"Row \d\.", text)) == 6
    assert text.count("2 further ones are left out here; they are in run.json.") == 1


def test_a_card_with_very_many_metrics_leaves_some_to_the_section_of_the_case() -> None:
    run = run_with(*(worse(f"own.{i}", Estimate.exact(0.2)) for i in range(20)))
    assert "And 12 more metrics, in the section of the case." in plain(Page(render(run)).text)


@pytest.mark.parametrize(
    ("reason", "short"),
    [
        ("a/b/cpu gave no valid numbers: a/b/cpu: b promised x >= 1, found 0: the technique did not do what its name "
         "says; reproduce: pytest 'a.py::t[a/b/cpu]'", "b promised x >= 1, found 0"),
        ("a/b/cpu could not be measured (oom): too much; reproduce: pytest a", "Could not be measured (oom): too much"),
        ("a/b/cpu has a baseline and was not measured.", "Has a baseline and was not measured."),
        ("something else", "Something else"),
        ("a/b/cpu", "A/b/cpu"),
    ],
)  # fmt: skip
def test_a_reason_beside_its_case_repeats_neither_its_name_nor_its_command(reason: str, short: str) -> None:
    comparison = Comparison("s", "a/b/cpu", "case", Verdict.INVALID, reason)
    assert brief(comparison) == short
    assert "reproduce" not in said(comparison)
    assert reason == "a/b/cpu" or "a/b/cpu" not in said(comparison)


def test_the_rule_is_the_one_that_fired() -> None:
    sampled, exact = Estimate(0.2, 0.15, 0.25, 3), Estimate.exact(0.2)
    assert rule(worse("speedup", sampled)) == "the whole interval of the change lies beyond the limit"
    anchored = "+20 % relative to the anchor; limit +5.0 %."
    assert "divided by the anchor's" in rule(worse("latency.p50", sampled, reason=anchored))
    for metric in ("size", "accuracy", "fidelity.error"):
        assert "whole interval" not in rule(worse(metric, exact))
    assert rule(worse("parameters", exact, 0.0)).endswith("no change for the worse is accepted")
    assert "coin toss" in rule(worse("accuracy", exact, reason="6 lost and 1 won, exact p = 0.062."))
    assert "coin toss" not in rule(worse("accuracy", exact))
    # On another class of machine a loss of shares of right answers is judged by its interval.
    assert rule(worse("accuracy", sampled)) == "the whole interval of the change lies beyond the limit"


@pytest.mark.parametrize(
    ("reason", "words", "others"),
    [
        ("1,000 examples, 21 lost and 1 won, exact p < 0.0001.", "one by one", "value was compared"),
        ("1,000 examples, 6 lost and 1 won, exact p = 0.062.", "value was compared", "one by one"),
        ("-2.00 pt; limit -0.20 pt.", "value was compared", "one by one"),
        (
            "1,000 examples, 6 lost and 1 won, exact p = 0.062; the baseline was made on another machine class (c-1).",
            "value was compared, on another class of machine, and the loss lies beyond five times the margin",
            "one by one",
        ),
    ],
    ids=["of answers", "F1", "of fractions", "F1 elsewhere"],
)
def test_the_rule_of_a_lost_accuracy_says_what_was_compared(reason: str, words: str, others: str) -> None:
    """Of F1 and AUC it said that answers were compared one by one, also where their pairs are told, and that the margin
    alone decided elsewhere.
    """
    row = worse("accuracy", Estimate.exact(-0.02 / 0.9), reason=f"accuracy 88.00 % against 90.00 %: {reason}")
    found = rule(dataclasses.replace(row, baseline=Estimate.exact(0.9), candidate=Estimate.exact(0.88)))
    assert words in found
    assert others not in found
    assert ("coin toss" in found) is ("exact p" in reason)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("pytest suites/ --plan seconds=0.3 -q --plan=confirm=5", ("--plan", "seconds=0.3", "--plan=confirm=5")),
        ("pytest suites/", ()),
        ("pytest --plan", ()),
        (
            "pytest --against main --at=v1 --against-with 'numpy==2.4'",
            ("--against", "main", "--at=v1", "--against-with", "numpy==2.4"),
        ),
        ("pytest 'unclosed --plan a=1", ()),
        ("pytest --plan 'a=$(reboot)'", ("--plan", "a=$(reboot)")),
    ],
)
def test_a_case_is_measured_again_by_the_plan_of_the_run(command: str, options: tuple[str, ...]) -> None:
    run = dataclasses.replace(sample_run(1, 1, samples=2), command=command)
    assert measuring_options(run) == options
    assert reproduce_command(run, "a.py::t[x]").startswith("pytest 'a.py::t[x]' --baseline=compare")
    assert ("$(" in reproduce_command(run, "t")) == ("'a=$(reboot)'" in reproduce_command(run, "t"))


def test_what_took_turns_with_another_tree_is_not_offered() -> None:
    run = sample_run(samples=4)
    beside = dataclasses.replace(run, results=_in_turns(run.results))
    alone = dataclasses.replace(run.environment, state={**run.environment.state, "against": "main"})
    assert accepted_by_all(run, cases(run))
    for one in (beside, dataclasses.replace(run, environment=alone)):
        assert accepted_by_all(one, cases(one)) == ""
    assert plain(Page(render(beside)).text).count("harness accept ") == 1, "how to read a page speaks of any"


def test_what_took_turns_with_another_tree_speaks_of_no_accepted_baseline() -> None:
    run = run_with(worse("latency.p50", Estimate(0.2, 0.15, 0.25, 3)))
    run = dataclasses.replace(run, results=_in_turns(run.results))
    environment = dataclasses.replace(run.environment, state={"against": "origin/main with onnxruntime==1.30.0"})
    name = "test_digits/digits/bf16/cpu"
    origin = {"commit": "0123456789abcdef", "when": "", "reason": "measured in turns, at origin/main"}
    origin |= {"differs": "onnxruntime 1.30.0 -> 1.32.0", "ran": "nodes 25 -> 27"}
    beside = dataclasses.replace(run, environment=environment, baselines={name: origin})
    text = plain(Page(render(beside)).text)
    tree = "Compared in turns with origin/main with onnxruntime==1.30.0, commit 0123456789. "
    assert text.count(tree) == 2, "for the run and for the case"
    assert f"{tree}What ran is no longer the same: nodes 25 -> 27." in text
    assert "Differs from the other tree (look twice) onnxruntime 1.30.0 -> 1.32.0" in text
    assert "Against the other tree" in text
    assert "An arrow starts where it is in the other tree, in today's speed" in text
    of_baselines = (
        "accepted at", "Baseline accepted", "Against the baseline", "its baseline", "since the baseline",
        "unknown time", "accepted run", "when it was accepted", "the baseline,", "harness accept",
    )  # fmt: skip
    assert [words for words in of_baselines if words in text] == []
    itself = dataclasses.replace(environment, state={"against": "."})
    assert other_tree(dataclasses.replace(run, environment=itself)) == "the working tree"
    assert other_tree(run) == ""


def test_a_missing_case_is_pruned_where_it_is_gone_and_else_allowed_to_be_unavailable() -> None:
    run = sample_run(1, 2, samples=2)
    there = dataclasses.replace(run.results[1], outcome=Outcome.UNAVAILABLE, reason="no compiler", measurements=())
    missing = Comparison(there.suite, there.case_id, "case", Verdict.MISSING, "It was not measured.")
    unmeasured = dataclasses.replace(run, results=(run.results[0], there), comparisons=(missing,))
    text = plain(Page(render(unmeasured)).text)
    assert f"--allow-unavailable={there.case_id}" in text
    assert "harness prune" not in text
    text = plain(Page(render(dataclasses.replace(unmeasured, results=run.results[:1]))).text)
    assert "harness prune" in text
    assert "--allow-unavailable" not in text


def test_only_what_has_numbers_and_was_decided_is_offered_to_be_accepted() -> None:
    run = sample_run(samples=4)
    text = plain(Page(render(run)).text)
    offered = [view for view in cases(run) if f"harness accept --case {view.name} " in text]
    assert {view.word for view in offered} == {"regressed", "improved", "new", "incomparable"}
    assert offered == [view for view in cases(run) if acceptable(run, view)]
    assert accepted_by_all(run, cases(run)) in text
    assert accepted_by_all(run, cases(run)).startswith("Accepts 3 regressed, 1 incomparable, 1 new, 1 improved, ")
    assert accepted_by_all(run, cases(run)).endswith("; refuses 7 error, 1 invalid.")
    within = "those whose estimate lies within its limit"
    young = f"of 2 inconclusive {within}, while their baseline has fewer than three blocks of it"
    assert f"; {young}; refuses " in accepted_by_all(run, cases(run))
    assert "harness accept --case digits/" not in plain(Page(render(dataclasses.replace(run, complete=False))).text)
    assert accepted_by_all(dataclasses.replace(run, complete=False), cases(run)) == ""
    assert accepted_by_all(dataclasses.replace(run, mode="update"), cases(run)) == ""


def test_counts_that_differ_from_the_reference_are_said_and_marked() -> None:
    facts: dict[str, Scalar] = {"runtime": "eager", "nodes": 27, "nodes.cpu": 20, "precision": "float32", "batch": 1}
    view, reference = with_facts(facts, {**facts, "nodes": 19, "nodes.cpu": 12, "batch": 8, "more": "there"})
    assert more_or_fewer(view, reference) == "Ran with 27 nodes, 20 nodes (cpu); its reference with 19, 12."
    assert {f.name for f in facts_beside(view, reference) if f.differs} == {"nodes", "nodes.cpu", "batch", "more"}
    assert references((view, reference)) == {(view.suite, view.id): reference}
    run = dataclasses.replace(
        run_with(worse("speedup", Estimate(0.2, 0.15, 0.25, 3))),
        results=(_result(reference), _result(view)),
    )
    text = plain(Page(render(run)).text)
    assert "digits/bf16/cpu Ran with 27 nodes, 20 nodes (cpu); its reference with 19, 12." in text
    origin = {"commit": "", "when": "", "reason": "", "ran": "nodes 25 -> 27"}
    kept = dataclasses.replace(run, baselines={"test_digits/digits/bf16/cpu": origin})
    text = plain(Page(render(kept)).text)
    assert "digits/bf16/cpu What ran is no longer the same: nodes 25 -> 27." in text
    assert "its reference with" not in text, "what ran before says more than what runs in another case"
    assert "fact here does it differ? in the reference runtime eager eager nodes 27 ≠ differs 19 " in text
    assert anchor(reference.suite, reference.id) in render(run).decode()


def test_nothing_is_said_of_counts_where_another_runtime_counts() -> None:
    own: dict[str, Scalar] = {"runtime": "onnxruntime", "nodes": 10}
    assert more_or_fewer(*with_facts(own, {"runtime": "eager", "nodes": 19})) == ""
    assert more_or_fewer(*with_facts(own, own)) == ""
    view, _ = with_facts(own, {})
    assert more_or_fewer(view, None) == ""
    assert [f.differs for f in facts_beside(view, None)] == [False, False]
    many: dict[str, Scalar] = {"runtime": "r", **{f"nodes.{i}": 1 for i in range(9)}}
    said_of_many = more_or_fewer(*with_facts(many, {name: "r" if name == "runtime" else 2 for name in many}))
    assert said_of_many == "Ran with 1 nodes (0), 1 nodes (1), 1 nodes (2); its reference with 2, 2, 2."


def test_why_the_time_of_a_call_has_several_values_is_said() -> None:
    run = sample_run(1, 2, samples=4)
    result = next(r for r in run.results if r.technique == "bf16")
    wide = Measurement("latency.p50", Estimate(9.18e-4, 9e-4, 9.3e-4, 8), (9.18e-4,) * 8)
    judged = dataclasses.replace(
        worse("latency.p50", Estimate(0.2, 0.1, 0.3, 5)), candidate=Estimate(9.49e-4, 8e-4, 1.1e-3, 5)
    )
    run = dataclasses.replace(run, results=(dataclasses.replace(result, measurements=(wide,)),), comparisons=(judged,))
    text = plain(Page(render(run)).text)
    assert "latency.p50 is 949 µs against the baseline (the 5 launches that were made to confirm a first" in text
    assert "suspicion), 918 µs here (all 8 launches that count, each once) and " in text
    once = dataclasses.replace(result, measurements=(wide,), launches=())
    plain_run = dataclasses.replace(run, results=(once,), comparisons=())
    assert "latency.p50 is " not in plain(Page(render(plain_run)).text)


def test_launches_that_were_made_again_are_in_no_number() -> None:
    run = sample_run(1, 2, samples=4)
    result = next(r for r in run.results if r.technique == "bf16")
    odd = dataclasses.replace(result.launches[0], phase="repeated", samples={"candidate": (7.7,) * 4})
    launches = (result.launches[0], odd, *result.launches[1:])
    point = 9.18e-4
    measured = Measurement("latency.p50", Estimate(point, 9e-4, 9.3e-4, 3), (point, 7.7, point, point))
    judged = dataclasses.replace(worse("latency.p50", Estimate(0.2, 0.1, 0.3, 3)), candidate=measured.estimate)
    result = dataclasses.replace(result, measurements=(measured,), launches=launches)
    text = plain(Page(render(dataclasses.replace(run, results=(result,), comparisons=(judged,)))).text)
    assert "latency.p50 is 918 µs here (all 3 launches that count, each once) and " in text
    assert "made to confirm" not in text
    assert "latency.p50 918 µs [900, 930] 3 lower" in text
    assert "7.70 s" not in text, "neither among the quantiles nor in a description"
    assert "4 launches, each in fresh processes; those in brackets were disturbed, made again, and count" in text
    assert " (2) " in text


def test_a_limit_wider_than_the_value_is_explained_by_its_sentence() -> None:
    wide = dataclasses.replace(
        worse("memory.inference", Estimate.exact(0.27), 1.73, "592 KiB more than nothing; limit +1.00 MiB."),
        verdict=Verdict.UNCHANGED,
        unit="bytes",
    )
    assert wide.reason in plain(Page(render(run_with(wide))).text)
    assert wide.reason not in plain(Page(render(run_with(dataclasses.replace(wide, limit=0.4)))).text)


def test_what_could_have_been_seen_of_a_share_is_in_points_as_its_change_and_limit_are() -> None:
    change = Estimate(0.04, -0.01, 0.09, 3)
    busy = dataclasses.replace(
        worse("utilization.cpu", change, 0.2), verdict=Verdict.UNCHANGED, unit="share", detectable=0.31,
        baseline=Estimate(0.49, 0.48, 0.5, 9), candidate=Estimate(0.51, 0.5, 0.52, 3),
    )  # fmt: skip
    text = plain(Page(render(run_with(busy))).text)
    assert "+1.96 pt [-0.49, +4.41] +9.80 pt 15.19 pt " in text.replace("−", "-")
    seconds = dataclasses.replace(busy, unit="s")
    assert "+4.0 % [-1.0, +9.0] +20.0 % 31.0 % " in plain(Page(render(run_with(seconds))).text).replace("−", "-")


def test_only_pictures_that_are_there_are_explained() -> None:
    run = sample_run(1, 2, samples=4)
    every = plain(Page(render(run)).text)
    assert "Distribution of call times For each time" in every
    assert "Accuracy against latency A technique" in every
    for words in ("Batch scaling Items in one call", "Change against its limit The open"):
        assert words not in every
    failed = run_with(worse("speedup", Estimate(0.2, 0.1, 0.3, 3)))
    assert "Change against its limit The open" in plain(Page(render(failed)).text)
    bare = dataclasses.replace(
        run,
        results=tuple(dataclasses.replace(r, launches=(), measurements=()) for r in run.results),
        comparisons=(),
    )
    few = plain(Page(render(bare)).text)
    for words in ("Distribution of call times For each time", "Accuracy against latency A technique"):
        assert words not in few


def test_the_rules_of_what_is_not_timed_are_told_as_they_are_in_this_run() -> None:
    run = sample_run(1, 2, samples=4)
    state = {**run.environment.state, "against": "main"}
    turns = dataclasses.replace(run, environment=dataclasses.replace(run.environment, state=state))
    told, told_in_turns = (plain(Page(render(one)).text) for one in (run, turns))
    for words in (
        "an evaluation repeats exactly, so accuracy is compared example by example: a net loss beyond the limit has",
        "Size, parameters and what else is counted have no interval: they are compared exactly",
        "which takes 50 for p90, 100 for p95 and 500 for p99",
    ):
        assert words in told
        assert words in told_in_turns
    for words in (
        "On another class the loss is an estimate with an interval",
        "Memory is compared so too, on the same class of machine alone; its limit is 2 % or 1 MiB",
        "and it is inconclusive where the suite gives it a limit",
    ):
        assert words in told
        assert words not in told_in_turns
    assert "in turns no percentile but p50 is judged" in told_in_turns


def test_a_long_fact_is_folded_and_kept_whole() -> None:
    note = f"not measured: {'no counter of energy ' * 6}".strip()
    first, second = sample_run(1, 2, samples=2).results
    results = tuple(dataclasses.replace(r, facts={"energy": note, "odd": f": {note}"}) for r in (first, second))
    page = Page(render(dataclasses.replace(sample_run(1, 2, samples=2), results=results)))
    summaries = page.texts["summary"]
    assert "not measured" in summaries
    assert any(re.fullmatch(": not measured: .+…", summary) for summary in summaries)
    assert note in page.text


def _in_turns(results: Iterable[Result]) -> tuple[Result, ...]:
    return tuple(
        dataclasses.replace(one, launches=tuple(dataclasses.replace(launch, against=1.0) for launch in one.launches))
        for one in results
    )


def _result(view: CaseView) -> Result:
    assert view.result is not None
    assert view.result.outcome is Outcome.COMPLETED
    return view.result
