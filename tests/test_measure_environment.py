"""Where a run is made: versions, revision, identity, and how busy others keep the machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy
import pytest
from packaging.utils import canonicalize_name

from harness.codec import decode, dumps, loads
from harness.comparing import software_changes
from harness.errors import SuiteError
from harness.hardware import Cpu, cpu
from harness.measure.environment import (
    _INSTALLED,
    RELEVANT,
    UNTOLD,
    PressureMeter,
    environment,
    identity,
    library_versions,
    versions_of,
)
from harness.measure.sources import contents
from harness.measure.tree import Tree
from harness.records import Environment, Scalar
from harness.runtimes.onnxruntime_providers import PROVIDERS
from harness.worker import memory
from harness.worker.anchor import ANCHOR
from harness.worker.protocol import PROTOCOL
from tests.folder import Folder


class Machine:
    """A /proc whose counters a test sets, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 100.0
        (folder / "pressure").mkdir()

    def show(self, *, waited: int, steal: int, idle: int) -> None:
        text = f"some avg10=1.00 avg60=0.50 avg300=0.10 total={waited}\nfull avg10=0.00 total=7\n"
        (self.folder / "pressure" / "cpu").write_text(text)
        (self.folder / "stat").write_text(f"cpu  1 2 3 {idle} 5 6 7 {steal} 50 60\ncpu0 9 9 9 9 9 9 9 9 9 9\nintr 1\n")

    def meter(self) -> PressureMeter:
        return PressureMeter(self.folder, lambda: self.now)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(("waited", "share"), [(0, 0.0), (500_000, 0.25), (2_000_000, 1.0), (2_100_000, 1.0)])
def test_pressure_is_a_share_of_wall_time(machine: Machine, waited: int, share: float) -> None:
    machine.show(waited=1000, steal=0, idle=0)
    meter = machine.meter()
    machine.now += 2.0
    machine.show(waited=1000 + waited, steal=0, idle=0)
    assert meter.share() == pytest.approx(share)


def test_steal_is_a_share_of_processor_time(machine: Machine) -> None:
    machine.show(waited=0, steal=10, idle=100)
    meter = machine.meter()
    assert meter.steal() is None
    machine.show(waited=0, steal=25, idle=185)
    assert meter.steal() == pytest.approx(15 / 100)


def test_a_kernel_that_does_not_tell_gives_none(machine: Machine) -> None:
    meter = machine.meter()
    machine.now += 1.0
    assert meter.share() is None
    assert meter.steal() is None
    machine.show(waited=1, steal=1, idle=1)
    assert meter.share() is None
    assert meter.steal() is None


def test_no_time_passed_gives_none(machine: Machine) -> None:
    machine.show(waited=0, steal=0, idle=0)
    assert machine.meter().share() is None


def test_this_machine_gives_shares() -> None:
    meter = PressureMeter()
    sum(range(200_000))
    assert all(value is None or 0 <= value <= 1 for value in (meter.share(), meter.steal()))


def test_versions_of_everything_installed() -> None:
    versions = library_versions()
    assert versions["numpy"] == numpy.__version__
    assert "torch-pruning" in versions  # normalised: the distribution calls itself torch_pruning
    assert list(versions) == sorted(versions)


def test_what_can_move_a_number_is_named_beside_it() -> None:
    """What is pinned for that reason, and what the providers' own cures tell to install."""
    _, runtimes, makers, _ = (Path(__file__).parents[1] / "constraints.txt").read_text(encoding="utf-8").split("\n\n")
    lines = [line for group in (runtimes, makers) for line in group.splitlines() if not line.startswith("#")]
    wheels = [name for one in PROVIDERS.values() for name in (one.wheel, one.plugin) if name]
    assert {"torch", "ml_dtypes"} <= {line.partition("==")[0] for line in lines}
    assert {canonicalize_name(line.partition("==")[0]) for line in (*lines, *wheels)} - {*RELEVANT} == set()
    assert set(RELEVANT) >= UNTOLD


def test_a_distribution_that_says_nothing_of_itself_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a folder is left by a removal that failed. From Python 3.12 on, who asks for its name is warned, and
    warnings are errors in these tests, as they may be in a project.
    """
    before = library_versions(), contents(tmp_path)
    (tmp_path / ".site" / "left-1.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / ".site"))
    assert (library_versions(), contents(tmp_path)) == before


def test_of_another_interpreter_the_installers_records_are_known_beside_the_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was installed there anew from a repository, under the same version, was served by its old artefact."""
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    for name in ("Of_Mine", "other"):
        information = tmp_path / "site" / f"{name}-1.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (tmp_path / "site" / "Of_Mine-1.dist-info" / "direct_url.json").write_text('{"url": "file:///of/mine"}')
    (tmp_path / "site" / "left-1.dist-info").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    found = []
    for digest in ("one", "two"):
        (tmp_path / "site" / "Of_Mine-1.dist-info" / "RECORD").write_text(f"mine/__init__.py,sha256={digest},10\n")
        found.append(versions_of(Tree(tmp_path, str(python))))
    assert {name: found[0][name] for name in ("of-mine", "other")} == {"of-mine": "1", "other": "1"}
    assert found[0]["python"] == platform.python_version()
    assert "local:other" not in found[0]
    assert found[0].keys() == found[1].keys()
    assert [name for name in found[0] if found[0][name] != found[1][name]] == ["local:of-mine"]


def test_of_another_interpreter_code_that_is_imported_from_where_it_lies_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its installer's record stays when it is edited, and the artefact of the old code was served."""
    python, folder = tmp_path / "python", tmp_path / "of mine"
    information = tmp_path / "site" / "Of_Mine-1.dist-info"
    for place in (folder, information):
        place.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: Of_Mine\nVersion: 1\n")
    told = {"url": folder.as_uri(), "dir_info": {"editable": True}}
    (information / "direct_url.json").write_text(json.dumps(told))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    found = []
    for code in ("FACTOR = 1\n", "FACTOR = 2\n"):
        (folder / "own.py").write_text(code)
        found.append(versions_of(Tree(tmp_path, str(python))))
    assert found[0].keys() == found[1].keys()
    assert [name for name in found[0] if found[0][name] != found[1][name]] == ["editable:of-mine"]
    (folder / "weights.bin").touch()
    assert versions_of(Tree(tmp_path, str(python))) == found[1], "data beside it are no code"
    other = Tree(tmp_path, str(python), checkout=tmp_path, origin=folder)
    assert versions_of(other)["editable:of-mine"] == "", "nothing of the working tree is imported for another commit"


class Untold:
    """A distribution without metadata, as Python 3.15 gives it."""

    @property
    def metadata(self) -> object:
        raise FileNotFoundError("no package metadata was found")


def test_a_distribution_whose_metadata_are_an_error_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder that a failed removal leaves ended every run there."""
    for module in ("harness.measure.environment", "importlib.metadata"):
        monkeypatch.setattr(f"{module}.distributions", lambda: [Untold()])
    assert library_versions() == {}
    exec(_INSTALLED, {})
    assert capsys.readouterr().out == f"python {platform.python_version()}\n"


@dataclass(frozen=True)
class Absent(Cpu):
    @property
    def name(self) -> str:
        return "absent"

    def available(self) -> str | None:
        return "it is not here"

    def describe(self) -> Mapping[str, Scalar]:
        raise AssertionError("described although it is absent")


def test_environment_of_this_run(tmp_path: Path) -> None:
    found = environment(tmp_path, [cpu, Absent()])
    assert found.hardware == {"cpu": identity(cpu)}
    assert found.hardware["cpu"]["protocol"] == PROTOCOL
    assert str(found.hardware["cpu"]["anchor"]).startswith(f"{ANCHOR} numpy ")
    assert found.software["python"] == platform.python_version()
    assert found.software["numpy"] == numpy.__version__
    assert found.state["kernel"] == platform.release()
    assert (found.commit, found.dirty) == ("", False)
    assert decode(Environment, loads(dumps(found), "environment"), "environment") == found


def test_variables_that_choose_kernels_are_software_and_make_no_other_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changed since was empty, where one of them had made times others."""
    names = ("OPENBLAS_CORETYPE", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA", "DNNL_DEFAULT_FPMATH_MODE")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    before = environment(tmp_path, [cpu])
    for name in names:
        monkeypatch.setenv(name, "BF16")
    found = environment(tmp_path, [cpu])
    assert found.hardware == before.hardware
    assert found.software == {**before.software, **{f"${name}": "BF16" for name in names}}


@pytest.mark.parametrize("lacking", ["SMAPS", "STATUS"])
def test_another_way_to_measure_memory_is_told_among_what_changed(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel without smaps counts libraries, or one without RssFile, and the class of machine is one with it."""
    before = environment(tmp_path, [cpu])
    assert "memory.method" not in before.software
    monkeypatch.setattr(memory, lacking, tmp_path / lacking)
    if lacking == "STATUS":
        memory.STATUS.write_text("VmHWM:\t  30000 kB\n")
    found = environment(tmp_path, [cpu])
    assert found.hardware == before.hardware
    assert software_changes(before.software, found.software) == "memory.method absent -> libraries included"
    assert software_changes(found.software, before.software) == "memory.method libraries included -> absent"


@pytest.mark.parametrize(
    ("name", "version", "part"), [("numpy", "0.9.0", True), ("numpy", "2.0.99", False), ("torch", "0.9.0", False)]
)
def test_of_packages_the_minor_version_of_numpy_alone_is_part_of_the_identity(
    name: str, version: str, part: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "hardware.md").read_text(encoding="utf-8")
    assert "Of packages the minor version of numpy alone is part of that" in " ".join(page.split())
    versions = {"numpy": "2.0.1", "torch": "2.0.1"}
    monkeypatch.setattr("harness.measure.environment.library_versions", lambda: versions)
    before = identity(cpu)
    versions[name] = version
    assert (identity(cpu) != before) is part


def test_where_git_does_not_say_what_differs_no_tree_is_called_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(folder: Path, *arguments: str, seconds: float) -> str:
        if arguments[0] == "status":
            raise SuiteError(f"git status failed: it timed out after {seconds} seconds")
        return "abc1234"

    monkeypatch.setattr("harness.measure.environment.git", slow)
    found = environment(tmp_path, [])
    assert (found.commit, found.dirty) == ("abc1234", True)


def test_revision(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        person = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", "-C", str(tmp_path), *person, *arguments]
        alone = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=alone).stdout.strip()

    git("init", "-q")
    (tmp_path / "suite.py").write_text("1\n")
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "a.json").write_text("{}\n")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    clean = environment(tmp_path, [])
    assert (clean.commit, clean.dirty) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "baselines" / "a.json").write_text("{ }\n")
    assert not environment(tmp_path, []).dirty
    assert not environment(tmp_path, [], tmp_path / "baselines").dirty
    assert environment(tmp_path, [], tmp_path / "other").dirty
    (tmp_path / "suite.py").write_text("2\n")
    assert environment(tmp_path, []).dirty


def test_a_new_source_makes_a_run_dirty_where_status_shows_none(tmp_path: Path) -> None:
    """The run of a suite that no commit has was recorded as one of the commit, and its times as the commit's."""
    folder = Folder(tmp_path / "project")
    folder.commit("start")
    folder.git("config", "status.showUntrackedFiles", "no")
    assert not environment(folder.path, []).dirty
    (folder.path / "suites" / "new.py").touch()
    assert environment(folder.path, []).dirty


@pytest.mark.parametrize("by", ["pythonpath", "PYTHONPATH"])
def test_an_edit_beside_the_project_makes_a_run_dirty_where_it_is_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """It was recorded as a run of the commit, whose code was another one."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    folder = Folder(tmp_path / "repository")
    bench, outside = folder.path / "bench", tmp_path / "outside"
    for path in (bench / "test_it.py", folder.path / "libs" / "own.py", outside / "own.py"):
        path.parent.mkdir()
        path.touch()
    folder.commit("start")
    paths: tuple[str, ...] = ("../libs", "../../outside", "../gone")
    if by == "PYTHONPATH":
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
        paths = ()
    (outside / "own.py").write_text("2")
    (folder.path / "suites" / "common.py").write_text("2")
    assert not environment(bench, [], paths=paths).dirty
    (folder.path / "libs" / "own.py").write_text("2")
    assert environment(bench, [], paths=paths).dirty


def test_baselines_beside_the_project_make_no_run_dirty_that_imports_from_above_them(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "repository")
    bench, baselines = folder.path / "bench", folder.path / "baselines"
    for place in (bench, baselines):
        place.mkdir()
    folder.commit("start")
    (baselines / "a.json").touch()
    assert not environment(bench, [], baselines, [".."]).dirty
    assert environment(bench, [], bench / "baselines", [".."]).dirty
