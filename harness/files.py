"""Writing files so that a reader, or a power cut, never meets half of one; and the folders a file is imported from."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from harness.errors import RecordError

__all__ = [
    "imported_from",
    "locked",
    "outside_of_packages",
    "owned",
    "point_latest",
    "sweep",
    "sync_folder",
    "write_atomic",
]

_BEGAN = time.time()
"""When this module was imported: what this process makes, it makes later."""
_DAY = 86400.0
"""Seconds: nothing is built for longer."""


def write_atomic(path: Path, data: bytes | Iterator[bytes]) -> Path:
    """Write `data` beside `path`, flush it to the disk, and rename it over `path`: either file is whole.

    Raises `OSError` (a full disk, no permission) with the old file untouched and nothing left beside it; where nothing
    but the flush of their folder failed, the new one is there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.writelines([data] if isinstance(data, bytes) else data)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp gives 0600; a report is for others to read as well, as far as the user's umask lets them.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return path


def sync_folder(folder: Path) -> None:
    """Flush a folder's own entries: a file that was renamed or made survives a power cut only after this."""
    if os.name == "nt":
        return  # no folder can be opened there
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network filesystems sync no folders: what was renamed is there, and to call it unwritten were untrue.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def point_latest(run_folder: Path) -> Path:
    """Make `latest`, beside the run's folder, a relative link to it, replacing an older link in one step.

    Raises `RecordError` where something that is no link stands there, which may be someone's data, and where no link
    can be made.
    """
    link = run_folder.parent / "latest"
    if link.exists() and not link.is_symlink():
        raise RecordError(
            f"{link} is no link, so it was left alone; move it away so that it can point to the newest run"
        )
    temporary = run_folder.parent / f".latest.{os.getpid()}"
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(run_folder.name, target_is_directory=True)
        temporary.replace(link)
    except OSError as error:
        raise RecordError(
            f"{link}: no link can be made there: {error.strerror}; name a folder on another disk with --reports"
        ) from error
    return link


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds the lock of this file, and hold it meanwhile; its folder is made.

    Where it can't be had, there is none: some network filesystems lock nothing, and where no file can be made or
    opened, whatever makes something there says what is wrong.
    """
    import fcntl  # not on Windows, where runs are read and none is made

    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(held.enter_context(path.open("wb")), fcntl.LOCK_EX)
        yield


def owned(prefix: str) -> str:
    """How the name of a folder begins that `sweep` is to remove once this process is gone."""
    return f"{prefix}-{os.getpid()}-{_table()}-"


def sweep(folder: Path, prefix: str) -> None:
    """Remove the folders whose names `owned` began, of processes that are gone.

    Another container or machine that shares a cache may be building in it at this moment, and its processes can't be
    asked for: what is not of ours is removed when it is a day older than this process. So is what has this process's
    own number, which an earlier one may have had.
    """
    table = _table()
    for path in folder.glob(f"{prefix}-*"):
        with contextlib.suppress(ValueError, FileNotFoundError):  # no number; another run removed it
            number, _, rest = path.name.removeprefix(f"{prefix}-").partition("-")
            process, asked = int(number), rest.startswith(f"{table}-")
            if _lives(process) if asked and process != os.getpid() else path.stat().st_mtime >= _BEGAN - _DAY:
                continue
            shutil.rmtree(path, ignore_errors=True)


def _table() -> str:
    """8 hexadecimal digits for the table of processes in which this one has its number: a container has its own."""
    try:
        booted = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        told = booted + str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        told = platform.node()
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # and is someone else's
    return True


def _umask() -> int:
    """The umask can only be read by setting it; the harness starts no thread that creates files meanwhile."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def outside_of_packages(folder: Path) -> Path:
    """The first folder from here upwards that is no package: pytest imports what lies here from there."""
    while folder.name.isidentifier() and (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def imported_from(file: Path, root: Path) -> tuple[Path, ...]:
    """The folders below `root` that pytest imports a file in it and the conftests above the file from.

    The first comes first, and all of them before `root`, but with `--import-mode=append`.
    """
    conftests = [folder / "conftest.py" for folder in file.parents if folder.is_relative_to(root)]
    imported = (file, *(one for one in conftests if one.is_file()))
    found = dict.fromkeys(outside_of_packages(one.parent) for one in imported)
    return tuple(folder for folder in found if folder != root and folder.is_relative_to(root))
