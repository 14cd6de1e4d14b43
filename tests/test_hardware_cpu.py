"""The CPU as hardware: threads set and recorded, calls timed, an arm pinned."""

from __future__ import annotations

import os
import subprocess
import sys
from time import perf_counter_ns

import pytest

from harness.errors import SuiteError
from harness.hardware import Cpu, Hardware, cpu
from harness.hardware.cpu import cores_allowed, instruction_sets


def test_is_hardware_with_names_that_tell_times_apart() -> None:
    assert isinstance(cpu, Hardware)
    assert (cpu.name, cpu(threads=4).name) == ("cpu", "cpu.4threads")
    with pytest.raises(SuiteError, match="at least one thread"):
        cpu(threads=0)


def test_more_threads_than_cores_is_unavailable() -> None:
    assert cpu.available() is None
    assert "use fewer threads" in str(Cpu(threads=len(cores_allowed()) + 1).available())


def test_identity() -> None:
    identity = cpu.describe()
    assert identity["kind"] == "cpu"
    assert identity["model"]
    assert identity["threads"] == 1
    assert identity["cores"] == len(cores_allowed())
    assert identity["instruction_sets"] == " ".join(instruction_sets())
    assert dict(cpu.describe()) == dict(identity)
    assert {key for key in identity if cpu(threads=2).describe()[key] != identity[key]} == {"threads"}


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
