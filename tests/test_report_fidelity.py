"""The answers beside the reference's: what the page and the trust section say of SQNR that does not fit the facts."""

from __future__ import annotations

import dataclasses

import pytest

from harness.records import Estimate, Measurement, Result, Run
from harness.report.fidelity import measured
from harness.report.html import outputs, render
from harness.report.overview import Overview, cases
from harness.report.trust import Check, checks
from tests.report_samples import sample_run
from tests.test_report_html import Page, plain

FLOAT = {"precision": "float32", "quantized": 0.0, "sparsity": 0.0, "parameters": 1000, "weights.float32": 1.0}
ROUNDED = {"fidelity.error": 1e-6, "fidelity.sqnr": 120.0, "fidelity.cosine": 1.0, "fidelity.agreement": 1.0}
BFLOAT16 = {"fidelity.error": 7e-3, "fidelity.sqnr": 43.1, "fidelity.cosine": 0.99997, "fidelity.agreement": 0.999}
EQUAL = {"fidelity.error": 0.0, "fidelity.cosine": 1.0, "fidelity.identical": 1.0, "fidelity.agreement": 1.0}


def case(sample: Result, technique: str, facts: dict, values: dict[str, float]) -> Result:
    return dataclasses.replace(
        sample,
        case_id=f"digits/{technique}/cpu",
        technique=technique,
        facts={**FLOAT, **facts},
        measurements=tuple(Measurement(name, Estimate.exact(value), (value,)) for name, value in values.items()),
    )


def run_of(*rows: tuple[str, dict, dict[str, float]]) -> Run:
    whole = sample_run(1, 1, samples=4, mode="off")
    results = (case(whole.results[0], "reference", {}, {"accuracy": 0.9}),)
    return dataclasses.replace(whole, results=results + tuple(case(whole.results[0], *row) for row in rows))


def numbers_fit(run: Run) -> Check:
    (found,) = (check for check in checks(Overview(run)) if check.question == "Numbers fit")
    return found


HONEST = (
    ("onnxruntime", {}, ROUNDED),
    ("batched:8", {}, EQUAL),
    ("bf16", {"precision": "bfloat16", "weights.float32": 0.0}, BFLOAT16),
    ("pruned_weights:0.5", {"sparsity": 0.5}, {**BFLOAT16, "fidelity.sqnr": 12.0}),
    ("distilled:twin", {"teacher.accuracy": 0.9}, {**BFLOAT16, "fidelity.sqnr": 9.0}),
    ("labels", {}, {"fidelity.identical": 0.99, "fidelity.agreement": 0.99}),
)


def test_numbers_that_fit_raise_no_doubt() -> None:
    run = run_of(*HONEST)
    assert [near.doubt for near in measured(cases(run)) if near.doubt] == []
    check = numbers_fit(run)
    assert check.fine
    assert check.answer == (
        "In all 5 cases the outputs fit what was read from the network; the farthest is "
        "digits/distilled:twin/cpu with an SQNR of 9.00 dB."
    )


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"precision": "int8", "quantized": 1.0}, "has products in int8"),
        ({"weights.float32": 0.0, "weights.float16": 1.0}, "has weights in float16"),
        ({"sparsity": 0.5}, "has 50.0 % more weights that are zero"),
    ],
)
def test_infinite_sqnr_where_numbers_must_change_exposes_a_no_op(facts: dict, words: str) -> None:
    run = run_of(("changed", facts, EQUAL))
    check = numbers_fit(run)
    assert not check.fine
    assert check.answer.startswith("In 1 of 1 cases the outputs contradict what was read from the network")
    (line,) = check.more
    assert line.startswith(f"digits/changed/cpu {words}, and its outputs equal the reference's to the last bit")


def test_43_decibels_of_what_calls_itself_float32_expose_bfloat16() -> None:
    run = run_of(("fast", {}, BFLOAT16), *HONEST)
    (line,) = numbers_fit(run).more
    assert line.startswith("digits/fast/cpu is float32 by all that was read, and only 43.1 dB from the reference")
    page = Page(render(run))
    assert line in plain(page.text)


@pytest.mark.parametrize(("sqnr", "wrong"), [(10.6, True), (17.9, True), (18.1, False), (69.9, False)])
def test_what_no_number_of_bits_explains_is_called_wrong_values(sqnr: float, wrong: bool) -> None:
    (line,) = numbers_fit(run_of(("fast", {}, {**BFLOAT16, "fidelity.sqnr": sqnr}))).more
    assert ("computes something else: look for wrong values" in line) == wrong
    assert ("somewhere it computes in fewer bits" in line) == (not wrong)


def test_without_the_reference_s_facts_nothing_is_doubted() -> None:
    run = run_of(("fast", {}, BFLOAT16))
    alone = dataclasses.replace(run, results=run.results[1:])
    assert [near.technique for near in measured(cases(alone))] == ["fast"]
    assert numbers_fit(alone).fine
    assert numbers_fit(alone).answer == (
        "In 1 case the outputs were held against nothing that was read: the reference is not in this run, or the "
        "runtime does not tell in which types it computes; the farthest is digits/fast/cpu with an SQNR of 43.1 dB."
    )


def test_what_nobody_can_hold_against_anything_does_not_fit() -> None:
    blind = ("openvino", {"precision": ""}, BFLOAT16)
    assert numbers_fit(run_of(blind)).answer.startswith(
        "In 1 case the outputs were held against nothing that was read: "
    )
    check = numbers_fit(run_of(blind, ("onnxruntime", {}, ROUNDED)))
    assert check.fine
    assert check.answer == (
        "In 1 of 2 cases the outputs fit what was read from the network; the farthest is digits/openvino/cpu with an "
        "SQNR of 43.1 dB. In 1 case the outputs were held against nothing that was read: the reference is not in this "
        "run, or the runtime does not tell in which types it computes."
    )
    doubted = numbers_fit(run_of(blind, ("fast", {}, BFLOAT16))).answer
    assert doubted.startswith("In 1 of 2 cases the outputs contradict what was read from the network; ")
    assert "In 1 case the outputs were held against nothing" in doubted


def test_the_page_has_a_table_with_what_each_case_computes_in() -> None:
    text = plain(Page(render(run_of(*HONEST))).text)
    assert "Are the answers the same?" in text
    assert "onnxruntime float32 120 dB 1 – 100.00 %" in text
    assert "batched:8 float32 infinite 1 100.00 % 100.00 %" in text
    assert "bf16 bfloat16 43.1 dB 0.999970 – 99.90 %" in text
    assert "labels float32 – – 99.00 % 99.00 %" in text


def test_a_model_too_many_is_named_and_one_in_doubt_is_never_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MAX_FRONTS", 1)
    honest, doubtful = run_of(*HONEST), run_of(("fast", {}, BFLOAT16))
    both = [dataclasses.replace(one, model="other", suite="test_other") for one in honest.results]
    run = dataclasses.replace(honest, results=(*both, *doubtful.results))
    first, second = outputs.fidelities(Overview(run))
    assert (first["subject"].model, first["rows"]) == ("other", [])
    assert [row["technique"] for row in second["rows"]] == ["fast"]
    assert "other cpu To keep this page small, the table is left out here." in plain(Page(render(run)).text)


def test_a_doubt_says_which_of_two_cases_it_is_of() -> None:
    run = run_of(("fast", {}, BFLOAT16))
    twins = (dataclasses.replace(one, suite="test_other") for one in run.results)
    both = dataclasses.replace(run, results=(*run.results, *twins))
    said = [near.doubt.partition(" is float32")[0] for near in measured(cases(both)) if near.doubt]
    assert said == ["test_digits/digits/fast/cpu", "test_other/digits/fast/cpu"]


def test_a_run_without_such_numbers_has_neither_section_nor_check() -> None:
    run = run_of()
    assert not Page(render(run)).find("section", id="fidelity")
    assert not [check for check in checks(Overview(run)) if check.question == "Numbers fit"]
