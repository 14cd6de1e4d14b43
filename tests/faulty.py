"""A runtime that does what it is told, however bad: served by real worker processes in the tests of faults.

`Faulty(fault, after)` doubles its input; after `after` calls the fault happens.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Faulty:
    fault: str = ""
    after: int = 12

    name = "faulty"
    form = "torch"

    def unavailable(self, hardware: Any) -> str | None:
        return None

    def pack(self, network: Any, example: Any, folder: Path, hardware: Any) -> None:
        (folder / "network").write_bytes(b"x2")

    def load(self, folder: Path, hardware: Any) -> FaultySession:
        print("loading on standard output, as libraries do")
        print("oneDNN's products:", os.environ.get("ONEDNN_DEFAULT_FPMATH_MODE"))
        return FaultySession(self)


class FaultySession:
    def __init__(self, runtime: Faulty) -> None:
        self._runtime = runtime
        self._calls = 0
        self._first: Any = None
        self._kept: Any = None

    def stage(self, inputs: Mapping[str, Any]) -> Any:
        array = next(iter(inputs.values()))  # by position, as a torch network gets them
        return array.copy() if self._runtime.fault == "copied" else array

    def __call__(self, x: Any) -> Any:
        self._calls += 1
        output = np.float32(2) * x
        if self._first is None:
            self._first = output
        if self._calls > self._runtime.after and self._runtime.fault:
            return getattr(self, f"_{self._runtime.fault}")(output)
        return output

    def fetch(self, outputs: Any) -> dict[str, Any]:
        return {"output": outputs}

    def facts(self, example: Any) -> dict[str, Any]:
        return {"runtime": "faulty"}

    def _abort(self, output: Any) -> Any:
        os.abort()

    def _segfault(self, output: Any) -> Any:
        ctypes.string_at(0)

    def _exit(self, output: Any) -> Any:
        os._exit(0)

    def _system_exit(self, output: Any) -> Any:
        sys.exit(0)

    def _exit_code(self, output: Any) -> Any:
        os._exit(137)

    def _kill(self, output: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    def _hang(self, output: Any) -> Any:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("hanging", flush=True)
        ctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock: nothing in Python can interrupt it

    def _orphan(self, output: Any) -> Any:
        if os.fork() == 0:
            time.sleep(600)
        os.kill(os.getpid(), signal.SIGKILL)

    def _raise(self, output: Any) -> Any:
        raise RuntimeError("the network said no")

    def _memory(self, output: Any) -> Any:
        resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
        return np.zeros(2**33, dtype=np.uint8)

    def _copied(self, output: Any) -> Any:
        return output

    def _uneven(self, output: Any) -> Any:
        return output + 0 * np.ones(40_000_000, dtype=np.uint8).max() if output[0, 0] < 0 else output

    def _grow(self, output: Any) -> Any:
        if self._kept is None:
            self._kept = np.ones(400_000_000, dtype=np.uint8)
        return output

    def _grow_or_abort(self, output: Any) -> Any:
        try:
            return self._grow(output)
        except MemoryError:
            os.abort()

    def _grow_or_exit(self, output: Any) -> Any:
        try:
            return self._grow(output)
        except MemoryError:
            os._exit(1)

    def _nan(self, output: Any) -> Any:
        return output * np.float32("nan")

    def _shape(self, output: Any) -> Any:
        return output[:, :1]

    def _dtype(self, output: Any) -> Any:
        return output.astype(np.float64)

    def _cached(self, output: Any) -> Any:
        return self._first

    def _slow(self, output: Any) -> Any:
        time.sleep(0.002)
        return output
