"""pytest as a process of a command: its exit code, its output, and an interrupt that lets it end in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.cli.running import LOG, measured, run_pytest
from harness.files import point_latest
from tests.cli_runs import on_disk

CALL = "import sys; from harness.cli.running import run_pytest; sys.exit(run_pytest(sys.argv[1:]))"


def test_its_exit_code_and_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test_a.py").write_text("def test_good(): pass\ndef test_bad(): assert 1 == 2\n")
    (tmp_path / "pytest.py").write_text("raise SystemExit('the wrong pytest')")
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "logs" / "pytest.log"
    assert run_pytest(["test_a.py", "-p", "no:cacheprovider"], log) == 1
    assert "1 failed, 1 passed" in log.read_text()
    assert run_pytest(["test_a.py", "-k", "good", "-p", "no:cacheprovider"], log) == 0
    assert log.read_text().count("test session starts") == 2


def test_a_run_that_never_began_has_no_record_whatever_ran_before(tmp_path: Path) -> None:
    before = on_disk(tmp_path, "before", [])
    point_latest(Path(before))
    assert measured(["--no-such-option"], tmp_path) is None
    assert "no-such-option" in (tmp_path / LOG).read_text()


def test_a_run_is_told_from_those_that_other_commands_make_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two bisects in one checkout read each other's runs: each took the latest one for its own."""
    made = iter([("2026-01-01_000000_111", "2026-01-01_000001_222"), ("2026-01-01_000002_222",)])

    def ended(*_: object) -> SimpleNamespace:
        for name in next(made):
            point_latest(Path(on_disk(tmp_path, name, [])))
        return SimpleNamespace(pid=111)

    monkeypatch.setattr("harness.cli.running._ended", ended)
    run = measured([], tmp_path)
    assert run is not None
    assert run.id == "2026-01-01_000000_111"
    assert measured([], tmp_path) is None, "its pytest came to no run"


def begun(tmp_path: Path) -> subprocess.Popen[str]:
    """A command whose pytest runs a long test. Both write into its pipe."""
    (tmp_path / "test_a.py").write_text(
        "import pathlib, time\ndef test_long():\n    pathlib.Path('begun').touch()\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", CALL, "test_a.py", "-p", "no:cacheprovider"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    end = time.monotonic() + 30
    while not (tmp_path / "begun").exists() and time.monotonic() < end:
        time.sleep(0.05)
    return process


def test_an_interrupted_command_lets_pytest_end(tmp_path: Path) -> None:
    process = begun(tmp_path)
    os.kill(process.pid, signal.SIGINT)
    text, _ = process.communicate(timeout=30)
    assert "no tests ran" in text  # pytest's last line: it came to its end
    assert "test_a.py:4: KeyboardInterrupt" in text
    assert process.returncode != 0


def test_a_killed_command_takes_pytest_along(tmp_path: Path) -> None:
    """It measured on, and disturbed what ran next."""
    process = begun(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    text, _ = process.communicate(timeout=30)  # the pipe has an end when pytest is gone as well
    assert "no tests ran" in text
    assert process.returncode == -signal.SIGKILL
