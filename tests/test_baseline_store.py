from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.baseline.records import Baseline, machine_class
from harness.baseline.store import Store
from harness.baseline.tree import MAX_FILE
from harness.errors import BaselineError
from harness.names import file_name
from tests.judge_samples import CASE, ELSEWHERE, ENVIRONMENT, IDENTITY, a_block, a_portable, portables, some_times

BLOCK = a_block({"speedup": [2.0, 2.1]})
ROOT = Path(__file__).parent.parent


def filled(folder: Path, *case_ids: str) -> Store:
    """A store with these cases, each with times of one machine."""
    store = Store(folder)
    for case_id in case_ids:
        store.write(a_portable({"size": 4.0}, case_id=case_id))
        store.write(some_times([BLOCK], case_id=case_id))
    return store


def home(folder: Path, case_id: str = CASE, suite: str = "digits") -> Path:
    return folder / suite / file_name(case_id)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_case_has_one_folder_with_a_file_for_each_machine_class(tmp_path: Path) -> None:
    store = filled(tmp_path, CASE)
    path = store.write(some_times([BLOCK], identity=ELSEWHERE))
    assert path == home(tmp_path) / f"times.{machine_class(ELSEWHERE)}.json"
    assert sorted(contents(tmp_path)) == sorted(
        f"digits/{file_name(CASE)}/{name}"
        for name in ("portable.json", *(f"times.{machine_class(one)}.json" for one in (IDENTITY, ELSEWHERE)))
    )
    here = store.read("digits", CASE, IDENTITY)
    assert here == Baseline(a_portable({"size": 4.0}), some_times([BLOCK]), (ELSEWHERE,), ENVIRONMENT.software)
    third = store.read("digits", CASE, {"kind": "gpu"})
    assert third.times is None
    assert list(third.others) == [IDENTITY, ELSEWHERE] or list(third.others) == [ELSEWHERE, IDENTITY]


def test_the_software_of_the_portable_part_is_that_of_the_class_that_made_it(tmp_path: Path) -> None:
    store = filled(tmp_path, CASE)
    software = {"onnxruntime": "1.30.0"}
    last = dataclasses.replace(some_times([BLOCK]).accepted, when="2099-01-01T00:00:00+00:00")
    store.write(some_times([BLOCK], identity=ELSEWHERE, software=software, accepted=last))
    for made_on, expected in (
        (machine_class(IDENTITY), ENVIRONMENT.software), (machine_class(ELSEWHERE), software), ("cpu-gone", software)
    ):  # fmt: skip
        store.write(a_portable({"size": 4.0}, made_on=made_on))
        for identity in (IDENTITY, ELSEWHERE, {"kind": "gpu"}):
            assert store.read("digits", CASE, identity).software == expected


def test_only_a_case_without_files_has_no_baseline(tmp_path: Path) -> None:
    assert Store(tmp_path / "absent").read("digits", CASE, IDENTITY) == Baseline(None, None)
    assert list(Store(tmp_path / "absent").each()) == []
    store = filled(tmp_path, CASE)
    (home(tmp_path) / "portable.json").unlink()
    with pytest.raises(BaselineError, match=r"portable\.json: is missing"):
        store.read("digits", CASE, IDENTITY)
    ((_, damage),) = store.each()
    assert isinstance(damage, BaselineError)
    assert "portable.json: is missing" in str(damage)


def test_everything_is_listed_in_order(tmp_path: Path) -> None:
    ids = ["digits/a/cpu", "digits/A/cpu", "digits/b+c:0.5/cpu"]
    store = filled(tmp_path, *ids)
    (tmp_path / "README.md").write_text("not a suite")
    assert sorted(one.case_id for one in portables(store)) == sorted(ids)
    assert len(list(store.times_of(machine_class(IDENTITY)))) == 3
    assert list(store.times_of(machine_class(ELSEWHERE))) == []


@pytest.mark.parametrize(
    "case_id", ["../../escape", "/etc/passwd", "a/../../b", "nul\x00byte", "x" * 300, "CON", "ünïcödé", ".", ""]
)
@pytest.mark.parametrize("suite", ["digits", "../../up", "", "..", "Digits", "a/b"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, case_id: str, suite: str) -> None:
    folder = tmp_path / "baselines"
    store = Store(folder)
    path = store.write(a_portable({}, case_id=case_id, suite=suite))
    assert path.resolve().is_relative_to(folder.resolve())
    assert len(path.relative_to(folder).parts) == 3
    assert [one.case_id for one in portables(store)] == [case_id]
    assert store.read(suite, case_id, IDENTITY).portable is not None


def test_a_file_in_the_wrong_folder_is_refused(tmp_path: Path) -> None:
    store = filled(tmp_path, CASE, "digits/bf16/cpu")
    shutil.copy(home(tmp_path) / "portable.json", home(tmp_path, "digits/bf16/cpu") / "portable.json")
    with pytest.raises(
        BaselineError, match="holds the case digits/onnxruntime/cpu of suite digits, which belongs into"
    ):
        store.read("digits", "digits/bf16/cpu", IDENTITY)
    assert store.read("digits", CASE, IDENTITY).portable is not None


def test_times_under_another_machines_name_are_refused(tmp_path: Path) -> None:
    store = filled(tmp_path, CASE)
    times = home(tmp_path) / f"times.{machine_class(IDENTITY)}.json"
    times.rename(times.with_name(f"times.{machine_class(ELSEWHERE)}.json"))
    with pytest.raises(BaselineError, match="holds the times of cpu-"):
        store.read("digits", CASE, IDENTITY)


@pytest.mark.parametrize("blocks", [[], [a_block({"speedup": []})], [a_block({"speedup": [1.0]}, {"speedup": []})]])
def test_empty_lists_are_refused(tmp_path: Path, blocks: list) -> None:
    store = filled(tmp_path, CASE)
    store.write(some_times(blocks))
    with pytest.raises(BaselineError, match="empty list"):
        store.read("digits", CASE, IDENTITY)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder, outside = tmp_path / "baselines", tmp_path / "outside"
    store = filled(folder, CASE)
    filled(outside, CASE)
    portable = home(folder) / "portable.json"
    portable.unlink()
    portable.symlink_to(home(outside) / "portable.json")
    with pytest.raises(BaselineError, match="leads out of the baselines' folder"):
        store.read("digits", CASE, IDENTITY)
    shutil.rmtree(folder / "digits")
    (folder / "digits").symlink_to(outside / "digits")
    for act in (
        lambda: store.read("digits", CASE, IDENTITY),
        lambda: store.write(a_portable({})),
        lambda: store.remove("digits", CASE),
    ):
        with pytest.raises(BaselineError, match="leads out of the baselines' folder"):
            act()
    ((folder_name, found),) = store.each()
    assert folder_name == "digits/*"
    assert "leads out of the baselines' folder" in str(found)


def test_what_is_no_plain_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    store = filled(tmp_path, CASE)
    portable = home(tmp_path) / "portable.json"
    for make in (portable.mkdir, lambda: os.mkfifo(portable), lambda: portable.symlink_to(home(tmp_path) / "gone")):
        shutil.rmtree(portable) if portable.is_dir() else portable.unlink()
        make()
        with pytest.raises(BaselineError, match="no plain file"):
            store.read("digits", CASE, IDENTITY)


def test_a_file_that_cant_be_read_is_an_error_of_its_own_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file of another user's ended the run, also for the cases beside it."""
    other = "digits/bf16/cpu"
    store = filled(tmp_path, CASE, other)
    unreadable, read = home(tmp_path) / "portable.json", Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path == unreadable:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    said = (
        r"portable\.json: can't be read: Permission denied; make it readable \(chmod, chown\), or restore it from git"
    )
    with pytest.raises(BaselineError, match=said):
        store.read("digits", CASE, IDENTITY)
    found = dict(store.each())
    assert found.pop(f"digits/{file_name(other)}") == a_portable({"size": 4.0}, case_id=other)
    assert [type(one) for one in found.values()] == [BaselineError]


def test_a_folder_that_cant_be_read_hides_no_other_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path, CASE)
    store.write(a_portable({"size": 4.0}, suite="texts"))
    listed = Path.iterdir

    def refuse(path: Path) -> Iterator[Path]:
        if path == tmp_path / "digits":
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    found = dict(store.each())
    assert found.keys() == {"digits/*", f"texts/{file_name(CASE)}"}
    assert f"digits: can't be read: {os.strerror(errno.ESTALE)}; " in str(found["digits/*"])
    with pytest.raises(BaselineError, match="can't be read"):
        list(store.times_of(machine_class(IDENTITY)))


def test_what_changed_on_the_disk_is_read_anew(tmp_path: Path) -> None:
    store = filled(tmp_path, CASE)
    assert store.read("digits", CASE, IDENTITY).times == some_times([BLOCK])
    other = a_block({"speedup": [3.0, 3.1]})
    Store(tmp_path).write(some_times([other]))
    assert store.read("digits", CASE, IDENTITY).times == some_times([other])
    path = home(tmp_path) / "portable.json"
    path.write_bytes(path.read_bytes().replace(b"4", b"5"))
    with pytest.raises(BaselineError, match="match its digest"):
        store.read("digits", CASE, IDENTITY)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    store = filled(tmp_path, CASE)
    with (home(tmp_path) / "portable.json").open("wb") as file:
        file.truncate(MAX_FILE + 1)
    with pytest.raises(BaselineError, match="at most"):
        store.read("digits", CASE, IDENTITY)


def test_an_update_leaves_the_neighbours_as_they_are(tmp_path: Path) -> None:
    store = filled(tmp_path, CASE, "digits/bf16/cpu")
    store.write(some_times([BLOCK], identity=ELSEWHERE))
    before = contents(tmp_path)
    changed = store.write(a_portable({"size": 5.0})).relative_to(tmp_path).as_posix()
    after = contents(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {changed}
    assert after.keys() == before.keys()


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path, CASE)
    before = contents(tmp_path)

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BaselineError, match="No space left on device; it is as it was"):
        store.write(a_portable({"size": 5.0}))
    assert contents(tmp_path) == before


def test_a_write_that_is_interrupted_leaves_nothing_beside_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path, CASE)
    before = contents(tmp_path)

    def interrupted(number: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.write(a_portable({"size": 5.0}))
    assert contents(tmp_path) == before


def test_a_reason_that_is_no_utf_8_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    odd = a_portable({}, weights="caf\udce9")
    store.write(odd)
    assert store.read("digits", CASE, IDENTITY).portable == odd


def test_removing_a_case_removes_its_folders(tmp_path: Path) -> None:
    store = filled(tmp_path, CASE, "digits/bf16/cpu")
    removed = store.remove("digits", CASE)
    assert [path.name for path in removed] == [f"times.{machine_class(IDENTITY)}.json", "portable.json"]
    assert not home(tmp_path).exists()
    store.remove("digits", "digits/bf16/cpu")
    assert list(tmp_path.iterdir()) == []
    assert store.remove("digits", CASE) == []


def git(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=check, capture_output=True, text=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    shutil.copy(ROOT / ".gitattributes", tmp_path / ".gitattributes")
    filled(tmp_path / "baselines", CASE, "digits/bf16/cpu")
    commit(tmp_path, "first")
    return tmp_path


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", message)


def test_the_baselines_of_another_commit(repository: Path) -> None:
    folder = repository / "baselines"
    git(repository, "tag", "v1")
    Store(folder).write(a_portable({"size": 5.0}))
    Store(folder).remove("digits", "digits/bf16/cpu")
    commit(repository, "second")
    earlier = Store.at_revision(folder, "v1")
    found = earlier.read("digits", CASE, IDENTITY)
    assert found == Baseline(a_portable({"size": 4.0}), some_times([BLOCK]), (), ENVIRONMENT.software)
    assert len(portables(earlier)) == len(list(earlier.times_of(machine_class(IDENTITY)))) == 2
    shutil.rmtree(folder)
    assert Store.at_revision(folder, "HEAD").read("digits", CASE, IDENTITY).portable == a_portable({"size": 5.0})
    for act in (lambda: earlier.write(a_portable({})), lambda: earlier.remove("digits", CASE)):
        with pytest.raises(BaselineError, match=r"v1:baselines/digits/.*a commit can't be changed"):
            act()


@pytest.mark.parametrize("revision", ["no-such-tag", "--output=stolen", "", "HEAD:baselines"])
def test_a_revision_that_is_none_is_an_error(repository: Path, revision: str) -> None:
    with pytest.raises(BaselineError, match="git rev-parse"):
        Store.at_revision(repository / "baselines", revision)


def test_a_revision_without_baselines_does_not_open_the_gate(repository: Path) -> None:
    with pytest.raises(BaselineError, match="HEAD holds no baselines in elsewhere/"):
        Store.at_revision(repository / "elsewhere", "HEAD")


def test_damage_in_another_commit_is_named(repository: Path) -> None:
    portable = home(repository / "baselines") / "portable.json"
    portable.write_text(portable.read_text().replace("4", "5"))
    commit(repository, "damaged")
    store = Store.at_revision(repository / "baselines", "HEAD")
    with pytest.raises(BaselineError, match=r"HEAD:baselines/digits/.*portable\.json"):
        store.read("digits", CASE, IDENTITY)
    portable.unlink()
    portable.symlink_to("elsewhere")
    commit(repository, "linked")
    with pytest.raises(BaselineError, match="no plain file"):
        Store.at_revision(repository / "baselines", "HEAD")


def test_outside_git_there_is_no_other_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(BaselineError, match="not a git repository"):
        Store.at_revision(tmp_path, "HEAD")


def test_a_merge_of_two_acceptances_never_blends_them(repository: Path) -> None:
    """Two branches change other lines of one file; git's own merge would make a third file of both."""
    folder = repository / "baselines"
    store = Store(folder)
    for branch, changes in (("one", {"weights": "bbbb"}), ("two", {"values": {"size": 9.0}})):
        git(repository, "switch", "--quiet", "-c", branch, "main")
        fields = {"values": {"size": 4.0}} | changes
        store.write(a_portable(**fields))
        commit(repository, branch)
    merged = git(repository, "merge", "one", check=False)
    assert merged.returncode != 0
    assert "CONFLICT" in merged.stdout
    assert store.read("digits", CASE, IDENTITY).portable == a_portable({"size": 9.0}), "our side, whole"
    git(repository, "checkout", "--theirs", "--", "baselines")
    assert store.read("digits", CASE, IDENTITY).portable == a_portable({"size": 4.0}, weights="bbbb")


def test_machines_and_cases_merge_without_conflict(repository: Path) -> None:
    store = Store(repository / "baselines")
    git(repository, "switch", "--quiet", "-c", "one", "main")
    store.write(some_times([BLOCK], identity=ELSEWHERE))
    commit(repository, "one")
    git(repository, "switch", "--quiet", "-c", "two", "main")
    filled(repository / "baselines", "digits/fp16/cpu")
    store.write(some_times([BLOCK, BLOCK]))
    commit(repository, "two")
    git(repository, "merge", "--quiet", "one")
    found = store.read("digits", CASE, IDENTITY)
    assert found.times == some_times([BLOCK, BLOCK])
    assert found.others == (ELSEWHERE,)
    assert len(portables(store)) == 3


def test_times_in_the_wrong_folder_are_refused(tmp_path: Path) -> None:
    """A case would be held to the times of another one, whose inputs are the same."""
    store, other = filled(tmp_path, CASE, "digits/bf16/cpu"), "digits/bf16/cpu"
    name = f"times.{machine_class(IDENTITY)}.json"
    shutil.copy(home(tmp_path) / name, home(tmp_path, other) / name)
    for read in (
        lambda: store.read("digits", other, IDENTITY),
        lambda: list(store.times_of(machine_class(IDENTITY))),
    ):
        with pytest.raises(BaselineError, match=f"holds the case {CASE} of suite digits, which belongs into"):
            read()
