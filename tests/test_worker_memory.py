"""What counts as memory of a process that runs a model."""

from __future__ import annotations

import mmap
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import MeasurementError
from harness.hardware import cpu
from harness.measure.child import Child
from harness.measure.tree import Tree
from harness.specs import spec_of
from harness.worker import memory
from harness.worker.memory import ALLOCATOR, mapped, measure_memory
from harness.worker.protocol import MeasureMemory, MemoryMeasured
from tests.artefacts import make_artefact

ROOT = Path(__file__).parent.parent
PAGES = 512


def test_the_models_mapped_files_count_and_no_others(tmp_path: Path) -> None:
    model, other = tmp_path / "artefact" / "model.bin", tmp_path / "artefacts.bin"
    model.parent.mkdir()
    for path in (model, other):
        path.write_bytes(b"x" * mmap.PAGESIZE * PAGES)
    with model.open("rb") as mine, other.open("rb") as others:
        own = mmap.mmap(mine.fileno(), 0, access=mmap.ACCESS_COPY)
        foreign = mmap.mmap(others.fileno(), 0, access=mmap.ACCESS_READ)
    assert sum(own[:: mmap.PAGESIZE]) == sum(foreign[:: mmap.PAGESIZE])
    assert mapped(model.parent) == PAGES * mmap.PAGESIZE
    own[0] = own[mmap.PAGESIZE] = 0
    assert sum(own[:: mmap.PAGESIZE])  # where all was one huge page, the kernel has taken it apart and forgotten it
    assert mapped(model.parent) == (PAGES - 2) * mmap.PAGESIZE, "pages that were written to are in the process's own"
    own.close()
    assert mapped(model.parent) == 0
    foreign.close()


def test_what_the_harness_holds_beside_one_call_is_no_memory_of_the_model(tmp_path: Path) -> None:
    """Of eight inputs of 4 MB, and the outputs that they must give, 59 MB counted that no server holds."""
    rows = 350_000
    folders = [make_artefact(tmp_path / str(batches), rows=rows, batches=batches) for batches in (1, 8)]
    found = []
    with Child("memory", tmp_path / "log", {**cpu.environment(), **ALLOCATOR}, Tree(ROOT)) as one:
        for folder in folders:
            one.ask(MeasureMemory(str(folder), str(ROOT), spec_of(cpu), 10))
            found.append(one.reply(MemoryMeasured, 60).values)
        one.stop(30)
    alone, among = found
    assert among["memory.peak"] == pytest.approx(alone["memory.peak"], abs=6e6)
    assert among["memory.inference"] == pytest.approx(alone["memory.inference"], abs=3e6)
    assert among["memory.peak"] > 2 * 12 * rows, "those of a call count"


def test_what_staging_takes_for_a_moment_is_none_of_a_calls(tmp_path: Path) -> None:
    """torch copies on the way to a device."""
    rows, found = 350_000, []
    with Child("memory", tmp_path / "log", {**cpu.environment(), **ALLOCATOR}, Tree(ROOT)) as one:
        for fault in ("", "copied"):
            folder = make_artefact(tmp_path / f"of {fault}", fault, after=0, rows=rows)
            one.ask(MeasureMemory(str(folder), str(ROOT), spec_of(cpu), 10))
            found.append(one.reply(MemoryMeasured, 60).values["memory.inference"])
        one.stop(30)
    assert found[1] == pytest.approx(found[0], abs=6 * rows)


def test_every_input_is_called_with_and_the_one_that_needs_most_counts(tmp_path: Path) -> None:
    """As many boxes may be found in one picture as take all the memory there is. Here it is the fourth of eight."""
    found = []
    with Child("memory", tmp_path / "log", {**cpu.environment(), **ALLOCATOR}, Tree(ROOT)) as one:
        for fault in ("", "uneven"):
            folder = make_artefact(tmp_path / f"of {fault}", fault, after=0, batches=8)
            one.ask(MeasureMemory(str(folder), str(ROOT), spec_of(cpu), 10))
            found.append(one.reply(MemoryMeasured, 60).values["memory.inference"])
        one.stop(30)
    assert found[1] - found[0] > 35e6


def two_calls_of(artefact: Path) -> MeasureMemory:
    """Asked on hardware whose memory nothing limits and only the process tells."""
    hardware = SimpleNamespace(enter=lambda: None, reset_memory=lambda: None, peak_memory=dict)
    return MeasureMemory(str(artefact), str(ROOT), cast(Any, SimpleNamespace(build=lambda: hardware)), 2)


def test_a_kernel_that_does_not_tell_which_files_are_the_models_counts_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels of some boards have no smaps, and every case was an error there."""
    folder = make_artefact(tmp_path / "artefact")
    request = two_calls_of(folder)
    usual = measure_memory(request)
    monkeypatch.setattr(memory, "SMAPS", tmp_path / "smaps")
    found = measure_memory(request)
    assert "libraries" not in usual.method
    assert found.method.startswith("VmHWM, libraries included (no smaps here)")
    assert found.values.keys() == usual.values.keys()
    assert found.values["memory.peak"] > usual.values["memory.peak"] + 1e6


def test_a_kernel_that_does_not_tell_pages_of_files_counts_libraries_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Linux 4.5 pages that the model maps counted twice, and the method said that libraries did not count."""
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    memory.STATUS.write_text("VmHWM:\t  30000 kB\nVmRSS:\t  20000 kB\nVmData:\t  10000 kB\n")
    found = measure_memory(two_calls_of(make_artefact(tmp_path / "artefact")))
    assert found.method.startswith("VmHWM, libraries included (no RssFile here)")
    assert found.values == {"memory.inference": 10000 * 1024, "memory.peak": 30000 * 1024}


def test_a_kernel_that_tells_no_peak_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In gVisor every peak was 0, or what the artefact's files took."""
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    memory.STATUS.write_text("VmRSS:\t  20000 kB\nVmData:\t  10000 kB\n")
    with pytest.raises(MeasurementError, match=r"double/faulty/cpu: the kernel here \(\w+ .+ has no VmHWM"):
        measure_memory(two_calls_of(make_artefact(tmp_path / "artefact")))


@pytest.mark.parametrize(("shared", "peak"), [(0, 320), (60, 260), (90, 260)], ids=["disk", "tmpfs", "with others"])
def test_mapped_weights_count_once_where_the_artefact_lies_in_memory(
    shared: int, peak: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of a file on tmpfs are none of files to the kernel, and the peak had them twice."""
    told = {"VmRSS": 150, "VmHWM": 300, "RssFile": 40, "RssShmem": shared, "VmData": 500}
    monkeypatch.setattr(memory, "_status", lambda: told)
    monkeypatch.setattr(memory, "mapped", lambda folder: 60)
    assert measure_memory(two_calls_of(make_artefact(tmp_path / "artefact"))).values["memory.peak"] == peak


@pytest.mark.parametrize("loaded", [0, 25, 60])
def test_mapped_weights_that_calls_touch_are_none_of_their_memory_where_the_artefact_lies_in_memory(
    loaded: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On tmpfs they were, where loading had not touched all of them, and on disk they were not."""
    request = two_calls_of(make_artefact(tmp_path / "artefact"))
    told: dict[str, int] = {}

    def touched(pages: int, own: int, kind: str) -> bool:
        told.update({"VmRSS": own + 40 + pages, "VmHWM": own + 40 + pages, "RssFile": 40, "RssShmem": 0})
        told[kind] += pages
        told["pages"] = pages
        return True

    monkeypatch.setattr(memory, "_status", lambda: told)
    monkeypatch.setattr(memory, "mapped", lambda folder: told["pages"])
    found = []
    for kind in ("RssFile", "RssShmem"):
        touched(loaded, 100, kind)
        # Called before each call that is measured.
        monkeypatch.setattr(memory, "_reset_peak", lambda kind=kind: touched(60, 170, kind))
        found.append(measure_memory(request).values)
    assert found == [{"memory.inference": 70, "memory.peak": 230}] * 2, "on disk, and on tmpfs"


def test_one_batch_is_held_at_a_time_from_the_start(tmp_path: Path) -> None:
    """All eight inputs were staged and all that they must give was read, which a limited device had no memory for."""
    folder = make_artefact(tmp_path / "artefact", rows=250_000, batches=8)
    request = two_calls_of(folder)
    tracemalloc.start()
    try:
        measure_memory(request)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 39e6, "a batch of 3 MB in, one out, one wanted, and their comparison in double precision"
