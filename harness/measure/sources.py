"""What determines an artefact: every first-party source, the libraries, the machine, the flags."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import harness

__all__ = ["digest_of", "digest_sources", "relevant_environment"]

_SKIPPED = {"__pycache__", "node_modules", "site-packages", "reports", "baselines", "build", "dist"}
_CODE = {".py", ".pyx", ".c", ".cc", ".cpp", ".cu", ".h", ".hpp", ".toml"}
_DATA = {".safetensors", ".onnx", ".npz", ".json", ".txt"}
_LARGE = 64 * 2**20
_LIBRARIES = ("TORCH", "PYTORCH", "ORT_", "ONNX", "CUDA", "TENSORRT")
_KERNELS = ("OMP_", "MKL_", "OPENBLAS", "KMP_")


def digest_sources(root: Path) -> str:
    """SHA-256 over every first-party file of a project and of the harness itself.

    All sources count, not those that a case seems to import: an import that happens late, a data file beside the code
    or a helper two modules away changes what is built just as well. Hidden folders, virtual environments, reports and
    baselines are left out; of files over 64 MiB, size and time of change stand for the content.
    """
    digest = hashlib.sha256()
    for label, folder in (("project", root), ("harness", Path(harness.__file__).parent)):
        for path in _sources(folder):
            stat = path.stat()
            digest.update(f"{label}/{path.relative_to(folder).as_posix()}|".encode())
            if stat.st_size > _LARGE:
                digest.update(f"{stat.st_size}|{stat.st_mtime_ns}".encode())
            else:
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def digest_of(parts: Mapping[str, object]) -> str:
    """SHA-256 of named parts, as 32 hexadecimal characters."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def relevant_environment() -> dict[str, str]:
    """The environment variables that runtimes and compilers read."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(_LIBRARIES + _KERNELS)}


def _sources(folder: Path) -> Iterator[Path]:
    for path, folders, files in os.walk(folder):
        here = Path(path)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in _SKIPPED and not (here / name / "pyvenv.cfg").exists()
        )
        for name in sorted(files):
            if Path(name).suffix in _CODE | _DATA and not (here / name).is_symlink():
                yield here / name
