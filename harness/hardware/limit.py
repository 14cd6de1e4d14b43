"""A limit on the memory of this process that the operating system enforces; how it is set, and what it counts.

`CGROUP`  a control group of the process's own. The kernel counts pages that are touched, and those of files that the
          process was the first to read; it drops these before it refuses more. Who still needs more is killed.
`DATA`    `RLIMIT_DATA`: private writable mappings, touched or not: heap, anonymous memory, stacks of threads, the
          writable data of libraries. Pages mapped from files for reading, as a library's code, do not count. Who asks
          for more is refused (`ENOMEM`). Needs no privilege, and Linux 4.7 (setrlimit(2)).

`RLIMIT_AS` is none: it counts addresses, of which an idle torch reserves three times what it uses.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

from harness.errors import MeasurementError, UnavailableError
from harness.hardware import cgroup
from harness.records import Outcome

__all__ = ["CGROUP", "DATA", "Limit", "data_limit", "means"]

CGROUP = "cgroup v2 memory.max"
DATA = "RLIMIT_DATA"
_PROBE = 2**28
_REFUSED = (
    "import resource; n = int(__import__('sys').argv[1]); resource.setrlimit(resource.RLIMIT_DATA, (n, n))\n"
    "try: bytearray(n)\n"
    "except MemoryError: print('refused')"
)


@functools.cache
def means() -> tuple[str, str]:
    """How memory can be limited on this machine, `CGROUP` before `DATA`; or "" and why it can't be, with the cure.

    Tried on a process of its own, once.
    """
    if not sys.platform.startswith("linux"):
        return "", f"{sys.platform} does not enforce a limit on a process's memory (measure on Linux)"
    try:
        cgroup.probe(_PROBE)
    except UnavailableError as error:
        why = str(error)
    else:
        return CGROUP, ""
    command = [sys.executable, "-I", "-S", "-c", _REFUSED, str(_PROBE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.stdout.strip() == "refused":
        return DATA, ""
    told = (done.stderr.strip().splitlines() or ["the kernel does not enforce it"])[-1]
    return "", f"neither a control group nor RLIMIT_DATA limits memory here: {why}; {told}"


class Limit:
    """The limit that holds for this process from now on, and that its children inherit.

    Raises `MeasurementError` where it can't be set, or where the operating system, asked again, names another one: with
    outcome `invalid`, since a model that fails so may well fit.
    """

    def __init__(self, by: str, size: int) -> None:
        self.by = by
        self._group: cgroup.Group | None = None
        try:
            if by == CGROUP:
                before = cgroup.own_group()
                self._group = cgroup.Group(cgroup.parent_group(), size, os.getpid())
                atexit.register(self._group.leave, before)
            elif by == DATA:
                _set_data_limit(size)
            else:
                raise ValueError("there is no such way")
            found = self.size
        except (OSError, ValueError, UnavailableError) as error:
            raise MeasurementError(
                f"the limit of {size} bytes of memory can't be set by {by}: {error}", outcome=Outcome.INVALID
            ) from error
        page = os.sysconf("SC_PAGE_SIZE")  # a control group counts whole ones, of 64 KiB on some machines
        if found // page != size // page:
            raise MeasurementError(
                f"a limit of {size} bytes was set by {by}, and {found} is in force", outcome=Outcome.INVALID
            )

    @property
    def size(self) -> int:
        """The limit in bytes, asked of the operating system."""
        return self._group.limit if self._group else data_limit()

    @property
    def held(self) -> int:
        """Bytes of what the limit counts: the most so far in a control group, else those of now."""
        return self._group.held if self._group else _data_size()


def _set_data_limit(size: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def data_limit() -> int:
    """The hard limit of this process by `RLIMIT_DATA` in bytes, above which it can set none; -1 where there is none."""
    import resource

    return resource.getrlimit(resource.RLIMIT_DATA)[1]


def _data_size() -> int:
    found = re.search(r"^VmData:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0
