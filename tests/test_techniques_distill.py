"""Distillation: students of all kinds, hints, and the gain over the same student without its teacher."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import Deployment, Evaluation, Model, PreparationError, SuiteError, Training, technique
from harness.hardware import cpu
from harness.runtimes.eager import Eager
from harness.techniques import batched, distill, distilled, onnxruntime, pruned_channels, pruned_weights
from harness.techniques.training import train
from harness.testing import check_technique, tiny_student_model, tiny_torch_model
from tests.torch_networks import Frozen, weights

TINY = tiny_torch_model()
STUDENT = tiny_student_model()
HALF = pruned_channels(0.5, finetune=False)


@technique(takes="onnx")
def folded(deployment: Deployment) -> Deployment:
    """A technique of ONNX networks alone."""
    return deployment


def deployed(technique: Any, model: Model = TINY) -> Deployment:
    with tempfile.TemporaryDirectory() as folder:
        return technique.apply(Deployment(model, model.load(), Eager(), cpu, Path(folder)))


def test_a_pruned_copy_is_a_student() -> None:
    technique = distilled(into=HALF)
    assert technique.id == "distilled:pruned_channels-0.5-False"
    evidence, facts = check_technique(technique, TINY)
    assert facts["parameters"] == 8 * 9 + 16 * 8 * 9 + 4 * 144
    assert len(evidence) == 2  # the promise of the technique that made the student holds as well


def test_the_gain_is_over_the_same_student_without_its_teacher() -> None:
    found = deployed(distilled(into=STUDENT))
    alone = STUDENT.load()
    assert TINY.training is not None
    train(alone, TINY.training())
    with torch.no_grad():
        value = TINY.evaluate(lambda x: {"output": alone(torch.from_numpy(x["image"])).numpy()}).value
    assert found.notes["student.alone"] == pytest.approx(value)
    assert found.notes["student.gain"] == pytest.approx(found.notes["student.distilled"] - value, abs=1e-6)
    assert found.notes["teacher.accuracy"] > 0.93
    assert found.notes["student.seeds"] == 1
    assert "student.gain.spread" not in found.notes
    assert found.notes["macs.after"] < found.notes["macs.before"] / 4


def test_an_evaluation_of_one_example_at_a_time_is_computed_one_at_a_time() -> None:
    def evaluate(predict: Any) -> Evaluation:
        images = TINY.inputs(70, 0)["image"]
        groups = [images[:1], images[1:3], images]
        scores = np.concatenate([predict({"image": some})["output"][:, 0] for some in groups])
        return Evaluation(float(scores.mean()), scores, "73 images")

    sizes, network = [], TINY.load()
    network.register_forward_pre_hook(lambda _, called: sizes.append(len(called[0])))
    value = distill._accuracy_of(dataclasses.replace(TINY, evaluate=evaluate), network)
    assert sizes == [1, 2, 64, 64]
    with torch.no_grad():
        images = torch.from_numpy(TINY.inputs(70, 0)["image"])
        wanted = network(torch.cat([images[:3], images]))[:, 0].mean()
    assert value == pytest.approx(float(wanted), rel=1e-5)


def test_an_evaluation_gives_a_student_its_inputs_in_their_order() -> None:
    class Second(torch.nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return b

    arrays = {"a": np.zeros((3, 1), np.float32), "b": np.ones((3, 1), np.float32)}

    def evaluate(predict: Any) -> Evaluation:
        scores = predict({"b": arrays["b"], "a": arrays["a"]})["output"][:, 0]
        return Evaluation(float(scores.mean()), scores, "3 pairs")

    model = dataclasses.replace(TINY, inputs=lambda size, seed: arrays, evaluate=evaluate)
    assert distill._accuracy_of(model, Second()) == 1


def test_an_evaluation_that_samples_gives_a_student_the_same_each_time() -> None:
    model = dataclasses.replace(TINY, evaluate=lambda _: Evaluation(np.random.random(), np.ones(4), "sampled"))
    assert distill._accuracy_of(model, STUDENT.load()) == distill._accuracy_of(model, STUDENT.load())


def test_an_evaluation_that_gives_no_number_of_a_student_is_told() -> None:
    """The fact that no record could hold was told, and neither its cause nor its cure."""
    more = [np.float32("nan"), np.float32(0)]

    def evaluate(predict: Any) -> Evaluation:
        added = more.pop(0)
        predict({name: array + added for name, array in TINY.inputs(4, 0).items()})
        return Evaluation(float("nan"), np.ones(4), "broken")

    model = dataclasses.replace(TINY, evaluate=evaluate)
    for words in (r"hold NaN .* lower Training\.learning_rate", "are finite, so mend the evaluate"):
        with pytest.raises(PreparationError, match=f"gives nan for the teacher or a student: the outputs {words}"):
            distill._accuracy_of(model, STUDENT.load())


def test_a_teacher_that_counts_for_nothing_gives_no_gain() -> None:
    notes = deployed(distilled(into=STUDENT, weight=0.0, seeds=2)).notes
    assert (notes["student.gain"], notes["student.gain.spread"], notes["student.seeds"]) == (0.0, 0.0, 2)


def test_a_teacher_of_one_number_is_followed_too() -> None:
    """Softmax of one number is 1 whatever it is: the distance has to be one of the numbers themselves."""

    class One(torch.nn.Module):
        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.network(image)[:, :1]

    def batches(epoch: int) -> Any:
        assert TINY.training is not None
        return [(inputs, np.zeros((len(labels), 1), np.float32)) for inputs, labels in TINY.training().batches(epoch)]

    def evaluate(predict: Any) -> Evaluation:
        scores = np.abs(predict(TINY.inputs(8, 0))["output"]).reshape(-1) < 1
        return Evaluation(float(scores.mean()), scores.astype(float), "8 images")

    training = Training(batches, torch.nn.functional.l1_loss, epochs=5, learning_rate=1e-2)
    changes: dict[str, Any] = {"training": lambda: training, "evaluate": evaluate}
    model = dataclasses.replace(TINY, load=lambda: One(TINY.load()).eval(), **changes)
    student = dataclasses.replace(STUDENT, load=lambda: One(STUDENT.load()).eval(), **changes)
    taught = deployed(distilled(into=student, weight=1.0), model).network
    images = torch.from_numpy(TINY.inputs(64, 1)["image"])
    with torch.no_grad():
        wanted, found = model.load()(images), taught(images)
    assert float((found - wanted).abs().mean()) < 0.5 * float(wanted.abs().mean()), "the labels say 0, the teacher not"


def test_a_segmentation_is_a_distribution_over_the_classes_of_each_pixel() -> None:
    """The softmax was over the columns of the picture. A sequence has its classes on the last of three axes."""
    loss = Training(lambda epoch: [], torch.nn.functional.l1_loss)
    lesson = distill._Lesson(loss, None, temperature=2.0, weight=1.0, features=0.0, hints=(), example=())
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    by_column, by_class = torch.arange(5.0), torch.arange(3.0).reshape(3, 1, 1)
    assert float(lesson._distance(logits + by_column, logits)) == pytest.approx(0, abs=1e-5)
    assert float(lesson._distance(logits + by_class, logits)) > 0.01
    sequence = logits[:, 0]
    assert float(lesson._distance(sequence + by_column, sequence)) > 0.01
    one = logits[:, :1]
    assert float(lesson._distance(one + 3, one)) == pytest.approx(3), "one class of each pixel is no distribution"


def test_seeds_are_other_trainings_and_the_first_one_is_served() -> None:
    one, two = (deployed(distilled(into=STUDENT, seeds=seeds)) for seeds in (1, 2))
    assert torch.equal(weights(one.network), weights(two.network))
    assert one.notes["student.distilled"] != two.notes["student.distilled"]


@pytest.mark.parametrize(
    ("into", "hints", "shape"),
    [(STUDENT, (), (288, 72)), (HALF, "4", (32, 16)), (HALF, ["0", "4"], None)],
    ids=["the last features", "one module", "two modules"],
)
def test_hints_change_what_is_learnt_and_leave_nothing_behind(
    into: Any, hints: Any, shape: Any, monkeypatch: Any
) -> None:
    seen = []
    from harness.techniques import hints as module

    real = module.Watched.project

    def project(self: Any, example: Any, widths: Any) -> None:
        real(self, example, widths)
        seen.extend(tuple(layer.weight.shape) for layer in self.projections)

    monkeypatch.setattr(module.Watched, "project", project)
    plain, hinted = deployed(distilled(into=into)), deployed(distilled(into=into, features=1.0, hints=hints))
    assert not torch.equal(weights(plain.network), weights(hinted.network))
    assert plain.notes["student.alone"] == hinted.notes["student.alone"]
    assert type(hinted.network) is torch.nn.Sequential
    assert not any(layer._forward_hooks for layer in hinted.network.modules())
    assert seen == [shape] if shape else len(seen) == 2


def test_the_hint_of_a_network_with_several_outputs_is_at_the_layer_of_the_first(monkeypatch: Any) -> None:
    from harness.techniques import hints as module

    watched = []
    real = module.common_features

    def common(student: Any, teacher: Any, patterns: Any, last: Any) -> Any:
        watched.append(last)
        return real(student, teacher, patterns, last)

    monkeypatch.setattr(module, "common_features", common)
    assert TINY.training is not None
    plain = TINY.training()

    def loss(outputs: Any, labels: Any) -> Any:
        return plain.loss(outputs[0], labels)

    training = dataclasses.replace(plain, loss=loss, epochs=1)
    model, student = (
        dataclasses.replace(TINY, name=name, load=lambda width=width: Beside(width).eval(), training=lambda: training)
        for name, width in (("beside", 16), ("beside_student", 8))
    )
    deployed(distilled(into=student, features=1.0), model)
    assert watched == [("classes", "classes")]


def once(load: Any, name: str = "once") -> Model:
    """The tiny task for another network, trained for one epoch."""
    assert TINY.training is not None
    training = dataclasses.replace(TINY.training(), epochs=1)
    return dataclasses.replace(TINY, name=name, load=load, training=lambda: training)


def test_a_student_as_its_constructor_leaves_it_is_looked_at_in_evaluation_mode_and_taught_in_the_other() -> None:
    """Its statistics are of the 16 batches alone; of the one example that shows its features there would be none."""
    model = once(TINY.load)
    taught = deployed(distilled(into=once(Normed, "normed"), features=1.0), model).network
    assert not taught.training
    assert int(taught.body[2].num_batches_tracked) == 16
    assert float(taught.body[2].running_mean.abs().sum()) > 0


def test_hints_are_the_cure_where_no_layer_gives_the_first_output() -> None:
    model, student = once(lambda: Bare(16).eval()), once(lambda: Bare(8).eval(), "bare_student")
    with pytest.raises(PreparationError, match="no layer that gives the first output was found; name modules in hints"):
        deployed(distilled(into=student, features=1.0), model)
    assert type(deployed(distilled(into=student, features=1.0, hints="features"), model).network) is Bare


def test_hints_pull_the_features_of_the_student_towards_the_teachers() -> None:
    from harness.techniques.hints import Watched, hint_loss

    teacher, image = TINY.load(), torch.from_numpy(TINY.inputs(64, 3)["image"])
    shown = Watched(teacher, ["4"], inputs=False)

    def distance(network: torch.nn.Module) -> float:
        """Of the teacher's features from the best linear map of the student's."""
        with torch.no_grad():
            mine, wanted = Watched(network, ["4"], inputs=False)(image)[1][0], shown(image)[1][0]
        mine, wanted = mine.flatten(0, -2), wanted.flatten(0, -2)
        return float(hint_loss([mine @ torch.linalg.lstsq(mine, wanted).solution], [wanted]))

    plain, hinted = (deployed(distilled(into=STUDENT, features=value, hints="4")) for value in (0.0, 10.0))
    assert distance(hinted.network) < distance(plain.network)


@pytest.mark.parametrize(
    ("technique", "error", "words"),
    [
        (distilled(into=TINY), PreparationError, "the student tiny has 5904 weights and its teacher 5904"),
        (distilled(into=pruned_weights(0.5, finetune=False)), PreparationError, "pruned_weights:0.5:False has"),
        (distilled(into=batched(2)), SuiteError, "may change its network alone"),
        (distilled(into=HALF | onnxruntime), SuiteError, "may change its network alone"),
        (distilled(into=folded), SuiteError, "folded works on an ONNX network"),
        (distilled(into=STUDENT, features=1.0, hints="nothing.*"), PreparationError, r"common are 0, 1, 2"),
        (distilled(into=STUDENT, seeds=0), SuiteError, "seeds 1 or more"),
        (distilled(into=STUDENT, features=-1.0), SuiteError, "features 0 or more"),
    ],
    ids=["as large", "zeros", "batch", "runtime", "form", "hints", "seeds", "features"],
)
def test_what_is_no_student_is_refused(technique: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        deployed(technique)


def paired(*names: str) -> Model:
    """The tiny student with other inputs."""
    arrays = {name: np.zeros((1, 1), np.float32) for name in names}
    return dataclasses.replace(STUDENT, name="paired", inputs=lambda size, seed: arrays)


@pytest.mark.parametrize("names", [("b", "a"), ("b", "c"), ("a",), ("a", "b", "c")])
def test_a_student_that_would_read_another_input_is_refused(names: tuple[str, ...]) -> None:
    words = (
        f"would read a, b as {', '.join(names)}; give Model.inputs of paired .* and names that both have at the same"
    )
    with pytest.raises(SuiteError, match=words):
        deployed(distilled(into=paired(*names)), paired("a", "b"))


@pytest.mark.parametrize("names", [("a", "b"), ("x", "y")])
def test_a_student_whose_forward_has_the_inputs_in_another_order_is_refused(names: tuple[str, ...]) -> None:
    """It learnt from its teacher's first input in the place of the second, and its accuracy was the technique's."""
    student = dataclasses.replace(paired(*names), load=Turned)
    words = r"Model\.inputs of paired gives a, b, .* as b, a; .* whose forward takes a, b in this order"
    with pytest.raises(PreparationError, match=words):
        deployed(distilled(into=student), paired("a", "b"))


def test_a_student_whose_train_gives_nothing_is_a_student(tmp_path: Path) -> None:
    """Its eval gives nothing either, and None was the student."""
    student = dataclasses.replace(STUDENT, load=lambda: Frozen(12, 4))
    assert isinstance(distill._made(Deployment(TINY, None, Eager(), cpu, tmp_path), student).network, Frozen)


def test_other_inputs_of_a_student_go_by_position() -> None:
    distill._check_inputs(paired("a", "b"), paired("x", "y"))
    distill._check_inputs(paired("a", "b"), paired("a", "mask"))


def test_a_technique_that_the_model_excludes_makes_no_student() -> None:
    model = dataclasses.replace(TINY, unsupported={"pruned_channels": "its heads are fixed"})
    with pytest.raises(SuiteError, match="its heads are fixed"):
        deployed(distilled(into=HALF), model)


def test_a_student_that_is_not_served_breaks_the_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.techniques import distill

    monkeypatch.setattr(distill, "with_macs", lambda deployment, _: deployment)
    with pytest.raises(AssertionError, match="promised parameters"):
        check_technique(distilled(into=STUDENT), TINY)


class Turned(torch.nn.Module):
    """Takes the second input first."""

    def forward(self, b: Any, a: Any) -> Any:
        return a - b


class Normed(torch.nn.Module):
    """Normalised over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 8), torch.nn.BatchNorm1d(8))
        self.classes = torch.nn.Linear(8, 4)

    def forward(self, image: Any) -> Any:
        return self.classes(self.body(image).relu())


class Bare(torch.nn.Module):
    """Weights that no layer holds."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (torch.nn.Parameter(torch.randn(*shape) / 12) for shape in ((144, width), (width, 4)))
        self.features = torch.nn.Identity()

    def forward(self, image: Any) -> Any:
        return self.features(image.flatten(1) @ self.first).relu() @ self.second


class Beside(torch.nn.Module):
    """Classes of images, and beside them what is no distribution and nobody distils."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, width), torch.nn.ReLU())
        self.classes = torch.nn.Linear(width, 4)
        self.brightness = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 3), torch.nn.Linear(3, 2))

    def forward(self, image: Any) -> Any:
        return self.classes(self.body(image)), self.brightness(image)
