"""Batch scaling: which cases make a sweep, where its knee is, and how sure that is."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

import pytest

from harness.records import Estimate, Evidence, Measurement, Result, Run
from harness.report.batching import Sweep, knees, sentence, speed_tolerance, sweeps
from harness.report.gains import subjects
from harness.report.html import outputs, render
from harness.report.html.page import asset
from harness.report.overview import Overview, cases
from harness.report.summary import render as summary
from harness.report.terminal import closing_lines
from tests.report_samples import sample_run
from tests.test_report_html import Page, plain

SATURATING = {1: 1.0, 2: 1.6, 4: 2.4, 8: 3.0, 16: 3.4, 32: 3.47, 64: 3.46}
"""Speed by batch: from 16 on there is less than 5 % to gain."""


def step(sample: Result, technique: str, batch: int, speed: float, spread: float, launches: int = 3) -> Result:
    """A case that does `1000 * speed` items a second in calls of `batch`; half its interval is `spread`."""

    def sampled(value: float) -> Estimate:
        return Estimate(value, value / (1 + spread), value * (1 + spread), launches, 900)

    values = {"latency.p50": sampled(batch / (1000 * speed)), "throughput": sampled(1000 * speed)}
    if technique != "reference":
        values["speedup"] = sampled(speed)
    return dataclasses.replace(
        sample,
        case_id=f"digits/{technique}/cpu",
        technique=technique,
        measurements=tuple(Measurement(name, value, (value.point,)) for name, value in values.items()),
        evidence=tuple(
            Evidence(one, f"batch = {batch}" if "batched" in one or one == "reference" else "level = all", "", True)
            for one in technique.split("+")
        ),
        facts={"batch": batch},
    )


def run_of(*rows: tuple[str, int, float], spread: float = 0.005, launches: int = 3) -> Run:
    whole = sample_run(1, 1, samples=4, mode="off")
    results = tuple(step(whole.results[0], *row, spread, launches) for row in rows)
    return dataclasses.replace(whole, results=results, expected=len(results))


def unpaired(run: Run) -> Run:
    """The run where no reference took turns."""
    results = (
        dataclasses.replace(one, measurements=tuple(m for m in one.measurements if m.metric != "speedup"))
        for one in run.results
    )
    return dataclasses.replace(run, results=tuple(results))


def swept(speeds: Mapping[int, float], spread: float = 0.005, launches: int = 3) -> Sweep:
    rows = [(f"batched:{batch}" if batch > 1 else "reference", batch, speed) for batch, speed in speeds.items()]
    (sweep,) = found(run_of(*rows, spread=spread, launches=launches))
    return sweep


def found(run: Run) -> tuple[Sweep, ...]:
    (subject,) = subjects(cases(run))
    return sweeps(subject, speed_tolerance(run))


def batches(sweep: Sweep) -> tuple[int, int, int]:
    return sweep.earliest.batch, sweep.knee.batch, sweep.latest.batch


def test_the_knee_is_the_smallest_batch_within_the_tolerance_of_the_best() -> None:
    sweep = swept(SATURATING)
    assert batches(sweep) == (16, 16, 16)
    assert sentence(sweep) == (
        "Throughput stops growing at 16: 1.02x from 16 to 32, latency 1.96x. There it is 3,400 items/s, 3.40x that of "
        "1, at 4.71 ms a call."
    )


def test_the_tolerance_is_the_run_s_own_and_moves_the_knee() -> None:
    run = run_of(*((f"batched:{batch}", batch, speed) for batch, speed in SATURATING.items()))
    wide = tuple({**m, "tolerance": 0.15} if m["name"] == "speedup" else m for m in run.metrics)
    assert [sweep.knee.batch for sweep in found(run)] == [16]
    assert [sweep.knee.batch for sweep in found(dataclasses.replace(run, metrics=wide))] == [8]
    assert speed_tolerance(dataclasses.replace(run, metrics=())) == 0.05
    (suite,) = {result.suite for result in run.results}
    own = {**next(m for m in wide if m["name"] == "speedup"), "suite": suite}
    for name, batch in ((suite, 8), ("another", 16)):
        suites = dataclasses.replace(run, metrics=(*run.metrics, {**own, "suite": name}))
        assert [sweep.knee.batch for _, sweep, _ in knees(Overview(suites))] == [batch]


def test_where_the_tolerance_decides_the_sentence_names_it() -> None:
    rows = [("reference", 1, 1.0), *((f"batched:{n}", n, speed) for n, speed in ((2, 1.15), (4, 1.2), (8, 1.22)))]
    run = run_of(*rows)
    wide = tuple({**m, "tolerance": 0.25} if m["name"] == "speedup" else m for m in run.metrics)
    (sweep,) = found(dataclasses.replace(run, metrics=wide))
    assert sentence(sweep) == (
        "Within the tolerance of 25 % throughput does not grow with the batch: 1.15x from 1 to 2, latency 1.74x. "
        "The best beyond it is 8: 1.22x from 1 to 8, latency 6.56x."
    )
    (narrow,) = found(run)
    assert sentence(narrow).startswith("Throughput stops growing at 4: 1.02x from 4 to 8"), "nobody notices that"
    run = run_of(*((f"batched:{n}", n, speed) for n, speed in SATURATING.items()))
    (later,) = found(dataclasses.replace(run, metrics=wide))
    assert sentence(later).startswith("Within the tolerance of 25 % throughput stops growing at 8: 1.13x from 8 to 16")


def test_a_batch_at_the_very_edge_of_the_tolerance_is_within_it() -> None:
    assert swept({1: 1.0, 2: 1.902, 4: 2.0}).knee.batch == 2
    assert swept({1: 1.0, 2: 1.898, 4: 2.0}).knee.batch == 4


def test_many_small_steps_upward_are_not_a_knee_at_the_first() -> None:
    """Each doubling brings less than the tolerance, and all of them together a quarter."""
    sweep = swept({1: 1.0, 2: 1.045, 4: 1.09, 8: 1.14, 16: 1.19, 32: 1.245})
    assert sweep.knee.batch == 16


def test_wide_intervals_leave_a_range() -> None:
    sweep = swept(SATURATING, spread=0.1)
    assert batches(sweep) == (8, 16, 64)
    assert "By the intervals the knee lies between 8 and 64 or beyond; more launches would tell." in sentence(sweep)


def test_a_batch_that_a_smaller_one_is_shown_to_beat_is_not_the_knee() -> None:
    """As measured of a convolutional network whose larger batches leave the cache."""
    sweep = swept({1: 1.0, 2: 1.3, 4: 1.5, 8: 1.16, 16: 1.2, 32: 1.11, 64: 1.01}, spread=0.05)
    assert batches(sweep) == (4, 4, 4)
    wider = swept({1: 1.0, 2: 1.3, 4: 1.5, 8: 1.16, 16: 1.2, 32: 1.11, 64: 1.01}, spread=0.15)
    assert batches(wider) == (2, 4, 16)
    assert sentence(wider).endswith("By the intervals the knee lies between 2 and 16; more launches would tell.")


def test_one_launch_is_said_to_show_nothing_of_how_sure_it_is() -> None:
    sweep = swept(SATURATING, spread=0.0, launches=1)
    assert batches(sweep) == (1, 16, 64)
    assert sentence(sweep).endswith("One launch has no interval, so how sure that is can't be told.")


def test_where_it_still_grows_the_knee_lies_beyond() -> None:
    sweep = swept({1: 1.0, 2: 1.9, 4: 3.6})
    assert sweep.open_ended
    assert sentence(sweep).startswith(
        "Throughput still grows at 4, the largest batch measured: 1.89x from 2 to 4, latency 1.06x. The knee lies there"
    )


@pytest.mark.parametrize("speeds", [{1: 1.0, 2: 0.97, 4: 0.8, 8: 1.01}, {1: 1.0, 2: 0.9, 4: 0.8}])
def test_where_batching_brings_nothing_the_knee_is_one_item(speeds: Mapping[int, float]) -> None:
    sweep = swept(speeds)
    assert sweep.knee.batch == 1
    assert sentence(sweep).startswith("Throughput does not grow with the batch: 0.9")
    assert ("The best beyond it is 8: 1.01x from 1 to 8, latency 7.92x." in sentence(sweep)) == (8 in speeds)


def test_a_fall_after_the_best_is_told() -> None:
    sweep = swept({1: 1.0, 2: 1.7, 4: 2.0, 8: 1.4})
    assert batches(sweep) == (4, 4, 4)
    assert "Throughput stops growing at 4: 0.70x from 4 to 8, latency 2.86x." in sentence(sweep)


def test_runtimes_and_other_techniques_are_sweeps_of_their_own() -> None:
    rows: Sequence[tuple[str, int, float]] = [
        ("reference", 1, 1.0),
        ("onnxruntime", 1, 2.0),
        *((f"batched:{n}", n, 1 + n / 10) for n in (2, 4)),
        *((f"onnxruntime+batched:{n}", n, 2 + n / 10) for n in (2, 4)),
        *((f"onnxruntime+int8_static+batched:{n}", n, 3 + n / 10) for n in (1, 2, 4)),
        *((f"bf16+batched:{n}", n, 4 + n / 10) for n in (2, 4)),
    ]
    known = {sweep.pipeline: [one.batch for one in sweep.steps] for sweep in found(run_of(*rows))}
    assert known == {
        "reference": [1, 2, 4],
        "onnxruntime": [1, 2, 4],
        "onnxruntime+int8_static": [1, 2, 4],
    }


def test_what_was_measured_without_batching_stands_for_one_item() -> None:
    run = run_of(("batched:1", 1, 0.9), ("batched:2", 2, 1.5), ("reference", 1, 1.0), ("batched:4", 4, 2.0))
    (sweep,) = found(run)
    assert next(one.view.id for one in sweep.steps) == "digits/reference/cpu"


def test_without_a_reference_throughput_is_compared() -> None:
    (sweep,) = found(unpaired(run_of(*((f"batched:{batch}", batch, speed) for batch, speed in SATURATING.items()))))
    assert not sweep.paired
    assert sweep.knee.batch == 16
    assert sweep.knee.speed == sweep.knee.throughput


def test_numbers_that_are_none_are_left_out() -> None:
    assert [one.batch for one in swept({1: 1.0, 2: 1.5, 4: 1e-320, 8: 2.0, 16: 2.0}).steps] == [1, 2, 8, 16]


@pytest.fixture(scope="module")
def run() -> Run:
    rows = [
        (f"{before}batched:{n}", n, k * s)
        for before, k in (("", 1), ("onnxruntime+", 2))
        for n, s in SATURATING.items()
    ]
    return run_of(*rows)


def test_the_page_draws_both_pictures_with_sentence_and_table(run: Run) -> None:
    page = Page(render(run))
    assert page.find("section", id="batching")
    assert page.find("a", href="#batching")
    text = plain(page.text)
    assert "digits: batch scaling" in text
    assert "digits: latency against throughput" in text
    assert "onnxruntime: Throughput stops growing at 16: 1.02x from 16 to 32, latency 1.96x." in text
    assert "reference 16 ◆ the knee 3,400 [3383, 3417] 4.71 ms [4.68, 4.73] 3.40x" in text
    # Two panels and one plane, with a line for each runtime; and a bar for each interval of the panels.
    for style in ("line sweep0", "line sweep1"):
        assert len(page.find("path", **{"class": style})) == 3
    assert len(page.find("line", **{"class": "error"})) == 2 * 2 * len(SATURATING)
    assert len(page.find("circle", **{"class": "mark best"})) == 3 * 2


def test_the_page_says_that_callers_wait_longer_than_a_call_takes(run: Run) -> None:
    words = "That is the time of a full call alone. A caller waits longer: for the batch to fill, and for calls before"
    assert words in plain(Page(render(run)).text)


def test_where_no_reference_took_turns_the_page_does_not_say_that_drift_is_left_out(run: Run) -> None:
    """It went by whether another tree did, and a device may be too small for the reference."""
    assert "drift between two cases is not in it." in plain(Page(render(run)).text)
    text = plain(Page(render(unpaired(run))).text)
    assert "by their items a second, of different minutes, so the machine's drift between two cases is in them." in text
    assert "is not in it" not in text
    other = tuple(dataclasses.replace(one, model="other", suite="test_other") for one in unpaired(run).results)
    text = plain(Page(render(dataclasses.replace(run, results=(*run.results, *other)))).text)
    assert "is not in it; and where no reference took turns, by their items a second" in text


def test_what_is_not_drawn_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MAX_FRONTS", 1)
    monkeypatch.setattr(outputs, "MAX_SWEEPS", 1)
    other = tuple(dataclasses.replace(one, model="other", suite="test_other") for one in run.results)
    run = dataclasses.replace(run, results=(*run.results, *other))
    drawn, left = outputs.batchings(Overview(run))
    assert (drawn["dropped"], left["scaling"]) == (1, None)
    assert len(left["said"]) == 2, "its sentences stay"
    text = plain(Page(render(run)).text)
    assert "1 more pipeline is in neither picture nor table; the numbers are in the cases." in text
    assert "To keep this page small, the pictures and their table are left out here." in text


def test_no_two_lines_of_a_picture_look_alike() -> None:
    before = ("", "onnxruntime+", "compiled+", "bf16+", "fp16+", "openvino+", "aotinductor+")
    rows = [(f"{name}batched:{n}", n, speed) for name in before for n, speed in SATURATING.items()]
    run = run_of(*rows)
    (drawn,) = outputs.batchings(Overview(run))
    assert drawn["dropped"] == 1, "all that can be drawn are"
    styles = [f"line sweep{number}" for number in range(outputs.MAX_SWEEPS)]
    for picture in (drawn["scaling"], drawn["trade"]):
        legend = re.findall(r'<line class="(line sweep\d+)"', picture)
        assert legend == styles
    sheet = asset("style.css")
    looks = [re.findall(rf"svg \.line\.sweep{number} \{{ (.*?) \}}", sheet) for number in range(outputs.MAX_SWEEPS)]
    assert [len(look) for look in looks] == [1] * len(styles)
    for part in ("stroke: .*?;", "stroke-dasharray: .*?;"):
        assert len({tuple(re.findall(part, look)) for (look,) in looks}) == len(styles), "colour is not the only sign"


def test_without_three_batches_there_is_no_section() -> None:
    page = Page(render(run_of(("reference", 1, 1.0), ("batched:8", 8, 2.0))))
    assert not page.find("section", id="batching")
    assert not page.find("a", href="#batching")


def test_summary_and_terminal_have_a_line_for_each_sweep(run: Run) -> None:
    said = [words for _, _, words in knees(Overview(run))]
    assert len(said) == 2
    text = summary(run)
    assert "### How large a batch" in text
    assert "- digits on cpu, onnxruntime: Throughput stops growing at 16: 1.02x from 16 to 32" in text
    assert "digits/cpu, onnxruntime: Throughput stops growing at 16: 1.02x" in "\n".join(closing_lines(run))
