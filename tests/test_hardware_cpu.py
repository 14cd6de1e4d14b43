"""The CPU as hardware: threads set and recorded, calls timed, an arm pinned."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from time import perf_counter_ns

import pytest

from harness.errors import SuiteError
from harness.hardware import Cpu, Hardware, cgroup, cpu, edge
from harness.hardware.cpu import cores_allowed, cores_usable, instruction_sets

MODULE = sys.modules["harness.hardware.cpu"]

ARM = """processor\t: {core}
BogoMIPS\t: 108.00
Features\t: fp asimd asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: {part}
CPU revision\t: 1
"""


def test_is_hardware_with_names_that_tell_times_apart() -> None:
    assert isinstance(cpu, Hardware)
    assert (cpu.name, cpu(threads=4).name) == ("cpu", "cpu.4threads")
    with pytest.raises(SuiteError, match="at least one thread"):
        cpu(threads=0)


def test_more_threads_than_cores_is_unavailable() -> None:
    assert cpu.available() is None
    assert "use fewer threads" in str(Cpu(threads=cores_usable() + 1).available())


def limit_to(monkeypatch: pytest.MonkeyPatch, folder: Path, limit: str) -> None:
    """64 cores, in a container with a limit of their time."""
    (folder / "self").mkdir(exist_ok=True)
    (folder / "self" / "cgroup").write_text("0::/\n")
    (folder / "cpu.max").write_text(f"{limit}\n")
    monkeypatch.setattr(cgroup.processors, "__defaults__", (folder, folder))
    monkeypatch.setattr(MODULE, "cores_allowed", lambda: list(range(64)))


def test_more_threads_than_a_control_group_gives_time_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit_to(monkeypatch, tmp_path, "200000 100000")
    for hardware in (Cpu(4), edge(threads=4)):
        reason = str(hardware.available())
        assert "a control group limits this process to the time of 2 of its 64 cores" in reason
        assert "(use fewer threads, or raise the limit: --cpus of docker run" in reason
    assert Cpu(2).available() is None


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("max 100000", 64), ("6400000 100000", 64), ("9900000 100000", 64), ("250000 100000", 2), ("50000 100000", 1)],
)
def test_cores_are_those_that_have_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, cores: int
) -> None:
    limit_to(monkeypatch, tmp_path, limit)
    assert (cores_usable(), cpu.describe()["cores"]) == (cores, cores)
    assert cpu.available() is None


def test_below_one_core_another_limit_is_another_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Half of the time stops a long call in each period, and the short anchor hardly ever."""
    found = []
    for limit in ("25000 100000", "50000 100000", "100000 100000", "250000 100000", "max 100000"):
        limit_to(monkeypatch, tmp_path, limit)
        found.append(cpu.describe().get("processor_time"))
    assert found == [0.25, 0.5, None, None, None]


def test_identity() -> None:
    identity = cpu.describe()
    assert identity["kind"] == "cpu"
    assert identity["model"]
    assert identity["threads"] == 1
    assert identity["cores"] == cores_usable()
    assert identity["instruction_sets"] == " ".join(instruction_sets())
    assert dict(cpu.describe()) == dict(identity)
    assert {key for key in identity if cpu(threads=2).describe()[key] != identity[key]} == {"threads"}


def show(monkeypatch: pytest.MonkeyPatch, *blocks: str) -> None:
    """Another machine's /proc/cpuinfo, and nothing else of it."""
    text = "\n".join(blocks).strip()
    monkeypatch.setattr(MODULE, "_read", lambda path: text if path == "/proc/cpuinfo" else "")
    monkeypatch.setattr(MODULE, "cores_allowed", lambda: list(range(len(blocks))))


def test_arm_processors_are_told_apart_by_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for part in ("0xd0b", "0xd0c"):
        show(monkeypatch, *(ARM.format(core=core, part=part) for core in range(4)))
        found.append(cpu.describe())
    assert [one["family"] for one in found] == ["0x41/8/0x3/0xd0b/1", "0x41/8/0x3/0xd0c/1"]
    assert str(found[1]["model"]).endswith(" (implementer 0x41, part 0xd0c)")
    assert found[0]["model"] != found[1]["model"]
    assert found[0]["instruction_sets"] == "asimd asimddp"
    assert {key for key in found[0] if cpu(threads=4).describe()[key] != found[1][key]} == {"threads"}


def test_of_cores_of_several_designs_those_count_that_an_arm_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    show(monkeypatch, *(ARM.format(core=core, part="0xd05" if core < 9 else "0xd0b") for core in range(11)))
    assert [cpu(threads=threads).describe()["family"] for threads in (1, 2, 3)] == [
        "0x41/8/0x3/0xd0b/1",
        "0x41/8/0x3/0xd0b/1",
        "0x41/8/0x3/0xd05/1 + 0x41/8/0x3/0xd0b/1",
    ]
    assert str(cpu.describe()["model"]).endswith("part 0xd0b)")


@pytest.mark.parametrize(
    ("block", "family"),
    [
        ("cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nstepping\t: 1\n", "25/17/1"),
        ("cpu\t\t: POWER9\nclock\t\t: 3800MHz\nrevision\t: 2.2 (pvr 004e 1202)\n", "POWER9/2.2 (pvr 004e 1202)"),
        ("hart\t\t: 1\nmvendorid\t: 0x489\nmarchid\t\t: 0x7\nmimpid\t\t: 0x4210\n", "0x489/0x7/0x4210"),
        ("", "//"),
    ],
)
def test_the_design_of_other_architectures(monkeypatch: pytest.MonkeyPatch, block: str, family: str) -> None:
    show(monkeypatch, f"processor\t: 0\n{block}", f"processor\t: 1\n{block}")
    assert cpu(threads=2).describe()["family"] == family


@pytest.mark.parametrize(
    ("block", "vendor", "hypervisor"),
    [
        ("flags\t\t: fpu hypervisor\n", "Amazon EC2", "Amazon EC2"),
        ("flags\t\t: fpu hypervisor\n", "", "yes"),
        ("flags\t\t: fpu\n", "Dell Inc.", "none"),
        (ARM.format(core=0, part="0xd0c"), "Amazon EC2", "Amazon EC2"),
        (ARM.format(core=0, part="0xd0c"), "", "unknown"),
    ],
)
def test_only_x86_says_that_there_is_no_hypervisor(
    monkeypatch: pytest.MonkeyPatch, block: str, vendor: str, hypervisor: str
) -> None:
    told = {"/proc/cpuinfo": block, "/sys/class/dmi/id/sys_vendor": vendor}
    monkeypatch.setattr(MODULE, "_read", lambda path: told.get(path, ""))
    assert cpu.describe()["hypervisor"] == hypervisor


def test_threads_reach_the_libraries() -> None:
    assert set(cpu(threads=3).environment().values()) == {"3"}
    assert "OMP_NUM_THREADS" in cpu.environment()


def test_calls_are_timed_one_by_one() -> None:
    def wait(nanoseconds: int) -> int:
        end = perf_counter_ns() + nanoseconds
        while perf_counter_ns() < end:
            pass
        return nanoseconds

    asked = [1_000_000, 3_000_000, 2_000_000]
    times, output = cpu.time_calls(wait, asked)
    assert all(time >= least for time, least in zip(times, asked, strict=True))
    assert output == asked[-1]
    assert cpu.peak_memory() == {}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system can't pin processes to cores")
def test_settle_pins_every_thread_to_as_many_cores() -> None:
    """In a process of its own, since pinning lasts."""
    script = (
        "import os, threading\n"
        "from harness.hardware import cpu\n"
        "gate = threading.Event()\n"
        "thread = threading.Thread(target=gate.wait); thread.start()\n"
        "cpu.enter(); before = len(os.sched_getaffinity(0)); cpu.settle()\n"
        "print(before, len(os.sched_getaffinity(0)), len(os.sched_getaffinity(thread.native_id)))\n"
        "gate.set()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(cores_allowed())), "1", "1"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system can't pin processes to cores")
def test_a_thread_that_ends_while_all_are_pinned_keeps_none_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library's that lives for a moment made the load fail, by chance."""
    pinned: list[int] = []
    gone = threading.get_native_id()

    def pin(thread: int, _: set[int]) -> None:
        if thread == gone:
            raise ProcessLookupError
        pinned.append(thread)

    monkeypatch.setattr("os.sched_setaffinity", pin)
    gate = threading.Event()
    other = threading.Thread(target=gate.wait)
    other.start()
    try:
        cpu.settle()
    finally:
        gate.set()
    assert other.native_id in pinned
    assert gone not in pinned
