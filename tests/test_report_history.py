"""The history in the report: what is drawn, what is said, and how large it gets."""

from __future__ import annotations

import dataclasses
import random
from datetime import UTC, datetime, timedelta

import pytest

from harness.records import Run, Verdict
from harness.report.html import render
from harness.report.html.cases import anchor
from harness.report.html.history import MAX_MOVED, MAX_ROWS, histories
from harness.report.overview import cases
from harness.report.past import LAST, Change, Level, Past, Point, Series
from tests.report_hostile import HOSTILE
from tests.report_samples import sample_run
from tests.test_report_html import Page, plain

COUNT = 18


def a_series(suite: str, case_id: str, metric: str = "latency.p50", *, moved: bool = True, text: str = "") -> Series:
    rng = random.Random(ascii(f"{suite}/{case_id}"))
    values = [(0.0014 if moved and i >= 10 else 0.0012) * rng.lognormvariate(0, 0.01) for i in range(COUNT)]
    points = tuple(
        Point(
            f"2026-04-{i + 1:02}_100000_7{text}", f"2026-04-{i + 1:02}T10:00:00+00:00", f"{i:040x}", i == 3,
            value, value * 0.98, value * 1.02, None, "unchanged",
        )
        for i, value in enumerate(values)
    )  # fmt: skip
    levels = (
        Level("2026-04-02T00:00:00+00:00", "abc1234", f"first baseline{text}", 0.0012),
        Level("2026-04-12T00:00:00+00:00", "abc1234", "more layers, and right", 0.0014),
    )
    changes = (Change(10, 0.0012, 0.0014, 0.167),) if moved else ()
    return Series(suite, case_id, metric, "s", "lower", "cpu-1", points, levels, changes)


def past_of(run: Run, *, moved: bool) -> Past:
    return Past({(v.suite, v.id): (a_series(v.suite, v.id, moved=moved),) for v in cases(run) if v.completed})


@pytest.fixture(scope="module")
def run() -> Run:
    return sample_run()


def test_a_page_without_a_past_has_no_section(run: Run) -> None:
    page = Page(render(run))
    assert page.find("section", id="history") == []
    assert "Over time" not in page.text
    assert "#history" not in page.attributes("href")


def test_what_moved_is_said_with_numbers_and_linked(run: Run) -> None:
    page = Page(render(run, past_of(run, moved=True)))
    assert len(page.find("section", id="history")) == 1
    assert "#history" in page.attributes("href")
    text = plain(page.text)
    assert "latency.p50 went from 1.20 ms to 1.40 ms (+16.7 %, for the worse) at run 2026-04-11_100000_7" in text
    assert "(commit 0000000000), 11 Apr 2026, 10:00 UTC." in text
    assert (
        f"looked for in the case's newest {LAST} runs up to this one (harness history --last N looks further)" in text
    )
    first = next(view for view in cases(run) if view.completed)
    assert f"#{anchor(first.suite, first.id)}" in page.attributes("href")


def test_a_case_has_picture_sentence_and_table(run: Run) -> None:
    page = Page(render(run, past_of(run, moved=True)))
    completed = sum(view.completed for view in cases(run))
    drawings = [title for title in page.texts["title"] if title == "latency.p50 over runs"]
    assert len(drawings) == completed
    text = plain(page.text)
    assert "accepted as baseline: more layers, and right" in text
    assert "4 Apr 2026, 10:00 UTC 0000000000 with uncommitted changes" in text
    assert "run 2026-04-11_100000_7; a new level begins" in text
    described = [d for d in page.texts["desc"] if d.startswith("latency.p50 went from")]
    assert len(described) == completed


def test_the_reason_of_the_baseline_in_force_stays_in_the_table(run: Run) -> None:
    """However many runs were made since it was accepted; what it took the place of goes with its runs."""
    view = next(view for view in cases(run) if view.completed)
    start = datetime(2026, 5, 1, tzinfo=UTC)
    days = [(start + timedelta(days=i)).isoformat() for i in range(MAX_ROWS + 10)]
    points = tuple(Point(f"r{i}", day, f"{i:040x}", False, 1.0, 1.0, 1.0) for i, day in enumerate(days))
    levels = (
        Level("2026-03-01T00:00:00+00:00", "a" * 40, "first baseline", 1.0),
        Level(days[2], "b" * 40, "in force where the table begins", 1.0),
        Level(days[30], "c" * 40, "accepted since", 1.0),
    )
    series = dataclasses.replace(a_series(view.suite, view.id), points=points, levels=levels)
    (found,) = histories(view, Past({(view.suite, view.id): (series,)}), "key", drawn=False)
    told = [row["what"] for row in found["rows"]]
    assert [what for what in told if what.startswith("run ")] == [
        f"run r{i}{'; a new level begins' if i == 10 else ''}" for i in reversed(range(10, MAX_ROWS + 10))
    ]
    accepted = [what for what in told if what.startswith("accepted")]
    assert accepted == ["accepted as baseline: accepted since", f"accepted as baseline: {levels[1].reason}"]
    assert told[-1] == accepted[-1]


def test_an_unchanged_case_has_a_sentence_alone(run: Run) -> None:
    page = Page(render(run, past_of(run, moved=False)))
    assert page.find("section", id="history") == []
    untold = {
        (view.suite, view.id)
        for view in cases(run)
        if view.completed and all(c.verdict is Verdict.UNCHANGED for c in view.comparisons if c.metric == "latency.p50")
    }
    drawings = [title for title in page.texts["title"] if title == "latency.p50 over runs"]
    assert len(drawings) == sum(view.completed for view in cases(run)) - len(untold)
    assert plain(page.text).count("latency.p50: 18 runs, from 1.1") == sum(view.completed for view in cases(run))


def test_notes_are_shown(run: Run) -> None:
    page = Page(render(run, Past(notes=("the history store sqlite:///x.db is damaged",))))
    assert "the history store sqlite:///x.db is damaged" in page.text


def test_hostile_words_stay_words(run: Run) -> None:
    series = {
        (view.suite, view.id): (a_series(view.suite, view.id, text="".join(HOSTILE)),)
        for view in cases(run)
        if view.completed
    }
    page = Page(render(run, Past(series, HOSTILE)))
    assert len(page.find("script")) == 1


def test_the_page_of_thousands_of_cases_keeps_its_size() -> None:
    large = sample_run(models=200, techniques=10, samples=8)
    data = render(large, past_of(large, moved=True))
    assert len(data) <= len(render(large)) + 50_000
    page = Page(data)
    assert f"{sum(view.completed for view in cases(large)) - MAX_MOVED} further metrics moved" in page.text
    assert plain(page.text).count("latency.p50 went from 1.20 ms to 1.40 ms") >= MAX_MOVED


def test_a_series_of_one_value_can_be_drawn(run: Run) -> None:
    first = next(view for view in cases(run) if view.completed)
    flat = a_series(first.suite, first.id)
    points = tuple(dataclasses.replace(p, value=0.0, low=0.0, high=0.0) for p in flat.points)
    page = render(run, Past({(first.suite, first.id): (dataclasses.replace(flat, points=points, levels=()),)}))
    assert b"over runs" in page
