"""`check_hardware` passes what keeps the contract, and names the member that does not."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import pytest

from harness.errors import SuiteError
from harness.hardware import Cpu, cpu, cuda
from harness.hardware.check import check_hardware


def test_bundled_hardware_keeps_the_contract() -> None:
    check_hardware(cpu)
    check_hardware(cuda)


@dataclass(frozen=True)
class Board(Cpu):
    """A device of somebody's own."""

    @property
    def name(self) -> str:
        return "board"


class NameWithSpace(Board):
    @property
    def name(self) -> str:
        return "my board"


class SilentlyAbsent(Board):
    def available(self) -> str | None:
        return " "


class SaysTrue(Board):
    """In a run pytest would be asked to skip for the reason True, which is a TypeError."""

    def available(self) -> Any:
        return True


class SaysFalse(Board):
    def available(self) -> Any:
        return False


class WithoutKind(Board):
    def describe(self) -> Mapping[str, Any]:
        return {"model": "x"}


class KindWithSpace(Board):
    """Its times would be written under a name that is never read, so that no slow-down of it would be red."""

    def describe(self) -> Mapping[str, Any]:
        return {**super().describe(), "kind": "my board"}


class Unsteady(Board):
    def describe(self) -> Mapping[str, Any]:
        return {"kind": "board", "now": perf_counter_ns()}


class NotANumber(Board):
    def state(self) -> Mapping[str, Any]:
        return {"clock": float("nan")}


class NumbersInEnvironment(Board):
    def environment(self) -> Any:
        return {"OMP_NUM_THREADS": 1}


class ForgetsACall(Board):
    def time_calls(self, call: Callable[[Any], Any], inputs: Sequence[Any]) -> tuple[list[int], Any]:
        return super().time_calls(call, inputs[1:])


class FirstOutput(Board):
    def time_calls(self, call: Callable[[Any], Any], inputs: Sequence[Any]) -> tuple[list[int], Any]:
        times, _ = super().time_calls(call, inputs)
        return times, call(inputs[0])


class Milliseconds(Board):
    def time_calls(self, call: Callable[[Any], Any], inputs: Sequence[Any]) -> tuple[list[Any], Any]:
        times, output = super().time_calls(call, inputs)
        return [time / 1e6 for time in times], output


class CannotEnter(Board):
    def enter(self) -> None:
        raise SuiteError("the board is locked")


class UnknownMetric(Board):
    def peak_memory(self) -> Mapping[str, float]:
        return {"board_memory": 1.0}


class OnlyLimits(Board):
    def limits(self) -> Mapping[str, str]:
        return {"memory <= 1MB": "1 MB"}


class LiftsToNothing(OnlyLimits):
    def unlimited(self) -> Any:
        return None


class LimitsNothing(Board):
    def limits(self) -> Mapping[str, str]:
        return {}

    def unlimited(self) -> Board:
        return Board()


class NegativeMemory(Board):
    def peak_memory(self) -> Mapping[str, float]:
        return {"gpu_memory.process": -1.0}


@pytest.mark.parametrize(
    ("faulty", "message"),
    [
        (SilentlyAbsent, "available"),
        (SaysTrue, r"available\(\) must be None or a sentence .* is True"),
        (SaysFalse, r"available\(\) must be None or a sentence .* is False"),
        (WithoutKind, "'kind'"),
        (KindWithSpace, "'kind' is 'my board'; use only letters"),
        (Unsteady, "belongs in state"),
        (NotANumber, r"state\(\): 'clock'"),
        (NumbersInEnvironment, "strings to strings"),
        (ForgetsACall, "gave 4 times for 5"),
        (FirstOutput, "output of the last call"),
        (Milliseconds, "whole nanoseconds"),
        (CannotEnter, "the board is locked"),
        (UnknownMetric, "'board_memory' is no metric"),
        (OnlyLimits, "belong together"),
        (LiftsToNothing, "must give a hardware"),
        (LimitsNothing, "names none after enter"),
        (NegativeMemory, "gpu_memory.process is -1.0"),
    ],
)
def test_faults_are_named(faulty: type[Board], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_hardware(faulty())


def test_values_that_can_be_no_hardware() -> None:
    with pytest.raises(AssertionError, match="lacks a member"):
        check_hardware(object())
    with pytest.raises(SuiteError, match="use only letters"):
        check_hardware(NameWithSpace())


def test_the_hardware_in_the_documentation_keeps_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It pinned its arms to one core, and described and watched another: it is here on that core alone."""
    text = (Path(__file__).parents[1] / "docs" / "hardware.md").read_text(encoding="utf-8")
    code = text.partition("## Hardware of your own")[2].partition("```python\n")[2].partition("```")[0]
    (tmp_path / "documented_core.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("documented_core")
    core = min(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {core, core + 1})
    assert f"start it with taskset -c {core})" in module.Core(core=core).available()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {core})
    assert module.Core(core=core).available() is None
    check_hardware(module.Core(core=core))
