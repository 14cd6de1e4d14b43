"""How near outputs are: the formulas, which outputs are compared, and what facts say of how a network computes."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MeasurementError, SuiteError
from harness.fidelity import alteration, cosine, fewer_bits, nearness, relative_error, sqnr
from harness.measure.passes import (
    OF_OTHER_DATA,
    OF_OTHER_INPUTS,
    EvaluationPass,
    check_answers,
    check_changed,
    fidelity,
    fidelity_facts,
)
from harness.runtimes.predictor import Predictor
from harness.worker.outputs import alike, check_finite, check_outputs
from harness.worker.protocol import Evaluated

FLOAT = {"precision": "float32", "quantized": 0.0, "sparsity": 0.0, "parameters": 1000, "weights.float32": 1.0}


def rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """Numbers rounded to so many bits of precision, the leading one included."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    return np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent)


@pytest.fixture(scope="module")
def numbers() -> np.ndarray:
    return np.random.default_rng(3).standard_normal(100_000).astype(np.float32)


def test_the_formulas_on_numbers_that_can_be_worked_out_by_hand() -> None:
    wanted, found = np.array([3.0, 4.0]), np.array([3.0, 4.5])
    assert relative_error(found, wanted) == pytest.approx(0.1)
    assert sqnr({"y": found}, {"y": wanted}) == pytest.approx(20)
    assert cosine(found, wanted) == pytest.approx((9 + 18) / (5 * math.hypot(3, 4.5)))
    assert sqnr({"y": wanted}, {"y": wanted}) == math.inf
    assert sqnr({"y": np.array([np.nan, 4.0])}, {"y": wanted}) == -math.inf
    assert sqnr({"y": wanted}, {"y": np.zeros(2)}) == -math.inf


def test_large_outputs_are_compared_in_parts() -> None:
    """Three copies of the whole in double precision counted as memory of the model, and killed a small device's."""
    wanted = np.full(2**24, 2, np.float32)
    found = wanted.copy()
    found[-1] = 4
    tracemalloc.start()
    try:
        error = relative_error(found, wanted)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error == pytest.approx(2**-12)
    assert peak < 64e6
    assert cosine(found, wanted) == pytest.approx(1, abs=1e-6)


def test_complex_outputs_are_compared_by_both_of_their_parts() -> None:
    wanted = np.array([3 + 4j, 1 - 1j], np.complex64)
    found = wanted.conj()
    assert relative_error(found, wanted) == pytest.approx(2 * math.hypot(4, 1) / math.hypot(3, 4, 1, 1))
    assert cosine(found, wanted) == pytest.approx((9 - 16 + 1 - 1) / 27)
    near = nearness({"y": found}, {"y": wanted})
    assert near["error"] == pytest.approx(relative_error(found, wanted))
    assert near["sqnr"] == pytest.approx(-20 * math.log10(near["error"]))
    assert near["identical"] == 0
    assert relative_error(wanted.real, wanted) == pytest.approx(math.hypot(4, 1) / math.hypot(3, 4, 1, 1))
    assert alike({"y": wanted * np.float32(1 + 1e-6)}, {"y": wanted})
    assert not alike({"y": found}, {"y": wanted})
    check_outputs({"y": wanted}, {"y": wanted}, "case")
    with pytest.raises(MeasurementError, match=r"output y differs from the expected values by 1\.6"):
        check_outputs({"y": found}, {"y": wanted}, "case")


MASKS = [-1e9, float(np.finfo(np.float32).min)]


def masked(seed: int, mask: float) -> np.ndarray:
    """The scores of a ranker, of which the last two are of what is no candidate."""
    scores = np.random.default_rng(seed).normal(size=(1, 8)).astype(np.float32)
    scores[..., -2:] = mask
    return scores


@pytest.mark.parametrize("mask", MASKS)
def test_scores_beside_a_mask_are_compared_by_themselves(mask: float) -> None:
    """The mask's was the size of the output, and stale or wrong scores were near enough in every comparison."""
    first, *others = (masked(seed, mask) for seed in range(8))
    check_outputs({"x": first * np.float32(1)}, {"x": first}, "x")
    for other in others:
        with pytest.raises(MeasurementError, match="output x differs from the expected values"):
            check_outputs({"x": other}, {"x": first}, "x")
        near, bare = nearness({"x": other}, {"x": first}), nearness({"x": other[:, :-2]}, {"x": first[:, :-2]})
        assert [near[name] for name in ("error", "sqnr", "cosine")] == pytest.approx(
            [bare[name] for name in ("error", "sqnr", "cosine")]
        )


@pytest.mark.parametrize("mask", MASKS)
def test_a_mask_that_only_one_output_has_counts(mask: float) -> None:
    wanted = masked(0, mask)
    lost, more = wanted.copy(), wanted.copy()
    lost[0, -1], more[0, 0] = 0, mask
    assert relative_error(lost, wanted) == pytest.approx(1)
    assert relative_error(more, wanted) > 1e8
    assert relative_error(masked(0, -1e4), wanted) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "wanted",
    [
        [1.0, 1.0, 1e-7, 2e-7],
        [2e4, 2e4, 3e3, -5e2],
        [-1e9, 1.0, 2.0, 3.0],
        [1e5, 1e5, 1e5, 1e5],
    ],
    ids=["saturated", "large", "once", "all"],
)
def test_numbers_that_are_no_mask_count(wanted: list[float]) -> None:
    """Probabilities that are 1 but for rounding would be held to what rounding leaves of the others."""
    exact = np.array(wanted)
    found = exact + np.array([0, 0, 3e-7, -3e-7])
    distance = np.linalg.norm(found - exact)
    assert relative_error(found, exact) == pytest.approx(distance / np.linalg.norm(exact))


@pytest.mark.parametrize("bits", [8, 11, 24])
def test_one_rounding_costs_six_decibels_a_bit(numbers: np.ndarray, bits: int) -> None:
    """The table in docs/metrics.md: a step is 2^(1-p) of the leading bit, and its noise a twelfth of its square."""
    exact = numbers.astype(np.float64) / 3
    assert sqnr({"y": rounded(exact, bits)}, {"y": exact}) == pytest.approx(6.02 * bits + 7, abs=1.5)


def test_the_cosine_of_what_has_no_direction() -> None:
    nothing, something = np.zeros(3), np.ones(3)
    assert (cosine(nothing, nothing), cosine(nothing, something), cosine(-something, something)) == (1.0, 0.0, -1.0)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20), st.floats(0.001, 0.5))
def test_sqnr_and_error_are_one_thing_in_two_units(values: list[float], scale: float) -> None:
    wanted = np.array(values)
    found = wanted * (1 + scale)
    near = nearness({"y": found}, {"y": wanted})
    if np.linalg.norm(wanted) > 1e-30:
        assert near["sqnr"] == pytest.approx(-20 * math.log10(near["error"]))
        assert near["cosine"] == pytest.approx(1)


def test_of_several_outputs_the_worst_counts_and_names_do_not() -> None:
    large, small = np.full(1000, 100.0), np.array([1.0])
    near = nearness({"a": large, "b": small * 1.1}, {"output_0": large, "output_1": small})
    assert near["error"] == pytest.approx(0.1)
    assert near["sqnr"] == pytest.approx(20)
    assert near["identical"] == pytest.approx(1000 / 1001)


def test_what_is_equal_has_no_sqnr_and_says_so() -> None:
    near = nearness({"y": np.ones(4)}, {"y": np.ones(4)})
    assert near == {"identical": 1.0, "error": 0.0, "cosine": pytest.approx(1.0)}


def test_whole_numbers_are_equal_or_not() -> None:
    near = nearness({"label": np.array([1, 2, 3, 9])}, {"label": np.array([1, 2, 3, 4])})
    assert near == {"identical": 0.75}
    mixed = nearness({"y": np.array([2.0]), "label": np.array([1])}, {"y": np.array([1.0]), "label": np.array([7])})
    assert mixed["error"] == 1.0
    assert mixed["identical"] == 0.0


@pytest.mark.parametrize("found", [{}, {"y": np.ones(3)}, {"y": np.ones(4), "z": np.ones(1)}])
def test_outputs_of_another_form_are_not_compared(found: dict) -> None:
    assert nearness(found, {"y": np.ones(4)}) == {}


def a_pass(*outputs: np.ndarray, answers: np.ndarray | None = None, elements: tuple[int, ...] = ()) -> EvaluationPass:
    reply = Evaluated(0.9, "accuracy", "data", {})
    named = {str(i): array for i, array in enumerate(outputs)}
    return EvaluationPass(reply, np.ones(4), answers, named, elements or tuple(array.size for array in outputs))


def test_agreement_is_of_the_answers_and_else_of_whole_numbers() -> None:
    one, other = np.array([1, 2, 3, 4]), np.array([1, 2, 0, 0])
    scores = np.array([0.1, 0.2])
    assert fidelity(a_pass(scores, answers=one), a_pass(scores, answers=other))["fidelity.agreement"] == 0.5
    assert fidelity(a_pass(one), a_pass(other))["fidelity.agreement"] == 0.5
    assert "fidelity.agreement" not in fidelity(a_pass(scores), a_pass(scores))


@pytest.mark.parametrize("number", [1, 3])
def test_another_number_of_answers_than_the_references_is_named(number: int) -> None:
    """Numpy's error ended the case, and a single answer was held against each of the reference's."""
    one, other = a_pass(np.ones(4), answers=np.arange(number)), a_pass(np.ones(4), answers=np.arange(4))
    said = rf"^case: its evaluation has {number} answers, and 4 of its reference .* also where nothing was found$"
    with pytest.raises(MeasurementError, match=said) as caught:
        check_answers("case", one, other)
    assert caught.value.outcome == "invalid"
    for fine in (other, a_pass(np.ones(4)), dataclasses.replace(one, reply=Evaluated(0.9, "accuracy", "others", {}))):
        check_answers("case", fine, other)


def test_outputs_cut_to_one_length_are_not_mistaken_for_alike() -> None:
    kept = np.ones(4)
    assert fidelity(a_pass(kept, elements=(100,)), a_pass(kept, elements=(200,))) == {}


def test_outputs_of_another_length_are_told() -> None:
    one = np.ones(4)
    reference = a_pass(one, one, elements=(8, 20_000))
    assert fidelity_facts(reference, reference) == {}
    said = "not measured of outputs, since output 1 holds 19,996 elements, and the reference's 20,000"
    assert fidelity_facts(a_pass(one, one, elements=(8, 19_996)), reference) == {"fidelity": said}
    said = "not measured of outputs, since there are 1, and 2 of the reference"
    assert fidelity_facts(a_pass(one), reference) == {"fidelity": said}


def test_what_was_evaluated_on_other_data_is_not_compared_and_says_so() -> None:
    one = a_pass(np.ones(4), answers=np.arange(4))
    other = dataclasses.replace(one, reply=dataclasses.replace(one.reply, workload="others"))
    assert "fidelity.agreement" in fidelity(one, one)
    assert fidelity(other, one) == {}
    assert fidelity_facts(other, one) == {"fidelity": OF_OTHER_DATA}


class Doubling:
    """A session with a float output and a whole one."""

    def stage(self, inputs: dict) -> dict:
        return inputs

    def __call__(self, staged: dict) -> dict:
        return {"y": 2 * staged["x"], "label": staged["x"].astype(np.int64)}

    def fetch(self, outputs: dict) -> dict:
        return outputs


class Float(Doubling):
    """The same without the whole numbers, which can't be NaN."""

    def __call__(self, staged: dict) -> dict:
        return {"y": 2 * staged["x"]}


@pytest.mark.parametrize("batch_size", [None, 1, 4, 64])
def test_every_output_of_every_example_is_kept_whatever_the_batch(batch_size: int | None) -> None:
    x = np.arange(10, dtype=np.float32).reshape(10, 1)
    predictor = Predictor(Doubling(), batch_size, keep=12)
    predictor({"x": x})
    predictor({"x": x})
    kept = predictor.outputs()
    assert predictor.elements == {"y": 20, "label": 20}
    assert kept["y"].tolist() == [*range(0, 20, 2), 0, 2]
    assert kept["label"].tolist() == [*range(10), 0, 1]


def test_what_an_evaluation_does_to_its_outputs_is_not_what_is_compared() -> None:
    predictor = Predictor(Doubling(), None)
    predictor({"x": np.ones(3)})["y"] *= 0
    assert predictor.outputs()["y"].tolist() == [2, 2, 2]


def test_inputs_that_are_not_all_of_the_examples_are_refused_where_they_would_be_cut_into_batches() -> None:
    """Positions of one sequence were given to its examples one by one, with shapes that the network takes."""
    inputs = {"x": np.ones((4, 6)), "position": np.arange(6)}
    words = r"predict got x \[4, 6\], position \[6\], whose first axes .* give the Model batchable=False"
    for size in (1, 4):
        with pytest.raises(SuiteError, match=words):
            Predictor(Doubling(), size)(inputs)
    assert Predictor(Doubling(), None)(inputs)["y"].shape == (4, 6)


def test_a_call_without_examples_is_refused_with_the_cure() -> None:
    """As the last part of data that were split by hand: it ended in "IndexError: list index out of range"."""
    with pytest.raises(SuiteError, match="predict got no examples: leave the call out where there are none"):
        Predictor(Doubling(), 2)({"x": np.ones((0, 3), np.float32)})


class Finding(Doubling):
    """Gives the numbers above 0.5 of each call, or as many columns as they are."""

    def __init__(self, columns: bool) -> None:
        self._columns = columns

    def __call__(self, staged: dict) -> dict:
        found = staged["x"][staged["x"] > 0.5]
        return {"y": np.ones((len(staged["x"]), found.size)) if self._columns else found}


@pytest.mark.parametrize(("columns", "shapes"), [(True, r"\[2, 2\] from .* \[2, 1\]"), (False, r"\[2\] from .* \[1\]")])
def test_outputs_of_several_shapes_are_not_put_together(columns: bool, shapes: str) -> None:
    """Numpy's error ended the evaluation, or rows of one example were given to another."""
    x = np.array([0.9, 0.8, 0.7, 0.1])
    with pytest.raises(SuiteError, match=rf"output y in the shape {shapes} .* give the Model batchable=False"):
        Predictor(Finding(columns), 2)({"x": x})
    assert Predictor(Finding(columns), None)({"x": x})["y"].size == (12 if columns else 3)


def test_as_many_elements_in_other_calls_are_of_other_examples() -> None:
    """The boxes of one picture were held against those of the next, where as many had been found in all."""

    def evaluated(*found: int) -> EvaluationPass:
        predictor = Predictor(Doubling(), None)
        for count in found:
            predictor({"x": np.full(count, 0.3)})
        lengths = tuple(predictor.lengths.values())
        return dataclasses.replace(a_pass(*predictor.outputs().values()), lengths=lengths)

    one, other = evaluated(2, 1), evaluated(1, 2)
    assert fidelity(one, evaluated(2, 1))["fidelity.error"] == 0
    assert fidelity(one, other) == {}
    said = "output 0 has another length than the reference's in some calls, and as many elements in all"
    assert fidelity_facts(one, other) == {"fidelity": f"not measured of outputs, since {said}"}
    check_changed("it is not told", one, other, {**FLOAT, "precision": "int8"}, FLOAT)


def test_inputs_that_no_call_had_are_told_by_their_places() -> None:
    x = np.ones((1, 2), np.float32)
    predictor = Predictor(Doubling(), 1, names=("x", "mask", "types"))
    assert predictor.never_given == [], "nothing was evaluated by it"
    predictor({"x": x})
    assert predictor.never_given == ["mask", "types"]
    predictor({"mask": x, "x": x})
    predictor({"x": x})
    assert predictor.never_given == ["types"]
    other = Predictor(Doubling(), 1, names=("image",))
    other({"x": x})
    assert other.never_given == [], "under another name"


class Reading(Doubling):
    """Gives scores of ids."""

    def __call__(self, staged: dict) -> dict:
        return {"y": 0.5 * staged["id"]}


@pytest.mark.parametrize(("size", "other"), [(None, None), (1, 4)])
def test_answers_to_other_ids_are_not_compared(size: int | None, other: int | None) -> None:
    """One near tie of a text that a network writes, and all that follows was held against answers to other ids."""

    def evaluated(size: int | None, *ids: int, state: float = 0.5, keep: int | None = None) -> EvaluationPass:
        predictor = Predictor(Reading(), size, keep)
        for number in ids:
            predictor({"id": np.array([[number]]), "state": np.array([[state]])})
        lengths = tuple(predictor.lengths.values())
        made = a_pass(*predictor.outputs().values(), answers=np.arange(4))
        return dataclasses.replace(made, lengths=lengths, asked=predictor.asked)

    one = evaluated(size, 1, 2)
    assert fidelity(evaluated(other, 1, 2, state=0.25), one)["fidelity.error"] == 0
    assert fidelity(evaluated(other, 1, 3), one) == {"fidelity.agreement": 1}
    assert fidelity_facts(evaluated(other, 1, 3), one) == {"fidelity": OF_OTHER_INPUTS}
    assert fidelity(evaluated(other, 1, 3, keep=1), evaluated(size, 1, 2, keep=1))["fidelity.error"] == 0


def test_batches_of_another_size_are_calls_of_the_same_examples() -> None:
    predictors = [Predictor(Doubling(), size) for size in (1, 4)]
    for predictor in predictors:
        predictor({"x": np.ones((6, 2))})
    assert [predictor.lengths for predictor in predictors] == [{}, {}]


def test_outputs_that_are_no_numbers_are_invalid() -> None:
    check_finite({"y": 0, "label": 0}, {"y": 2, "label": 2}, "case")
    words = r"case: output y holds NaN or infinity in 0\.25 .*, or forward marks .*: let it give 0 there and mask"
    with pytest.raises(MeasurementError, match=words) as caught:
        check_finite({"y": 1}, {"y": 4}, "case")
    assert caught.value.outcome == "invalid"


@pytest.mark.parametrize("batch_size", [None, 4])
def test_what_is_no_number_is_seen_in_outputs_that_are_not_kept(batch_size: int | None) -> None:
    """What fills a batch up is none of the model's answers, and counts as little here."""
    x = np.arange(10, dtype=np.float32).reshape(10, 1)
    x[8:, 0] = np.nan, -np.inf
    predictor = Predictor(Float(), batch_size, keep=4)
    predictor({"x": x[:8]})
    assert predictor.not_finite == {"y": 0}
    predictor({"x": x})
    assert predictor.not_finite == {"y": 2}
    assert np.isfinite(predictor.outputs()["y"]).all()


@pytest.mark.parametrize(
    ("facts", "fewer", "altered"),
    [
        (FLOAT, "", ""),
        ({}, "", ""),
        ({**FLOAT, "precision": "bfloat16"}, "products in bfloat16", "products in bfloat16"),
        ({**FLOAT, "precision": "float32+int8"}, "products in int8", "products in int8"),
        ({**FLOAT, "precision": "unknown"}, "", ""),
        ({**FLOAT, "quantized": 0.9}, "90 % more weights in 8 bits or fewer", "90 % more weights in 8 bits or fewer"),
        ({**FLOAT, "sparsity": 0.5}, "", "50.0 % more weights that are zero"),
        ({**FLOAT, "parameters": 500}, "", "500 weights instead of 1,000"),
        ({**FLOAT, "parameters": 995}, "", ""),
        ({**FLOAT, "weights.float32": 0.0, "weights.float16": 1.0}, "", "weights in float16"),
    ],
)
def test_what_facts_say_of_how_a_network_computes(facts: dict, fewer: str, altered: str) -> None:
    assert fewer_bits(facts, FLOAT) == fewer
    assert alteration(facts, FLOAT) == altered


def test_a_no_op_that_calls_itself_quantized_is_invalid() -> None:
    outputs, int8 = a_pass(np.array([0.1, 0.7])), {**FLOAT, "precision": "int8", "quantized": 1.0}
    with pytest.raises(MeasurementError, match="equals the reference's to the last bit") as caught:
        check_changed("digits/int8/cpu", outputs, outputs, int8, FLOAT)
    assert caught.value.outcome == "invalid"
    near = a_pass(np.array([0.1, 0.7000001]))
    check_changed("it differs", near, outputs, int8, FLOAT)
    check_changed("it says that it is float", outputs, outputs, FLOAT, FLOAT)
    decisions, whole = a_pass(np.array([1, 2])), a_pass(np.array([1.0, 2.0]))
    check_changed("decisions are no sums", decisions, decisions, int8, FLOAT)
    check_changed("nor are they when they are written as floats", whole, whole, int8, FLOAT)
    turned = a_pass(np.array([0.5 + 1j, 2 - 0.5j]))
    with pytest.raises(MeasurementError, match="equals the reference's to the last bit"):
        check_changed("complex numbers are sums too", turned, turned, int8, FLOAT)
    check_changed("whole numbers of two parts", *[a_pass(np.array([1 + 2j]))] * 2, int8, FLOAT)


def test_the_bits_of_real_types_are_seen(numbers: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(numbers)
    found = {
        dtype: sqnr({"y": tensor.to(getattr(torch, dtype)).float().numpy()}, {"y": numbers})
        for dtype in ("bfloat16", "float16")
    }
    assert found["bfloat16"] == pytest.approx(6.02 * 8 + 7, abs=1.5)
    assert found["float16"] == pytest.approx(6.02 * 11 + 7, abs=1.5)
