"""The memory pass, in a process of its own.

The peak is `VmHWM` of the kernel, reset before each call by writing 5 to `/proc/self/clear_refs`, so that what loading
and staging needed for a moment is not called inference. Never `ru_maxrss`: a child inherits its parent's. Pages of
files (`RssFile`: libraries) are taken off: the kernel shares them, drops them under pressure, and maps more or fewer
of them as its cache happens to lie. The same process held 1.5 MiB more of them one hour than another, while its own
memory repeated within 0.4 %. Pages of the artefact's files count, as they are after the calls: some runtimes map their
weights where others copy them, and an inference needs them all the same. On tmpfs they are shared memory to the kernel,
which is in the process's own until it is taken off. The parent starts this process with allocator settings that give
freed memory back. Of the inputs those of one call are held at a time, as a server holds them: the others, and the
outputs that they must give, are the harness's own. Idle is the process's own memory after loading and before the first
call. A kernel without `/proc/self/smaps` (CONFIG_PROC_PAGE_MONITOR) does not tell the artefact's files from libraries,
nor does it have `clear_refs`: the peak there is all of `VmHWM`, also what loading needed, which the method says, and
the software of the run (`harness.measure.environment`), by which another one is told beside a baseline. Nor do kernels
before 4.5, which have no `RssFile`: the peak there is all of `VmHWM` too. A sandbox's kernel without `VmHWM` (gVisor's)
tells no peak, and nothing is measured there.
"""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path
from typing import Any

from harness.errors import MeasurementError
from harness.hardware.base import Hardware

from .artefact import batch_count, load_batch, read_manifest
from .outputs import check_outputs
from .protocol import MeasureMemory, MemoryMeasured

__all__ = ["ALLOCATOR", "SMAPS", "STATUS", "mapped", "measure_memory", "untold"]

ALLOCATOR = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Environment of the memory pass: one arena, and freed blocks go back to the kernel (glibc's mallopt(3))."""
SMAPS = Path("/proc/self/smaps")
"""Which files this process has in memory, and how much of each; not of every kernel."""
STATUS = Path("/proc/self/status")
"""How much memory this process has, and the most that it had; not of every kernel with the part that is of files."""


def measure_memory(request: MeasureMemory) -> MemoryMeasured:
    """Peaks of the process and of the device while an artefact is called.

    Raises `MeasurementError`, also where the kernel tells no peak of a process.
    """
    hardware: Hardware = request.hardware.build()
    # Not as `serve` loads: all inputs and outputs at once, which a limited device may have no memory for.
    if request.root and request.root not in sys.path:
        sys.path.insert(0, request.root)
    hardware.enter()
    folder = Path(request.folder)
    manifest = read_manifest(folder)
    if "VmHWM" not in _status():
        raise MeasurementError(
            f"{manifest.case_id}: the kernel here ({platform.system()} {platform.release()}) does not tell the most "
            "memory that a process had: /proc/self/status has no VmHWM (measure outside a sandbox such as gVisor)"
        )
    session = manifest.runtime.build().load(folder / "model", hardware)
    count, held = batch_count(folder / "inputs.npz"), list[Any]()

    def stage(number: int) -> None:
        held.clear()  # before the next one is read
        held.append(session.stage(load_batch(folder / "inputs.npz", number)))

    stage(0)
    on_tmpfs = _on_tmpfs(folder)  # first, since reading it takes memory
    now = _status()
    idle = now["VmRSS"] - now.get("RssFile", 0) - on_tmpfs
    for number in range(count):
        stage(number)
        wanted = load_batch(folder / "expected.npz", number)
        check_outputs(session.fetch(session(held[0])), wanted, manifest.case_id)
        del wanted
    hardware.reset_memory()
    peak, whole, reset = 0, 0, True
    for number in range(request.calls):
        stage(number % count)
        reset = _reset_peak() and reset  # what staging took, such as a copy, is none of the call's
        session(held[0])
        now = _status()
        peak, whole = max(peak, now["VmHWM"] - now.get("RssFile", 0)), max(whole, now["VmHWM"])
    lacks = untold()
    own = peak - _on_tmpfs(folder)
    values = {
        "memory.inference": float(max(0, own - idle)),
        "memory.peak": float(whole if lacks else own + mapped(folder)),
        **hardware.peak_memory(),
    }
    limits = getattr(hardware, "limits", None)
    method = f"VmHWM, libraries included (no {lacks} here)" if lacks else "VmHWM - RssFile + the artefact's"
    return MemoryMeasured(
        values,
        f"{method}, {'since warm-up' if reset else 'since the start (no clear_refs here)'}",
        asked=float(_status().get("VmData", 0)),
        limits=limits() if limits else {},
    )


def untold() -> str:
    """What the kernel lacks to tell a process's own memory and its artefact's files from libraries, "" for nothing."""
    if not SMAPS.exists():
        return "smaps"
    return "" if "RssFile" in _status() else "RssFile"


def mapped(folder: Path) -> int:
    """Resident bytes of the files below a folder that this process maps; pages that it has written to are its own."""
    inside, kilobytes = False, 0
    place = f"{folder.resolve()}/"
    for line in SMAPS.read_text(encoding="utf-8", errors="replace").splitlines():
        name, *words = line.split(maxsplit=5)
        if not name.endswith(":"):
            inside = len(words) == 5 and words[4].startswith(place)
        elif inside and name in ("Rss:", "Anonymous:"):
            kilobytes += int(words[0]) if name == "Rss:" else -int(words[0])
    return kilobytes * 1024


def _on_tmpfs(folder: Path) -> int:
    """Resident bytes of the files below a folder that this process maps and the kernel counts as shared memory."""
    shared = _status().get("RssShmem", 0)
    return min(mapped(folder), shared) if shared and SMAPS.exists() else 0


def _status() -> dict[str, int]:
    """The sizes that the kernel tells of this process, by name, in bytes."""
    text = STATUS.read_text(encoding="ascii", errors="replace")
    return {name: int(size) * 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}


def _reset_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True
