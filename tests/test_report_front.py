"""Where techniques stand between time and accuracy, and from where they have come."""

from __future__ import annotations

import dataclasses
import re

import pytest

from harness.records import Comparison, Estimate, Measurement, Run, Verdict
from harness.report.gains import Point, Subject, answers, front, points_of, subjects
from harness.report.html import render
from harness.report.html.cases import anchor
from harness.report.html.front import pareto, since
from harness.report.html.sections import Cell, gain_maps
from harness.report.overview import Overview, cases
from harness.units import quantity
from tests.report_samples import sample_run
from tests.test_report_html import Page, plain

SUITE, CASE = "test_digits", "digits/bf16/cpu"


def a_run(*comparisons: Comparison) -> Run:
    return dataclasses.replace(sample_run(1, 3, samples=2), comparisons=comparisons)


def judged(metric: str, verdict: Verdict, change: float | None = None, *, baseline: float | None = None) -> Comparison:
    estimates = [None if value is None else Estimate(value, value, value) for value in (baseline, change)]
    return Comparison(SUITE, CASE, metric, verdict, f"{metric} moved.", baseline=estimates[0], change=estimates[1])


def the_point(run: Run) -> Point:
    (subject,) = subjects(cases(run))
    return next(point for point in points_of(subject) if point.view.id == CASE)


@pytest.mark.parametrize(
    ("comparisons", "slower", "accuracy"),
    [
        ([judged("latency.p50", Verdict.REGRESSED, 0.25)], 1.25, None),
        ([judged("latency.p50", Verdict.IMPROVED, -0.2)], 0.8, None),
        ([judged("speedup", Verdict.REGRESSED, -0.2)], 1.25, None),
        # Both say the same thing; the time is what the picture shows.
        ([judged("speedup", Verdict.REGRESSED, -0.3), judged("latency.p50", Verdict.REGRESSED, 0.25)], 1.25, None),
        ([judged("speedup", Verdict.REGRESSED, -0.2), judged("latency.p50", Verdict.INCOMPARABLE)], 1.25, None),
        ([judged("accuracy", Verdict.REGRESSED, -0.01, baseline=0.75)], 1.0, 0.75),
        (
            [judged("latency.p50", Verdict.IMPROVED, -0.5), judged("accuracy", Verdict.IMPROVED, 0.1, baseline=0.5)],
            0.5,
            0.5,
        ),
    ],
)
def test_an_arrow_comes_from_where_a_case_was_accepted(
    comparisons: list[Comparison], slower: float, accuracy: float | None
) -> None:
    point = the_point(a_run(*comparisons))
    assert point.was is not None
    assert point.was[0] == pytest.approx(point.latency / slower)
    assert point.was[1] == (point.accuracy if accuracy is None else accuracy)


@pytest.mark.parametrize(
    "comparison",
    [
        judged("latency.p50", Verdict.UNCHANGED, 0.04, baseline=0.5),
        judged("latency.p50", Verdict.INCONCLUSIVE, 0.2, baseline=0.5),
        judged("latency.p50", Verdict.INCOMPARABLE),
        judged("latency.p50", Verdict.REGRESSED, -1.0),
        judged("speedup", Verdict.IMPROVED, -1.0),
        judged("latency.p50", Verdict.REGRESSED, float("inf")),
        judged("size", Verdict.REGRESSED, 0.5, baseline=1.0),
    ],
)
def test_what_was_not_judged_to_have_moved_has_no_arrow(comparison: Comparison) -> None:
    run = a_run(comparison)
    assert the_point(run).was is None
    assert 'class="arrow"' not in render(run).decode()


def test_a_speed_up_that_its_reference_moved_moves_no_time() -> None:
    held = judged("latency.p50", Verdict.UNCHANGED, 0.01), judged("speedup", Verdict.IMPROVED, 0.25)
    assert the_point(a_run(*held)).was is None


def test_a_move_that_reads_the_same_on_both_sides_is_none() -> None:
    point = the_point(a_run(judged("latency.p50", Verdict.REGRESSED, 0.25)))
    nearly = dataclasses.replace(point, was=(point.latency * 1.25, point.accuracy * (1 - 1e-7)))
    assert since([nearly]).count(" to ") == 1
    assert since([dataclasses.replace(nearly, was=(point.latency, point.accuracy * (1 - 1e-7)))]) == ""


def test_the_picture_has_the_arrow_and_a_sentence_says_the_same() -> None:
    run = a_run(judged("latency.p50", Verdict.REGRESSED, 1.0), judged("accuracy", Verdict.REGRESSED, baseline=0.995))
    point = the_point(run)
    sentence = since([point])
    assert sentence.startswith("bf16 went from ")
    assert sentence.endswith(" %.")
    assert " and from 99.50 % to " in sentence
    data = render(run)
    assert data.decode().count('class="arrow"') == 1
    page = Page(data)
    assert sentence in plain(page.text)
    assert any(sentence in plain(words) for words in page.texts["desc"])


def the_case(run: Run) -> str:
    """The section of the case that the comparisons are of."""
    text = render(run).decode()
    start = text.index(f'id="{anchor(SUITE, CASE)}"')
    return text[start : text.index("</details>", text.index("Call times", start))]


def test_the_distribution_has_the_baseline_s_median_at_today_s_speed() -> None:
    run = a_run(judged("latency.p50", Verdict.UNCHANGED, 0.04, baseline=99.0))
    now = the_point(run).latency
    assert f"the baseline&#39;s median would be {quantity(now / 1.04, 's')} now" in the_case(run).replace("&nbsp;", " ")
    assert the_case(run).count("line baseline") == 2, "in the picture, and in its legend"
    for change in (-1.0, float("nan")):
        assert "line baseline" not in the_case(a_run(judged("latency.p50", Verdict.REGRESSED, change)))


def test_in_turns_with_another_tree_its_calls_have_a_curve_of_their_own() -> None:
    run = a_run(judged("latency.p50", Verdict.UNCHANGED, 0.04))
    results = []
    for result in run.results:
        launches = tuple(
            dataclasses.replace(one, samples={**one.samples, "previous": one.samples["candidate"]})
            for one in result.launches
        )
        results.append(dataclasses.replace(result, launches=launches))
    section = the_case(dataclasses.replace(run, results=tuple(results)))
    assert "line previous" in section
    assert "line thin previous" in section
    assert "line baseline" not in section, "what it is compared with is drawn"
    assert re.search(r"previous: half of the calls within", section)
    assert '<th scope="row">previous</th>' in section


def test_calls_of_a_batch_are_not_held_against_single_ones() -> None:
    """At 5.1x the speed a call of 32 items is the longer one by far: its curve lies to the right."""
    text = plain(render(sample_run(1, 10, samples=5)).decode())

    def section(case_id: str) -> str:
        start = text.index(f'<details class="case" id="{anchor(SUITE, case_id)}"')
        return text[start : text.index("Measurements", start)]

    told = (
        "A call of the candidate holds 32 items, and one of the reference 1: curves, times and quantiles of calls do "
        "not tell which is faster. The speed-up, which is that of an item, does."
    )
    batched, single = section("digits/batched:32+onnxruntime/cpu"), section("digits/onnxruntime/cpu")
    assert f'<p class="small">{told}</p>' in batched
    assert re.search(rf"<desc[^>]*>[^<]*\. {re.escape(told)}</desc>", batched), "for who hears the picture"
    assert "left is faster" not in batched
    assert told not in single
    assert "Steeper is steadier, left is faster." in single
    # A reference that was not selected took its turns all the same, one item a call.
    run = sample_run(1, 10, samples=5)
    text = plain(render(dataclasses.replace(run, results=run.results[-1:])).decode())
    assert told in section("digits/batched:32+onnxruntime/cpu")


def test_memory_is_the_same_kind_for_all_cases_of_a_model() -> None:
    """In a container only torch tells what it holds of the GPU, and that is less than any process takes of the host."""
    subject = subjects(cases(sample_run(1, 6, samples=2)))[0]

    def measuring(*metrics: tuple[str, ...]) -> Subject:
        """The same model with these metrics in each case, a megabyte apart."""
        views = []
        for number, (view, own) in enumerate(zip(subject.cases, metrics, strict=True), start=1):
            assert view.result is not None
            added = tuple(Measurement(name, Estimate.exact(number * 1e6), (number * 1e6,)) for name in own)
            measurements = (*view.result.measurements, *added)
            views.append(dataclasses.replace(view, result=dataclasses.replace(view.result, measurements=measurements)))
        return dataclasses.replace(subject, cases=tuple(views))

    def peaks(subject: Subject) -> list[float]:
        return [found.point for view in subject.cases if (found := view.estimate("memory.peak"))]

    torch, torch_alone = ("gpu_memory.reserved",), ("gpu_memory.process", "gpu_memory.reserved")
    mixed = measuring(torch, torch, torch, torch, (), ())
    assert [point.memory for point in points_of(mixed)] == peaks(mixed)
    assert "Least memory, accuracy kept: onnxruntime+int8_dynamic, 20.9 MiB." in answers(mixed, 0.02)
    every = measuring(torch_alone, torch, torch, torch, torch, torch)
    assert [point.memory for point in points_of(every)] == [1e6, 2e6, 3e6, 4e6, 5e6, 6e6]
    # The host's is the memory of each case's line: the GPU's is called by its name wherever it stands.
    assert "Least GPU memory, accuracy kept: reference, 977 KiB." in answers(every, 0.02)
    for subject, words in ((mixed, "memory"), (every, "GPU memory")):
        results = tuple(view.result for view in subject.cases if view.result)
        page = render(dataclasses.replace(sample_run(1, 6, samples=2), results=results, comparisons=())).decode()
        gains, fronts = (
            page.partition(f'<section id="{one}"')[2].partition("</section>")[0] for one in ("gains", "fronts")
        )
        assert f'<th scope="col" class="r">{words}</th>' in fronts
        assert f"the area of a mark is its {words}, from a least size on;" in fronts
        assert set(re.findall("<small>(.*?)</small>", gains)) == {words, "accuracy"}
    # What has neither a time nor an accuracy stands in no picture and decides nothing.
    first, second, *rest = every.cases
    assert second.result is not None
    untimed = dataclasses.replace(second, result=dataclasses.replace(second.result, measurements=()))
    less = dataclasses.replace(every, cases=(first, untimed, *rest))
    assert [point.memory for point in points_of(less)] == [1e6, 3e6, 4e6, 5e6, 6e6]


def valued(subject: Subject, *rows: dict[str, float]) -> Subject:
    """The model with these values alone in its cases, one after the other."""
    views = []
    for view, row in zip(subject.cases, rows, strict=True):
        assert view.result is not None
        measurements = tuple(Measurement(name, Estimate.exact(value), (value,)) for name, value in row.items())
        views.append(dataclasses.replace(view, result=dataclasses.replace(view.result, measurements=measurements)))
    return dataclasses.replace(subject, cases=tuple(views))


def test_what_was_slower_in_turns_is_not_shipped_for_its_better_minute() -> None:
    (subject,) = subjects(cases(sample_run(1, 2, samples=2)))
    reference = {"latency.p50": 1.78e-3, "throughput": 560.0, "accuracy": 0.98}
    slower = {"latency.p50": 1.69e-3, "throughput": 590.0, "accuracy": 0.98}
    paired = valued(subject, reference, {**slower, "speedup": 0.97})
    (said,) = answers(paired, 0.002)
    assert said.startswith("Fastest call with at most 0.2 points lost: reference, 1.78 ms, ")
    assert [point.technique for point in front(points_of(paired))] == ["reference"]
    assert [point.order for point in points_of(paired)] == pytest.approx([1, 1 / 0.97])
    # Where a case has no speed-up, as in turns with another tree, the seconds are all there is.
    alone = valued(subject, reference, slower)
    assert [point.order for point in points_of(alone)] == [1.78e-3, 1.69e-3]
    assert answers(alone, 0.002)[0].startswith("Fastest call with at most 0.2 points lost: bf16, 1.69 ms, ")
    assert len(answers(alone, 0.002)) == 1, "it serves most as well"


@pytest.mark.parametrize(("slack", "lost"), [(0.002, "more than 0.2 points"), (0.0, "some of it")])
def test_that_none_keeps_the_accuracy_is_said_and_the_quickest_named(slack: float, lost: str) -> None:
    """Beside a reference whose test failed the page said that it was not measured, and the summary nothing."""
    (subject,) = subjects(cases(sample_run(1, 2, samples=2)))
    reference = {"latency.p50": 1.8e-3, "accuracy": 0.98}
    first, second = valued(subject, reference, {"latency.p50": 0.9e-3, "accuracy": 0.9, "speedup": 2.0}).cases
    failed = Comparison(first.suite, first.id, "case", Verdict.ERROR, f"{first.id}: the test failed")
    subject = dataclasses.replace(subject, cases=(dataclasses.replace(first, comparisons=(failed,)), second))
    assert answers(subject, slack) == (
        f"None whose numbers count keeps the accuracy: each loses {lost}.",
        "Fastest call at any loss: bf16, 900 µs, 2.00x the reference's speed, accuracy -8.00 pt.",
    )


def test_a_batch_is_ranked_by_its_call_and_serves_by_its_items() -> None:
    """A speed-up is that of an item: 32 of them at 4x the speed take eight times as long as one."""
    (subject,) = subjects(cases(sample_run(1, 10, samples=2)))
    subject = dataclasses.replace(subject, cases=(subject.cases[0], subject.cases[4], subject.cases[9]))
    reference = {"latency.p50": 1e-3, "throughput": 1000.0, "accuracy": 0.98}
    single = {"latency.p50": 0.5e-3, "throughput": 2000.0, "accuracy": 0.98, "speedup": 2.0}
    batch = {"latency.p50": 8e-3, "throughput": 1900.0, "accuracy": 0.98, "speedup": 4.0}
    paired = valued(subject, reference, single, batch)
    assert [point.order for point in points_of(paired)] == pytest.approx([1, 0.5, 8])
    fastest, most = answers(paired, 0.0)
    assert fastest.startswith("Fastest call with no accuracy lost: onnxruntime, ")
    assert most.startswith("Most items a second, accuracy kept: batched:32+onnxruntime, 1,900 items/s")


def test_the_stairs_of_the_front_never_go_back() -> None:
    """By its seconds one of the front may lie behind another; the line leaves it out, and its mark stays."""
    (subject,) = subjects(cases(sample_run(1, 3, samples=2)))
    rows = [(1.78e-3, 0.98, None), (1.69e-3, 0.97, 1.01), (1.60e-3, 0.975, 1.005)]
    values = [
        {"latency.p50": latency, "accuracy": accuracy, **({"speedup": speed} if speed else {})}
        for latency, accuracy, speed in rows
    ]
    points = points_of(valued(subject, *values))
    best = front(points)
    assert [point.accuracy for point in best] == [0.97, 0.975, 0.98]
    drawn = str(pareto("key", "digits", points, best, {point.view.id: "link" for point in points}))
    (stairs,) = re.findall(r'class="front" d="M([^"]*)"', drawn)
    across = [float(corner.split()[0]) for corner in stairs.split("L")]
    assert across == sorted(across)
    assert len(across) == 4, "two corners, the step between them, and the end"
    assert drawn.count("mark best") == 3


def test_the_area_of_a_mark_is_its_memory() -> None:
    (subject,) = subjects(cases(sample_run(1, 3, samples=2)))
    values = {"latency.p50": 1e-3, "accuracy": 0.98}
    memories = (400.0, 100.0, 0.001)
    points = points_of(valued(subject, *({**values, "memory.peak": memory * 2**20} for memory in memories)))
    drawn = str(pareto("key", "digits", points, front(points), {point.view.id: "link" for point in points}))
    most, quarter, least = (float(found) for found in re.findall(r'<circle [^>]*\br="([^"]*)"', drawn))
    assert most == 2 * quarter
    assert 0 < least < quarter, "what needs next to nothing is to be seen"


def test_no_accuracy_above_all_answers_is_on_the_axis() -> None:
    (subject,) = subjects(cases(sample_run(1, 2, samples=2)))
    points = points_of(valued(subject, *({"latency.p50": latency, "accuracy": 0.986} for latency in (1e-3, 2e-3))))
    drawn = str(pareto("key", "digits", points, front(points), {point.view.id: "link" for point in points}))
    ticks = [float(text) for text in re.findall(r'class="tick"[^>]*>([^<]*) %<', drawn)]
    assert 94 <= min(ticks) < max(ticks) == 100


def test_the_gain_map_compares_memory_of_one_kind() -> None:
    run = sample_run(1, 6, samples=2)
    held = Measurement("gpu_memory.reserved", Estimate.exact(2e6), (2e6,))

    def cells(told: int) -> list[Cell]:
        """Those of the map where so many of the cases tell what they hold of the GPU."""
        results = [dataclasses.replace(one, measurements=(*one.measurements, held)) for one in run.results[:told]]
        (found,) = gain_maps(Overview(dataclasses.replace(run, results=(*results, *run.results[told:]))))
        return [cell for _, row in found.rows for cell in row]

    def said(told: int) -> list[tuple[object, ...]]:
        return [(cell.gains, cell.values) for cell in cells(told)]

    assert said(4) == said(0), "the host's, which is known of all"
    reference, *others = cells(6)
    assert "1.91 MiB" in reference.values
    assert {gain.text for cell in others for gain in cell.gains if gain.name == "memory"} == {"1.00x"}
