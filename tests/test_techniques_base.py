"""What a technique is: ids, parameters, order, what it needs, and promises that must be made."""

from __future__ import annotations

import dataclasses
import functools
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import (
    Deployment,
    EvidenceError,
    Model,
    PreparationError,
    Promise,
    SuiteError,
    UnavailableError,
    grid,
    technique,
)
from harness.hardware import Cpu, Hardware, cpu
from harness.records import Scalar
from harness.runtimes.eager import Eager
from harness.runtimes.onnxruntime import OnnxRuntime
from harness.signatures import signature_of
from harness.techniques import (
    Pipeline,
    Technique,
    base,
    batched,
    bf16,
    compiled,
    distilled,
    int8_dynamic,
    int8_static,
    onnxruntime,
    openvino,
    pruned_channels,
    pruned_n_m,
    pruned_weights,
    reference,
    tensorrt,
    tensorrt_rtx,
)
from harness.techniques.base import as_pipeline
from harness.testing import check_technique, tiny_onnx_model, tiny_student_model, tiny_torch_model
from harness.worker.prepare import evidence_of

TORCH = tiny_torch_model()
ONNX = tiny_onnx_model(Path("unused"))
STUDENT = tiny_student_model()


@technique(takes="onnx")
def folded(deployment: Deployment) -> Deployment:
    return deployment


def deployment() -> Deployment:
    return Deployment(TORCH, object(), Eager(), cpu, Path("unused"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (reference, "reference"),
        (onnxruntime("all"), "onnxruntime"),
        (onnxruntime(level="basic"), "onnxruntime:basic"),
        (pruned_channels(0.5), "pruned_channels:0.5"),
        (int8_static(ops="-1"), "int8_static:ops--1"),
        (pruned_weights(0.8, finetune=False), "pruned_weights:0.8:False"),
        (distilled(into=STUDENT), "distilled:tiny_student"),
        (int8_static(ops="Conv"), "int8_static:ops-Conv"),
        (int8_static("entropy", ops=["Conv", "MatMul"]), "int8_static:entropy:ops-Conv-MatMul"),
        (int8_static(ops={"MatMul", "Conv", "Gemm", "LSTM"}), "int8_static:ops-Conv-Gemm-LSTM-MatMul"),
        (int8_static(ops=frozenset(["Conv"])), "int8_static:ops-Conv"),
        (int8_dynamic(ops="MatMul"), "int8_dynamic"),
        (pruned_n_m(finetune=False), "pruned_n_m:False"),
        (pruned_n_m(1, 2), "pruned_n_m:1:2"),
        (pruned_channels(0.5) | onnxruntime | int8_static, "pruned_channels:0.5+onnxruntime+int8_static"),
        (compiled(mode="max-autotune"), "compiled:mode-max-autotune"),
        (onnxruntime | batched(32), "onnxruntime+batched:32"),
    ],
)
def test_ids_name_what_differs_from_the_defaults(value: Pipeline, expected: str) -> None:
    assert value.id == expected


@technique
def blocked(deployment: Deployment, bits: int = 8, group: int = 64, *, axis: int = 0) -> Deployment:
    return deployment


def test_two_techniques_have_two_ids_and_one_has_one_however_it_is_given() -> None:
    """Both were `blocked:4`, and no grid could hold them; given one by one, 4 bits of groups of 16 were 16 of 4."""
    assert (blocked(bits=4).id, blocked(group=4).id) == ("blocked:4", "blocked:group-4")
    assert blocked(8, 4).id == blocked(group=4).id
    given = [blocked(4, 16, axis=1), blocked(axis=1)(group=16)(bits=4), blocked(bits=4)(axis=1)(group=16)]
    assert {one.id for one in given} == {"blocked:4:16:axis-1"}


@technique
def rounded(deployment: Deployment, by: Any) -> Deployment:
    return deployment


def test_the_technique_that_the_module_shows_keeps_its_promise() -> None:
    shown: dict[str, Any] = {"Promise": Promise, "technique": technique}
    exec(textwrap.dedent((base.__doc__ or "").partition("::\n")[2]), shown)
    check_technique(shown["batched"](4), STUDENT)


class Nameless:
    """Is shown with its address, which differs from process to process."""


def test_functions_and_classes_are_called_by_their_names() -> None:
    assert rounded(deployment).id == "rounded:deployment"
    assert rounded(Nameless).id == "rounded:Nameless"
    assert rounded(STUDENT).id == "rounded:tiny_student"


def test_a_set_has_one_text_in_every_process_also_inside_of_other_values() -> None:
    words = {"one", "two", "three", "four", "five"}
    ordered = "five-four-one-three-two"
    assert rounded({"by": [frozenset(words)]}).id == f"rounded:by-{ordered}"
    assert rounded(({frozenset(words), "else"}, 1)).id == f"rounded:{ordered}-else-1"
    assert rounded({frozenset(words): 2}).id == f"rounded:{ordered}-2"


@pytest.mark.parametrize("value", [Nameless(), [deployment]])
def test_a_value_that_has_another_name_in_each_process_is_refused(value: Any) -> None:
    with pytest.raises(SuiteError, match=r"rounded: its parameter 'by' is .* at 0x.*give a value with a `name`"):
        _ = rounded(value).id


@pytest.mark.parametrize(
    ("value", "model", "words"),
    [
        (folded, TORCH, "put onnxruntime before it (onnxruntime | folded)"),
        (onnxruntime | pruned_channels(0.5), TORCH, "the steps before it have made it an ONNX network: put it first"),
        (onnxruntime | bf16, TORCH, "put it first"),
        (bf16, ONNX, "bf16 works on a torch network, and tiny_onnx exists only as an ONNX network"),
        (onnxruntime | compiled, ONNX, "exists only as an ONNX network"),
        (pruned_weights(0.5), dataclasses.replace(TORCH, training=None), "Model.training"),
        (distilled(into=STUDENT), dataclasses.replace(TORCH, training=None), "Model.training"),
        (onnxruntime | int8_static, dataclasses.replace(TORCH, calibration=None), "Model.calibration"),
        (batched(4), dataclasses.replace(ONNX, batchable=False), "Model.batchable"),
        (tensorrt(max_batch=8), dataclasses.replace(ONNX, batchable=False), "Model.batchable"),
        (tensorrt_rtx(max_batch=8), dataclasses.replace(TORCH, batchable=False), "Model.batchable"),
        (bf16, dataclasses.replace(TORCH, unsupported={"bf16": "it overflows."}), "bf16 on tiny: it overflows."),
    ],
)
def test_what_does_not_apply_says_why(value: Pipeline, model: Model, words: str) -> None:
    reason = as_pipeline(value).inapplicable(model)
    assert reason is not None
    assert words in reason


@pytest.mark.parametrize(
    ("value", "model"),
    [
        (reference, TORCH),
        (reference, ONNX),
        (int8_static, ONNX),
        (onnxruntime | int8_static, TORCH),
        (pruned_weights(0.5, finetune=False), dataclasses.replace(TORCH, training=None)),
        (pruned_channels(0.5, False), dataclasses.replace(TORCH, training=None)),
        (int8_dynamic, dataclasses.replace(ONNX, calibration=None)),
        (tensorrt, dataclasses.replace(ONNX, batchable=False)),
        (tensorrt_rtx(max_batch=8), TORCH),
    ],
)
def test_what_applies_gives_no_reason(value: Pipeline, model: Model) -> None:
    assert as_pipeline(value).inapplicable(model) is None


def test_a_missing_parameter_is_named_with_what_to_write() -> None:
    with pytest.raises(SuiteError, match=r"write pruned_channels\(fraction=…\)"):
        as_pipeline(pruned_channels)


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(SuiteError, match="batched"):
        batched(4, sorted=True)


@pytest.mark.parametrize(
    "step", [pruned_weights(0.0), pruned_weights(80), pruned_channels(1.0), batched(0), distilled(ONNX)]
)
def test_values_that_mean_nothing_are_refused(step: Technique) -> None:
    with pytest.raises(SuiteError):
        step.apply(deployment())


@pytest.mark.parametrize("step", [onnxruntime(provider="openvno"), openvino(precision="int8")])
def test_a_value_that_means_nothing_fails_its_case_and_not_the_run(step: Technique) -> None:
    """Whether it is here is asked of all cases before the first one: the error ended the run, and named no case."""
    assert step.unavailable(cpu, "onnx") is None
    with pytest.raises(SuiteError, match=r"'(openvno|int8)'"):
        step.apply(deployment())


def test_what_can_not_be_asked_ends_its_case_and_not_the_run() -> None:
    """It is asked of all cases before the first one: an error of `requires` ended the run, and named no technique."""

    def failing(error: Exception) -> Technique:
        def requires(hardware: Hardware, form: str) -> str | None:
            raise error

        @technique(requires=requires)
        def unsure(deployment: Deployment) -> Deployment:
            return deployment.promising(Promise("batch", equals=1))

        return unsure

    absent = as_pipeline(failing(UnavailableError("no part here", "buy one")))
    assert absent.unavailable(TORCH, cpu) == "no part here (buy one)"
    broken = as_pipeline(failing(KeyError("part")))
    assert broken.unavailable(TORCH, cpu) is None
    with pytest.raises(PreparationError, match="technique unsure failed: KeyError: 'part'"):
        broken.apply(deployment())


def test_the_promises_are_signed_with_the_id() -> None:
    after = (batched(4) | batched(8)).apply(deployment())
    assert [name for name, _ in after.promises] == ["batched:4", "batched:8"]
    assert after.batch_size == 8


def test_promising_nothing_is_refused() -> None:
    @technique
    def idle(deployment: Deployment) -> Deployment:
        return deployment

    with pytest.raises(EvidenceError, match="promises nothing"):
        idle.apply(deployment())


def test_dropping_the_promises_of_the_steps_before_is_refused() -> None:
    """It went unseen where two came in the place of one, and nobody looked whether the first step had happened."""

    @technique
    def halved(deployment: Deployment) -> Deployment:
        own = (Promise("weights.float16", at_least=0.9), Promise("arithmetic.float16", at_least=0.9))
        return deployment.replace(promises=tuple(("", promise) for promise in own))

    with pytest.raises(EvidenceError, match=r"technique halved drops promises of the steps before it, .*promising"):
        (batched(4) | halved).apply(deployment())
    assert [name for name, _ in halved.apply(deployment()).promises] == ["halved"] * 2


def test_a_model_that_can_be_no_reference_is_told_what_one_is() -> None:
    facts: dict[str, Scalar] = {"batch": 1, "runtime": "eager", "weights.float16": 1.0, "precision": "float32"}
    with pytest.raises(EvidenceError) as error:
        evidence_of(reference.apply(deployment()), facts)
    said = str(error.value)
    assert said.startswith("reference promised weights.float32 >= 0.999, found not found: the reference is what")
    assert "a float32 network with at least one weight matrix; let `load` of tiny give that" in said
    assert all(item.kept for item in evidence_of(reference.apply(deployment()), {**facts, "weights.float32": 1.0}))


def test_a_mask_of_8_bits_is_named_where_it_makes_a_float32_network_none() -> None:
    """The network was said to be no float32 network, and all that is trained of it was."""
    facts: dict[str, Scalar] = {"batch": 1, "runtime": "eager", "weights.float32": 0.9, "precision": "float32"}
    words = r"by a technique; buffers of 8-bit integers count as weights: make masks bool, and tables int64$"
    for name in ("weights.uint8", "weights.int8"):
        with pytest.raises(EvidenceError, match=words):
            evidence_of(reference.apply(deployment()), {**facts, name: 0.1})
    with pytest.raises(EvidenceError, match=r"by a technique$"):
        evidence_of(reference.apply(deployment()), {**facts, "weights.float16": 0.1})


def test_a_broken_promise_of_another_technique_is_that_techniques() -> None:
    with pytest.raises(EvidenceError, match=r"batched:4 promised batch = 4, found 1: the technique did not do"):
        evidence_of(batched(4).apply(deployment()), {"batch": 1})


def test_the_reference_in_a_pipeline_with_others_is_to_be_left_out() -> None:
    """A load that gave what it should was told to give it."""
    facts: dict[str, Scalar] = {"batch": 4, "runtime": "eager", "weights.float32": 1.0, "precision": "float32"}
    with pytest.raises(EvidenceError) as error:
        evidence_of((reference | batched(4)).apply(deployment()), facts)
    assert str(error.value) == (
        "reference promised batch = 1, found 4: reference is the model as it is; leave it out of a pipeline that "
        "changes that"
    )


def test_a_failure_names_the_technique_and_the_cause() -> None:
    @technique
    def broken(deployment: Deployment, n: int) -> Deployment:
        raise ValueError("no such layer")

    with pytest.raises(PreparationError, match="technique broken:3 failed: ValueError: no such layer"):
        broken(3).apply(deployment())


def test_giving_something_else_than_a_deployment_is_refused() -> None:
    @technique
    def wrong(deployment: Deployment) -> Any:
        return None

    with pytest.raises(PreparationError, match="NoneType instead of a Deployment"):
        wrong.apply(deployment())


def test_a_form_that_a_technique_leaves_and_does_not_declare_is_refused() -> None:
    """It worked alone, and what followed it was skipped: `onnxruntime` was to be put before that."""

    def to_onnx(deployment: Deployment) -> Deployment:
        return deployment.replace(runtime=OnnxRuntime()).promising(Promise("runtime", equals="onnxruntime"))

    with pytest.raises(PreparationError, match=r"form 'onnx' and declares 'torch': write @technique\(gives='onnx'\)"):
        technique(takes="torch")(to_onnx).apply(deployment())
    assert technique(takes="torch", gives="onnx")(to_onnx).apply(deployment()).form == "onnx"


def test_needs_may_follow_from_the_parameters() -> None:
    assert pruned_weights(0.5).needed == ("training",)
    assert pruned_weights(0.5, False).needed == ()
    assert distilled(STUDENT).needed == ("training",)


def test_one_need_may_be_given_as_a_text_and_one_that_no_model_has_is_refused() -> None:
    """A text was taken for its letters, and each of them for something that the model lacks."""

    def taught(deployment: Deployment) -> Deployment:
        return deployment

    made = technique(needs="training")(taught)
    assert made.needed == ("training",)
    assert as_pipeline(made).inapplicable(TORCH) is None
    said = "technique taught needs 'trainings', and a model has training, calibration, batchable"
    with pytest.raises(SuiteError, match=said):
        technique(needs=["calibration", "trainings"])(taught)
    reason = f"taught needs data, which the model {TORCH.name} does not have"
    assert as_pipeline(technique(needs=["training", "data"])(taught)).inapplicable(TORCH) == reason
    assert technique(needs=lambda given: "training")(taught).needed == ("training",)


def plain(deployment: Deployment, x: int = 0) -> Deployment:
    return deployment


@dataclasses.dataclass(frozen=True)
class MyBoard(Cpu):
    """Its name can be no part of an id."""

    @property
    def name(self) -> str:
        return "my board"


def on(*hardware: Any) -> Any:
    return grid(model=[TORCH], technique=[reference], hardware=hardware)


@pytest.mark.parametrize(
    ("mistaken", "said"),
    [
        (
            lambda: as_pipeline(technique(needs=lambda given: ["trainings"])(plain)).inapplicable(TORCH),
            "technique plain needs 'trainings', and a model has training, calibration, batchable",
        ),
        (lambda: on(cpu, Cpu), r"grid: Cpu on the axis 'hardware' is a class; write Cpu\(\)"),
        (lambda: on(MyBoard()), "hardware name 'my board': use only letters"),
        (lambda: rounded(np.ones(3)), "technique rounded: its parameter 'by' is an array, .* give a number or a text"),
        (lambda: technique(functools.partial(plain, x=1)), "has no name for a technique; write a function with def"),
    ],
    ids=["a need that a function gives", "a class", "a space", "an array", "no name"],
)
def test_a_usual_mistake_is_named_with_its_cure(mistaken: Callable[[], object], said: str) -> None:
    """Each ended in an error of Python's own, with neither technique nor cure."""
    with pytest.raises(SuiteError, match=said):
        mistaken()


def test_a_number_of_numpys_is_a_parameter_and_so_is_a_class_of_arrays() -> None:
    assert rounded(np.float64(0.5)).id == "rounded:0.5"
    assert rounded(np.ndarray).id == "rounded:ndarray"


def test_a_parameter_that_can_not_be_given_by_its_name_is_refused() -> None:
    """What was given as **options went nowhere: the technique ran with its defaults under another id."""

    def collects(deployment: Deployment, n: int, **options: Any) -> Deployment:
        return deployment

    def lists(deployment: Deployment, *values: Any) -> Deployment:
        return deployment

    def closed(deployment: Deployment, n: int, /) -> Deployment:
        return deployment

    functions: list[tuple[Any, str]] = [(collects, r"\*\*options"), (lists, r"\*values"), (closed, "n")]
    for function, shown in functions:
        with pytest.raises(
            SuiteError, match=rf"technique {function.__name__}: .* names, and {shown}\b.* can't be; write"
        ):
            technique(function)

    def usual(deployment: Deployment, /, n: int, *, ops: str = "all") -> Deployment:
        return deployment

    assert technique(usual)(2, ops="Conv").id == "usual:2:ops-Conv"


@pytest.mark.parametrize(
    ("promise", "found", "kept"),
    [
        (Promise("x", at_least=0.5), 0.5, True),
        (Promise("x", at_least=0.5), 0.499, False),
        (Promise("x", at_most=2), 2, True),
        (Promise("x", at_most=2), 3, False),
        (Promise("x", at_least=0.5), float("nan"), False),
        (Promise("x", at_least=0.5), "0.9", False),
        (Promise("x", equals="int8"), "float32", False),
        (Promise("x", at_most=1), None, False),
    ],
)
def test_a_promise_is_kept_only_by_a_fact_that_is_there(promise: Promise, found: Scalar | None, kept: bool) -> None:
    facts: dict[str, Scalar] = {} if found is None else {"x": found}
    assert promise.check("t", facts).kept is kept


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated when a function is defined")
def test_annotations_may_name_what_is_imported_for_type_checkers_alone() -> None:
    """Python evaluates them when they are asked for: collecting such a suite was a NameError."""
    names: dict[str, Any] = {}
    source = "def mine(deployment: Deployment, share: Share = 0.5) -> Deployment: return deployment"
    exec(compile(source, "suite", "exec", dont_inherit=True), names)
    made = technique(names["mine"])
    assert made(0.25).id == "mine:0.25"
    assert made.needed == ()
    as_pipeline(made)
    assert list(signature_of(names["mine"]).parameters) == ["deployment", "share"]
