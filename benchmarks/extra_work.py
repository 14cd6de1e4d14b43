"""Real extra work in an artefact: products with matrices that give back what they were given.

A planted artefact computes what the clean one does, bit for bit, so that nothing but its time differs: one of its
outputs goes through pairs of matrix products, by a (C, D) identity that is padded with zeros and by its transpose.
Runtimes do not look into weights, so they have to multiply. `pairs` and `width` (D) set how much work it is.
"""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.worker.artefact import digest_files, load_batches, read_manifest, write_manifest

__all__ = ["Work", "least_width", "plant"]


@dataclass(frozen=True)
class Work:
    """`pairs` pairs of products through `width` columns."""

    pairs: int
    width: int


def plant(clean: Path, folder: Path, work: Work) -> None:
    """Copy an artefact into `folder`, which must not exist, with extra work in its network."""
    building = folder.with_name(f".{folder.name}")
    shutil.rmtree(building, ignore_errors=True)
    shutil.copytree(clean, building, ignore=shutil.ignore_patterns("manifest.json"))
    output, channels = _widest(clean)
    if (building / "model" / "model.onnx").exists():
        _plant_onnx(building / "model" / "model.onnx", output, channels, work)
    else:
        _plant_torch(building / "model" / "model.pt", channels, work)
    manifest = read_manifest(clean)
    write_manifest(building, dataclasses.replace(manifest, files=digest_files(building)))
    building.rename(folder)


def least_width(clean: Path) -> int:
    """The width below which the products would lose something: the last axis of the output that they go through."""
    return _widest(clean)[1]


def _widest(folder: Path) -> tuple[str, int]:
    outputs = load_batches(folder / "expected.npz")[0]
    name = max(outputs, key=lambda name: outputs[name].shape[-1])
    return name, int(outputs[name].shape[-1])


def _plant_onnx(path: Path, output: str, channels: int, work: Work) -> None:
    import onnx

    network = onnx.load(str(path))
    graph = network.graph
    there = np.eye(channels, work.width, dtype=np.float32)
    for name, matrix in (("extra_there", there), ("extra_back", np.ascontiguousarray(there.T))):
        graph.initializer.append(onnx.numpy_helper.from_array(matrix, name))
    flow = f"{output}_before_extra"
    for node in graph.node:
        for i, name in enumerate(node.output):
            if name == output:
                node.output[i] = flow
        for i, name in enumerate(node.input):
            if name == output:
                node.input[i] = flow
    for number in range(work.pairs):
        wide, narrow = f"extra_wide_{number}", output if number == work.pairs - 1 else f"extra_narrow_{number}"
        for source, weights, target in ((flow, "extra_there", wide), (wide, "extra_back", narrow)):
            graph.node.append(onnx.helper.make_node("MatMul", [source, weights], [target], name=f"make_{target}"))
        flow = narrow
    onnx.save(network, str(path))


def _plant_torch(path: Path, channels: int, work: Work) -> None:
    import torch

    from benchmarks.extra_module import Extra

    network: Any = torch.load(path, weights_only=False)
    torch.save(Extra(network, channels, work.pairs, work.width).eval(), path)
