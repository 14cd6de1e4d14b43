"""LiteRT where its packages are not installed: what is said, and how early; and what can be told without them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import PreparationError, SuiteError
from harness.hardware import cpu
from harness.runtimes import packages
from harness.runtimes.facts import Weight
from harness.runtimes.litert import LiteRt
from harness.runtimes.litert_graph import Operator
from harness.runtimes.native import native_runtime
from harness.sensitivity import sensitivity
from harness.techniques import int4_dynamic, int8_dynamic, int8_static, litert, onnxruntime, quantize_litert, to_litert
from harness.techniques.base import as_pipeline
from harness.testing import tiny_torch_model
from suites.models import basic_pitch, basic_pitch_litert
from tests.fake_cuda import Gpu


@pytest.fixture
def _absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_found", lambda module: "litert" not in module)


@pytest.mark.usefixtures("_absent")
def test_the_extra_that_brings_it_is_named() -> None:
    model = tiny_torch_model()
    runtime = "ai_edge_litert is not installed (pip install 'inference-harness[litert]')"
    assert native_runtime("litert").unavailable(cpu) == runtime
    assert as_pipeline(litert).unavailable(model, cpu) == runtime
    assert as_pipeline(int8_dynamic).unavailable(basic_pitch_litert, cpu) == runtime


def test_the_converter_is_an_extra_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_litert.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(packages, "_found", lambda module: module != "litert_torch")
    assert as_pipeline(litert).unavailable(tiny_torch_model(), cpu) == (
        "litert_torch is not installed (pip install 'inference-harness[litert-torch]')"
    )
    assert as_pipeline(litert | int8_static).unavailable(basic_pitch_litert, cpu) is None


def test_no_extra_is_named_where_the_converter_can_not_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is there all the same, it is taken."""
    monkeypatch.setattr(to_litert.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(packages, "_found", lambda module: module != "litert_torch")
    assert as_pipeline(litert).unavailable(tiny_torch_model(), cpu) == (
        "litert-torch has no converter for Linux on ARM (convert on an x86 machine or a Mac, and give the file to a "
        'Model(form="litert"))'
    )
    assert as_pipeline(litert | int8_static).unavailable(basic_pitch_litert, cpu) is None
    monkeypatch.setattr(packages, "_found", lambda _: True)
    assert as_pipeline(litert).unavailable(tiny_torch_model(), cpu) is None


def test_it_runs_on_cpus_alone() -> None:
    gpu: Any = Gpu()
    assert LiteRt().unavailable(gpu) == ("LiteRT runs on CPUs here, and cuda is none (put cpu on the hardware axis)")
    assert as_pipeline(litert).unavailable(tiny_torch_model(), gpu) == LiteRt().unavailable(gpu)


def test_the_sensitivity_of_a_litert_model_is_refused() -> None:
    with pytest.raises(SuiteError, match=r"basic_pitch_litert can't be measured: .* try its layers with keep"):
        sensitivity(basic_pitch_litert)


def test_forms_are_told_apart_at_collection(tmp_path: Path) -> None:
    model = tiny_torch_model("digits")
    assert as_pipeline(onnxruntime | litert).inapplicable(model) == (
        "litert works on a torch network or a LiteRT network, and the steps before it have made it an ONNX network: "
        "put it first"
    )
    assert as_pipeline(int4_dynamic).inapplicable(model) == (
        "int4_dynamic works on a LiteRT network, and gets a torch network: put litert before it (litert | int4_dynamic)"
    )
    assert "exists only as a LiteRT network" in str(as_pipeline(onnxruntime).inapplicable(basic_pitch_litert))
    assert "exists only as an ONNX network" in str(as_pipeline(litert).inapplicable(basic_pitch))
    assert as_pipeline(litert | int8_static).inapplicable(model) is None


def reader(name: str, wrote: str) -> Operator:
    return Operator(name, 0, (0, 1), (2,), (wrote,), "float32", ("float32",))


def a_graph(*readers: Operator) -> Any:
    """One with a weight of 32 numbers, which these operators read."""
    return SimpleNamespace(weights_with_readers=lambda: [(Weight("float32", 32, 0), readers)])


def test_a_table_that_is_looked_up_and_multiplied_is_promised_as_stored_twice() -> None:
    """The quantizer leaves a copy in float for the look-up, and all of the table was promised in integers."""
    lookup, product = reader("GATHER", "row"), reader("FULLY_CONNECTED", "scores")
    reach = quantize_litert.EIGHT_BITS
    assert quantize_litert._share(a_graph(lookup, product), reach, [])[0] == 0.45
    assert quantize_litert._share(a_graph(lookup, product), reach, [lookup])[0] == 0.45
    assert quantize_litert._share(a_graph(product), reach, [])[0] == 0.9
    with pytest.raises(PreparationError, match="those of this network are in FULLY_CONNECTED, GATHER"):
        quantize_litert._share(a_graph(lookup, product), reach, [product])


def test_a_product_is_promised_where_one_is_in_reach_and_not_kept() -> None:
    """Of a network whose tables alone are left, one that computes on integers was promised."""
    lookup, product = reader("EMBEDDING_LOOKUP", "row"), reader("FULLY_CONNECTED", "scores")
    reach = quantize_litert.EIGHT_BITS
    assert quantize_litert._share(a_graph(lookup), reach, []) == (0.9, False)
    assert quantize_litert._share(a_graph(lookup, product), reach, []) == (0.9, True)
    assert quantize_litert._share(a_graph(lookup, product), reach, [product]) == (0.45, False)
