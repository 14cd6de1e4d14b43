"""torch.compile with the inductor backend."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import PreparationError
from harness.runtimes.eager import Eager
from harness.runtimes.packages import missing

if TYPE_CHECKING:
    from harness.hardware.base import Hardware
    from harness.runtimes.base import Arrays
    from harness.runtimes.inductor_session import InductorSession

__all__ = ["Inductor", "compiler", "compiler_version", "no_compiler"]

_CACHE = "cache"


@dataclass(frozen=True)
class Inductor:
    """The network compiled by torch.compile for the shapes of its inputs.

    freezing  hold the weights as constants, so that they are folded and laid out for the kernels that read them; not
              where some are integers in memory alone, which torch would fold into float32 ones
    mode      torch.compile's: `default`, `max-autotune`, `max-autotune-no-cudagraphs`, `reduce-overhead`

    Packing compiles once, into a cache beside the module, so that loading takes the kernels from there instead of
    running the C++ compiler again. A graph with frozen weights is still traced and lowered at each load, since torch
    can't store it: that takes a second or more, and is part of the load time.
    """

    freezing: bool = True
    mode: str = "default"

    name = "inductor"
    form = "torch"
    computes = Eager.computes

    def unavailable(self, hardware: Hardware) -> str | None:
        reason = missing("torch", "torch")
        if reason is None and hardware.describe()["kind"] == "cuda":
            reason = missing("torch", "triton")
        if reason is None and compiler() is None:
            reason = f"torch.compile needs a C++ compiler ({no_compiler()})"
        return reason

    def pack(self, network: Any, example: Arrays, folder: Path, hardware: Hardware) -> None:
        from harness.runtimes.torch_files import save_module, write_example

        save_module(network, folder)
        (folder / _CACHE).mkdir()
        write_example(example, folder / _CACHE)
        self.load(folder, hardware)

    def load(self, folder: Path, hardware: Hardware) -> InductorSession:
        """Compile, with the kernels that the cache holds.

        Raises `PreparationError` where nothing was compiled, and where the cache can't be written.
        """
        _check_writable(folder / _CACHE)
        from harness.runtimes.inductor_session import InductorSession, configure, converts_weights
        from harness.runtimes.torch_files import load_module, read_example
        from harness.runtimes.torch_session import enter_torch

        device = enter_torch(hardware)
        module = load_module(folder, device)
        freezing = self.freezing and not converts_weights(module)
        configure(folder / _CACHE, freezing=freezing, compiler=compiler())
        session = InductorSession(self.name, module, self.mode, device)
        session.compile(read_example(folder / _CACHE))
        return session


def _check_writable(cache: Path) -> None:
    """Raise `PreparationError` for a cache of another user's, or on a disk for reading alone."""
    # torch locks each kernel that it takes from there.
    for path in (cache, *cache.glob("locks/*")):
        if not os.access(path, os.W_OK):
            raise PreparationError(
                f"{path} can't be written, and torch.compile writes there at each load: make the artefact's folder "
                "yours (chown -R), or use a copy of it"
            )


def compiler() -> str | None:
    """The C++ compiler for inductor: what CXX names, or the first of the usual ones; None where there is none."""
    candidates = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++"]
    return next((found for found in map(shutil.which, candidates) if found), None)


def no_compiler() -> str:
    """What helps where there is no compiler. CXX is torch's too, which takes it as the name of one program."""
    if named := os.environ.get("CXX"):
        return f"CXX names {named!r}, which is no program here: unset it, or name one program"
    return "apt-get install g++, or name one in the variable CXX"


def compiler_version() -> str:
    """The compiler's path and the first line that it says of its version; "" where there is none."""
    path = compiler()
    if path is None:
        return ""
    variables = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=20, check=False, env=variables
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} ({error})"
    return ": ".join([path, *done.stdout.splitlines()[:1]])
