"""What a process has imported, so that its parent can tell whether it was the right tree's."""

from __future__ import annotations

import json
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

__all__ = ["imported"]

OURS = ("__main__", "harness", __name__.partition(".")[0])
"""What is told elsewhere, or is no part of a project."""


def imported() -> dict[str, str]:
    """Where each imported package comes from, by name: its file, or of a package that was copied into the interpreter's
    folders from a folder (`pip install .`) that folder. Parts of namespace packages are told one by one; the standard
    library and the harness are left out.
    """
    copied = _copied()
    found = {}
    for name, module in list(sys.modules.items()):
        top, _, _ = name.partition(".")
        file = _file(module)
        if not file or top in OURS or top in sys.stdlib_module_names or _in_a_package(name):
            continue
        place, source = copied.get(top, (None, ""))
        found[name] = source if place and Path(file).resolve().is_relative_to(place) else file
    return found


def _in_a_package(name: str) -> bool:
    """Whether a module lies in one that has a file itself, and so comes from where this one does."""
    parent, _, _ = name.rpartition(".")
    return bool(parent) and (bool(_file(sys.modules.get(parent))) or _in_a_package(parent))


def _file(module: object) -> str:
    """The file of a module, "" where it has none. Not asked of the module, since some import more when they are."""
    return str(vars(module).get("__file__") or "") if isinstance(module, ModuleType) else ""


def _copied() -> dict[str, tuple[Path, str]]:
    """By the names of their packages the distributions that were installed from a folder: where they lie, and it."""
    found = dict[str, tuple[Path, str]]()
    for distribution in distributions():
        source = _folder_of(distribution)
        if source:
            place = Path(str(distribution.locate_file(""))).resolve()
            names = {file.parts[0].removesuffix(".py") for file in distribution.files or () if file.suffix == ".py"}
            found |= dict.fromkeys(names, (place, source))
    return found


def _folder_of(distribution: Distribution) -> str:
    """The folder that a distribution was copied from, "" where it was none or its files are still used (PEP 610)."""
    text = distribution.read_text("direct_url.json")
    if not text:
        return ""
    told = json.loads(text)
    url = urlsplit(str(told.get("url", "")))
    copied = "dir_info" in told and not told["dir_info"].get("editable")
    return unquote(url.path) if copied and url.scheme == "file" else ""
