"""Asking about a device: identity, state, processes, and every way in which there is none."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pynvml
import pytest

from harness.errors import LostError, UnavailableError
from harness.hardware.nvml import NAMED_LATE, SETTINGS, SLOWDOWNS, Clock
from harness.hardware.nvml_devices import opened
from harness.measure.ending import ended
from harness.records import Outcome
from tests.fake_nvml import GIB, FakeBoard, fake_nvml
from tests.judge_samples import a_result

Install = Callable[..., ModuleType]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def put(*boards: FakeBoard, init_error: int | None = None) -> ModuleType:
        module = fake_nvml(list(boards), init_error=init_error)
        monkeypatch.setitem(sys.modules, "pynvml", module)
        return module

    return put


def test_queries_exist_in_the_real_module() -> None:
    """The fake must not invent: every function it has is one of the installed binding's."""
    names = [name for name in dir(fake_nvml([])) if name.startswith("nvml")]
    assert len(names) > 20
    assert [name for name in names if not hasattr(pynvml, name)] == []


def test_identity(install: Install) -> None:
    module = install(FakeBoard("GPU-aaaa"))
    with opened(0) as device:
        assert device.identity() == {
            "model": "NVIDIA H100 PCIe",
            "driver": "580.95.05",
            "memory": 80 * GIB,
            "compute_capability": "9.0",
            "power_limit": 350.0,
            "pcie": "5x16",
            "ecc": 1,
            "mig": False,
        }
    assert module.opens == 0


def test_queries_that_a_device_does_not_answer_are_left_out(install: Install) -> None:
    silent = {"nvmlDeviceGetPowerManagementLimit", "nvmlDeviceGetEccMode", "nvmlDeviceGetMaxPcieLinkWidth"}
    install(FakeBoard("GPU-aaaa", silent={*silent, "nvmlDeviceGetMigMode", "nvmlDeviceGetUtilizationRates"}))
    with opened(0) as device:
        assert set(device.identity()) == {"model", "driver", "memory", "compute_capability", "mig"}
        assert "utilization" not in device.state(lambda pid: True)


def test_state(install: Install) -> None:
    install(FakeBoard("GPU-aaaa", processes=[(10, GIB), (11, GIB), (12, GIB)]))
    ours = {10: True, 11: False, 12: None}
    with opened(0) as device:
        assert device.state(ours.get) == {
            "sm_clock": 1755,
            "max_sm_clock": 1755,
            "memory_clock": 1593,
            "slowdown": "none",
            "limited_by": "none",
            "temperature": 61,
            "power": 212.5,
            "enforced_power_limit": 350.0,
            "utilization": 0.37,
            "foreign_processes": "11",
            "unknown_processes": 1,
        }


def test_who_draws_a_screen_is_nobody_who_disturbs(install: Install) -> None:
    """Xorg is on each GPU that has a screen, in every launch."""
    install(FakeBoard("GPU-aaaa", processes=[(11, GIB)], drawing=[(11, GIB), (20, GIB), (21, 2 * GIB)]))
    drawn = {11: True, 20: False, 21: None}
    with opened(0) as device:
        state = device.state(drawn.get)
        assert (state["foreign_processes"], state["unknown_processes"]) == ("none", 0)
        assert [device.process_memory(pid) for pid in drawn] == [GIB, GIB, 2 * GIB]


def test_who_shares_a_gpu_out_is_nobody_who_disturbs(install: Install, tmp_path: Path) -> None:
    """The Multi-Process Service's server computes for its clients, which have a list of their own: each launch was
    disturbed, and none had memory.
    """
    program = tmp_path / "nvidia-cuda-mps-server"
    program.symlink_to(shutil.which("cat") or "")
    server = subprocess.Popen(["cat"], executable=program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    try:
        server.stdin.write(b"once it answers it has its name\n")
        server.stdout.readline()
        board = FakeBoard("GPU-aaaa", processes=[(server.pid, GIB)], clients=[(os.getpid(), 2 * GIB), (12, GIB)])
        install(board)
        ours = {os.getpid(): True, server.pid: False, 12: False}
        with opened(0) as device:
            assert device.state(ours.get)["foreign_processes"] == "12", "another client disturbs"
            assert device.process_memory(os.getpid()) == 2 * GIB
            board.clients.pop()
            assert device.state(ours.get)["foreign_processes"] == "none"
            board.silent = {"nvmlDeviceGetMPSComputeRunningProcesses"}
            assert device.process_memory(os.getpid()) is None
    finally:
        server.communicate()


@pytest.mark.parametrize(("tail", "word"), [*SLOWDOWNS.items(), *SETTINGS.items()])
def test_each_reason_has_its_word(install: Install, tail: str, word: str) -> None:
    bit = NAMED_LATE.get(tail) or getattr(pynvml, f"nvmlClocksThrottleReason{tail}")
    install(FakeBoard("GPU-aaaa", reasons=bit | pynvml.nvmlClocksThrottleReasonGpuIdle))
    with opened(0) as device:
        state, clock = device.state(lambda pid: True), device.clock()
    assert (state["slowdown"], state["limited_by"]) == ((word, "none") if tail in SLOWDOWNS else ("none", word))
    assert (clock.slowdowns, clock.limits) == (((word,), ()) if tail in SLOWDOWNS else ((), (word,)))
    assert clock.idle


def test_bits_of_reasons_are_those_of_the_binding_where_it_has_their_names() -> None:
    assert set(NAMED_LATE) <= set(SETTINGS)
    for tail, bit in NAMED_LATE.items():
        assert getattr(pynvml, f"nvmlClocksThrottleReason{tail}", bit) == bit


def test_reasons_under_their_older_name_and_untold(install: Install) -> None:
    newer, older = "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"
    board = FakeBoard("GPU-aaaa", reasons=pynvml.nvmlClocksThrottleReasonHwSlowdown, silent={newer})
    install(board)
    with opened(0) as device:
        assert device.state(lambda pid: True)["slowdown"] == "hardware_slowdown"
        assert device.clock() == Clock(1755, ("hardware_slowdown",))
        board.silent |= {older, "nvmlDeviceGetClockInfo", "nvmlDeviceGetMaxClockInfo"}
        assert not {"slowdown", "limited_by", "max_sm_clock"} & device.state(lambda pid: True).keys()
        assert device.clock() == Clock(None)
        assert device.max_sm_clock() is None


def test_processes_that_the_driver_is_too_old_to_tell(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """For what such a driver lacks the binding has an error of its own, which is none of NVML's."""

    def lacking(name: str) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)

    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer", lacking)
    module = install(FakeBoard("GPU-aaaa", processes=[(11, GIB)]))
    for kind in ("Compute", "MPSCompute", "Graphics"):
        name = f"nvmlDeviceGet{kind}RunningProcesses"
        monkeypatch.setattr(module, name, getattr(pynvml, name))
    with opened(0) as device:
        state = device.state(lambda pid: False)
        assert (state["foreign_processes"], state["unknown_processes"]) == ("none", 0)
        assert device.process_memory(11) is None


def test_a_query_that_an_older_binding_lacks(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an installed `pynvml` 11, which hides the newer module of this name."""
    module = install(FakeBoard("GPU-aaaa", reasons=pynvml.nvmlClocksThrottleReasonHwSlowdown))
    monkeypatch.delattr(module, "nvmlDeviceGetCurrentClocksEventReasons")
    with opened(0) as device:
        assert device.clock() == Clock(1755, ("hardware_slowdown",))


def test_a_clock_that_the_driver_fails_to_tell(install: Install) -> None:
    install(FakeBoard("GPU-aaaa", failing={"nvmlDeviceGetClockInfo": pynvml.NVML_ERROR_GPU_IS_LOST}))
    with opened(0) as device, pytest.raises(LostError, match="driver failed"):
        device.clock()


def test_memory_of_a_process(install: Install) -> None:
    install(FakeBoard("GPU-aaaa", processes=[(10, 3 * GIB), (11, None)]))
    with opened(0) as device:
        assert device.process_memory(10) == 3 * GIB
        assert device.process_memory(11) is None
        assert device.process_memory(12) is None


@pytest.mark.parametrize(
    ("error", "reason", "cure"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "no NVIDIA driver", "install the NVIDIA driver"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "not loaded", "modprobe"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "may not use", "--gpus all"),
        (pynvml.NVML_ERROR_UNKNOWN, "does not start", "nvidia-smi"),
    ],
)
def test_no_driver_says_why_and_what_to_do(install: Install, error: int, reason: str, cure: str) -> None:
    module = install(FakeBoard("GPU-aaaa"), init_error=error)
    with pytest.raises(UnavailableError) as caught, opened(0):
        pass
    assert reason in caught.value.reason
    assert cure in caught.value.cure
    assert module.opens == 0


@pytest.mark.parametrize(
    ("error", "reason", "cure"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "this JetPack has no NVML", "JetPack 6 and later have it"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "not loaded", "modprobe"),
    ],
)
def test_a_jetson_whose_driver_has_no_nvml(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: int, reason: str, cure: str
) -> None:
    """Its driver is installed and runs."""
    (tmp_path / "nv_tegra_release").write_text("# R35 (release), REVISION: 4.1\n")
    monkeypatch.setattr("harness.hardware.nvml_devices._JETPACK", tmp_path / "nv_tegra_release")
    install(FakeBoard("GPU-aaaa"), init_error=error)
    with pytest.raises(UnavailableError) as caught, opened(0):
        pass
    assert reason in caught.value.reason
    assert cure in caught.value.cure
    assert "install the NVIDIA driver" not in str(caught.value)


def test_a_package_that_warns_of_itself_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are errors in these tests, as they may be in a project."""
    monkeypatch.setitem(sys.modules, "pynvml", None)  # so that it is there again after this
    monkeypatch.delitem(sys.modules, "pynvml")
    (tmp_path / "pynvml.py").write_text(
        "import warnings\n\nwarnings.warn('pynvml is deprecated', FutureWarning)\n\n\n"
        "class NVMLError(Exception):\n    pass\n\n\n"
        "class NVMLError_LibraryNotFound(NVMLError):\n    pass\n\n\n"
        "def nvmlInit():\n    raise NVMLError_LibraryNotFound\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UnavailableError, match="no NVIDIA driver"), opened(0):
        pass


def test_this_machine_or_a_reason() -> None:
    """The real library, wherever the tests run: a device that answers, or a sentence."""
    with contextlib.ExitStack() as stack:
        try:
            answer = stack.enter_context(opened(0)).uuid
        except UnavailableError as error:
            answer = error.reason and error.cure
    assert answer


def test_package_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(UnavailableError, match="pip install nvidia-ml-py"), opened(0):
        pass


def test_no_device(install: Install) -> None:
    install()
    with pytest.raises(UnavailableError, match="finds no device"), opened(0):
        pass


@pytest.mark.parametrize(
    ("visible", "index", "expected"),
    [
        (None, 0, "GPU-aaaa"),
        (None, 1, "GPU-bbbb"),
        ("1", 0, "GPU-bbbb"),
        ("1,0", 1, "GPU-aaaa"),
        (" 1 , 0", 0, "GPU-bbbb"),
        ("GPU-bb", 0, "GPU-bbbb"),
        ("0,-1,1", 0, "GPU-aaaa"),
    ],
)
def test_the_device_that_cuda_would_take(
    install: Install, monkeypatch: pytest.MonkeyPatch, visible: str | None, index: int, expected: str
) -> None:
    install(FakeBoard("GPU-aaaa"), FakeBoard("GPU-bbbb"))
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with opened(index) as device:
        assert device.uuid == expected


@pytest.mark.parametrize(
    ("visible", "index", "message"),
    [
        (None, 2, "CUDA sees 2 of the 2"),
        ("", 0, "hides every GPU"),
        ("-1", 0, "hides every GPU"),
        ("0,-1,1", 1, "CUDA sees 1 of the 2"),
        ("7", 0, "names '7'"),
        ("GPU-cc", 0, "names 'GPU-cc'"),
    ],
)
def test_devices_that_cuda_would_not_see(
    install: Install, monkeypatch: pytest.MonkeyPatch, visible: str | None, index: int, message: str
) -> None:
    module = install(FakeBoard("GPU-aaaa"), FakeBoard("GPU-bbbb"))
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UnavailableError, match=message), opened(index):
        pass
    assert module.opens == 0


def test_boards_that_are_closed_to_this_user_hide_no_others(install: Install) -> None:
    """NVML counts them, and CUDA does not number them."""
    module = install(FakeBoard("GPU-aaaa"), FakeBoard("GPU-bbbb"))
    given = module.nvmlDeviceGetHandleByIndex

    def handle(index: int) -> FakeBoard:
        if index in closed:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)
        return given(index)

    module.nvmlDeviceGetHandleByIndex = handle
    closed = {0}
    with opened(0) as device:
        assert device.uuid == "GPU-bbbb"
    with pytest.raises(UnavailableError, match="CUDA sees 1 of the 1"), opened(1):
        pass
    closed = {0, 1}
    with pytest.raises(UnavailableError, match="may use none of this machine's GPUs"), opened(0):
        pass


def test_mig_instances(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = FakeBoard("MIG-1111", name="NVIDIA H100 PCIe MIG 1g.10gb", memory=10 * GIB)
    other = FakeBoard("MIG-2222", name="NVIDIA H100 PCIe MIG 2g.20gb", memory=20 * GIB)
    # An instance has no clocks or power of its own: what is asked of it must be asked of the board.
    for half in (instance, other):
        half.failing = {"nvmlDeviceGetClockInfo": pynvml.NVML_ERROR_INVALID_ARGUMENT}
    install(FakeBoard("GPU-aaaa", mig=True, instances=[None, instance, other]))
    with opened(0) as device:
        assert (device.uuid, device.identity()["memory"], device.identity()["mig"]) == ("MIG-1111", 10 * GIB, True)
        assert device.state(lambda pid: True)["sm_clock"] == 1755
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-2222")
    with opened(0) as device:
        assert device.identity()["model"] == "NVIDIA H100 PCIe MIG 2g.20gb"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aaaa")  # CUDA computes on an instance of it, whatever its name
    with opened(0) as device:
        assert device.uuid == "MIG-1111"


@pytest.mark.parametrize("visible", [None, "0", "GPU-aa"])
def test_mig_mode_without_an_instance(install: Install, monkeypatch: pytest.MonkeyPatch, visible: str | None) -> None:
    """CUDA computes on no whole GPU in that mode: it was taken for one, and each case ended in torch seeing none."""
    module = install(FakeBoard("GPU-aaaa", mig=True, instances=[None, None]), FakeBoard("GPU-bbbb"))
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UnavailableError, match="in MIG mode and has no instance") as caught, opened(0):
        pass
    assert "nvidia-smi mig -cgi ID -C" in caught.value.cure
    assert "nvidia-smi -mig 0" in caught.value.cure
    assert module.opens == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-bb")
    with opened(0) as device:
        assert (device.uuid, device.mig) == ("GPU-bbbb", False)


def test_a_device_that_fails_while_open(install: Install) -> None:
    module = install(FakeBoard("GPU-aaaa", failing={"nvmlDeviceGetName": pynvml.NVML_ERROR_GPU_IS_LOST}))
    with pytest.raises(LostError, match="driver failed") as caught, opened(0) as device:
        device.identity()
    assert module.opens == 0
    assert isinstance(caught.value, UnavailableError)  # who asks whether there is one gets that for an answer
    # It may answer again when it is asked next, so the case that it fails under must not be a skip.
    assert ended(a_result({}), caught.value).outcome is Outcome.FAILED
