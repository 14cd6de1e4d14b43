"""The commands that a report hands on do what they say, wherever and whenever they are given."""

from __future__ import annotations

import dataclasses

import pytest

from harness.records import Comparison, Outcome, Verdict
from harness.report.commands import accept_command, acceptable, go_on_command, prune_command, reproduce_command
from harness.report.comment import render as comment
from harness.report.html import render
from harness.report.overview import cases
from harness.report.summary import render as summary
from tests.report_samples import sample_run
from tests.test_report_html import Page, plain


@pytest.mark.parametrize(
    ("command", "source"),
    [
        ("pytest suites/", "--from reports/ID"),
        ("pytest suites/ --reports nightly/", "--from nightly/ID"),
        ("pytest --reports=a --reports 'my runs'", "--from 'my runs/ID'"),
        ("pytest --baselines=golden --reports /runs", "--from /runs/ID --baselines golden"),
        ("pytest 'unclosed --reports a", "--from reports/ID"),
        ("pytest --reports '$(reboot)'", "--from '$(reboot)/ID'"),
    ],
)
def test_the_run_that_is_shown_is_accepted_and_not_the_newest(command: str, source: str) -> None:
    run = dataclasses.replace(sample_run(1, 4, samples=2), id="ID", command=command)
    assert accept_command(run) == f'harness accept {source} --reason "why this is right"'
    one = f'harness accept --case test_digits/digits/compiled/cpu {source} --reason "why this is right"'
    assert accept_command(run, "test_digits/digits/compiled/cpu") == one
    text = plain(Page(render(run)).text)
    assert text.count(one) == 2, "in the card and in the section of the case"
    assert text.count(f"harness accept {source} ") == 1, "all of it"
    assert one in summary(run)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("pytest suites/", ""),
        ("pytest --baselines golden", " --baselines golden"),
        ("pytest --reports=out suites/ --baselines 'my golden'", " --from out/latest --baselines 'my golden'"),
    ],
)
def test_a_gone_case_is_pruned_from_the_baselines_of_the_run(command: str, options: str) -> None:
    """The page said `harness prune` wherever they lie, and that looked into the usual folders."""
    gone = Comparison("test_digits", "digits/gone/cpu", "case", Verdict.MISSING, "It is gone.")
    run = dataclasses.replace(sample_run(1, 1, samples=2), command=command, comparisons=(gone,))
    assert prune_command(run) == f"harness prune{options}"
    text = plain(Page(render(run)).text)
    assert f"If it was removed on purpose harness prune{options} " in text
    assert f"harness accept --case '*PART*' --from RUN{options.removeprefix(' --from out/latest')} --reason" in text


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("pytest suites/ --baselines golden", " --baselines golden"),
        (
            "pytest --baselines=golden --baseline-rev v1 --plan seconds=2",
            " --baselines=golden --baseline-rev v1 --plan seconds=2",
        ),
        ("pytest --baseline-rev '$(reboot)'", " --baseline-rev '$(reboot)'"),
        ("pytest --baseline strict --reports nightly", ""),
    ],
)
def test_a_case_is_judged_again_by_the_baselines_of_the_run(command: str, options: str) -> None:
    run = dataclasses.replace(sample_run(1, 1, samples=2), command=command)
    assert reproduce_command(run, "a.py::t") == f"pytest a.py::t --baseline=compare{options}"


def test_what_was_held_to_the_baselines_of_a_commit_is_not_accepted_and_not_pruned() -> None:
    run = dataclasses.replace(sample_run(1, 4, samples=2), command="pytest suites/")
    gone = Comparison("test_digits", "digits/gone/cpu", "case", Verdict.MISSING, "It is gone.")
    run = dataclasses.replace(run, comparisons=(*run.comparisons, gone))
    fixed = dataclasses.replace(run, command="pytest suites/ --baseline-rev v1.0")
    for one, offered in ((run, True), (fixed, False)):
        page = plain(Page(render(one)).text)
        for words in (
            "harness accept --case test_digits/",
            "harness accept --from",
            "harness accept --case '*PART*' --from RUN",
            "harness prune",
        ):
            assert (words in page) is offered
        assert ("harness accept" in summary(one)) is offered
        assert ("harness review" in comment(one)) is offered
        assert any(acceptable(one, view) for view in cases(one)) is offered
    assert "To measure the worst failure again:" in summary(fixed)


def test_what_was_judged_by_no_baseline_is_told_of_none() -> None:
    run = dataclasses.replace(sample_run(1, 1, samples=2, mode="off"), command="pytest --baselines golden --plan a=1")
    assert reproduce_command(run, "a.py::t") == "pytest a.py::t --baseline=off --plan a=1"


@pytest.mark.parametrize(
    ("options", "again"),
    [
        ("--max-size 1MB", " --max-size 1MB"),
        ("--resume --export best --suite-file=suites/test_best.py --budget 5m", " --budget 5m"),
        ("--budget 30m --resume --budget 1ms --export best", " --budget 30m"),
        ("--suite-file 'my best.py' --technique 'a=$(reboot)' --export=best", " --technique 'a=$(reboot)'"),
    ],
)
def test_what_a_search_tried_is_measured_again_by_the_search(options: str, again: str) -> None:
    """No test has the id under which a trial is kept, and pytest would find nothing."""
    run = sample_run(1, 3, samples=2, mode="off")
    results = tuple(dataclasses.replace(r, nodeid=f"suites/test_a.py::optimize[{r.case_id}]") for r in run.results)
    broken = (dataclasses.replace(results[0], outcome=Outcome.CRASHED, reason="it broke"), *results[1:])
    command = "harness optimize suites/test_a.py --model digits"
    run = dataclasses.replace(run, command=f"{command} {options}", results=broken)
    text = plain(Page(render(run)).text)
    assert text.count(f"Measure it again {command}{again} ") == 4, "a card and three cases"
    assert f"    {command}{again}\n" in summary(run)
    assert "pytest 'suites" not in text + summary(run)


def test_no_other_command_of_a_record_is_handed_on() -> None:
    for command in ("harness review", "curl example.org", "pytest harness optimize", ""):
        run = dataclasses.replace(sample_run(1, 1, samples=2), command=command)
        assert reproduce_command(run, "a.py::t").startswith("pytest a.py::t --baseline=")


@pytest.mark.parametrize(
    ("command", "again"),
    [
        ("pytest -k 'a or b' -m full suites/", "pytest -k 'a or b' -m full suites/ --resume --maxfail=0"),
        ("pytest -x --resume suites/", "pytest -x suites/ --resume --maxfail=0"),
        ("pytest '$(reboot)'", "pytest '$(reboot)' --resume --maxfail=0"),
        (
            "harness optimize a.py --budget 30m --resume --budget 1ms --export best",
            "harness optimize a.py --budget 30m --resume",
        ),
        ("harness review", ""),
        ("curl example.org", ""),
        ("pytest 'unclosed", ""),
        ("", ""),
    ],
)
def test_a_run_that_did_not_finish_goes_on_with_its_own_command(command: str, again: str) -> None:
    """Be it of a part of the suites, whose record does not say otherwise which."""
    run = dataclasses.replace(sample_run(1, 1, samples=2), command=command, complete=False)
    assert go_on_command(run) == again


def test_a_run_in_turns_does_not_go_on() -> None:
    """pytest refuses `--resume` beside `--against`."""
    run = dataclasses.replace(sample_run(1, 1, samples=2), command="pytest suites/ --against main", complete=False)
    assert not go_on_command(dataclasses.replace(run, environment=run.environment.saying({"against": "main"})))
