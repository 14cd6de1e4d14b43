"""Control groups, on a scripted tree: where a group is made, what is written into it, and why there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import UnavailableError
from harness.hardware.cgroup import Group, own_group, parent_group, processors


class Tree:
    """`/sys/fs/cgroup` and `/proc` of a process in `user.slice/app.slice/term.scope`; app.slice hands memory down."""

    def __init__(self, folder: Path) -> None:
        self.mount, self.proc = folder / "cgroup", folder / "proc"
        self.app = self.mount / "user.slice" / "app.slice"
        self.own = self.app / "term.scope"
        self.own.mkdir(parents=True)
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "self" / "cgroup").write_text("0::/user.slice/app.slice/term.scope\n")
        (self.mount / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        for group, controllers in ((self.mount, "memory"), (self.app, "cpu memory pids"), (self.own, "")):
            (group / "cgroup.subtree_control").write_text(f"{controllers}\n")
            (group / "cgroup.procs").write_text("")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_the_nearest_group_that_hands_memory_down(tree: Tree) -> None:
    assert own_group(tree.proc, tree.mount) == tree.own
    assert parent_group(tree.proc, tree.mount) == tree.app
    (tree.app / "cgroup.subtree_control").write_text("cpu\n")
    assert parent_group(tree.proc, tree.mount) == tree.mount


def test_no_group_hands_memory_down(tree: Tree) -> None:
    for group in (tree.mount, tree.app):
        (group / "cgroup.subtree_control").write_text("cpu\n")
    with pytest.raises(UnavailableError, match=r"hands limits of memory down \(start the harness with: systemd-run"):
        parent_group(tree.proc, tree.mount)


def test_groups_of_others_are_left_alone(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UnavailableError, match="may be written"):
        parent_group(tree.proc, tree.mount)


@pytest.mark.parametrize(
    ("controllers", "option"), [(None, "systemd.unified_cgroup_hierarchy=1"), ("cpuset pids\n", "cgroup_enable=memory")]
)
def test_a_machine_without_version_2_or_with_memory_switched_off_in_it(
    tree: Tree, controllers: str | None, option: str
) -> None:
    """It is off on a Raspberry Pi."""
    (tree.mount / "cgroup.controllers").unlink()
    if controllers:
        (tree.mount / "cgroup.controllers").write_text(controllers)
    with pytest.raises(UnavailableError, match=rf"no cgroup v2 manages memory here \(boot with {option}\b"):
        own_group(tree.proc, tree.mount)


def test_a_process_whose_group_is_not_told(tree: Tree) -> None:
    (tree.mount / "cgroup.controllers").write_text("memory\n")
    (tree.proc / "self" / "cgroup").write_text("4:memory:/docker\n")
    with pytest.raises(UnavailableError, match="does not tell"):
        own_group(tree.proc, tree.mount)


def test_a_process_is_moved_into_a_group_with_limits(tree: Tree) -> None:
    folder = tree.app / "harness-4711"
    folder.mkdir()
    (folder / "memory.swap.max").write_text("max\n")
    group = Group(tree.app, 512_000_000, 4711)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "memory.max": "512000000",
        "memory.swap.max": "0",
        "cgroup.procs": "4711",
    }
    assert group.limit == 512_000_000
    (folder / "memory.current").write_text("1000\n")
    assert group.held == 1000
    (folder / "memory.peak").write_text("2000\n")
    assert group.held == 2000
    group.leave(tree.own)
    assert (tree.own / "cgroup.procs").read_text() == str(os.getpid())


def test_a_kernel_that_counts_no_swap(tree: Tree) -> None:
    Group(tree.app, 1, 4711)
    assert not (tree.app / "harness-4711" / "memory.swap.max").exists()


@pytest.mark.parametrize(
    ("mount", "app", "own", "found"),
    [
        (None, None, None, None),
        (None, "max 100000", "max 100000", None),
        (None, None, "200000 100000", 2.0),
        (None, "150000 100000", "200000 100000", 1.5),
        ("50000 100000", "max 100000", "200000 100000", 0.5),
    ],
)
def test_the_least_time_of_processors_that_a_group_gives(
    tree: Tree, mount: str | None, app: str | None, own: str | None, found: float | None
) -> None:
    for group, limit in ((tree.mount, mount), (tree.app, app), (tree.own, own)):
        if limit:
            (group / "cpu.max").write_text(f"{limit}\n")
    assert processors(tree.proc, tree.mount) == found


def test_a_container_sees_its_own_group_as_the_root(tree: Tree) -> None:
    (tree.mount / "cpu.max").write_text("200000 100000\n")
    for path in ("/", "/docker/4711", "/../../other.slice"):
        (tree.proc / "self" / "cgroup").write_text(f"0::{path}\n")
        assert processors(tree.proc, tree.mount) == 2.0


def test_time_of_processors_by_version_1(tree: Tree) -> None:
    (tree.proc / "self" / "cgroup").write_text("5:cpuset:/docker/4711\n4:cpu,cpuacct:/docker/4711\n0::/\n")
    group = tree.mount / "cpu"
    group.mkdir()
    assert processors(tree.proc, tree.mount) is None
    (group / "cpu.cfs_period_us").write_text("100000\n")
    for quota, found in (("-1", None), ("300000", 3.0)):
        (group / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        assert processors(tree.proc, tree.mount) == found


def test_no_groups_at_all(tmp_path: Path) -> None:
    assert processors(tmp_path / "proc", tmp_path / "cgroup") is None
