from __future__ import annotations

import pytest

from harness.judge import advice, case_verdict, missing
from harness.records import Comparison, Verdict
from tests.judge_samples import CASE, NODEID, a_portable


def row(verdict: Verdict, metric: str = "speedup", case_id: str = CASE) -> Comparison:
    return Comparison("digits", case_id, metric, verdict, "Because.")


def test_the_worst_verdict_of_a_case_stands() -> None:
    assert case_verdict([row(Verdict.IMPROVED), row(Verdict.REGRESSED), row(Verdict.UNCHANGED)]) is Verdict.REGRESSED
    assert case_verdict([row(Verdict.REGRESSED), row(Verdict.ERROR)]) is Verdict.ERROR


def test_a_case_without_comparisons_has_shown_nothing() -> None:
    assert case_verdict(()) is Verdict.INVALID


@pytest.mark.parametrize(
    ("verdict", "by_default", "strictly"),
    [
        (Verdict.UNCHANGED, True, True),
        (Verdict.IMPROVED, True, True),
        (Verdict.SKIPPED, True, True),
        (Verdict.NEW, True, False),
        (Verdict.INCOMPARABLE, True, False),
        (Verdict.INCONCLUSIVE, True, False),
        (Verdict.REGRESSED, False, False),
        (Verdict.MISSING, False, False),
        (Verdict.INVALID, False, False),
        (Verdict.ERROR, False, False),
    ],
)
def test_what_may_pass(verdict: Verdict, by_default: bool, strictly: bool) -> None:
    assert verdict.fails(strict=False) is not by_default
    assert verdict.fails(strict=True) is not strictly


def test_a_baseline_without_a_result_is_missing() -> None:
    here, gone = a_portable({}), a_portable({}, case_id="digits/bf16/cpu")
    other_suite = a_portable({}, suite="vision")
    found = missing([here, gone, other_suite], {("digits", CASE)})
    assert [(one.suite, one.case_id) for one in found] == [("digits", "digits/bf16/cpu"), ("vision", CASE)]
    assert {(one.metric, one.verdict) for one in found} == {("case", Verdict.MISSING)}
    assert "digits/bf16/cpu has a baseline (accepted 2026-01-01T00:00:00+00:00: first baseline)" in found[0].reason
    assert "harness prune" in found[0].reason


@pytest.mark.parametrize("verdict", [Verdict.REGRESSED, Verdict.MISSING, Verdict.INVALID, Verdict.ERROR])
def test_every_failure_comes_with_its_commands(verdict: Verdict) -> None:
    text = advice(row(verdict), NODEID)
    assert f"pytest '{NODEID}'" in text
    assert f"harness accept --case 'digits/{CASE}' --reason " in text, "the id alone may be another suite's too"


def test_numbers_that_do_not_count_can_only_be_accepted_once_they_do() -> None:
    assert "once it gives valid numbers" in advice(row(Verdict.INVALID), NODEID)
    assert "once" not in advice(row(Verdict.REGRESSED), NODEID)


def test_a_case_that_was_not_measured_is_allowed_to_be_unavailable() -> None:
    text = advice(row(Verdict.MISSING, "case"), NODEID)
    assert f"pytest '{NODEID}'; if it can't run here: --allow-unavailable='{CASE}'" in text
    assert "prune" not in text
    assert "accept" not in text


def test_other_folders_stand_in_the_commands() -> None:
    text = advice(row(Verdict.REGRESSED), NODEID, judging=["--baselines", "my own"], accepting=["--from", "$(reboot)"])
    assert f"reproduce: pytest '{NODEID}' --baselines 'my own'; if the change is right: " in text
    assert f"harness accept --case 'digits/{CASE}' --from '$(reboot)' --reason " in text


def test_a_hostile_id_stays_one_word_of_the_shell() -> None:
    text = advice(row(Verdict.REGRESSED, case_id="a'; rm -rf $HOME; '"), "x")
    assert """--case 'digits/a'"'"'; rm -rf $HOME; '"'"'' --reason""" in text
