from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from harness.records import Comparison, Estimate, Measurement, Outcome, Run, Verdict
from harness.report import comment, summary
from harness.report.gains import accuracy_slack, answers, front, gain, points_of, subjects
from harness.report.github import annotation_lines
from harness.report.html import render
from harness.report.html.sections import gain_maps
from harness.report.journal import Journal
from harness.report.numbers import change_text, limit_text
from harness.report.overview import GLYPHS, MEANINGS, CaseView, Overview, cases, counts
from harness.report.record import read_run
from harness.report.text import moment, shorten, tail, visible
from harness.report.trust import checks
from tests.report_hostile import HOSTILE
from tests.report_samples import sample_run


def only(run: Run, *outcomes: Outcome, verdict: Verdict | None = None) -> Run:
    """The run with results of these outcomes alone, and with one comparison of this verdict for each of them."""
    results = tuple(r for r in run.results if r.outcome in outcomes)
    comparisons = [
        Comparison(r.suite, r.case_id, "latency.p50", verdict, f"{r.case_id}: {verdict.value}.")
        for r in results
        if verdict
    ]
    return dataclasses.replace(run, results=results, comparisons=tuple(comparisons), expected=len(results))


@pytest.mark.parametrize(
    ("verdict", "mode", "state"),
    [
        (Verdict.UNCHANGED, "compare", "passed"),
        (Verdict.IMPROVED, "strict", "passed"),
        (Verdict.REGRESSED, "compare", "failed"),
        (Verdict.MISSING, "compare", "failed"),
        (Verdict.INVALID, "compare", "failed"),
        (Verdict.ERROR, "compare", "failed"),
        (Verdict.NEW, "compare", "undecided"),
        (Verdict.INCOMPARABLE, "compare", "undecided"),
        (Verdict.INCONCLUSIVE, "compare", "undecided"),
        (Verdict.NEW, "strict", "failed"),
        (Verdict.INCOMPARABLE, "strict", "failed"),
        (Verdict.INCONCLUSIVE, "strict", "failed"),
        (Verdict.REGRESSED, "update", "unjudged"),
        (Verdict.ERROR, "update", "failed"),
        (None, "quick", "unjudged"),
        (None, "off", "unjudged"),
        (None, "compare", "undecided"),
    ],
)
def test_the_headline_of_a_run_with_one_verdict(verdict: Verdict | None, mode: str, state: str) -> None:
    run = dataclasses.replace(only(sample_run(1, 5, samples=2), Outcome.COMPLETED, verdict=verdict), mode=mode)
    assert Overview(run).headline.state == state
    assert (Overview(run).headline.state == "failed") == bool(Overview(run).failures)


def test_an_update_says_of_how_many_cases_it_took_what_got_worse_or_is_gone() -> None:
    run = only(sample_run(1, 5, samples=2), Outcome.COMPLETED, verdict=Verdict.UNCHANGED)
    run = dataclasses.replace(run, mode="update")
    assert "The results became the baseline; " in Overview(run).headline.detail
    worse = dataclasses.replace(run.comparisons[0], verdict=Verdict.REGRESSED)
    run = dataclasses.replace(run, comparisons=(worse, worse, *run.comparisons[1:]))
    assert "The results became the baseline, although 1 case got worse; " in Overview(run).headline.detail
    gone = dataclasses.replace(worse, metric="speedup", verdict=Verdict.MISSING)
    for others, said in (((), "1 case lost a metric"), ((worse,), "1 case got worse and 1 case lost a metric")):
        found = dataclasses.replace(run, comparisons=(gone, *others, *run.comparisons[2:]))
        assert f"The results became the baseline, although {said}; " in Overview(found).headline.detail


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.COMPLETED])
@pytest.mark.parametrize("mode", ["compare", "quick", "off", "update", "strict"])
@pytest.mark.parametrize("verdict", [None, Verdict.UNCHANGED])
def test_a_case_without_numbers_is_never_a_pass(outcome: Outcome, mode: str, verdict: Verdict | None) -> None:
    kind = Outcome.FAILED if outcome is Outcome.ABSENT else outcome
    run = only(sample_run(samples=2), kind, verdict=verdict)
    assert run.results
    run = dataclasses.replace(
        run, mode=mode, results=tuple(dataclasses.replace(r, outcome=outcome) for r in run.results)
    )
    assert Overview(run).headline.state == ("empty" if outcome is Outcome.UNAVAILABLE else "failed")
    assert "passed" not in counts(cases(run))


def test_an_unfinished_run_is_never_a_pass() -> None:
    run = only(sample_run(1, 5, samples=2), Outcome.COMPLETED, verdict=Verdict.UNCHANGED)
    assert Overview(dataclasses.replace(run, complete=False)).headline.state == "incomplete"


def test_what_a_run_did_not_come_to_has_not_failed() -> None:
    """After -x every case that was reached has failed, and it is one of many."""
    run = only(sample_run(1, 1, samples=2), Outcome.COMPLETED, verdict=Verdict.REGRESSED)
    assert Overview(run).headline.sentence == "Every case failed."
    found = Overview(dataclasses.replace(run, complete=False, expected=40)).headline
    assert (found.state, found.sentence) == ("failed", "1 case failed.")
    assert found.detail == "1 got worse; and the run did not finish; 1 of 40 cases were measured."


@pytest.mark.parametrize("verdict", [Verdict.UNCHANGED, Verdict.NEW, None])
@pytest.mark.parametrize("mode", ["compare", "off"])
def test_a_run_that_failed_although_no_case_did_is_green_in_no_report(verdict: Verdict | None, mode: str) -> None:
    run = dataclasses.replace(only(sample_run(1, 5, samples=2), Outcome.COMPLETED, verdict=verdict), mode=mode)
    why = "--require-hardware=cuda, and it is not here: no GPU"
    state = {**run.environment.state, "undone": why}
    red = dataclasses.replace(run, environment=dataclasses.replace(run.environment, state=state))
    found = Overview(red).headline
    cases = len(run.results)
    assert (found.state, found.sentence) == ("failed", "The run failed.")
    assert found.detail == f"{cases} of {cases} cases were measured; {why}."
    assert summary.render(red).startswith("## ❌ The run failed.\n")
    assert comment.render(red).startswith(f"{comment.MARKER}\n### ❌ The run failed.\n")
    broken = dataclasses.replace(red, comparisons=only(run, Outcome.COMPLETED, verdict=Verdict.ERROR).comparisons)
    assert Overview(broken).headline.sentence == "Every case failed.", "which says more"


def test_what_failed_although_it_was_measured_is_not_said_to_have_no_numbers() -> None:
    """A promise in the body of a test can fail after the numbers, and the writing of a baseline as well."""
    run = only(sample_run(1, 5, samples=2), Outcome.COMPLETED, verdict=Verdict.UNCHANGED)
    failed = run.results[1]
    row = Comparison(failed.suite, failed.case_id, "case", Verdict.ERROR, "the test failed")
    found = Overview(dataclasses.replace(run, comparisons=(*run.comparisons, row))).headline
    measured = len(run.results)
    assert found.sentence == "1 case failed."
    assert found.detail == f"1 failed although measured; {measured} of {measured} cases were measured."
    crashed = dataclasses.replace(run.results[2], outcome=Outcome.CRASHED, measurements=())
    results = (*run.results[:2], crashed, *run.results[3:])
    found = Overview(dataclasses.replace(run, results=results, comparisons=(*run.comparisons, row))).headline
    both = "1 could not be measured, 1 failed although measured"
    assert found.detail == f"{both}; {measured - 1} of {measured} cases were measured."


@pytest.mark.parametrize("verdict", [Verdict.INVALID, Verdict.ERROR])
def test_what_is_invalid_or_failed_its_test_is_not_to_be_shipped(verdict: Verdict) -> None:
    magika = next(s for s in subjects(cases(sample_run(samples=2))) if s.model == "magika")
    (first, *_) = answers(magika, 0.002)
    fastest = next(view for view in magika.cases if view.id == "magika/onnxruntime/cpu")
    assert "onnxruntime, " in first
    row = Comparison(fastest.suite, fastest.id, "case", verdict, "r.")
    refused = dataclasses.replace(fastest, comparisons=(*fastest.comparisons, row))
    views = tuple(refused if view is fastest else view for view in magika.cases)
    said = answers(dataclasses.replace(magika, cases=views), 0.002)
    assert said
    assert not any(": onnxruntime, " in line for line in said)
    none = tuple(dataclasses.replace(view, comparisons=(row,)) for view in magika.cases)
    assert answers(dataclasses.replace(magika, cases=none), 0.002) == (
        "None: each is invalid or an error, or was asked about other data.",
    )


def test_an_accuracy_of_other_data_is_not_held_against_the_references() -> None:
    """An evaluation that follows what was answered asks an easier question of what answers worse."""
    magika = next(s for s in subjects(cases(sample_run(samples=2))) if s.model == "magika")
    fastest = next(view for view in magika.cases if view.id == "magika/onnxruntime/cpu")
    assert fastest.result
    asked = dataclasses.replace(fastest.result, workload={**fastest.result.workload, "evaluation": "easier"})
    other = dataclasses.replace(fastest, result=asked)
    assert [one.name for one in gain(fastest, magika.reference, 0.002)] == ["speed", "memory", "accuracy"]
    assert [one.name for one in gain(other, magika.reference, 0.002)] == ["speed", "memory"]
    views = tuple(other if view is fastest else view for view in magika.cases)
    mixed = dataclasses.replace(magika, cases=views)
    said = answers(mixed, 0.002)
    assert said
    assert not any(": onnxruntime, " in line for line in said)
    assert [one.view.id for one in points_of(mixed)] == [
        one.view.id for one in points_of(magika) if one.view.id != fastest.id
    ]


def test_what_is_known_to_fail_makes_no_report_say_that_the_run_failed() -> None:
    run = sample_run(1, 4, samples=2)
    rows = tuple(c for c in run.comparisons if c.verdict is not Verdict.MISSING)
    run = dataclasses.replace(run, comparisons=rows)
    assert Overview(run).headline.sentence == "1 case failed."
    state = {**run.environment.state, "xfailed": "test_digits/digits/compiled/cpu"}
    known = dataclasses.replace(run, environment=dataclasses.replace(run.environment, state=state))
    found = Overview(known).headline
    assert (found.state, found.sentence) == ("passed", "Nothing got worse but what is known to fail.")
    assert found.detail == "3 cases decided; 4 of 4 cases were measured; 1 failed as expected."
    assert Overview(known).failures == ()
    assert comment.render(known) == ""
    assert annotation_lines(known) == []
    alone = dataclasses.replace(known, results=known.results[3:], comparisons=Overview(known).cases[3].comparisons)
    assert Overview(dataclasses.replace(alone, expected=1)).headline.state == "undecided"
    crashed = dataclasses.replace(alone, results=(dataclasses.replace(alone.results[0], outcome=Outcome.FAILED),))
    found = Overview(dataclasses.replace(crashed, expected=1)).headline
    assert (found.state, found.sentence) == ("empty", "Nothing was measured but what is known to fail.")
    other = dataclasses.replace(rows[0], verdict=Verdict.REGRESSED)
    found = Overview(dataclasses.replace(known, comparisons=(other, *rows[1:]))).headline
    assert found.sentence == "1 case failed."
    assert found.detail == "1 got worse; 4 of 4 cases were measured; 1 failed as expected."


def test_the_worst_comparison_is_the_cases_verdict() -> None:
    comparisons = tuple(
        Comparison("s", "c", v.value, v, "") for v in (Verdict.IMPROVED, Verdict.REGRESSED, Verdict.NEW)
    )
    assert CaseView("s", "c", None, comparisons).verdict is Verdict.REGRESSED
    assert CaseView("s", "c", None, ()).word == "measured"


def test_failures_are_worst_first_then_what_users_notice_and_then_furthest_beyond_the_limit() -> None:
    found = Overview(sample_run(samples=2)).failures
    assert [c.verdict.severity for c in found] == sorted((c.verdict.severity for c in found), reverse=True)
    regressed = [c for c in found if c.verdict is Verdict.REGRESSED]
    assert [c.metric for c in regressed] == ["accuracy", "speedup", "latency.p50", "memory.peak"]


def test_cases_of_two_suites_with_one_id_are_two_cases() -> None:
    run = sample_run(1, 1, samples=2)
    twin = dataclasses.replace(run.results[0], suite="test_other")
    views = cases(dataclasses.replace(run, results=(*run.results, twin)))
    assert [view.suite for view in views if view.id == twin.case_id] == ["test_digits", "test_other"]


def test_every_word_has_a_sign_of_its_own_and_a_meaning() -> None:
    words = {verdict.value for verdict in Verdict} | {"measured"}
    assert set(GLYPHS) == set(MEANINGS) == words
    assert len(set(GLYPHS.values())) == len(words)


@pytest.mark.parametrize(
    ("limit", "better", "text"),
    [(0.1, "lower", "+10.0 %"), (0.05, "higher", "-5.0 %"), (0.0, "lower", "exact"), (1e-6, "higher", "-0.0001 %"),
     (None, "lower", "–"), (0.001, "lower", "+0.10 %")],
)  # fmt: skip
def test_limits_are_never_rounded_to_none(limit: float | None, better: str, text: str) -> None:
    assert limit_text(Comparison("s", "c", "m", Verdict.UNCHANGED, "", limit=limit, better=better)) == text


def test_the_front_holds_what_nothing_beats() -> None:
    for subject in subjects(cases(sample_run(samples=2))):
        points = points_of(subject)
        best = front(points)
        for p in points:
            beaten = any(o.order <= p.order and o.accuracy > p.accuracy for o in points) or any(
                o.order < p.order and o.accuracy >= p.accuracy for o in points
            )
            assert (p in best) != beaten


def test_answers_keep_to_the_accuracy_that_the_run_tolerates() -> None:
    run = sample_run(samples=2)
    assert accuracy_slack(run) == 0.002
    magika = next(s for s in subjects(cases(run)) if s.model == "magika")
    assert answers(magika, 0.002)[0].startswith("Fastest call with at most 0.2 points lost: onnxruntime, ")
    assert answers(magika, 0.02)[0].startswith(
        "Fastest call with at most 2 points lost: pruned_channels:0.5+onnxruntime"
    )
    without = dataclasses.replace(magika, cases=tuple(v for v in magika.cases if v is not magika.reference))
    assert answers(without, 0.002) == ()


def test_a_suite_s_own_limit_stands_above_the_built_in_one() -> None:
    run = sample_run(samples=2)
    own = {**next(m for m in run.metrics if m["name"] == "accuracy"), "slack": 0.02}
    run = dataclasses.replace(run, metrics=(*run.metrics, {**own, "suite": "test_magika"}, {**own, "suite": "other"}))
    assert accuracy_slack(run, "test_magika") == 0.02
    assert accuracy_slack(run, "test_digits") == accuracy_slack(run) == 0.002
    assert "magika on cpu: Fastest call with at most 2 points lost: " in summary.render(run)
    assert "digits on cpu: Fastest call with at most 0.2 points lost: " in summary.render(run)


def test_a_limit_relative_to_the_reference_counts_as_for_the_judge() -> None:
    run = sample_run(samples=2)
    own = {**next(m for m in run.metrics if m["name"] == "accuracy"), "slack": None, "tolerance": 0.02}
    run = dataclasses.replace(run, metrics=(*run.metrics, {**own, "suite": "test_magika"}))
    magika = next(s for s in subjects(cases(run)) if s.model == "magika")
    slack = accuracy_slack(run, "test_magika", magika.reference)
    assert slack == pytest.approx(0.02 * 0.944)
    assert accuracy_slack(run, "test_magika") == 0.0, "of nothing there is no share"
    assert answers(magika, slack)[0].startswith("Fastest call with at most 1.89 points lost: pruned_channels:0.5+onnx")
    lost = {cell.view.id: g.sense for m in gain_maps(Overview(run)) for _, row in m.rows for cell in row if cell.view
            for g in cell.gains if g.name == "accuracy"}  # fmt: skip
    assert lost["magika/pruned_channels:0.5+onnxruntime/cpu"] == "same"
    assert lost["digits/pruned_channels:0.5+onnxruntime/cpu"] == "worse"
    assert "magika on cpu: Fastest call with at most 1.89 points lost: " in summary.render(run)


def test_a_loss_of_one_answer_of_very_many_is_not_said_to_be_none() -> None:
    subject = subjects(cases(sample_run(1, 2, samples=2)))[0]
    view = subject.cases[1]
    assert view.result is not None
    value = 0.986 - 2e-5
    measured = [m for m in view.result.measurements if m.metric != "accuracy"]
    worse = Measurement("accuracy", Estimate.exact(value), (value,))
    view = dataclasses.replace(view, result=dataclasses.replace(view.result, measurements=(*measured, worse)))
    said = answers(dataclasses.replace(subject, cases=(subject.cases[0], view)), 0.002)
    assert any(line.endswith(", accuracy -0.002 pt.") for line in said)


def test_gains_are_against_the_reference_of_the_same_model() -> None:
    subject = subjects(cases(sample_run(1, 5, samples=2)))[0]
    senses = {g.name: (g.text, g.sense) for g in gain(subject.cases[4], subject.reference, 0.002)}
    assert senses == {"speed": ("2.74x", "better"), "memory": ("0.41x", "better"), "accuracy": ("0.00 pt", "same")}
    assert gain(subject.cases[0], subject.reference, 0.002) == ()
    assert [g.name for g in gain(subject.cases[4], None, 0.002)] == ["speed"]


@pytest.mark.parametrize(
    ("low", "point", "high", "text", "sense"),
    [(0.98, 1.07, 1.16, "1.07x", "same"), (1.05, 1.07, 1.09, "1.07x", "better"), (0.9, 0.93, 0.96, "0.93x", "worse"),
     (0.99, 0.998, 0.9985, "1.00x", "same")],
)  # fmt: skip
def test_a_speed_up_within_its_noise_of_one_is_no_gain(
    low: float, point: float, high: float, text: str, sense: str
) -> None:
    subject = subjects(cases(sample_run(1, 2, samples=2)))[0]
    result = subject.cases[1].result
    assert result is not None
    speedup = Measurement("speedup", Estimate(point, low, high, 3, 90), (point,) * 3)
    view = dataclasses.replace(subject.cases[1], result=dataclasses.replace(result, measurements=(speedup,)))
    (found,) = gain(view, subject.reference, 0.002)
    assert (found.text, found.sense) == (text, sense)


def test_a_speed_up_of_one_launch_is_neither_better_nor_worse() -> None:
    run = sample_run(1, 2, samples=2)
    quick = Measurement("speedup", Estimate(1.6, 1.6, 1.6, 1, 90), (1.6,))
    rest = tuple(one for one in run.results[1].measurements if one.metric != "speedup")
    result = dataclasses.replace(run.results[1], measurements=(*rest, quick))
    seen = Overview(dataclasses.replace(run, results=(run.results[0], result)))
    subject = subjects(seen.cases)[0]
    found = gain(subject.cases[1], subject.reference, 0.002)[0]
    assert (found.text, found.sense) == ("1.60x", "unknown")
    (drawn,) = gain_maps(seen)
    assert drawn.single
    assert [cell.heat for _, row in drawn.rows for cell in row if cell.kind == "gain"] == [0]
    assert "· one launch, which has no interval" in render(seen.run).decode()
    (several,) = gain_maps(Overview(run))
    assert not several.single
    assert "one launch, which has no interval" not in render(run).decode()


def test_trust_asks_only_what_the_run_can_answer() -> None:
    run = sample_run(samples=2)
    every = {check.question: check.fine for check in checks(Overview(run))}
    assert every["Quiet machine"] is False
    assert every["Baseline"] is True
    # Not that it changed since: it may be that of another class of machine.
    assert every["Differs from the baseline"] is False
    calm = tuple(
        dataclasses.replace(r, launches=(), warnings=(), evidence=(), measurements=(), reason="") for r in run.results
    )
    bare = dataclasses.replace(run, results=calm, comparisons=(), baselines={}, mode="quick")
    assert {check.question for check in checks(Overview(bare))} == {"Cases", "What was measured"}
    unbased = {check.question: check for check in checks(Overview(dataclasses.replace(run, baselines={})))}
    assert not unbased["Baseline"].fine


def test_a_killed_run_says_what_it_can_t_know(tmp_path: Path) -> None:
    """The head of its journal was written before anything was compared: it has no origins and no duration."""
    run = sample_run(1, 4, samples=2)
    journal = Journal(tmp_path)
    journal.start(dataclasses.replace(run, baselines={}, finished="", seconds=0.0))
    for result in run.results:
        journal.append(result, [c for c in run.comparisons if c.case_id == result.case_id])
    killed = read_run(tmp_path)
    found = {check.question: check for check in checks(Overview(killed))}
    assert not found["Baseline"].fine
    assert found["Baseline"].answer.startswith("When and why the baselines were accepted is known only at a run's end")
    assert found["What was measured"].answer.endswith("; started 4 May 2026, 10:08 UTC.")
    assert "UTC, mode compare" in summary.render(killed)
    assert "UTC, 9 min 12 s, mode compare" in summary.render(run)
    page, whole = (render(one).decode().partition("<h1>")[0] for one in (killed, run))
    assert "UTC · c06f05e485 with uncommitted changes · mode compare" in page
    assert " · 9 min 12 s · mode compare" in whole
    # What another machine accepted has no numbers here; what has no baseline at all is said to have none.
    for verdict, words in ((Verdict.INCOMPARABLE, "When and why"), (Verdict.NEW, "No case has a baseline")):
        rows = tuple(Comparison(r.suite, r.case_id, "latency.p50", verdict, "r.") for r in run.results)
        seen = Overview(dataclasses.replace(killed, comparisons=rows))
        assert next(c for c in checks(seen) if c.question == "Baseline").answer.startswith(words)


def test_what_was_accepted_together_is_said_once() -> None:
    origins = [
        ("2026-05-04T10:08:30+00:00", f"{'0' * 38}a1", "first"),
        ("2026-05-04T10:08:31+00:00", f"{'0' * 38}a1", "first"),
        ("2026-05-06T09:00:00+00:00", f"{'b' * 40}-dirty", "faster"),
    ]
    baselines = {str(n): dict(zip(("when", "commit", "reason"), one, strict=True)) for n, one in enumerate(origins)}
    run = dataclasses.replace(sample_run(samples=2), baselines=baselines)
    check = next(check for check in checks(Overview(run)) if check.question == "Baseline")
    last = "1 case accepted 6 May 2026, 09:00 UTC at bbbbbbbbbb with uncommitted changes, for this reason: “faster”"
    assert check.answer == last
    assert check.more == ("2 cases accepted 4 May 2026, 10:08 UTC at 0000000000, for this reason: “first”",)


def test_a_promise_that_stopped_a_case_counts_as_broken() -> None:
    """Its evidence is not in the record then, since there is nothing that ran: only its reason tells."""
    run = sample_run(1, 3, samples=2)
    broken = dataclasses.replace(
        run.results[1],
        outcome=Outcome.INVALID,
        reason=f"{run.results[1].case_id}: bf16 promised weights.bfloat16 >= 0.9, found 0.0: nothing happened",
        evidence=(),
    )
    run = dataclasses.replace(run, results=(run.results[0], broken, run.results[2]))
    check = next(check for check in checks(Overview(run)) if check.question == "Techniques happened")
    assert not check.fine
    assert check.answer == "1 case broke a promise; 2 other promises were found kept in what ran."
    assert check.more == (f"{broken.case_id}: bf16 promised weights.bfloat16 >= 0.9, found 0.0: nothing happened",)
    kept = dataclasses.replace(run, results=(run.results[0], run.results[2]))
    check = next(check for check in checks(Overview(kept)) if check.question == "Techniques happened")
    assert (check.fine, check.answer) == (True, "All 2 promises of techniques were found kept in what ran.")
    one = dataclasses.replace(run, results=run.results[:1])
    check = next(check for check in checks(Overview(one)) if check.question == "Techniques happened")
    assert (check.fine, check.answer) == (True, "The one promise of a technique was found kept in what ran.")
    fewer = dataclasses.replace(run, results=run.results[:2])
    check = next(check for check in checks(Overview(fewer)) if check.question == "Techniques happened")
    assert check.answer == "1 case broke a promise; 1 other promise was found kept in what ran."


@pytest.mark.parametrize(
    ("outcomes", "fine"),
    [
        ((Outcome.COMPLETED, Outcome.COMPLETED), True),
        ((Outcome.COMPLETED, Outcome.UNAVAILABLE), True),
        ((Outcome.COMPLETED, Outcome.CRASHED), False),
        ((Outcome.INVALID, Outcome.TIMEOUT), False),
    ],
)
def test_a_case_that_broke_was_not_measured(outcomes: tuple[Outcome, ...], fine: bool) -> None:
    run = sample_run(1, 2, samples=2, mode="off")
    results = tuple(dataclasses.replace(r, outcome=o) for r, o in zip(run.results, outcomes, strict=True))
    check = checks(Overview(dataclasses.replace(run, results=results)))[0]
    assert check.answer.startswith(f"{outcomes.count(Outcome.COMPLETED)} of 2 cases were measured")
    assert check.fine is fine


def test_a_blind_comparison_is_worth_a_second_look() -> None:
    estimate = Estimate(0.0, -0.2, 0.2, 3, 3)
    c = Comparison("s", "c", "speedup", Verdict.INCONCLUSIVE, "r.", change=estimate, limit=0.05, detectable=0.2)
    run = dataclasses.replace(sample_run(1, 1, samples=2), comparisons=(c,))
    check = next(check for check in checks(Overview(run)) if check.question == "Sensitive enough")
    assert not check.fine


def test_what_was_decided_in_turns_was_sensitive_enough() -> None:
    """A case that its screen cleared was held to what three launches find, though one still open gets up to 16 more."""
    run = sample_run(1, 1, samples=2)
    (result,) = run.results
    row = Comparison(result.suite, result.case_id, "latency.p50", Verdict.UNCHANGED, "r.", limit=0.01, detectable=0.021)
    environment = dataclasses.replace(run.environment, state={**run.environment.state, "against": "main"})
    in_turns = dataclasses.replace(run, environment=environment)

    def fine(run: Run, verdict: Verdict) -> bool:
        found = dataclasses.replace(run, comparisons=(dataclasses.replace(row, verdict=verdict),))
        (check,) = (check for check in checks(Overview(found)) if check.question == "Sensitive enough")
        assert check.answer.endswith("could have shown a change of 2.1 % by the launches that they took.")
        return check.fine

    assert fine(in_turns, Verdict.UNCHANGED)
    assert fine(in_turns, Verdict.IMPROVED)
    assert not fine(in_turns, Verdict.INCONCLUSIVE)
    assert not fine(run, Verdict.UNCHANGED), "against a baseline, runs differ however many launches are made"


def test_where_the_anchor_is_not_good_enough_the_report_says_what_gates_a_common_slow_down() -> None:
    run = sample_run(1, 1, samples=2)
    (result,) = run.results
    anchored = Measurement("latency.p50", Estimate(0.01, 0.009, 0.011, 3), (0.01,) * 3, (1.0, 1.1, 0.9))
    result = dataclasses.replace(result, measurements=(anchored,))
    row = Comparison(result.suite, result.case_id, "latency.p50", Verdict.INCONCLUSIVE, "r.", limit=0.1, detectable=0.3)
    baselines = {f"{result.suite}/{result.case_id}": {"commit": "0123456789abcdef", "when": "", "reason": ""}}
    run = dataclasses.replace(run, results=(result,), comparisons=(row,), baselines=baselines)
    check = next(check for check in checks(Overview(run)) if check.question == "Slower together")
    assert check.answer.startswith("In 1 of 1 cases the anchor leaves")
    assert check.answer.endswith("pytest suites/ --against 0123456789")
    given = dataclasses.replace(run.environment, state={"selected": "bench\nmy suites/test_a.py"})
    check = next(
        c for c in checks(Overview(dataclasses.replace(run, environment=given))) if c.question == check.question
    )
    assert check.answer.endswith(": pytest bench 'my suites/test_a.py' --against 0123456789")
    in_turns = dataclasses.replace(result, measurements=(dataclasses.replace(anchored, relative=()),))
    for good in (
        dataclasses.replace(run, comparisons=(dataclasses.replace(row, detectable=0.15),)),
        dataclasses.replace(run, results=(in_turns,)),
    ):
        assert "Slower together" not in {check.question for check in checks(Overview(good))}


def test_what_gates_a_common_slow_down_is_a_command_that_can_be_given() -> None:
    """A baseline of uncommitted changes is in no commit, and its name is no revision that git knows."""
    run = sample_run(1, 3, samples=2)
    anchored = Measurement("latency.p50", Estimate(0.01, 0.009, 0.011, 3), (0.01,) * 3, (1.0, 1.1, 0.9))
    results = tuple(dataclasses.replace(result, measurements=(anchored,)) for result in run.results)
    rows = tuple(
        Comparison(r.suite, r.case_id, "latency.p50", Verdict.INCONCLUSIVE, "r.", limit=0.1, detectable=0.3)
        for r in results
    )
    dirty, clean = f"{'0' * 40}-dirty", "b" * 40
    for commits, revision in (
        ((dirty, dirty, clean), "bbbbbbbbbb"),
        ((dirty, dirty, dirty), "REV"),
        (("", "", clean), "bbbbbbbbbb"),
        (("", dirty, "$(reboot)"), "REV"),
    ):
        named = [f"{result.suite}/{result.case_id}" for result in results]
        baselines = {
            name: {"commit": commit, "when": "", "reason": ""} for name, commit in zip(named, commits, strict=True)
        }
        known = dataclasses.replace(run, results=results, comparisons=rows, baselines=baselines)
        check = next(check for check in checks(Overview(known)) if check.question == "Slower together")
        assert check.answer.endswith(f": pytest suites/ --against {revision}")
    # Where something else of it was changed since, the times are of an earlier commit.
    moved = {name: {**origin, "commit": "c" * 40, "times": "b" * 40} for name, origin in baselines.items()}
    known = dataclasses.replace(run, results=results, comparisons=rows, baselines=moved)
    check = next(check for check in checks(Overview(known)) if check.question == "Slower together")
    assert check.answer.endswith(": pytest suites/ --against bbbbbbbbbb")
    left = {name: {**origin, "times": ""} for name, origin in moved.items()}
    known = dataclasses.replace(run, results=results, comparisons=rows, baselines=left)
    check = next(check for check in checks(Overview(known)) if check.question == "Slower together")
    assert check.answer.endswith(": pytest suites/ --against REV"), "the clone lacks the commit of the times"
    none = dataclasses.replace(run, results=results, comparisons=rows, baselines={})
    check = next(check for check in checks(Overview(none)) if check.question == "Slower together")
    assert check.answer.endswith(": pytest suites/ --against REV")


def test_text_is_made_visible() -> None:
    for payload in HOSTILE:
        assert all(c.isprintable() or c in "\n\t" for c in visible(payload))
    assert visible("a\x1b[2Jb\r\nc\td") == "a\\x1b[2Jb\nc\td"
    assert shorten("pruned_channels", 9) == "prun…nels"
    assert shorten("abc", 3) == "abc"
    assert len(shorten("x" * 50, 10)) == 10
    assert tail("\n".join("abcdef"), 2) == "… 4 earlier lines are in run.json\ne\nf"
    assert tail("", 5) == ""
    assert moment("2026-05-04T12:08:30+02:00") == "4 May 2026, 10:08 UTC"
    assert moment("yesterday") == "yesterday"
    for text in ("0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"):
        assert moment(text) == text, "there is no such year in UTC"


def test_shares_change_in_points_and_everything_else_relatively() -> None:
    change = Estimate(-0.01, -0.015, -0.005, 3, 3)
    share = Comparison(
        "s", "c", "accuracy", Verdict.REGRESSED, "", Estimate.exact(0.8), Estimate.exact(0.79), change, 0.0025
    )
    share = dataclasses.replace(share, unit="share", better="higher")
    assert change_text(share) == "-0.80 pt [-1.20, -0.40]"
    assert limit_text(share) == "-0.20 pt"
    assert change_text(dataclasses.replace(share, unit="x")) == "-1.0 % [-1.5, -0.50]"
    assert change_text(dataclasses.replace(share, change=None)) == "–"
    narrow = dataclasses.replace(share, metric="sparsity", change=Estimate.exact(-1.25e-5), limit=1.25e-6)
    assert (change_text(narrow), limit_text(narrow)) == ("-0.001 pt", "-0.0001 pt")


@pytest.mark.parametrize(
    ("change", "better", "text"),
    [
        (Estimate.exact(0.0204), "lower", "+2.04 %"),
        (Estimate.exact(-0.02004), "higher", "-2.004 %"),
        (Estimate.exact(0.02), "lower", "+2.0 %"),
        (Estimate.exact(0.02 + 1e-12), "lower", "+2.0 %"),
        (Estimate(0.03, 0.0203, 0.04, 3), "lower", "+3.00 % [+2.03, +4.00]"),
        (Estimate(0.01, 0.005, 0.0199, 3), "lower", "+1.00 % [+0.500, +1.99]"),
        (Estimate(0.03, 0.01, 0.05, 3), "lower", "+3.0 % [+1.0, +5.0]"),
    ],
)
def test_a_change_reads_as_its_limit_only_where_it_is_the_limit(change: Estimate, better: str, text: str) -> None:
    row = Comparison("s", "c", "memory.peak", Verdict.REGRESSED, "", change=change, limit=0.02, better=better)
    assert limit_text(row) == ("+2.0 %" if better == "lower" else "-2.0 %")
    assert change_text(row) == text


@pytest.mark.parametrize(
    ("change", "limit", "better", "texts"),
    [
        (0.0268, 0.0266, "lower", ("+2.68 %", "+2.66 %")),
        (-0.0268, 0.0266, "higher", ("-2.68 %", "-2.66 %")),
        (0.02702, 0.02704, "lower", ("+2.702 %", "+2.704 %")),
        (0.05, 0.0266, "lower", ("+5.0 %", "+2.7 %")),
    ],
)
def test_a_limit_reads_on_its_own_side_of_the_change(
    change: float, limit: float, better: str, texts: tuple[str, str]
) -> None:
    verdict = Verdict.REGRESSED if abs(change) > limit else Verdict.UNCHANGED
    row = Comparison("s", "c", "m", verdict, "", change=Estimate.exact(change), limit=limit, better=better)
    assert (change_text(row), limit_text(row)) == texts


def test_one_weight_of_ten_million_is_a_change_beside_an_exact_limit() -> None:
    row = Comparison("s", "c", "parameters", Verdict.REGRESSED, "", change=Estimate.exact(1e-7), limit=0.0)
    assert (change_text(row), limit_text(row)) == ("+0.00001 %", "exact")
    assert change_text(dataclasses.replace(row, change=Estimate.exact(0.0))) == "0.00 %"


def test_a_run_that_could_compare_a_part_says_that_and_not_that_nothing_was_decided() -> None:
    run = sample_run(1, 2, samples=2)
    rows = tuple(
        Comparison(result.suite, result.case_id, metric, verdict, f"{metric}.")
        for result in run.results
        for metric, verdict in (("accuracy", Verdict.UNCHANGED), ("latency.p50", Verdict.INCOMPARABLE))
    )
    found = Overview(dataclasses.replace(run, comparisons=rows)).headline
    assert (found.state, found.sentence) == ("undecided", "What could be compared got no worse.")
    assert found.detail.startswith("2 of 4 comparisons were decided, and of no case all; 2 of 2 cases were measured")
    times = tuple(row for row in rows if row.metric == "latency.p50")
    assert Overview(dataclasses.replace(run, comparisons=times)).headline.sentence == "Nothing could be decided."


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"complete": False}, "the run was cut short"), ({"expected": 40}, "2 of 40 cases were measured")],
)
def test_a_run_that_did_not_come_to_all_its_cases_is_worth_a_second_look(changes: dict[str, Any], words: str) -> None:
    run = sample_run(1, 2, samples=2, mode="off")
    assert checks(Overview(run))[0].fine
    check = checks(Overview(dataclasses.replace(run, **changes)))[0]
    assert words in check.answer
    assert not check.fine


def test_what_could_not_be_compared_for_one_reason_is_said_once() -> None:
    run = sample_run(1, 2, samples=2)
    first, second = (result.case_id for result in run.results)
    elsewhere = "the baseline was made on another class of machine"
    told = [
        (first, "latency.p50", f"latency.p50: {elsewhere}"),
        (first, "speedup", f"speedup: {elsewhere}"),
        (second, "latency.p50", f"latency.p50: {elsewhere}"),
        (second, "memory.peak", "memory.peak: it was measured otherwise"),
        (second, "case", f"{second}: no metric has a limit"),
    ]
    rows = tuple(Comparison("digits", case, metric, Verdict.INCOMPARABLE, reason) for case, metric, reason in told)
    (check,) = (
        one for one in checks(Overview(dataclasses.replace(run, comparisons=rows))) if one.question == "Comparable"
    )
    assert check.answer == "5 of 5 comparisons could not be made:"
    assert check.more == (
        f"latency.p50, speedup: {elsewhere}",
        "memory.peak: it was measured otherwise",
        f"{second}: no metric has a limit",
    )
