"""What is asked of a model before an artefact is made of it."""

from __future__ import annotations

import dataclasses
import importlib.util
import random
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from harness.deployment import Deployment, Promise
from harness.errors import PreparationError, SuiteError
from harness.grid import Case
from harness.hardware import cpu
from harness.model import Model, Training, check_order, digest_arrays, in_order
from harness.runtimes.predictor import Predictor
from harness.runtimes.torch_session import TorchSession
from harness.techniques import reference
from harness.techniques.base import as_pipeline, technique
from harness.techniques.calibration import calibration_batches
from harness.techniques.training import train, training_of
from harness.testing import tiny_torch_model
from harness.worker import prepare, timed_test
from harness.worker.outputs import check_expected, check_repeats
from harness.worker.prepare import _make, check_inputs


@pytest.mark.parametrize(
    ("field", "given", "cure"),
    [
        ("data", {"weights": "1"}, "data=lambda: …"),
        ("calibration", [{"x": np.ones((2, 4))}], "calibration=lambda: …"),
        ("training", Training(lambda _: (), lambda *_: None), "training=lambda: …"),
        ("load", None, "load=lambda: …"),
        ("inputs", {"x": np.ones((2, 4))}, "inputs=lambda batch, seed: …"),
    ],
)
def test_a_field_of_a_model_that_is_called_must_be_a_function(field: str, given: Any, cure: str) -> None:
    """A dict of digests, as the page read, ended each case in an error of Python's that named no field."""
    words = f"model tiny: {field} must be a function, .* is {type(given).__name__}; write {re.escape(cure)}$"
    with pytest.raises(SuiteError, match=words):
        dataclasses.replace(tiny_torch_model(), **{field: given})
    assert dataclasses.replace(tiny_torch_model(), calibration=None, training=None, data=None).data is None


def test_inputs_must_follow_the_seed() -> None:
    """Or the network, which answers equal inputs equally, would be said to ignore them."""
    constant = [{"x": np.ones((1, 4), np.float32), "length": np.array([4])} for _ in range(8)]
    with pytest.raises(PreparationError, match=r"Model\.inputs of tiny gives the same values for every seed"):
        check_inputs("tiny", constant, digest_arrays(constant[-1]))
    others = [{**batch, "x": batch["x"] * number} for number, batch in enumerate(constant)]
    check_inputs("tiny", others, digest_arrays(others[-1]))


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"ids": np.full((1, 6), 7)}, r"ids int64\[1, 6\]"),
        ({"ids": np.full((1, 4), 7, np.int32)}, r"ids int32\[1, 4\]"),
        ({"tokens": np.full((1, 4), 7)}, r"tokens int64\[1, 4\]"),
        ({"ids": np.full((1, 4), 7), "mask": np.ones((1, 4))}, r"ids int64\[1, 4\], mask float64\[1, 4\]"),
    ],
    ids=["length", "type", "name", "more"],
)
def test_inputs_have_one_form_for_all_seeds(other: dict[str, Any], told: str) -> None:
    """Texts that were not padded were timed without a word, each arm with lengths of its own."""
    batches = [{"ids": np.full((1, 4), seed)} for seed in range(8)]
    batches[3] = other
    words = rf"Model\.inputs of tiny gives ids int64\[1, 4\] for seed 0 and {told} for seed 3, .* pad to one length"
    with pytest.raises(PreparationError, match=words):
        check_inputs("tiny", batches, digest_arrays(batches[-1]))


def test_inputs_must_be_the_same_for_the_same_seed(tmp_path: Path) -> None:
    """Or they are others in every run, whose times are then compared with nobody's."""
    model = dataclasses.replace(
        tiny_torch_model(trained=False),
        inputs=lambda batch, _: {"image": np.random.random((batch, 1, 12, 12)).astype(np.float32)},
    )
    with pytest.raises(PreparationError, match=r"Model\.inputs of tiny gives other values for the same seed"):
        _make(Case(model, as_pipeline(reference), cpu), tmp_path)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"image": torch.ones(1, 1, 12, 12)}, r"a Tensor for image; give numpy arrays \(image\.numpy\(\) of a torch"),
        (np.ones((1, 1, 12, 12), np.float32), "a ndarray; give a dict of numpy arrays by the inputs' names"),
    ],
    ids=["tensors", "no names"],
)
def test_inputs_that_are_no_arrays_by_name_are_refused(given: Any, words: str, tmp_path: Path) -> None:
    """They ended in an error of Python's that named neither the model nor the field."""
    model = dataclasses.replace(tiny_torch_model(trained=False), inputs=lambda batch, seed: given)
    with pytest.raises(SuiteError, match=rf"^Model\.inputs of tiny gives {words}"):
        _make(Case(model, as_pipeline(reference), cpu), tmp_path)


def test_inputs_that_numpy_made_float64_are_refused_with_the_cure(tmp_path: Path) -> None:
    """Torch names two types, and neither whose they are nor where they are changed."""
    model = dataclasses.replace(
        tiny_torch_model(trained=False),
        inputs=lambda batch, seed: {"image": np.random.default_rng(seed).random((batch, 1, 12, 12))},
    )
    words = r"gives image in float64, .* give \.astype\(np\.float32\) in Model\.inputs, evaluate and calibration alike$"
    with pytest.raises(PreparationError, match=words):
        _make(Case(model, as_pipeline(reference), cpu), tmp_path)


@technique(takes="torch")
def drawing(deployment: Deployment) -> Deployment:
    """Notes what it draws."""
    drawn = [random.random(), np.random.random(), float(torch.rand(()))]
    return deployment.promising(Promise("parameters", at_least=1)).noting(drawn=str(drawn))


def test_what_an_artefact_is_made_with_is_drawn_the_same_each_time(tmp_path: Path) -> None:
    """Calibration that samples had other ranges in each process."""
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        case = Case(tiny_torch_model(trained=False), as_pipeline(drawing), cpu)
        found.append(_make(case, tmp_path / name).facts["drawn"])
    assert found[0] == found[1]


@technique(takes="torch")
def in_eights(deployment: Deployment) -> Deployment:
    """Says that calls hold eight items."""
    return deployment.replace(batch_size=8).promising(Promise("parameters", at_least=1))


def test_a_technique_makes_no_batches_of_calls_that_hold_no_items(tmp_path: Path) -> None:
    """Nothing counts the items of such a call: by the technique's word alone it was eight times as fast an item."""
    model = dataclasses.replace(tiny_torch_model(trained=False), batchable=False)
    with pytest.raises(PreparationError, match=r"in_eights sets batch_size=8, and calls of tiny are no .* leave batch"):
        _make(Case(model, as_pipeline(in_eights), cpu), tmp_path)


@pytest.mark.parametrize("answers", [["yes", None], np.array(["yes", "no"], dtype=object)])
def test_objects_have_no_digest_and_texts_have(answers: Any) -> None:
    """Their bytes are addresses: the labelled data were others in every process, and nothing was ever compared."""
    with pytest.raises(SuiteError, match=r"label holds Python objects, .*: array\.astype\(str\)"):
        digest_arrays({"x": np.ones(2), "label": answers})
    digest_arrays({"x": np.ones(2), "label": np.asarray(answers).astype(str)})


class Centred(torch.nn.Module):
    """Changes its inputs, and gives what lies in their memory."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(12, 12)

    def forward(self, image: Any) -> Any:
        return image.sub_(0.5)


class Masked(torch.nn.Module):
    """Takes what a tokenizer gives, and not in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(12, 12)

    def forward(self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None) -> Any:
        return self.layer(input_ids * attention_mask + token_type_ids)


def named(*names: str) -> Model:
    inputs = {name: np.ones((1, 12), np.float32) for name in names}
    return dataclasses.replace(tiny_torch_model(), load=Masked, inputs=lambda batch, seed: inputs)


def test_inputs_by_the_names_of_the_arguments_must_have_their_order(tmp_path: Path) -> None:
    model = named("input_ids", "token_type_ids", "attention_mask")
    words = (
        "gives input_ids, token_type_ids, attention_mask, which go by position, and forward would read them as "
        "input_ids, attention_mask, token_type_ids; give Model.inputs in the order of forward's arguments"
    )
    with pytest.raises(PreparationError, match=words):
        _make(Case(model, as_pipeline(reference), cpu), tmp_path)


def test_an_argument_that_the_inputs_leave_out_between_them_is_named_with_the_cure() -> None:
    """As a cache stands between ids and mask in the language models of Hugging Face."""
    words = (
        "would read them as input_ids, attention_mask; forward takes attention_mask before token_type_ids: "
        "let load wrap the network in a module whose forward takes input_ids, token_type_ids "
        "alone and passes them on by name"
    )
    with pytest.raises(PreparationError, match=words):
        check_order(named("input_ids", "token_type_ids"), Masked())


@pytest.mark.parametrize(
    "names",
    [
        ("input_ids", "attention_mask", "token_type_ids"),
        ("input_ids", "attention_mask"),
        ("ids", "token_type_ids", "attention_mask"),
        ("a", "b", "c", "d"),
    ],
    ids=["their order", "the first ones", "another name", "too many"],
)
def test_other_inputs_go_by_position(names: tuple[str, ...]) -> None:
    check_order(named(*names), Masked())
    check_order(dataclasses.replace(named("token_type_ids", "input_ids"), form="onnx"), Masked())


@pytest.mark.parametrize("module", [prepare, timed_test], ids=["case", "test"])
def test_a_worker_serves_a_tree_whose_harness_is_older(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the running harness's, and what it imports as `harness.…` is the tree's."""
    monkeypatch.setitem(sys.modules, "harness.timed_test", None)
    monkeypatch.delattr("harness.model.check_order")
    spec = importlib.util.spec_from_file_location(f"{module.__name__}_again", str(module.__file__))
    assert spec is not None
    assert spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, again)
    spec.loader.exec_module(again)
    assert set(again.__all__) <= vars(again).keys()
    if module is prepare:
        again.check_order(named("token_type_ids", "input_ids"), Masked())


class Difference(torch.nn.Module):
    """Two inputs that can't be told apart by their shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0))
        self.seen: list[Any] = []

    def forward(self, a: Any, b: Any) -> Any:
        self.seen.append((a, b))
        return a - self.scale * b


A, B = np.full((3, 2), 7, np.float32), np.ones((3, 2), np.float32)
ORDERS = [{"a": A, "b": B}, {"b": B, "a": A}]


def differing(given: dict[str, Any]) -> Model:
    """A model whose data come in an order of their own."""
    training = Training(
        batches=lambda epoch: [(given, np.zeros(3))], loss=lambda outputs, labels: outputs.sum(), epochs=1
    )
    return dataclasses.replace(
        tiny_torch_model(),
        load=Difference,
        inputs=lambda batch, seed: ORDERS[0],
        calibration=lambda: [given, given],
        training=lambda: training,
    )


@pytest.mark.parametrize("given", ORDERS, ids=["their order", "another"])
def test_data_come_to_a_torch_network_in_the_order_of_its_inputs(given: dict[str, Any]) -> None:
    """A tokenizer's mask was read as token types in evaluation and training, and in no call that is timed."""
    model, network = differing(given), Difference()
    session = TorchSession("eager", network, network, torch.device("cpu"))
    assert np.unique(Predictor(session, 2, names=("a", "b"))(given)["output"]).tolist() == [5]
    network.seen.clear()
    train(network, training_of(model))
    assert [(a.unique().tolist(), b.unique().tolist()) for a, b in network.seen] == [([7], [1])]
    assert [list(batch) for batch in calibration_batches(model)] == [["a", "b"]] * 2


def test_data_with_other_names_than_the_inputs_go_by_position_unless_one_would_be_read_as_another() -> None:
    """A mask before an array of another name was read as the ids, and one more than any timed call has was read too."""
    names = ("ids", "mask", "types")

    def ordered(*given: str) -> list[str]:
        return list(in_order(dict.fromkeys(given, A), names))

    assert ordered("types", "ids", "mask") == ["ids", "mask", "types"]
    assert ordered("mask", "ids") == ["ids", "mask"]
    assert ordered("tokens", "mask") == ["tokens", "mask"]
    assert ordered("x") == ["x"]
    for given, read in (
        (("types", "ids"), "ids, types as ids, mask"),
        (("mask", "tokens"), "mask, tokens as ids, mask"),
        (("tokens", "types", "mask"), "tokens, types, mask as ids, mask, types"),
        (("tokens", "mask", "types", "labels"), "tokens, mask, types, labels as ids, mask, types"),
    ):
        words = f"would read {read}: Model.inputs gives ids, mask, types; give all of these, and no others"
        with pytest.raises(SuiteError, match=words):
            ordered(*given)
    words = (
        "given more beside ids, mask, types, which is all that Model.inputs gives: .* exported one would not read it"
    )
    with pytest.raises(SuiteError, match=words):
        ordered("types", "more", "ids", "mask")
    assert list(in_order({"b": B, "a": A}, ())) == ["b", "a"], "others read their inputs by name"


class Remembering(torch.nn.Module):
    """Keeps its last answer, which is a part of the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(12, 12)
        self.register_buffer("last", torch.zeros(()))

    def forward(self, image: Any) -> Any:
        self.last = self.layer(image) + 0.5 * self.last
        return self.last


@pytest.mark.parametrize("kind", [Centred, Remembering])
def test_a_network_that_answers_the_same_inputs_otherwise_the_second_time_is_refused(
    kind: type[torch.nn.Module], tmp_path: Path
) -> None:
    """Turns call with the same staged inputs: each of them would end without the cause."""
    model = dataclasses.replace(tiny_torch_model(), load=kind)
    with pytest.raises(PreparationError, match=r"output output differs by .* again with the same inputs; .* in place"):
        _make(Case(model, as_pipeline(reference), cpu), tmp_path)


BOXES = np.zeros((17, 4), np.float32)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ([np.array(["cat"], dtype=object)], "output y holds text or objects, .* zipmap=False"),
        ([np.array(["cat"])], "output y holds text or objects"),
        ([BOXES], r"output y has shape \[17, 4\] for a batch of 1; if its first axis is no batch, .* batchable=False"),
        ([np.float32([np.nan])], "output y holds NaN"),
        ([np.float32([[1, -np.inf]])], "holds NaN or infinity; .*, or forward marks .* and mask in evaluate"),
        ([BOXES[:1], BOXES[:1]], "or finds nothing in them: let Model.inputs give real examples"),
        ([np.array([0]), np.array([0])], "let Model.inputs give examples that it answers differently, or the network"),
    ],
    ids=["objects", "text", "no batch", "NaN", "marked", "nothing found", "one decision"],
)
def test_outputs_that_nothing_could_be_told_of_are_refused_with_the_cure(outputs: list[Any], words: str) -> None:
    with pytest.raises(PreparationError, match=words):
        check_expected([{"y": array} for array in outputs], batchable=True, batch_size=1)
    check_expected([{"y": BOXES + number} for number in range(2)], batchable=False, batch_size=1)


def test_rounding_is_no_other_answer_and_another_shape_is() -> None:
    first = {"output": np.ones((2, 3), np.float32)}
    check_repeats({"output": first["output"] * np.float32(1 + 1e-5)}, first)
    for again in ({"output": np.ones((1, 3), np.float32)}, {}, {"output": np.full((2, 3), np.nan, np.float32)}):
        with pytest.raises(PreparationError, match=r"differs by (inf|nan)"):
            check_repeats(again, first)


class Constant(torch.nn.Module):
    """Gives one answer, whatever it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(12, 12)

    def forward(self, image: Any) -> Any:
        return self.layer(image * 0)


def test_a_network_whose_answers_do_not_follow_from_its_inputs_makes_no_artefact(tmp_path: Path) -> None:
    """An answer that was kept from an earlier call would look right in every turn."""
    model = dataclasses.replace(tiny_torch_model(trained=False), load=Constant)
    with pytest.raises(PreparationError, match="the outputs are the same for different inputs"):
        _make(Case(model, as_pipeline(reference), cpu), tmp_path)
