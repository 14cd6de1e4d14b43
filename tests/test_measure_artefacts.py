"""An artefact is never stale, and the time of making it is never taken from a cache."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import Deployment, Model, technique
from harness.errors import PreparationError, SuiteError, WrongTreeError
from harness.files import owned, sweep
from harness.grid import Address, Case
from harness.hardware import Cpu, cpu
from harness.measure.artefacts import Artefact, ArtefactCache
from harness.measure.environment import versions_of
from harness.measure.sources import changed, code_of, contents, inherited, relevant_environment
from harness.measure.tree import Tree, worktree
from harness.plan import Plan
from harness.records import Scalar
from harness.runtimes.base import TIMINGS
from harness.techniques import distilled, reference
from harness.techniques.base import as_pipeline
from harness.testing import tiny_onnx_model
from harness.worker.artefact import digest_file, read_manifest
from harness.worker.protocol import SUITE_FOLDERS, Prepare, Prepared
from tests.artefacts import make_artefact
from tests.folder import PLAN, Folder, git

SUITE = """
from suites.own import half


@grid(model=[tiny], technique=[half], hardware=[cpu])
def test_it(case, bench):
    bench(case)
"""
TECHNIQUE = '''
import copy

from harness import Promise, technique


@technique(takes="onnx")
def half(deployment):
    """The last layer, scaled: the classes stay, the outputs do not."""
    import onnx

    network = copy.deepcopy(deployment.network)
    for tensor in network.graph.initializer:
        if tensor.name == network.graph.initializer[-1].name:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 0.5, tensor.name))
    return deployment.replace(network=network).promising(Promise("runtime", equals="onnxruntime"))
'''
CASE = "tiny_onnx/half/cpu"


def test_an_edited_technique_makes_a_new_artefact(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "project")
    (folder.path / "suites" / "own.py").write_text(TECHNIQUE)
    folder.suite("test_own", SUITE)

    def measure(*arguments: str) -> dict:
        code, text = folder.pytest("suites", "--baseline=off", *PLAN, *arguments)
        assert code == 0, text
        return folder.result(CASE)

    def metrics(result: dict) -> set[str]:
        return {measurement["metric"] for measurement in result["measurements"]}

    first = measure()
    assert "time.prepare" in metrics(first)
    again = measure()
    assert again["weights"] == first["weights"]
    assert "time.prepare" not in metrics(again), "a cache hit says nothing about how long preparing takes"
    assert "time.prepare" in metrics(measure("--cold"))

    # What else makes one anew is asked of the cache itself, so that nothing is measured.
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    address = Address(str(folder.path), "suites/test_own.py", "test_it", CASE)

    def made() -> Artefact:
        cache = ArtefactCache(Tree(folder.path), folder.path / ".kept", {}, Plan(), cold=False)
        return cache.get(case, address, tmp_path)

    before = made()
    assert before.manifest.weights == first["weights"]
    assert not made().fresh
    (folder.path / "suites" / "own.py").write_text(TECHNIQUE.replace("* 0.5", "* 0.25"))
    edited = made()
    assert edited.fresh
    assert edited.manifest.weights != before.manifest.weights
    # A damaged artefact is made anew: one bit of the served model is enough.
    models = list((folder.path / ".kept").glob("*/model/model.onnx"))
    assert len(models) == 2
    for model in models:
        data = bytearray(model.read_bytes())
        data[-1] ^= 1
        model.write_bytes(data)
    mended = made()
    assert mended.fresh
    assert mended.manifest.weights == edited.manifest.weights


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("code.py", True),
        ("deep/data/table.csv", True),
        ("deep/build/weights.bin", True),
        ("suites/calibration/0.png", True),
        ("README.md", False),
        ("nohup.out", False),
        ("build/model.onnx", True),
        ("dist/model.tflite", True),
        ("build/lib/suite.py", False),
        ("build/lib.linux-x86_64-cpython-311/suite.py", False),
        ("build/bdist.linux-x86_64/suite.py", False),
        ("build/temp.linux-x86_64-cpython-311/ops.o", False),
        ("build/lib.onnx", True),
        ("dist/suite-1.0-py3-none-any.whl", False),
        ("dist/suite-1.0.tar.gz", False),
        ("core", False),
        ("core.4711", False),
        ("deep/core.py", True),
        ("study.ipynb", False),
        ("htmlcov/status.json", False),
        ("deep/htmlcov/status.json", True),
        ("lightning_logs/version_7/hparams.yaml", False),
        ("notes.md~", False),
        ("data/lock.mdb", False),
        ("data/data.mdb", True),
        ("deep/dist/calibration.tar.gz", True),
        ("reports/run.json", False),
        ("baselines/naive.py", True),
        (".hidden/code.py", False),
        ("env/code.py", False),
        ("envs/conda/include/ops.h", False),
    ],
)
def test_what_counts_as_a_source(tmp_path: Path, name: str, counts: bool) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "pyvenv.cfg").touch()
    (tmp_path / "envs" / "conda" / "conda-meta").mkdir(parents=True)
    (tmp_path / "envs" / "conda" / "conda-meta" / "history").touch()
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "__init__.py").touch()  # a package of the project's own, as of models to compare with
    before = contents(tmp_path)
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("1")
    assert (contents(tmp_path) != before) is counts


def test_what_changed_is_named(tmp_path: Path) -> None:
    for name in ("gone.csv", "kept.csv", "own.py"):
        (tmp_path / name).write_text(name)
    before = contents(tmp_path)
    assert changed(before, contents(tmp_path)) == ""
    (tmp_path / "gone.csv").unlink()
    assert changed(before, contents(tmp_path)) == "gone.csv is gone"
    assert changed(code_of(before), contents(tmp_path, code=True)) == "", "data is no code"
    (tmp_path / "gone.csv").write_text("gone.csv")
    (tmp_path / "own.py").write_text("other")
    assert changed(before, contents(tmp_path)) == "own.py changed"
    assert changed(code_of(before), contents(tmp_path, code=True)) == "own.py changed"


def test_runs_and_baselines_count_in_no_folder(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "project", history="")
    folder.suite(
        "test_it", "@grid(model=[tiny], technique=[reference], hardware=[cpu])\ndef test_it(case, bench): bench(case)"
    )
    before = contents(folder.path)
    # It is looked at anew after an artefact is made, which is where a run would disturb itself.
    made = ("--reports", "out/runs", "--baselines", "kept", "--baseline=update", "--reason", "first", *PLAN)
    code, text = folder.pytest("suites", *made)
    assert code == 0, text
    assert list((folder.path / "kept").rglob("portable.json"))
    assert contents(folder.path) == before
    (folder.path / "out" / "runs" / "history.db").touch()
    assert contents(folder.path) == before


PRINTS = """
import os
from pathlib import Path

from harness.measure.sources import contents


def test_it(capfd):
    root = Path(__file__).parent
    before = contents(root)
    with capfd.disabled():
        os.write(1, b"what was measured")
        assert contents(root) == before
    assert contents(root) == before
    (root / "other.txt").touch()
    assert contents(root) != before
"""


def test_the_file_that_pytest_prints_into_is_no_source(tmp_path: Path) -> None:
    """Also while pytest captures what a test prints, and so leads its output elsewhere."""
    (tmp_path / "test_prints.py").write_text(PRINTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_prints.py"]
    with (tmp_path / "out.txt").open("wb") as output:
        done = subprocess.run(command, cwd=tmp_path, stdout=output, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, (tmp_path / "out.txt").read_text()


@pytest.mark.parametrize(
    "name",
    ["suites/2026-11-03_120000_4711/table.csv", "suites/run/journal.jsonl", "suites/portable.json", "history.db"],
)
def test_what_only_resembles_them_counts(tmp_path: Path, name: str) -> None:
    before = contents(tmp_path)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    assert contents(tmp_path) != before


def test_a_link_counts_with_what_it_points_to(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere.py"
    target.write_text("1")
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked.py").symlink_to(target)
    before = contents(root)
    target.write_text("2")
    assert contents(root) != before


def test_a_source_that_cant_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "table.bin").symlink_to("/proc/self/mem")  # which nobody may read from its beginning
    with pytest.raises(SuiteError, match=r"table\.bin can't be read: .*make it readable, or move it"):
        contents(tmp_path)


@pytest.mark.parametrize("name", ["lost+found", "reports", "2026-11-03_120000_4711"])
def test_a_closed_folder_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Another user's, as a database's in docker: it ended the run in the system's words, on Python 3.11 to 3.13."""
    root, home, information = tmp_path / "root", tmp_path / "home", tmp_path / "site" / "own-1.dist-info"
    for folder in (root / name, home / "own", information):
        folder.mkdir(parents=True)
    (root / "own.py").touch()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1\n")
    told = {"url": (home / "own").as_uri(), "dir_info": {"editable": True}}
    (information / "direct_url.json").write_text(json.dumps(told))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    before = contents(root)
    stat = Path.stat

    def refused(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if {root / name, home} & set(path.parents):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", refused)
    assert contents(root, [home / "own"]) == before
    assert "project/own.py" in before


def test_a_link_to_a_folder_counts_by_where_it_leads(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "data").mkdir(parents=True)
    link = root / "data" / "images"
    link.symlink_to("../../first")
    (tmp_path / "first").mkdir()
    before = contents(root)
    (tmp_path / "first" / "0.bin").touch()
    assert contents(root) == before, "what lies outside is told by the model's own `data`"
    (tmp_path / "second").mkdir()
    link.unlink()
    link.symlink_to("../../second")
    assert contents(root) != before


def test_what_else_is_imported_from_counts(tmp_path: Path) -> None:
    root, common = tmp_path / "root", tmp_path / "common"
    for folder in (root, common):
        folder.mkdir()
    before = contents(root, [common, root])
    (common / "table.csv").touch()
    assert contents(root, [common, root]) == before, "of folders that are no project's only code is looked at"
    (common / "network.py").touch()
    assert contents(root, [common, root]) != before
    assert contents(root) == contents(root, [root, tmp_path / "nowhere"])
    before = contents(root, [common])
    (common / "private.py").symlink_to("/proc/self/mem")  # which nobody may read from its beginning
    assert contents(root, [common]) == before, "what can't be read can't be imported"


def test_a_project_counts_once_where_a_folder_above_it_is_imported_from(tmp_path: Path) -> None:
    """It was read a second time, without what is left out of it: a report that a run wrote was an edited source."""
    root, other = tmp_path / "bench", tmp_path / "other"
    for folder in (root / "reports", root / "suites", other):
        folder.mkdir(parents=True)
    (tmp_path / "acme.py").touch()
    (other / "own.py").touch()
    before = contents(root, [tmp_path])
    (root / "reports" / "kernel.py").touch()
    assert contents(root, [tmp_path]) == before
    (root / "suites" / "own.py").touch()
    assert changed(before, contents(root, [tmp_path])) == "suites/own.py is new"
    assert changed(contents(root), before) == "import path 0: ../acme.py is new"
    assert changed(contents(root, [tmp_path], without=other), before) == "import path 0: ../other/own.py is new"


@pytest.mark.parametrize("named", ["absolute", "relative"])
def test_code_on_pythonpath_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    """Children import it: an edited technique was answered by the artefact of the old one."""
    root, shared = tmp_path / "root", tmp_path / "shared"
    for folder in (root, shared):
        folder.mkdir()
    (shared / "acme.py").write_text("FACTOR = 1\n")
    monkeypatch.setenv("PYTHONPATH", str(shared) if named == "absolute" else "../shared")

    def cache() -> ArtefactCache:
        return ArtefactCache(Tree(root), tmp_path / "artefacts", {}, Plan(), cold=False)

    first = cache()
    assert cache().sources == first.sources
    (shared / "acme.py").write_text("FACTOR = 2\n")
    assert cache().sources != first.sources
    with pytest.raises(
        PreparationError,
        match=r"sources were edited while the run went on \(import path 0: \.\./shared/acme\.py changed\)",
    ):
        first.check_unedited("a")


def test_what_is_no_code_of_a_projects_own_on_pythonpath_counts_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The versions of installed packages do already, and the harness's own package. Nobody waits for all of a disk."""
    shared, origin, installed, home = (tmp_path / name for name in ("shared", "origin", "site-packages", "home"))
    for folder in (shared, origin / "src", installed, home):
        folder.mkdir(parents=True)
    beside_harness = Path(harness.__file__).parent.parent
    entries = ["", shared, origin / "src", installed, home, "/", tmp_path / "nowhere", beside_harness]
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, entries)))
    assert inherited(tmp_path / "root") == (shared, origin / "src")
    assert inherited(tmp_path / "root", origin) == (shared,), "nothing of the working tree reaches another commit"
    monkeypatch.delenv("PYTHONPATH")
    assert inherited(tmp_path / "root") == ()


def test_a_folder_above_the_project_on_pythonpath_counts_in_a_repository_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What else holds projects may hold all of a disk, and what is edited there is mostly no business of this one."""
    root = tmp_path / "work" / "repository" / "bench"
    (root / "checkout").mkdir(parents=True)
    repository = root.parent
    (repository / ".git").mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["..", "../.."]))
    assert inherited(root) == (repository,)
    assert inherited(root / "checkout", root) == (repository,)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "work"))
    assert inherited(tmp_path / "elsewhere", repository) == (), "nor one above the working tree reaches another commit"
    assert inherited(tmp_path / "elsewhere") == (tmp_path / "work",)


@pytest.mark.parametrize(
    "origin",
    [
        {"url": "file:///of/mine", "dir_info": {}},
        {"url": "https://example.org/mine", "vcs_info": {"vcs": "git", "commit_id": "1" * 40}},
        {"url": "file:///of/mine/dist/copied-1-py3-none-any.whl", "archive_info": {}},
    ],
    ids=["folder", "repository", "archive"],
)
def test_a_package_that_was_copied_from_elsewhere_than_an_index_counts_by_its_installers_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: dict[str, object]
) -> None:
    """Its version may stay while its code changes: artefacts of the old one were taken for those of the new."""
    root = tmp_path / "root"
    information = tmp_path / "site" / "copied-1.dist-info"
    for folder in (root, information):
        folder.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: copied\nVersion: 1\n")
    (information / "direct_url.json").write_text(json.dumps(origin))
    (information / "RECORD").write_text("copied/__init__.py,sha256=one,10\n")
    without = contents(root)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    before = contents(root)
    assert before != without
    (information / "RECORD").write_text("copied/__init__.py,sha256=two,10\n")
    assert contents(root) not in (before, without)


@pytest.mark.parametrize("told", [None, {"url": "file:///of/mine", "dir_info": {"editable": True}}])
def test_of_what_an_index_gave_the_version_counts_and_of_what_is_edited_in_place_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: dict[str, object] | None
) -> None:
    root = tmp_path / "root"
    information = tmp_path / "site" / "other-1.dist-info"
    for folder in (root, information):
        folder.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    if told:
        (information / "direct_url.json").write_text(json.dumps(told))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    before = contents(root)
    (information / "RECORD").write_text("other/__init__.py,sha256=two,10\n")
    assert contents(root) == before


@pytest.mark.parametrize(
    ("place", "described", "counts"),
    [
        ("shared", "old.egg-info/PKG-INFO", True),
        ("dist-packages", "old.egg-info/PKG-INFO", False),
        ("target", "old-1.dist-info/METADATA", False),
    ],
    ids=["in place", "of the system", "pip install --target"],
)
def test_code_that_an_older_pip_installed_in_place_is_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, described: str, counts: bool
) -> None:
    """It keeps no record of where it lies: an edited technique was answered by the artefact of the old one."""
    root, folder = tmp_path / "root", tmp_path / place
    for path in (root / "test_it.py", folder / "old.py", folder / described):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("Metadata-Version: 2.1\nName: old\nVersion: 1\n")
    monkeypatch.syspath_prepend(str(folder))
    before = contents(root)
    (folder / "old.py").write_text("2")
    assert (contents(root) != before) is counts
    assert not [name for name in contents(folder) if name.startswith("unrecorded old")], "a project counts once"


def test_a_project_counts_once_where_a_folder_above_it_was_installed_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without what is left out of it: a report that a run wrote would be an edited source."""
    root = tmp_path / "bench"
    for folder in (root / "reports", tmp_path / "old.egg-info"):
        folder.mkdir(parents=True)
    (tmp_path / "old.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: old\nVersion: 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = contents(root)
    (root / "reports" / "kernel.py").touch()
    assert contents(root) == before
    (tmp_path / "old.py").touch()
    assert changed(before, contents(root)) == "unrecorded old/old.py is new"


def test_the_working_tree_is_no_source_of_another_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be installed from its folder; children of the other commit import nothing of it."""
    information, origin, checkout = tmp_path / "site" / "own-1.dist-info", tmp_path / "origin", tmp_path / "checkout"
    for folder in (information, origin, checkout):
        folder.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1\n")
    told = {"url": origin.as_uri(), "dir_info": {"editable": True}}
    (information / "direct_url.json").write_text(json.dumps(told))
    (origin / "own.py").write_text("1")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert "local own/own.py" in contents(checkout)
    cache = ArtefactCache(
        Tree(checkout, checkout=checkout, origin=origin), tmp_path / "artefacts", {}, Plan(), cold=False
    )
    (origin / "own.py").write_text("2")
    cache.check_unedited("a", data=True)


@pytest.mark.parametrize("place", ["libs/theirs", "vendor"], ids=["submodule", "ignored"])
@pytest.mark.parametrize("installed", [True, False], ids=["installed", "on PYTHONPATH"])
def test_code_below_the_working_tree_that_is_of_no_commit_is_a_source_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, installed: bool
) -> None:
    """Both arms import it: once a submodule had moved, the other one was served by the artefact of before."""
    information, origin, checkout = tmp_path / "site" / "theirs-1.dist-info", tmp_path / "origin", tmp_path / "checkout"
    theirs = origin / place
    for folder in (information, theirs, checkout):
        folder.mkdir(parents=True)
    if place == "vendor":
        git(origin, "init", "-q")
        (origin / ".gitignore").write_text("vendor\n")
    else:
        (theirs / ".git").write_text("gitdir: ../../.git/modules/theirs\n")
    (theirs / "own.py").write_text("1")
    if installed:
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
        told = {"url": theirs.as_uri(), "dir_info": {"editable": True}}
        (information / "direct_url.json").write_text(json.dumps(told))
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
    else:
        monkeypatch.setenv("PYTHONPATH", str(theirs))
    tree = Tree(checkout, checkout=checkout, origin=origin)
    cache = ArtefactCache(tree, tmp_path / "artefacts", {}, Plan(), cold=False)
    (theirs / "own.py").write_text("2")
    with pytest.raises(PreparationError, match=r"/own\.py changed\)"):
        cache.check_unedited("a")


def test_what_the_working_tree_made_is_no_artefact_of_another_commit(tmp_path: Path) -> None:
    """It may have been made with packages from elsewhere, which only other commits are asked about."""
    root = tmp_path / "root"
    root.mkdir()
    trees = (Tree(root), Tree(root, checkout=root, origin=tmp_path))
    here, there = (ArtefactCache(tree, tmp_path / "artefacts", {}, Plan(), cold=False).sources for tree in trees)
    assert here != there


@pytest.mark.parametrize(
    ("project", "weights", "data"),
    [("bench", "models/w.bin", None), (".", ".models/w.bin", lambda: {"weights": "of the working tree"})],
    ids=["beside the project", "by data"],
)
def test_commits_whose_other_files_alone_differ_share_no_artefact(
    tmp_path: Path, project: str, weights: str, data: Callable[[], Mapping[str, str]] | None
) -> None:
    """Other weights beside the project's folder, or what `data` tells of: both arms served one network."""
    repository = Folder(tmp_path / "repository")
    root, place = repository.path / project, repository.path / weights
    root.mkdir(exist_ok=True)
    (root / "test_it.py").touch()
    place.parent.mkdir()
    commits = []
    for content in ("1", "2"):
        place.write_text(content)
        commits.append(repository.commit(f"weights {content}"))
    commits.append(repository.commit("no other files"))
    case = Case(dataclasses.replace(tiny_onnx_model(tmp_path), data=data), as_pipeline(reference), cpu)

    def key(commit: str) -> str:
        tree = worktree(root, commit, tmp_path / "trees")
        address = Address(str(tree.root), "test_it.py", "test_it", case.id)
        return ArtefactCache(tree, tmp_path / "artefacts", {}, Plan(), cold=False)._key(case, address)

    old, new, same = map(key, commits)
    assert old != new
    assert same == new, "what was made of the same files serves"


def test_another_python_at_the_same_path_takes_no_artefact_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment that was made anew with the same packages was served what the old Python had made and pickled."""
    tree = Tree(tmp_path / "root")
    tree.root.mkdir()

    def sources() -> str:
        return ArtefactCache(tree, tmp_path / "artefacts", versions_of(tree), Plan(), cold=False).sources

    before = sources()
    assert sources() == before
    monkeypatch.setattr(platform, "python_version", lambda: "3.99.0")
    assert sources() != before


def test_what_another_session_serves_is_not_the_first_to_go(tmp_path: Path) -> None:
    """It was made long ago, and is used since a moment."""
    root, kept = tmp_path / "root", tmp_path / "artefacts"
    root.mkdir()
    case, address = (
        Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu),
        Address(str(root), "test_it.py", "", ""),
    )
    mine, other = (ArtefactCache(Tree(root), kept, {}, Plan(), cold=False) for _ in range(2))
    served, unused = (make_artefact(kept / name) for name in (mine._key(case, address), "unused"))
    for folder, when in ((served, 1_600_000_000), (unused, 1_700_000_000)):
        os.utime(folder, (when, when))
    assert mine.get(case, address, tmp_path).folder == served
    other.trim(sum(path.stat().st_size for path in served.rglob("*") if path.is_file()))
    assert [folder.name for folder in kept.iterdir()] == [served.name]
    other.trim(0)
    mine.trim()
    assert not list(kept.iterdir())


class Maker:
    """Stands in for the children that make artefacts; `started` counts them."""

    started = 0

    def __call__(self, name: str, log: Path, env: Mapping[str, str], tree: Tree) -> Any:
        self.started += 1
        return contextlib.nullcontext(self)

    def ask(self, request: Prepare) -> None:
        make_artefact(Path(request.folder))

    def reply(self, kind: type[Prepared], deadline: float) -> Prepared:
        return kind(seconds=0.0, harness_file=harness.__file__, suite_file="")

    def stop(self, deadline: float) -> None:
        """There is nothing to stop."""


@pytest.fixture
def asked(tmp_path: Path) -> tuple[ArtefactCache, Case, Address]:
    """A cache in `artefacts`, and a case whose artefact is wanted from it."""
    root = tmp_path / "root"
    root.mkdir()
    case = Case(tiny_onnx_model(tmp_path), as_pipeline(reference), cpu)
    cache = ArtefactCache(Tree(root), tmp_path / "artefacts", {}, Plan(), cold=False)
    return cache, case, Address(str(root), "test_it.py", "", "")


def test_an_artefact_that_another_session_removed_is_made_again(
    tmp_path: Path, asked: tuple[ArtefactCache, Case, Address]
) -> None:
    """It was served for the rest of the run as if it were there, and each of its cases failed."""
    cache, case, address = asked
    cache.get(case, address, tmp_path, Maker())
    ArtefactCache(cache.tree, tmp_path / "artefacts", {}, Plan(), cold=False).trim(0)
    made = cache.get(case, address, tmp_path, Maker())
    assert made.fresh
    assert read_manifest(made.folder) == made.manifest


@dataclasses.dataclass(frozen=True)
class OnGpu(Cpu):
    """What is asked of a GPU of this model when an artefact is made."""

    model: str = "NVIDIA H100 PCIe"

    def describe(self) -> Mapping[str, Scalar]:
        return {**super().describe(), "kind": "cuda", "model": self.model}


def test_trees_share_what_builds_for_a_gpu_timed(tmp_path: Path, asked: tuple[ArtefactCache, Case, Address]) -> None:
    """Each artefact timed TensorRT's kernels anew, and the same code in two trees was faster in one of them."""
    cache, case, address = asked
    seen: list[str | None] = []

    class Seen(Maker):
        def __call__(self, name: str, log: Path, env: Mapping[str, str], tree: Tree) -> Any:
            seen.append(env.get(TIMINGS))
            return super().__call__(name, log, env, tree)

    def told(hardware: Cpu, *, cold: bool = False, **versions: str) -> str | None:
        one = ArtefactCache(cache.tree, tmp_path / "artefacts", versions, Plan(), cold=cold)
        made = one.get(dataclasses.replace(case, hardware=hardware), address, tmp_path, Seen())
        assert made.fresh
        return seen[-1]

    first = told(OnGpu(), tensorrt="10", numpy="2.3")
    assert first
    assert Path(first).is_relative_to(tmp_path / "artefacts")
    assert told(OnGpu(), tensorrt="10", numpy="2.4") == first
    cold = told(OnGpu(), cold=True, tensorrt="10")
    assert told(OnGpu(), cold=True, tensorrt="10") == cold
    others = [cold, told(OnGpu(), tensorrt="11"), told(OnGpu(model="NVIDIA L4"), tensorrt="10")]
    assert len({first, *others}) == 4
    assert told(Cpu(), tensorrt="10") is None


def test_an_artefact_whose_manifest_is_damaged_is_made_anew(
    tmp_path: Path, asked: tuple[ArtefactCache, Case, Address]
) -> None:
    """As by a lost disk: no text at all failed its case in every run."""
    cache, case, address = asked
    kept = make_artefact(tmp_path / "artefacts" / cache._key(case, address))
    (kept / "manifest.json").write_bytes(b"\xff")
    made = cache.get(case, address, tmp_path, Maker())
    assert (made.folder, made.fresh) == (kept, True)
    assert read_manifest(kept) == made.manifest


def test_data_that_came_before_anything_was_made_is_a_source_and_later_an_edit(
    tmp_path: Path, asked: tuple[ArtefactCache, Case, Address]
) -> None:
    cache, case, address = asked
    before = cache.sources
    (cache.tree.root / "out.json").write_text("1")
    cache.look_again()
    assert cache.sources != before
    cache.get(case, address, tmp_path, Maker())
    (cache.tree.root / "out.json").write_text("2")
    cache.look_again()
    with pytest.raises(PreparationError, match=r"\(out\.json changed\)"):
        cache.check_unedited(case.id, data=True)


def test_code_that_came_before_anything_was_made_is_an_edit(asked: tuple[ArtefactCache, Case, Address]) -> None:
    """The suites were imported before, and children would import what is there now."""
    cache, case, _ = asked
    (cache.tree.root / "own.py").touch()
    cache.look_again()
    with pytest.raises(PreparationError, match=r"\(own\.py is new\)"):
        cache.check_unedited(case.id)


def test_an_artefact_is_as_open_to_others_as_any_folder(
    tmp_path: Path, asked: tuple[ArtefactCache, Case, Address]
) -> None:
    cache, case, address = asked
    made = cache.get(case, address, tmp_path, Maker())
    (tmp_path / "plain").mkdir()
    assert made.fresh
    assert made.folder.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert [folder.name for folder in made.folder.parent.iterdir()] == [made.folder.name]


def test_an_artefact_is_made_and_served_with_the_folders_of_its_suite(
    tmp_path: Path, asked: tuple[ArtefactCache, Case, Address]
) -> None:
    cache, case, _ = asked
    root = cache.tree.root
    tree = Tree(root, variables={SUITE_FOLDERS: os.pathsep.join([str(root / "alpha"), str(root / "beta")])})
    seen: list[Tree] = []

    class Seen(Maker):
        def __call__(self, name: str, log: Path, env: Mapping[str, str], tree: Tree) -> Any:
            seen.append(tree)
            return super().__call__(name, log, env, tree)

    address = Address(str(root), "beta/test_it.py", "", "")
    caches = [ArtefactCache(tree, tmp_path / "artefacts", {}, Plan(), cold=False) for _ in range(2)]
    made, kept = (one.get(case, address, tmp_path, Seen()) for one in caches)
    assert (made.fresh, kept.fresh) == (True, False)
    assert made.tree == kept.tree == tree.for_suite(address.file) != tree
    assert seen == [made.tree]


def test_an_artefact_that_is_not_what_its_child_wrote_is_not_kept(
    tmp_path: Path, asked: tuple[ArtefactCache, Case, Address]
) -> None:
    """It would be served, and taken for the technique's work."""
    cache, case, address = asked

    class Rewriting(Maker):
        def stop(self, deadline: float) -> None:
            (model,) = (tmp_path / "artefacts").glob("*/model/network")
            model.write_bytes(b"x3")

    with pytest.raises(PreparationError) as caught:
        cache.get(case, address, tmp_path, Rewriting())
    assert str(caught.value) == f"{case.id}: the artefact's files are not those that the worker wrote"
    assert not list((tmp_path / "artefacts").iterdir())


@pytest.mark.parametrize("what", ["harness", "the suite", "own.layers"])
def test_an_artefact_that_was_made_of_another_trees_code_is_not_kept(
    tmp_path: Path, asked: tuple[ArtefactCache, Case, Address], what: str
) -> None:
    """It would be measured under the name of this one."""
    _, case, address = asked
    tree = Tree(Path(address.root), checkout=Path(address.root), origin=tmp_path)
    cache = ArtefactCache(tree, tmp_path / "artefacts", {}, Plan(), cold=False)
    foreign = str(tmp_path / "foreign.py")

    class Foreign(Maker):
        def reply(self, kind: type[Prepared], deadline: float) -> Prepared:
            made = super().reply(kind, deadline)
            if what == "harness":
                return dataclasses.replace(made, harness_file=foreign)
            if what == "the suite":
                return dataclasses.replace(made, suite_file=foreign)
            return dataclasses.replace(made, modules={what: foreign})

        def tail(self) -> str:
            return "what it printed"

    with pytest.raises(WrongTreeError, match=f"imported {what} from {foreign}") as caught:
        cache.get(case, address, tmp_path, Foreign())
    assert caught.value.log == "what it printed"
    assert not list((tmp_path / "artefacts").iterdir())


def test_what_a_fixture_sets_in_the_environment_makes_an_artefact_of_its_own(
    tmp_path: Path, asked: tuple[ArtefactCache, Case, Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Children inherit it, and what was made with it was kept as what is made without."""
    cache, case, address = asked
    made = cache.get(case, address, tmp_path, Maker())
    with monkeypatch.context() as patch:
        patch.setenv("ORT_LEVEL", "x")
        other = cache.get(case, address, tmp_path, Maker())
    assert other.folder != made.folder
    assert cache.get(case, address, tmp_path) is made


def test_what_processes_left_that_are_gone_is_removed(tmp_path: Path) -> None:
    """In containers a cancelled run had the number of this one, and its folder stayed for ever. What another container
    was building in a cache that both share was removed, since its process is none of this one's.
    """
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    mine, parents = os.getpid(), os.getppid()
    ours = owned(".building").removeprefix(f".building-{mine}-")
    theirs = "00000000-"
    kept = [
        (mine, f"{ours}now"), (mine, f"{ours}earlier"), (parents, f"{ours}before"), ("none", "x"),
        (mine, f"{theirs}now"), (gone.pid, f"{theirs}now"), (gone.pid, "now"),
    ]  # fmt: skip
    removed = [
        (mine, f"{ours}before"), (gone.pid, f"{ours}now"),
        (mine, f"{theirs}before"), (parents, f"{theirs}before"), (gone.pid, f"{theirs}before"), (gone.pid, "before"),
    ]  # fmt: skip
    for process, name in kept + removed:
        (tmp_path / f".building-{process}-{name}").mkdir()
    for path in tmp_path.glob("*earlier"):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    for path in tmp_path.glob("*before"):
        os.utime(path, (1e9, 1e9))
    sweep(tmp_path, ".building")
    assert {path.name for path in tmp_path.iterdir()} == {f".building-{process}-{name}" for process, name in kept}


def test_a_file_is_digested_in_parts(tmp_path: Path) -> None:
    (tmp_path / "table").write_bytes(b"0123456789" * 100_000)
    assert digest_file(tmp_path / "table") == hashlib.sha256(b"0123456789" * 100_000).digest()


@pytest.mark.parametrize(
    ("below", "refused"), [("", True), ("work/tmp", True), (".tmp", False), ("reports/tmp", False), ("../tmp", False)]
)
def test_temporary_files_among_the_sources_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str, *, refused: bool
) -> None:
    """Where no other folder can be written, Python takes the current one: a child's files were edits to another."""
    root = tmp_path / "project"
    root.mkdir()
    (root / below).mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(root / below))
    if not refused:
        ArtefactCache(Tree(root), tmp_path / "artefacts", {}, Plan(), cold=False)
        return
    with pytest.raises(SuiteError, match=r"lies in the project.*TMPDIR"):
        ArtefactCache(Tree(root), tmp_path / "artefacts", {}, Plan(), cold=False)


@pytest.mark.parametrize("what", ["the cache", "the artefact"])
def test_a_folder_that_can_not_be_written_is_named_once_with_the_cure(
    tmp_path: Path, asked: tuple[ArtefactCache, Case, Address], what: str
) -> None:
    """A file stands where the folder should, which not even root can write into."""
    cache, case, address = asked
    folder = tmp_path / "artefacts"
    if what == "the artefact":
        folder.mkdir()
        folder /= cache._key(case, address)
    folder.touch()
    start = Maker()
    for _ in range(2):
        with pytest.raises(PreparationError) as caught:
            cache.get(case, address, tmp_path, start)
        assert str(caught.value).startswith(f"{case.id}: {folder} can't be written (")
        assert str(caught.value).endswith("): make it yours (chown), or remove it")
    assert start.started == (what == "the artefact")


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.EROFS, ": mount its disk for writing"),
        (errno.ENOTEMPTY, ": make it yours (chown), or remove it"),
        (errno.ENOSPC, ": make room there"),
        (errno.EDQUOT, ": make room there"),
        (errno.EIO, ""),
    ],
)
def test_what_helps_is_told_by_what_is_wrong(
    tmp_path: Path,
    asked: tuple[ArtefactCache, Case, Address],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    cure: str,
) -> None:
    cache, case, address = asked

    def refuse(path: Path, target: Path) -> Path:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PreparationError) as caught:
        cache.get(case, address, tmp_path, Maker())
    place = tmp_path / "artefacts" / cache._key(case, address)
    assert str(caught.value) == f"{case.id}: {place} can't be written ({os.strerror(number)}){cure}"


@pytest.mark.parametrize("cold", [False, True])
def test_what_another_session_made_meanwhile_serves_both(
    tmp_path: Path, asked: tuple[ArtefactCache, Case, Address], cold: bool
) -> None:
    """It may be loaded already; a session that takes nothing from others has its own."""
    cache, case, address = asked
    other = tmp_path / "artefacts" / cache._key(case, address)
    if cold:
        cache = ArtefactCache(cache.tree, tmp_path / "artefacts", {}, Plan(), cold=True)

    class Both(Maker):
        def stop(self, deadline: float) -> None:
            (make_artefact(other) / "of-the-other").mkdir()

    made = cache.get(case, address, tmp_path, Both())
    assert (made.folder, made.fresh) == (other, cold)
    assert (other / "of-the-other").exists() is not cold
    assert [folder.name for folder in other.parent.iterdir()] == [other.name]
    assert cache.get(case, address, tmp_path) is made


@pytest.mark.parametrize("cold", [False, True])
def test_an_artefact_that_can_not_be_replaced_is_named_before_another_one_is_made(
    tmp_path: Path, asked: tuple[ArtefactCache, Case, Address], monkeypatch: pytest.MonkeyPatch, cold: bool
) -> None:
    """Damaged, or not wanted: it is another user's all the same."""
    cache, case, address = asked
    kept = make_artefact(tmp_path / "artefacts" / cache._key(case, address))
    if cold:
        cache = ArtefactCache(cache.tree, tmp_path / "artefacts", {}, Plan(), cold=True)
    else:
        (kept / "model" / "network").write_bytes(b"x3")
    monkeypatch.setattr(os, "access", lambda path, mode: path != kept)
    start = Maker()
    with pytest.raises(PreparationError) as caught:
        cache.get(case, address, tmp_path, start)
    message = f"{case.id}: {kept} can't be written (Permission denied): make it yours (chown), or remove it"
    assert str(caught.value) == message
    assert not start.started


def test_a_cache_for_reading_alone_serves(
    tmp_path: Path, asked: tuple[ArtefactCache, Case, Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, case, address = asked
    kept = make_artefact(tmp_path / "artefacts" / cache._key(case, address))

    def refuse(path: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "utime", refuse)
    assert cache.get(case, address, tmp_path).folder == kept
    cache.trim()


def test_the_flags_of_compilers_and_runtimes_and_the_import_path_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CXX", "ORT_LEVEL", "OMP_NUM_THREADS", "ONEDNN_MAX_CPU_ISA", "PYTHONPATH", "EDITOR"):
        monkeypatch.setenv(name, "x")
    found = relevant_environment()
    assert {"CXX", "ORT_LEVEL", "OMP_NUM_THREADS", "ONEDNN_MAX_CPU_ISA", "PYTHONPATH"} <= found.keys()
    assert "EDITOR" not in found


def test_a_suite_that_writes_into_the_project_is_told_what_it_wrote(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "project")
    writes = '    __import__("pathlib").Path("loss.png").write_bytes(b"picture")\n    import onnx\n'
    (folder.path / "suites" / "own.py").write_text(TECHNIQUE.replace("    import onnx\n", writes))
    folder.suite("test_own", SUITE)
    code, text = folder.pytest("suites", "--baseline=off", *PLAN)
    assert code == 1
    assert "sources were edited while the run went on (loss.png is new)" in text
    assert "where tee keeps it, into a .log file" in text


def test_what_ordinary_tests_write_before_the_first_case_is_no_edit(tmp_path: Path) -> None:
    """A run that compares with baselines begins when pytest has collected, and they come after that."""
    folder = Folder(tmp_path / "project")
    writes = "import time\n\n\ndef test_writes():\n    Path('out.json').write_text(str(time.time_ns()))\n"
    folder.suite("test_a_first", writes)
    folder.suite(
        "test_it", "@grid(model=[tiny], technique=[reference], hardware=[cpu])\ndef test_it(case, bench): bench(case)"
    )
    _, text = folder.pytest("suites", *PLAN)
    result = folder.result("tiny_onnx/reference/cpu")
    assert (result["outcome"], result["reason"]) == ("completed", ""), text


NOTING = """
import dataclasses


def noting(predict):
    (Path(__file__).parent / "scores.py").write_text("1")
    return tiny.evaluate(predict)


@grid(model=[dataclasses.replace(tiny, evaluate=noting)], technique=[reference], hardware=[cpu])
def test_it(case, bench):
    bench(case)
"""


def test_what_was_measured_while_sources_were_edited_is_no_result(tmp_path: Path) -> None:
    """The artefact was made before; what is started after imports what was edited, under the commit of the run."""
    folder = Folder(tmp_path / "project")
    folder.suite("test_it", NOTING)
    folder.suite("test_timed", "def test_sum(benchmark):\n    benchmark(sum, [1])\n")
    code, text = folder.pytest("suites", "--baseline=update", "--reason", "first", *PLAN)
    assert code == 1, text
    for case_id in ("tiny_onnx/reference/cpu", "test_sum/pytest-benchmark/cpu"):
        result = folder.result(case_id)
        assert result["outcome"] == "failed"
        assert result["reason"].startswith(f"{case_id}: sources were edited while the run went on")
        assert "(suites/scores.py is new)" in result["reason"]
        assert not result["measurements"], "they are nobody's"
    assert not list(folder.path.rglob("portable.json"))


def test_a_fact_that_no_record_can_hold_is_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "project")
    own = ""
    for name, value in (("half", "np.float32(0.5)"), ("hollow", "np.nan")):
        noted = f"    import numpy as np\n\n    deployment = deployment.noting(gain={value})\n    import onnx\n"
        own += TECHNIQUE.replace("    import onnx\n", noted).replace("def half", f"def {name}")
    (folder.path / "suites" / "own.py").write_text(own)
    folder.suite("test_own", SUITE.replace("import half", "import half, hollow").replace("[half]", "[half, hollow]"))
    code, text = folder.pytest("suites", "--baseline=off", *PLAN)
    assert code == 1, text
    for case_id, shown in ((CASE, "np.float32(0.5), "), ("tiny_onnx/hollow/cpu", "nan, ")):
        assert f"{case_id}: the fact gain is {shown}" in folder.result(case_id)["reason"]


def test_what_changes_twice_in_no_time_is_read_twice(tmp_path: Path) -> None:
    found = set()
    for content in (b"a", b"b", b"c"):
        (tmp_path / "data.bin").write_bytes(content)
        found.add(frozenset(contents(tmp_path).items()))
    for when in (1_700_000_000, 1_600_000_000):
        os.utime(tmp_path / "data.bin", (when, when))
        found.add(frozenset(contents(tmp_path).items()))
    assert len(found) == 3, "the time of change is no part of what counts"
    (tmp_path / "data.bin").write_bytes(b"d")
    os.utime(tmp_path / "data.bin", (1_500_000_000, 1_500_000_000))
    assert frozenset(contents(tmp_path).items()) not in found


@dataclasses.dataclass(frozen=True)
class OfElsewhere(Cpu):
    """The same name on another machine, or with another variable for its children."""

    sets: str = ""
    variable: str = ""

    def describe(self) -> Mapping[str, Scalar]:
        return {**super().describe(), **({"instruction_sets": self.sets} if self.sets else {})}

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), **({"MKL_CBWR": self.variable} if self.variable else {})}


def test_what_an_artefact_is_made_with_beside_sources_makes_another_one(
    tmp_path: Path, asked: tuple[ArtefactCache, Case, Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade would be measured with what was made before it."""
    cache, case, address = asked

    def key(case: Case = case, python: str = sys.executable, **versions: str) -> str:
        tree = Tree(cache.tree.root, python)
        return ArtefactCache(tree, tmp_path / "artefacts", versions, Plan(), cold=False)._key(case, address)

    def on(hardware: Cpu) -> Case:
        return dataclasses.replace(case, hardware=hardware)

    def of(digest: str) -> Case:
        return dataclasses.replace(case, model=dataclasses.replace(case.model, data=lambda: {"weights": digest}))

    def taught(digest: str, *, nested: bool = False) -> Case:
        student = dataclasses.replace(case.model, name="student", data=lambda: {"images": digest})
        into = distilled(into=student)
        return dataclasses.replace(case, technique=as_pipeline(distilled(into=into) if nested else into))

    def by_default(digest: str, *, nested: bool = False) -> Case:
        student = dataclasses.replace(case.model, name="student", data=lambda: {"images": digest})

        @technique
        def learning(deployment: Deployment, into: Model = student) -> Deployment:
            return deployment

        step = distilled(into=learning) if nested else learning
        return dataclasses.replace(case, technique=as_pipeline(step))

    keys = [key(), key(onnxruntime="1.30"), key(onnxruntime="1.31"), key(python="/env/bin/python")]
    keys += [key(of("1")), key(of("2")), key(on(OfElsewhere(sets="none"))), key(on(OfElsewhere(variable="x")))]
    # A model among a technique's parameters has data of its own, however deep it lies there.
    keys += [key(taught("1")), key(taught("2")), key(taught("3", nested=True))]
    keys += [key(by_default("4")), key(by_default("5")), key(by_default("6", nested=True))]
    with monkeypatch.context() as patch:
        patch.setenv("ORT_LEVEL", "x")
        keys.append(key())
    with monkeypatch.context() as patch:
        patch.setattr("harness.measure.artefacts.compiler_version", lambda: "another")
        keys.append(key())
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]
