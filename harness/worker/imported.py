"""What a process has imported, so that its parent can tell whether it was the right tree's."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import Distribution
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

__all__ = ["folder_of", "imported"]

OURS = ("__main__", "__mp_main__", "harness", __name__.partition(".")[0])
"""What is told elsewhere, or is no part of a project. The second is what multiprocessing calls the first."""
INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders of installed packages, which may lie inside of a project, or among the standard library."""


def imported() -> dict[str, str]:
    """The file of each imported package, by name. Parts of namespace packages are told one by one, and so is what a
    package has from another folder than its own; the standard library and the harness are left out.
    """
    standard = Path(os.__file__).resolve().parent
    found = {}
    for name, module in list(sys.modules.items()):
        top, _, _ = name.partition(".")
        file = _file(module)
        if not file or top in OURS or top in sys.stdlib_module_names or _is_of_its_package(name, module):
            continue
        path = Path(file).resolve()
        # Not all of it has a name in that list: _sysconfigdata and sitecustomize haven't.
        if path.is_relative_to(standard) and not INSTALLED & set(path.relative_to(standard).parts):
            continue
        found[name] = file
    return found


def folder_of(distribution: Distribution) -> tuple[str, bool] | None:
    """The folder that a distribution was installed from, and whether it was copied (PEP 610); None of all others."""
    text = distribution.read_text("direct_url.json")
    if not text:
        return None
    told = json.loads(text)
    url = urlsplit(str(told.get("url", "")))
    if "dir_info" not in told or url.scheme != "file":
        return None
    return unquote(url.path), not told["dir_info"].get("editable")


def _is_of_its_package(name: str, module: ModuleType) -> bool:
    """Whether a module lies in one that has a file itself, and so comes from where this one does. So does what packages
    make, or give another name, themselves (six.moves, the kernels of torch): no finder found it by this name.
    """
    above = name
    while above := above.rpartition(".")[0]:
        if package := _file(sys.modules.get(above)):
            spec = vars(module).get("__spec__")
            return getattr(spec, "name", "") != name or Path(_file(module)).is_relative_to(Path(package).parent)
    return False


def _file(module: object) -> str:
    """The file of a module, "" where it has none. Not asked of the module, since some import more when they are."""
    return str(vars(module).get("__file__") or "") if isinstance(module, ModuleType) else ""
