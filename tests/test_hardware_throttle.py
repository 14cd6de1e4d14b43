"""Clock rejection on a scripted GPU: what is timed again, what stands, how long it may take, and what is said of it."""

from __future__ import annotations

import random
import statistics
import sys

import pynvml
import pytest

from harness.hardware import Cuda, cuda
from harness.hardware.throttle import PAUSES_SECONDS, RECOVERY_SECONDS, REPEATS, RISE_NANOSECONDS
from harness.measure.turns import paired
from harness.worker.steady import settle
from tests.fake_cuda import MAX_CLOCK, Clocks, FakeDevice
from tests.fake_nvml import fake_nvml

THERMAL = pynvml.nvmlClocksThrottleReasonHwThermalSlowdown
IDLE = pynvml.nvmlClocksThrottleReasonGpuIdle
POWER_CAP = pynvml.nvmlClocksThrottleReasonSwPowerCap
APPLICATION_CLOCKS = pynvml.nvmlClocksThrottleReasonApplicationsClocksSetting
BOARD_LIMIT, RELIABILITY = 0x200, 0x400  # older bindings have no names for them

MS = 1_000_000


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    device = FakeDevice()
    device.as_torch(monkeypatch)
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([device.board]))
    for name in ("CUDA_VISIBLE_DEVICES", "HARNESS_CUDA_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    return device


@pytest.fixture
def hardware(device: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> Cuda:
    """The device as a child has it: entered, with the variables that its parent gave it."""
    hardware = cuda()
    for name, value in hardware.environment().items():
        monkeypatch.setenv(name, value)
    hardware.enter()
    return hardware


def times_of(hardware: Cuda, device: FakeDevice, calls: int = 4, length: int = MS) -> list[int]:
    times, output = hardware.time_calls(lambda value: device.launch(host=0, main=value) or value, [length] * calls)
    assert output == length
    return times


def rejected_by(hardware: Cuda) -> int:
    """How many calls were timed again."""
    return int(hardware.watched()["rejected_calls"])


def test_at_full_clock_nothing_is_repeated(hardware: Cuda, device: FakeDevice) -> None:
    assert times_of(hardware, device) == [MS] * 4
    assert device.calls.count("kernel") == 4
    assert device.sleeps == []
    assert hardware.watched() == {
        "rejected_calls": 0,
        "throttled_calls": 0,
        "due_sm_clock": MAX_CLOCK,
        "lowest_sm_clock": MAX_CLOCK,
        "rejected_for": "none",
    }


def test_a_clock_that_falls_in_the_middle_is_rejected_and_timed_again(hardware: Cuda, device: FakeDevice) -> None:
    device.script = [Clocks(0), Clocks(device.now + 2 * MS, sm=800, reasons=THERMAL), Clocks(device.now + 20 * MS)]
    assert times_of(hardware, device) == [MS] * 4
    assert device.sleeps == [RECOVERY_SECONDS]
    assert rejected_by(hardware) == 4
    assert hardware.watched()["rejected_for"] == "low_clock thermal_hardware"
    assert hardware.watched()["throttled_calls"] == 0
    assert hardware.watched()["lowest_sm_clock"] == MAX_CLOCK
    assert hardware.state()["rejected_calls"] == 4


def test_a_slowdown_that_ends_before_the_last_call_is_rejected_too(hardware: Cuda, device: FakeDevice) -> None:
    device.script = [Clocks(0, reasons=THERMAL), Clocks(device.now + MS)]
    times_of(hardware, device)
    assert rejected_by(hardware) == 4
    assert hardware.watched()["rejected_for"] == "thermal_hardware"


@pytest.mark.parametrize(("sm", "rejected"), [(1317, 0), (1316, 4)])
def test_the_threshold_is_three_quarters_of_the_highest_clock(
    hardware: Cuda, device: FakeDevice, sm: int, rejected: int
) -> None:
    device.script = [Clocks(0, sm=sm), Clocks(device.now + 20 * MS)]
    times_of(hardware, device)
    assert rejected_by(hardware) == rejected


def test_after_a_pause_the_first_calls_are_not_the_ones_that_count(hardware: Cuda, device: FakeDevice) -> None:
    """The clock ramps up while the device is woken."""
    resumed = device.now + round(RECOVERY_SECONDS * 1e9)
    device.script = [Clocks(0, sm=400, reasons=THERMAL), Clocks(resumed + MS, sm=900), Clocks(resumed + 3 * MS)]
    assert times_of(hardware, device, calls=2, length=MS // 4) == [MS // 4] * 2
    assert device.calls.count("kernel") > 2 + 2 + 1


def test_a_device_that_stays_hot_is_waited_for_a_bounded_time_and_its_times_stand(
    hardware: Cuda, device: FakeDevice
) -> None:
    device.script = [Clocks(0, sm=MAX_CLOCK // 2, reasons=THERMAL)]
    first = times_of(hardware, device)
    assert first == [pytest.approx(2 * MS, rel=0.01)] * 4
    assert device.sleeps == [RECOVERY_SECONDS * factor for factor in (1, 2, 4)]
    assert (rejected_by(hardware), hardware.watched()["throttled_calls"]) == (4 * REPEATS, 4)
    for _ in range(100):
        times_of(hardware, device)
    assert sum(device.sleeps) < PAUSES_SECONDS + RECOVERY_SECONDS * 4
    assert hardware.watched()["throttled_calls"] == 4 * 101
    assert hardware.watched()["lowest_sm_clock"] == MAX_CLOCK // 2
    assert hardware.watched()["rejected_for"] == "low_clock thermal_hardware"
    assert hardware.watched()["due_sm_clock"] == MAX_CLOCK


@pytest.mark.parametrize("setting", [POWER_CAP, APPLICATION_CLOCKS, BOARD_LIMIT, RELIABILITY])
def test_a_clock_that_settings_hold_down_is_no_fault(hardware: Cuda, device: FakeDevice, setting: int) -> None:
    device.script = [Clocks(0, sm=MAX_CLOCK // 2, reasons=setting)]
    times_of(hardware, device)
    assert rejected_by(hardware) == 0
    assert hardware.watched()["throttled_calls"] == 0
    assert hardware.watched()["lowest_sm_clock"] == MAX_CLOCK // 2


def test_a_steady_low_clock_without_a_reason_is_a_locked_one(hardware: Cuda, device: FakeDevice) -> None:
    device.script = [Clocks(0, sm=915)]
    times_of(hardware, device)
    assert hardware.watched()["due_sm_clock"] == 915
    rejected = rejected_by(hardware)
    times_of(hardware, device)
    assert rejected_by(hardware) == rejected
    assert hardware.watched()["throttled_calls"] == 0
    device.script = [Clocks(0, sm=600)]
    times_of(hardware, device)
    assert rejected_by(hardware) > rejected


def test_a_slowdown_at_a_steady_clock_is_not_taken_for_a_locked_one(hardware: Cuda, device: FakeDevice) -> None:
    device.script = [Clocks(0, sm=915, reasons=THERMAL)]
    times_of(hardware, device)
    assert hardware.watched()["due_sm_clock"] == MAX_CLOCK
    assert hardware.watched()["throttled_calls"] == 4


def test_an_idle_device_is_woken_by_work_and_not_by_a_pause(hardware: Cuda, device: FakeDevice) -> None:
    device.script = [Clocks(0, sm=345, reasons=IDLE), Clocks(device.now + 24 * MS)]
    assert times_of(hardware, device) == [MS] * 4
    assert device.sleeps == []
    assert rejected_by(hardware) > 0


def test_the_short_calls_of_settling_on_an_idle_device_are_not_throttled(hardware: Cuda, device: FakeDevice) -> None:
    """They are called one by one, and the clock needs hundreds of them to rise; no time of theirs counts."""
    length, began = MS // 20, device.now
    device.script = [Clocks(0, sm=345, reasons=IDLE), Clocks(began + 10 * MS, sm=900), Clocks(began + 24 * MS)]
    found = settle(lambda number: times_of(hardware, device, calls=1, length=length)[0] / 1e9)
    assert found.steady
    assert found.call_seconds == pytest.approx(length / 1e9)
    assert times_of(hardware, device) == [MS] * 4
    assert device.sleeps == []
    assert hardware.watched()["throttled_calls"] == 0


def test_a_clock_that_began_to_rise_during_the_calls_is_helped_by_calls(hardware: Cuda, device: FakeDevice) -> None:
    """A pause would let it fall again."""
    device.script = [Clocks(0, sm=345, reasons=IDLE), Clocks(device.now + MS, sm=900), Clocks(device.now + 40 * MS)]
    assert times_of(hardware, device) == [MS] * 4
    assert device.sleeps == []
    assert hardware.watched()["throttled_calls"] == 0


def test_a_clock_that_never_comes_is_waited_for_a_bounded_time(hardware: Cuda, device: FakeDevice) -> None:
    device.script = [Clocks(0, sm=345, reasons=IDLE)]
    began = device.now
    times_of(hardware, device)
    assert hardware.watched()["throttled_calls"] == 4
    assert RISE_NANOSECONDS < device.now - began < 1.5 * RISE_NANOSECONDS
    began = device.now
    times_of(hardware, device)
    assert device.now - began < 0.5 * RISE_NANOSECONDS


def test_a_device_that_tells_nothing_is_timed_as_it_is(hardware: Cuda, device: FakeDevice) -> None:
    reasons = {"nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"}
    device.board.silent = {"nvmlDeviceGetClockInfo", "nvmlDeviceGetMaxClockInfo", *reasons}
    device.script = [Clocks(0, sm=400, reasons=THERMAL)]
    times_of(hardware, device)
    assert rejected_by(hardware) == 0
    assert "lowest_sm_clock" not in hardware.watched()


def test_runtimes_on_the_hosts_clock_are_watched_too(hardware: Cuda, device: FakeDevice) -> None:
    device.initialized = False  # no torch computes here: ONNX Runtime does
    device.script = [Clocks(0, reasons=THERMAL), Clocks(device.now + MS)]
    times, output = hardware.time_calls(lambda value: value + 1, [1, 2])
    assert (len(times), output) == (2, 3)
    assert rejected_by(hardware) == 2


def test_nothing_is_watched_before_enter_and_nothing_asked_for_no_calls(device: FakeDevice, hardware: Cuda) -> None:
    device.script = [Clocks(0, sm=400, reasons=THERMAL)]
    parent = cuda()
    times_of(parent, device)
    assert parent.watched() == {}
    assert "rejected_calls" not in parent.state()
    assert hardware.time_calls(lambda value: value, []) == ([], None)
    assert rejected_by(hardware) == 0
    assert parent == hardware


def test_flushed_calls_are_rejected_like_others(
    device: FakeDevice, hardware: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold = hardware(l2_flush=True)
    cold.enter()
    device.script = [Clocks(0), Clocks(device.now + 2 * MS, sm=800, reasons=THERMAL), Clocks(device.now + 20 * MS)]
    assert times_of(cold, device) == [MS] * 4
    assert rejected_by(cold) == 4


def test_ratios_keep_a_planted_difference_while_a_common_drift_moves_the_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two arms take turns on one noisy device whose clock falls by a fifth, which is no fault to reject.

    Taken alone, the slower arm would look as much as a fifth slower or faster than itself; against each other it is
    2.5 % slower, and an identical arm is not.
    """
    device = FakeDevice(noise=0.02, seed=1)
    device.as_torch(monkeypatch)
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([device.board]))
    rounds, length, planted = 200, MS, 1.025
    span = rounds * 3 * 3 * length
    device.script = [Clocks(span * step // 40, sm=MAX_CLOCK - 9 * step) for step in range(40)]
    hardware = cuda()
    for name, value in hardware.environment().items():
        monkeypatch.setenv(name, value)
    hardware.enter()
    works = {"candidate": round(length * planted), "previous": length, "same": length}
    turns: dict[str, list[float]] = {role: [] for role in works}
    rng = random.Random(2)
    for _ in range(rounds):
        for role in rng.sample(sorted(works), 3):
            turns[role].append(statistics.median(times_of(hardware, device, calls=3, length=works[role])) / 1e9)
    assert rejected_by(hardware) == 0
    early, late = (statistics.median(turns["previous"][part]) for part in (slice(0, 40), slice(-40, None)))
    assert late / early > 1.15
    slower, error = paired(turns["candidate"], turns["previous"], [True] * rounds)
    same, _ = paired(turns["same"], turns["previous"], [True] * rounds)
    assert error < 0.002
    assert slower == pytest.approx(planted, abs=3 * error)
    assert same == pytest.approx(1, abs=3 * error)
