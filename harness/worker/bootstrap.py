"""Entry of every child: `python -P bootstrap.py ROOT READ_FD WRITE_FD`.

The worker that runs is the one beside this file, whatever `import harness` gives: ROOT comes first on the path, so that
a tree with a harness of its own brings its own models, techniques and runtimes, and the running harness times them.
"""

from __future__ import annotations

import ctypes
import importlib.util
import signal
import sys
from pathlib import Path

PACKAGE = "harness_worker"
PR_SET_PDEATHSIG = 1


def main(root: str, read_fd: str, write_fd: str) -> None:
    """Load this folder as the package `harness_worker` and serve requests."""
    _end_with_parent()
    sys.path.insert(0, root)
    folder = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} holds no worker")
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    importlib.import_module(f"{PACKAGE}.serving").serve(int(read_fd), int(write_fd))


def _end_with_parent() -> None:
    """Be killed when the parent is (Linux, prctl(2)): a training that goes on would disturb what runs next."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
