"""What determines an artefact: every first-party source, the libraries, the machine, the flags."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import harness
from harness.errors import SuiteError
from harness.files import owned, sweep
from harness.git import is_own
from harness.hardware.base import Hardware
from harness.measure.distributions import from_elsewhere
from harness.names import is_ours
from harness.runtimes.base import TIMINGS
from harness.worker.imported import INSTALLED

__all__ = [
    "changed",
    "check_temporary",
    "code_of",
    "contents",
    "digest_in",
    "digest_of",
    "inherited",
    "relevant_environment",
    "sources",
    "timings",
]

_SKIPPED = {"__pycache__", "node_modules", "site-packages"}
_SKIPPED_AT_THE_TOP = {"reports", "baselines", "allure-results", "htmlcov", "lightning_logs", "mlruns", "wandb"}
_ENVIRONMENTS = ("pyvenv.cfg", "conda-meta/history")
"""By which an environment of Python's own and one of conda's are known, whatever they are called."""
_PACKAGED = {"build": ("lib/", "lib.*/", "bdist.*/", "temp.*/"), "dist": ("*.whl", "*.tar.gz")}
"""What packaging makes in these folders at the top: copies of what counts. Models may be exported into them as well."""
_PROSE = {".md", ".rst", ".html", ".css", ".xml", ".log", ".out", ".ipynb", ".lcov", ".pyc", ".pyo"}
"""What people read, and what tools write beside the sources while a run goes on. Pictures are data of some models."""
_PASSING = (
    *("core", "core.[0-9]*", "*~", "#*#", "4913", "*.log.[0-9]*"),
    *("coverage.json", "lock.mdb", "events.out.tfevents.*"),
)
"""Files that come while a run goes on, and are nobody's source: of crashes, editors, and tools that keep a record."""
_CODE = {".py", ".pyi", ".pyx", ".so", ".pyd"}
"""What is imported."""
_LARGE = 64 * 2**20
_TICK = 2 * 10**9
"""Nanoseconds between two times of change that no file system takes for the same."""
_LIBRARIES = ("TORCH", "PYTORCH", "ATEN_", "ORT_", "ONNX", "CUDA", "TENSORRT")
_KERNELS = ("OMP_", "MKL_", "OPENBLAS", "KMP_", "ONEDNN_", "DNNL_")
_TIMINGS = ".timings"
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


def contents(
    root: Path, paths: Iterable[Path] = (), *, without: Path | None = None, code: bool = False
) -> dict[str, bytes]:
    """A digest of every first-party file by its name: of the project, of the harness, and of packages installed from
    elsewhere than an index; and of the Python files of `paths`, from which is imported as well. Where one of these
    holds the project, that counts by its own rules alone; and what can't be read there, no child can import.

    without  packages that were installed from below this folder are left out, and what `paths` above it have there:
             nothing is imported from it but what is of no commit (`harness.git.is_own`)
    code     only of what is imported, and not of data beside it

    All sources count, not those that a case seems to import: an import that happens late, a data file beside the code
    or a helper two modules away changes what is built just as well. Hidden folders, virtual environments, and the
    project's own reports, baselines and packages are left out, and so is prose; so are runs and baselines in any
    other folder, and the file that this process prints into, which change while runs go on. Of files over 64 MiB, size
    and time of change stand for the content; of a link to a folder, where it leads; of a package that was copied from a
    folder, a repository or an archive, what its installer noted. Raises `SuiteError` for a file of the project that
    can't be read.
    """
    top = root.resolve()
    local = {
        name: (place, copied) for name, (place, copied) in sorted(from_elsewhere()) if copied or place.resolve() != top
    }
    editable = {name: place for name, (place, copied) in local.items() if not copied}
    if without:
        editable = {name: place for name, place in editable.items() if not is_own(without, place.resolve())}
    further = {
        f"import path {number}: {os.path.relpath(folder, top)}": folder
        for number, folder in enumerate(path.resolve() for path in paths)
        if not folder.is_relative_to(top)
    }
    apart = (top, without) if without else (top,)
    found: dict[str, bytes] = {}
    for label, folder in {"project": root, "harness": Path(harness.__file__).parent, **editable, **further}.items():
        beside = label in further
        passed = (FileNotFoundError, SuiteError) if beside else (FileNotFoundError,)  # it was there a moment ago
        for path in sources(folder):
            wanted = {".py"} if beside else _CODE
            if path.suffix not in wanted and (code or beside):
                continue
            if any(path.is_relative_to(one) for one in apart if not folder.is_relative_to(one)):
                continue
            with contextlib.suppress(*passed):
                found[f"{label}/{path.relative_to(folder).as_posix()}"] = _content(path)
    return found | {name: copied.encode() for name, (_, copied) in local.items()}


def digest_in(folder: Path) -> str:
    """Digest of the code in a folder, without data beside it. Raises `SuiteError` for a file that can't be read."""
    found = {}
    for path in (path for path in sources(folder) if path.suffix in _CODE):
        with contextlib.suppress(FileNotFoundError):  # it was there a moment ago
            found[path.relative_to(folder).as_posix()] = _content(path).hex()
    return digest_of(found)


def inherited(root: Path, without: Path | None = None) -> tuple[Path, ...]:
    """The folders of PYTHONPATH whose code counts, since children that stand in `root` import from them as well.

    without  those below this folder are left out: nothing is imported from them, if they are of a commit
    """
    # Of the harness its package counts already, and nothing else beside it reaches an artefact. A home holds all that
    # there is, which would take minutes to read.
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 (the path's own method raises where a user has none)
    left_out = {Path(harness.__file__).resolve().parent.parent, home.resolve()}
    inside = (root.resolve(), without) if without else (root.resolve(),)
    entries = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return tuple(
        folder
        for folder in ((root / entry).resolve() for entry in entries)
        if os.access(folder, os.R_OK)
        and folder.name not in INSTALLED
        and folder not in left_out
        and not (without and is_own(without, folder))
        and not (any(one.is_relative_to(folder) for one in inside) and not _in_repository(folder))
    )


def _in_repository(folder: Path) -> bool:
    """Whether a folder is a part of a repository. One that holds a project, and is none, may hold all of a disk, and
    what others do there.
    """
    return any((one / ".git").exists() for one in (folder, *folder.parents))


def code_of(found: Mapping[str, bytes]) -> dict[str, bytes]:
    """The part of these `contents` that they have where they are asked for the code alone."""
    return {name: content for name, content in found.items() if "/" not in name or Path(name).suffix in _CODE}


def changed(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> str:
    """The first of these contents that is another one, and how: `suites/own.py changed`; "" where none is."""
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            how = "is new" if name not in before else "is gone" if name not in now else "changed"
            return f"{name.removeprefix('project/')} {how}"
    return ""


def check_temporary(root: Path) -> None:
    """Raise `SuiteError` where temporary files lie among the sources: those of one child would be edits to another."""
    temporary = Path(tempfile.gettempdir()).resolve()
    if not temporary.is_relative_to(root.resolve()):
        return
    below = temporary.relative_to(root.resolve()).parts
    if (below and _is_made(root / below[0])) or any(name.startswith(".") for name in below):
        return
    raise SuiteError(
        f"temporary files go into {temporary}, which lies in the project, where each counts as an edited source; "
        "make /tmp writable (docker run --tmpfs /tmp), or let TMPDIR name a folder outside of the project or a hidden "
        "one in it"
    )


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
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SuiteError(
            f"{path} can't be read: {error.strerror or error}. Every file of the project counts as a source: make it "
            "readable, or move it below reports, into a hidden folder or out of the project"
        ) from error


def _read(path: Path, size: int, changed: int) -> bytes:  # noqa: ARG001 (with another of them it is another file)
    return hashlib.sha256(path.read_bytes()).digest()


_read_once = functools.cache(_read)
"""Sources are looked at again after each artefact, and data beside them may be gigabytes."""


def digest_of(parts: Mapping[str, object]) -> str:
    """SHA-256 of named parts, as 32 hexadecimal characters."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def relevant_environment() -> dict[str, str]:
    """The environment variables that runtimes and compilers read, and the one that says where from is imported."""
    found = sorted(os.environ.items())
    wanted = (*_COMPILER, "PYTHONPATH")
    return {name: value for name, value in found if name in wanted or name.startswith(_LIBRARIES + _KERNELS)}


def timings(folder: Path, versions: Mapping[str, str], *, cold: bool) -> Callable[[Hardware], dict[str, str]]:
    """The variables, by the hardware, that tell a child where builds of artefacts keep what they timed.

    TensorRT times kernels and takes the fastest. Two artefacts of one network would have other kernels, and one of them
    would be slower: so those of all trees take over each other's timings, from a folder below `folder`, where they have
    the same of these `versions` of TensorRT and are for the same GPU. A `cold` session takes over its own alone.
    """
    sweep(folder, _TIMINGS)  # of cold sessions whose processes are gone
    place = folder / (owned(_TIMINGS) if cold else _TIMINGS)
    builders = {name: version for name, version in versions.items() if name.startswith("tensorrt")}

    def variables(hardware: Hardware) -> dict[str, str]:
        told = hardware.describe()
        if told["kind"] != "cuda":
            return {}
        return {TIMINGS: str(place / digest_of({**builders, "model": told.get("model")})[:16])}

    return variables


def sources(folder: Path) -> Iterator[Path]:
    """The files of a project that count as sources (see `contents`), and links to folders in it."""
    for place, folders, files in os.walk(folder):
        here = Path(place)
        packaged = _PACKAGED.get(here.name, ()) if here.parent == folder else ()
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in _SKIPPED
            and not (here == folder and _is_made(here / name))
            and not _fits(f"{name}/", packaged)
            # Not the path's own method, which raises where another user's folder is closed: os.walk passes over that.
            and not any(os.access(here / name / mark, os.F_OK) for mark in _ENVIRONMENTS)
            and not is_ours(here / name)
        )
        links = (here / name for name in folders if os.path.islink(here / name))  # noqa: PTH114
        yield from (link for link in links if not is_ours(link.resolve()))
        for name in sorted(files):
            path = here / name
            if path.suffix in _PROSE or name.startswith(".") or _fits(name, (*_PASSING, *packaged)):
                continue
            if os.path.isfile(path) and not is_ours(path) and not _is_output(path):  # noqa: PTH113
                yield path


def _is_made(folder: Path) -> bool:
    """Whether a folder at the top of a project is one that tools write into. A package of such a name holds code."""
    return folder.name in _SKIPPED_AT_THE_TOP and not os.access(folder / "__init__.py", os.F_OK)


def _is_output(path: Path) -> bool:
    if not _OUTPUTS:
        return False
    with contextlib.suppress(FileNotFoundError):  # it was there a moment ago
        told = path.stat()
        return (told.st_dev, told.st_ino) in _OUTPUTS
    return True


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
