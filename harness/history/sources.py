"""Where the history of a project is: its store, its folder of reports, its committed baselines."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HistoryError, UnavailableError
from harness.history import folder
from harness.history.entries import EVERYTHING, Entry, Wanted
from harness.names import HISTORY_FILE
from harness.report.past import LAST
from harness.runtimes.packages import missing

if TYPE_CHECKING:
    from harness.history.store import Store

__all__ = ["OFF", "VARIABLE", "Sources"]

OFF = "off"
VARIABLE = "HARNESS_HISTORY_URL"


@dataclass(frozen=True)
class Sources:
    """Folders of reports and of baselines, and a store.

    store  URL or file of the store, `off` for none; "" takes `HARNESS_HISTORY_URL`, else a file among the reports
    """

    reports: Path
    baselines: Path
    store: str = ""

    @property
    def asked(self) -> str:
        """The store that was asked for, "" where nobody named one."""
        return self.store or os.environ.get(VARIABLE, "")

    def open(self) -> Store | None:
        """The store; None where it was switched off, and where nobody asked for one and the extra is not installed, or
        older than what the store needs.

        Raises `UnavailableError` where one was asked for without the extra, and `HistoryError` for a URL that is none.
        """
        if self.asked == OFF:
            return None
        if lacking := missing("history", "sqlalchemy", "alembic"):
            if not self.asked:
                return None
            raise UnavailableError(f"the history store can't be used: {lacking}")
        from harness.history.store import Store  # here: the base install does without

        return Store(self.asked or str(self.reports / HISTORY_FILE))

    def record(self, entry: Entry) -> bool:
        """Keep a run in the store, if there is one. Gives whether it is new. Raises as `open`, and `HistoryError`."""
        store = self.open()
        if store is None:
            return False
        try:
            return store.record(entry)
        finally:
            store.close()

    def entries(
        self, last: int = LAST, wanted: Wanted = EVERYTHING, *, before: str = "", at_hand: str = ""
    ) -> folder.Found:
        """The newest runs with a wanted value in the store and in the folder of reports, oldest first, each once.

        A store that can't be read is a note; the runs of the folder are read then, as where there is no store. To read
        makes none.

        before   a time, ISO 8601 in UTC: runs that started later are left out
        at_hand  the id of a run of the folder that the caller has already, whose record is not read
        """
        kept: tuple[Entry, ...] = ()
        known: set[tuple[str, str, str]] = set()
        notes: tuple[str, ...] = ()
        absent = ""
        try:
            store = self.open() if self.asked or (self.reports / HISTORY_FILE).exists() else None
            if store is not None:
                try:
                    if store.absent:
                        absent = str(store)
                    else:
                        kept, known = store.entries(last, wanted, before), store.known()
                finally:
                    store.close()
        except (HistoryError, UnavailableError) as error:
            kept, known, notes = (), set(), (str(error),)
        found = folder.entries(self.reports, last, wanted, before=before, known=known, at_hand=at_hand)
        every = {entry.key: entry for entry in (*found.entries, *kept)}
        ordered = sorted(every.values(), key=lambda entry: (entry.started, entry.run))
        return folder.Found(tuple(ordered), (*notes, *found.notes), absent)
