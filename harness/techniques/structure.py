"""What the techniques that make a network smaller have in common: its work, and how its outputs change without a part.

torch is imported in functions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from harness.deployment import Deployment
from harness.errors import PreparationError
from harness.techniques.calibration import calibration_batches

__all__ = [
    "cant_run",
    "change",
    "check_same",
    "example_of",
    "multiply_accumulates",
    "outputs_on",
    "probes_of",
    "shapes_of",
    "with_macs",
]

Batch = tuple[Any, ...]

EXAMPLES = 32
"""Examples on which the parts of a network are ranked: each part costs one pass over them."""
_ROUNDING = 1e-3
"""Relative change of float32 outputs that sums of other lengths may make; a wrong cut makes a hundred times as much."""


def example_of(deployment: Deployment, *, alone: bool = False) -> Batch:
    """One call's inputs as tensors; those of one item where `alone` and the model takes any number."""
    from harness.runtimes.torch_session import as_tensors

    size = 1 if alone and deployment.model.batchable else deployment.batch_size
    return as_tensors(deployment.model.inputs(size, 0))


def probes_of(deployment: Deployment) -> list[Batch]:
    """Batches of inputs on which parts of a network are ranked: calibration data, or the inputs of calls."""
    from harness.runtimes.torch_session import as_tensors

    model = deployment.model
    size = 8 if model.batchable else deployment.batch_size
    source = calibration_batches(model) if model.calibration else (model.inputs(size, seed) for seed in range(EXAMPLES))
    found: list[Batch] = []
    for arrays in source:
        found.append(as_tensors(arrays))
        if sum(len(batch[0]) if model.batchable else 1 for batch in found) >= EXAMPLES:
            break
    return found


def outputs_on(
    network: Any, batches: Sequence[Batch], while_in: AbstractContextManager[Any] | None = None
) -> list[Any]:
    """The outputs of a network over batches, tensor by tensor: those in floating point, or all where none is, since ids
    beside near scores change places by little (`harness.runtimes.base.decisive`). `while_in` may change the network
    meanwhile.
    """
    import torch

    from harness.runtimes.torch_session import kept_outputs

    with torch.no_grad(), _layer_by_layer(), while_in or nullcontext():
        found = [value for batch in batches for value in kept_outputs(network(*batch)).values()]
    return [value for value in found if value.is_floating_point() or value.is_complex()] or found


def change(outputs: Sequence[Any], expected: Sequence[Any]) -> float:
    """Relative L2 distance of all outputs together: |outputs - expected| / |expected|.

    Raises `PreparationError` where one has another shape.
    """
    for found, wanted in zip(outputs, expected, strict=True):
        if found.shape != wanted.shape:
            raise PreparationError(
                f"without a part the network gives an output of the shape {list(found.shape)} where it gave "
                f"{list(wanted.shape)}, so that its parts can't be ranked by what they change; let it end before it "
                "selects what it found (NMS)"
            )
    distance = sum(float((a.double() - b.double()).square().sum()) for a, b in zip(outputs, expected, strict=True))
    norm = sum(float(b.double().square().sum()) for b in expected)
    return math.sqrt(distance / norm if norm else distance)


def check_same(what: str, outputs: Sequence[Any], expected: Sequence[Any]) -> None:
    """Raise `PreparationError` where a network without a part does not give what it gave with that part muted."""
    shapes = [[tuple(value.shape) for value in values] for values in (outputs, expected)]
    found = change(outputs, expected) if shapes[0] == shapes[1] else float("inf")
    if not found <= _ROUNDING:
        raise PreparationError(
            f"without {what} the outputs are not those of the network with them muted (relative change {found:.2g}): "
            "its code depends on their number"
        )


def cant_run(what: str, error: Exception) -> PreparationError:
    """The error for a network whose forward fails on what was left of it, with the cure."""
    return PreparationError(
        f"the network can't run with fewer {what}: {error}; its code fixes their number, in a reshape to "
        "constant sizes for example (compute it from the tensors, or name this reason in Model.unsupported)"
    )


def with_macs(deployment: Deployment, network: Any) -> Deployment:
    """The deployment with a smaller network in place of its own, and notes on the work for an item of both.

    `macs.before` stays that of the first network where several such steps follow each other.
    """
    example = example_of(deployment)
    before = deployment.notes.get("macs.before")
    if before is None:
        before = multiply_accumulates(deployment.network, example) // deployment.batch_size
    after = multiply_accumulates(network, example) // deployment.batch_size
    return deployment.replace(network=network).noting(**{"macs.before": before, "macs.after": after})


def multiply_accumulates(network: Any, example: Batch) -> int:
    """Multiplications with additions in the matrix products and convolutions of one call, as torch counts them.

    Recurrent layers are not counted by torch where one kernel runs them.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # Attention is taken apart into its products: the CPU's fused kernel is not in the counter's table.
    with torch.no_grad(), _layer_by_layer(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(*example)
    return int(counter.get_total_flops()) // 2


@contextmanager
def _layer_by_layer() -> Iterator[None]:
    """Meanwhile torch's transformer layers call the layers inside them.

    Their fast path is one operator, which the counter of work does not know. A hook makes torch leave it: outputs with
    one and without would differ by what the two ways round.
    """
    import torch

    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def shapes_of(outputs: Any) -> dict[str, Any]:
    """The shapes of named outputs."""
    from harness.runtimes.torch_session import named_outputs

    return {name: tuple(tensor.shape) for name, tensor in named_outputs(outputs).items()}
