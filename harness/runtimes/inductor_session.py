"""A module compiled by torch.compile. Imports torch: import this inside functions only."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch._dynamo.config
import torch._dynamo.utils
import torch._inductor.config
import torch._inductor.utils

from harness.errors import PreparationError
from harness.records import Scalar
from harness.runtimes.torch_session import TorchSession

if TYPE_CHECKING:
    from harness.runtimes.base import Arrays

__all__ = ["InductorSession", "configure"]


def configure(cache: Path, *, freezing: bool, compiler: str | None) -> None:
    """Set the process up for one compiled network.

    The settings are the process's, as threads are: `freezing` among the `options` of torch.compile has no effect, and a
    later call with other shapes compiles again, under the same settings.
    """
    # Kernels that this process already holds in memory would not be written to the new folder.
    torch.compiler.reset()
    torch._inductor.utils.clear_caches()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache.resolve())
    torch._inductor.config.freezing = freezing
    torch._inductor.config.cpp.cxx = (compiler,)
    # Worker processes of the compiler would stay beside an arm that is timed.
    torch._inductor.config.compile_threads = 1
    torch._dynamo.config.suppress_errors = False


class InductorSession(TorchSession):
    """A session whose calls run compiled kernels; `compile` must have been called before the first of them."""

    def __init__(self, name: str, module: Any, mode: str, device: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the compiler's own use of deprecated functions of torch
            function = torch.compile(module, mode=mode, dynamic=False)
        # Freezing needs gradients to be off; tensors of inference mode are another kind to the compiler.
        super().__init__(name, module, function, device, guard=torch.no_grad)
        self._compiled: dict[str, Scalar] = {}

    def compile(self, example: tuple[Any, ...]) -> None:
        """Compile for the shapes of an example. Raises `PreparationError` where that fails or nothing was compiled."""
        counters = torch._dynamo.utils.counters
        counters.clear()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self(tuple(tensor.to(self._device) for tensor in example))
        except Exception as error:
            raise PreparationError(f"torch.compile failed: {type(error).__name__}: {error}") from error
        self._compiled = {
            "graphs": counters["stats"]["unique_graphs"],
            "graph_breaks": sum(counters["graph_break"].values()),
        }
        if not self._compiled["graphs"]:
            raise PreparationError(
                "torch.compile compiled nothing of this network and ran it eagerly; let forward compute with tensors, "
                "outside functions that torch.compiler.disable marks"
            )

    def facts(self, example: Arrays) -> dict[str, Scalar]:
        """The facts of the module, which types and weights compiling keeps, and how much of it was compiled."""
        facts = super().facts(example)
        del facts["nodes"]
        return {**facts, **self._compiled}
