"""Calls of an artefact for other tools: the same session, inputs, threads and cores as the harness's own arms have.

    python benchmarks/rival_calls.py FOLDER SECONDS TARGET

times calls for so many seconds, one by one, and writes their nanoseconds to TARGET, an .npy file.
"""

from __future__ import annotations

import gc
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The sources beside this file are measured, and not an installed copy's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.hardware import cpu
from harness.worker.artefact import load_batches, read_manifest

__all__ = ["caller"]

WARM_SECONDS = 0.1


def caller(folder: Path) -> Callable[[], Any]:
    """A function that makes one call, with the artefact's inputs in turn. Pins this process, and warms the calls."""
    cpu.enter()
    session = read_manifest(folder).runtime.build().load(folder / "model", cpu)
    inputs = itertools.cycle([session.stage(batch) for batch in load_batches(folder / "inputs.npz")])
    cpu.settle()

    def call() -> Any:
        return session(next(inputs))

    end = time.perf_counter() + WARM_SECONDS
    while time.perf_counter() < end:
        call()
    gc.collect()
    gc.freeze()
    return call


def main(folder: str, seconds: str, target: str) -> None:
    """Time calls and write them."""
    import numpy as np

    call = caller(Path(folder))
    clock = time.perf_counter_ns
    times = []
    end = clock() + int(float(seconds) * 1e9)
    before = clock()
    while before < end:
        call()
        after = clock()
        times.append(after - before)
        before = after
    np.save(target, np.array(times, dtype=np.int64))


if __name__ == "__main__":
    main(*sys.argv[1:])
