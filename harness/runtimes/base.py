"""What executes a network: how an artefact is written, loaded, called and inspected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.errors import PreparationError, UnavailableError
from harness.records import Scalar

if TYPE_CHECKING:
    import numpy as np

    from harness.hardware.base import Hardware

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["TIMINGS", "Runtime", "Session", "absent_input", "check_available", "check_form", "decisive", "other_type"]

TIMINGS = "HARNESS_TIMINGS"
"""The environment variable that names a folder in which the builds of several artefacts keep what they timed."""


class Session(Protocol):
    """A network loaded and ready, in the process that serves it."""

    def stage(self, inputs: Arrays) -> Any:
        """Inputs in the form that a call takes, on the device; not part of any timing."""

    def __call__(self, staged: Any) -> Any:
        """One inference. This, and nothing else, is what is timed.

        It returns when the outputs are computed: on a CPU nothing waits for what a call leaves unfinished, which would
        be in no time. On a device with events work may still be queued, since they wait for it.
        """

    def fetch(self, outputs: Any) -> dict[str, np.ndarray[Any, Any]]:
        """The outputs of a call as named numpy arrays, floating point ones as float32."""

    def facts(self, example: Arrays) -> dict[str, Scalar]:
        """What can be read from the network that really runs. May be slow; never called in an arm that is timed.

        `example` is one that `pack` has not seen, so that a network which holds on to its example is found out.

        Standard keys, each where the runtime can tell (`harness.runtimes.facts` says what a weight is):

        runtime, provider
        precision            types in which matrix products and convolutions compute, joined by +: `float32+int8`
        arithmetic.<dtype>   share of the matrix products and convolutions that compute in that type
        parameters           elements of all weights
        sparsity             share of them that are exactly zero
        sparsity.<n>:<m>     share of those in products that lie in groups of m with n or fewer numbers that are not
                             zero, where it is half or more
        quantized            share of them held in 8 bits or fewer
        quantized.bits       bits that the quantized ones really use: 7 where their range is reduced
        weights.<dtype>      share of them of that type (`weights.float32`, `weights.int8`)
        level                of graph optimisations
        arena                whether the runtime's allocator on the CPU keeps the memory that it took
        graphs, graph_breaks graphs that a compiler made of the network, and places where it gave up
        cuda_graph           whether calls replay a captured graph that computes what the network computes
        graph_nodes          kernels and copies in that graph
        nodes                operators executed in one call
        nodes.quantized      of them, those that compute on integers
        nodes.<provider>     of them, those that this provider executed
        fallbacks            of them, those that another provider than the one asked for executed
        """


class Runtime(Protocol):
    """A runtime: a frozen dataclass of scalars (its options) with these members.

    form is the form of network it takes, "torch", "onnx" or one of its own. One of ONNX networks may have a further
    member, `symmetric`: True where its kernels for integers want activations that are signed, with their zero at 0.
    Any may have `computes`: by the kind of hardware, `cpu` or `cuda`, a tuple of the types in which its products can
    compute, as `precision` among the facts names them. Some of that kind may lack one, as a CPU without bfloat16 does.
    """

    @property
    def name(self) -> str:
        """The word in reports: `eager`, `inductor`, `onnxruntime`."""

    @property
    def form(self) -> str: ...

    def unavailable(self, hardware: Hardware) -> str | None:
        """Why this runtime can't be used here on this hardware, and the cure; None where it can. It imports nothing.

        Asked before `pack`. Where a technique's `requires` asks it as well, its case is left out before any process.
        """

    def pack(self, network: Any, example: Arrays, folder: Path, hardware: Hardware) -> None:
        """Write everything that `load` needs into `folder`, in the prepare child; the folder may be moved afterwards.

        Files directly in it are the served model, whose size counts. Subfolders hold caches of compilers.
        """

    def load(self, folder: Path, hardware: Hardware) -> Session:
        """Load what `pack` wrote, importing nothing but this runtime."""


def check_available(runtime: Runtime, hardware: Hardware) -> None:
    """Raise `UnavailableError` where a runtime can't be used here on this hardware."""
    if reason := runtime.unavailable(hardware):
        raise UnavailableError(reason)


def check_form(network: Any, kind: type[Any], runtime: str, wanted: str) -> None:
    """Raise `PreparationError` for a network that is no `kind`; `runtime` and `wanted` are the words for the two."""
    if not isinstance(network, kind):
        raise PreparationError(
            f"{runtime} got a {type(network).__name__} instead of {wanted}; a technique that changes the form of a "
            "network must replace the runtime as well"
        )


def absent_input(name: str, given: Iterable[str], source: str) -> PreparationError:
    """The error for an input of a network that is not among those given; `source` is what has its name."""
    return PreparationError(
        f"the network reads an input {name!r}, and is given {', '.join(given)}; give the names that {source} has in "
        "Model.inputs, evaluate and calibration alike (an exported torch network has those of Model.inputs)"
    )


def other_type(name: str, wanted: str, given: str, source: str) -> PreparationError:
    """The error for an input of another type than the network has; `source` is what has its type."""
    return PreparationError(
        f"input {name!r} is {wanted} in {source}, and the call gives it {given}; give it .astype({wanted!r}) in "
        "Model.inputs, evaluate and calibration alike"
    )


def decisive(outputs: Arrays) -> Arrays:
    """The outputs by which two forms of a network are held to be one: those in floating point, or all where none is.

    Where two scores differ by what rounding makes, the ids beside them change places, and both forms are right.
    """
    floating = {name: array for name, array in outputs.items() if array.dtype.kind not in "iub"}
    return floating or outputs
