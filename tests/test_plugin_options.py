"""What the options of the plugin come to."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.plugin.folders import import_folders
from harness.plugin.options import command_of


def command(*arguments: str) -> str:
    config = SimpleNamespace(invocation_params=SimpleNamespace(args=arguments))
    return command_of(config)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("postgresql://u:secret@h/db", "postgresql://***"),
        ("postgresql://u:se/cret@h/db", "postgresql://***"),
        ("postgresql://u:se@cret@h/db", "postgresql://***"),
        ("postgresql://u:se cret@h/db", "postgresql://***"),
        ("postgresql+psycopg://h/db?user=u&password=secret", "postgresql+psycopg://***"),
        ("postgresql://u@h:5432/db", "postgresql://u@h:5432/db"),
        ("team/runs.db", "team/runs.db"),
        ("off", "off"),
    ],
)
def test_the_command_that_is_kept_has_no_password_of_a_store(url: str, kept: str) -> None:
    assert shlex.split(command("suites", "--history", url, "-q")) == ["pytest", "suites", "--history", kept, "-q"]
    assert shlex.split(command(f"--history={url}", "suites")) == ["pytest", f"--history={kept}", "suites"]


def test_no_password_of_a_package_is_kept() -> None:
    kept = command("--against-with", "git+https://user:token@host/x@v1", "--history")
    assert shlex.split(kept) == ["pytest", "--against-with", "git+https://user:***@host/x@v1", "--history"]


@pytest.mark.parametrize(
    ("made", "file", "found"),
    [
        ([], "suites/test_a.py", ("suites",)),
        (["suites/__init__.py"], "suites/test_a.py", ()),
        (["ml/suites/__init__.py"], "ml/suites/test_a.py", ("ml",)),
        (["ml/suites/__init__.py", "ml/suites/deep/__init__.py"], "ml/suites/deep/test_a.py", ("ml",)),
        (["ml-1/__init__.py"], "ml-1/test_a.py", ("ml-1",)),
        (["ml/conftest.py"], "ml/suites/test_a.py", ("ml/suites", "ml")),
        (["conftest.py"], "test_a.py", ()),
        (["__init__.py", "suites/__init__.py"], "suites/test_a.py", ()),
    ],
)
def test_the_folders_that_pytest_imports_from_by_itself(
    tmp_path: Path, made: list[str], file: str, found: tuple[str, ...]
) -> None:
    for name in [*made, file]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for mode, expected in (("prepend", found), ("append", found), ("importlib", ())):
        config = SimpleNamespace(rootpath=tmp_path, getoption={"importmode": mode}.get)
        assert import_folders(config, [tmp_path / file] * 2) == expected  # type: ignore[arg-type]
