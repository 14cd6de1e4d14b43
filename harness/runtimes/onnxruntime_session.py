"""A network loaded by ONNX Runtime. Imports onnxruntime and numpy, never torch: import this inside functions only."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from harness.errors import MeasurementError, PreparationError, UnavailableError
from harness.records import Scalar
from harness.runtimes.base import TIMINGS, absent_input, other_type
from harness.runtimes.facts import weight_facts
from harness.runtimes.onnx_profile import executed, fallbacks, profile_facts
from harness.runtimes.onnxruntime_providers import PROVIDERS, provider_of

__all__ = ["BoundSession", "OrtSession", "load_libraries", "plugin_devices", "provider_options", "session_options"]

Arrays = Mapping[str, np.ndarray[Any, Any]]

_CPU, _CUDA, _TENSORRT = (PROVIDERS[name].full for name in ("cpu", "cuda", "tensorrt"))
_LEVELS = {
    "disable": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    **{f"tensor({name})": name for name in ("float16", "bool")},
    **{f"tensor({kind}{bits})": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}
"""What ONNX Runtime calls numpy's types of numbers; it looks at others itself."""


class OrtSession:
    """A session whose calls take and give numpy arrays.

    Raises `PreparationError` where ONNX Runtime refuses the network, and `MeasurementError` (outcome `invalid`) where
    it would run on another provider than the one asked for.
    """

    def __init__(self, path: Path, *, provider: str, level: str, threads: int, spinning: bool, cache: Path) -> None:
        self._path = path
        self._provider = provider
        self._provider_options = provider_options(provider, threads, cache)
        self._options = functools.partial(session_options, provider, level, threads, spinning=spinning)
        load_libraries(provider)
        self._session = self._open(self._options())
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._inputs = {value.name: value.shape for value in self._session.get_inputs()}
        self._types = {value.name: _TYPES.get(value.type) for value in self._session.get_inputs()}
        self._defaults = [value.name for value in self._session.get_overridable_initializers()]

    def stage(self, inputs: Arrays) -> Any:
        absent = [name for name in self._inputs if name not in inputs]
        if absent:
            raise absent_input(absent[0], inputs, "the .onnx file")
        dropped = [name for name in self._defaults if name in inputs]
        if dropped:
            raise PreparationError(
                f"input {dropped[0]!r} of the network has a default in the .onnx file, which techniques take for a "
                "constant, so that the value that the model gives would be dropped; remove it from graph.initializer, "
                "or don't give it"
            )
        staged = {name: np.asarray(inputs[name], order="C") for name in self._inputs}
        for name, shape in self._inputs.items():
            wanted = self._types[name]
            if wanted and staged[name].dtype != np.dtype(wanted):
                raise other_type(name, wanted, str(staged[name].dtype), "the .onnx file")
            given = staged[name].shape
            # Axes that are free have a name or None; a shape that the file does not tell is empty, as that of a scalar.
            wrong = [
                number
                for number, (axis, size) in enumerate(zip(shape, given, strict=False))
                if isinstance(axis, int) and axis != size
            ]
            if len(shape) == len(given) and wrong:
                cure = (
                    "let Model.evaluate pass inputs of the lengths that Model.inputs gives (padded to one length), or "
                    "serve a torch network by compiled, which compiles for each shape that it meets"
                )
                if wrong == [0]:
                    cure = (
                        "where the first axis is the batch, export the network with a free one, or give the Model "
                        f"batchable=False; where it is a length, {cure}"
                    )
                raise PreparationError(
                    f"input {name!r} of the network has the shape {list(shape)}, and the call gives it {list(given)}; "
                    f"{cure}"
                )
        return staged

    def __call__(self, staged: Any) -> Any:
        return self._session.run(None, staged)

    def fetch(self, outputs: Any) -> dict[str, np.ndarray[Any, Any]]:
        named = zip(self._outputs, map(np.asarray, outputs), strict=True)
        return {name: array.astype(np.float32) if array.dtype.kind == "f" else array for name, array in named}

    def facts(self, example: Arrays) -> dict[str, Scalar]:
        """Weights of the served file, and the nodes that a second session executes under the profiler.

        Raises `MeasurementError` (outcome `invalid`) where some ran on another provider than the one asked for.
        """
        import onnx

        from harness.runtimes.onnx_graph import network_weights

        options = self._session.get_session_options()
        ran = self._profile(example)
        if strays := sorted({node.operator for node in fallbacks(ran, self._provider)}):
            raise MeasurementError(
                f"{self._provider} was asked for, and ONNX Runtime ran these operators elsewhere: {', '.join(strays)}; "
                "serve a network without them, or on a provider that has them",
                outcome="invalid",
            )
        return {
            "runtime": "onnxruntime",
            "provider": self._session.get_providers()[0],
            "level": next(name for name, level in _LEVELS.items() if level == options.graph_optimization_level),
            "arena": bool(options.enable_cpu_mem_arena),
            **weight_facts(network_weights(onnx.load(str(self._path)))),
            **profile_facts(ran, self._provider),
        }

    def _profile(self, example: Arrays) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = self._open(options)
            session.run(None, OrtSession.stage(self, example))
            return executed(Path(session.end_profiling()))

    def _open(self, options: Any) -> Any:
        devices = plugin_devices(self._provider)
        try:
            if devices:
                options.add_provider_for_devices(devices, self._provider_options)
                session = ort.InferenceSession(str(self._path), options)
            else:
                providers = [(self._provider, self._provider_options)]
                # Without this Python catches what a provider that can't be created says, and tries the CPU's instead.
                session = ort.InferenceSession(str(self._path), options, providers=providers, enable_fallback=0)
        except Exception as error:
            if "disable_cpu_ep_fallback" in str(error) or "fallback to CPU" in str(error):
                raise MeasurementError(
                    f"{self._provider} was asked for, and can't run all of the network: {error}", outcome="invalid"
                ) from error
            raise PreparationError(f"ONNX Runtime refuses the network: {error}") from error
        if session.get_providers()[0] != self._provider:
            raise MeasurementError(
                f"{self._provider} was asked for, and ONNX Runtime fell back to {session.get_providers()[0]}; which "
                "library it could not load stands in the log of the case",
                outcome="invalid",
            )
        return session


class BoundSession(OrtSession):
    """A session whose inputs and outputs stay in the memory of `device`, so that no call copies them."""

    def __init__(self, *args: Any, device: str = "cuda", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._device = device

    def stage(self, inputs: Arrays) -> Any:
        binding = self._session.io_binding()
        for name, array in super().stage(inputs).items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array, self._device, 0))
        for name in self._outputs:
            binding.bind_output(name, self._device)
        return binding

    def __call__(self, staged: Any) -> Any:
        self._session.run_with_iobinding(staged)
        return staged

    def fetch(self, outputs: Any) -> dict[str, np.ndarray[Any, Any]]:
        return super().fetch(outputs.copy_outputs_to_cpu())


def load_libraries(provider: str) -> None:
    """Load what the providers for NVIDIA GPUs link to, from the wheels that hold it.

    ONNX Runtime looks for it in the system's folders alone. In a process that has imported torch it is there already; a
    serving process imports none.
    """
    if provider in (_CUDA, _TENSORRT):
        ort.preload_dlls()
    if provider == _TENSORRT and importlib.util.find_spec("tensorrt") is not None:
        importlib.import_module("tensorrt")


def session_options(provider: str, level: str, threads: int, *, spinning: bool) -> Any:
    """Options that leave nothing to defaults which differ between machines.

    Denormal numbers count as zero, as they do in torch here. No provider may leave nodes to the CPU's. CUDA's is not
    told so: it leaves the arithmetic of shapes there on purpose, and `facts` looks at what else ran there.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = _LEVELS[level]
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if provider not in (_CPU, _CUDA):
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return options


def provider_options(provider: str, threads: int, cache: Path) -> dict[str, str]:
    """What a provider is told, so that the precision that is reported is true and engines are built once.

    Products of fp32 numbers stay fp32, as they do in torch here: CUDA's provider would round them to TF32, and OpenVINO
    to bfloat16 on CPUs that have it. TensorRT's has no option for it, and is told by `Cuda.environment`. Engines are
    kept in `cache`, and what their builds timed as well, but where a folder is named for that (`TIMINGS`).
    """
    if provider == _CUDA:
        return {"use_tf32": "0"}
    if provider == _TENSORRT:
        # Its parser takes True and False for switches, and no digits.
        return {
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(cache),
            "trt_timing_cache_enable": "True",
            "trt_timing_cache_path": str(_timings(cache)),
        }
    if provider == "NvTensorRTRTXExecutionProvider":
        return {"nv_runtime_cache_path": str(cache)}
    if provider == "OpenVINOExecutionProvider":
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        return {"load_config": json.dumps({"CPU": settings})}
    return {}


def _timings(cache: Path) -> Path:
    """The folder of what TensorRT's provider times, made where it can be; else `cache`."""
    if named := os.environ.get(TIMINGS):
        folder = Path(named) / "onnxruntime"
        with contextlib.suppress(OSError):  # another user's, who shares the artefacts
            folder.mkdir(parents=True, exist_ok=True)
            return folder
    return cache


def plugin_devices(name: str) -> list[Any]:
    """The device of a provider that comes as a plugin, whose library is loaded once; none for one that is built in.

    Raises `MeasurementError` (outcome `invalid`) for a provider that there is not, and `UnavailableError` for a plugin
    that does not load or sees no device here.
    """
    available = ort.get_available_providers()
    if name in available:
        return []
    provider = provider_of(name)
    if provider is None or not provider.plugin or importlib.util.find_spec(provider.plugin) is None:
        raise MeasurementError(
            f"{name} was asked for, and this onnxruntime has only {', '.join(available)}", outcome="invalid"
        )
    kind = ort.OrtHardwareDeviceType.GPU if provider.kind == "cuda" else ort.OrtHardwareDeviceType.CPU
    try:
        ort.register_execution_provider_library(name, importlib.import_module(provider.plugin).get_library_path())
    except Exception as error:
        if "already registered" not in str(error):
            reason = f"{provider.plugin} does not load: {error}"
            raise UnavailableError(reason, "harness doctor says what is here") from error
    devices = [device for device in ort.get_ep_devices() if device.ep_name == name and device.device.type == kind]
    if not devices:
        reason = f"the plugin {provider.plugin} takes no device of this machine for {provider.kind}"
        raise UnavailableError(reason, f"use another provider, or pip install {provider.wheel or 'a newer plugin'}")
    return devices[:1]
