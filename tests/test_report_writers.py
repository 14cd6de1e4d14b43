"""The summary, the terminal, JUnit properties and annotations; and one corpus of hostile names through all of them."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from harness.records import Outcome, Run, Verdict
from harness.report import comment
from harness.report.gains import answers, subjects
from harness.report.github import LIMIT, annotation_lines, prefix_of
from harness.report.html import render as render_page
from harness.report.junit import properties
from harness.report.overview import Overview, cases
from harness.report.reasons import MAX_NAMED, brief, said
from harness.report.record import read_run, write_run
from harness.report.summary import MAX_BYTES, escape, render
from harness.report.terminal import case_line, closing_lines, verdict_table
from harness.report.trust import checks
from harness.report.weight import comparisons_by_weight
from harness.report.write import draw
from tests.report_hostile import HOSTILE, hostile_run
from tests.report_samples import sample_run
from tests.test_report_history import past_of
from tests.test_report_html import Page, plain


@pytest.fixture(scope="module")
def run() -> Run:
    return sample_run(samples=4)


def unescaped(markdown: str) -> str:
    text = re.sub(r"\\([^a-z0-9\s])", r"\1", markdown).replace("\u2060", "")
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def test_the_summary_says_what_the_page_says(run: Run) -> None:
    text = unescaped(render(run))
    assert text.startswith("## ❌ 12 cases failed.\n\n3 got worse, 7 could not be measured")
    for failure in Overview(run).failures:
        assert said(failure) in text if failure.metric == "case" else failure.case_id in text
    assert "| ▼ regressed | digits/compiled/cpu | latency.p50 | 1.40 ms [1.39, 1.42] | 1.62 ms [1.60, 1.64] " in text
    assert "| +15.2 % [+13.4, +17.0] | +10.0 % |" in text
    assert "- digits on cpu: Fastest call with at most 0.2 points lost: onnxruntime" in text
    for view in cases(run):
        assert f"| {view.id} |" in text


def test_the_summary_names_the_worst_cases_right_below_the_verdict(run: Run) -> None:
    failing = Overview(run).failing
    named = [line for line in unescaped(render(run)).partition("### Why")[0].splitlines() if line.startswith("- ")]
    assert len(named) == MAX_NAMED + 1
    for line, one in zip(named[:-1], failing, strict=False):
        assert line.endswith(f" {one.worst.verdict.value} **{one.view.id}**: {brief(one.worst)}")
    assert named[-1] == f"- and {len(failing) - MAX_NAMED} more"


def test_the_summary_says_how_small_a_change_would_have_been_found_and_what_settles_it(run: Run) -> None:
    changed = with_cures(run)
    undecided = [c for c in changed.comparisons if c.verdict is Verdict.INCONCLUSIVE]
    lines = undecided_part(changed)
    assert len(undecided) == 2
    assert [line for line in lines if line.startswith("- ")] == [
        f"- **{c.case_id}**: {c.reason}" for c in comparisons_by_weight(undecided)
    ]
    assert CURE not in unescaped(comment.render(changed))
    many = tuple(dataclasses.replace(undecided[0], case_id=f"m{i}/reference/cpu") for i in range(MAX_NAMED + 2))
    lines = [line for line in undecided_part(dataclasses.replace(run, comparisons=many)) if line.startswith("- ")]
    assert len(lines) == MAX_NAMED + 1
    assert lines[-1] == "- and 2 more, which are in the report"


def test_the_summary_of_a_strict_run_says_what_settles_what_is_undecided(run: Run) -> None:
    """There it fails and stands under Why, where nothing told how small a change would have been found, or the cure."""
    strict = dataclasses.replace(with_cures(run), mode="strict")
    failing = unescaped(render(strict)).partition("### Why")[2].partition("###")[0].splitlines()
    undecided = [c for c in strict.comparisons if c.verdict is Verdict.INCONCLUSIVE]
    assert len(undecided) == 2
    told = [line for line in failing if line.startswith("- ")]
    assert sorted(told) == sorted(f"- **{c.case_id}**: {c.reason}" for c in undecided)


CURE = "This can't be decided: from +12.0 % on, a change would have been found. More launches settle it: pytest 'x'"


def with_cures(run: Run) -> Run:
    """The run with what its undecided comparisons end with."""
    rows = tuple(
        dataclasses.replace(c, reason=f"{c.reason} {CURE}") if c.verdict is Verdict.INCONCLUSIVE else c
        for c in run.comparisons
    )
    return dataclasses.replace(run, comparisons=rows)


def undecided_part(run: Run) -> list[str]:
    """The lines of the summary between the two headings."""
    return unescaped(render(run)).partition("### Could not be decided")[2].partition("###")[0].splitlines()


def test_the_summary_ends_no_sentence_in_its_middle(run: Run) -> None:
    """Names are as long as people make them; four sentences, or a knee, with some of them are beyond a cell's room."""
    long = tuple(
        dataclasses.replace(one, technique="+".join([one.technique, *["pruned_channels:0.5"] * 8]))
        if one.technique != "reference"
        else one
        for one in run.results
    )
    run = dataclasses.replace(run, results=long)
    text = unescaped(render(run))
    seen = Overview(run)
    told = [line for subject in subjects(seen.cases) for line in answers(subject, 0.002)]
    assert max(len(" ".join(answers(subject, 0.002))) for subject in subjects(seen.cases)) > 500
    assert [line for line in told if line not in text] == []
    trusted = text.partition("### Can it be trusted?")[2].partition("###")[0]
    more = [line for check in checks(seen) for line in check.more]
    assert more
    assert [line for line in more if f"\n  - {line}\n" not in trusted] == []


def test_the_summary_offers_to_accept_only_what_can_be_accepted(run: Run) -> None:
    assert "harness accept" not in render(run)  # the worst case crashed
    decided = tuple(r for r in run.results if r.outcome is Outcome.COMPLETED)
    ids = {r.case_id for r in decided}
    said_of_them = tuple(c for c in run.comparisons if c.case_id in ids)
    text = render(dataclasses.replace(run, results=decided, comparisons=said_of_them))
    case = "test_minilm/minilm/onnxruntime+int8_dynamic/cpu"
    assert f'harness accept --case {case} --from reports/{run.id} --reason "why this is right"' in text


def test_every_table_row_of_the_summary_has_the_columns_of_its_head() -> None:
    for run in (sample_run(samples=2), hostile_run()):
        columns = 0
        for line in render(run).splitlines():
            if not line.startswith("|"):
                columns = 0
                continue
            cells = len(re.findall(r"(?<!\\)\|", line)) - 1
            columns = columns or cells
            assert cells == columns, line


def test_a_large_summary_is_cut_and_says_so() -> None:
    run = sample_run(1, 4, samples=1)
    many = tuple(
        dataclasses.replace(c, case_id=f"{'m' * 150}/{i}", reason="r" * 300)
        for i in range(4000)
        for c in run.comparisons
        if c.verdict is Verdict.REGRESSED
    )
    text = render(dataclasses.replace(run, comparisons=many))
    assert 0.9 * MAX_BYTES < len(text.encode()) < 1_000_000
    assert re.search(r"\n\d+ further lines are left out here; the whole report is index\.html\.\n$", text)


def test_hostile_names_are_only_characters_in_markdown() -> None:
    for payload in HOSTILE:
        text = escape(payload)
        assert "\n" not in text
        assert not re.search(r"(?<!\\)[\\`*_{}\[\]()#!|~$](?![\\`*_{}\[\]()#!|~$])", text.replace("\\\\", "")), text
        assert "<" not in text
        assert "://" not in text
        assert "www." not in text.lower()
        assert not re.search(r"@\w", text)
        assert all(c.isprintable() or c == "\u2060" for c in text)
    assert escape("- item") == "\\- item"
    assert escape("1. item") == "\\1. item"
    assert escape("plain text, 2.3x") == "plain text, 2.3x"


def test_the_terminal_ends_with_reasons_and_the_verdict(run: Run) -> None:
    lines = closing_lines(run, width=110)
    assert lines[0].split() == ["verdict", "case", "speed-up", "p50", "accuracy", "memory", "size"]
    assert any(line.startswith("regressed     digits/compiled/cpu: latency.p50 1.62 ms [1.60, 1.64]") for line in lines)
    assert any(line.startswith("inconclusive  ") for line in lines)
    assert lines[-2].startswith("7 error, 1 invalid, 1 missing, 3 regressed, 2 inconclusive")
    assert lines[-1] == f"{Overview(run).headline.sentence} {Overview(run).headline.detail}"
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize(
    ("pins", "words"),
    [
        (
            "constraints.txt",
            "constraints.txt is not as in main, and both arms have the packages that are installed here",
        ),
        ("a.lock\nb.lock", "a.lock, b.lock are not as in main, and"),
        ("a.lock\nb.lock\nc.lock\nd.lock\ne.lock", "a.lock, b.lock, c.lock and 2 more are not as in main, and"),
    ],
)
def test_that_an_upgrade_was_not_compared_stands_beside_the_verdict(run: Run, pins: str, words: str) -> None:
    state = {**run.environment.state, "against": "main", "pins": pins}
    run = dataclasses.replace(run, environment=dataclasses.replace(run.environment, state=state))
    cure = "--against-with 'NAME==OLD' compares an upgrade."
    line = closing_lines(run, width=40)[-2]
    assert line.startswith(words)
    assert line.endswith(cure)
    assert_beside_the_verdict(line, run)


def test_that_a_commit_was_compared_with_itself_stands_beside_the_verdict(run: Run) -> None:
    state = {**run.environment.state, "against": "v1", "same": "v1"}
    run = dataclasses.replace(run, environment=dataclasses.replace(run.environment, state=state))
    line = closing_lines(run, width=40)[-2]
    assert line == "v1 is the commit that is measured, so nothing could be found."
    assert_beside_the_verdict(line, run)


def assert_beside_the_verdict(line: str, run: Run) -> None:
    assert line not in closing_lines(run, verbosity=-2)
    assert f"⚠️ {line}" in unescaped(render(run)).splitlines()[:6]
    page = plain(unescape(render_page(run).decode()))
    assert page.index(line) < page.index('<section id="')


@pytest.mark.parametrize("width", [200, 100, 80, 60, 40, 20])
def test_the_table_fits_into_the_terminal(run: Run, width: int) -> None:
    table = verdict_table(Overview(run), width)
    assert len(table) - 2 == sum(view.word != "skipped" for view in cases(run))
    assert table[-1] == "2 cases can't run here; the report has the reasons"
    assert all(len(line) <= width for line in table[:-1])
    assert all(line == line.rstrip() for line in table[1:])


def test_colour_only_adds_colour(run: Run) -> None:
    plain = closing_lines(run, colour=False)
    coloured = closing_lines(run, colour=True)
    assert [re.sub(r"\x1b\[[\d;]*m", "", line) for line in coloured] == plain
    assert sum("\x1b[31m" in line for line in coloured) > 10


def test_many_cases_are_counted_and_not_listed() -> None:
    run = sample_run(30, 10, samples=1)
    table = verdict_table(Overview(run))
    assert len(table) < 150
    assert re.fullmatch(r"\d+ further cases are in the report", table[-2])
    assert not any(line.startswith("unchanged") for line in table)


def test_a_line_for_each_case(run: Run) -> None:
    result = next(r for r in run.results if r.case_id == "digits/compiled/cpu")
    said = [c for c in run.comparisons if c.case_id == result.case_id]
    assert case_line(result, said, Verdict.REGRESSED) == "regressed    digits/compiled/cpu  1.31x  1.62 ms  98.60 %"
    assert case_line(result, (), Verdict.NEW).startswith("measured     digits/compiled/cpu")
    ended = next(r for r in run.results if r.outcome is Outcome.CRASHED)
    assert case_line(ended, ()) == (
        "error        silero/compiled/cpu  a serve child ended with a segmentation fault (signal 11)"
    )


def test_nothing_in_the_terminal_moves_the_cursor() -> None:
    run = hostile_run()
    for line in [*closing_lines(run, colour=False), *(case_line(r, ()) for r in run.results)]:
        assert line.isprintable()
    for line in closing_lines(run, colour=True):
        assert re.sub(r"\x1b\[[\d;]*m", "", line).isprintable()


def test_properties_carry_verdict_and_metrics(run: Run) -> None:
    result = next(r for r in run.results if r.case_id == "digits/compiled/cpu")
    found = dict(properties(result, [c for c in run.comparisons if c.case_id == result.case_id]))
    assert found["harness.verdict"] == "regressed"
    assert found["harness.outcome"] == "completed"
    assert float(found["harness.latency.p50"]) == pytest.approx(1.618e-3, abs=1e-6)
    assert found["harness.latency.p50.verdict"] == "regressed"
    assert float(found["harness.latency.p50.change"]) == pytest.approx(0.152)
    ended = next(r for r in run.results if r.outcome is Outcome.OOM)
    failed = dict(properties(ended, ()))
    assert (failed["harness.verdict"], failed["harness.outcome"]) == ("error", "oom")
    assert failed["harness.reason"] == ended.reason
    assert "harness.accuracy" not in failed


def test_properties_are_valid_xml_by_pytests_own_writer(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(
        "from harness.report.junit import properties\n"
        "from tests.report_hostile import hostile_run\n"
        "def test_one(request):\n"
        "    for result in hostile_run().results:\n"
        "        request.node.user_properties.extend(properties(result, ()))\n"
    )
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {Path(__file__).parents[1]}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--junitxml=out.xml", "-q"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    tree = ElementTree.parse(tmp_path / "out.xml")
    values = [p.attrib["value"] for p in tree.iter("property")]
    assert f"{HOSTILE[0]}.py" in values
    assert "nul\\x00byte.py" in values


def test_a_consumers_parser_reads_verdicts_from_the_junit_file(tmp_path: Path) -> None:
    """`junitparser` is what published actions read JUnit files with."""
    junitparser = pytest.importorskip("junitparser", reason="no junitparser here; pip install junitparser")
    (tmp_path / "test_one.py").write_text(
        "import pytest\n"
        "from harness.report.junit import properties\n"
        "from tests.report_samples import sample_run\n"
        "RUN = sample_run(samples=5)\n"
        "@pytest.mark.parametrize('result', RUN.results, ids=lambda result: result.case_id)\n"
        "def test_one(request, result):\n"
        "    said = [c for c in RUN.comparisons if c.case_id == result.case_id]\n"
        "    request.node.user_properties.extend(properties(result, said))\n"
        "    assert not any(c.verdict.fails(strict=False) for c in said), said[0].reason\n"
    )
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {Path(__file__).parents[1]}\n")
    subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--junitxml=out.xml", "-q"],
        cwd=tmp_path,
        capture_output=True,
        timeout=120,
        check=False,
    )
    cases = {case.name: case for suite in junitparser.JUnitXml.fromfile(str(tmp_path / "out.xml")) for case in suite}
    case = cases["test_one[digits/compiled/cpu]"]
    assert any(isinstance(found, junitparser.Failure) for found in case.result)

    def properties_of(one: Any) -> dict[str, str]:
        return {item.name: item.value for item in one.child(junitparser.Properties)}

    found = properties_of(case)
    assert found["harness.verdict"] == "regressed"
    assert float(found["harness.latency.p50.change"]) == pytest.approx(0.152)
    assert all(properties_of(one)["harness.verdict"] for one in cases.values())


def test_annotations_are_few_and_point_to_the_suite(run: Run) -> None:
    lines = annotation_lines(run)
    assert len(lines) == LIMIT
    assert lines[0].startswith("::error file=suites/test_magika.py,title=error%3A magika/distilled%3Astudent")
    more = len(Overview(run).failures) - LIMIT + 1
    assert lines[-1] == f"::error title=harness::{more} more failures are in the report."
    assert annotation_lines(dataclasses.replace(run, results=(), comparisons=())) == []


def test_annotations_of_a_project_in_a_folder_point_to_where_it_lies_in_the_repository(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitHub looked for them at its top, where no such file is. A repository may be a folder of the job's workspace."""
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    top = tmp_path / "repository"
    (top / "teams" / "own").mkdir(parents=True)
    (tmp_path / "link").symlink_to(top)
    (top / ".git").write_text("gitdir: elsewhere\n")  # as of a worktree
    assert prefix_of(top / "teams" / "own") == prefix_of(tmp_path / "link" / "teams" / "own") == "teams/own/"
    assert prefix_of(top) == ""
    (top / ".git").unlink()
    assert prefix_of(top / "teams") == "repository/teams/", "checked out without git"
    assert prefix_of(tmp_path) == prefix_of(tmp_path.parent) == ""
    monkeypatch.delenv("GITHUB_WORKSPACE")
    assert prefix_of(top / "teams") == ""
    first = annotation_lines(run, prefix="teams/own/")[0]
    assert first.startswith("::error file=teams/own/suites/test_magika.py,title=error%3A ")


def test_no_name_becomes_a_workflow_command() -> None:
    for line in annotation_lines(hostile_run(), limit=100):
        assert line.isprintable()
        head, title, message = re.fullmatch(r"::error (file=[^:,]*,)?title=([^:,]*)::(.*)", line).groups()
        assert message.startswith("It got worse: ")
        assert "%" not in re.sub(r"%(25|0A|0D|3A|2C)", "", f"{head}{title}{message}")


def test_all_reports_are_written_and_the_record_comes_back(run: Run, tmp_path: Path) -> None:
    for each in (run, hostile_run(), dataclasses.replace(run, results=(), comparisons=(), complete=False)):
        paths = [write_run(each, tmp_path / "out"), *draw(each, tmp_path / "out")]
        assert [path.name for path in paths] == ["run.json", "index.html", "summary.md"]
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["index.html", "run.json", "summary.md"]
        assert read_run(tmp_path / "out") == each
        assert paths[1].read_text(encoding="utf-8").endswith("</html>")
        assert paths[2].read_text(encoding="utf-8").endswith("\n")


def test_a_case_whose_id_two_suites_have_is_named_with_its_suite_everywhere() -> None:
    run = sample_run(1, 4, samples=2)
    regressed = "digits/compiled/cpu"
    command = f"pytest 'suites/test_digits.py::test_inference[{regressed}]' --plan confirm=8"
    told = tuple(
        dataclasses.replace(one, reason=f"{one.reason} More launches settle it: {command}")
        if one.case_id == regressed
        else one
        for one in run.comparisons
    )
    run = dataclasses.replace(run, comparisons=told)
    twins = tuple(dataclasses.replace(one, suite="test_other") for one in run.results)
    rows = tuple(dataclasses.replace(one, suite="test_other") for one in run.comparisons)
    both = dataclasses.replace(run, results=(*run.results, *twins), comparisons=(*run.comparisons, *rows))
    page = Page(render_page(both, past_of(both, moved=True)))
    texts = {
        "page": plain(page.text),
        "summary": unescaped(render(both)),
        "comment": unescaped(comment.render(both)),
        "terminal": "\n".join(closing_lines(both)),
        "github": "\n".join(annotation_lines(both, 100)),
    }
    for writer, text in texts.items():
        for suite in ("test_digits", "test_other"):
            assert f"{suite}/{regressed}" in text, writer
        # Commands and node ids have it in brackets or behind its suite.
        assert not re.search(rf"(?<![/\[]){regressed}", text), writer
    assert f"test_other/{regressed}" in page.texts["span"], "the line of the case, by whose words the filter finds it"
    assert command in texts["terminal"], "a command that would find no test under the label"
    assert re.search(rf"regressed +test_digits/{regressed}: latency\.p50 ", texts["terminal"])
    for text in (texts["page"], texts["summary"]):
        assert "test_other/digits on cpu" in text or "test_other/digits cpu" in text
    assert "test_other/digits: accuracy against latency" in texts["page"]
    alone = unescaped(render(run))
    assert f"| {regressed} |" in alone
    assert "test_digits/digits on cpu" not in alone
    lines = "\n".join(closing_lines(run))
    assert re.search(rf"regressed +{regressed}: latency\.p50 .* settle it: {re.escape(command)}", lines)
