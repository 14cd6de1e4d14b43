"""Counters of energy: RAPL on a scripted tree, NVML on a scripted driver, and every way in which there is none; and the
pass that reads them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest

from harness.errors import UnavailableError
from harness.hardware import Cpu, cpu, cuda, edge
from harness.hardware.energy import POWERCAP, Rapl, energy_meter
from harness.worker import energy as energy_pass
from harness.worker.protocol import MeasureEnergy
from tests.fake_nvml import FakeBoard, fake_nvml

MODULE = sys.modules["harness.hardware.energy"]


def zone(root: Path, folder: str, name: str, energy: int = 0, most: int = 262_143_328_850) -> Path:
    """A zone as the kernel lays it out: the class's folder lists zones and their parts side by side."""
    path = root / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{most}\n")
    (path / "energy_uj").write_text(f"{energy}\n")
    return path


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Two packages with cores, memory and, over all of it, the platform; the same again through another interface."""
    (tmp_path / "intel-rapl").mkdir()
    for number in (0, 1):
        zone(tmp_path, f"intel-rapl:{number}", f"package-{number}", 1_000_000)
        zone(tmp_path, f"intel-rapl:{number}:0", "core", 500_000)
        zone(tmp_path, f"intel-rapl:{number}:1", "dram", 100_000)
    zone(tmp_path, "intel-rapl:2", "psys", 9_000_000)
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 1_000_000)
    return tmp_path


def test_packages_and_their_memory_are_counted_once(powercap: Path) -> None:
    meter = Rapl.found(powercap)
    assert meter.source == "RAPL package-0 + dram + package-1 + dram"
    before = meter.read()
    for folder, energy in (("intel-rapl:0", 3_500_000), ("intel-rapl:0:0", 2_000_000), ("intel-rapl:1:1", 350_000)):
        (powercap / folder / "energy_uj").write_text(f"{energy}\n")
    assert meter.joules(before, meter.read()) == pytest.approx(2.5 + 0.25)
    assert meter.joules(before, before) == 0


def test_a_counter_that_begins_again(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 990_000, most=1_000_000)
    meter = Rapl.found(tmp_path)
    before = meter.read()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("15000")
    assert meter.joules(before, meter.read()) == pytest.approx(0.025)


@pytest.mark.parametrize("machine", ["aarch64", "arm64", "riscv64", "ppc64le"])
def test_a_processor_that_has_no_rapl(machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There it is neither for a container that there is none, nor for want of a module of the kernel's."""
    monkeypatch.setattr("platform.machine", lambda: machine)
    words = r"processor has no RAPL, which Intel's and AMD's have \(give a hardware of your own an energy_meter\(\)"
    with pytest.raises(UnavailableError, match=words):
        Rapl.found(tmp_path)


def test_no_counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for folder in (tmp_path / "absent", tmp_path):
        with pytest.raises(UnavailableError, match=r"no counter of energy.*virtual machines"):
            Rapl.found(folder)
    zone(tmp_path, "intel-rapl:0", "psys")
    with pytest.raises(UnavailableError, match="no counter of energy"):
        Rapl.found(tmp_path)


def test_a_container_that_hides_where_the_links_lead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    (tmp_path / "intel-rapl:0").symlink_to("../../devices/virtual/powercap/intel-rapl/intel-rapl:0")
    with pytest.raises(UnavailableError, match=r"no counter of energy.*most containers have none"):
        Rapl.found(tmp_path)


def test_a_counter_for_root_alone(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(MODULE.Zone, "read", denied)
    with pytest.raises(UnavailableError, match=r"for root alone.*chmod"):
        Rapl.found(powercap)


def test_a_counter_that_tells_nonsense(powercap: Path) -> None:
    (powercap / "intel-rapl:1" / "energy_uj").write_text("overflow\n")
    with pytest.raises(UnavailableError, match="can't be read"):
        Rapl.found(powercap)
    (powercap / "intel-rapl:1" / "max_energy_range_uj").unlink()
    with pytest.raises(UnavailableError, match="can't be read"):
        Rapl.found(powercap)


def test_a_cpu_is_counted_by_rapl(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rapl.found.__func__, "__defaults__", (powercap,))
    for hardware in (cpu, edge):
        assert energy_meter(hardware).source.startswith("RAPL package-0")


def test_this_machine_or_a_reason() -> None:
    """The real counters, wherever the tests run."""
    try:
        found = Rapl.found(POWERCAP).read()
    except UnavailableError as error:
        found = error.reason and error.cure
    assert found


@dataclass(frozen=True)
class Board(Cpu):
    """A device that harness knows nothing of."""

    def describe(self) -> dict[str, str]:
        return {"kind": "board"}


@dataclass(frozen=True)
class CountingBoard(Board):
    def energy_meter(self) -> str:
        return "its own"


def test_hardware_of_ones_own() -> None:
    assert energy_meter(CountingBoard()) == "its own"
    with pytest.raises(UnavailableError, match=r"known for cpu \(give it a member energy_meter"):
        energy_meter(Board())


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> FakeBoard:
    board = FakeBoard("GPU-aaaa")
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([board]))
    for name in ("CUDA_VISIBLE_DEVICES", "HARNESS_CUDA_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    return board


def test_a_gpu_counts_millijoules(board: FakeBoard) -> None:
    board.energy = 70_000
    meter = energy_meter(cuda)
    before = meter.read()
    board.energy = 72_500
    assert meter.source == "NVML, the whole board"
    assert meter.joules(before, meter.read()) == 2.5


def test_a_gpu_that_does_not_count(board: FakeBoard) -> None:
    board.silent = {"nvmlDeviceGetTotalEnergyConsumption"}
    with pytest.raises(UnavailableError, match=r"does not count its energy.*Volta .*integrated GPU has no counter"):
        energy_meter(cuda)
    board.silent, board.failing = set(), {"nvmlDeviceGetTotalEnergyConsumption": pynvml.NVML_ERROR_GPU_IS_LOST}
    with pytest.raises(UnavailableError, match="driver failed"):
        energy_meter(cuda)


def test_a_part_of_a_gpu(board: FakeBoard) -> None:
    board.mig, board.instances = True, [FakeBoard("MIG-1111")]
    with pytest.raises(UnavailableError, match=r"MIG instance.*-mig 0"):
        energy_meter(cuda)


def test_watts_are_of_the_time_between_two_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a reading, which opens NVML, counted once more than its energy: watts were too few."""
    now = [0.0]

    class Slow:
        """A counter of ten watts that takes half a second to read."""

        source = "scripted"

        def read(self) -> tuple[int, ...]:
            now[0] += 0.5
            return (round(10_000 * now[0]),)

        def joules(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
            return (after[0] - before[0]) / 1000

    class Session:
        def __call__(self, value: int) -> int:
            now[0] += 0.25
            return value

        def fetch(self, output: int) -> int:
            return output

    def sleep(seconds: float) -> None:
        now[0] += seconds

    loading = SimpleNamespace(session=Session(), staged=[1], check=lambda *_: None)
    hardware = SimpleNamespace(energy_meter=Slow, settle=lambda: None)
    monkeypatch.setattr(energy_pass, "Loading", lambda *_: loading)
    monkeypatch.setattr(energy_pass, "time", SimpleNamespace(perf_counter=lambda: now[0], sleep=sleep))
    spec = SimpleNamespace(build=lambda: hardware)
    found = energy_pass.measure_energy(MeasureEnergy("", "", spec, idle_seconds=1.0, seconds=1.0))  # type: ignore[arg-type]
    assert (found.watts, found.idle_watts) == pytest.approx((10.0, 10.0))
    assert (found.calls, found.joules) == (4, pytest.approx(15 / 4))
