"""A Python process in which only `pip install inference-harness` seems to have been run: no torch, no runtime."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["BASE", "run_bare"]

BASE = (
    *("jinja2", "numpy", "packaging", "pynvml", "pytest", "scipy"),
    *("_pytest", "iniconfig", "markupsafe", "pluggy", "py", "pygments"),
)
"""The import names of what the base install brings, and of what that needs."""

PRELUDE = f"""
import importlib.machinery, sys

class Bare(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        top = name.split(".")[0]
        if top in {("harness", *BASE)!r} or top in sys.stdlib_module_names or top.startswith("_"):
            return super().find_spec(name, path, target)

sys.meta_path[:] = [Bare if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
"""


def run_bare(code: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python source with these arguments in such a process."""
    home = str(Path(__file__).parent.parent)
    return subprocess.run(
        [sys.executable, "-c", f"{PRELUDE}\nsys.path.insert(0, {home!r})\n{code}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=120,
    )
