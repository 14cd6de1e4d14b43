"""What the options of the plugin come to."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from _pytest.config.argparsing import Parser

from harness.plugin import pytest_configure
from harness.plugin.folders import import_folders
from harness.plugin.options import add_options, command_of, pytest_load_initial_conftests
from harness.settings import Against


def command(*arguments: str | Path, addopts: Sequence[str] = ()) -> str:
    parser = Parser(_ispytest=True)
    add_options(parser)
    options = parser.parse_known_args([*addopts, *(str(word) for word in arguments if word != "--history")])
    config = SimpleNamespace(
        invocation_params=SimpleNamespace(args=arguments), getoption=lambda name: getattr(options, name)
    )
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


def test_paths_are_words_of_the_command_where_code_calls_pytest() -> None:
    assert command(Path("suites"), "--history", Path("team/runs.db")) == "pytest suites --history team/runs.db"


@pytest.mark.parametrize(
    ("addopts", "typed", "kept"),
    [
        (("--baselines", "golden", "--reports=out"), ("suites",), "--baselines=golden --reports=out suites"),
        (("--baseline-rev=v1", "--plan", "seconds=2"), ("suites",), "--baseline-rev=v1 suites"),
        (("--baselines=golden",), ("suites", "--baselines", "mine"), "suites --baselines mine"),
        (("--reports=out",), ("--reports=mine",), "--reports=mine"),
    ],
)
def test_the_command_says_by_which_baselines_a_run_went_that_a_setting_named(
    addopts: tuple[str, ...], typed: tuple[str, ...], kept: str
) -> None:
    """Else the command of its report wrote a second baseline, into the usual folder."""
    assert command(*typed, addopts=addopts) == f"pytest {kept}"


@pytest.mark.parametrize(
    ("package", "kept"),
    [
        ("git+https://user:SECRET@host/x@v1", "git+https://***@host/x@v1"),
        ("mine @ git+https://SECRET@host:443/x@v1", "mine @ git+https://***@host:443/x@v1"),
        ("mine @ http://SECRET:x-oauth-basic@host/x.whl", "mine @ http://***@host/x.whl"),
        ("mine @ https://user:se@SECRET@host/x.whl", "mine @ https://***@host/x.whl"),
        ("git+ssh://user:SECRET@host/x@v1", "git+ssh://user:***@host/x@v1"),
        ("git+ssh://git@host:22/x@v1", "git+ssh://git@host:22/x@v1"),
        ("mine @ https://host:8080/x@v1", "mine @ https://host:8080/x@v1"),
        ("mine[more]==1.0", "mine[more]==1.0"),
    ],
)
def test_no_password_of_a_package_is_kept(package: str, kept: str) -> None:
    """Nor a token, which may stand where a name does."""
    words = ["pytest", "--against-with", kept, "--history"]
    assert shlex.split(command("--against-with", package, "--history")) == words
    assert shlex.split(command(f"--against-with={package}")) == ["pytest", f"--against-with={kept}"]
    against = Against("HEAD", packages=("a==1", package))
    assert str(against) == f"HEAD with a==1 with {kept}"
    assert against.told.options[-1] == kept
    assert against.options[-1] == package, "it is what pip is given"


@pytest.mark.parametrize("own", [{}, {"dest": "fast"}], ids=["the same name", "another dest"])
def test_an_option_that_a_project_has_as_well_names_the_plugin(own: dict[str, str]) -> None:
    """Of a conftest, and of a plugin that comes before this one."""
    words = "the plugin of inference-harness has this option; rename the project's, or .* -p no:harness"
    parser = Parser(_ispytest=True)
    add_options(parser)
    hook = pytest_load_initial_conftests(parser)
    next(hook)
    with pytest.raises((ValueError, argparse.ArgumentError), match="quick") as caught:
        parser.addoption("--quick", action="store_true", **own)
    with pytest.raises(pytest.UsageError, match=words):
        hook.throw(caught.value)
    first = Parser(_ispytest=True)
    first.addoption("--quick", action="store_true", **own)
    with pytest.raises(pytest.UsageError, match=words):
        add_options(first)


def configure(*arguments: str) -> None:
    """What the plugin does with these words when pytest starts."""
    parser = Parser(_ispytest=True)
    add_options(parser)
    options = parser.parse_known_args(list(arguments))
    config = SimpleNamespace(getoption=lambda name: getattr(options, name), addinivalue_line=lambda *_: None)
    pytest_configure(config)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--plan", "speed=3"), "no 'speed' in a plan"),
        (("--plan", "seconds=soon"), "'soon' is no float"),
        (("--plan", "seconds=-1"), "seconds must be a positive number"),
        (("--jobs=0",), "--jobs 0: give 1 or more"),
        (("--baseline=update",), "--baseline=update needs --reason"),
        (("--baseline=update", "--reason", "right", "--quick"), "--baseline=update and --quick: a baseline is made of"),
        (
            ("--baseline=update", "--reason", "right", "--baseline-rev", "v1"),
            "and --baseline-rev: a baseline is made of",
        ),
        (("--baseline=strict", "--quick"), "so it does not go with --baseline=strict"),
        (("--quick", "--baseline=compare"), "--quick gives no verdicts, so it does not go with --baseline=compare"),
        (("--at", "HEAD"), "needs --against REV"),
        (("--against", "HEAD", "--resume"), "--resume does not go with --against"),
        (("--against", "HEAD", "--baseline=update", "--reason", "right"), "goes with neither"),
        (("--against", "HEAD", "--plan", "confirm=0"), "could call no case slower"),
        (("--against", "HEAD", "--against-tolerance", "5"), "--against-tolerance: '5' is no share"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(pytest.UsageError) as caught:
        configure(*arguments)
    assert words in str(caught.value)


def test_another_error_of_a_conftest_is_left_as_it_is() -> None:
    parser = Parser(_ispytest=True)
    add_options(parser)
    hook = pytest_load_initial_conftests(parser)
    next(hook)
    with pytest.raises(ValueError, match=r"^option dest 'fast' already used by 'quicker'$"):
        hook.throw(ValueError("option dest 'fast' already used by 'quicker'"))


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
    after_the_project = (".", *found) if found else ()
    for mode, expected in (("prepend", found), ("append", after_the_project), ("importlib", ())):
        config = SimpleNamespace(rootpath=tmp_path, getoption={"importmode": mode}.get)
        assert import_folders(config, [tmp_path / file] * 2) == expected  # type: ignore[arg-type]
