"""The engines that were built of one artefact's network, and what lies beside them. Imports no TensorRT."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.files import write_atomic
from harness.names import slug
from harness.runtimes.base import TIMINGS
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

    A build times kernels and takes the fastest, and another one would time others as the fastest. So builds take over
    what earlier ones timed; those of other artefacts as well, where a folder is named for that (`TIMINGS`).

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
        kept = _content(self._folder / f"{key}.engine")
        if kept:
            return kept
        engine, learnt = build_engine(self.trt, network, shapes, _content(self._timings))
        with contextlib.suppress(OSError):  # another user's, who shares the artefacts
            _write(self._timings, learnt)
        _write(self._folder / f"{key}.engine", engine)
        return engine

    def kernels(self) -> bytes:
        """The kernels that loads of the engine compiled before; empty where there are none."""
        return _content(self._folder / _KERNELS)

    def keep_kernels(self, content: bytes) -> None:
        """Keep them for the loads to come."""
        _write(self._folder / _KERNELS, content)

    @property
    def _folder(self) -> Path:
        model = self.hardware.describe().get("model", "unknown")
        return self.cache / slug(f"{self.trt.__name__}-{self.trt.__version__}-{model}")

    @property
    def _timings(self) -> Path:
        named = os.environ.get(TIMINGS)
        return (Path(named) / self._folder.name if named else self._folder) / _TIMINGS


def _content(path: Path) -> bytes:
    """What a file holds; empty where there is none that can be read."""
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def _write(path: Path, content: bytes) -> None:
    """Write a file as a whole, since several children may load the artefact at once."""
    if content:
        write_atomic(path, content)
