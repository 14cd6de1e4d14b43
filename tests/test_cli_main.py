"""The command itself: version, help, errors as sentences, pipes that close."""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.cli import output
from harness.cli.main import main
from tests.bare import run_bare
from tests.cli_runs import a_case, on_disk
from tests.history_runs import STEP, days

COMMANDS = ("report", "export", "compare", "bisect", "calibrate", "accept", "prune", "doctor")
CALLS = "import json, sys; from harness.cli.main import main; print([main(words) for words in json.loads(sys.argv[1])])"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"harness {version('inference-harness')}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert f"usage: harness {command}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["measure"], ["compare", "one"], ["accept"], ["report", "x", "--outp", "y"]])
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: harness" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["report", "{}"], ["compare", "{}", "{}"], ["accept", "--from", "{}", "--reason", "x"], ["prune", "--from", "{}"]],
)
def test_errors_are_sentences(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word.format(tmp_path / "nothing\x1b[31m") for word in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("harness: ")
    assert "there is no run here" in printed.err
    assert "\x1b" not in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(
    "arguments",
    [["optimize", "test_gone.py", "--model", "tiny"], ["calibrate"], ["compare", "--against", "HEAD"]],
)
def test_what_measures_names_the_system_on_which_it_can_not(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before it looks at a suite, or makes a file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.measure.environment.sys", SimpleNamespace(platform="win32"))
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("harness: cases are measured on Linux, and this is win32: memory and")
    assert not [*tmp_path.iterdir()]


def test_a_full_disk_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["report", on_disk(tmp_path, "run", [a_case("a")]), "--output", str(blocked / "inside")]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    old = on_disk(tmp_path, "old", [a_case(f"m{number}") for number in range(300)])
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "harness.cli.main", "compare", old, old, "--json"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard output is a pipe whose reader has left."""
    read, write = os.pipe()
    os.close(read)
    stream = io.TextIOWrapper(io.BufferedWriter(io.FileIO(write, "w")), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    yield
    stream.close()


@pytest.mark.parametrize("words", [[], ["--json"]])
@pytest.mark.parametrize("cases", [1, 60])
@pytest.mark.parametrize(("size", "code"), [(1e6, 0), (3e6, 1)])
def test_a_reader_that_leaves_early_changes_no_exit_code(
    tmp_path: Path, closed: None, words: list[str], cases: int, size: float, code: int
) -> None:
    old = on_disk(tmp_path, "old", [a_case(f"m{number}") for number in range(cases)])
    new = on_disk(tmp_path, "new", [a_case(f"m{number}", size=size) for number in range(cases)])
    assert main(["compare", old, new, *words]) == code


def test_nor_does_one_of_the_history(tmp_path: Path, closed: None) -> None:
    for run in days(STEP):
        on_disk(tmp_path / "reports", run.id, run.results, started=run.started)
    assert main(["history", "--reports", str(tmp_path / "reports"), "--history", "off", "--json"]) == 0


def test_what_a_broken_pipe_ends_is_not_green(closed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(arguments: argparse.Namespace) -> int:
        raise BrokenPipeError

    monkeypatch.setattr("harness.cli.doctor.doctor", broken)
    assert main(["doctor"]) == 141


@pytest.mark.parametrize("encoding", ["iso-8859-1", "ascii:surrogateescape"])
def test_what_the_terminals_encoding_lacks_is_replaced(tmp_path: Path, encoding: str) -> None:
    for run in days(STEP):
        on_disk(tmp_path / "reports", run.id, run.results, started=run.started)
    command = [sys.executable, "-m", "harness.cli.main", "history", "--history", "off"]
    variables = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"toys/a/reference/cpu")
    assert b"??" in done.stdout
    assert done.stderr == b""


NO_UNIX = 'import sys; sys.modules.update(dict.fromkeys(["fcntl", "grp", "pwd", "resource", "termios", "tty"]))\n'
"""Takes away what Windows has not, where runs are read, judged and drawn as well."""


def test_every_command_starts_with_the_base_install(tmp_path: Path) -> None:
    run = on_disk(tmp_path, "run", [a_case("a")])
    baselines = str(tmp_path / "baselines")
    commands = [
        ["report", run, "--output", str(tmp_path / "drawn")],
        ["compare", run, run],
        ["accept", "--from", run, "--reason", "first", "--baselines", baselines],
        ["prune", "--from", run, "--baselines", baselines],
    ]
    done = run_bare(NO_UNIX + CALLS, json.dumps(commands))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 0]", done.stderr
    assert (tmp_path / "drawn" / "index.html").is_file()


def test_no_colour_for_files_or_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert output.coloured()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not output.coloured()
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert not output.coloured()
    assert output.width() == output.PLAIN_WIDTH
