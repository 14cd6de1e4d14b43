"""The folders that pytest puts on the import path by itself, which children of a run need as well."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from harness.files import imported_from

__all__ = ["import_folders"]


def import_folders(config: pytest.Config, files: Iterable[Path]) -> tuple[str, ...]:
    """The folders below the project's that pytest imports these files and their conftests from, relative to it.

    The first comes first. With `--import-mode=importlib` there are none. The project's own folder, which children have
    anyway, is one of them only where it comes before the others.
    """
    root = config.rootpath
    mode = config.getoption("importmode")
    if mode == "importlib":
        return ()
    folders = (folder.relative_to(root).as_posix() for file in files for folder in imported_from(file, root))
    found = dict.fromkeys(folders)
    return (".", *found) if found and mode == "append" else tuple(found)
