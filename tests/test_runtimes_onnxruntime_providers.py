"""Execution providers: which is meant, where it runs, whether it is installed, and what it really executed."""

from __future__ import annotations

import importlib.machinery
import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from harness import Deployment, SuiteError, UnavailableError
from harness.hardware import cpu
from harness.runtimes import onnxruntime_providers
from harness.runtimes.base import TIMINGS
from harness.runtimes.onnx_profile import executed, profile_facts
from harness.runtimes.onnxruntime import OnnxRuntime
from harness.runtimes.onnxruntime_providers import PROVIDERS, Provider, full_name, provider_of
from harness.runtimes.onnxruntime_session import plugin_devices, provider_options
from harness.techniques import int8_dynamic, int8_static, onnxruntime
from harness.techniques.base import as_pipeline
from harness.testing import check_technique, tiny_onnx_model, tiny_torch_model
from tests.fake_cuda import Gpu

NO_OPENVINO = OnnxRuntime(provider="openvino").unavailable(cpu)
OPENVINO = pytest.mark.skipif(NO_OPENVINO is not None, reason=str(NO_OPENVINO))


def test_names() -> None:
    assert [full_name(name) for name in PROVIDERS] == [
        "CPUExecutionProvider",
        "CUDAExecutionProvider",
        "TensorrtExecutionProvider",
        "NvTensorRTRTXExecutionProvider",
        "OpenVINOExecutionProvider",
    ]
    assert full_name("AzureExecutionProvider") == "AzureExecutionProvider"
    assert provider_of("AzureExecutionProvider") is None
    assert provider_of("OpenVINOExecutionProvider") is provider_of("openvino")


def test_an_unknown_provider_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SuiteError, match="no provider 'openvno'; use cpu, cuda, tensorrt, tensorrt_rtx, openvino"):
        OnnxRuntime(provider="openvno")


@pytest.mark.parametrize(
    ("provider", "hardware", "reason"),
    [
        ("cuda", cpu, "provider cuda runs on cuda, and cpu is none (put cuda on the hardware axis"),
        ("cpu", Gpu(), "provider cpu runs on cpu, and cuda is none"),
        ("cuda", Gpu(), "no provider cuda (pip uninstall onnxruntime, then pip install onnxruntime-gpu: never both)"),
        ("tensorrt", Gpu(), "no provider tensorrt (pip uninstall onnxruntime, then pip install onnxruntime-gpu"),
    ],
)
def test_why_not_and_what_to_do(provider: str, hardware: Any, reason: str) -> None:
    assert reason in str(OnnxRuntime(provider=provider).unavailable(hardware))


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        (
            "Intel(R) Xeon(R) Platinum 8581C",
            "the installed onnxruntime has no provider openvino (pip install onnxruntime-ep-openvino; or pip uninstall "
            "onnxruntime, then pip install onnxruntime-openvino: never both)",
        ),
        (
            "AMD EPYC",
            "the installed onnxruntime has no provider openvino, and its plugin takes no AMD EPYC, only devices of "
            "Intel (pip uninstall onnxruntime, then pip install onnxruntime-openvino: never both)",
        ),
    ],
)
def test_a_plugin_is_named_where_it_takes_the_device(monkeypatch: pytest.MonkeyPatch, device: str, reason: str) -> None:
    monkeypatch.setattr(onnxruntime_providers.importlib.util, "find_spec", lambda name: None)
    assert PROVIDERS["openvino"].missing(device) == reason


@pytest.mark.parametrize(
    ("module", "device", "missing"),
    [
        ("onnxruntime", "Intel Xeon", False),
        ("onnxruntime", "AMD EPYC", False),
        ("onnxruntime_ep_openvino", "Intel Xeon", False),
        ("onnxruntime_ep_openvino", "AMD EPYC", True),
    ],
)
def test_either_way_of_having_it_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: str, device: str, missing: bool
) -> None:
    (tmp_path / "capi").mkdir()
    (tmp_path / "capi" / "libonnxruntime_providers_openvino.so").touch()
    found = importlib.machinery.ModuleSpec(module, None, is_package=True)
    found.submodule_search_locations = [str(tmp_path)]
    finder = onnxruntime_providers.importlib.util
    monkeypatch.setattr(finder, "find_spec", lambda name: found if name == module else None)
    assert (PROVIDERS["openvino"].missing(device) is not None) is missing


def plugged(monkeypatch: pytest.MonkeyPatch, devices: list[Any], error: str = "") -> list[tuple[str, str]]:
    """A plugin of OpenVINO's that is installed, and sees these devices; gives what is registered."""
    registered: list[tuple[str, str]] = []
    module: Any = ModuleType("onnxruntime_ep_openvino")
    module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
    module.get_library_path = lambda: "plugin.so"

    def register(name: str, path: str) -> None:
        registered.append((name, path))
        if error:
            raise RuntimeError(error)

    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(ort, "register_execution_provider_library", register)
    monkeypatch.setattr(ort, "get_ep_devices", lambda: devices)
    return registered


def seen(name: str, kind: str) -> Any:
    return SimpleNamespace(ep_name=name, device=SimpleNamespace(type=getattr(ort.OrtHardwareDeviceType, kind)))


@pytest.mark.parametrize("error", ["", "EP library is already registered under OpenVINOExecutionProvider"])
def test_a_plugins_library_is_loaded_and_its_cpu_taken(monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    devices = [seen("CPUExecutionProvider", "CPU"), seen("OpenVINOExecutionProvider", "GPU")]
    devices.append(seen("OpenVINOExecutionProvider", "CPU"))
    registered = plugged(monkeypatch, devices, error)
    assert plugin_devices("OpenVINOExecutionProvider") == devices[-1:]
    assert registered == [("OpenVINOExecutionProvider", "plugin.so")]


def test_a_plugin_that_can_not_be_used_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    plugged(monkeypatch, [seen("CPUExecutionProvider", "CPU")])
    with pytest.raises(UnavailableError, match="takes no device of this machine for cpu"):
        plugin_devices("OpenVINOExecutionProvider")
    plugged(monkeypatch, [], "libcuda.so.1: cannot open shared object file")
    with pytest.raises(UnavailableError, match=r"onnxruntime_ep_openvino does not load: libcuda\.so\.1"):
        plugin_devices("OpenVINOExecutionProvider")


def test_the_technique_asks_for_its_own_provider() -> None:
    model = tiny_torch_model()
    assert as_pipeline(onnxruntime).unavailable(model, cpu) is None
    reason = as_pipeline(onnxruntime(provider="tensorrt") | int8_static).unavailable(model, cpu)
    assert "provider tensorrt runs on cuda" in str(reason)
    assert onnxruntime(provider="openvino").id == "onnxruntime:provider-openvino"


def test_on_a_gpu_there_are_no_integers_but_tensorrts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ONNX Runtime has no kernels for them there: cases that the documents offered were invalid, without a cure."""
    monkeypatch.setattr(Provider, "missing", lambda provider, device: None)
    model, gpu, cure = tiny_torch_model(trained=False), Gpu(), r"\(on a GPU use tensorrt \| int8_static, or keep"
    assert as_pipeline(onnxruntime).unavailable(model, gpu) is None
    assert as_pipeline(onnxruntime | int8_dynamic).unavailable(model, cpu) is None
    assert re.search(cure, str(as_pipeline(onnxruntime | int8_dynamic).unavailable(model, gpu)))
    with pytest.raises(UnavailableError, match=cure):
        int8_static.apply(Deployment(model, None, OnnxRuntime(), gpu, tmp_path))
    assert "int8" not in OnnxRuntime.computes["cuda"]


def test_float32_stays_float32_and_engines_are_kept() -> None:
    assert provider_options("CPUExecutionProvider", 1, Path("cache")) == {}
    assert provider_options("CUDAExecutionProvider", 1, Path("cache")) == {"use_tf32": "0"}
    openvino = json.loads(provider_options("OpenVINOExecutionProvider", 3, Path("cache"))["load_config"])
    assert openvino == {"CPU": {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 3}}
    tensorrt = provider_options("TensorrtExecutionProvider", 1, Path("model/cache"))
    assert tensorrt["trt_engine_cache_path"] == tensorrt["trt_timing_cache_path"] == "model/cache"
    # The binding refuses "1", and with it the session.
    assert tensorrt["trt_engine_cache_enable"] == tensorrt["trt_timing_cache_enable"] == "True"


def test_what_tensorrts_provider_timed_is_kept_where_the_session_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each artefact had its own: it timed the kernels anew, and unchanged code was slower than itself."""
    monkeypatch.setenv(TIMINGS, str(tmp_path / "timings" / "gpu"))
    options = provider_options("TensorrtExecutionProvider", 1, Path("model/cache"))
    assert options["trt_engine_cache_path"] == "model/cache"
    assert Path(options["trt_timing_cache_path"]).is_relative_to(tmp_path / "timings" / "gpu")
    assert Path(options["trt_timing_cache_path"]).is_dir(), "the provider makes one folder, and none above it"
    (tmp_path / "file").touch()
    monkeypatch.setenv(TIMINGS, str(tmp_path / "file"))
    options = provider_options("TensorrtExecutionProvider", 1, Path("model/cache"))
    assert options["trt_timing_cache_path"] == "model/cache"


def test_what_a_provider_compiled_is_not_described(tmp_path: Path) -> None:
    """One node of the profile stands for a whole network, and its name and type say nothing of what it computes."""
    events = [
        {
            "cat": "Node",
            "name": f"{operator}_kernel_time",
            "args": {
                "op_name": operator,
                "provider": provider,
                "node_index": str(number),
                "input_type_shape": [{"float": [1, 4]}],
            },
        }
        for number, (operator, provider) in enumerate(
            [("TRTKernel_graph_QLinear_0", "TensorrtExecutionProvider"), ("Softmax", "CUDAExecutionProvider")]
        )
    ]
    (tmp_path / "profile.json").write_text(json.dumps(events))
    assert profile_facts(executed(tmp_path / "profile.json"), "TensorrtExecutionProvider") == {
        "precision": "unknown",
        "arithmetic.unknown": 1.0,
        "nodes": 2,
        "nodes.quantized": 0,
        "nodes.CUDAExecutionProvider": 1,
        "nodes.TensorrtExecutionProvider": 1,
        "fallbacks": 1,
    }


@OPENVINO
def test_openvino_runs_all_of_it_in_float32() -> None:
    evidence, facts = check_technique(onnxruntime(provider="openvino"), tiny_torch_model())
    assert all(item.kept for item in evidence)
    assert (facts["provider"], facts["fallbacks"]) == ("OpenVINOExecutionProvider", 0)
    assert facts["nodes"] == facts["nodes.OpenVINOExecutionProvider"]
    assert facts["precision"] == "unknown"


@OPENVINO
def test_openvino_gives_what_the_cpu_provider_gives(tmp_path: Path) -> None:
    """Within float32's accuracy: on CPUs with bfloat16 OpenVINO would round to that if it were let."""
    network = onnx.load(str(tiny_onnx_model(tmp_path).load()))
    inputs = tiny_onnx_model(tmp_path).inputs(4, 0)
    results = []
    for provider in ("cpu", "openvino"):
        runtime = OnnxRuntime(provider=provider)
        runtime.pack(network, inputs, tmp_path, cpu)
        session = runtime.load(tmp_path, cpu)
        results.append(session.fetch(session(session.stage(inputs)))["output"])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-4, atol=1e-5)


@OPENVINO
def test_integers_that_can_not_be_shown_break_the_promise() -> None:
    with pytest.raises(AssertionError, match=r"promised arithmetic\.int8 >= 0\.001, found not found"):
        check_technique(onnxruntime(provider="openvino") | int8_static, tiny_torch_model())
