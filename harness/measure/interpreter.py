"""An interpreter like the running one, with some packages in other versions: for "does this upgrade slow us down?"."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from harness.errors import SuiteError
from harness.git import git_variables

__all__ = ["python_with"]

INSTALL_SECONDS = 1800.0


def python_with(packages: Sequence[str], folder: Path, python: str = sys.executable) -> str:
    """The path of a Python that sees everything that `python` does, and first these requirements (`onnxruntime==1.30`).

    The environment is made once below `folder` and kept. Raises `SuiteError` where pip can't install them.
    """
    site = _site_packages(python)
    key = hashlib.sha256("|".join([python, site, *sorted(packages)]).encode()).hexdigest()[:16]
    place = folder / key
    interpreter = place / "bin" / "python"
    if (place / "complete").exists():
        return str(interpreter)
    shutil.rmtree(place, ignore_errors=True)
    _run([python, "-m", "venv", str(place)])
    # A line of code, not a path: so the path files of that folder count too, by which editable projects are found.
    inner = Path(_site_packages(str(interpreter)))
    (inner / "zz_underneath.pth").write_text(f"import site; site.addsitedir({site!r})\n", encoding="utf-8")
    _run([str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
    (place / "complete").touch()
    return str(interpreter)


def _site_packages(python: str) -> str:
    if python == sys.executable:
        return sysconfig.get_path("purelib")
    return _run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False, env=git_variables()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SuiteError(f"{command[0]} can't make the other arm's environment: {error}") from None
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise SuiteError(f"the other arm's environment can't be made: {' '.join(last) or ' '.join(command)}")
    return done.stdout
