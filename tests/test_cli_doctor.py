"""`harness doctor`: what is here, what is not and how to get it, and how noisy the machine is."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

import harness.techniques
from harness.cli import doctor
from harness.cli.main import main
from harness.cli.noise import Noise
from harness.cli.survey import Survey
from harness.errors import MeasurementError
from harness.techniques import Technique
from tests.bare import run_bare
from tests.fake_nvml import FakeBoard, fake_nvml

CALL = "import sys; from harness.cli.main import main; sys.exit(main(sys.argv[1:]))"
QUIET = Noise(seconds=2.0, call=0.002, spread=0.04, paired=0.004, pressure=0.0, steal=0.0)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "measure_noise", lambda: QUIET)


@pytest.mark.usefixtures("quiet")
def test_text_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    names = [name for name, value in vars(harness.techniques).items() if isinstance(value, Technique)]
    assert len(names) >= 10
    for name in ("cpu", "cuda", "eager", "inductor", "onnxruntime", *names):
        assert [line for line in text.splitlines() if line.split()[:1] == [name]], f"{name} is not in the text"
    assert "differ by 0.40 %" in text
    assert "quiet: good to measure on" in text


@pytest.mark.usefixtures("quiet")
def test_a_gpu_is_described_with_its_state(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([FakeBoard("GPU-aaaa")]))
    monkeypatch.setattr(sys.modules["harness.hardware.cuda"], "_torch_without_cuda", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert main(["doctor", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["identities"]["cuda"]["model"] == "NVIDIA H100 PCIe"
    assert data["states"]["cuda"]["sm_clock"] == 1755
    assert {item["name"] for item in data["runtimes"] if item["hardware"] == "cuda"} == {
        "eager", "cudagraph", "inductor", "aotinductor", "onnxruntime", "onnxruntime:cuda", "onnxruntime:tensorrt",
        "onnxruntime:tensorrt_rtx", "openvino", "litert", "tensorrt", "tensorrt_rtx"
    }  # fmt: skip


def test_a_system_on_which_no_case_can_be_measured_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a run names it. Nothing is called available there, and nothing is timed."""
    monkeypatch.setattr("harness.measure.environment.sys", SimpleNamespace(platform="win32"))
    monkeypatch.delattr(os, "getloadavg")
    monkeypatch.setattr(doctor, "measure_noise", lambda: pytest.fail("it was timed"))
    assert main(["doctor", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["noise"] is None
    assert data["noise_failure"].startswith("cases are measured on Linux, and this is win32: ")
    assert [item["name"] for item in data["hardware"]] == ["cpu", "edge", "cuda"]
    assert {item["reason"] for item in data["hardware"]} == {data["noise_failure"]}
    assert data["runtimes"] == data["techniques"] == []
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert f"could not be measured: {data['noise_failure']}" in text
    assert "  available" not in text


def test_a_compiler_that_cxx_names_and_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told to install one, and g++ was there."""
    monkeypatch.setenv("CXX", "ccache g++")
    found = Survey("0.1.0", "3.11", "Linux", (), (), (), {}, {}, {}, compiler="", energy=())
    lines = list(doctor._text(found, QUIET, ""))
    assert "  none (CXX names 'ccache g++', which is no program here: unset it, or name one program)" in lines


def test_a_child_that_fails_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> Noise:
        raise MeasurementError("the anchor arm was killed")

    monkeypatch.setattr(doctor, "measure_noise", fail)
    assert main(["doctor"]) == 0
    assert "could not be measured: the anchor arm was killed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "quiet: good to measure on"),
        ({"pressure": 0.3}, "busy"),
        ({"pressure": None, "paired": 0.08}, "restless"),
        ({"pressure": None}, "quiet, as far as this kernel tells"),
        ({"pressure": None, "steal": None}, "quiet, as far as this kernel tells"),
        ({"steal": 0.04}, "quiet"),
        ({"steal": 0.3}, "busy: the hypervisor"),
        ({"disturbed": ("the CPU's clock changed",)}, "restless: the CPU's clock changed; expect"),
    ],
)
def test_advice(changes: dict[str, Any], word: str) -> None:
    noise = Noise(**{**vars(QUIET), **changes})
    assert noise.advice.startswith(word)
    assert noise.lines()[-1] == noise.advice
    assert len(noise.lines()) == 4 + (noise.steal is not None)
    untold = "whether tasks wait for a CPU is not told by this kernel (boot with psi=1)"
    assert (untold in noise.lines()) == (noise.pressure is None)


def test_on_a_machine_with_the_base_install_alone() -> None:
    """For real: no torch, no runtime, and two anchor processes that take turns."""
    done = run_bare(CALL, "doctor", "--json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    reasons = {item["name"]: item["reason"] for item in (*data["runtimes"], *data["techniques"])}
    assert "pip install 'inference-harness[torch]'" in reasons["eager"]
    assert "pip install 'inference-harness[onnx]'" in reasons["onnxruntime"]
    assert "pip install 'inference-harness[openvino]'" in reasons["openvino"]
    assert reasons["int8_static"]
    assert data["noise_failure"] == ""
    assert data["noise"]["call"] > 0
    assert data["noise"]["seconds"] == 2.0
