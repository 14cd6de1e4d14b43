"""The engines that were built of one artefact's network, and what lies beside them. Imports no TensorRT."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.files import write_atomic
from harness.names import slug
from harness.runtimes.tensorrt_build import Shapes, build_engine

if TYPE_CHECKING:
    from harness.hardware.base import Hardware
    from harness.runtimes.base import Arrays

__all__ = ["Engines", "write_shapes"]

_SHAPES = "shapes.json"
_TIMINGS = "timings"
_KERNELS = "kernels"


def write_shapes(example: Arrays, max_batch: int, folder: Path) -> None:
    """Keep the shapes that engines must take: those of the example, with 1 to `max_batch` items where it is not 0."""
    shapes: dict[str, tuple[list[int], list[int], list[int]]] = {}
    for name, array in example.items():
        served = list(array.shape)
        least, most = ([1, *served[1:]], [max(max_batch, served[0]), *served[1:]]) if max_batch else (served, served)
        shapes[name] = (least, served, most)
    (folder / _SHAPES).write_text(json.dumps(shapes), encoding="utf-8")


@dataclass(frozen=True)
class Engines:
    """The engines of a network, each for a version of TensorRT and a GPU.

    trt       the package
    network   the .onnx file
    cache     the folder with the shapes, and a folder for each version and GPU
    hardware  whose engine is asked for
    """

    trt: Any
    network: Path
    cache: Path
    hardware: Hardware

    def engine(self) -> bytes:
        """The serialized engine of this network for these shapes, this version and this GPU; built where it is missing.

        Raises `PreparationError` where it can't be.
        """
        network = self.network.read_bytes()
        text = (self.cache / _SHAPES).read_text(encoding="utf-8")
        shapes: Shapes = json.loads(text)
        key = hashlib.sha256(network + text.encode()).hexdigest()[:16]
        kept = self._read(f"{key}.engine")
        if kept:
            return kept
        engine, learnt = build_engine(self.trt, network, shapes, self._read(_TIMINGS))
        self._write(_TIMINGS, learnt)
        self._write(f"{key}.engine", engine)
        return engine

    def kernels(self) -> bytes:
        """The kernels that loads of the engine compiled before; empty where there are none."""
        return self._read(_KERNELS)

    def keep_kernels(self, content: bytes) -> None:
        """Keep them for the loads to come."""
        self._write(_KERNELS, content)

    @property
    def _folder(self) -> Path:
        model = self.hardware.describe().get("model", "unknown")
        return self.cache / slug(f"{self.trt.__name__}-{self.trt.__version__}-{model}")

    def _read(self, name: str) -> bytes:
        path = self._folder / name
        return path.read_bytes() if path.is_file() else b""

    def _write(self, name: str, content: bytes) -> None:
        """Write a file as a whole, since several children may load the artefact at once."""
        if content:
            write_atomic(self._folder / name, content)
