"""What tests of one's own techniques need: `check_technique`, and models small enough to be trained in a test."""

from __future__ import annotations

import copy
import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.deployment import Deployment
from harness.errors import EvidenceError, PreparationError, SuiteError, UnavailableError
from harness.files import write_atomic
from harness.hardware import cpu
from harness.hardware.base import Hardware
from harness.hardware.check import check_hardware
from harness.model import Model, Training, classification
from harness.records import Evidence, Scalar
from harness.runtimes.base import Runtime, check_available
from harness.runtimes.native import load_network, native_runtime
from harness.specs import spec_of
from harness.techniques.base import Pipeline, Technique, as_pipeline, reference

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["check_hardware", "check_technique", "tiny_onnx_model", "tiny_student_model", "tiny_torch_model"]

CLASSES = 4
SIDE = 12


def check_technique(
    technique: Technique | Pipeline, model: Model, hardware: Hardware = cpu
) -> tuple[tuple[Evidence, ...], dict[str, Scalar]]:
    """Apply a technique to a model, pack, load, call, and hold its promises against what was loaded.

    Gives the evidence and the facts, with what the technique noted. Raises `AssertionError` with what to do where the
    technique does not apply, promises nothing, breaks a promise, or promises only what is true of the untouched model
    as well: a technique that did nothing would keep such promises. Of several steps the last is held to that, against
    what those before it leave, which must run by itself. So it does for what a run would refuse: a fact that no record
    can hold, and a runtime that another process can't rebuild. Raises `UnavailableError` where something it needs is
    not on this machine.

    All of it happens in this process, whose thread count and denormal mode the runtime sets.
    """
    pipeline = as_pipeline(technique)
    missing = hardware.available() or pipeline.unavailable(model, hardware)
    if missing:
        raise UnavailableError(missing)
    reason = pipeline.inapplicable(model)
    if reason:
        raise AssertionError(f"{reason}; check it on a model to which it applies")
    try:
        deployment, read = _deploy(pipeline, model, hardware)
    except EvidenceError as error:
        raise AssertionError(str(error)) from error
    evidence = tuple(promise.check(name, read) for name, promise in deployment.promises)
    broken = [f"{item.technique} promised {item.promise}, found {item.found}" for item in evidence if not item.kept]
    if broken:
        raise AssertionError(
            f"{'; '.join(broken)}. Either the technique does not do its work, or the promise is about the wrong fact; "
            f"the facts are {read}"
        )
    *before, last = pipeline.steps
    # Used again, as a quantizer is for other layers, a technique may promise what its first use has given already.
    while before and before[-1].name == last.name:
        before.pop()
    without = Pipeline(tuple(before) or (reference,))
    _, untouched = _deploy(without, model, hardware)
    own = [promise for name, promise in deployment.promises if name == last.id]
    if all(promise.check(last.id, untouched).kept for promise in own):
        state = f"after {without.id}" if before else "as it is"
        raise AssertionError(
            f"{last.id} promises only what is true of {model.name} {state} ({'; '.join(map(str, own))}), so a "
            "technique that did nothing would keep it too; promise a fact that it changes"
        )
    return evidence, {**deployment.notes, **read}


def _deploy(pipeline: Pipeline, model: Model, hardware: Hardware) -> tuple[Deployment, dict[str, Scalar]]:
    from harness.worker.prepare import recordable  # with it comes numpy, which collecting a suite can do without

    with tempfile.TemporaryDirectory() as folder:
        scratch, packed = Path(folder) / "scratch", Path(folder) / "model"
        scratch.mkdir()
        packed.mkdir()
        native = native_runtime(model.form)
        deployment = pipeline.apply(Deployment(model, load_network(model), native, hardware, scratch))
        check_available(deployment.runtime, hardware)
        _check_rebuilt(deployment.runtime)
        deployment.runtime.pack(deployment.network, model.inputs(deployment.batch_size, 0), packed, hardware)
        session = deployment.runtime.load(packed, hardware)
        inputs = model.inputs(deployment.batch_size, 1)  # as when an artefact is made: not what packing has seen
        read = dict(session.facts(inputs))
        first = next(iter(session.fetch(session(session.stage(inputs))).values()))
        read["batch"] = int(first.shape[0]) if model.batchable and first.ndim else 1
        try:
            recordable({**deployment.notes, **read})
        except PreparationError as error:
            raise AssertionError(str(error)) from error
        return deployment, read


def _check_rebuilt(runtime: Runtime) -> None:
    """Raise `AssertionError` where the process that serves a runtime could not make it of its fields."""
    try:
        rebuilt = spec_of(runtime).build()
    except SuiteError as error:
        raise AssertionError(str(error)) from error
    # By its fields, since a class need not say when two of it are equal.
    names = [field.name for field in dataclasses.fields(rebuilt) if field.compare]
    if any(getattr(rebuilt, name) != getattr(runtime, name) for name in names):
        raise AssertionError(
            f"the process that serves {runtime!r} would rebuild it as {rebuilt!r}; let the arguments of its class say "
            "all that it is"
        )


def tiny_torch_model(name: str = "tiny", channels: int = 16, trained: bool = True) -> Model:
    """A torch model of some thousand weights, two convolutions wide: a bright quarter of a noisy image tells the class.

    It is trained when it is first loaded, in a second, and always to the same weights. Inputs are `image`
    (B, 1, 12, 12), outputs logits (B, 4); it reaches an accuracy of about 0.97.
    """
    return _model(name, "torch", lambda: copy.deepcopy(_network(channels, trained)), training=_training)


def tiny_student_model() -> Model:
    """An untrained student for `tiny_torch_model`, a tenth of its size."""
    return tiny_torch_model("tiny_student", channels=4, trained=False)


def tiny_onnx_model(folder: Path) -> Model:
    """An ONNX model of some thousand weights for the same task, written into `folder` when it is loaded.

    Two layers fitted by least squares, with a random mixing and a ReLU between them, made without torch.
    """

    def load() -> Path:
        import numpy as np
        from onnx import TensorProto, helper, numpy_helper

        images, labels = _examples(1000, 1)
        flat, wanted = images.reshape(len(images), -1), np.eye(CLASSES)[labels]
        mixing = np.random.default_rng(0).standard_normal((CLASSES, 48))
        first = (np.linalg.lstsq(flat, wanted, rcond=None)[0] @ mixing).astype(np.float32)
        second = np.linalg.lstsq(np.maximum(flat @ first, 0), wanted, rcond=None)[0].astype(np.float32)
        graph = helper.make_graph(
            [
                helper.make_node("Flatten", ["image"], ["flat"], name="flatten"),
                helper.make_node("MatMul", ["flat", "first"], ["features"], name="features"),
                helper.make_node("Relu", ["features"], ["hidden"], name="relu"),
                helper.make_node("MatMul", ["hidden", "second"], ["output"], name="classes"),
            ],
            "tiny",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", CLASSES])],
            [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        # Artefacts are made by several processes at a time: none may find half of what another one writes.
        return write_atomic(folder / "tiny.onnx", made.SerializeToString())

    return _model("tiny_onnx", "onnx", load)


@functools.cache
def _network(channels: int, trained: bool) -> Any:
    import torch

    from harness.techniques.training import train

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(1, channels, 3, padding=1),
            torch.nn.BatchNorm2d(channels),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(channels, 2 * channels, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Flatten(),
            torch.nn.Linear(2 * channels * (SIDE // 4) ** 2, CLASSES),
        )
    if trained:
        train(network, _training())
    return network.eval()


def _model(name: str, form: str, load: Callable[[], Any], training: Callable[[], Training] | None = None) -> Model:
    def labelled() -> tuple[Arrays, np.ndarray[Any, Any]]:
        images, labels = _examples(200, 2)
        return {"image": images}, labels

    return Model(
        name=name,
        form=form,
        load=load,
        inputs=lambda batch_size, seed: {"image": _examples(batch_size, 100 + seed)[0]},
        evaluate=classification(labelled),
        calibration=lambda: ({"image": _examples(32, 10 + seed)[0]} for seed in range(4)),
        training=training,
    )


def _examples(count: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Images (count, 1, 12, 12) float32 of noise with one brighter quarter, and its number (count,) int64."""
    import numpy as np

    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    images = random.standard_normal((count, 1, SIDE, SIDE)).astype(np.float32)
    half = SIDE // 2
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[0, row * half : (row + 1) * half, column * half : (column + 1) * half] += 0.7
    return images, labels


def _training() -> Training:
    import torch

    def batches(epoch: int) -> Iterable[tuple[Arrays, np.ndarray[Any, Any]]]:
        for number in range(16):
            images, labels = _examples(32, 1000 + 16 * epoch + number)
            yield {"image": images}, labels

    return Training(batches=batches, loss=torch.nn.functional.cross_entropy, epochs=3, learning_rate=3e-3)
