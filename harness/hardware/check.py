"""`check_hardware`: does a hardware of one's own keep the contract of `harness.hardware.Hardware`?"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Mapping

from harness.baseline.records import MACHINE
from harness.codec import decode, dumps, loads
from harness.errors import HarnessError
from harness.hardware.base import Hardware
from harness.metrics import METRICS
from harness.names import check_name
from harness.specs import Spec, spec_of

__all__ = ["check_hardware"]

DEADLINE_SECONDS = 60.0
_CALLS = 5
_WORK = 20_000


def check_hardware(hardware: Hardware) -> None:
    """Try every member of a hardware, in a child process where a child would call it.

    Where the hardware is not available only that is checked: that it says why. Raises `AssertionError` with the member
    and what is wrong with it.
    """
    _expect(isinstance(hardware, Hardware), f"{type(hardware).__name__} lacks a member of harness.hardware.Hardware")
    check_name("hardware", hardware.name)
    spec = spec_of(hardware)
    _expect(spec.build() == hardware, f"{spec.type}: rebuilt from its fields it differs, so a worker would use another")
    limits, unlimited = (getattr(hardware, name, None) for name in ("limits", "unlimited"))
    _expect(bool(limits) == bool(unlimited), "limits() and unlimited() belong together: it has one without the other")
    if unlimited:
        _expect(isinstance(unlimited(), Hardware), "unlimited() must give a hardware")
    reason = hardware.available()
    if reason is not None:
        given = isinstance(reason, str) and bool(reason.strip())
        _expect(given, f"available() must be None or a sentence with the reason and the cure, and is {reason!r}")
        return
    _check_identity(hardware)
    _scalars("state()", hardware.state())
    variables = hardware.environment()
    strings = all(isinstance(text, str) for pair in variables.items() for text in pair)
    _expect(strings, "environment() must map strings to strings")
    _check_child(spec, variables)


def _check_identity(hardware: Hardware) -> None:
    identity = hardware.describe()
    _scalars("describe()", identity)
    _expect(bool(identity.get("kind")), "describe() must have 'kind', the word that runtimes and machine classes go by")
    named = re.fullmatch(MACHINE, str(identity["kind"]))
    _expect(
        bool(named), f"describe(): 'kind' is {identity['kind']!r}; use only letters (a to z), digits and _ . - in it"
    )
    _expect(
        dict(hardware.describe()) == dict(identity), "describe() differs from call to call: that belongs in state()"
    )


def _check_child(spec: Spec, variables: Mapping[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness.hardware.check", dumps(spec)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    _expect(done.returncode == 0, f"{spec.type} in a child process: {done.stderr.strip() or done.returncode}")


def _in_child(hardware: Hardware) -> None:
    hardware.enter()
    limits = getattr(hardware, "limits", None)
    _expect(not limits or bool(limits()), "limits() names none after enter()")
    hardware.settle()
    times, output = hardware.time_calls(_work, range(_CALLS))
    _expect(len(times) == _CALLS, f"time_calls() gave {len(times)} times for {_CALLS} inputs")
    _expect(all(type(ns) is int and ns > 0 for ns in times), "time_calls() must give whole nanoseconds above 0")
    _expect(output == _work(_CALLS - 1), "time_calls() must give the output of the last call")
    again, nothing = hardware.time_calls(_work, ())
    _expect(not again and nothing is None, "time_calls() without inputs must give no time and None")
    hardware.reset_memory()
    known = {metric.name for metric in METRICS}
    for name, value in hardware.peak_memory().items():
        _expect(name in known, f"peak_memory(): {name!r} is no metric of harness.metrics")
        _expect(math.isfinite(value) and value >= 0, f"peak_memory(): {name} is {value}, not a number of bytes")


def _work(number: int) -> int:
    """Something that takes a while on every machine and whose result depends on its input."""
    return sum(range(_WORK)) + number


def _scalars(what: str, values: Mapping[str, object]) -> None:
    for key, value in values.items():
        good = isinstance(value, (str, bool, int)) or (isinstance(value, float) and math.isfinite(value))
        _expect(isinstance(key, str) and good, f"{what}: {key!r} is {value!r}, not a string, a finite number or a bool")


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


if __name__ == "__main__":
    try:
        _in_child(decode(Spec, loads(sys.argv[1], "spec"), "spec").build())
    except (AssertionError, HarnessError) as failure:
        sys.exit(str(failure))
