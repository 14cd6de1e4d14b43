"""A small device, as far as a larger machine can be one: the CPU with few threads and little memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.amounts import bytes_of
from harness.errors import MeasurementError, SuiteError, UnavailableError
from harness.hardware.cpu import Cpu
from harness.hardware.limit import DATA, Limit, data_limit, means
from harness.records import Scalar

__all__ = ["Edge", "edge"]

_DEFAULT = "512MB"
_CHOSEN = "HARNESS_MEMORY_LIMIT"
"""Tells a child how its memory is limited, which it could not find out under the limit."""


@dataclass(frozen=True)
class Edge(Cpu):
    """The CPU with `threads` threads, and no more memory than `memory` (`256MB`, `1GiB`) for a process that serves.

    The operating system enforces it (`harness.hardware.limit`) where an artefact is served, evaluated and its memory
    measured. It is prepared without a limit, as a server makes what a device runs. The speed is this machine's.
    """

    memory: str = _DEFAULT
    _limit: Limit | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            size = self.size
        except ValueError as error:
            raise SuiteError(f"edge(memory={self.memory!r}): {error}") from None
        if size < 1:
            raise SuiteError(f"edge(memory={self.memory!r}): give a size above nothing")
        # What has one name is equal, however its size was written.
        usual = size == bytes_of(_DEFAULT)
        object.__setattr__(self, "memory", _DEFAULT if usual else self.memory.replace(" ", ""))

    def __call__(self, *, memory: str | None = None, threads: int | None = None) -> Edge:
        """Another size or number of threads: `edge(memory="256MB", threads=2)`."""
        return Edge(self.threads if threads is None else threads, self.memory if memory is None else memory)

    @property
    def size(self) -> int:
        """The limit in bytes."""
        return int(bytes_of(self.memory))

    @property
    def name(self) -> str:
        words = ["edge", *([] if self.memory == _DEFAULT else [self.memory])]
        return ".".join([*words, *([] if self.threads == 1 else [f"{self.threads}threads"])])

    def available(self) -> str | None:
        if reason := super().available() or means()[1]:
            return reason
        if means()[0] == DATA and 0 <= (most := data_limit()) < self.size:
            return (
                f"{self.memory} asked, and processes here may have {most / 1e6:g} MB of data (raise it, ulimit -Hd, or "
                "ask for less)"
            )
        here = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if self.size > here:
            return f"{self.memory} asked, {here / 1e9:.1f} GB in this machine (use less memory, or cpu)"
        return None

    def describe(self) -> Mapping[str, Scalar]:
        """The CPU, the limit in bytes, and what enforces it: they count differently, so it is another machine."""
        return {**super().describe(), "profile": "edge", "memory_limit": self.size, "limited_by": self._by}

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), _CHOSEN: self._by}

    def enter(self) -> None:
        """Limit this process for good, and ask the operating system whether it is limited."""
        super().enter()
        if _CHOSEN not in os.environ:
            raise MeasurementError(
                f"{self.name}: this process was not started with the hardware's environment(), so it does not know how "
                "to limit its memory; start it with these variables set"
            )
        if self._limit is None:
            object.__setattr__(self, "_limit", Limit(self._by, self.size))

    def unlimited(self) -> Cpu:
        """The same machine without the limit."""
        return Cpu(self.threads)

    def limits(self) -> Mapping[str, str]:
        """What this process is limited to, and what the operating system answers when it is asked; after `enter`."""
        limit = self._limit
        if limit is None:
            return {}
        found = f"{limit.size / 1e6:g} MB by {limit.by}, of which {limit.held / 1e6:.0f} MB were used"
        return {f"memory <= {self.memory}": found}

    def watched(self) -> Mapping[str, Scalar]:
        """The limit that was in force while calls were timed, and how much of it was used, in bytes."""
        limit = self._limit
        return {"memory_limit": limit.size, "memory_used": limit.held} if limit else {}

    @property
    def _by(self) -> str:
        """What enforces the limit. Raises `UnavailableError` where nothing does."""
        chosen = os.environ.get(_CHOSEN)
        if chosen:
            return chosen
        by, reason = means()
        if not by:
            raise UnavailableError(reason)
        return by


edge = Edge()
