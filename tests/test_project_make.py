"""`make suites` and its relations, with a Python that only writes down what it was asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("bash", "sh", "cat", "command", "echo", "readlink", "touch", "rm", "mkdir", "ln", "printf", "make")

PYTHON = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$*" in
  "-m venv"*) mkdir -p .venv/bin; cat "$0" > .venv/bin/python; chmod +x .venv/bin/python;;
  "-c import ensurepip"*) exit $ENSUREPIP;;
  "-c import sys"*) exit $OLD;;
  "-c import platform"*) echo 3.11.7;;
  "-m pytest tests"*"-m not alone"*) exit $BESIDE;;
  "-m pytest tests"*"-m alone"*) exit $ALONE;;
  "-m pytest suites"*) mkdir -p reports/run; echo > reports/run/index.html; ln -sfn $RUN reports/latest; exit $PYTEST;;
esac
"""


class Project:
    """A folder with our Makefile, and a machine that has nothing but what a test gives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        self.folder.mkdir()
        self.bin.mkdir()
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.folder)
        for tool in (*TOOLS, "chmod"):
            found = shutil.which(tool)
            if found:
                (self.bin / tool).symlink_to(found)
        self.tool("python3", PYTHON)
        self.tool("g++", "#!/bin/sh\n")
        self.variables = {"ENSUREPIP": "0", "OLD": "0", "PYTEST": "0", "RUN": "run", "BESIDE": "0", "ALONE": "0"}

    def tool(self, name: str, script: str) -> None:
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.variables, "PATH": str(self.bin), "CALLS": str(self.calls), "HOME": os.devnull}
        return subprocess.run(
            ["make", *arguments], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )

    def asked(self) -> list[str]:
        """What Python was asked since the last look, without the questions about itself."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return [line for line in lines if not line.startswith("-c")]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    return Project(tmp_path)


def test_suites_from_nothing(project: Project) -> None:
    done = project.make("suites", "ARGS=-k digits")
    assert done.returncode == 0, done.stderr
    venv, install, fetch, suites = project.asked()
    assert venv == "-m venv .venv"
    assert install.endswith("-c constraints.txt --editable .[suites]")
    assert fetch == "-m suites.fetch"
    assert suites == "-m pytest suites/ -k digits"
    assert f"the report is {project.folder}/reports/run/index.html" in done.stdout


def test_what_is_installed_is_installed_once(project: Project) -> None:
    project.make("suites")
    project.asked()
    project.make("suites")
    assert project.asked() == ["-m suites.fetch", "-m pytest suites/"]
    later = (project.folder / ".venv" / ".suites").stat().st_mtime + 10
    os.utime(project.folder / "constraints.txt", (later, later))
    project.make("suites")
    assert len(project.asked()) == 3


def test_a_python_that_is_named_replaces_an_environment_of_another_version(project: Project) -> None:
    """`make PYTHON=python3.13 test` tested with the old one, without a word."""
    project.tool("another", PYTHON.replace("3.11.7", "3.13.1"))
    project.make("suites", "PYTHON=python3")
    project.asked()
    project.make("suites", "PYTHON=python3")
    assert project.asked() == ["-m suites.fetch", "-m pytest suites/"]
    project.make("suites", "PYTHON=another")
    venv, install, *_ = project.asked()
    assert venv == "-m venv --clear .venv"
    assert install.endswith("--editable .[suites]")
    for arguments in (["PYTHON=another"], []):
        project.make("suites", *arguments)
        assert project.asked() == ["-m suites.fetch", "-m pytest suites/"]
    assert "python9 is missing or older" in project.make("suites", "PYTHON=python9").stderr


def test_an_environment_that_was_copied_is_made_for_its_new_folder(project: Project) -> None:
    project.make("suites")
    (project.folder / ".venv" / ".root").write_text("/somewhere/else\n")
    project.asked()
    project.make("suites")
    assert project.asked()[0] == "-m venv .venv"


def test_a_red_run_still_says_where_the_report_is(project: Project) -> None:
    project.variables["PYTEST"] = "1"
    done = project.make("suites")
    assert done.returncode != 0
    assert "Error 1" in done.stderr
    assert "the report is" in done.stdout


def test_an_older_report_is_not_shown_for_a_run_that_did_not_happen(project: Project) -> None:
    project.make("suites")
    project.variables["PYTEST"] = "4"
    done = project.make("suites")
    assert "Error 4" in done.stderr
    assert "there is no report" in done.stdout


def test_without_a_compiler_the_compiled_cases_are_left_out(project: Project) -> None:
    (project.bin / "g++").unlink()
    done = project.make("suites")
    assert project.asked()[-1] == "-m pytest suites/ --allow-unavailable=compiled --allow-unavailable=aotinductor"
    assert "no C++ compiler" in done.stdout
    project.tool("clang++", "#!/bin/sh\n")
    project.make("suites")
    assert project.asked()[-1] == "-m pytest suites/"


def test_a_compiler_that_cxx_names_and_is_not_there_is_not_replaced(project: Project) -> None:
    """Nor is it by the harness: each compiled case was missing, and the run red, where c++ was there beside it."""
    project.tool("c++", "#!/bin/sh\n")
    for named, options in (
        ("no-such", " --allow-unavailable=compiled --allow-unavailable=aotinductor"),
        ("ccache g++", " --allow-unavailable=compiled --allow-unavailable=aotinductor"),
        ("c++", ""),
    ):
        project.variables["CXX"] = named
        done = project.make("suites")
        assert project.asked()[-1] == f"-m pytest suites/{options}"
        assert (f"to have them: unset CXX, which names no program here: {named})" in done.stdout) is bool(options)


def test_tests_and_linters(project: Project) -> None:
    assert project.make("lint", "test").returncode == 0
    asked = project.asked()
    assert asked[1].endswith("--editable .[dev]")
    assert asked[2:5] == ["-m ruff check .", "-m ruff format --check .", "-m mypy"]
    beside_each_other = "-m pytest tests/ -n 2 --dist loadfile --no-loadscope-reorder -m not alone"
    assert asked[5:] == ["-m suites.fetch", beside_each_other, "-m pytest tests/ -m alone"]
    project.make("suites")
    assert not any("pip" in line for line in project.asked())


@pytest.mark.parametrize(
    ("beside", "alone", "code"),
    [("0", "5", 0), ("5", "0", 0), ("5", "5", 5), ("5", "1", 1), ("1", "0", 1), ("0", "1", 1)],
)
def test_arguments_may_select_from_one_half_of_the_tests(project: Project, beside: str, alone: str, code: int) -> None:
    project.variables |= {"BESIDE": beside, "ALONE": alone}
    done = project.make("test", 'ARGS=-k "this or that"')
    assert (f"Error {code}" in done.stderr) == (code != 0), done.stderr
    assert (done.returncode != 0) == (code != 0)
    halves = [line for line in project.asked() if line.startswith("-m pytest")]
    assert len(halves) == (1 if beside == "1" else 2)
    assert all(line.endswith("-k this or that") for line in halves)


@pytest.mark.parametrize(("beside", "alone"), [("5", "0"), ("0", "5")])
def test_without_arguments_both_halves_have_tests(project: Project, beside: str, alone: str) -> None:
    project.variables |= {"BESIDE": beside, "ALONE": alone}
    assert "Error 5" in project.make("test").stderr


def test_an_old_python_is_told(project: Project) -> None:
    project.variables["OLD"] = "1"
    done = project.make("test")
    assert done.returncode != 0
    assert "older than Python 3.11" in done.stderr
    assert "PYTHON=" in done.stderr


def test_a_python_that_is_not_there_is_told(project: Project) -> None:
    done = project.make("test", "PYTHON=python9")
    assert done.returncode != 0
    assert "python9 is missing or older" in done.stderr


def test_a_python_without_ensurepip_is_told(project: Project) -> None:
    project.variables["ENSUREPIP"] = "1"
    done = project.make("test")
    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stderr
    assert project.asked() == []


def test_clean_keeps_what_was_measured_and_downloaded(project: Project) -> None:
    project.make("suites")
    kept = project.folder / ".harness" / "data"
    kept.mkdir(parents=True)
    (project.folder / ".harness" / "artefacts").mkdir()
    assert project.make("clean").returncode == 0
    assert {path.name for path in project.folder.iterdir()} == {
        ".harness", "Makefile", "constraints.txt", "pyproject.toml", "reports"
    }  # fmt: skip
    assert [path.name for path in (project.folder / ".harness").iterdir()] == ["data"]


@pytest.mark.parametrize("script", ["run", "extras"])
def test_continuous_integration_is_valid_shell(script: str) -> None:
    done = subprocess.run(["bash", "-n", str(ROOT / ".ci" / script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert os.access(ROOT / ".ci" / script, os.X_OK)
