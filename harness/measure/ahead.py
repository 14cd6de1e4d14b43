"""Artefacts made before anything is timed, several at a time: beside a measurement nothing else may run."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.grid import Address, Case
from harness.hardware.cpu import cores_allowed
from harness.measure.artefacts import ArtefactCache
from harness.measure.child import Child
from harness.measure.tree import Tree
from harness.names import file_name

__all__ = ["Wanted", "make_ahead", "needed", "usual_jobs"]

MOST_JOBS = 4
"""A child that trains or exports takes up to a few GB, and there are machines with more cores than memory."""


def usual_jobs() -> int:
    """How many artefacts are made at a time where nobody said so."""
    return min(len(cores_allowed()), MOST_JOBS)


@dataclass(frozen=True)
class Wanted:
    """An artefact that will be needed: of a case, from a cache, with the folder of its log."""

    cache: ArtefactCache
    case: Case
    address: Address
    logs: Path


def needed(
    case: Case, address: Address, suite: str, logs: Path, cache: ArtefactCache, other: ArtefactCache | None
) -> dict[tuple[str, str], Wanted]:
    """The artefacts that measuring a case takes, each by its tree and the folder of its log below `logs`.

    Without another tree these are the case's and its reference's; with one, the case's of both trees.
    """
    found = [(cache, case), (cache, case.reference) if other is None else (other, case)]
    named = [(each, one, logs / file_name(f"{suite}/{one.id}")) for each, one in found]
    return {
        (str(each.tree.root), str(folder)): Wanted(
            each, one, dataclasses.replace(address, root=str(each.tree.root), case_id=one.id), folder
        )
        for each, one, folder in named
    }


def make_ahead(wanted: Sequence[Wanted], jobs: int, told: Callable[[int], None]) -> None:
    """Have these artefacts in their caches, made `jobs` at a time; each is wanted once.

    `told` gets the number of those that are ready. What can't be made fails when its case comes, from what the
    cache remembers. An interrupt ends the children at once; the artefacts that are finished are kept.
    """
    crew = _Crew()
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(_make, one, crew) for one in wanted]
        try:
            for ready, future in enumerate(as_completed(futures), 1):
                future.result()
                told(ready)
        except BaseException:
            for future in futures:
                future.cancel()
            crew.end()
            raise


def _make(one: Wanted, crew: _Crew) -> None:
    one.logs.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(HarnessError):
        one.cache.get(one.case, one.address, one.logs, crew.start)


class _Member(Child):
    """A child that another thread than its own may end."""

    def end(self) -> None:
        """End it if it lives; the number of a process that is gone may be another's."""
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)


class _Crew:
    """The children of all threads. Their own threads see them end, and tidy up."""

    def __init__(self) -> None:
        self._members: list[_Member] = []
        self._ended = False

    def start(self, name: str, log: Path, env: Mapping[str, str], tree: Tree) -> Child:
        member = _Member(name, log, env, tree)
        self._members.append(member)
        if self._ended:
            member.end()
        return member

    def end(self) -> None:
        self._ended = True
        for member in self._members:
            member.end()
