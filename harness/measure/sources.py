"""What determines an artefact: every first-party source, the libraries, the machine, the flags."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import unquote, urlsplit

import harness
from harness.names import is_ours

__all__ = ["digest_of", "digest_sources", "relevant_environment"]

_SKIPPED = {"__pycache__", "node_modules", "site-packages"}
_SKIPPED_AT_THE_TOP = {"reports", "baselines", "build", "dist"}
_PROSE = {".md", ".rst", ".html", ".css", ".xml", ".log", ".png", ".jpg", ".svg", ".pdf", ".pyc", ".pyo"}
_LARGE = 64 * 2**20
_LIBRARIES = ("TORCH", "PYTORCH", "ATEN_", "ORT_", "ONNX", "CUDA", "TENSORRT")
_KERNELS = ("OMP_", "MKL_", "OPENBLAS", "KMP_", "ONEDNN_", "DNNL_")
_COMPILER = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS")


def digest_sources(root: Path) -> str:
    """SHA-256 over every first-party file: of the project, of the harness, and of packages installed from a folder.

    All sources count, not those that a case seems to import: an import that happens late, a data file beside the code
    or a helper two modules away changes what is built just as well. Hidden folders, virtual environments, and the
    project's own reports, baselines and build folders are left out, and so is prose; so are runs and baselines in any
    other folder, which change while runs go on. Of files over 64 MiB, size and time of change stand for the content.
    """
    digest = hashlib.sha256()
    folders = {"project": root, "harness": Path(harness.__file__).parent, **_editable()}
    for label, folder in folders.items():
        for path in _sources(folder):
            stat = path.stat()
            digest.update(f"{label}/{path.relative_to(folder).as_posix()}|".encode())
            if stat.st_size > _LARGE:
                digest.update(f"{stat.st_size}|{stat.st_mtime_ns}".encode())
            else:
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _editable() -> dict[str, Path]:
    """Folders of distributions that are installed in place (PEP 610), by name; the harness is counted already."""
    found: dict[str, Path] = {}
    for distribution in distributions():
        name, origin = distribution.metadata["Name"], distribution.read_text("direct_url.json")
        if not origin or name == "inference-harness":
            continue
        data = json.loads(origin)
        if data.get("dir_info", {}).get("editable") and str(data.get("url", "")).startswith("file://"):
            folder = Path(unquote(urlsplit(data["url"]).path))
            if folder.is_dir():
                found[f"editable {name}"] = folder
    return dict(sorted(found.items()))


def digest_of(parts: Mapping[str, object]) -> str:
    """SHA-256 of named parts, as 32 hexadecimal characters."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def relevant_environment() -> dict[str, str]:
    """The environment variables that runtimes and compilers read."""
    found = sorted(os.environ.items())
    return {name: value for name, value in found if name in _COMPILER or name.startswith(_LIBRARIES + _KERNELS)}


def _sources(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        here = Path(place)
        left_out = _SKIPPED | (_SKIPPED_AT_THE_TOP if here == folder else set())
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in left_out
            and not (here / name / "pyvenv.cfg").exists()
            and not is_ours(here / name)
        )
        for name in sorted(files):
            path = here / name
            if path.suffix not in _PROSE and not name.startswith(".") and path.is_file() and not is_ours(path):
                yield path
