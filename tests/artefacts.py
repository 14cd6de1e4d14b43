"""Artefacts made by hand, to serve what no technique would make."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.specs import spec_of
from harness.worker.artefact import ARTEFACT_SCHEMA, Manifest, digest_files, save_batches, write_manifest
from tests.faulty import Faulty


def make_artefact(folder: Path, fault: str = "", after: int = 12, rows: int = 4, batches: int = 3) -> Path:
    """An artefact served by `Faulty`, whose `batches` inputs are (rows, 3) and whose outputs are twice the inputs."""
    random = np.random.default_rng(7)
    inputs = [{"x": random.standard_normal((rows, 3), dtype=np.float32)} for _ in range(batches)]
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "network").write_bytes(b"x2")
    save_batches(folder / "inputs.npz", inputs)
    save_batches(folder / "expected.npz", [{"output": np.float32(2) * batch["x"]} for batch in inputs])
    manifest = Manifest(
        schema=ARTEFACT_SCHEMA,
        case_id="double/faulty/cpu",
        batch_size=rows,
        batchable=True,
        runtime=spec_of(Faulty(fault, after)),
        facts={"runtime": "faulty"},
        evidence=(),
        workload={},
        size=2,
        weights="",
        files=digest_files(folder),
        seconds=0.0,
        harness_file="",
    )
    write_manifest(folder, manifest)
    return folder
