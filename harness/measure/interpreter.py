"""An interpreter like the running one, with some packages in other versions: for "does this upgrade slow us down?"."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.errors import SuiteError
from harness.files import locked, owned, sweep
from harness.git import git_variables
from harness.settings import without_credentials
from harness.worker.imported import INSTALLED

__all__ = ["names_of", "python_with"]

INSTALL_SECONDS = 1800.0
ONCE = "once"
PYTHON = "bin/python"
PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^\]]*\])?\s*==\s*[^\s*,;@]+")
"""A requirement that is the same packages tomorrow: a name, perhaps extras, and one version."""
NAMED = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*([@=<>!~;(]|$)")
"""A requirement that begins with a name, as one that is a path or a URL alone does not."""


def names_of(packages: Sequence[str]) -> tuple[str, ...]:
    """The names of the distributions that requirements ask for; of a path or a URL alone it is not known."""
    return tuple(named[1] for named in map(NAMED.match, packages) if named)


def python_with(packages: Sequence[str], folder: Path, python: str = sys.executable) -> str:
    """The path of a Python that sees everything that `python` does, and first these requirements (`onnxruntime==1.30`).

    The environment lies below `folder`. It is made once and kept where each requirement names one version, as long as
    `python` is the same; a file, a branch or a range stands for something else tomorrow, so that for those one is made
    at each call, and removed when one is made after this process. Another session that wants the same one waits until
    it is made. Raises `SuiteError` where pip can't install them.
    """
    version, underneath = _described(python)
    if all(PINNED.fullmatch(package) for package in packages):
        key = hashlib.sha256("|".join([python, *version, *underneath, *sorted(packages)]).encode()).hexdigest()[:16]
        place = folder / key
        with locked(folder / f".{key}.lock"):
            if not (place / "complete").exists():
                shutil.rmtree(place, ignore_errors=True)
                _make(place, packages, python, underneath)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder, ONCE)
        # A path of its own, which is a part of every artefact's key: what another one made may be of other code.
        place = Path(tempfile.mkdtemp(prefix=owned(ONCE), dir=folder))
        _make(place, packages, python, underneath)
    return str(place / PYTHON)


def _make(place: Path, packages: Sequence[str], python: str, underneath: Sequence[str]) -> None:
    """Make an environment that sees these folders, and install requirements there. Raises `SuiteError`."""
    interpreter = place / PYTHON
    _run([python, "-m", "venv", str(place)])
    own = _run([str(interpreter), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
    # Lines of code, not paths: so the path files of those folders count too, by which editable projects are found.
    lines = [f"import site; site.addsitedir({path!r})\n" for path in underneath]
    (Path(own) / "zz_underneath.pth").write_text("".join(lines), encoding="utf-8")
    _run([str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
    (place / "complete").touch()


def _described(python: str) -> tuple[list[str], list[str]]:
    """An interpreter's version and the one that it was made from, and the folders of installed packages that it looks
    into, in its order. A virtual environment that sees the system's packages has several, and so has a user with
    packages of their own.
    """
    told = "sys.version, str(getattr(sys, '_base_executable', ''))"
    found = _run([python, "-P", "-c", f"import json, sys; print(json.dumps([[{told}], sys.path]))"])
    version, paths = json.loads(found)
    return version, [path for path in paths if Path(path).name in INSTALLED]


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False, env=git_variables()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = without_credentials(str(error))
        raise SuiteError(f"{command[0]} can't make the other arm's environment: {reason}") from None
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        reason = without_credentials(" ".join(last or command))
        raise SuiteError(f"the other arm's environment can't be made: {reason}")
    return done.stdout
