"""`check_technique` and the models that ship for tests."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import Deployment, Promise, UnavailableError, technique
from harness.grid import Case
from harness.hardware import Cpu, Hardware, cpu
from harness.runtimes.eager import Eager
from harness.runtimes.torch_session import TorchSession
from harness.techniques import Technique, batched, onnxruntime, reference
from harness.techniques.base import as_pipeline
from harness.testing import _check_rebuilt, check_technique, tiny_onnx_model, tiny_torch_model
from harness.worker.prepare import _make

TORCH = tiny_torch_model()


@technique
def idle(deployment: Deployment) -> Deployment:
    return deployment


@technique
def hollow(deployment: Deployment) -> Deployment:
    return deployment.promising(Promise("runtime", equals="eager"))


@technique
def boastful(deployment: Deployment) -> Deployment:
    return deployment.promising(Promise("sparsity", at_least=0.5))


@technique
def misspelt(deployment: Deployment) -> Deployment:
    return deployment.promising(Promise("sparseness", at_least=0.0))


@technique(requires=lambda hardware, form: "needs a quantum computer (buy one)")
def impossible(deployment: Deployment) -> Deployment:
    return deployment


@dataclasses.dataclass(frozen=True)
class Licensed(Eager):
    """A runtime of somebody's own, which is not here."""

    def unavailable(self, hardware: Hardware) -> str | None:
        return f"needs a licence on {hardware.name} (buy one)"

    def pack(self, network: Any, example: Any, folder: Path, hardware: Hardware) -> None:
        raise AssertionError("it is not asked to")


@technique(takes="torch")
def licensed(deployment: Deployment) -> Deployment:
    return deployment.replace(runtime=Licensed()).promising(Promise("batch", equals=1))


@dataclasses.dataclass(frozen=True)
class Listing(Eager):
    """Takes what no message holds."""

    layers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Tuned(Eager):
    """Holds what none of its arguments says."""

    level: int = dataclasses.field(default=0, init=False)


@dataclasses.dataclass(frozen=True, eq=False)
class Single(Eager):
    """Of which no two are equal."""

    level: int = 0

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


@technique(takes="torch")
def listed(deployment: Deployment) -> Deployment:
    return deployment.replace(runtime=Listing(("0", "4"))).promising(Promise("batch", equals=1))


@technique(takes="torch")
def tuned(deployment: Deployment) -> Deployment:
    runtime = Tuned()
    object.__setattr__(runtime, "level", 2)
    return deployment.replace(runtime=runtime).promising(Promise("batch", equals=1))


@technique(takes="torch")
def noting(deployment: Deployment, gain: Any, promised: str = "sparsity") -> Deployment:
    """A network of zeros."""
    network = copy.deepcopy(deployment.network)
    for weight in network.parameters():
        weight.data.zero_()
    return deployment.replace(network=network).noting(gain=gain).promising(Promise(promised, at_least=0.05))


@technique(takes="onnx")
def folded(deployment: Deployment) -> Deployment:
    return deployment


def test_a_technique_that_promises_nothing() -> None:
    with pytest.raises(AssertionError, match="technique idle promises nothing"):
        check_technique(idle, TORCH)


def test_a_technique_that_promises_what_is_true_anyway() -> None:
    with pytest.raises(AssertionError, match="promises only what is true of tiny as it is"):
        check_technique(hollow, TORCH)


def test_a_last_step_that_promises_what_is_true_without_it() -> None:
    """The promises of the step before it, which the untouched model breaks, spoke for it."""
    with pytest.raises(AssertionError, match=r"hollow promises only what is true of tiny after batched:4 \(runtime = "):
        check_technique(batched(4) | hollow, TORCH)


def test_a_technique_that_does_not_do_its_work() -> None:
    with pytest.raises(AssertionError, match=r"boastful promised sparsity >= 0\.5, found 0\.0.*the facts are"):
        check_technique(boastful, TORCH)


def test_a_promise_about_a_fact_that_is_not_there() -> None:
    with pytest.raises(AssertionError, match=r"sparseness >= 0\.0, found not found"):
        check_technique(misspelt, TORCH)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (listed, r"Listing\.layers must be a string, number, bool or None to reach a worker"),
        (tuned, r"the process that serves Tuned\(level=2\) would rebuild it as Tuned\(level=0\)"),
        (noting(np.float32(0.5)), r"the fact gain is .*0\.5.*, which no record can hold"),
        (noting(0.5, "gain"), r"noting.* promised gain >= 0\.05, found not found"),
    ],
    ids=["a tuple", "no argument", "a number of numpy's", "a promise that rests on a note"],
)
def test_what_each_run_would_refuse_is_refused(value: Technique, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_technique(value, TORCH)


def test_a_runtime_need_not_be_equal_to_what_its_process_makes() -> None:
    """One that a run serves was refused."""
    assert Single(level=2) != Single(level=2)
    _check_rebuilt(Single(level=2))


def test_a_fact_of_the_runtimes_that_no_record_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TorchSession, "facts", lambda *_: {"sparsity": np.float32(1)})
    with pytest.raises(AssertionError, match=r"the fact sparsity is .*, which no record can hold"):
        check_technique(noting(0.5), TORCH)


def test_what_a_technique_noted_is_among_the_facts() -> None:
    evidence, facts = check_technique(noting(0.5), TORCH)
    assert [item.kept for item in evidence] == [True]
    assert facts["gain"] == 0.5
    assert facts["batch"] == 1


def test_a_technique_that_does_not_apply() -> None:
    with pytest.raises(AssertionError, match="put onnxruntime before it"):
        check_technique(folded, TORCH)


def test_a_technique_or_hardware_that_is_not_here() -> None:
    with pytest.raises(UnavailableError, match="buy one"):
        check_technique(impossible, TORCH)
    with pytest.raises(UnavailableError, match="10000 threads asked"):
        check_technique(hollow, TORCH, Cpu(10_000))
    with pytest.raises(UnavailableError, match="needs a licence on cpu"):
        check_technique(licensed, TORCH)


def test_a_runtime_that_is_not_here_makes_no_artefact(tmp_path: Path) -> None:
    """Nobody asked it, so that it failed by whatever it lacked, and its case was red."""
    with pytest.raises(UnavailableError, match="needs a licence on cpu") as caught:
        _make(Case(TORCH, as_pipeline(licensed), cpu), tmp_path)
    assert caught.value.outcome == "unavailable"


def test_a_runtime_change_that_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="onnxruntime promises only what is true of tiny_onnx as it is"):
        check_technique(onnxruntime, tiny_onnx_model(tmp_path))


def test_the_reference_changes_nothing() -> None:
    with pytest.raises(AssertionError, match="reference promises only"):
        check_technique(reference, TORCH)


@pytest.mark.parametrize("form", ["torch", "onnx"])
def test_the_tiny_models_answer_well(form: str, tmp_path: Path) -> None:
    from harness.runtimes.onnxruntime import OnnxRuntime

    model = TORCH if form == "torch" else tiny_onnx_model(tmp_path)
    network = model.load()
    if form == "onnx":
        import onnx

        network = onnx.load(str(network))
    runtime = Eager() if form == "torch" else OnnxRuntime()
    runtime.pack(network, model.inputs(1, 0), tmp_path, cpu)
    session = runtime.load(tmp_path, cpu)
    evaluation = model.evaluate(lambda inputs: session.fetch(session(session.stage(inputs))))
    assert evaluation.value > 0.9
    assert len(evaluation.scores) == 200


def test_inputs_follow_from_the_seed() -> None:
    one, same, other = (TORCH.inputs(2, seed)["image"] for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one.shape == (2, 1, 12, 12)


def test_each_load_gives_a_network_of_its_own() -> None:
    first = TORCH.load()
    first[0].weight.data.zero_()
    assert TORCH.load()[0].weight.any()
    assert dataclasses.replace(TORCH, name="other").load()[0].weight.any()
