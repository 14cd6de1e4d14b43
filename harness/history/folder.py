"""The runs that a folder of reports holds, as entries of the history."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from harness.errors import RecordError
from harness.history.entries import EVERYTHING, Entry, Wanted, entry_of, refusal
from harness.report.record import RUN_NAME, read_data, run_of

__all__ = ["MOST_BYTES", "Found", "entries", "read_entry"]

MOST_BYTES = 256 * 2**20
"""What is read of all records together, newest first: those of many cases are large, and nobody waits for them."""


@dataclass(frozen=True)
class Found:
    """The entries of a folder, oldest first, and sentences on what was left out."""

    entries: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()


def entries(
    reports: Path,
    last: int,
    wanted: Wanted = EVERYTHING,
    *,
    before: str = "",
    known: Collection[str] = (),
    most: int = MOST_BYTES,
) -> Found:
    """The newest `last` runs with a wanted value below a folder of reports, oldest first.

    known   ids of runs that are left out
    before  a time, ISO 8601 in UTC: runs that started later are left out
    """
    found: list[Entry] = []
    notes: list[str] = []
    spent, oldest = 0, ""
    # Folders are named by the time, so that their order by name is that of the runs.
    for record in sorted(reports.glob(f"*/{RUN_NAME}"), reverse=True) if reports.is_dir() else []:
        if record.parent.is_symlink() or record.parent.name in known:
            continue
        if len(found) >= last:
            break
        spent += record.stat().st_size
        if spent > most and oldest:
            notes.append(f"runs before {oldest} were left out: their records are too large to be read each time")
            break
        oldest = record.parent.name
        try:
            entry = read_entry(record)
        except RecordError as error:
            notes.append(f"left out: {error}")
            continue
        if isinstance(entry, Entry) and entry.has(wanted) and (not before or entry.started <= before):
            found.append(entry)
    return Found(tuple(sorted(found, key=lambda entry: entry.started)), tuple(notes))


def read_entry(record: Path) -> Entry | str:
    """The entry of a `run.json`, or why it is not kept. Raises `RecordError` for what is no record of a run.

    The launches, nearly all of a record, are left unread: to check those of thirty runs would take seconds.
    """
    data = read_data(record)
    try:
        for result in data["results"]:
            result.pop("launches", None)
            result["log"] = ""
    except (LookupError, TypeError, AttributeError) as error:
        raise RecordError(f"{record}: no record of a run: {error}") from None
    run = run_of(data, str(record))
    return refusal(run) or entry_of(run)
