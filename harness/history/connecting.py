"""A database of the history: connections that writers can share, its tables brought up to date, its errors in words."""

from __future__ import annotations

import contextlib
import importlib.resources
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
import alembic.script
import alembic.util
import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext

from harness.errors import HistoryError
from harness.history.tables import VERSION_TABLE

__all__ = ["Database"]

WAIT = 30
"""Seconds that a writer waits for the others."""
CONNECT = 5
"""Seconds to reach a server: a run that has ended must not hang on one that is gone."""
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
"""By the kind of database what we speak to it with, whichever driver a URL names: it may be one for other programs."""
LOCK = 0x6861726E657373
"""Of PostgreSQL's advisory locks the one under which tables are made."""


class Database:
    """A SQLite file or a PostgreSQL database. Raises `HistoryError` for any other URL, and where it has no driver."""

    def __init__(self, url: str) -> None:
        self._url = _url(url)
        self._ready = False
        if self._url.get_backend_name() == "sqlite":
            self._engine = sa.create_engine(self._url, poolclass=sa.NullPool, connect_args={"timeout": WAIT})
            sa.event.listen(self._engine, "connect", _as_sqlite_should_be)
            sa.event.listen(self._engine, "begin", _begin_sqlite)
        else:
            # A pooler before the server gives each transaction whatever session is free: statements that were prepared
            # there have the names of ours, and ours are not there.
            asked: dict[str, Any] = {"prepare_threshold": None}
            if "connect_timeout" not in self._url.query:
                asked["connect_timeout"] = CONNECT
            with self._told():
                self._engine = sa.create_engine(self._url, poolclass=sa.NullPool, connect_args=asked)
            sa.event.listen(self._engine, "begin", _begin_postgresql)

    def __str__(self) -> str:
        """Where it is, without the password, which may be among the parameters too."""
        return self._url.set(query={}).render_as_string(hide_password=True)

    @property
    def absent(self) -> bool:
        """Whether it is a file that is not there, or a database without our tables. To ask makes neither.

        Raises `HistoryError` where that can't be told.
        """
        file = self._url.database
        if self._url.get_backend_name() == "sqlite" and file and "uri" not in self._url.query:
            try:
                Path(file).stat()
            except FileNotFoundError:
                return True
            except OSError:
                pass  # the connection says what is wrong
        with self._told(), self._engine.connect() as connection, connection.begin():
            return _revision(connection) is None

    @contextmanager
    def connection(self, *, writes: bool = False) -> Iterator[sa.Connection]:
        """A connection in one transaction, which is undone where anything in it fails. Raises `HistoryError`."""
        with self._told():
            if not self._ready:
                self._prepare()
            with self._engine.connect().execution_options(writes=writes) as connection, connection.begin():
                yield connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Give what goes wrong inside as `HistoryError`, with the cause and its cure."""
        try:
            yield
        except (sa.exc.SQLAlchemyError, OSError, ImportError, alembic.util.CommandError) as error:
            raise HistoryError(f"the history store {self} {_cause(error)}") from error

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _prepare(self) -> None:
        """Make the tables, or bring them to this version's, one process at a time."""
        if self._url.get_backend_name() == "sqlite" and self._url.database:
            Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
        scripts = importlib.resources.files("harness.history") / "migrations"
        config = alembic.config.Config()
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        newest = alembic.script.ScriptDirectory.from_config(config).get_current_head()
        with self._engine.connect() as connection, connection.begin():
            if _revision(connection) == newest:
                self._ready = True
                return
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            if self._url.get_backend_name() == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
            config.attributes["connection"] = connection
            alembic.command.upgrade(config, "head")
        self._ready = True


def _revision(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def _url(text: str) -> sa.URL:
    """The URL of a database; a path without `://` is a SQLite file."""
    if "://" not in text:
        return sa.URL.create("sqlite", database=text)
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):  # the latter of a port that is no number
        raise HistoryError("the history store has no URL that can be read; write postgresql://user@host/name") from None
    driver = DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise HistoryError(
            f"the history store is of an unknown kind ({url.get_backend_name()}); give the path of a SQLite file or "
            "postgresql://user@host/database"
        )
    # Behind an @ of its own the rest of a password is taken for host, database or parameters, and those are told.
    if "@" in (url.host or "") or (url.password is not None and text.split(":", 2)[2].count("@") > 1):
        raise HistoryError(
            "the history store's URL has an @ too many; in a name, a password or behind the host it is written %40"
        )
    return url.set(drivername=driver)


def _as_sqlite_should_be(connection: Any, record: object) -> None:  # noqa: ARG001 (SQLAlchemy's event has both)
    # Transactions are begun by us: the driver would only begin one before the first change, too late to wait in line.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    if not connection.get_execution_options().get("writes"):
        connection.exec_driver_sql("BEGIN")
        return
    # With a log of its own (write-ahead) readers do not wait for writers; the file remembers it. To switch, SQLite does
    # not wait for its turn: where another process has the file, it or a later one switches.
    with contextlib.suppress(sa.exc.OperationalError):
        if connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete":
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    # A writer takes its turn now: two that read first and then want to write would each wait for the other.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_postgresql(connection: sa.Connection) -> None:
    # In the transaction, not as options of the connection, which a pooler before the server would refuse.
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WAIT}s'")
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{4 * WAIT}s'")


def _cause(error: BaseException) -> str:
    """What went wrong, and what helps, for the end of a sentence."""
    text = " ".join(str(getattr(error, "orig", None) or error).split())
    if isinstance(error, ImportError):
        return f"needs a driver: {text}; pip install 'inference-harness[history,postgres]'"
    if isinstance(error, alembic.util.CommandError):
        return f"was made by a newer harness ({text}); pip install --upgrade inference-harness"
    if "is full" in text or "No space left" in text:
        return f"has no room left ({text}); free some on its disk, then harness history --record RUN"
    if "locked" in text or "lock timeout" in text:
        return f"was kept by another process for {WAIT} s ({text}); end it, then harness history --record RUN"
    if "not a database" in text or "malformed" in text:
        return f"is damaged ({text}); move the file away, then harness history --record reports/*/run.json"
    if "readonly" in text or "read-only" in text or "unable to open" in text or "permission denied" in text.lower():
        return f"can't be opened or written ({text}); name one that may be, with --history"
    if isinstance(error, sa.exc.OperationalError):
        return f"can't be reached or used ({text}); check the URL and the server, then harness history --record RUN"
    return f"failed ({text}); the run is in its run.json: harness history --record RUN once it is mended"
