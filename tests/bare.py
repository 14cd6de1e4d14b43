"""Python processes that import little: what `pip install inference-harness` alone brings, or what an artefact needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["BASE", "imported_by_an_arm", "run_bare"]

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
    """Run Python source with these arguments where only the base install seems to be there: no torch, no runtime."""
    home = str(Path(__file__).parent.parent)
    return subprocess.run(
        [sys.executable, "-c", f"{PRELUDE}\nsys.path.insert(0, {home!r})\n{code}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=120,
    )


def imported_by_an_arm(runtime: type, folder: Path, *modules: str, batch: int = 1) -> list[str]:
    """Which of these modules a process has imported that only loads and calls what lies packed in a folder.

    It must be a network of `harness.testing`'s task: 12 x 12 images of 4 classes.
    """
    code = (
        "import sys; from pathlib import Path; import numpy as np; from harness.hardware import cpu; "
        f"from {runtime.__module__} import {runtime.__name__} as Runtime; s = Runtime().load(Path(sys.argv[1]), cpu); "
        f"y = s.fetch(s(s.stage({{'image': np.zeros(({batch}, 1, 12, 12), np.float32)}}))); "
        f"assert y['output'].shape == ({batch}, 4); print(*sorted({set(modules)!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    return done.stdout.split()
