"""The words that parent and child exchange: one JSON object a line, on a pipe of their own.

Libraries print to standard output; that goes to the child's log. The parent asks, the child answers each request with
exactly one reply, and a result is valid only if its reply arrived: `exit(0)` in the middle says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from harness.codec import decode, dumps, loads
from harness.errors import RecordError
from harness.records import Scalar
from harness.specs import Spec

__all__ = [
    "EXPECTED",
    "OWN_FOLDERS",
    "PROTOCOL",
    "SUITE_FOLDERS",
    "TIMED_TEST",
    "UNREACHED",
    "EnergyMeasured",
    "Evaluate",
    "Evaluated",
    "Failure",
    "Load",
    "Loaded",
    "MeasureEnergy",
    "MeasureMemory",
    "MemoryMeasured",
    "Prepare",
    "Prepared",
    "Settle",
    "Settled",
    "Stop",
    "Stopped",
    "Turn",
    "TurnDone",
    "receive",
    "send",
]

PROTOCOL = 2
"""Version of these messages and of the way a turn is timed; part of the identity of a machine class."""

TIMED_TEST = "timed_test.json"
"""The file by which a folder that is to be loaded names a test of pytest-benchmark's, in place of an artefact."""

EXPECTED = "the test failed, as its xfail expects: "
"""What a launch of one says first where it failed as its mark expects; the reason of the mark follows."""

UNREACHED = (
    "if an option of the command line decides that: none reaches a launch, put it into addopts or PYTEST_ADDOPTS"
)
"""What is said of one that a launch skips before its call or does not find, while the pytest outside came to run it. A
fixture may skip it for any reason, since the pytest outside sets none up.
"""

SUITE_FOLDERS = "HARNESS_SUITE_FOLDERS"
"""The environment variable that names the folders which pytest imports the suites from by itself."""

OWN_FOLDERS = "HARNESS_OWN_FOLDERS"
"""The one that names those of them which come before the project's own folder in the children of a suite. A launch of a
test of pytest-benchmark's has none: it runs pytest, which sees to that.
"""


@dataclass(frozen=True)
class Prepare:
    """Apply the techniques of a case and write its artefact into `folder`, an empty folder."""

    root: str
    file: str
    function: str
    case_id: str
    folder: str


@dataclass(frozen=True)
class Prepared:
    """The artefact is complete. `seconds` is what the techniques and packing took, with the libraries that they import.

    `harness_file`, `suite_file` and `modules` are what was imported (`imported`), so that the parent can tell a wrong
    tree.
    """

    seconds: float
    harness_file: str
    suite_file: str
    modules: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Load:
    """Load an artefact, or the anchor workload where `folder` is empty, and answer turns from then on."""

    folder: str
    root: str
    hardware: Spec


@dataclass(frozen=True)
class Loaded:
    """Loaded, and the outputs were checked against the expected ones.

    `harness_file` is what was imported; of a test of pytest-benchmark's, `modules` are (`imported`).
    """

    seconds: float
    harness_file: str
    modules: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Settle:
    """Call until calls take a steady time. Asked of one arm after the other: together they would time each other."""


@dataclass(frozen=True)
class Settled:
    """Ready for turns. `steady` says whether the calls' time stopped changing; `call_seconds` is what one takes now.

    What a test of pytest-benchmark's sets up and tears down for a call is part of it here.
    """

    call_seconds: float
    calls: int
    steady: bool


@dataclass(frozen=True)
class Turn:
    """Make `discard` calls that warm the caches again, then `calls` timed ones."""

    discard: int
    calls: int


@dataclass(frozen=True)
class TurnDone:
    """Nanoseconds of each timed call, and CPU nanoseconds of them all."""

    nanoseconds: tuple[int, ...]
    cpu_nanoseconds: int


@dataclass(frozen=True)
class MeasureMemory:
    """Load an artefact, call it until it is warm, and measure peaks."""

    folder: str
    root: str
    hardware: Spec
    calls: int


@dataclass(frozen=True)
class MemoryMeasured:
    """Bytes by metric name. `method` says how the process's peak was read.

    `asked` is the private writable memory in bytes that the process had asked for at the end, touched or not. `limits`
    is what the process was limited to (`limits()` of a hardware that has that), with what the system answered.
    """

    values: Mapping[str, float]
    method: str
    asked: float = 0.0
    limits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MeasureEnergy:
    """Load an artefact, wait `idle_seconds`, call it for `seconds`, and measure the energy of both."""

    folder: str
    root: str
    hardware: Spec
    idle_seconds: float
    seconds: float


@dataclass(frozen=True)
class EnergyMeasured:
    """Joules of one call, how many were made and in which time; watts meanwhile and before, and what was counted."""

    joules: float
    calls: int
    seconds: float
    watts: float
    idle_watts: float
    source: str


@dataclass(frozen=True)
class Evaluate:
    """Run the model's evaluation on an artefact and write what it gave into `output`, an .npz file."""

    root: str
    file: str
    function: str
    case_id: str
    folder: str
    hardware: Spec
    output: str


@dataclass(frozen=True)
class Evaluated:
    """`metrics` are values of the suite's own metrics by name; scores and answers lie in the file.

    `harness_file` and `modules` are what was imported (`imported`), with what the evaluation alone imports. `units` are
    those of the metrics that the grids of the case's file change or add, by name.
    """

    value: float
    label: str
    workload: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    harness_file: str = ""
    modules: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stop:
    """End. The child answers `Stopped` and exits with 0."""


@dataclass(frozen=True)
class Stopped:
    """The completion record: without it, whatever came before does not count.

    `state` is what the hardware noticed in this process while it was timed (`Hardware.watched`, where it has that).
    Of a test of pytest-benchmark's, `modules` are what was imported until it ended (`imported`), also by its calls.
    """

    turns: int
    state: Mapping[str, Scalar] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """The request could not be carried out. `outcome` is a word of `harness.records.Outcome`."""

    outcome: str
    message: str
    traceback: str = ""


Message = (
    Prepare | Prepared | Load | Loaded | Settle | Settled | Turn | TurnDone | MeasureMemory | MemoryMeasured
    | MeasureEnergy | EnergyMeasured | Evaluate | Evaluated | Stop | Stopped | Failure
)  # fmt: skip
_TYPES = {cls.__name__: cls for cls in Message.__args__}


def send(stream: BinaryIO, message: Message) -> None:
    """Write one message and flush it."""
    head = json.dumps({"v": PROTOCOL, "type": type(message).__name__})
    stream.write(f'{head[:-1]}, "body": {dumps(message)}}}\n'.encode())
    stream.flush()


def receive(line: bytes) -> Message:
    """Parse one line. Raises `RecordError` for anything that is no message of this protocol."""
    data = loads(line.decode("utf-8", errors="replace"), "message")
    if not isinstance(data, dict) or data.get("v") != PROTOCOL:
        raise RecordError(f"message: not of protocol {PROTOCOL}")
    cls = _TYPES.get(str(data.get("type")))
    if cls is None:
        raise RecordError(f"message: unknown type {data.get('type')!r}")
    message: Message = decode(cls, data.get("body"), "message")
    return message
