"""The history store, in a SQLite file and, where there is one, in a real PostgreSQL server."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("alembic", reason="the store needs the extra `history`")

import sqlalchemy as sa

from harness.errors import HistoryError
from harness.history.connecting import Database, _cause, _url
from harness.history.entries import Wanted, entry_of, refusal
from harness.history.folder import Found
from harness.history.sources import Sources
from harness.history.store import Store
from harness.history.tables import VERSION_TABLE, cases, metadata
from tests.cli_runs import IDENTITY, a_case
from tests.history_runs import a_day, days
from tests.postgres import a_server

ROOT = Path(__file__).parent.parent
WRITER = """
import sys
from harness.history.entries import entry_of
from harness.history.store import Store
from tests.history_runs import a_day

url, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sys.stdin.readline()
store = Store(url)
for number in range(first, first + count):
    print(store.record(entry_of(a_day(number, name=f"m{number % 7}"))), flush=True)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with a_server(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store."""
    if request.param == "sqlite":
        return str(tmp_path / "history.db")
    server: str = request.getfixturevalue("server")
    name = f"h{abs(hash(str(tmp_path))):x}"
    engine = sa.create_engine(server.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.rpartition("/")[0] + f"/{name}"


def test_what_was_recorded_comes_back(url: str) -> None:
    store, runs = Store(url), [entry_of(run) for run in days([0.0012, 0.0013, 0.0014])]
    assert store.entries(10) == ()
    assert [store.record(entry) for entry in runs] == [True, True, True]
    assert store.entries(10) == tuple(runs)
    assert store.known() == {(entry.run, entry.started, entry.commit) for entry in runs}
    store.close()
    assert Store(url).entries(10) == tuple(runs)


def test_the_same_run_is_kept_once(url: str) -> None:
    store, entry = Store(url), entry_of(a_day(1))
    assert store.record(entry)
    assert not store.record(entry)
    assert store.entries(10) == (entry,)


def test_two_machines_may_have_runs_of_one_name(url: str) -> None:
    """A run's id is a time and the number of a process, and containers count processes from one."""
    store, run = Store(url), a_day(1)
    here = entry_of(run)
    identity = {"cpu": {**IDENTITY, "cores": 64}}
    there = entry_of(dataclasses.replace(run, environment=dataclasses.replace(run.environment, hardware=identity)))
    assert store.record(here)
    assert store.record(there)
    assert {entry.cases[0].machine for entry in store.entries(1)} == {here.cases[0].machine, there.cases[0].machine}


def test_only_what_is_asked_for_is_read(url: str) -> None:
    store = Store(url)
    for number in range(1, 8):
        store.record(entry_of(a_day(number, name="a" if number % 2 else "b")))
    found = store.entries(2, Wanted(glob="a/*", metrics=["size"]))
    assert [entry.run[:10] for entry in found] == ["2026-01-05", "2026-01-07"]
    assert {(kept.case_id, value.metric) for e in found for kept in e.cases for value in kept.values} == {
        ("a/reference/cpu", "size")
    }
    assert store.entries(2, Wanted(glob="z/*")) == ()
    upto = store.entries(2, Wanted(glob="a/*"), a_day(5).started)
    assert [entry.run[:10] for entry in upto] == ["2026-01-03", "2026-01-05"]


def test_a_run_without_numbers_is_kept_too(url: str) -> None:
    store, entry = Store(url), dataclasses.replace(entry_of(a_day(1)), cases=())
    assert store.record(entry)
    assert not store.record(entry)


def test_more_cases_than_fit_into_one_query(url: str) -> None:
    run = dataclasses.replace(a_day(1), results=tuple(a_case(f"m{number}") for number in range(1201)))
    store, entry = Store(url), entry_of(run)
    assert store.record(entry)
    assert store.entries(1) == (entry,)


def test_writers_who_come_together_lose_nothing(url: str) -> None:
    """Eight processes write into a store that is not there yet, half of their runs the same as a neighbour's."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, url, str(1 + 4 * i), "8"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for i in range(8)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    said = [writer.communicate(timeout=240) for writer in writers]
    assert [error for _, error in said if error] == []
    added = [line for output, _ in said for line in output.split()]
    assert added.count("True") == 36
    assert added.count("False") == 64 - 36
    expected = [entry_of(a_day(number, name=f"m{number % 7}")) for number in range(1, 37)]
    assert Store(url).entries(100) == tuple(expected)


def test_a_writer_that_dies_leaves_nothing_behind(url: str) -> None:
    store, entry = Store(url), entry_of(a_day(1))
    broken = dataclasses.replace(entry.cases[0].values[-1], point=None)
    kept = dataclasses.replace(entry.cases[0], values=(*entry.cases[0].values[:-1], broken))
    with pytest.raises(HistoryError, match="failed"):
        store.record(dataclasses.replace(entry, cases=(kept,)))
    assert store.known() == set()
    assert store.record(entry)


def test_the_migrations_make_the_tables_that_the_code_declares(url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    database = Database(url)
    with database.connection() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []


def test_who_reads_makes_nothing_in_a_database_of_others(url: str, tmp_path: Path) -> None:
    """Nor a log of its own, which a SQLite file would keep for good; who may only read was refused."""
    engine = sa.create_engine(_url(url), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE theirs (id INTEGER)"))
    assert Store(url).absent
    found = Sources(tmp_path / "reports", tmp_path / "baselines", url).entries(10)
    assert found == Found(absent=str(Store(url)))
    assert sa.inspect(engine).get_table_names() == ["theirs"]
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
    store, entry = Store(url), entry_of(a_day(1))
    assert store.record(entry)
    assert not store.absent
    assert Sources(tmp_path / "reports", tmp_path / "baselines", url).entries(10) == Found((entry,))


def test_a_store_of_a_newer_harness_is_refused(url: str) -> None:
    store = Store(url)
    store.known()
    with Database(url).connection(writes=True) as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(HistoryError, match=r"was made by a newer harness .*pip install --upgrade"):
        Store(url).known()


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_nothing_is_prepared_on_the_server(url: str) -> None:
    """A pooler gives a session to several clients, whose prepared statements have the same names."""
    with Database(url).connection(writes=True) as connection:
        connection.execute(sa.insert(cases), [{"suite": "toys", "case_id": name} for name in ("a", "b")])
        assert connection.scalar(sa.text("SELECT count(*) FROM pg_prepared_statements")) == 0


def test_an_old_sqlite_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what the store needs, only rows that are returned by what changes them came after 3.26: with 3.35."""
    monkeypatch.setattr(sqlite3.dbapi2, "sqlite_version_info", (3, 26, 0))
    store, entry = Store(str(tmp_path / "history.db")), entry_of(a_day(1))
    asked: list[str] = []

    def note(connection: object, cursor: object, statement: str, *others: object) -> None:
        asked.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        assert store.record(entry)
        assert not store.record(entry)
        assert store.entries(10) == (entry,)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert any(statement.startswith("INSERT INTO harness_run") for statement in asked)
    assert [statement for statement in asked if "RETURNING" in statement] == []


def test_the_sql_of_the_document_tells_machines_and_questions_apart(tmp_path: Path) -> None:
    (sql,) = re.findall(r"^    SELECT .*?;$", (ROOT / "docs" / "history.md").read_text(), re.MULTILINE | re.DOTALL)
    store = Store(str(tmp_path / "history.db"))
    machines: set[str] = set()
    for number, (cores, suite, inputs) in enumerate(
        [(2, "digits", "11"), (64, "digits", "11"), (2, "digits", "12"), (2, "another", "11")], start=1
    ):
        case = a_case("digits", suite=suite, case_id="digits/onnxruntime/cpu", workload={"inputs": inputs})
        run = dataclasses.replace(a_day(number), results=(case,))
        identity = {"cpu": {**IDENTITY, "cores": cores}}
        run = dataclasses.replace(run, environment=dataclasses.replace(run.environment, hardware=identity))
        entry = entry_of(run)
        machines.add(entry.cases[0].machine)
        store.record(entry)
    with contextlib.closing(sqlite3.connect(tmp_path / "history.db")) as connection:
        found = connection.execute(sql).fetchall()
    lines = {(machine, unit, question) for machine, unit, question, *_ in found}
    assert len(lines) == len(found) == 3, "the other suite's case is another"
    assert {machine for machine, *_ in lines} == machines


def test_a_damaged_file_is_told_from_others(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    file.write_text("no database at all, whatever its name says\n" * 100)
    with pytest.raises(HistoryError, match=r"history\.db is damaged .*move the file away"):
        Store(str(file)).known()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    Store(str(file)).record(entry_of(a_day(1)))
    file.chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(HistoryError, match="can't be opened or written"):
            Store(str(file)).record(entry_of(a_day(2)))
    finally:
        tmp_path.chmod(0o700)


def test_a_writer_that_waited_in_vain_says_for_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.history.connecting.WAIT", 0.1)
    file = str(tmp_path / "history.db")
    Store(file).known()
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(HistoryError, match="was kept by another process"):
        Store(file).record(entry_of(a_day(1)))
    other.execute("ROLLBACK")
    other.close()
    assert Store(file).record(entry_of(a_day(1)))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("database or disk is full", "has no room left"),
        ("could not extend file: No space left on device", "has no room left"),
        ("database is locked", "was kept by another process for 30 s"),
        ("canceling statement due to lock timeout", "was kept by another process for 30 s"),
        ("connection refused", "can't be reached or used"),
    ],
)
def test_a_cause_has_its_own_cure(said: str, told: str) -> None:
    text = _cause(sa.exc.OperationalError("INSERT INTO harness_run", {}, Exception(said)))
    assert text.startswith(f"{told} ({said}); ")
    assert ("check the URL" in text) is (told == "can't be reached or used")
    assert text.endswith("harness history --record RUN")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2", "postgresql+asyncpg"])
def test_a_server_that_is_not_there_is_told_without_its_password(scheme: str) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(HistoryError) as caught:
        Store(f"{scheme}://someone:secret@127.0.0.1:1/runs").known()
    assert "can't be reached" in str(caught.value)
    assert "postgresql+psycopg://someone:***@127.0.0.1:1/runs" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_whichever_driver_a_url_names_ours_is_taken(tmp_path: Path) -> None:
    assert Store(f"sqlite+aiosqlite:///{tmp_path}/runs.db").record(entry_of(a_day(1)))
    with pytest.raises(HistoryError, match=r"postgresql\+psycopg://127\.0\.0\.1:1/runs"):
        Store("postgresql+psycopg2://127.0.0.1:1/runs").known()


def test_a_driver_that_can_t_be_imported_is_told_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """psycopg where there is no libpq: an error of its own ended `harness history` in a traceback."""
    (tmp_path / "psycopg.py").write_text("raise ImportError('no pq wrapper available')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "psycopg", raising=False)
    with pytest.raises(
        HistoryError, match=r"needs a driver: no pq wrapper available; pip install 'inference-harness\["
    ):
        Store("postgresql://127.0.0.1:1/runs")


def test_a_password_among_the_parameters_is_not_told() -> None:
    with pytest.raises(HistoryError) as caught:  # nobody listens there, or there is no driver
        Store("postgresql://127.0.0.1:1/runs?user=someone&password=secret").known()
    assert "postgresql+psycopg://127.0.0.1:1/runs" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://a:no@secret@host/x",
        "mysql://a:no@x/secret@host/x",
        "mysql://host/x?password=secret",
        "://",
        "postgresql://host:port/x",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(HistoryError) as caught:
        Store(url)
    assert "secret" not in str(caught.value)
    assert "postgresql://user@host/" in str(caught.value)


@pytest.mark.parametrize("password", ["no@secret", "no@x/secret", "no@secret/x", "no@x?a=secret", "no@secret?x"])
def test_half_a_password_is_not_taken_for_the_host(password: str) -> None:
    """Nor for the database or for parameters."""
    with pytest.raises(HistoryError, match="%40") as caught:
        Store(f"postgresql://someone:{password}@127.0.0.1:1/runs")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["a@host/x?application_name=b@c", "a:b%40c@host/x?user=b%40c", "a@server:b@host/x"])
def test_an_at_that_is_in_no_password_is_taken(url: str) -> None:
    assert _url(f"postgresql://{url}").host == "host"


def test_what_is_not_kept() -> None:
    run = a_day(1)
    assert refusal(run) == ""
    assert "did not finish" in refusal(dataclasses.replace(run, complete=False))
    assert "smoke test" in refusal(dataclasses.replace(run, mode="quick"))
    elsewhere = dataclasses.replace(run.environment, state={"at": "abc1234"})
    assert "another commit" in refusal(dataclasses.replace(run, environment=elsewhere))
    beside = dataclasses.replace(run.environment, state={"against": "HEAD"})
    assert "took turns with another tree" in refusal(dataclasses.replace(run, environment=beside))
