"""CUDA hardware, on scripted devices: which device, how calls are timed, which memory is reported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pynvml
import pytest

from harness.errors import MeasurementError, SuiteError, UnavailableError
from harness.hardware import Cuda, Hardware, cpu, cuda, jetson
from harness.hardware.cuda import LATE_NS
from harness.hardware.nvml_devices import opened
from harness.measure.environment import environment
from harness.records import Scalar
from harness.specs import spec_of
from tests.fake_cuda import FakeDevice
from tests.fake_nvml import GIB, FakeBoard, fake_nvml

MODULE = sys.modules["harness.hardware.cuda"]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> list[FakeBoard]:
    """Two GPUs, and no torch installed that could be a CPU build."""
    boards = [FakeBoard("GPU-aaaa"), FakeBoard("GPU-bbbb")]
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(boards))
    for name in ("CUDA_VISIBLE_DEVICES", "HARNESS_CUDA_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(MODULE, "_torch_without_cuda", lambda: False)
    return boards


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    device = FakeDevice()
    device.as_torch(monkeypatch)
    return device


def test_is_hardware_with_names_that_tell_times_apart() -> None:
    assert isinstance(cuda, Hardware)
    values = [cuda, cuda(index=1), cuda(l2_flush=True), cuda(index=1)(l2_flush=True)]
    assert [value.name for value in values] == ["cuda", "cuda.1", "cuda.flush", "cuda.1.flush"]
    assert all(spec_of(value).build() == value for value in values)
    with pytest.raises(SuiteError, match="numbered from 0"):
        cuda(index=-1)


def test_available(nvml: list[FakeBoard]) -> None:
    assert cuda.available() is None
    assert cuda(index=1).available() is None
    assert "GPU 2 was asked for" in str(cuda(index=2).available())


def test_unavailable_without_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([], init_error=pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
    reason = str(cuda.available())
    assert "no NVIDIA driver" in reason
    assert "install" in reason
    with pytest.raises(UnavailableError, match="no NVIDIA driver"):
        cuda.describe()


@pytest.mark.parametrize(
    ("version_file", "driver", "reason"),
    [
        ("cuda: Optional[str] = None\nhip: Optional[str] = None\n", 13_000, "CPU build"),
        ("cuda = None\n", 13_000, "CPU build"),
        ("cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n", 13_000, ""),
        ("cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n", 12_020, ""),  # minor versions go together
        ("cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\n", 11_040, "speaks CUDA 11, .* built for CUDA 12"),
        (None, 11_040, ""),
    ],
)
def test_unavailable_with_a_torch_that_can_not_use_the_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version_file: str | None, driver: int, reason: str
) -> None:
    """Told from the version file: the parent imports no torch for it."""
    module = fake_nvml([FakeBoard("GPU-aaaa")])
    monkeypatch.setattr(module, "cuda", driver)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    package = tmp_path / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('torch was imported')\n")
    if version_file is not None:
        (package / "version.py").write_text(version_file)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = cuda.available()
    assert re.search(reason, found or "")
    assert bool(found) is bool(reason)


def test_unavailable_without_the_drivers_library_for_cuda(
    nvml: list[FakeBoard], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that was started for nvidia-smi alone."""

    def lacking() -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(sys.modules["pynvml"], "nvmlSystemGetCudaDriverVersion_v2", lacking)
    reason = str(cuda.available())
    assert "libcuda.so.1" in reason
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in reason


@pytest.fixture
def no_mps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the Multi-Process Service would have its folder, and has none."""
    monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
    monkeypatch.setattr("harness.hardware.nvml._MPS", tmp_path / "nvidia-mps")
    return tmp_path / "nvidia-mps"


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (pynvml.NVML_COMPUTEMODE_PROHIBITED, "compute mode, Prohibited, lets no process compute"),
        (
            pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS,
            "compute mode, Exclusive_Process, lets one process compute, and a launch has two",
        ),
    ],
)
def test_unavailable_in_a_compute_mode_that_keeps_processes_out(
    nvml: list[FakeBoard], no_mps: Path, mode: int, reason: str
) -> None:
    """Each case of torch failed there, with a device that is busy or unavailable and no cure."""
    nvml[1].compute_mode = mode
    found = str(cuda(index=1).available())
    assert re.search(reason, found)
    assert "sudo nvidia-smi -c DEFAULT" in found
    assert cuda.available() is None, "it is another GPU's"
    nvml[1].silent = {"nvmlDeviceGetComputeMode"}
    assert cuda(index=1).available() is None


def test_an_exclusive_gpu_is_shared_out_by_the_multi_process_service(
    nvml: list[FakeBoard], no_mps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml[0].compute_mode = pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS
    assert "nvidia-cuda-mps-control -d" in str(cuda.available())
    no_mps.mkdir()
    assert cuda.available() is None
    no_mps.rmdir()
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "elsewhere")
    assert cuda.available() is None


def test_a_driver_that_does_not_tell_which_cuda_it_speaks_is_tried(
    nvml: list[FakeBoard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(sys.modules["pynvml"], "nvmlSystemGetCudaDriverVersion_v2")
    monkeypatch.setattr(MODULE, "_cuda_of_torch", lambda: 13)
    assert cuda.available() is None


def test_identity_holds_gpu_and_host_and_no_software(nvml: list[FakeBoard]) -> None:
    identity = cuda.describe()
    assert identity["kind"] == "cuda"
    assert identity["threads"] == 1
    assert {"model", "driver", "power_limit", "memory", "compute_capability", "mig", "l2_flush"} <= identity.keys()
    assert {"host_model", "host_cores", "host_instruction_sets", "host_hypervisor"} <= identity.keys()
    assert "uuid" not in identity
    assert dict(cuda(l2_flush=True).describe()) == {**identity, "l2_flush": True}


def test_a_gpu_that_shares_the_hosts_memory(nvml: list[FakeBoard], tmp_path: Path) -> None:
    """NVML knows of no memory of its own."""
    nvml[0].silent = {"nvmlDeviceGetMemoryInfo"}
    found = environment(tmp_path, [cpu, cuda]).hardware
    assert found.keys() == {"cpu", "cuda"}
    assert "memory" not in found["cuda"]


def a_jetson(monkeypatch: pytest.MonkeyPatch, root: Path, model: str, clocks: dict[str, str]) -> Mapping[str, Scalar]:
    """The identity where the kernel shows this board, and these devices with their highest clocks."""
    (root / "firmware" / "devicetree" / "base").mkdir(parents=True)
    (root / "firmware" / "devicetree" / "base" / "model").write_bytes(model.encode() + b"\0")
    for name, clock in clocks.items():
        (root / "class" / "devfreq" / name).mkdir(parents=True)
        (root / "class" / "devfreq" / name / "max_freq").write_text(f"{clock}\n")
    monkeypatch.setattr(jetson.board, "__defaults__", (root,))
    return cuda.describe()


def test_jetsons_are_told_apart_by_board_and_power_mode(
    nvml: list[FakeBoard], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """NVML says the same of all, and times of one power mode were held against those of another."""
    monkeypatch.setattr(jetson.board, "__defaults__", (tmp_path,))
    nvml[0].silent = {"nvmlDeviceGetMaxClockInfo"}
    silent = cuda.describe()
    assert not {"board", "highest_clock"} & silent.keys()
    orin_nx, orin_nano = "NVIDIA Jetson Orin NX Engineering Reference", "NVIDIA Jetson Orin Nano Developer Kit"
    others = {"15340000.vic": "729600000", "15480000.nvdec": "1011200000"}
    found = [
        a_jetson(monkeypatch, tmp_path / "nx", orin_nx, {"17000000.gpu": "918000000", **others}),
        a_jetson(monkeypatch, tmp_path / "nx in another mode", orin_nx, {"17000000.gpu": "408000000", **others}),
        a_jetson(monkeypatch, tmp_path / "nano", orin_nano, {"17000000.ga10b": "408000000", **others}),
        a_jetson(monkeypatch, tmp_path / "nano in a container", orin_nano, {}),
    ]
    assert [{key: value for key, value in one.items() if key not in silent} for one in found] == [
        {"board": orin_nx, "highest_clock": 918},
        {"board": orin_nx, "highest_clock": 408},
        {"board": orin_nano, "highest_clock": 408},
        {"board": orin_nano},
    ]
    nvml[0].silent = set()
    assert cuda.describe() == silent, "what NVML tells of needs nothing more"


def test_a_gpu_that_can_not_say_what_it_is_ends_its_own_cases_alone(nvml: list[FakeBoard], tmp_path: Path) -> None:
    nvml[0].failing = {"nvmlDeviceGetName": pynvml.NVML_ERROR_GPU_IS_LOST}
    assert "the NVIDIA driver failed" in str(cuda.available())
    assert environment(tmp_path, [cpu, cuda]).hardware.keys() == {"cpu"}


def test_a_power_limit_that_moves_with_the_load_is_no_part_of_the_identity(nvml: list[FakeBoard]) -> None:
    """Laptops share their power out between GPU and CPU, from second to second."""
    nvml[0].enforced_limit = 80_000
    before, state = cuda.describe(), cuda.state()
    nvml[0].enforced_limit = 95_000
    assert cuda.describe() == before
    assert before["power_limit"] == 350.0
    assert (state["enforced_power_limit"], cuda.state()["enforced_power_limit"]) == (80.0, 95.0)
    nvml[0].silent = {"nvmlDeviceGetPowerManagementLimit"}
    assert "power_limit" not in cuda.describe()


def test_state_tells_our_processes_from_others(nvml: list[FakeBoard]) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        gone = 2**22 + 1  # above the largest process id, so that /proc can't show it
        nvml[0].processes = [(os.getpid(), GIB), (child.pid, GIB), (os.getppid(), GIB), (gone, GIB)]
        state = cuda.state()
    finally:
        child.communicate(b"\n")
    assert state["foreign_processes"] == str(os.getppid())
    assert state["unknown_processes"] == 1


def test_a_child_finds_the_device_that_its_parent_chose(nvml: list[FakeBoard], monkeypatch: pytest.MonkeyPatch) -> None:
    second = cuda(index=1)
    variables = second.environment()
    assert variables["CUDA_VISIBLE_DEVICES"] == "GPU-bbbb"
    assert variables["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert variables["OMP_NUM_THREADS"] == "1"
    assert variables["NVIDIA_TF32_OVERRIDE"] == "0"
    with pytest.raises(MeasurementError, match="was not started with"):
        second.enter()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    nvml[1].processes = [(os.getpid(), 5 * GIB)]
    second.enter()
    second.settle()
    assert second.environment() == variables
    assert second.peak_memory()["gpu_memory.process"] == 5 * GIB


@pytest.mark.parametrize(
    ("visible", "index", "number"), [(None, 0, "0"), (None, 1, "1"), ("1", 0, "1"), ("ddb0", 0, "1")]
)
def test_a_device_whose_uuid_cuda_does_not_read_is_named_by_its_number(
    nvml: list[FakeBoard], monkeypatch: pytest.MonkeyPatch, visible: str | None, index: int, number: str
) -> None:
    """A Jetson's begins with no GPU-: torch saw no device, and each of its cases failed."""
    nvml[0].uuid, nvml[1].uuid = "0d1a79f0-5c1f-5a2b-8d2e-4f0c6b7e9a11", "ddb01b5a-d6b3-5a0f-9d0c-2f3b4c5d6e7f"
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    chosen = cuda(index=index)
    variables = chosen.environment()
    assert variables["CUDA_VISIBLE_DEVICES"] == number
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    chosen.enter()
    assert chosen.environment() == variables
    with opened(0) as device:
        assert device.uuid == nvml[int(number)].uuid


def test_calls_are_timed_by_events_on_an_idle_device(device: FakeDevice) -> None:
    device.launch(host=0, main=9_000_000)  # left over from before: must not count
    times, output = cuda.time_calls(lambda value: device.launch(host=10_000, main=value) or value, [500_000, 700_000])
    assert times == [510_000, 710_000]
    assert output == 700_000


def test_work_on_another_stream_belongs_to_its_call(device: FakeDevice) -> None:
    def call(side: int) -> None:
        device.launch(host=0, main=100_000, side=side)

    times, _ = cuda.time_calls(call, [100_000, 100_000 + LATE_NS, 100_000 + LATE_NS + 1])
    assert times == [100_000, 100_000, 100_000 + LATE_NS + 1]


def test_flush_writes_twice_the_cache_before_each_call(device: FakeDevice) -> None:
    cuda(l2_flush=True).time_calls(lambda value: device.calls.append("call"), [1, 2])
    assert device.calls[0] == "empty 100 uint8 cuda"
    assert device.calls[1:] == ["flush", "synchronize", "record", "call", "record", "synchronize"] * 2


def test_flushing_is_in_no_time_and_over_before_the_call(device: FakeDevice) -> None:
    """The device is idle when the first event is recorded: the buffer's 100 microseconds count nowhere."""
    hot, _ = cuda.time_calls(lambda value: device.launch(host=0, main=value), [5_000, 7_000])
    assert "flush" not in device.calls
    cold, _ = cuda(l2_flush=True).time_calls(lambda value: device.launch(host=0, main=value), [5_000, 7_000])
    assert device.calls.count("flush") == 2
    assert hot == cold == [5_000, 7_000]


def test_flush_needs_torch_with_a_device(monkeypatch: pytest.MonkeyPatch, device: FakeDevice) -> None:
    device.available = False
    with pytest.raises(UnavailableError, match="sees no CUDA device"):
        cuda(l2_flush=True).time_calls(lambda value: value, [1])
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UnavailableError, match="pip install torch"):
        cuda(l2_flush=True).time_calls(lambda value: value, [1])


def test_host_clock_where_torch_is_absent_or_idle(monkeypatch: pytest.MonkeyPatch, device: FakeDevice) -> None:
    device.initialized = False
    times, output = cuda.time_calls(lambda value: value + 1, [1, 2])
    assert len(times) == 2
    assert all(time >= 0 for time in times)
    assert output == 3
    assert device.calls == []
    monkeypatch.delitem(sys.modules, "torch")
    assert cuda.time_calls(lambda value: value, [4])[1] == 4
    assert "torch" not in sys.modules


def test_memory_of_torch_and_of_the_process(nvml: list[FakeBoard], device: FakeDevice) -> None:
    nvml[0].processes = [(os.getpid(), 3 * GIB)]
    cuda.reset_memory()
    assert device.calls == ["synchronize", "empty cache", "reset"], "blocks that nobody uses count as held otherwise"
    assert cuda.peak_memory() == {
        "gpu_memory.allocated": 100.0,
        "gpu_memory.reserved": 200.0,
        "gpu_memory.process": 3.0 * GIB,
    }


def test_of_captured_graphs_there_are_no_live_bytes(nvml: list[FakeBoard], device: FakeDevice) -> None:
    """What they compute in is free by the allocator's count, and peaks are reset after the capture."""
    nvml[0].processes = [(os.getpid(), 3 * GIB)]
    device.pools = [(0, 0), (0, 1)]
    assert cuda.peak_memory() == {"gpu_memory.reserved": 200.0, "gpu_memory.process": 3.0 * GIB}


def test_of_an_allocator_that_can_not_tell_of_graphs_there_are_no_live_bytes(
    nvml: list[FakeBoard], device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As CUDA's own (PYTORCH_CUDA_ALLOC_CONF=backend:cudaMallocAsync), which ended each case of torch."""

    def snapshot() -> None:
        raise RuntimeError("Calling snapshot with backend:cudaMallocAsync is not meaningful.")

    nvml[0].processes = [(os.getpid(), 3 * GIB)]
    monkeypatch.setattr(sys.modules["torch"].cuda, "memory_snapshot", snapshot)
    assert cuda.peak_memory() == {"gpu_memory.reserved": 200.0, "gpu_memory.process": 3.0 * GIB}


def test_no_memory_is_invented(nvml: list[FakeBoard], device: FakeDevice) -> None:
    """Torch that computes elsewhere would say 0, and a container hides the process: neither becomes a number."""
    device.initialized = False
    cuda.reset_memory()
    assert device.calls == []
    assert cuda.peak_memory() == {}


def test_of_tensorrt_the_process_alone_tells(
    nvml: list[FakeBoard], device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its engines take memory without torch's allocator, which would tell of inputs and outputs alone."""
    nvml[0].processes = [(os.getpid(), 3 * GIB)]
    monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))
    assert cuda.peak_memory() == {"gpu_memory.process": 3.0 * GIB}


def test_real_torch_has_what_is_called() -> None:
    """The interface of the installed torch, by name: Event(enable_timing), counters and queries."""
    import torch

    event = torch.cuda.Event
    assert all(hasattr(event, name) for name in ("record", "synchronize", "elapsed_time"))
    names = ("synchronize", "is_initialized", "is_available", "reset_peak_memory_stats", "max_memory_allocated")
    assert all(callable(getattr(torch.cuda, name)) for name in names)
    more = ("max_memory_reserved", "memory_snapshot", "empty_cache")
    assert all(callable(getattr(torch.cuda, name)) for name in more)
    assert isinstance(Cuda().available(), (str, type(None)))
