"""A busy neighbour: bursts of matrix products and of copies on one core, until it is ended.

    python benchmarks/neighbour.py CORE SEED

Bursts and the pauses between them last up to 0.2 s each, so that a launch meets many of both.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

LONGEST = 0.2
SINGLE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@contextlib.contextmanager
def neighbours(cores: Sequence[int], seed: int) -> Iterator[None]:
    """A neighbour on each of these cores for as long as the block lasts."""
    with contextlib.ExitStack() as stack:
        for core in cores:
            command = [sys.executable, str(Path(__file__)), str(core), str(seed + core)]
            process = stack.enter_context(subprocess.Popen(command, env={**os.environ, **SINGLE}))
            stack.callback(process.kill)
        yield


def main(core: int, seed: int) -> None:
    """Work in bursts, for ever."""
    import numpy as np

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    matrix = np.random.default_rng(0).standard_normal((512, 512), dtype=np.float32)
    source = np.zeros(2**23, dtype=np.float32)
    target, out = np.empty_like(source), np.empty_like(matrix)
    chance = random.Random(seed)
    parent = os.getppid()
    while os.getppid() == parent:  # it ends with the benchmark, however that ended
        end = time.perf_counter() + chance.uniform(0, LONGEST)
        copies = chance.random() < 0.5
        while time.perf_counter() < end:
            if copies:
                np.copyto(target, source)
            else:
                np.matmul(matrix, matrix, out=out)
        time.sleep(chance.uniform(0, LONGEST))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
