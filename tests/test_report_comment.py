"""A comment is written only where somebody has something to do."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from harness.measure.sources import sources
from harness.records import Comparison, Estimate, Launch, Verdict
from harness.report import summary
from harness.report.comment import MARKER, MAX_CHARACTERS, render
from harness.report.overview import Overview
from harness.report.reasons import without_commands
from tests.cli_runs import a_case, a_run
from tests.report_hostile import hostile_run
from tests.report_samples import sample_run

CHANGE = Estimate(-0.2, -0.21, -0.19)


def said(verdict: Verdict, metric: str = "latency.p50") -> Comparison:
    return Comparison(
        "toys",
        "a/reference/cpu",
        metric,
        verdict,
        "a sentence",
        Estimate(1, 1, 1),
        Estimate(0.8, 0.8, 0.8),
        CHANGE,
        0.1,
        "s",
    )


def test_a_red_run_names_case_numbers_and_commands() -> None:
    text = render(sample_run(samples=5))
    assert text.startswith(f"{MARKER}\n### ❌ 12 cases failed.")
    assert "| ▼ regressed | digits/compiled/cpu |" in text
    assert "    pytest " in text
    assert "    harness review" in text


@pytest.mark.parametrize("measured", ["relative to the anchor", "in turns"])
@pytest.mark.parametrize("verdict", [Verdict.REGRESSED, Verdict.INCONCLUSIVE, Verdict.IMPROVED])
def test_a_change_of_ratios_is_said_to_be_one_beside_seconds_that_say_otherwise(
    verdict: Verdict, measured: str
) -> None:
    """On a machine that is faster than in the baseline's hours a slower case may take fewer seconds."""
    reason = f"latency.p50 12.0 ms against 13.0 ms: +20.0 % {measured}; limit +10.0 %."
    before, now, change = Estimate.exact(0.013), Estimate.exact(0.012), Estimate(0.2, 0.18, 0.22)
    row = dataclasses.replace(said(verdict), reason=reason, baseline=before, candidate=now, change=change)
    run = a_run([a_case("a")], comparisons=(row,))
    cells = f"| 13.0 ms | 12.0 ms | +20.0 % [+18.0, +22.0] {measured} |".replace("[", "\\[").replace("]", "\\]")
    assert (cells in render(run)) is (verdict is not Verdict.INCONCLUSIVE)
    assert (cells in summary.render(run)) is (verdict is not Verdict.IMPROVED)


def test_the_review_goes_by_the_baselines_of_the_run() -> None:
    run = a_run([a_case("a")], comparisons=(said(Verdict.REGRESSED),), command="pytest bench --baselines 'my golden'")
    assert "    harness review --baselines 'my golden'" in render(run)


def test_a_quiet_run_says_nothing() -> None:
    run = a_run([a_case("a")], comparisons=(said(Verdict.UNCHANGED),))
    assert render(run) == ""


@pytest.mark.parametrize("verdict", [Verdict.MISSING, Verdict.INVALID])
def test_a_metric_without_numbers_has_its_reason_and_the_comment_no_command_of_it(verdict: Verdict) -> None:
    """Beside four dashes nothing told why: that is in the reason alone."""
    why = "fidelity.error: the baseline has a value, and this run measured none"
    cure = "; if that is right: harness accept --case 'a/reference/cpu' --reason \"…\""
    row = Comparison("toys", "a/reference/cpu", "fidelity.error", verdict, f"{why}{cure}")
    run = a_run([a_case("a")], comparisons=(row,))
    dashes = "– | – | – | – |"
    assert f" {verdict.value} | a/reference/cpu | {why} | {dashes}" in render(run)
    assert "harness accept" not in render(run)
    assert f" {verdict.value} | a/reference/cpu | {why}{cure} | {dashes}" in summary.render(run)
    unnamed = dataclasses.replace(row, reason="Measured none. Measure again: pytest 'x'")
    text = render(dataclasses.replace(run, comparisons=(unnamed,)))
    assert f" {verdict.value} | a/reference/cpu | fidelity.error: Measured none | {dashes}" in text


@pytest.mark.parametrize("verdict", [Verdict.INCONCLUSIVE, Verdict.INCOMPARABLE])
def test_what_could_not_be_decided_asks_for_nothing_where_the_run_is_green(verdict: Verdict) -> None:
    """As on every pull request from a machine that has no times of its own, with the rest held."""
    run = a_run([a_case("a")], comparisons=(said(verdict), said(Verdict.UNCHANGED, "size")))
    assert Overview(run).headline.sentence == "What could be compared got no worse."
    assert render(run) == ""
    text = render(dataclasses.replace(run, mode="strict"))
    assert text.startswith(f"{MARKER}\n### ❌ Every case failed.")
    assert f"{verdict.value} | a/reference/cpu" in text


@pytest.mark.parametrize(("verdict", "mode"), [(Verdict.INVALID, "compare"), (Verdict.INCOMPARABLE, "strict")])
def test_numbers_of_other_work_or_that_can_not_be_are_no_reason(verdict: Verdict, mode: str) -> None:
    """Beside each other they looked like a loss, or like a gain."""
    row = dataclasses.replace(said(verdict), reason="latency.p50: these are times of other work", change=None)
    run = a_run([a_case("a")], comparisons=(row,), mode=mode)
    for text in (render(run), summary.render(run)):
        assert f" {verdict.value} | a/reference/cpu | latency.p50: these are times of other work | " in text
    assert "1.00 s -\\> 800 ms" not in summary.render(run)


def test_a_run_that_decided_nothing_is_red_and_told() -> None:
    run = a_run([a_case("a")], comparisons=(said(Verdict.INCONCLUSIVE),))
    undone = "nothing was decided: no selected case has a baseline; make one with: pytest suites/ --baseline=update"
    state = {**run.environment.state, "undone": undone}
    red = dataclasses.replace(run, environment=dataclasses.replace(run.environment, state=state))
    assert render(red).startswith(f"{MARKER}\n### ❌ The run failed.")
    assert "nothing was decided: no selected case has a baseline\n" in render(red).lower()
    assert "update" not in render(red)


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("a: it is gone; if that is right:\n harness prune", "a: it is gone"),
        ("a: it is gone;\nreproduce: pytest -p evil", "a: it is gone"),
        ("It is gone. Since v1.2, and: more: pytest -p evil", "It is gone"),
        ("Measure again: pytest -p evil", ""),
        ("pytest -p evil", ""),
        ("the test of pytest failed: it is gone", "the test of pytest failed: it is gone"),
        ("a: failed: its pytest ended with exit code 3", "a: failed: its pytest ended with exit code 3"),
    ],
)
def test_a_reason_ends_where_it_hands_on_a_command(reason: str, kept: str) -> None:
    assert without_commands(reason) == kept


@pytest.mark.parametrize("verdict", [Verdict.IMPROVED, Verdict.NEW])
def test_what_got_better_or_is_new_is_to_be_reviewed(verdict: Verdict) -> None:
    """The command accepted the whole run of a stranger at once, into a folder that their record named."""
    comparisons = (said(verdict), said(Verdict.UNCHANGED, "size"))
    text = render(a_run([a_case("a")], comparisons=comparisons, command="pytest suites/ --baselines evil"))
    assert f"{verdict.value} | a/reference/cpu" in text
    assert "\n    harness review --from reports/ci\n" in text
    assert "Download this run's report to `reports/ci` and accept what of it is right" in text
    assert "harness accept" not in text
    assert "evil" not in text


def test_what_is_downloaded_as_the_guide_does_it_is_no_source(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "ci-guide.md").read_text()
    folders = {*re.findall(r"--dir (\S+)", guide), *re.findall(r"--from ([^\s`]+)", guide)}
    assert folders == {"reports/ci"}, "as the comment says it"
    (tmp_path / "reports/ci").mkdir(parents=True)
    (tmp_path / "reports/ci/run.json").write_text("{}")
    assert list(sources(tmp_path)) == []


def test_in_turns_with_another_tree_there_is_nothing_to_accept() -> None:
    launch = Launch("screen", 10, 1.0, None, {"candidate": (0.01,)}, 1.0, 0.1, 1.0, against=0.8)
    case = dataclasses.replace(a_case("a"), launches=(launch,))
    assert render(a_run([case], comparisons=(said(Verdict.IMPROVED),))) == ""
    assert "harness review" not in render(a_run([case], comparisons=(said(Verdict.REGRESSED),)))


def test_nor_is_there_where_the_other_tree_lacks_every_case() -> None:
    here = a_run([]).environment
    there = dataclasses.replace(here, state={**here.state, "against": "main"})
    for verdict in (Verdict.NEW, Verdict.REGRESSED):
        run = a_run([a_case("a")], comparisons=(said(verdict),))
        assert "harness review" in render(run)
        assert "harness review" not in render(dataclasses.replace(run, environment=there))


def test_a_command_of_a_fork_installs_nothing_and_runs_no_other_interpreter() -> None:
    """Who reads a comment gives its command on their own machine, and it is drawn from what the fork's run has left."""
    usual = "pytest --against HEAD --plan a=1"
    run = a_run([a_case("a")], comparisons=(said(Verdict.REGRESSED),), command=usual)
    assert f"    pytest '{run.results[0].nodeid}' --baseline=compare --against REV --plan a=1\n" in render(run)
    for command in (
        f"{usual} --against-with 'torch @ https://evil/x'",
        f"{usual} --against-with=evil",
        f"{usual} --against-python ./evil",
        f"{usual} --at evil",
        f"{usual} --at=evil",
        f"{usual} --plan @evil",
        f"{usual} --plan -pevil",
        f"{usual} --baselines -cevil",
        "harness optimize reports/ci/evil.py --model a",
    ):
        # Nor a command without them, which would ask another question, and find nothing.
        text = render(dataclasses.replace(run, command=command))
        assert "a/reference/cpu" in text
        assert "evil" not in text
        assert "    pytest" not in text
        assert "The report has the commands" in text


@pytest.mark.parametrize("option", ["--against evil", "--against=evil"])
def test_a_command_of_a_fork_runs_the_code_of_no_commit_that_it_names(option: str) -> None:
    """The fork's own commit would have run in the other arm, and models are imported there."""
    run = a_run([a_case("a")], comparisons=(said(Verdict.REGRESSED),), command=f"pytest {option}")
    text = render(run)
    assert "    pytest" in text
    assert "evil" not in text
    assert "again (REV is the base of this pull request), and" in text
    assert "REV" not in render(dataclasses.replace(run, command="pytest --plan a=1"))


@pytest.mark.parametrize(
    "nodeid",
    ["-pevil", "--against-with=evil", "@evil", "Reports/ci/evil.py::test", "a/../evil.py::test", "/evil.py::test"],
)
def test_what_is_no_test_of_the_project_is_handed_on_in_no_command(nodeid: str) -> None:
    case = dataclasses.replace(a_case("a"), nodeid=nodeid)
    text = render(a_run([case], comparisons=(said(Verdict.REGRESSED),)))
    assert "a/reference/cpu" in text
    assert "evil" not in text
    assert "    pytest" not in text


def test_a_run_that_did_not_finish_is_never_silent() -> None:
    assert "The run did not finish" in render(a_run([a_case("a")], complete=False))
    new = a_run([a_case("a")], comparisons=(said(Verdict.NEW),))
    assert "harness review" in render(new)
    text = render(dataclasses.replace(new, complete=False))
    assert "The run did not finish" in text
    assert "harness review" not in text, "it would refuse every case"


def test_names_are_text_and_the_size_is_bounded() -> None:
    text = render(hostile_run())
    assert "<script" not in text
    assert "<img" not in text
    many = tuple(dataclasses.replace(said(Verdict.REGRESSED), case_id=f"{i}/{'x' * 400}/cpu") for i in range(5000))
    text = render(a_run([a_case("a")], comparisons=many))
    assert len(text) <= MAX_CHARACTERS + 1
    assert "4980 more are in the report." in text
