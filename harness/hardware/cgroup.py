"""Control groups: one of a process's own with a limit of memory (cgroup v2), and the limit of processor time (v1 also).

The interface is https://docs.kernel.org/admin-guide/cgroup-v2.html. A process may make groups in those that were
delegated to its user; a group that holds processes hands no limits down, so the new one lies above, beside its own.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from harness.errors import UnavailableError

__all__ = ["Group", "own_group", "parent_group", "probe", "processors", "read"]

MOUNT = Path("/sys/fs/cgroup")
PROC = Path("/proc")
_PREFIX = "harness-"
_CURE = "start the harness with: systemd-run --user --scope ..."


class Group:
    """The group that holds process `pid` alone, limited to `size` bytes and without swap. Raises `OSError`.

    Memory that the process took before it entered stays with the group that it leaves.
    """

    def __init__(self, parent: Path, size: int, pid: int) -> None:
        self.folder = parent / f"{_PREFIX}{pid}"
        self.folder.mkdir(exist_ok=True)
        (self.folder / "memory.max").write_text(str(size), encoding="ascii")
        swap = self.folder / "memory.swap.max"
        if swap.exists():  # it is not there where the kernel counts no swap
            swap.write_text("0", encoding="ascii")
        (self.folder / "cgroup.procs").write_text(str(pid), encoding="ascii")

    @property
    def limit(self) -> int:
        """The limit in bytes, as the kernel tells it: rounded down to pages. Raises `OSError`, `ValueError`."""
        return int((self.folder / "memory.max").read_text(encoding="ascii"))

    @property
    def held(self) -> int:
        """The most bytes that the group has held; what it holds now where the kernel keeps no peak (before 5.19)."""
        with contextlib.suppress(OSError):
            return int((self.folder / "memory.peak").read_text(encoding="ascii"))
        return int((self.folder / "memory.current").read_text(encoding="ascii"))

    def leave(self, to: Path) -> None:
        """Move this process to another group and remove this one, as far as the kernel lets us."""
        with contextlib.suppress(OSError):
            (to / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
            self.folder.rmdir()


def own_group(proc: Path = PROC, mount: Path = MOUNT) -> Path:
    """The folder of this process's group. Raises `UnavailableError` where cgroup v2 does not manage memory."""
    shown = mount / "cgroup.controllers"
    if "memory" not in read(shown).split():
        cure = "boot with systemd.unified_cgroup_hierarchy=1"
        if shown.exists():
            cure = (
                "boot with cgroup_enable=memory on the kernel's command line; in a container, let its host hand it down"
            )
        raise UnavailableError("no cgroup v2 manages memory here", cure)
    for line in read(proc / "self" / "cgroup").splitlines():
        number, _, path = line.split(":", 2)
        if number == "0":
            return mount / path.lstrip("/")
    raise UnavailableError("the kernel does not tell this process's control group", _CURE)


def parent_group(proc: Path = PROC, mount: Path = MOUNT) -> Path:
    """The nearest group, from this process's upwards, in which it may make one with a limit of memory.

    Raises `UnavailableError`.
    """
    own = own_group(proc, mount)
    for folder in (own, *own.parents):
        if not folder.is_relative_to(mount):
            break
        hands_down = "memory" in read(folder / "cgroup.subtree_control").split()
        if hands_down and os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK):
            return folder
    raise UnavailableError("no control group above this process may be written and hands limits of memory down", _CURE)


def processors(proc: Path = PROC, mount: Path = MOUNT) -> float | None:
    """How many processors' time this process may take: the least that its group, or one seen above it, is limited to.

    None where no group limits it. A process over the limit is stopped for the rest of the period.
    """
    found: list[float] = []
    for line in read(proc / "self" / "cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number != "0" and "cpu" not in controllers.split(","):
            continue
        root = mount if number == "0" else mount / "cpu"
        own = root / path.lstrip("/")
        # A container's group may be its root, under a path that only the host knows.
        folders = (own, *(folder for folder in own.parents if folder.is_relative_to(root)))
        found += [limit for folder in folders if (limit := _processors(folder))]
    return min(found, default=None)


def probe(size: int) -> None:
    """Limit a process that does nothing, for the trial. Raises `UnavailableError` where that can't be done."""
    parent = parent_group()
    _sweep(parent)
    command = [sys.executable, "-I", "-S", "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        group = None
        try:
            group = Group(parent, size, process.pid)
            entered = f"/{group.folder.name}" in read(PROC / str(process.pid) / "cgroup")
        except OSError as error:
            reason = f"a control group for memory can't be used: {error.strerror}"
            raise UnavailableError(reason, _CURE) from None
        finally:
            process.kill()
            process.wait()
            if group:
                with contextlib.suppress(OSError):
                    group.folder.rmdir()
    if not entered:
        raise UnavailableError("a process did not enter the control group that was made for it", _CURE)


def _processors(group: Path) -> float | None:
    """Microseconds of processor time in a period, over its length: `cpu.max` of version 2, two files of version 1."""
    told = [read(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    quota, period = read(group / "cpu.max").split() or told
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None  # no limit is "max", or -1


def _sweep(parent: Path) -> None:
    """Remove the groups of processes that ended without leaving theirs."""
    for folder in parent.glob(f"{_PREFIX}*"):
        if not (PROC / folder.name.removeprefix(_PREFIX)).exists():
            with contextlib.suppress(OSError):
                folder.rmdir()


def read(path: Path) -> str:
    """What a file of the kernel's says; "" where it can't be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
