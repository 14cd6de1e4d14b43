"""Importing a suite file for a command that runs no pytest, with the import paths that pytest gives it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.errors import SuiteError
from harness.grid import grids_of, load_suite

__all__ = ["import_suite"]

ASK = """
import json
import sys

import pytest


class Paths:
    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config):
        print("pythonpath:", json.dumps([str(path) for path in config.getini("pythonpath")]))
        return 0


sys.exit(pytest.main(sys.argv[1:], plugins=[Paths()]))
"""
"""Asks pytest itself, which alone knows its files of settings, their order and what `addopts` says: it reads them,
answers, and collects nothing."""


def import_suite(root: Path, file: str, given: str = "") -> tuple[Any, tuple[str, ...]]:
    """The module of a suite file, and pytest's `pythonpath`, which the children of it need as well.

    `file` is relative to `root`; errors name it as it was `given`, if that is another way. Raises `SuiteError` where
    pytest can't be asked, or the file can't be imported, skips itself or has a function under two grids.
    """
    given = given or file
    paths = _paths(root, file, given)
    sys.path[:0] = [path for path in paths if path not in sys.path]
    try:
        module = load_suite(root, file, given)
    except BaseException as ended:
        if type(ended).__name__ != "Skipped":  # what pytest.skip raises is no Exception, and pytest is not here
            raise
        raise SuiteError(f"{given} skips itself as a whole: {ended}") from None
    for one in grids_of(module):
        if one.fault:
            raise SuiteError(f"{given}: {one.fault}")
    return module, paths


def _paths(root: Path, file: str, given: str) -> tuple[str, ...]:
    command = [sys.executable, "-P", "-c", ASK, file]
    done = subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    # Among the lines that a conftest may have printed.
    told = [line for line in done.stdout.splitlines() if line.startswith("pythonpath: ")]
    if done.returncode or not told:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise SuiteError(f"{given}: pytest can't read its settings here, and so not say its `pythonpath`:\n{said}")
    return tuple(json.loads(told[-1].removeprefix("pythonpath: ")))
