"""Distillation: a smaller network taught by the model's own."""

from __future__ import annotations

import copy
import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.deployment import Deployment, Promise
from harness.errors import PreparationError, SuiteError
from harness.model import Model, Training, check_order
from harness.runtimes.native import load_network
from harness.runtimes.packages import installed
from harness.runtimes.predictor import Predictor, seed_generators
from harness.techniques.base import Pipeline, Technique, as_pipeline, technique
from harness.techniques.structure import example_of, with_macs
from harness.techniques.training import train, training_of

__all__ = ["distilled"]

BATCH = 64
"""Examples in one call of an evaluation, where they are independent."""


@technique(takes="torch", needs=["training"], requires=installed("torch", "torch"))
def distilled(
    deployment: Deployment,
    into: Model | Technique | Pipeline,
    *,
    temperature: float = 4.0,
    weight: float = 0.7,
    features: float = 0.0,
    hints: str | Sequence[str] = (),
    seeds: int = 1,
) -> Deployment:
    """A smaller network, taught to answer as this model's network does, on this model's training data.

    `into` is the student: a torch model, or techniques that make it of the network itself, such as
    `pruned_channels(0.5, finetune=False)`. The loss of a batch is `weight * T^2 * KL(teacher / T || student / T) +
    (1 - weight) * Training.loss + features * hint`, with T the temperature, on the first output taken as logits over
    its last axis, over the second one where it has four axes or more, as segmentations (B, C, H, W) do. One number an
    item, a regression or a single logit, is no distribution: there the mean absolute difference from the teacher's
    stands for `T^2 * KL`. The hint is the relative squared distance between features of the teacher and linear
    projections of the student's: at the modules that `hints` names in both, or else at the input of the layer of the
    first output.

    The same student is trained on the same batches without the teacher, and the notes `student.distilled`,
    `student.alone` and `student.gain` are what the model's own evaluation says of both; with more than one of `seeds`
    they are means, `student.gain.spread` is the standard deviation over the seeds, and the student of the first one
    is served. A gain smaller than what seeds differ by shows nothing.
    Source: Hinton, Vinyals & Dean, arXiv 1503.02531; Romero et al., FitNets, arXiv 1412.6550, for the hints.
    """
    if not temperature > 0 or not 0 <= weight <= 1 or not features >= 0 or seeds < 1:
        raise SuiteError(
            "distilled: temperature must be above 0, weight between 0 and 1, features 0 or more, seeds 1 or more"
        )
    from harness.runtimes.torch_session import elements

    training = training_of(deployment.model)
    teacher = deployment.network
    made = _made(deployment, into)
    student = made.network
    large, small = (elements(network) for network in (teacher, student))
    if not small < large:
        raise PreparationError(
            f"the student {_name(into)} has {small} weights and its teacher {large}; a student must be smaller"
        )
    lesson = _Lesson(training, teacher, temperature, weight, features, hints, example_of(deployment))
    served, gains = None, []
    for seed in range(seeds):
        taught, alone = lesson.teach(copy.deepcopy(student), seed), copy.deepcopy(student)
        train(alone, training, seed=seed)
        served = taught if served is None else served
        gains.append((_accuracy_of(deployment.model, taught), _accuracy_of(deployment.model, alone)))
    notes = _gain([pair[0] for pair in gains], [pair[1] for pair in gains])
    promises = (*(promise for _, promise in made.promises), Promise("parameters", at_least=1, at_most=small))
    return (
        with_macs(deployment, served)
        .promising(*promises)
        .noting(**{"teacher.accuracy": _accuracy_of(deployment.model, teacher), **notes})
    )


@dataclass(frozen=True)
class _Lesson:
    """All that decides what a student learns from its teacher."""

    training: Training
    teacher: Any
    temperature: float
    weight: float
    features: float
    hints: str | Sequence[str]
    example: tuple[Any, ...]

    def teach(self, student: Any, seed: int) -> Any:
        """The student, trained."""
        if not self.features:
            train(student, self.training, teacher=self.teacher, loss=self._loss, seed=seed)
            return student
        import torch

        from harness.techniques.hints import Watched, common_features, hint_loss

        last = ("", "") if self.hints else self._last(student)
        (mine, other), inputs = common_features(student, self.teacher, self.hints, last)
        shown, watched = Watched(self.teacher, other, inputs=inputs), Watched(student, mine, inputs=inputs)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            watched.project(self.example, shown.widths(self.example))

        def loss(outputs: Any, labels: Any, taught: Any) -> Any:
            hint = hint_loss(outputs[1], taught[1])
            return self._loss(outputs[0], labels, taught[0]) + self.features * hint

        try:
            train(watched, self.training, teacher=shown, loss=loss, seed=seed)
        finally:
            shown.released()
        return watched.released()

    def _last(self, student: Any) -> tuple[str, str]:
        """The names of the layers that give the first output, in student and teacher."""
        from harness.techniques.prune_channels import output_layers

        names = []
        for network in (copy.deepcopy(student), copy.deepcopy(self.teacher)):
            layers = output_layers(network.requires_grad_(True), self.example)
            name = next((name for name, module in network.named_modules() if layers and module is layers[0]), "")
            if not name:
                raise PreparationError("no layer that gives the first output was found; name modules in hints")
            names.append(name)
        return names[0], names[1]

    def _loss(self, outputs: Any, labels: Any, taught: Any) -> Any:
        return self.weight * self._distance(outputs, taught) + (1 - self.weight) * self.training.loss(outputs, labels)

    def _distance(self, outputs: Any, taught: Any) -> Any:
        """How far the student's answers are from the teacher's."""
        from torch.nn.functional import kl_div, l1_loss

        from harness.runtimes.torch_session import named_outputs
        from harness.techniques.hints import channels_last

        student, teacher = (channels_last(next(iter(named_outputs(each).values()))) for each in (outputs, taught))
        if student.dim() < 2 or student.shape[-1] == 1:
            return l1_loss(student, teacher)
        soft = kl_div(
            (student / self.temperature).log_softmax(-1).flatten(0, -2),
            (teacher / self.temperature).log_softmax(-1).flatten(0, -2),
            log_target=True,
            reduction="batchmean",
        )
        return self.temperature**2 * soft


def _made(deployment: Deployment, into: Any) -> Deployment:
    """The student as a deployment, with the promises of the techniques that made it."""
    if isinstance(into, Model):
        if into.form != "torch":
            raise SuiteError(f"distilled(into={into.name}): the student must be a torch model to be trained")
        _check_inputs(deployment.model, into)
        network = copy.deepcopy(load_network(into))
        check_order(dataclasses.replace(into, inputs=deployment.model.inputs), network)
        return deployment.replace(network=network, promises=())
    pipeline = as_pipeline(into)
    reason = pipeline.inapplicable(deployment.model)
    if reason:
        raise SuiteError(f"distilled(into={_name(into)}): {reason}")
    made = pipeline.apply(deployment.replace(promises=()))
    if made.runtime != deployment.runtime or made.batch_size != deployment.batch_size:
        raise SuiteError(
            f"distilled(into={_name(into)}): what makes the student may change its network alone; put the runtime and "
            "the batch after distilled"
        )
    return made


def _check_inputs(teacher: Model, student: Model) -> None:
    """Raise `SuiteError` where a student would read another of its teacher's inputs than the one of that name.

    Both are called with the teacher's, by position; other names are the student's own.
    """
    given, taken = list(teacher.inputs(1, 0)), list(student.inputs(1, 0))
    moved = [name for name in taken if name in given and given.index(name) != taken.index(name)]
    if moved or len(given) != len(taken):
        raise SuiteError(
            f"distilled(into={student.name}): the student gets what its teacher gets, by position, and would read "
            f"{', '.join(given)} as {', '.join(taken)}; give Model.inputs of {student.name} (and the arguments of its "
            f"forward) as many inputs as those of {teacher.name} have, and names that both have at the same places"
        )


def _accuracy_of(model: Model, network: Any) -> float:
    """The value of the model's own evaluation for a network in evaluation mode, on the CPU.

    Raises `PreparationError` where it is no finite number.
    """
    import torch

    from harness.runtimes.torch_session import TorchSession

    # What a network keeps of a call made in inference mode could be in no later training.
    session = TorchSession("eager", network, network, torch.device("cpu"), guard=torch.no_grad)
    names, asked = list(model.inputs(1, 0)), list[Predictor]()

    def predict(inputs: Mapping[str, Any]) -> dict[str, Any]:
        # A call of few examples is not filled up: whoever evaluates one at a time would pay for a whole batch of each.
        size = min(BATCH, len(next(iter(inputs.values())))) if model.batchable else None
        asked.append(Predictor(session, size, keep=0, names=names))
        return asked[-1](inputs)

    seed_generators()
    value = float(model.evaluate(predict).value)
    if not math.isfinite(value):
        broken = any(any(one.not_finite.values()) for one in asked)
        cause = (
            "the outputs hold NaN or infinity; where training diverged, lower Training.learning_rate"
            if broken
            else "the outputs are finite, so mend the evaluate, as where it divides by 0"
        )
        raise PreparationError(f"evaluate of {model.name} gives {value} for the teacher or a student: {cause}")
    return value


def _name(into: Any) -> str:
    return str(getattr(into, "id", None) or into.name)


def _gain(taught: Sequence[float], alone: Sequence[float]) -> dict[str, float | int]:
    """The notes on a student with and without its teacher, over the seeds."""
    gains = [a - b for a, b in zip(taught, alone, strict=True)]
    notes: dict[str, float | int] = {
        "student.distilled": round(statistics.fmean(taught), 6),
        "student.alone": round(statistics.fmean(alone), 6),
        "student.gain": round(statistics.fmean(gains), 6),
        "student.seeds": len(gains),
    }
    if len(gains) > 1:
        notes["student.gain.spread"] = round(statistics.stdev(gains), 6)
    return notes
