"""What a user writes to bring a model: `Model`, its labelled data and, for techniques that train, its training.

Arrays at this boundary are numpy; torch is imported by the functions of the suite, in the child that needs them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.errors import PreparationError, SuiteError
from harness.names import check_name
from harness.signatures import signature_of

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]
    Predict = Callable[[Arrays], dict[str, "np.ndarray[Any, Any]"]]

__all__ = ["FORMS", "Evaluation", "Model", "Training", "check_order", "classification", "digest_arrays", "in_order"]

FORMS = ("torch", "onnx", "litert")
"""Forms in which a model may come. Techniques may leave others, each the form of one runtime: `openvino`."""
_NEEDED = {"load": "", "inputs": " batch, seed", "evaluate": " predict"}
"""The fields that are functions in each model, and what they are called with."""
_OPTIONAL = ("calibration", "training", "data")
"""Those that are functions without arguments where they are given."""


@dataclass(frozen=True)
class Evaluation:
    """How well a deployment answered labelled data.

    value     the model's metric, in 0..1, higher is better
    scores    (N,) credit of each example in 0..1; 0 and 1 for right and wrong
    workload  digest of the labelled data (`digest_arrays`): another digest is another question
    label     what `value` is: "top-1 accuracy", "F1"
    answers   (N,) the decision on each example, a finite number or a text, for agreement with the reference; None where
              there is none
    metrics   further values by metric name, for metrics that the suite adds
    """

    value: float
    scores: np.ndarray[Any, Any]
    workload: str
    label: str = "accuracy"
    answers: np.ndarray[Any, Any] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """What techniques that train (fine-tuning, distillation) need of a model; the loop is theirs.

    batches        epoch number -> pairs of inputs (name -> array) and labels (array), in the order of training
    loss           (outputs of the network, labels as a tensor) -> scalar tensor
    epochs         passes that recover a pruned network or teach a student
    learning_rate  peak of the schedule (AdamW, cosine)
    """

    batches: Callable[[int], Iterable[tuple[Arrays, np.ndarray[Any, Any]]]]
    loss: Callable[[Any, Any], Any]
    epochs: int = 5
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class Model:
    """A model under test.

    name         a word for ids and reports
    form         "torch" (load gives a `torch.nn.Module`), "onnx" or "litert" (load gives the path of an .onnx or
                 .tflite file)
    load         () -> the trained fp32 network, ready for inference
    inputs       (batch size, seed) -> named input arrays of one call; other seeds give other values of the same
                 shapes. A torch network gets them as positional arguments in this order, in which those of
                 `evaluate`, `calibration` and `training` are put by their names.
    evaluate     predict -> `Evaluation`; `predict` takes inputs of any number of examples and gives named outputs.
                 It must read its data from disk: suites fetch at set-up, never while measuring.
    calibration  () -> input arrays of a few batches, for static quantization
    training     () -> `Training`, for pruning with fine-tuning and for distillation
    batchable    False where the first axis of the inputs is not a batch of independent items; `predict` then gets
                 exactly the arrays that `evaluate` passes
    data         () -> name -> digest of everything outside the sources that determines the model (weights, corpora)
    unsupported  technique name -> sentence saying why that technique can't work on this model
    """

    name: str
    form: str
    load: Callable[[], Any]
    inputs: Callable[[int, int], Arrays]
    evaluate: Callable[[Predict], Evaluation]
    calibration: Callable[[], Iterable[Arrays]] | None = None
    training: Callable[[], Training] | None = None
    batchable: bool = True
    data: Callable[[], Mapping[str, str]] | None = None
    unsupported: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("model", self.name)
        if self.form not in FORMS:
            raise SuiteError(f"model {self.name}: form must be one of {', '.join(FORMS)}, not {self.form!r}")
        for name in (*_NEEDED, *_OPTIONAL):
            value = getattr(self, name)
            if not callable(value) and (name in _NEEDED or value is not None):
                raise SuiteError(
                    f"model {self.name}: {name} must be a function, since suites are also imported where nothing is "
                    f"measured, and is {type(value).__name__}; write {name}=lambda{_NEEDED.get(name, '')}: …"
                )


def in_order(arrays: Arrays, names: Sequence[str]) -> Arrays:
    """The arrays in the order of `names`, those of `Model.inputs`: a torch network gets them by position. Where others
    stand for some of the names, or there are no names, they are as they were.

    Raises `SuiteError` where one of these names would be read as another: an earlier one is absent, or something else
    stands in its place. And where there are more arrays than names, which no timed call has, and an exported network
    would not read, or where they are no numpy arrays by name.
    """
    _check_arrays(arrays, "the network is given")
    known = [name for name in names if name in arrays]
    others = [name for name in arrays if name not in known]
    if others and not names:
        return arrays
    if others and len(known) == len(names):
        raise SuiteError(
            f"the network is given {', '.join(others)} beside {', '.join(names)}, which is all that Model.inputs "
            "gives: a torch network would read what is more by position, an exported one would not read it at all, and "
            "no timed call has it; give the same arrays wherever the network is called: in Model.inputs, evaluate, "
            "calibration and training"
        )
    given = list(arrays) if others else known
    read = list(names[: len(given)])
    if len(given) > len(read) or any(name in known and name != place for name, place in zip(given, read, strict=True)):
        raise SuiteError(
            f"a torch network gets its inputs by position, and would read {', '.join(given)} as {', '.join(read)}: "
            f"Model.inputs gives {', '.join(names)}; give all of these, and no others, wherever the network is called: "
            "in evaluate, calibration and training"
        )
    return {name: arrays[name] for name in given}


def _check_arrays(arrays: object, said: str) -> None:
    """Raise `SuiteError` for all but numpy arrays by name; `said` is how the error begins."""
    import numpy as np

    cure = "in Model.inputs, evaluate, calibration and training alike"
    if not isinstance(arrays, Mapping):
        raise SuiteError(f"{said} a {type(arrays).__name__}; give a dict of numpy arrays by the inputs' names {cure}")
    for name, array in arrays.items():
        if not isinstance(array, (np.ndarray, np.generic)):
            given = type(array).__name__
            raise SuiteError(
                f"{said} a {given} for {name}; give numpy arrays ({name}.numpy() of a torch tensor) {cure}"
            )


def check_order(model: Model, network: Any) -> None:
    """Raise `SuiteError` where a model's inputs are no numpy arrays by name. Raise `PreparationError` where those of a
    torch network have the names of its arguments in another order, or leave one out that stands before some of them.

    They go by position: a mask would be read as something else, in every arm alike. Other names are the suite's own.
    """
    inputs = model.inputs(1, 0)
    _check_arrays(inputs, f"Model.inputs of {model.name} gives")
    if model.form != "torch":
        return
    try:
        signature = signature_of(network.forward)
        if len(signature.parameters) < 2:
            return
        names = list(inputs)
        bound = list(signature.bind(*names).arguments)
    except (AttributeError, TypeError, ValueError):  # it has no signature, or its first call says what it lacks
        return
    if names != bound and set(names) <= signature.parameters.keys():
        order = list(signature.parameters)
        cure = (
            "give Model.inputs in the order of forward's arguments, or let load wrap the network in a module whose "
            f"forward takes {', '.join(names)} in this order"
        )
        if names == [name for name in order if name in names]:
            between = [name for name in order[: order.index(names[-1])] if name not in names]
            cure = (
                f"forward takes {', '.join(between)} before {names[-1]}: let load wrap the network in a module whose "
                f"forward takes {', '.join(names)} alone and passes them on by name"
            )
        raise PreparationError(
            f"Model.inputs of {model.name} gives {', '.join(names)}, which go by position, and forward would read them "
            f"as {', '.join(bound)}; {cure}"
        )


def digest_arrays(arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """SHA-256 over names, types, shapes and bytes of arrays, as 16 hexadecimal characters.

    Raises `SuiteError` for an array of Python objects.
    """
    import numpy as np

    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        if array.dtype.hasobject:
            raise SuiteError(
                f"{name} holds Python objects, whose bytes are addresses, others in each process; give numbers, or "
                "text of numpy's own: array.astype(str)"
            )
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def classification(
    examples: Callable[[], tuple[Arrays, np.ndarray[Any, Any]]], *, label: str = "top-1 accuracy"
) -> Callable[[Predict], Evaluation]:
    """An `evaluate` for classifiers: the largest of an example's values in the first output against its integer label.

    `examples` gives the input arrays of N examples and their labels (N,), from 0. The first output is (N, classes), and
    may have further axes of length 1. The `evaluate` raises `SuiteError` for another one, and where it has one value an
    example, of which the largest is always the first: no answer would ever change. And for labels that no answer can
    equal: texts, and numbers from 1 to as many as there are classes.
    """

    def evaluate(predict: Predict) -> Evaluation:
        import numpy as np

        inputs, labels = examples()
        name, outputs = next(iter(predict(inputs).items()))
        shape, wanted = np.shape(outputs), np.shape(labels)
        if shape[:1] != wanted or sum(size > 1 for size in shape[1:]) > 1:
            raise SuiteError(
                "classification takes the largest of an example's values, (N, classes), for its label, (N,), and the "
                f"first output, {name}, has the shape {list(shape)}, the labels {list(wanted)}; give as many of both, "
                "or write an evaluate where an example has several labels"
            )
        values = np.asarray(outputs).reshape(len(labels), -1)
        if values.shape[1] < 2:
            raise SuiteError(
                f"classification takes the largest of several values, and the first output, {name}, has one an "
                "example: write an evaluate with a threshold, or put the output of logits or probabilities first"
            )
        given, cure = np.asarray(labels), ""
        if given.dtype.kind not in "iufb":
            cure = f"the labels are {given.dtype}: give the number of each class"
        elif given.min() == 1 and given.max() == values.shape[1]:
            cure = f"the labels go from 1 to {values.shape[1]}, as many as there are classes: subtract 1"
        if cure:
            raise SuiteError(f"classification answers with the place of the largest value, from 0, and {cure}")
        answers = values.argmax(axis=-1)
        scores = (answers == labels).astype(np.float64)
        key = "label"
        while key in inputs:  # an input of this name would not be in the digest
            key += "s"
        return Evaluation(
            value=float(scores.mean()),
            scores=scores,
            workload=digest_arrays({**inputs, key: labels}),
            label=label,
            answers=answers,
        )

    return evaluate
