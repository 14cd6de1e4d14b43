"""The end of a run: its record, its entry in the history, and its reports, which look back at earlier runs."""

from __future__ import annotations

import warnings
from pathlib import Path

from harness.errors import HarnessError
from harness.history.entries import Entry, entry_of, refusal
from harness.history.past import past_of
from harness.history.sources import Sources
from harness.records import Run
from harness.report.journal import Journal
from harness.report.past import Past
from harness.report.record import write_run
from harness.report.write import draw
from harness.settings import Settings

__all__ = ["publish", "redraw"]


def publish(run: Run, folder: Path, settings: Settings, journal: Journal) -> str:
    """Write the record and the reports of a run that has ended, and keep it in the history.

    `journal` is the one that the run was written to. The record comes first, so that what was measured is safe whatever
    happens then. The journal ends after it: it lacks what only the record has, and a run without one can be gone on
    with. Gives what could not be done with the history, as a sentence for the user, "" where all was: that is a
    warning, and no verdict knows of it. Raises `OSError` where the disk refuses.
    """
    write_run(run, folder, journal)
    journal.end(finished=run.finished, seconds=run.seconds, complete=run.complete)
    sources = Sources(settings.reports, settings.baselines, settings.history)
    warning, past = _with_history(run, sources, keep=not refusal(run))
    draw(run, folder, past)
    return warning


def redraw(run: Run, folder: Path, sources: Sources) -> list[Path]:
    """Write the reports of an earlier run, and give their paths. Nothing is kept. Raises `OSError`."""
    _, past = _with_history(run, sources, keep=False)
    return draw(run, folder, past)


# Libraries that the base install does without keep and search the history. Whatever they raise must not take the report
# of this run along, or change how it ends.


def _with_history(run: Run, sources: Sources, *, keep: bool) -> tuple[str, Past]:
    """What could not be kept, as a sentence, and what was measured before."""
    try:
        own = entry_of(run)
    except Exception as error:
        return _not_kept(error), _not_read(error)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what they will drop: where a project makes errors of it, nothing was kept
        # In this order, so that a run of very many cases is not read back from where it was just kept.
        past = _looking_back(run, own, sources)
        return _record(own, sources) if keep else "", past


def _record(own: Entry, sources: Sources) -> str:
    try:
        sources.record(own)
    except Exception as error:
        return _not_kept(error)
    return ""


def _looking_back(run: Run, own: Entry, sources: Sources) -> Past:
    try:
        return past_of(run, own, sources)
    except Exception as error:
        return _not_read(error)


def _not_kept(error: Exception) -> str:
    return f"warning: this run was not kept in the history: {_told(error)}"


def _not_read(error: Exception) -> Past:
    return Past(notes=(f"earlier runs could not be read: {_told(error)}",))


def _told(error: Exception) -> str:
    if isinstance(error, HarnessError):
        return str(error)
    return f"{type(error).__name__}: {error}; please report this, and until then: --history off"
