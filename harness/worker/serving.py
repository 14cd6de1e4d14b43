"""The loop of a child process: one request, one reply."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from harness.errors import HarnessError
from harness.specs import Spec

from .protocol import (
    OWN_FOLDERS,
    SUITE_FOLDERS,
    TIMED_TEST,
    Evaluate,
    Failure,
    Load,
    MeasureEnergy,
    MeasureMemory,
    Message,
    Prepare,
    Settle,
    Stop,
    Stopped,
    Turn,
    receive,
    send,
)


class Worker:
    """Answers one request after the other; only what a request needs is imported."""

    def __init__(self) -> None:
        self._arm: object = None
        self._turns = 0

    def answer(self, request: Message) -> Message:
        """The reply to a request."""
        if isinstance(request, (Turn, Settle)):
            from .serve import Arm

            if not isinstance(self._arm, Arm):
                return Failure("failed", "a turn was asked of a worker that has loaded nothing")
            if isinstance(request, Settle):
                return self._arm.settle()
            self._turns += 1
            return self._arm.turn(request)
        multiply_in_float32()
        if isinstance(request, Load):
            from .serve import Arm

            with without_full_collections(request.hardware):
                self._arm = arm = Arm(request)
            return arm.loaded()
        if isinstance(request, Prepare):
            from .prepare import prepare

            return prepare(request)
        if isinstance(request, Evaluate):
            from .evaluate import evaluate

            return evaluate(request)
        if isinstance(request, MeasureMemory):
            from .memory import measure_memory

            return measure_memory(request)
        if isinstance(request, MeasureEnergy):
            from .energy import measure_energy

            return measure_energy(request)
        if isinstance(request, Stop):
            from .serve import Arm

            state = self._arm.watched() if isinstance(self._arm, Arm) else {}
            # What it unpacked into a temporary folder is removed now: with the reply, the parent ends this process.
            self._arm = None
            return Stopped(self._turns, state)
        return Failure("failed", f"{type(request).__name__} is no request")


def untrace() -> None:
    """Stop coverage, which pytest-cov has every process start: what is timed would be timed under its tracer."""
    # By attributes, since a package of the project's may have that name.
    current = getattr(getattr(sys.modules.get("coverage"), "Coverage", None), "current", None)
    running = current() if current else None
    if running is not None:
        running.stop()


def multiply_in_float32() -> None:
    """Keep oneDNN, in torch and OpenVINO, from rounding products of float32 where the user's environment asks for it.

    Facts and promises say float32 of them. A test of pytest-benchmark's says nothing of the kind, and computes as its
    author's environment has it.
    """
    # Here, where no library has computed yet: not by the hardware's environment(), which is part of an artefact's key,
    # nor where a runtime is loaded, which may be the user's own process. DNNL_DEFAULT_FPMATH_MODE is asked after it.
    os.environ["ONEDNN_DEFAULT_FPMATH_MODE"] = "STRICT"


@contextlib.contextmanager
def without_full_collections(hardware: Spec) -> Iterator[None]:
    """Keep the interpreter from full collections while an arm is loaded, but on hardware that limits memory.

    What libraries and compilers make then lasts, and the interpreter would look at all of it whenever it has grown by a
    quarter: tenths of a second of each launch with torch. An arm that is loaded collects once by itself. Passes that
    measure memory do without this: garbage that lies about would be in their peaks.
    """
    before = gc.get_threshold()
    meanwhile = before if getattr(hardware.build(), "limits", None) else (*before[:2], 10**6)
    gc.set_threshold(*meanwhile)
    try:
        yield
    finally:
        if gc.get_threshold() == meanwhile:  # else what was loaded has set its own, and is served with it
            gc.set_threshold(*before)


def search(own: Sequence[str], suites: Sequence[str]) -> None:
    """Import from the folders of these suites, the first of them first, as pytest does; and from those of the child's
    `own` suite before what the project's own folder and `pythonpath` have.
    """
    # Not by PYTHONPATH, which comes before the standard library: a file beside a suite may be called random.py.
    installed = (at for at, path in enumerate(sys.path) if path.endswith(("site-packages", "dist-packages")))
    at = next(installed, len(sys.path))
    sys.path[at:at] = dict.fromkeys([*own, *suites])  # own ones as well: a package may have parts in several folders
    if own:
        sys.meta_path.insert(sys.meta_path.index(PathFinder), _Beside(own))


class _Beside:
    """Finds what lies beside a suite before what is elsewhere of that name; and never before the standard library."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = folders

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if path is not None or fullname in sys.stdlib_module_names or fullname == "harness":
            return None
        found = PathFinder.find_spec(fullname, self._folders)
        return found if found and found.loader else None  # a folder without __init__.py hides no package elsewhere


def serve(read_fd: int, write_fd: int) -> None:
    """Serve requests until `Stop`, or until the parent is gone."""
    untrace()
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)
    search(_folders(OWN_FOLDERS), _folders(SUITE_FOLDERS))
    worker = Worker()
    with os.fdopen(read_fd, "rb") as requests, os.fdopen(write_fd, "wb") as replies:
        for line in requests:
            request = receive(line)
            if isinstance(request, Load) and (Path(request.folder) / TIMED_TEST).exists():
                from .timed_test import host

                host(request, requests, replies)
                break
            try:
                # Nothing of a reply that can't be recorded is sent before that is noticed.
                send(replies, worker.answer(request))
            except Exception as error:  # every failure of a case becomes its typed result
                send(replies, failure_of(error))
            if isinstance(request, Stop):
                break


def _folders(variable: str) -> list[str]:
    return [folder for folder in os.environ.get(variable, "").split(os.pathsep) if folder]


def failure_of(error: Exception) -> Failure:
    """The reply for an exception: what the harness raised keeps its outcome, running out of memory is told apart."""
    text = "".join(traceback.format_exception(error))
    if isinstance(error, HarnessError):
        return Failure(error.outcome, str(error), text)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Failure("oom", f"{type(error).__name__}: {error}", text)
    return Failure("failed", f"{type(error).__name__}: {error}", text)
