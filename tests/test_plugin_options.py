"""What the options of the plugin come to."""

from __future__ import annotations

import shlex
from types import SimpleNamespace

import pytest

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
