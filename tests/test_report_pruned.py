"""What can be removed: the share that is gone, curves, and which of it made anything faster."""

from __future__ import annotations

import dataclasses

import pytest

from harness.records import Estimate, Evidence, Measurement, Result, Run
from harness.report.gains import subjects
from harness.report.html import render, sections
from harness.report.overview import Overview, cases
from harness.report.pruned import Removal, families, removals, verdict_on_speed
from tests.report_samples import sample_run
from tests.test_report_html import Page, plain


def case(sample: Result, technique: str, speed: float, accuracy: float, parameters: int, sparsity: float) -> Result:
    """A case of digits, with the evidence that its first step left; a speed of 0 is the reference's."""
    estimates = {"accuracy": Estimate.exact(accuracy)}
    if speed:
        estimates["speedup"] = Estimate(speed, 0.97 * speed, 1.03 * speed, 3, 900)
    fact = "sparsity" if "weights" in technique else "parameters"
    first = technique.split("+")[0]
    return dataclasses.replace(
        sample,
        case_id=f"digits/{technique}/cpu",
        technique=technique,
        measurements=tuple(Measurement(name, value, (value.point,)) for name, value in estimates.items()),
        evidence=(Evidence(first, f"{fact if 'pruned' in first else 'level'} <= 1", "1", True),),
        facts={"parameters": parameters, "sparsity": sparsity},
    )


@pytest.fixture(scope="module")
def run() -> Run:
    whole = sample_run(1, 1, samples=4, mode="off")
    rows = (
        ("reference", 0.0, 0.98, 1000, 0.0),
        ("onnxruntime", 4.0, 0.98, 1000, 0.0),
        ("pruned_weights:0.9", 1.01, 0.70, 1000, 0.9),
        ("pruned_weights:0.5", 1.0, 0.97, 1000, 0.5),
        ("pruned_channels:0.5", 2.5, 0.96, 260, 0.0),
        ("pruned_channels:0.5+onnxruntime", 4.1, 0.96, 260, 0.0),
        ("pruned_weights:0.5+compiled", 1.4, 0.97, 1000, 0.5),
    )
    return dataclasses.replace(whole, results=tuple(case(whole.results[0], *row) for row in rows))


@pytest.fixture(scope="module")
def found(run: Run) -> tuple[Removal, ...]:
    (subject,) = subjects(cases(run))
    return removals(subject)


def test_zeros_and_missing_weights_are_both_removed(found: tuple[Removal, ...]) -> None:
    assert [(item.technique, round(item.removed, 6)) for item in found] == [
        ("pruned_weights:0.5", 0.5),
        ("pruned_weights:0.5+compiled", 0.5),
        ("pruned_channels:0.5", 0.74),
        ("pruned_channels:0.5+onnxruntime", 0.74),
        ("pruned_weights:0.9", 0.9),
    ]


def test_the_share_is_of_what_the_same_pipeline_holds(run: Run) -> None:
    """ONNX Runtime stores a table of this model twice: without a layer its file is still larger."""
    rows = (
        ("reference", 0.0, 0.98, 1000, 0.0),
        ("onnxruntime", 4.0, 0.98, 1400, 0.0),
        ("pruned_layers:1+onnxruntime", 4.5, 0.96, 1050, 0.0),
        ("pruned_layers:1+compiled", 4.5, 0.96, 750, 0.0),
    )
    results = tuple(case(run.results[0], *row) for row in rows)
    (subject,) = subjects(cases(dataclasses.replace(run, results=results)))
    assert [(item.unpruned, item.removed) for item in removals(subject)] == [("onnxruntime", 0.25), ("compiled", 0.25)]


def test_each_is_held_against_the_same_pipeline_without_the_pruning(found: tuple[Removal, ...]) -> None:
    known = {item.technique: (item.unpruned, item.factor, item.faster) for item in found}
    assert known["pruned_channels:0.5"] == ("reference", 2.5, True)
    assert known["pruned_channels:0.5+onnxruntime"] == ("onnxruntime", pytest.approx(1.025), False)
    assert known["pruned_weights:0.9"] == ("reference", 1.01, False)
    assert known["pruned_weights:0.5+compiled"] == ("compiled", None, False)


def test_what_differs_in_a_number_is_one_curve(found: tuple[Removal, ...]) -> None:
    curves = [[item.technique for item in curve] for curve in families(found)]
    assert ["pruned_weights:0.5", "pruned_weights:0.9"] in curves
    assert len(curves) == 4


def test_the_sentence_says_what_is_faster_and_what_is_not(found: tuple[Removal, ...]) -> None:
    said = verdict_on_speed(found)
    assert said.startswith("Faster than the same pipeline without it: pruned_channels:0.5 (2.50x).")
    assert "pruned_weights:0.9 (1.01x)" in said.partition("Not shown to be faster: ")[2]
    assert "compiled" not in said
    zeros = [item for item in found if item.technique.startswith("pruned_weights")]
    none = "None of the 2 is shown to be faster than the same pipeline without the pruning."
    assert verdict_on_speed(zeros) == none
    alone = [item for item in zeros if item.factor is None]
    assert "nothing is known of its speed" in verdict_on_speed(alone)


def timed(run: Run, *speeds: Estimate) -> tuple[Removal, ...]:
    """Removals of these speed-ups, held against the reference."""
    reference, *others = [one for one in run.results if "+" not in one.technique and one.technique != "onnxruntime"]
    pruned = []
    for result, speed in zip(others, speeds, strict=False):
        rest = tuple(one for one in result.measurements if one.metric != "speedup")
        pruned.append(dataclasses.replace(result, measurements=(*rest, Measurement("speedup", speed, (speed.point,)))))
    (subject,) = subjects(cases(dataclasses.replace(run, results=(reference, *pruned))))
    return removals(subject)


def test_what_the_intervals_can_t_tell_is_not_said_to_bring_no_speed(run: Run) -> None:
    wide = timed(run, Estimate(1.6, 0.96, 2.72, 3, 9), Estimate(1.5, 0.90, 2.55, 3, 9))
    none = "None of the 2 is shown to be faster than the same pipeline without the pruning"
    assert verdict_on_speed(wide) == f"{none}."
    narrow = timed(run, Estimate(1.005, 0.99, 1.02, 3, 9), Estimate(0.9, 0.89, 0.91, 3, 9))
    assert verdict_on_speed(narrow) == f"{none}: what was removed brings no speed in these runtimes."


def test_one_launch_shows_nothing_to_be_faster(run: Run) -> None:
    found = timed(run, Estimate(1.6, 1.6, 1.6, 1, 9), Estimate(1.0, 1.0, 1.0, 1, 9))
    assert [item.faster for item in found] == [False, False]
    assert verdict_on_speed(found) == (
        "None of the 2 is shown to be faster than the same pipeline without the pruning. One launch has no interval."
    )
    mixed = verdict_on_speed(timed(run, Estimate(1.6, 1.6, 1.6, 1, 9), Estimate(2.0, 1.9, 2.1, 3, 9)))
    assert mixed.startswith("Faster than the same pipeline without it: ")
    assert "(1.60x). One launch has no interval." in mixed.partition(" Not shown to be faster: ")[2]


def test_the_page_draws_them_with_their_table(run: Run) -> None:
    page = Page(render(run))
    assert page.find("section", id="pruned")
    assert page.find("a", href="#pruned")
    text = plain(page.text)
    assert "digits: accuracy against removed weights" in text
    assert "Faster than the same pipeline without it: pruned_channels:0.5 (2.50x)." in text
    assert "5 pruned_weights:0.9 90.0 % 70.00 % 1.01x" in text
    of = "(of what the same pipeline holds without the pruning, where that was measured)"
    assert f"Accuracy against the share of the weights that is zero or gone {of}, with" in text
    assert f"Accuracy against removed weights The share of the weights that is zero or gone {of} along" in text
    (curve,) = page.find("path", **{"class": "line thin candidate"})
    assert (curve["d"] or "").count("L") == 1


def test_too_many_are_not_drawn_and_the_page_says_where_they_are(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "MAX_POINTS", 4)
    page = Page(render(run))
    assert page.find("section", id="pruned")
    text = plain(page.text)
    assert "digits: accuracy against removed weights" not in text
    assert text.count("the picture and its table are left out here") == 1
    assert "Accuracy against removed weights" not in text, "what is not drawn is not explained"


def test_without_two_of_them_there_is_no_section(run: Run) -> None:
    few = dataclasses.replace(run, results=run.results[:3])
    page = Page(render(few))
    assert not page.find("section", id="pruned")
    assert not page.find("a", href="#pruned")
    assert "Accuracy against removed weights" not in page.text


def test_a_model_too_many_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "MAX_FRONTS", 1)
    other = tuple(dataclasses.replace(one, model="other", suite="test_other") for one in run.results)
    run = dataclasses.replace(run, results=(*run.results, *other))
    drawn, left = sections.prunings(Overview(run))
    assert drawn["picture"] is not None
    assert (left["subject"].model, left["picture"], left["rows"]) == ("other", None, [])
