"""A PostgreSQL server on this machine alone, in a folder that goes away with the test."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["a_server"]

UNPRIVILEGED = "nobody"
"""The server refuses to run as root."""


@contextlib.contextmanager
def a_server(folder: Path) -> Iterator[str]:
    """The URL of a running server's database; skips the test where there is no server or no driver here."""
    pytest.importorskip("psycopg", reason="PostgreSQL needs the extra `postgres`")
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed (on Debian and Ubuntu: apt-get install postgresql)")
    user = pwd.getpwnam(UNPRIVILEGED).pw_uid if os.geteuid() == 0 else None
    # Not below the test's folder: a socket's path may have 107 bytes, and pytest's folders are closed to other users.
    home = Path(tempfile.mkdtemp(prefix="pg"))
    if user is not None:
        os.chown(home, user, -1)

    def run(name: str, *arguments: str) -> None:
        command = [str(programs / name), *arguments]
        with (folder / f"{name}.log").open("ab") as log:
            subprocess.run(command, stdout=log, stderr=log, check=True, timeout=120, cwd=home, user=user)

    data, port = home / "data", _free_port()
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {home}"
    try:
        run("initdb", "-D", str(data), "-U", "harness", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")
        run("pg_ctl", "-D", str(data), "-l", str(home / "log"), "-o", options, "-w", "start")
        try:
            yield f"postgresql://harness@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _programs() -> Path | None:
    """Where initdb and pg_ctl are: on the path, or where Debian puts them."""
    found = shutil.which("pg_ctl")
    if found:
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    return installed[-1].parent if installed else None


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
