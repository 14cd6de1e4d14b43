"""A module compiled by torch.compile. Imports torch: import this inside functions only."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch._dynamo.config
import torch._dynamo.exc
import torch._dynamo.utils
import torch._inductor.config
import torch._inductor.utils
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from harness.errors import PreparationError
from harness.records import Scalar
from harness.runtimes.facts import arithmetic_facts
from harness.runtimes.torch_operators import INTEGER, is_integer, is_product
from harness.runtimes.torch_session import TorchSession, weight_tensors

if TYPE_CHECKING:
    from harness.runtimes.base import Arrays

__all__ = ["InductorSession", "configure", "converts_weights"]

SHAPES = 32
"""Shapes of inputs for which a process compiles a network. torch's own limit is 8, and evaluations have more lengths;
each takes seconds, and with frozen weights the memory for them once more."""

_TYPES = {
    "float": "float32",
    "double": "float64",
    "c10::BFloat16": "bfloat16",
    "c10::Half": "float16",
    "c10::Float8_e4m3fn": "float8_e4m3fn",
    "signed char": "int8",
    "unsigned char": "uint8",
    "int": "int32",
    "long int": "int64",
}
"""Types of tensors, as the profiler names them."""


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
    # Beyond its limit torch would run the network eagerly, and no fact would show it.
    torch._dynamo.config.recompile_limit = SHAPES
    torch._dynamo.config.fail_on_recompile_limit_hit = True


def converts_weights(module: Any) -> bool:
    """Whether a module holds weights of torchao that are integers in memory alone, and are converted at each call.

    Where activations are quantized for the product as well, the weight says how.
    """
    weights = filter(is_traceable_wrapper_subclass, weight_tensors(module))
    return any(getattr(weight, "act_quant_kwargs", None) is None for weight in weights)


class InductorSession(TorchSession):
    """A session whose calls run compiled kernels; `compile` must have been called before the first of them."""

    def __init__(self, name: str, module: Any, mode: str, device: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the compiler's own use of deprecated functions of torch
            function = torch.compile(module, mode=mode, dynamic=False)
        # Freezing needs gradients to be off; tensors of inference mode are another kind to the compiler.
        super().__init__(name, module, function, device, guard=torch.no_grad)
        self._graphs = device.type == "cuda" and torch._inductor.list_mode_options(mode).get("triton.cudagraphs", False)
        self._compiled: dict[str, Scalar] = {}

    def __call__(self, staged: tuple[Any, ...]) -> Any:
        # Not by way of the base class: what a call of a function costs would be timed.
        try:
            with self._guard():
                return self._function(*staged)
        except torch._dynamo.exc.FailOnRecompileLimitHit as error:
            raise PreparationError(
                f"torch.compile has compiled {SHAPES} forms of this network or of a part of it, and is not asked for "
                "more: one for each shape of the inputs, and for each value of a Python number that forward reads and "
                "that changes; let Model.evaluate pass fewer shapes (pad the inputs to a few lengths), and forward "
                "count nothing, or leave compiled out"
            ) from error

    def compile(self, example: tuple[Any, ...]) -> None:
        """Compile for the shapes of an example. Raises `PreparationError` where that fails or nothing was compiled."""
        counters = torch._dynamo.utils.counters
        counters.clear()
        torch._dynamo.utils.graph_break_reasons.clear()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self(tuple(tensor.to(self._device) for tensor in example))
        except Exception as error:
            raise PreparationError(f"torch.compile failed: {type(error).__name__}: {error}") from error
        skipped = counters["inductor"]["cudagraph_skips"]
        if skipped and self._graphs:
            raise PreparationError(
                f"the mode runs the network as CUDA graphs, and torch.compile left {skipped} of its parts without one; "
                "let forward change no input in place and compute on the GPU alone (TORCH_LOGS=cudagraphs says where), "
                "or use another mode"
            )
        # torch's counter of breaks holds neither branches on a tensor nor frames that it skips as a whole, as it does
        # where a loop breaks.
        frames = counters["frames"]
        self._compiled = {
            "graphs": counters["stats"]["unique_graphs"],
            "graph_breaks": len(torch._dynamo.utils.graph_break_reasons) + frames["total"] - frames["ok"],
        }
        if not self._compiled["graphs"]:
            raise PreparationError(
                "torch.compile compiled nothing of this network and ran it eagerly; let forward compute with tensors, "
                "outside functions that torch.compiler.disable marks"
            )

    def facts(self, example: Arrays) -> dict[str, Scalar]:
        """The facts of the module, the types in which compiled calls compute, and how much of it was compiled."""
        facts = super().facts(example)
        del facts["nodes"]
        products = self._executed(self.stage(example))
        if products:
            facts = {name: value for name, value in facts.items() if not name.startswith("arithmetic.")}
            facts |= {**arithmetic_facts(products, ()), "nodes.quantized": products.count(INTEGER)}
        return {**facts, **self._compiled}

    def _executed(self, staged: tuple[Any, ...]) -> list[str]:
        """The types of the products in one compiled call, as torch's profiler sees them.

        None are seen where the compiler wrote all of them into kernels of its own, as `max-autotune` does on a CPU.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.profiler.profile(
                activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True
            ) as profile:
                self(staged)
        products: list[str] = []
        until = -math.inf
        for event in sorted(profile.events(), key=lambda event: event.time_range.start):
            dtype = next((_TYPES[word] for word in event.input_dtypes or () if word in _TYPES), "")
            # What begins while a product runs is a part of it.
            if dtype and event.time_range.start >= until and is_product(event.name.partition("::")[2]):
                products.append(INTEGER if is_integer(dtype) else dtype)
                until = event.time_range.end
        return products
