"""Artefacts made before anything is timed, several at a time: beside a measurement nothing else may run."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.grid import Address, Case
from harness.hardware.cpu import cores_usable
from harness.measure.artefacts import ArtefactCache
from harness.measure.crew import Starter, at_once
from harness.names import file_name

__all__ = ["Wanted", "make_ahead", "needed", "usual_jobs"]

MOST_JOBS = 4
"""A child that trains or exports takes up to a few GB, and there are machines with more cores than memory."""


def usual_jobs() -> int:
    """How many artefacts are made at a time where nobody said so."""
    return min(cores_usable(), MOST_JOBS)


@dataclass(frozen=True)
class Wanted:
    """An artefact that will be needed: of a case, from a cache, with the folder of its log."""

    cache: ArtefactCache
    case: Case
    address: Address
    logs: Path


def needed(
    case: Case, address: Address, suite: str, logs: Path, cache: ArtefactCache, other: ArtefactCache | None
) -> dict[tuple[str, str, str], Wanted]:
    """The artefacts that measuring a case takes, each by its tree, that one's interpreter, and the folder of its log
    below `logs`.

    Without another tree these are the case's and its reference's; with one, the case's of both trees.
    """
    found = [(cache, case), (cache, case.reference) if other is None else (other, case)]
    named = [(each, one, logs / file_name(f"{suite}/{one.id}")) for each, one in found]
    return {
        (str(each.tree.root), each.tree.python, str(folder)): Wanted(
            each, one, dataclasses.replace(address, root=str(each.tree.root), case_id=one.id), folder
        )
        for each, one, folder in named
    }


def make_ahead(wanted: Sequence[Wanted], jobs: int, told: Callable[[int], None]) -> None:
    """Have these artefacts in their caches, made `jobs` at a time; each is wanted once.

    `told` gets the number of those that are ready. What can't be made fails when its case comes, from what the
    cache remembers. An interrupt ends the children at once; the artefacts that are finished are kept.
    """
    at_once([functools.partial(_make, one) for one in wanted], jobs, told)


def _make(one: Wanted, start: Starter) -> None:
    with contextlib.suppress(Exception):  # also what a suite's own code raises: its case meets it again, and says so
        one.cache.get(one.case, one.address, one.logs, start)
