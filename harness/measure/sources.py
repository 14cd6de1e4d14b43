"""What determines an artefact: every first-party source, the libraries, the machine, the flags."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from importlib.metadata import Distribution, distributions
from pathlib import Path

import harness
from harness.errors import SuiteError
from harness.names import is_ours
from harness.worker.imported import folder_of

__all__ = ["digest_of", "digest_sources", "last_edited", "relevant_environment", "sources"]

_SKIPPED = {"__pycache__", "node_modules", "site-packages"}
_SKIPPED_AT_THE_TOP = {"reports", "baselines"}
_PACKAGED = {"build": ("lib/", "lib.*/", "bdist.*/", "temp.*/"), "dist": ("*.whl", "*.tar.gz")}
"""What packaging makes in these folders at the top: copies of what counts. Models may be exported into them as well."""
_PROSE = {".md", ".rst", ".html", ".css", ".xml", ".log", ".out", ".pyc", ".pyo"}
"""What people read, and what tools write beside the sources while a run goes on. Pictures are data of some models."""
_LARGE = 64 * 2**20
_TICK = 2 * 10**9
"""Nanoseconds between two times of change that no file system takes for the same."""
_LIBRARIES = ("TORCH", "PYTORCH", "ATEN_", "ORT_", "ONNX", "CUDA", "TENSORRT")
_KERNELS = ("OMP_", "MKL_", "OPENBLAS", "KMP_", "ONEDNN_", "DNNL_")
_COMPILER = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS")


def _outputs() -> frozenset[tuple[int, int]]:
    """The files that this process's standard output and error go to, where they are files: device and inode of each."""
    found = set()
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # it is closed
            told = os.fstat(descriptor)
            if stat.S_ISREG(told.st_mode):
                found.add((told.st_dev, told.st_ino))
    return frozenset(found)


_OUTPUTS = _outputs()
"""Asked when this module is imported, as pytest's plugin is: while a test runs, pytest captures both elsewhere."""


def digest_sources(root: Path, paths: Iterable[Path] = ()) -> str:
    """SHA-256 over every first-party file: of the project, of the harness, and of packages installed from a folder; and
    over the Python files of `paths`, from which is imported as well.

    All sources count, not those that a case seems to import: an import that happens late, a data file beside the code
    or a helper two modules away changes what is built just as well. Hidden folders, virtual environments, and the
    project's own reports, baselines and packages are left out, and so is prose; so are runs and baselines in any
    other folder, and the file that this process prints into, which change while runs go on. Of files over 64 MiB, size
    and time of change stand for the content; of a link to a folder, where it leads; of a package that was copied from a
    folder, what its installer noted. Raises `SuiteError` for a file that can't be read.
    """
    digest = hashlib.sha256()
    local = dict(sorted(_local()))
    editable = {name: place for name, (place, copied) in local.items() if not copied and place.is_dir()}
    for label, folder in {"project": root, "harness": Path(harness.__file__).parent, **editable}.items():
        for path in sources(folder):
            digest.update(f"{label}/{path.relative_to(folder).as_posix()}|".encode())
            digest.update(_content(path))
    for number, folder in enumerate(paths):
        if folder.is_dir() and not folder.resolve().is_relative_to(root.resolve()):
            for path in sources(folder):
                if path.suffix == ".py":
                    digest.update(f"path {number}/{path.relative_to(folder).as_posix()}|".encode())
                    digest.update(_content(path))
    for name, (_, copied) in local.items():
        digest.update(f"{name}|{copied}".encode())
    return digest.hexdigest()


def last_edited(root: Path) -> Path | None:
    """The source of the project whose content changed last, below `root`; None where there is none."""
    last = max(sources(root), key=lambda path: path.lstat().st_mtime_ns, default=None)
    return last and last.relative_to(root)


def _content(path: Path) -> bytes:
    try:
        if path.is_dir():
            return os.fsencode(path.readlink())
        told = path.stat()
        if told.st_size > _LARGE:
            return f"{told.st_size}|{told.st_mtime_ns}".encode()
        # A file that changes twice between two ticks of the clock has one time for both contents.
        read = _read if time.time_ns() - told.st_mtime_ns < _TICK else _read_once
        return read(path, told.st_size, told.st_mtime_ns)
    except OSError as error:
        raise SuiteError(
            f"{path} can't be read: {error.strerror or error}. Every file of the project counts as a source: make it "
            "readable, or move it below reports, into a hidden folder or out of the project"
        ) from error


def _read(path: Path, size: int, changed: int) -> bytes:  # noqa: ARG001 (with another of them it is another file)
    return hashlib.sha256(path.read_bytes()).digest()


_read_once = functools.cache(_read)
"""Sources are looked at again after each artefact, and data beside them may be gigabytes."""


def _local() -> Iterator[tuple[str, tuple[Path, str]]]:
    """Distributions that were installed from a folder (PEP 610), by name: the folder, and where they were copied the
    digests of their files, else "". The harness is counted already.
    """
    for distribution in distributions():
        name, origin = distribution.metadata["Name"], folder_of(distribution)
        if origin and name != "inference-harness":
            folder, copied = origin
            yield f"local {name}", (Path(folder), _record(distribution) if copied else "")


def _record(distribution: Distribution) -> str:
    return distribution.read_text("RECORD") or "copied"


def digest_of(parts: Mapping[str, object]) -> str:
    """SHA-256 of named parts, as 32 hexadecimal characters."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def relevant_environment() -> dict[str, str]:
    """The environment variables that runtimes and compilers read, and the one that says where from is imported."""
    found = sorted(os.environ.items())
    wanted = (*_COMPILER, "PYTHONPATH")
    return {name: value for name, value in found if name in wanted or name.startswith(_LIBRARIES + _KERNELS)}


def sources(folder: Path) -> Iterator[Path]:
    """The files of a project that count as sources (see `digest_sources`), and links to folders in it."""
    for place, folders, files in os.walk(folder):
        here = Path(place)
        left_out = _SKIPPED | (_SKIPPED_AT_THE_TOP if here == folder else set())
        packaged = _PACKAGED.get(here.name, ()) if here.parent == folder else ()
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in left_out
            and not _fits(f"{name}/", packaged)
            and not (here / name / "pyvenv.cfg").exists()
            and not is_ours(here / name)
        )
        links = (here / name for name in folders if (here / name).is_symlink())
        yield from (link for link in links if not is_ours(link.resolve()))
        for name in sorted(files):
            path = here / name
            if path.suffix in _PROSE or name.startswith(".") or _fits(name, packaged):
                continue
            if path.is_file() and not is_ours(path) and not _is_output(path):
                yield path


def _is_output(path: Path) -> bool:
    if not _OUTPUTS:
        return False
    told = path.stat()
    return (told.st_dev, told.st_ino) in _OUTPUTS


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
