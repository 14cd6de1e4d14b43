"""`check_technique` and the models that ship for tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import Deployment, Promise, UnavailableError, technique
from harness.grid import Case
from harness.hardware import Cpu, Hardware, cpu
from harness.runtimes.eager import Eager
from harness.techniques import onnxruntime, reference
from harness.techniques.base import as_pipeline
from harness.testing import check_technique, tiny_onnx_model, tiny_torch_model
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


@technique(takes="onnx")
def folded(deployment: Deployment) -> Deployment:
    return deployment


def test_a_technique_that_promises_nothing() -> None:
    with pytest.raises(AssertionError, match="technique idle promises nothing"):
        check_technique(idle, TORCH)


def test_a_technique_that_promises_what_is_true_anyway() -> None:
    with pytest.raises(AssertionError, match="promises only what is true of tiny as it is"):
        check_technique(hollow, TORCH)


def test_a_technique_that_does_not_do_its_work() -> None:
    with pytest.raises(AssertionError, match=r"boastful promised sparsity >= 0\.5, found 0\.0.*the facts are"):
        check_technique(boastful, TORCH)


def test_a_promise_about_a_fact_that_is_not_there() -> None:
    with pytest.raises(AssertionError, match=r"sparseness >= 0\.0, found not found"):
        check_technique(misspelt, TORCH)


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
