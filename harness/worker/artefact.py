"""An artefact on disk: the served model, the inputs it is called with, and the outputs it must give.

::

    <folder>/manifest.json   what it is, read without any runtime
    <folder>/model/          what `Runtime.pack` wrote
    <folder>/inputs.npz      input batches, all of one shape, with different values
    <folder>/expected.npz    the outputs to each of them
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.codec import decode, dumps, loads
from harness.errors import RecordError
from harness.records import Evidence, Scalar
from harness.specs import Spec

if TYPE_CHECKING:
    import numpy as np

    Batch = dict[str, "np.ndarray[Any, Any]"]

__all__ = [
    "Manifest",
    "batch_count",
    "digest_file",
    "digest_files",
    "input_names",
    "load_batch",
    "load_batches",
    "read_manifest",
    "save_batches",
    "write_manifest",
]

ARTEFACT_SCHEMA = 1


@dataclass(frozen=True)
class Manifest:
    """What an artefact is.

    size     bytes of the served model
    weights  digest of the served model's files
    files    path in the folder -> SHA-256 of every other file, checked before the artefact is used
    seconds  what techniques and packing took when it was made
    """

    schema: int
    case_id: str
    batch_size: int
    batchable: bool
    runtime: Spec
    facts: Mapping[str, Scalar]
    evidence: tuple[Evidence, ...]
    workload: Mapping[str, str]
    size: int
    weights: str
    files: Mapping[str, str]
    seconds: float
    harness_file: str


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest; an artefact without one is incomplete."""
    (folder / "manifest.json").write_text(dumps(manifest, indent=1), encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest. Raises `RecordError` where it is missing, damaged or of another schema."""
    path = folder / "manifest.json"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(f"{path}: no artefact here: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: not valid UTF-8: {error}") from None
    manifest: Manifest = decode(Manifest, loads(text, str(path)), str(path))
    if manifest.schema != ARTEFACT_SCHEMA:
        raise RecordError(f"{path}: artefact schema {manifest.schema}, this harness writes {ARTEFACT_SCHEMA}")
    return manifest


def digest_files(folder: Path) -> dict[str, str]:
    """SHA-256 of an artefact's files by their path in its folder. Symbolic links are refused.

    The manifest is left out, which holds these digests, and so are folders inside `model/`: compilers keep caches
    there, which they write again when they load.
    """
    digests = {}
    for path in sorted([*folder.iterdir(), *(folder / "model").iterdir()]):
        if path.is_symlink():
            raise RecordError(f"{path}: an artefact holds no symbolic links")
        if path.is_file() and path.name != "manifest.json":
            digests[path.relative_to(folder).as_posix()] = digest_file(path).hex()
    return digests


def digest_file(path: Path) -> bytes:
    """SHA-256 of a file, read in parts: one may be larger than the memory that is left."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def save_batches(path: Path, batches: list[Batch]) -> None:
    """Write named arrays of several batches into one .npz file."""
    import numpy as np

    arrays: dict[str, Any] = {f"{i}/{name}": array for i, batch in enumerate(batches) for name, array in batch.items()}
    with path.open("wb") as file:
        np.savez(file, **arrays)


def input_names(folder: Path) -> list[str]:
    """The names of an artefact's inputs, in their order; their values are not read."""
    import numpy as np

    with np.load(folder / "inputs.npz", allow_pickle=False) as arrays:
        return [key.removeprefix("0/") for key in arrays.files if key.startswith("0/")]


def batch_count(path: Path) -> int:
    """How many batches `save_batches` wrote; none is read."""
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        return len({key.partition("/")[0] for key in arrays.files})


def load_batch(path: Path, number: int) -> Batch:
    """One of the batches that `save_batches` wrote; the others are not read."""
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[key] for key in arrays.files for of, _, name in [key.partition("/")] if of == str(number)}


def load_batches(path: Path) -> list[Batch]:
    """Read what `save_batches` wrote; names keep their order."""
    import numpy as np

    batches: list[Batch] = []
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays.files:
            number, _, name = key.partition("/")
            while len(batches) <= int(number):
                batches.append({})
            batches[int(number)][name] = arrays[key]
    return batches
