"""The other arm's interpreter: what it sees, and when it is made anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness.errors import SuiteError
from harness.files import owned
from harness.measure import interpreter
from harness.measure.interpreter import PINNED, names_of, python_with

VERSION = ["3.11.9 (main)", "/usr/bin/python3.11"]
SITES = [
    "/env/lib/python3.11/site-packages",
    "/me/.local/lib/python3.11/site-packages",
    "/usr/lib/python3/dist-packages",
]


@pytest.fixture
def installs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The requirements that were installed, each time: no environment is made, and no package is fetched."""
    found: list[list[str]] = []

    def run(command: list[str]) -> str:
        if "venv" in command:
            (Path(command[-1]) / "site-packages").mkdir(parents=True)
        if "pip" in command:
            found.append(command[command.index("--disable-pip-version-check") + 1 :])
        if "sys.path" in command[-1]:
            return json.dumps([VERSION, ["", "/usr/lib/python311.zip", "/usr/lib/python3.11", *SITES]])
        return f"{Path(command[0]).parent.parent / 'site-packages'}\n"

    monkeypatch.setattr(interpreter, "_run", run)
    return found


@pytest.mark.parametrize(
    ("requirement", "pinned"),
    [
        ("onnxruntime==1.30.0", True),
        ("onnx-runtime_gpu[cuda, cudnn] == 1.30.0+cu12", True),
        ("onnxruntime", False),
        ("onnxruntime<1.31", False),
        ("onnxruntime==1.30.*", False),
        ("onnxruntime==1.30.0,!=1.30.1", False),
        ("./dist/mine-1.0-py3-none-any.whl", False),
        ("mine @ file:///dist/mine-1.0.whl", False),
        ("git+https://example.org/mine@main", False),
        ("git+https://example.org/mine@v==1", False),
    ],
)
def test_a_requirement_of_one_version_is_known(requirement: str, pinned: bool) -> None:
    assert bool(PINNED.fullmatch(requirement)) is pinned


def test_the_names_of_what_is_asked_for_are_known() -> None:
    named = (
        "onnx-runtime_gpu[cuda, cudnn] == 1.30.0",
        "mine @ file:///dist/mine-1.0.whl",
        "a<2",
        "b",
        "c; extra == 'x'",
    )
    nameless = ("./dist/mine-1.0-py3-none-any.whl", "dist/mine", "git+https://example.org/mine@main", "file:///mine")
    assert names_of((*named, *nameless)) == ("onnx-runtime_gpu", "mine", "a", "b", "c")


def test_what_names_one_version_is_installed_once(tmp_path: Path, installs: list[list[str]]) -> None:
    first = python_with(("a==1", "b==2"), tmp_path)
    assert python_with(("b==2", "a==1"), tmp_path) == first
    assert installs == [["a==1", "b==2"]]
    assert python_with(("a==1", "b==3"), tmp_path) != first


def test_a_session_waits_for_the_environment_that_another_one_makes(
    tmp_path: Path, installs: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It removed what the other one was installing into, and one of them ended with half of it."""
    run, found = interpreter._run, list[str]()
    other = threading.Thread(target=lambda: found.append(python_with(("a==1",), tmp_path)))

    def slow(command: list[str]) -> str:
        if "pip" in command and other.ident is None:
            other.start()
            other.join(0.5)  # where it does not wait, it has made its own by then
            (Path(command[0]).parent.parent / "of-the-first").touch()
        return run(command)

    monkeypatch.setattr(interpreter, "_run", slow)
    made = python_with(("a==1",), tmp_path)
    other.join(60)
    assert found == [made]
    assert installs == [["a==1"]]
    assert (Path(made).parent.parent / "of-the-first").exists()


def test_what_may_be_something_else_tomorrow_is_installed_for_each_run(
    tmp_path: Path, installs: list[list[str]]
) -> None:
    """And at another path, since artefacts that it made are kept by the path of their interpreter."""
    packages = ("a==1", "./dist/mine.whl")
    first, again = python_with(packages, tmp_path), python_with(packages, tmp_path)
    assert first != again
    assert installs == [list(packages)] * 2


def test_of_those_none_outlives_the_next_one_but_where_its_run_goes_on(
    tmp_path: Path, installs: list[list[str]]
) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    mine = tmp_path / f"{owned('once')}x"
    gone = tmp_path / mine.name.replace(str(os.getpid()), str(done.pid), 1)
    kept = Path(python_with(("a==1",), tmp_path)).parent.parent
    for folder in (gone, mine):
        folder.mkdir()
    made = Path(python_with(("a<2",), tmp_path)).parent.parent
    assert set(tmp_path.iterdir()) == {mine, kept, tmp_path / f".{kept.name}.lock", made}


def test_everything_that_the_interpreter_sees_is_seen(tmp_path: Path, installs: list[list[str]]) -> None:
    made = Path(python_with(("a==1",), tmp_path)).parent.parent
    lines = (made / "site-packages" / "zz_underneath.pth").read_text().splitlines()
    assert lines == [f"import site; site.addsitedir({path!r})" for path in SITES]
    assert len(installs) == 1


def test_an_interpreter_that_sees_something_else_has_an_environment_of_its_own(
    tmp_path: Path, installs: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = python_with(("a==1",), tmp_path)
    monkeypatch.setattr(f"{__name__}.SITES", SITES[:1])
    assert python_with(("a==1",), tmp_path) != first
    assert len(installs) == 2


def test_no_password_of_a_package_is_told_where_it_can_not_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "raise SystemExit(1)", "mine @ git+HTTPS://user:SECRET@host/x@v1"]
    with pytest.raises(SuiteError, match=r"can't be made: .*git\+HTTPS://\*\*\*@host/x@v1$"):
        interpreter._run(command)
    monkeypatch.setattr(interpreter, "INSTALL_SECONDS", 0.001)
    with pytest.raises(SuiteError, match=r"environment: .*HTTPS://\*\*\*@host/x@v1.*timed out"):
        interpreter._run(command)


@pytest.mark.parametrize("other", [["3.12.4 (main)", VERSION[1]], [VERSION[0], "/opt/bin/python3.11"]])
def test_an_interpreter_that_became_another_one_has_an_environment_of_its_own(
    tmp_path: Path, installs: list[list[str]], monkeypatch: pytest.MonkeyPatch, other: list[str]
) -> None:
    """At the path of before, and with folders whose names tell no version, as Debian's: it saw none of its packages."""
    first = python_with(("a==1",), tmp_path)
    monkeypatch.setattr(f"{__name__}.VERSION", other)
    assert python_with(("a==1",), tmp_path) != first
    assert installs == [["a==1"]] * 2


def test_an_interpreter_is_asked_for_its_version_and_the_folders_of_installed_packages() -> None:
    version, found = interpreter._described(sys.executable)
    assert version == [sys.version, vars(sys)["_base_executable"]]
    assert found
    assert set(found) <= set(sys.path)
