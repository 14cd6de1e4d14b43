"""The history store: runs in a SQLite file, or in a PostgreSQL database that a team shares.

A run is written in one transaction, under a key of its own, so that writers may come together and the same run twice.
Every method raises `HistoryError`, with the cause and its cure, where the database can't be reached, read or written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import islice

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from harness.history.connecting import Database
from harness.history.entries import EVERYTHING, Entry, Kept, Value, Wanted, ordered
from harness.history.tables import cases, measurements, metrics, results, runs

__all__ = ["Store"]

BATCH = 500
"""Cases in one query: old versions of SQLite take 999 parameters."""
NUMBERS = ("point", "low", "high", "launches", "relative", "question")


class Store:
    """The store at a URL. It is made, or brought to this version's tables, when it is used first."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def __str__(self) -> str:
        return str(self._database)

    @property
    def absent(self) -> bool:
        """Whether it is not made yet: no file, or a database without our tables. To ask makes none."""
        return self._database.absent

    def record(self, entry: Entry) -> bool:
        """Keep a run, whole or not at all. Gives False where it is there already."""
        with self._database.connection(writes=True) as connection:
            about = (entry.key, entry.run, entry.started, entry.commit, entry.dirty, entry.mode)
            row = dict(zip(("key", "name", "started", "commit", "dirty", "mode"), about, strict=True))
            adding = _insert(connection, runs).values(row).on_conflict_do_nothing(index_elements=["key"])
            # Counted, and asked for below: old versions of SQLite return nothing of what they insert.
            added = connection.execute(adding, execution_options={"preserve_rowcount": True}).rowcount == 1
            if added:
                run_id = connection.scalars(sa.select(runs.c.id).where(runs.c.key == entry.key)).one()
                _add_cases(connection, run_id, entry.cases)
            return added

    def known(self) -> set[tuple[str, str, str]]:
        """The id, the start and the commit of each run that is kept: two machines can share an id."""
        with self._database.connection() as connection:
            found = connection.execute(sa.select(runs.c.name, runs.c.started, runs.c.commit))
            return {(name, started, commit) for name, started, commit in found}

    def entries(self, last: int, wanted: Wanted = EVERYTHING, before: str = "") -> tuple[Entry, ...]:
        """The newest `last` values of each case and metric that is wanted, on each class of machine.

        They come as entries, oldest first, that hold what was asked for. `before` is a time, ISO 8601 in UTC: runs that
        started later are left out.
        """
        found: dict[int, dict[int, list[Value]]] = defaultdict(lambda: defaultdict(list))
        with self._database.connection() as connection:
            names = {row.id: (row.suite, row.case_id) for row in connection.execute(sa.select(cases))}
            units = {row.id: (row.name, row.unit, row.better) for row in connection.execute(sa.select(metrics))}
            chosen = [number for number, (name, _, _) in units.items() if wanted.metric(name)]
            for some in _batches(number for number, name in names.items() if wanted.case(*name)):
                for run_id, case_id, metric_id, *numbers in connection.execute(_newest(last, some, chosen, before)):
                    found[run_id][case_id].append(Value(*units[metric_id], *numbers))
            entries = [
                row
                for some in _batches(found)
                for row in connection.execute(sa.select(runs).where(runs.c.id.in_(some)))
            ]
            about = {
                (row.run_id, row.case_id): (row.machine, row.verdict)
                for some in _batches(found)
                for row in connection.execute(sa.select(results).where(results.c.run_id.in_(some)))
                if row.case_id in found[row.run_id]
            }
        return tuple(
            Entry(
                *(row.key, row.name, row.started, row.commit, row.dirty, row.mode),
                ordered(
                    Kept(*names[case_id], *about[row.id, case_id], tuple(values))
                    for case_id, values in found[row.id].items()
                ),
            )
            for row in sorted(entries, key=lambda row: (row.started, row.name))
        )

    def close(self) -> None:
        """Close every connection."""
        self._database.close()


def _add_cases(connection: sa.Connection, run_id: int, kept: Sequence[Kept]) -> None:
    values = [value for one in kept for value in one.values]
    case_ids = _ids(connection, cases, {(one.suite, one.case_id) for one in kept})
    metric_ids = _ids(connection, metrics, {(value.metric, value.unit, value.better) for value in values})
    lines, rows = [], []
    for one in kept:
        of = {"run_id": run_id, "case_id": case_ids[one.suite, one.case_id]}
        lines.append({**of, "machine": one.machine, "verdict": one.verdict})
        for value in one.values:
            metric = metric_ids[value.metric, value.unit, value.better]
            rows.append({**of, "metric_id": metric, **{name: getattr(value, name) for name in NUMBERS}})
    for table, added in ((results, lines), (measurements, rows)):
        if added:
            connection.execute(sa.insert(table), added)


def _ids(connection: sa.Connection, table: sa.Table, wanted: Collection[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    """The ids of the rows with these values behind the id; rows that are not there are added."""
    names = [column.name for column in table.columns][1:]
    found = _known(connection, table)
    # Sorted, since of two writers that add the same rows in different orders each would wait for the other.
    added = [dict(zip(names, row, strict=True)) for row in sorted(set(wanted) - found.keys())]
    if not added:
        return found
    connection.execute(_insert(connection, table).on_conflict_do_nothing(), added)
    return _known(connection, table)


def _known(connection: sa.Connection, table: sa.Table) -> dict[tuple[str, ...], int]:
    return {tuple(row[1:]): row[0] for row in connection.execute(sa.select(table))}


def _insert(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def _newest(last: int, case_ids: Sequence[int], metric_ids: Sequence[int], before: str) -> sa.Executable:
    """The newest values of these cases and metrics, so many for each class of machine, up to a time if one is given."""
    place = sa.func.row_number().over(
        partition_by=(measurements.c.case_id, measurements.c.metric_id, results.c.machine),
        order_by=(runs.c.started.desc(), runs.c.id.desc()),
    )
    same = sa.and_(results.c.run_id == measurements.c.run_id, results.c.case_id == measurements.c.case_id)
    ranked = (
        sa.select(measurements, place.label("place"))
        .join(results, same)
        .join(runs, runs.c.id == measurements.c.run_id)
        .where(measurements.c.case_id.in_(case_ids), measurements.c.metric_id.in_(metric_ids))
        .where(runs.c.started <= before if before else sa.true())
        .subquery()
    )
    columns = [ranked.c[name] for name in ("run_id", "case_id", "metric_id", *NUMBERS)]
    return sa.select(*columns).where(ranked.c.place <= last)


def _batches(numbers: Iterable[int]) -> Iterable[list[int]]:
    left = iter(numbers)
    while some := list(islice(left, BATCH)):
        yield some
