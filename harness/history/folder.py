"""The runs that a folder of reports holds, as entries of the history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from harness.errors import RecordError
from harness.history.entries import EVERYTHING, Entry, Wanted, entry_of, refusal
from harness.report.journal import Journal
from harness.report.record import RUN_NAME, read_data, run_of

__all__ = ["MOST_BYTES", "Found", "entries", "read_entry"]

MOST_BYTES = 256 * 2**20
"""What is read of all records together, newest first: those of many cases are large, and nobody waits for them."""


@dataclass(frozen=True)
class Found:
    """The entries of a folder, oldest first, and sentences on what was left out.

    `absent` is the store that was asked for beside the folder and is not made yet, "" where there is none such.
    """

    entries: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()
    absent: str = ""


def entries(
    reports: Path,
    last: int,
    wanted: Wanted = EVERYTHING,
    *,
    before: str = "",
    known: Collection[tuple[str, str, str]] = (),
    at_hand: str = "",
    most: int = MOST_BYTES,
) -> Found:
    """The newest runs below a folder of reports, `last` of each wanted case that has a wanted value, oldest first.

    Where `last` runs one after the other measured only cases that have theirs already, older ones are not looked at. A
    run that measured nothing wanted does not count among these. Nor does one that is known, of which a line is read:
    behind any number of them may lie one that no store has.

    known    id, start and commit of runs that are left out, where a journal says so; a record may be another machine's
    at_hand  id of a run that is left out
    before   a time, ISO 8601 in UTC: runs that started later are left out
    """
    found: list[Entry] = []
    notes: list[str] = []
    runs: Counter[tuple[str, str]] = Counter()
    ids = {run for run, *_ in known}
    spare = 0
    spent, oldest = 0, ""
    # Folders are named by the time, so that their order by name is that of the runs.
    for record in sorted(reports.glob(f"*/{RUN_NAME}"), reverse=True) if reports.is_dir() else []:
        if record.parent.is_symlink() or record.parent.name == at_hand:
            continue
        if spare >= last or (wanted.cases and all(runs[case] >= last for case in wanted.cases)):
            break
        if record.parent.name in ids and Journal.began(record.parent) in known:
            continue
        # What is refused no store keeps, and each look back would read it all once more: its journal tells sooner.
        outline = Journal.outline(record.parent)
        if outline and (refusal(outline) or (outline.id, outline.started, outline.environment.commit) in known):
            continue
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
        if not isinstance(entry, Entry) or (before and entry.started > before):
            continue
        measured = entry.measured(wanted)
        if any(runs[case] < last for case in measured):
            runs.update(measured)
            spare = 0
            found.append(entry)
        elif measured:
            spare += 1
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
