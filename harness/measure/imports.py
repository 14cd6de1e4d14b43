"""Whether a child imported what its tree has, and nothing of another one."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import harness
from harness.errors import WrongTreeError
from harness.git import ignored, in_another_repository
from harness.measure.distributions import edited, files_of, made_from, modules_of
from harness.worker.imported import INSTALLED

if TYPE_CHECKING:
    from harness.measure.tree import Tree

__all__ = ["check_imports"]


def check_imports(tree: Tree, harness_file: str, suite_file: str, modules: Mapping[str, str]) -> None:
    """Raise `WrongTreeError` where a child imported the suite, or a harness of the tree's own, from elsewhere.

    `modules` are where everything comes from that it imported: a tree of another commit has a package of the project
    from itself, or both arms would be the same code. Packages that were asked for in another version come from the
    tree's environment.
    """
    own = tree.root / "harness" / "__init__.py"
    running = Path(harness.__file__) if tree.python == sys.executable else None
    for what, found, right in (
        ("harness", harness_file, own if own.exists() else running),
        ("the suite", suite_file, tree.root if suite_file else None),
    ):
        if right and not Path(found).resolve().is_relative_to(right.resolve()):
            raise WrongTreeError(
                f"a child that should serve {tree.revision or 'the working tree'} imported {what} from {found}, "
                f"not from {right}: a path in PYTHONPATH or an installed copy hides it"
            )
    _check_packages(tree, modules)
    for name, found in modules.items():
        if _is_foreign(tree, name, Path(found).resolve()):
            raise WrongTreeError(
                f"a child that should serve {tree.revision} imported {name} from {found}, which is not that "
                f"commit's{_cure(tree, name, modules)}"
            )


def _check_packages(tree: Tree, modules: Mapping[str, str]) -> None:
    """Raise `WrongTreeError` where a child imported a package that it should have in another version from elsewhere."""
    if not tree.packages:
        return
    for site in _environment(tree).glob("lib/python*/site-packages"):
        asked = modules_of(tree.packages, site)
        for name, found in modules.items():
            if name in asked and not Path(found).resolve().is_relative_to(site):
                raise WrongTreeError(
                    f"a child that should have {name} in another version imported it from {found}, not from "
                    f"{asked[name]}: the project's folder, pytest's option `pythonpath` and some editable "
                    f"installations come before it; name the commit of that version instead (--against REV), or let "
                    f"{name} be imported from where it is installed, without -e"
                )


def _cure(tree: Tree, name: str, modules: Mapping[str, str]) -> str:
    """What let a child import a module that is not its commit's, and what helps."""
    above = name.rpartition(".")[0]
    while above and above not in modules:
        above = above.rpartition(".")[0]
    if above and tree.checkout and Path(modules[above]).resolve().is_relative_to(tree.checkout.resolve()):
        return (
            f": it has {above} without that module, and what is installed gives another tree's; uninstall the "
            f"project's package, so that the case fails there as it does in that commit"
        )
    for folder in (tree.root, *tree.paths):
        place = folder.joinpath(*name.split("."))
        if (place / "__init__.py").exists() or place.with_suffix(".py").exists():
            return (
                f", so it would be measured against itself; that commit's in {folder} is on the path, and something "
                f"that comes before every path hides it, as an editable installation by scikit-build-core or "
                f"meson-python does: install {name} without -e, and give the other arm an environment with that "
                f"commit's wheel (--against-python)"
            )
    return (
        f", so it would be measured against itself; let pytest's option `pythonpath` name the folder that holds "
        f"{name} (such as pythonpath = src), so that each tree imports its own"
    )


def _is_foreign(tree: Tree, name: str, found: Path) -> bool:
    """Whether a module belongs to the project and is not this checkout's."""
    if tree.origin is None or tree.checkout is None or found.is_relative_to(tree.checkout.resolve()):
        return False
    installed = any(folder.name in INSTALLED for folder in found.parents)
    if not installed and _holds(tree.origin, found):
        return not ignored(tree.origin, found)
    if _is_of_another_environment(tree, found):
        return False
    own = tree.distributions()
    if any(found in files_of(own, folder) for folder in found.parents):
        return True
    source = made_from(found) or (None if installed else found)
    if source:
        for top in (tree.origin, *edited(own)):
            if _holds(top, source):
                return not ignored(top, source)
    # A file from an index that none of the project's distributions has is somebody else's, and what is imported as
    # src.data is no package named data.
    alone = (own and not source) or (tree.root / "src" / "__init__.py").exists()
    folders = [tree.root] if alone else [tree.root, tree.root / "src"]
    places = [folder / Path(*name.split(".")) for folder in folders]
    # evaluate.py is no copy of a package of that name, nor the other way round.
    package = found.name == "__init__.py"
    module = found.suffix == ".py" and not package
    return any(
        ((place / "__init__.py").exists() and not module) or (place.with_suffix(".py").exists() and not package)
        for place in places
    )


def _is_of_another_environment(tree: Tree, found: Path) -> bool:
    """Whether a file is of an environment that was given for this tree, or made for other packages.

    What that one sees of the running interpreter's environment lies in the latter's own folders.
    """
    if tree.python == sys.executable:
        return False
    environment = _environment(tree)
    return environment != Path(sys.prefix).resolve() and found.is_relative_to(environment)


def _environment(tree: Tree) -> Path:
    """The folder of the environment whose interpreter a tree has."""
    # Not where the interpreter leads: that of a virtual environment is a link to the one that made it.
    return Path(shutil.which(tree.python) or tree.python).absolute().parent.parent.resolve()


def _holds(top: Path, path: Path) -> bool:
    """Whether a path lies below a repository's top folder, and is of no other one's there."""
    return path.is_relative_to(top) and not in_another_repository(top, path)
