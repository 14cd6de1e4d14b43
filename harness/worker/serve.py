"""Serving an arm: load once, check, then take turns of timed calls."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import harness
from harness.hardware.base import Hardware
from harness.records import Scalar
from harness.runtimes.base import Session

from .anchor import AnchorSession
from .artefact import load_batches, read_manifest
from .outputs import check_outputs
from .protocol import Load, Loaded, Settled, Turn, TurnDone
from .steady import settle

__all__ = ["Arm", "Loading"]


class Loading:
    """An artefact loaded into its runtime, with its inputs staged and the outputs that they must give."""

    def __init__(self, folder: str, root: str, hardware: Hardware) -> None:
        import sys

        if root and root not in sys.path:
            sys.path.insert(0, root)
        hardware.enter()
        start = time.perf_counter()
        self.session: Session
        if folder:
            path = Path(folder)
            manifest = read_manifest(path)
            self.session = manifest.runtime.build().load(path / "model", hardware)
            self.seconds = time.perf_counter() - start
            inputs, self.expected = load_batches(path / "inputs.npz"), load_batches(path / "expected.npz")
            self.what = manifest.case_id
        else:
            self.session = AnchorSession()
            self.seconds = time.perf_counter() - start
            inputs = AnchorSession.batches()
            self.expected = []
            self.what = "anchor"
        self.staged = [self.session.stage(batch) for batch in inputs]
        if not folder:
            self.expected = [self.session.fetch(self.session(staged)) for staged in self.staged]

    def check(self, output: Any, number: int) -> None:
        """Raise `MeasurementError` unless `output` is what input `number` must give."""
        check_outputs(self.session.fetch(output), self.expected[number], self.what)


class Arm:
    """A loaded artefact that takes turns."""

    def __init__(self, request: Load) -> None:
        self._hardware: Hardware = request.hardware.build()
        self._loading = Loading(request.folder, request.root, self._hardware)
        self._next = 0
        for number, staged in enumerate(self._loading.staged):
            self._loading.check(self._loading.session(staged), number)
        self._hardware.settle()
        # What was loaded stays; without this the collector walks the imported libraries again and again.
        gc.collect()
        gc.freeze()

    def loaded(self) -> Loaded:
        """The reply to `Load`."""
        return Loaded(self._loading.seconds, str(Path(harness.__file__)))

    def settle(self) -> Settled:
        """Call until a call takes what it will take."""
        session, staged = self._loading.session, self._loading.staged
        found = settle(lambda number: self._hardware.time_calls(session, [staged[number % len(staged)]])[0][0] / 1e9)
        return Settled(found.call_seconds, found.calls, found.steady)

    def watched(self) -> Mapping[str, Scalar]:
        """What the hardware noticed while calls were timed, where it watches: clocks, calls that it timed again."""
        watched = getattr(self._hardware, "watched", None)
        return watched() if watched else {}

    def turn(self, request: Turn) -> TurnDone:
        """Discard some calls, time some, and check the last output."""
        staged = self._loading.staged
        numbers = [(self._next + i) % len(staged) for i in range(request.discard + request.calls)]
        self._next = (numbers[-1] + 1) % len(staged)
        inputs = [staged[number] for number in numbers]
        session, hardware = self._loading.session, self._hardware
        if request.discard:
            hardware.time_calls(session, inputs[: request.discard])
        cpu = time.process_time_ns()
        times, output = hardware.time_calls(session, inputs[request.discard :])
        cpu = time.process_time_ns() - cpu
        self._loading.check(output, numbers[-1])
        return TurnDone(tuple(times), cpu)
