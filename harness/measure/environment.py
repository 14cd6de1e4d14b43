"""Where a run is made: software, hardware identity, the state of the machine and how busy others keep it."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import unquote, urlsplit

from harness.errors import SuiteError
from harness.git import is_own
from harness.hardware.base import Hardware
from harness.hardware.cgroup import read
from harness.measure.sources import digest_in, inherited
from harness.measure.tree import Tree, git
from harness.records import Environment, Scalar
from harness.worker.anchor import ANCHOR
from harness.worker.protocol import PROTOCOL

__all__ = [
    "UNTOLD",
    "PressureMeter",
    "check_system",
    "environment",
    "identity",
    "library_versions",
    "software",
    "unsupported",
    "versions_of",
]

RELEVANT = (
    "ai-edge-litert",
    "inference-harness",
    "litert-quantizer",
    "litert-torch",
    "ml-dtypes",
    "nncf",
    "numpy",
    "onnx",
    "onnx-ir",
    "onnxruntime",
    "onnxruntime-ep-nv-tensorrt-rtx",
    "onnxruntime-ep-openvino",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxscript",
    "openvino",
    "safetensors",
    "scikit-learn",
    "scipy",
    "sympy",
    "tensorrt",
    "tensorrt-rtx",
    "tokenizers",
    "torch",
    "torch-pruning",
    "torchao",
    "torchvision",
    "triton",
)
"""Distributions whose version can move a number, and so are named beside it."""

UNTOLD = frozenset({"ml-dtypes", "onnx-ir", "sympy"})
"""Those of them that older baselines and runs do not name, where torch or onnx had brought them all the same."""

CHOICES = ("OPENBLAS_", "OMP_", "MKL_", "KMP_", "ONEDNN_", "DNNL_")
GIT_SECONDS = 20.0
PYTHON_SECONDS = 120.0
_INSTALLED = """
import contextlib, hashlib, json, platform
from importlib.metadata import distributions

print("python", platform.python_version())
for one in distributions():
    with contextlib.suppress(FileNotFoundError):  # from Python 3.15 on, of one without metadata
        if "Name" in one.metadata:
            name = one.metadata["Name"]
            print(name, one.version)
            if told := one.read_text("direct_url.json"):
                record = told + (one.read_text("RECORD") or "")
                print(f"local:{name}", hashlib.sha256(record.encode()).hexdigest())
                origin = json.loads(told)
                if origin.get("dir_info", {}).get("editable") and name != "inference-harness":
                    print(f"editable:{name}", origin["url"])
"""
"""Run by the other arm's interpreter, which need have nothing of ours."""


def unsupported() -> str:
    """Why no case can be measured on this system, whatever its model and hardware, and the cure; "" where it can."""
    if sys.platform == "linux":
        return ""
    return (
        f"cases are measured on Linux, and this is {sys.platform}: memory and the state of the processor are read "
        "from /proc. Run the suites on a Linux machine or in a container"
    )


def check_system() -> None:
    """Raise `SuiteError` where no case can be measured on this system."""
    if reason := unsupported():
        raise SuiteError(reason)


def environment(
    root: Path, hardware: Iterable[Hardware], baselines: Path | None = None, paths: Iterable[str] = ()
) -> Environment:
    """The environment of a run of the project at `root`, with the identity of each hardware that is available.

    `baselines` is the folder of the baselines, `baselines` in the project where none is given, and `paths` are pytest's
    `pythonpath`, relative to the project.
    """
    here = {item.name: item for item in hardware if item.available() is None}
    imported = (*(root / path for path in paths), *inherited(root))
    commit, dirty = _revision(root, baselines or root / "baselines", imported)
    state: dict[str, Scalar] = {"kernel": platform.release(), **_load()}
    for name, item in here.items():
        state.update({f"{name}.{key}": value for key, value in item.state().items()})
    return Environment(
        hardware={name: identity(item) for name, item in here.items()},
        software=software(),
        state=state,
        commit=commit,
        dirty=dirty,
    )


def identity(hardware: Hardware) -> dict[str, Scalar]:
    """The key under which times are comparable: the hardware's own, and the versions of how they are taken."""
    return {**hardware.describe(), "protocol": PROTOCOL, "anchor": _anchor()}


def _anchor() -> str:
    """The anchor and the instrument that it plays on: with another numpy, it takes another time.

    That is why this version stands in the key, and no other: of what is measured they are suspected causes.
    """
    numpy = ".".join(library_versions().get("numpy", "none").split(".")[:2])
    without = os.environ.get("NPY_DISABLE_CPU_FEATURES", "")
    return f"{ANCHOR} numpy {numpy}{f' without {without}' if without else ''}"


def software() -> dict[str, str]:
    """Python, the operating system's C library and the installed distributions of `RELEVANT`, with their versions."""
    installed = library_versions()
    here = {name: installed[name] for name in RELEVANT if name in installed}
    libc = " ".join(platform.libc_ver()).strip()
    known = {"python": platform.python_version(), **({"libc": libc} if libc else {})}
    return {**known, **here, **_kernel_choices(), **_memory_method()}


def _memory_method() -> dict[str, str]:
    """What a peak of memory holds where the kernel tells too little. On one class of machine it is compared with what
    it holds elsewhere, and the difference is none of the model's.
    """
    from harness.worker.memory import untold  # here: a session that measures nothing needs none of it

    return {"memory.method": "libraries included"} if sys.platform == "linux" and untold() else {}


def _kernel_choices() -> dict[str, str]:
    """The variables that make numerical libraries choose other kernels or other threads."""
    return {f"${name}": value for name, value in sorted(os.environ.items()) if name.startswith(CHOICES)}


def library_versions() -> dict[str, str]:
    """Every installed distribution by its normalised name (PEP 503), sorted, with its version.

    Of a distribution that is found twice the first one on the path counts, as for an import.
    """
    found: dict[str, str] = {}
    for distribution in distributions():
        with contextlib.suppress(FileNotFoundError):  # from Python 3.15 on, of one without metadata
            told = distribution.metadata
            if "Name" in told and (name := told["Name"]):  # newer Pythons warn of a name that is asked for in vain
                found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return dict(sorted(found.items()))


def versions_of(tree: Tree) -> dict[str, str]:
    """Python, and every distribution that the tree's interpreter finds, by name, with its version. Raises `SuiteError`.

    Of another interpreter than the running one also, as `local:NAME`, a digest of the installer's record of each that
    came from elsewhere than an index (PEP 610), whose version may stay while its code changes, and as `editable:NAME`
    one of the code of each that is imported from where it lies, but for the harness, which is counted already.
    """
    if tree.python == sys.executable:
        return {**library_versions(), "python": platform.python_version()}
    try:
        done = subprocess.run(
            [tree.python, "-P", "-c", _INSTALLED], capture_output=True, text=True, check=True, timeout=PYTHON_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SuiteError(f"{tree.python} can't be run as the other arm's Python: {error}") from None
    pairs = (line.split(" ", 1) for line in reversed(done.stdout.splitlines()) if " " in line)
    known = sorted({name.lower().replace("_", "-"): told for name, told in pairs}.items())
    return {name: _code_at(told, tree.origin) if name.startswith("editable:") else told for name, told in known}


def _code_at(url: str, origin: Path | None) -> str:
    """A digest of the files in a folder, given by its URL; "" where they are the working tree's, of which nothing may
    be imported for another commit.
    """
    folder = Path(unquote(urlsplit(url).path))
    return "" if origin and is_own(origin, folder.resolve()) else digest_in(folder)


class PressureMeter:
    """How much others disturbed this machine, from its making on.

    `/proc/pressure/cpu` counts the microseconds in which some task that could run had to wait for a CPU; the load
    average and steal time tell a disturbed measurement much less well (kernel documentation, accounting/psi.rst).
    """

    def __init__(self, proc: Path = Path("/proc"), clock: Callable[[], float] = time.monotonic) -> None:
        self._proc = proc
        self._clock = clock
        self._began = clock()
        self._waited = _waited(proc)
        self._ticks = _ticks(proc)

    def share(self) -> float | None:
        """Share (0..1) of the wall time so far in which a task waited for a CPU; None where the kernel is silent."""
        now, elapsed = _waited(self._proc), self._clock() - self._began
        if self._waited is None or now is None or elapsed <= 0:
            return None
        return min(1.0, max(0.0, (now - self._waited) / 1e6 / elapsed))

    def steal(self) -> float | None:
        """Share (0..1) of processor time that the hypervisor gave to others; None where the kernel is silent."""
        now = _ticks(self._proc)
        if self._ticks is None or now is None or now[1] <= self._ticks[1]:
            return None
        return min(1.0, max(0.0, (now[0] - self._ticks[0]) / (now[1] - self._ticks[1])))


def _waited(proc: Path) -> int | None:
    found = re.search(r"^some .*total=(\d+)", read(proc / "pressure" / "cpu"), re.MULTILINE)
    return int(found.group(1)) if found else None


def _ticks(proc: Path) -> tuple[int, int] | None:
    """Ticks stolen and ticks in all, over all processors.

    The fields are user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)); guest time, which follows, is
    in user time already.
    """
    found = re.match(r"cpu +([\d ]+)", read(proc / "stat"))
    ticks = [int(word) for word in found.group(1).split()[:8]] if found else []
    return (ticks[7], sum(ticks)) if len(ticks) == 8 else None


def _load() -> dict[str, Scalar]:
    state: dict[str, Scalar] = {}
    if hasattr(os, "getloadavg"):
        state["load_1min"] = round(os.getloadavg()[0], 2)
    found = re.search(r"^some avg10=([\d.]+)", read(Path("/proc/pressure/cpu")), re.MULTILINE)
    if found:
        state["pressure_10s"] = round(float(found.group(1)) / 100, 4)
    return state


def _revision(root: Path, baselines: Path, imported: Iterable[Path]) -> tuple[str, bool]:
    """The commit that is checked out, and whether sources may differ from it; ("", False) outside git. Sources are the
    project's, and those of the folders in its repository that it is `imported` from as well.

    Baselines do not count: a run that updates them measures the commit all the same. Where git does not say in time, as
    of a large repository on a slow disk, they may: that nothing differs is a claim.
    """
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if not commit:
        return "", False
    top, place = Path(_git(root, "rev-parse", "--show-toplevel") or root).resolve(), baselines.resolve()
    # Git takes none outside of the repository, and a folder that holds the project can't be left out.
    beside = [f":(literal){folder}" for one in imported if (folder := one.resolve()).is_relative_to(top)]
    left_out = top in place.parents and not root.resolve().is_relative_to(place)
    without = [f":(exclude,literal){place}"] if left_out else []
    # Users may have status not show them, and a new file is imported like the others.
    status = ("status", "--porcelain", "--untracked-files=normal")
    return commit, bool(_git(root, *status, "--", ".", *beside, *without, untold="unknown"))


def _git(root: Path, *arguments: str, untold: str = "") -> str:
    try:
        return git(root, *arguments, seconds=GIT_SECONDS)
    except SuiteError:
        return untold
