"""Edge hardware: the operating system limits the memory of a process, for real, in processes of their own."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import MeasurementError, SuiteError, UnavailableError
from harness.hardware import Hardware, cgroup, cpu, edge
from harness.hardware.check import check_hardware
from harness.hardware.limit import CGROUP, DATA, Limit, means
from harness.specs import spec_of

EDGE = sys.modules["harness.hardware.edge"]
LIMIT = sys.modules["harness.hardware.limit"]

limited = pytest.mark.skipif(bool(means()[1]), reason=f"memory can't be limited here: {means()[1]}")


def in_child(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process that was started as a child of the harness is."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **edge.environment()}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)


def test_is_hardware_with_names_that_tell_results_apart() -> None:
    assert isinstance(edge, Hardware)
    values = [edge, edge(memory="256MB"), edge(threads=2), edge(memory="1 GiB", threads=2), edge(memory="0.512 GB")]
    assert [value.name for value in values] == ["edge", "edge.256MB", "edge.2threads", "edge.1GiB.2threads", "edge"]
    assert edge(memory="1 GiB").size == 2**30
    assert values[-1] == edge, "what has one name is equal"
    assert edge(memory="1 GiB") == edge(memory="1GiB")
    assert edge(threads=2)(memory="256MB") == edge(memory="256MB", threads=2)
    assert all(spec_of(value).build() == value for value in values)


@pytest.mark.parametrize(("memory", "message"), [("plenty", "write 200MB"), ("0MB", "above nothing")])
def test_sizes_that_are_none(memory: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        edge(memory=memory)
    with pytest.raises(SuiteError, match="at least one thread"):
        edge(threads=0)


def test_the_reference_of_the_pages_grid_fits_by_the_pages_table() -> None:
    page = (Path(__file__).parents[1] / "docs" / "hardware.md").read_text(encoding="utf-8")
    (limit,) = re.findall(r'model=\[digits\], technique=\[reference, .* hardware=\[edge\(memory="(\d+)MB"\)\]', page)
    (needed,) = re.findall(r"^\| `digits` in torch \| (\d+) \| (\d+) \|", page, re.MULTILINE)
    assert max(map(int, needed)) < int(limit)


@limited
def test_keeps_the_contract() -> None:
    check_hardware(edge)
    check_hardware(edge(memory="256MB"))


@limited
def test_the_limit_and_what_enforces_it_are_in_the_identity() -> None:
    identity = edge.describe()
    assert {key: identity[key] for key in ("kind", "profile", "memory_limit")} == {
        "kind": "cpu",
        "profile": "edge",
        "memory_limit": 512_000_000,
    }
    assert identity["limited_by"] in (CGROUP, DATA)
    assert {**identity, "memory_limit": 256_000_000} == edge(memory="256MB").describe()
    assert cpu.describe().items() < identity.items()


@limited
def test_a_process_gets_what_it_may_have_and_no_more() -> None:
    """Pages are written, since a control group counts none that are not; the kernel ends who takes too much of them."""
    code = (
        "import sys\n"
        "from harness.hardware import edge\n"
        "small = edge(memory='200MB'); small.enter(); print(small.limits(), flush=True)\n"
        "for size in (100_000_000, 300_000_000):\n"
        "    try: block = b'x' * size\n"
        "    except MemoryError: sys.exit('refused')\n"
        "    print(len(block), flush=True); del block\n"
    )
    done = in_child(code)
    promise, granted, *more = done.stdout.splitlines()
    assert promise.startswith("{'memory <= 200MB': '200 MB by ")
    assert (granted, more) == ("100000000", [])
    assert done.stderr.strip() == "refused" or done.returncode == -9


@limited
def test_what_is_watched_is_asked_of_the_system() -> None:
    code = (
        "from harness.hardware import edge\n"
        "assert edge.watched() == {} and edge.limits() == {}\n"
        "edge.enter(); before = edge.watched(); block = b'x' * 100_000_000; after = edge.watched()\n"
        "print(before['memory_limit'], after['memory_used'] - before['memory_used'])\n"
    )
    size, more = in_child(code).stdout.split()
    assert size == "512000000"
    assert 99_000_000 < int(more) < 110_000_000


def test_a_limit_that_does_not_hold_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LIMIT, "_set_data_limit", lambda size: None)
    said = r"a limit of 1000 bytes was set by RLIMIT_DATA, and .* is in force"
    with pytest.raises(MeasurementError, match=said) as caught:
        Limit(DATA, 1000)
    assert caught.value.outcome == "invalid"


def test_a_limit_that_can_not_be_set_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model was called too large, as it worked without the limit."""

    def refuse(size: int) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(LIMIT, "_set_data_limit", refuse)
    with pytest.raises(MeasurementError, match="can't be set by RLIMIT_DATA: not allowed") as caught:
        Limit(DATA, 1000)
    assert caught.value.outcome == "invalid"
    with pytest.raises(MeasurementError, match="can't be set by good will: there is no such way"):
        Limit("good will", 1000)


@pytest.mark.parametrize("page", [4096, 65536])
def test_a_control_group_counts_the_pages_of_the_kernel(monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    class Group:
        def __init__(self, parent: Path, size: int, pid: int) -> None:
            self.limit = size // 65536 * 65536

        def leave(self, to: Path) -> None:
            """There is none to leave."""

    for name in ("own_group", "parent_group"):
        monkeypatch.setattr(cgroup, name, Path)
    monkeypatch.setattr(cgroup, "Group", Group)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": page}.__getitem__)
    if page == 65536:
        assert Limit(CGROUP, 512_000_000).size == 511_967_232
    else:
        with pytest.raises(
            MeasurementError, match=r"512000000 bytes was set by cgroup v2 .*, and 511967232 is in force"
        ):
            Limit(CGROUP, 512_000_000)


def test_a_process_that_was_not_started_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_MEMORY_LIMIT", raising=False)
    with pytest.raises(MeasurementError, match="was not started with the hardware's environment"):
        edge.enter()
    assert resource.getrlimit(resource.RLIMIT_DATA)[1] != edge.size


def test_unavailable_where_nothing_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_MEMORY_LIMIT", raising=False)
    monkeypatch.setattr(EDGE, "means", lambda: ("", "nothing limits memory here (measure on Linux)"))
    assert edge.available() == "nothing limits memory here (measure on Linux)"
    with pytest.raises(UnavailableError, match="nothing limits memory here"):
        edge.describe()


def test_unavailable_with_more_than_there_is() -> None:
    assert "use fewer threads" in str(edge(threads=10_000).available())
    if not means()[1]:
        assert "GB in this machine (use less memory, or cpu)" in str(edge(memory="900000GB").available())


def test_unavailable_above_the_limit_that_a_process_may_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an administrator has set one, each case of a larger one was an error of its own."""
    monkeypatch.setattr(EDGE, "means", lambda: (DATA, ""))
    monkeypatch.setattr(EDGE, "data_limit", lambda: 100_000_000)
    assert edge(memory="200MB").available() == (
        "200MB asked, and processes here may have 100 MB of data (raise it, ulimit -Hd, or ask for less)"
    )
    assert edge(memory="100MB").available() is None
    monkeypatch.setattr(EDGE, "data_limit", lambda: resource.RLIM_INFINITY)
    assert edge(memory="200MB").available() is None


def test_no_limit_on_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LIMIT.sys, "platform", "darwin")
    assert means.__wrapped__() == ("", "darwin does not enforce a limit on a process's memory (measure on Linux)")


def test_a_kernel_that_does_not_enforce_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with the kernel's parameter ignore_rlimit_data, and no control group."""

    def none(size: int) -> None:
        raise UnavailableError("no cgroup v2 manages memory here")

    monkeypatch.setattr(LIMIT.cgroup, "probe", none)
    assert means.__wrapped__() == (DATA, "")
    monkeypatch.setattr(LIMIT, "_REFUSED", "print('granted')")
    by, reason = means.__wrapped__()
    assert (by, "no cgroup v2" in reason, "does not enforce it" in reason) == ("", True, True)
    monkeypatch.setattr(LIMIT.cgroup, "probe", lambda size: None)
    assert means.__wrapped__() == (CGROUP, "")


def test_without_its_limit_it_is_the_cpu() -> None:
    assert edge(threads=3).unlimited() == cpu(threads=3)
