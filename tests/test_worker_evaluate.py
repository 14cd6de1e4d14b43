"""What an evaluation may give, and how a case ends whose evaluation gives something else."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import Evaluation, classification
from harness.errors import MeasurementError, SuiteError
from harness.hardware import Cpu, cpu
from harness.measure.child import Child
from harness.measure.tree import Tree
from harness.model import digest_arrays
from harness.runtimes.predictor import seed_generators
from harness.specs import spec_of
from harness.worker.artefact import load_batches, read_manifest, save_batches, write_manifest
from harness.worker.evaluate import _wrong
from harness.worker.protocol import Evaluate, Evaluated, Load, Loaded
from tests.artefacts import make_artefact

ROOT = Path(__file__).parent.parent

SUITE = """
import random

import numpy as np

from harness import Evaluation, Metric, Model, grid
from harness.hardware import cpu
from harness.techniques import reference

GIVEN = {
    "right": {"value": np.float32(0.5), "metrics": {"recall": np.float32(0.25), "hits": np.int64(3)}},
    "nan": {"metrics": {"recall": 0.5, "auc": float("nan")}},
    "infinite": {"metrics": {"auc": np.float32("inf")}},
    "text": {"metrics": {"auc": "high"}},
    "unnamed": {"metrics": {("a", "b"): 0.5}},
    "label": {"label": b"F1"},
    "workload": {"workload": None},
    "scores": {"scores": np.ones((4, 1))},
    "answers": {"answers": [object()] * 4},
    "texts": {"answers": ["cat", "dog", "", "cat"]},
    "many": {"answers": np.zeros((4, 3), np.int64)},
    "fewer": {"answers": np.arange(3)},
    "one": {"answers": 1},
    "no_numbers": {"answers": np.array([0.5, np.nan, 1, np.inf])},
    "late": {},
    "raising": {},
    "drawn": {},
    "more": {},
    "lazy": {},
    "silent": {},
    "number": {},
    "nothing": {},
    "tensor": {},
    "array": {},
}


class Tensor:  # stands for torch's
    pass


def model(name):
    def evaluate(predict):
        if name == "lazy":
            import own_scoring
        x = np.ones((600_000, 3), np.float32)
        if name == "late":
            x[-1] = np.nan  # beyond the elements that are kept
        if name == "raising":
            x[0] = np.nan
        if name != "silent":
            predict({"x": x if name == "late" else x[:8]})
        if name == "more":
            predict({"more": np.zeros((8, 3)), "x": x[:8]})
        if name in ("tensor", "array"):
            predict({"x": Tensor()} if name == "tensor" else x[:8])
        if name == "raising":
            raise ValueError("Input contains NaN.")  # as scikit-learn's metrics do
        if name in ("number", "nothing"):
            return 0.5 if name == "number" else None
        if name == "drawn":
            return Evaluation(random.random(), np.ones(4), "data", metrics={"recall": np.random.random()})
        return Evaluation(**{"value": 0.5, "scores": np.ones(4), "workload": "data", **GIVEN[name]})

    return Model(name, "torch", lambda: None, lambda size, seed: {}, evaluate, batchable=False)


@grid(model=[model(name) for name in GIVEN], technique=[reference], hardware=[cpu])
def test_it(case, bench):
    bench(case)


@grid(model=[model("other")], technique=[reference], hardware=[cpu], metrics=[Metric("recall", "%", "higher")])
def test_others(case, bench):
    bench(case)
"""

SLIPS = {
    "more": r"is given more beside x, which is all that Model\.inputs gives",
    # As of an evaluate that asks the network that it loads itself: no technique could change it.
    "silent": "^silent/reference/cpu: evaluate never called predict, so that its accuracy is not of what is served; ",
    "number": r"^number/reference/cpu: evaluate gives a float; let it return Evaluation\(",
    "nothing": r"^nothing/reference/cpu: evaluate gives nothing; let it return Evaluation\(",
    "tensor": r"the network is given a Tensor for x; give numpy arrays \(x\.numpy\(\) of a torch tensor\) in Model",
    "array": "the network is given a ndarray; give a dict of numpy arrays by the inputs' names in Model",
}
"""How a case ends whose evaluation is written otherwise than it is asked for. Some ended in Python's words alone."""

WRONG = {
    "nan": "Evaluation.metrics gives auc as nan, and a metric is a name with a finite number",
    "infinite": "Evaluation.metrics gives auc as ",
    "text": "Evaluation.metrics gives auc as 'high'",
    "unnamed": "Evaluation.metrics gives ('a', 'b') as 0.5",
    "label": "the evaluation's label must be a text, and is b'F1'",
    "workload": "the evaluation's workload must be a text, and is None",
    "scores": "scores must be (N,) numbers in 0..1; their shape is [4, 1]",
    "answers": "answers must be (N,) numbers or texts",
    "many": "answers must be (N,), one for each of its 4 scores; their shape is [4, 3] (make one ",
    "fewer": "answers must be (N,), one for each of its 4 scores; their shape is [3]",
    "one": "answers must be (N,), one for each of its 4 scores; their shape is []",
    "no_numbers": "the evaluation's answers hold NaN or infinity, which agree with nothing",
    "late": "output output holds NaN or infinity in 1.7e-06 of its elements",
    "raising": "output output holds NaN or infinity in 0.12 of its elements",
}


def lengths(folder: Path) -> list[str]:
    """The digests that an evaluation wrote of how long each output was in each call."""
    with np.load(folder / "evaluated.npz", allow_pickle=False) as arrays:
        return list(arrays["lengths"].tolist())


def test_what_can_not_be_recorded_is_named(tmp_path: Path) -> None:
    """One process answers all, so none of these ends it."""
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "test_given.py").write_text(SUITE)
    (tmp_path / "own_scoring.py").touch()
    folder = make_artefact(tmp_path / "artefact")

    def evaluated(one: Child, name: str) -> Evaluated:
        output = str(tmp_path / "evaluated.npz")
        one.ask(
            Evaluate(
                str(tmp_path), "suites/test_given.py", "test_it", f"{name}/reference/cpu", str(folder), spec_of(cpu),
                output,
            )
        )  # fmt: skip
        return one.reply(Evaluated, 60)

    with Child("evaluating", tmp_path / "log", cpu.environment(), Tree(ROOT)) as one:
        right = evaluated(one, "right")
        Tree(ROOT).check(right.harness_file, modules=right.modules)
        plain = dataclasses.replace(right, harness_file="", modules={})
        own = {"recall": 0.25, "hits": 3.0}
        assert plain == Evaluated(0.5, "accuracy", "data", own, units={"recall": "%"}), "of all grids of the file"
        assert "own_scoring" not in right.modules
        lazy = evaluated(one, "lazy")
        assert lazy.modules["own_scoring"] == str(tmp_path / "own_scoring.py"), "it is imported while it evaluates"
        assert evaluated(one, "texts").value == 0.5
        for name, words in SLIPS.items():
            with pytest.raises(MeasurementError, match=words):
                evaluated(one, name)
        assert evaluated(one, "drawn") == evaluated(one, "drawn"), "what samples draws the same each time"
        assert lengths(tmp_path) == [], "examples are cut into batches"
        for name, words in WRONG.items():
            with pytest.raises(MeasurementError) as caught:
                evaluated(one, name)
            assert caught.value.outcome == "invalid", caught.value
            assert str(caught.value).startswith(f"{name}/reference/cpu: ")
            assert words in str(caught.value)
        write_manifest(folder, dataclasses.replace(read_manifest(folder), batchable=False))
        evaluated(one, "texts")
        assert len(lengths(tmp_path)) == 1
        # With the cache of a language model left out, the accuracy was that of a call that was never timed.
        inputs = load_batches(folder / "inputs.npz")
        save_batches(folder / "inputs.npz", [{**batch, "keys": batch["x"]} for batch in inputs])
        words = r"^texts/reference/cpu: evaluate never gives keys, .*; give x, keys in both"
        with pytest.raises(MeasurementError, match=words):
            evaluated(one, "texts")
        one.stop(30)


@pytest.mark.parametrize(
    "outputs",
    [{"logit": np.ones((4, 1), np.float32)}, {"label": np.arange(4), "probabilities": np.eye(4, dtype=np.float32)}],
    ids=["one logit", "labels first"],
)
def test_a_classification_by_one_number_an_example_is_refused(outputs: dict[str, Any]) -> None:
    """Its largest is always the first, so that the accuracy stayed what it was whatever the network gave."""
    evaluate = classification(lambda: ({"x": np.ones((4, 3), np.float32)}, np.arange(4)))
    words = f"the first output, {next(iter(outputs))}, has one an example: write an evaluate with a threshold"
    with pytest.raises(SuiteError, match=words):
        evaluate(lambda _: outputs)
    for logits in (np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32)[:, :, None]):
        assert evaluate(lambda _, logits=logits: {"logits": logits}).value == 1


@pytest.mark.parametrize(
    ("shape", "labels"), [((4, 6), (2,)), ((4, 6), (4, 6)), ((4, 3, 2), (4,))], ids=["fewer", "one-hot", "several axes"]
)
def test_a_classification_whose_labels_do_not_fit_its_outputs_is_refused(
    shape: tuple[int, ...], labels: tuple[int, ...]
) -> None:
    """Values of several examples, or of several places of one, were taken for the classes of one."""
    evaluate = classification(lambda: ({"x": np.ones((4, 3), np.float32)}, np.zeros(labels, np.int64)))
    words = f"the first output, y, has the shape {list(shape)}, the labels {list(labels)}; give as many of both"
    with pytest.raises(SuiteError, match=re.escape(words)):
        evaluate(lambda _: {"y": np.ones(shape, np.float32)})


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array(["cat", "dog", "cat", "bird"]), "the labels are <U4: give the number of each class"),
        (np.array(["cat", "dog", "cat", "bird"], object), "the labels are object: give the number of each class"),
        (np.arange(1, 5), "the labels go from 1 to 4, as many as there are classes: subtract 1"),
    ],
    ids=["texts", "objects", "from 1"],
)
def test_labels_that_no_answer_can_equal_are_refused(labels: Any, words: str) -> None:
    """The accuracy was 0, or that of wrong classes, and no loss shows against a baseline of 0."""
    evaluate = classification(lambda: ({"x": np.ones((4, 3), np.float32)}, labels))
    with pytest.raises(SuiteError, match=words):
        evaluate(lambda _: {"logits": np.eye(4, dtype=np.float32)})
    some = classification(lambda: ({"x": np.ones((4, 3), np.float32)}, np.array([1, 2, 3, 3])))
    assert some(lambda _: {"logits": np.eye(4, dtype=np.float32)}).value == 0.25


def test_an_input_that_is_called_label_is_in_the_digest_of_a_classification() -> None:
    """The labels took its place: other inputs were the same question."""

    def workload(**inputs: Any) -> str:
        evaluate = classification(lambda: (inputs, np.arange(4)))
        return evaluate(lambda _: {"logits": np.eye(4, dtype=np.float32)}).workload

    one, other = np.ones(4, np.float32), np.zeros(4, np.float32)
    assert workload(label=one) != workload(label=other)
    assert workload(label=one, labels=one) != workload(label=one, labels=other)
    assert workload(x=one) == digest_arrays({"x": one, "label": np.arange(4)}), "committed baselines hold it"


def test_torch_draws_what_it_draws_in_a_new_process() -> None:
    torch.rand(3)
    seed_generators()
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator()))


@dataclass(frozen=True)
class Watching(Cpu):
    """A CPU whose own watch gives what is no number."""

    def watched(self) -> dict[str, Any]:
        return {"clock": float("nan")}


def test_a_reply_that_can_not_be_recorded_does_not_end_the_process_without_a_word(tmp_path: Path) -> None:
    folder = make_artefact(tmp_path / "artefact")
    with Child("test arm", tmp_path / "log", cpu.environment(), Tree(ROOT)) as one:
        one.ask(Load(str(folder), str(ROOT), spec_of(Watching())))
        one.reply(Loaded, 30)
        with pytest.raises(MeasurementError, match="a number that is not finite has no place in a record") as caught:
            one.stop(30)
    assert caught.value.outcome == "failed"


@pytest.mark.parametrize(
    ("value", "scores", "words"),
    [
        (0.5, [1.0, 0.0, 0.5], ""),
        (1.0, [], "scores must be (N,) numbers in 0..1; their shape is [0]"),
        (0.5, [1.0, 1.5], "scores must be (N,) numbers in 0..1"),
        (0.5, [1.0, -0.5], "scores must be (N,) numbers in 0..1"),
        (0.5, [1.0, float("nan")], "scores must be (N,) numbers in 0..1"),
        (93.0, [1.0, 0.0], "the evaluation gave 93.0, not in 0..1"),
        (-0.1, [1.0, 0.0], "the evaluation gave -0.1, not in 0..1"),
        (float("nan"), [1.0, 0.0], "the evaluation gave nan, not in 0..1"),
    ],
)
def test_no_examples_and_what_is_no_share_of_them_are_named(value: float, scores: list[float], words: str) -> None:
    """Where a filter of the data leaves none, the accuracy is the same whatever the network gives."""
    found = np.asarray(scores, np.float64)
    said = _wrong(Evaluation(value, found, "data"), found, None)
    assert words in said
    assert bool(said) is bool(words)
