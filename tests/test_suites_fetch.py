"""Fetching weights and data: what is not what was pinned is not used, and what is whole is not fetched again."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from harness import UnavailableError
from suites import data, fetch
from suites.pins import PINS, Pin

NAME = "harness_fetch_sample"
MEMBER = "harness_fetch_sample/numbers.txt"


def wheel(folder: Path, members: dict[str, bytes] | None = None) -> Path:
    """A wheel of a package that exists nowhere."""
    info = f"{NAME}-1.0.dist-info"
    files = members or {MEMBER: b"1 2 3\n", "harness_fetch_sample/left_out.bin": b"0"}
    files |= {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    path = folder / f"{NAME}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def pin_of(archive: Path, sha256: str = "", members: tuple[str, ...] = ("*.txt",)) -> Pin:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    return Pin(NAME, "1.0", sha256 or found, archive.name, 0.001, members)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes packages from, and nothing else; and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "cache"))
    return folder


def test_fetches_once_and_mends_what_is_damaged(index: Path) -> None:
    archive = wheel(index)
    pin = pin_of(archive)
    assert fetch.fetch(pin) == "downloaded"
    assert data.member(pin, MEMBER).read_bytes() == b"1 2 3\n"
    assert data.files_of(pin) == [MEMBER]
    content = archive.read_bytes()
    archive.unlink()
    assert fetch.fetch(pin) == "ready"
    data.member(pin, MEMBER).write_bytes(b"1 2 4\n")
    assert fetch.fetch(pin) == "unpacked"
    assert data.member(pin, MEMBER).read_bytes() == b"1 2 3\n"
    (data.cache_folder() / pin.archive).write_bytes(b"half")
    archive.write_bytes(content)
    assert fetch.fetch(pin) == "downloaded"
    assert sorted(path.name for path in data.cache_folder().iterdir()) == [f"{NAME}-1.0", pin.archive]


def test_unpacks_again_when_the_pin_asks_for_other_members(index: Path) -> None:
    archive = wheel(index)
    fetch.fetch(pin_of(archive))
    other = pin_of(archive, members=("*.bin",))
    assert fetch.fetch(other) == "unpacked"
    assert data.files_of(other) == ["harness_fetch_sample/left_out.bin"]


def test_another_archive_than_the_pinned_one_is_not_used(index: Path) -> None:
    pin = pin_of(wheel(index), sha256="0" * 64)
    with pytest.raises(UnavailableError, match=r"could not download .*run python -m suites.fetch again"):
        fetch.fetch(pin)
    assert list(data.cache_folder().iterdir()) == []
    with pytest.raises(UnavailableError, match=r"harness_fetch_sample==1.0 is not in .*run python -m suites.fetch"):
        data.member(pin, MEMBER)


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "a/../../outside.txt", "c:outside.txt"])
def test_a_member_that_leads_out_of_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    archive = wheel(tmp_path, {"first.txt": b"1", name: b"2"})
    with pytest.raises(UnavailableError, match="unsafe name"):
        fetch.extract(archive, pin_of(archive), tmp_path / "unpacked")
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]


def test_a_link_among_the_members_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "sample-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as source:
        entry = tarfile.TarInfo("first.txt")
        entry.size = 1
        source.addfile(entry, io.BytesIO(b"1"))
        link = tarfile.TarInfo("second.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        source.addfile(link)
    with pytest.raises(UnavailableError, match=r"second.txt.*no regular file"):
        fetch.extract(archive, pin_of(archive), tmp_path / "unpacked")
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    archive = wheel(tmp_path)
    with pytest.raises(UnavailableError, match="has no member like"):
        fetch.extract(archive, pin_of(archive, members=("*.onnx",)), tmp_path / "unpacked")


def test_one_failure_does_not_keep_the_others_from_being_fetched(
    index: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    good = pin_of(wheel(index))
    monkeypatch.setattr(fetch, "PINS", (pin_of(wheel(index), sha256="0" * 64), good))
    assert fetch.main() == 1
    assert data.files_of(good) == [MEMBER]
    assert "1 of 2 are missing" in capfd.readouterr().err


def test_every_pin_is_fetched_here() -> None:
    assert [fetch.fetch(pin) for pin in PINS] == ["ready"] * len(PINS)
