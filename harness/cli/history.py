"""`harness history`: a metric over runs and over the accepted baselines, and the store that keeps runs."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.cli.options import add_baselines_option
from harness.cli.output import fail, say, show
from harness.codec import dumps
from harness.errors import HarnessError, HistoryError
from harness.history.changes import with_changes
from harness.history.entries import Entry, Wanted, entry_of, refusal
from harness.history.folder import read_entry
from harness.history.past import baselines_of, levels_of, series_of
from harness.history.sources import VARIABLE, Sources
from harness.report.past import Series
from harness.report.record import RUN_NAME, read_run
from harness.report.text import commit_name, moment
from harness.units import plural, quantity, with_interval

__all__ = ["add", "history"]

INCOMPLETE = 2
LAST = 50
PLACES = 24
"""Columns of the axis that runs are drawn on."""
NARROWEST = 0.05
"""What the axis spans at least, relative to its middle."""
BARS = "▁▂▃▄▅▆▇█"


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser(
        "history",
        help="show a metric of a case over runs and accepted baselines",
        description="Show what earlier runs measured, from the store and the folder of reports, with changes of level "
        "and the accepted baselines. Without CASE, a line for each case. Nothing is judged.",
        allow_abbrev=False,
    )
    parser.add_argument("case", nargs="?", default="", metavar="CASE", help="a case id or a glob, such as 'digits/*'")
    parser.add_argument(
        "--metric", action="append", default=[], metavar="NAME", help="which metric (default: latency.p50); repeatable"
    )
    parser.add_argument(
        "--last", type=int, default=LAST, metavar="N", help="newest runs to show (default: %(default)s)"
    )
    parser.add_argument(
        "--history", default="", metavar="URL",
        help=f"the store: a SQLite file, postgresql://user@host/database, or off (default: {VARIABLE}, else history.db "
        "among the reports)",
    )  # fmt: skip
    parser.add_argument(
        "--reports", type=Path, default=Path("reports"), metavar="DIR", help="folder of the runs (default: %(default)s)"
    )
    add_baselines_option(parser)
    parser.add_argument(
        "--record", nargs="+", type=Path, default=[], metavar="RUN",
        help="keep these runs in the store, and show nothing: a run's folder, its run.json or its journal.jsonl",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=history, wrong=parser.error)


def history(arguments: argparse.Namespace) -> int:
    """Show, or record."""
    if arguments.last < 1:
        arguments.wrong("--last: a number of runs is needed, 1 at least")
    shown = {"CASE": arguments.case, "--metric": arguments.metric, "--json": arguments.json}
    if arguments.record and (useless := [name for name, value in shown.items() if value]):
        arguments.wrong(f"--record keeps runs and shows nothing: leave out {', '.join(useless)}")
    sources = Sources(arguments.reports, arguments.baselines, arguments.history)
    if arguments.record:
        return _record(sources, arguments.record)
    wanted = Wanted(glob=arguments.case, metrics=arguments.metric or ["latency.p50"])
    found = sources.entries(arguments.last, wanted)
    unmade = [f"there is no store at {found.absent} yet; harness history --record makes it"] if found.absent else []
    series = [with_changes(one) for one in series_of(found.entries, arguments.last, wanted)]
    unrun, damaged = baselines_of(series, sources, wanted)
    notes = [*found.notes, *unmade, *damaged]
    for note in notes:
        fail(note)
    series = levels_of([*series, *unrun], sources)
    if not series:
        raise HistoryError(_nothing(wanted, sources))
    if arguments.json:
        show(dumps({"series": series, "notes": notes}))
    elif arguments.case:
        for i, one in enumerate(series):
            say(["", *_page(one)] if i else _page(one))
    else:
        say(_line(one) for one in series)
    return 0


def _record(sources: Sources, runs: Sequence[Path]) -> int:
    store = sources.open()
    if store is None:
        raise HistoryError(
            "--record: there is no store; name one with --history, and install inference-harness[history]"
        )
    failed = False
    try:
        for path in runs:
            try:
                entry = _entry(path)
                if isinstance(entry, Entry):
                    say(f"{path}: {'kept' if store.record(entry) else 'is kept already'} in {store}")
                else:
                    say(f"{path}: left out, since it {entry}")
            except HarnessError as error:
                failed = True
                fail(str(error))
    finally:
        store.close()
    return INCOMPLETE if failed else 0


def _entry(path: Path) -> Entry | str:
    """The entry of a run, or why it is not kept. Raises `RecordError` for a path that holds no run."""
    record = path / RUN_NAME if path.is_dir() else path
    if record.exists() and record.suffix != ".jsonl":
        return read_entry(record)
    run = read_run(path)
    return refusal(run) or entry_of(run)


def _nothing(wanted: Wanted, sources: Sources) -> str:
    if sources.entries(1, Wanted(glob=wanted.glob)).entries:
        return f"no run has the metric {' or '.join(wanted.metrics)}; latency.p50 and accuracy are usual ones"
    known = sorted({kept.case_id for entry in sources.entries(1).entries for kept in entry.cases})
    if not known:
        return f"no run is kept in {sources.reports} or the store; make one with: pytest suites/"
    near = difflib.get_close_matches(wanted.glob, known, n=3)
    return f"no run has the case {wanted.glob}" + (f"; did you mean {' or '.join(near)}?" if near else "")


def _line(series: Series) -> str:
    """A case on one line: its runs as bars, the newest value, and the newest change."""
    newest = quantity(series.points[-1].value, series.unit) if series.points else "no run"
    told = next(series.sentences(), "")
    name = f"{series.suite}/{series.case_id}"
    runs = plural(len(series.points), "run")
    head = f"{name:56} {series.metric}  {newest:>10}  {_bars(series)}  {runs} on {series.machine}"
    return f"{head}; {told}" if told else head


def _bars(series: Series) -> str:
    values = [point.value for point in series.points]
    if not values:
        return ""
    low, high = min(values), max(values)
    return "".join(BARS[round((value - low) / (high - low) * 7) if high > low else 3] for value in values)


def _page(series: Series) -> Iterator[str]:
    """All of a series: runs and accepted baselines by time, and where the level changed."""
    yield f"{series.metric} of {series.suite}/{series.case_id} on {series.machine}: {series.span}"
    starts = {change.at: change for change in series.changes}
    lines: list[tuple[str, list[str]]] = []
    for i, point in enumerate(series.points):
        value = with_interval(point.value, point.low, point.high, series.unit)
        commit = commit_name(point.commit, dirty=point.dirty) or "no commit"
        about = f"{value:32} {point.verdict:12} {commit}, run {point.run}"
        row = f"  {moment(point.when):24} {_place(series, point.value)} {about}"
        lines.append((point.when, [*([f"  -- {series.sentence(starts[i])}"] if i in starts else []), row]))
    for level in series.levels:
        about = f"baseline {quantity(level.value, series.unit)} accepted at {commit_name(level.commit)}: {level.reason}"
        lines.append((level.when, [f"  {moment(level.when):24} {_place(series, level.value, '+')} {about}"]))
    for _, several in sorted(lines, key=lambda line: line[0]):
        yield from several
    if not series.points:
        return
    if series.note:
        yield f"  no changes were looked for: {series.note}"
    elif not series.changes:
        yield "  no change of level was found"


def _place(series: Series, value: float, sign: str = "*") -> str:
    """A value on an axis that holds all of them, and is wide enough for steady ones to lie close."""
    values = [*(point.value for point in series.points), *(level.value for level in series.levels)]
    middle = (min(values) + max(values)) / 2
    half = max(max(values) - middle, NARROWEST * abs(middle) / 2) or 1.0
    at = round((value - middle + half) / (2 * half) * (PLACES - 1))
    return f"|{' ' * at}{sign}{' ' * (PLACES - 1 - at)}|"
