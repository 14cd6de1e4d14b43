"""Frozen workloads that might be the anchor, each served by a child of its own as a case's artefact is.

A call of each takes about 0.3 ms on the machine for which its repetitions were chosen. A workload never changes under
one name: another amount of work is another workload, so that results of different hours belong together.
"""

from __future__ import annotations

import hashlib
import math
import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.records import Scalar
from harness.runtimes.base import Session
from harness.specs import spec_of
from harness.worker.artefact import ARTEFACT_SCHEMA, Manifest, digest_files, save_batches, write_manifest

__all__ = ["WORKLOADS", "Frozen", "make_artefact"]

Work = Callable[[], float]


def floats(count: int) -> Any:
    """Normal random numbers, float32, the same on every machine."""
    return np.random.default_rng(20240229).standard_normal(count, dtype=np.float32)


def together(*works: Work) -> Work:
    """All of them, one after the other."""

    def work() -> float:
        return math.fsum(part() for part in works)

    return work


def product(size: int, times: int) -> Work:
    """Float32 matrix products by numpy's BLAS."""
    left, right = floats(size * size).reshape(size, size), floats(size * size + 1)[1:].reshape(size, size)
    out = np.empty_like(left)

    def work() -> float:
        for _ in range(times):
            np.matmul(left, right, out=out)
        return float(out[0, 0])

    return work


def exponential(count: int, times: int) -> Work:
    """Elementwise arithmetic by numpy's vector instructions, without BLAS and without allocating."""
    angles = floats(count)
    out = np.empty_like(angles)

    def work() -> float:
        for _ in range(times):
            np.exp(angles, out=out)
        return float(out[0])

    return work


def copy(kib: int, times: int) -> Work:
    """Memory read and written: twice `kib` KiB are touched."""
    source = floats(kib * 256)
    target = np.empty_like(source)

    def work() -> float:
        for _ in range(times):
            np.copyto(target, source)
        return float(target[0])

    return work


def read(kib: int, times: int) -> Work:
    """Memory read in order, as the weights of a layer are."""
    source = floats(kib * 256)

    def work() -> float:
        found = 0.0
        for _ in range(times):
            found = float(np.maximum.reduce(source))
        return found

    return work


def loop(count: int) -> Work:
    """Interpreted Python."""

    def work() -> float:
        total = 0
        for number in range(count):
            total += number & 7
        return float(total)

    return work


def standard_library(times: int) -> Work:
    """Digests, checksums, a sort and a dictionary: nothing but Python and what it is linked with."""
    chance = random.Random(20240229)
    data = chance.randbytes(65536)
    numbers = [chance.random() for _ in range(1000)]
    words = [f"word{number}" for number in range(1000)]

    def work() -> float:
        found = 0.0
        for _ in range(times):
            digest = hashlib.sha256(data).digest()
            checksum = zlib.crc32(data)
            ordered = sorted(numbers)
            counts: dict[str, int] = {}
            for word in words:
                counts[word] = counts.get(word, 0) + 1
            found = digest[0] + (checksum & 255) + ordered[0] + len(counts)
        return found

    return work


WORKLOADS: Mapping[str, Callable[[], Work]] = {
    "product64": lambda: product(64, 54),
    "product256": lambda: product(256, 1),
    "exp4k": lambda: exponential(4096, 160),
    "loop": lambda: loop(13_000),
    "copy256k": lambda: copy(256, 120),
    "copy4m": lambda: copy(4096, 4),
    "copy16m": lambda: copy(16384, 1),
    "read4m": lambda: read(4096, 8),
    "read32m": lambda: read(32768, 1),
    "stdlib": lambda: standard_library(3),
    "inner": lambda: together(product(64, 18), exponential(4096, 55), loop(4300)),
    "still": lambda: together(product(256, 1), copy(4096, 1), exponential(2**18, 1), loop(8000)),
}
"""`inner` never leaves the inner caches; `still` is the work of the first anchor without its allocation."""


@dataclass(frozen=True)
class Frozen:
    """The runtime of a frozen workload; `workload` is its name in `WORKLOADS`."""

    workload: str

    name = "frozen"
    form = "torch"

    def unavailable(self, hardware: Any) -> str | None:  # noqa: ARG002
        return None

    def pack(self, network: Any, example: Any, folder: Path, hardware: Any) -> None:  # noqa: ARG002
        (folder / "workload").write_text(self.workload, encoding="utf-8")

    def load(self, folder: Path, hardware: Any) -> FrozenSession:  # noqa: ARG002
        return FrozenSession(WORKLOADS[self.workload]())


class FrozenSession(Session):
    """The workload as a session: each call does the same work and adds its input to the result."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def stage(self, inputs: Mapping[str, Any]) -> Any:
        return inputs["x"]

    def __call__(self, staged: Any) -> Any:
        return staged + self._work()

    def fetch(self, outputs: Any) -> dict[str, Any]:
        return {"output": np.asarray(outputs, dtype=np.float32)}

    def facts(self, example: Mapping[str, Any]) -> dict[str, Scalar]:
        return {"runtime": "frozen", "batch": len(example)}


def make_artefact(workload: str, folder: Path) -> Path:
    """Write the artefact of a workload into `folder`, which is made, and give the folder."""
    runtime = Frozen(workload)
    (folder / "model").mkdir(parents=True)
    runtime.pack(None, None, folder / "model", None)
    session = runtime.load(folder / "model", None)
    inputs = [{"x": np.arange(4, dtype=np.float32) + number} for number in range(2)]
    save_batches(folder / "inputs.npz", inputs)
    save_batches(folder / "expected.npz", [session.fetch(session(session.stage(batch))) for batch in inputs])
    manifest = Manifest(
        schema=ARTEFACT_SCHEMA,
        case_id=f"frozen/{workload}/cpu",
        batch_size=1,
        batchable=False,
        runtime=spec_of(runtime),
        facts={"runtime": "frozen"},
        evidence=(),
        workload={},
        size=0,
        weights="",
        files=digest_files(folder),
        seconds=0.0,
        harness_file="",
    )
    write_manifest(folder, manifest)
    return folder
