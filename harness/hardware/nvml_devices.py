"""Opens the NVIDIA device that CUDA would take, or says why there is none.

Everything goes through the module `pynvml` (distribution `nvidia-ml-py`), imported when a device is opened; a test puts
a scripted module in its place.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import UnavailableError
from harness.hardware.nvml import Device, driver_failed

__all__ = ["opened"]

_LEAVE_OUT = "or leave the CUDA cases out with -k 'not cuda'"
_GIVE_ACCESS = "give it access to /dev/nvidia*, or start the container with --gpus all"
_JETPACK = Path("/etc/nv_tegra_release")
"""The file in which a Jetson's Linux tells its release."""


@contextmanager
def opened(index: int) -> Iterator[Device]:
    """The device that CUDA would number `index` under this process's `CUDA_VISIBLE_DEVICES`, PCI bus order.

    Raises `UnavailableError` with reason and cure where there is no driver, no permission or no such device, and
    `LostError` where the driver fails while the device is open.
    """
    try:
        with warnings.catch_warnings():
            # The older distribution of this name says that it is one, and a project may make errors of warnings.
            warnings.simplefilter("ignore", FutureWarning)
            import pynvml
    except ImportError:
        raise UnavailableError("the package nvidia-ml-py is not installed", "pip install nvidia-ml-py") from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise _no_driver(pynvml, error) from None
    try:
        yield _find(pynvml, index)
    except pynvml.NVMLError as error:
        raise driver_failed(error) from error
    finally:
        pynvml.nvmlShutdown()


def _no_driver(nvml: Any, error: Exception) -> UnavailableError:
    if isinstance(error, nvml.NVMLError_LibraryNotFound):
        if _JETPACK.exists():
            cure = f"JetPack 6 and later have it, in a container with --runtime=nvidia, {_LEAVE_OUT}"
            return UnavailableError("this JetPack has no NVML: its library libnvidia-ml.so.1 is not here", cure)
        reason = "no NVIDIA driver: its library libnvidia-ml.so.1 is not on this machine"
        return UnavailableError(reason, f"install the NVIDIA driver, {_LEAVE_OUT}")
    if isinstance(error, nvml.NVMLError_DriverNotLoaded):
        return UnavailableError("the NVIDIA driver is not loaded", f"sudo modprobe nvidia, {_LEAVE_OUT}")
    if isinstance(error, nvml.NVMLError_NoPermission):
        reason = "this user may not use the NVIDIA driver"
        return UnavailableError(reason, _GIVE_ACCESS)
    return UnavailableError(f"the NVIDIA driver does not start: {error}", "look at nvidia-smi and the kernel log")


def _find(nvml: Any, index: int) -> Device:
    count = nvml.nvmlDeviceGetCount()
    if count == 0:
        raise UnavailableError("the NVIDIA driver finds no device", f"attach a GPU to this machine, {_LEAVE_OUT}")
    boards = list(_boards(nvml, count))
    count = len(boards)
    if not boards:
        reason = "this user may use none of this machine's GPUs"
        raise UnavailableError(reason, _GIVE_ACCESS)
    entries = _visible(count)
    if not entries:
        raise UnavailableError("CUDA_VISIBLE_DEVICES hides every GPU", "unset CUDA_VISIBLE_DEVICES")
    if index >= len(entries):
        raise UnavailableError(
            f"GPU {index} was asked for, and CUDA sees {len(entries)} of the {count} here",
            f"use cuda(index={len(entries) - 1}) or less, or mend CUDA_VISIBLE_DEVICES",
        )
    entry = entries[index]
    if entry.isdigit():
        number = int(entry)
        if number < count:
            board = boards[number]
            return next(_instances(nvml, board, number), None) or _whole(nvml, board, number)
    else:
        for number, board in enumerate(boards):
            instances = list(_instances(nvml, board, number))
            if nvml.nvmlDeviceGetUUID(board).lower().startswith(entry.lower()):
                return next(iter(instances), None) or _whole(nvml, board, number)
            for device in instances:
                if device.uuid.lower().startswith(entry.lower()):
                    return device
    reason = f"CUDA_VISIBLE_DEVICES names {entry!r}, and there is no such device among the {count} here"
    raise UnavailableError(reason, "list the devices with nvidia-smi -L")


def _boards(nvml: Any, count: int) -> Iterator[Any]:
    """The boards that this process may use, which are those that CUDA numbers; NVML counts the others as well."""
    for index in range(count):
        try:
            yield nvml.nvmlDeviceGetHandleByIndex(index)
        except nvml.NVMLError_NoPermission:
            continue


def _visible(count: int) -> list[str]:
    """What CUDA would see, by its own rule: entries after the first invalid one do not count."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        return [str(i) for i in range(count)]
    entries: list[str] = []
    for entry in value.split(","):
        if entry.strip() in ("", "-1"):
            break
        entries.append(entry.strip())
    return entries


def _instances(nvml: Any, board: Any, number: int) -> Iterator[Device]:
    """The MIG instances of a GPU. Where there are any, CUDA computes on an instance and never on the whole GPU."""
    for i in range(nvml.nvmlDeviceGetMaxMigDeviceCount(board) if _in_mig_mode(nvml, board) else 0):
        try:
            handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(board, i)
        except nvml.NVMLError_NotFound:
            continue
        yield _device(nvml, handle, board, number, mig=True)


def _whole(nvml: Any, board: Any, number: int) -> Device:
    """A GPU that has no instances. Raises `UnavailableError` in MIG mode, in which CUDA computes on instances alone."""
    if _in_mig_mode(nvml, board):
        cure = (
            "make one of those that nvidia-smi mig -lgip lists: sudo nvidia-smi mig -cgi ID -C; or leave the mode: "
            "sudo nvidia-smi -mig 0"
        )
        raise UnavailableError("this GPU is in MIG mode and has no instance", cure)
    return _device(nvml, board, board, number, mig=False)


def _in_mig_mode(nvml: Any, board: Any) -> bool:
    try:
        return bool(nvml.nvmlDeviceGetMigMode(board)[0] == nvml.NVML_DEVICE_MIG_ENABLE)
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):
        return False


def _device(nvml: Any, handle: Any, board: Any, number: int, *, mig: bool) -> Device:
    return Device(nvml, handle, board, number, nvml.nvmlDeviceGetUUID(handle), mig)
