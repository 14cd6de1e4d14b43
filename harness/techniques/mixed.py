"""Mixed precision: which layers cost the accuracy when they are quantized, and leaving those in float.

Layers are quantized one at a time, and each is known by what that does to the outputs: its SQNR, the power of the float
network's outputs over the power of the difference, in decibels. Outputs take a few calls; the accuracy takes the
model's whole evaluation, and is measured only where something hangs on it.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.deployment import Deployment
from harness.errors import PreparationError, SuiteError
from harness.fidelity import sqnr
from harness.records import Scalar
from harness.runtimes.base import decisive
from harness.runtimes.predictor import Predictor, seed_generators
from harness.techniques.preprocess_onnx import with_copies
from harness.techniques.quantize_onnx import Layer, Quantizer

if TYPE_CHECKING:
    import numpy as np

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["LayerCost", "Probe", "quantize_within"]

CALLS = 32
"""Calls, each on another batch of inputs, whose outputs tell the SQNR of a layer."""
ROUNDING = 1e-12
"""More than a difference of two accuracies is off by its rounding: 0.988 - 0.978 is more than 0.01."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class LayerCost:
    """What quantizing one layer alone costs.

    layer  what was quantized
    sqnr   of the outputs, in dB; infinite where they did not change, minus infinity where they are no numbers
    drop   by how much the accuracy fell; None where it was not measured
    """

    layer: Layer
    sqnr: float
    drop: float | None = None


class Probe:
    """Runs networks in place of a deployment's own, and compares outputs and accuracy with it."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._inputs = [deployment.model.inputs(deployment.batch_size, seed) for seed in range(CALLS)]
        self._wanted = self._outputs(deployment.network)
        self.accuracy = self.accuracy_of(deployment.network)

    def sqnr(self, network: Any) -> float:
        """The power of the float outputs over that of the difference, in dB, of the worst output that is decisive.

        Raises `PreparationError` where one has another length than the float network's.
        """
        found, wanted = self._outputs(network), decisive(self._wanted)
        for name, array in wanted.items():
            if found[name].size != array.size:
                raise PreparationError(
                    f"quantized, the network gives {name} with {found[name].size:,} numbers where the float network "
                    f"gives {array.size:,}, so that no layer can be ranked by what it changes; name those to leave in "
                    "float with keep=..., or let the network end before it selects (NMS)"
                )
        return sqnr({name: found[name] for name in wanted}, wanted)

    def accuracy_of(self, network: Any) -> float:
        """The value of the model's own evaluation."""
        return self._value(self._predictor(network))

    def drop(self, network: Any) -> float:
        """By how much the accuracy of a quantized network is below the float network's. All of it is lost where the
        evaluation gives no number, or fails on outputs that hold none.
        """
        predictor = self._predictor(network)
        try:
            value = self._value(predictor)
        except Exception:  # much that scores fails on numbers that are none
            if not any(predictor.not_finite.values()):
                raise
            return self.accuracy
        return self.accuracy - value if math.isfinite(value) else self.accuracy

    def costs(self, quantizer: Quantizer, kept: Collection[str] = (), say: Progress | None = None) -> list[LayerCost]:
        """The cost of each layer without the nodes in `kept`, the most costly first; no accuracy is measured.

        Types of operators that quantizing alone leaves as they are, a reshape for instance, are left out.
        """
        found = []
        layers = [layer for layer in quantizer.layers.values() if not {*layer.nodes} & {*kept}]
        for number, layer in enumerate(layers, 1):
            cost = LayerCost(layer, self.sqnr(quantizer.network(only=layer.nodes)))
            if say:
                say(f"layer {number} of {len(layers)}: {layer.name}: SQNR {cost.sqnr:.1f} dB")
            if layer.elements or cost.sqnr < math.inf:
                found.append(cost)
        return sorted(found, key=lambda cost: cost.sqnr)

    def _predictor(self, network: Any) -> Predictor:
        size = self._deployment.batch_size if self._deployment.model.batchable else None
        return Predictor(self._session(network), size, keep=0)

    def _value(self, predictor: Predictor) -> float:
        seed_generators()
        return float(self._deployment.model.evaluate(predictor).value)

    def _outputs(self, network: Any) -> dict[str, np.ndarray[Any, Any]]:
        predictor = Predictor(self._session(network), None)
        for inputs in self._inputs:
            predictor(inputs)
        return predictor.outputs()

    def _session(self, network: Any) -> Any:
        runtime, hardware = self._deployment.runtime, self._deployment.hardware
        with tempfile.TemporaryDirectory(dir=self._deployment.folder) as folder:
            runtime.pack(network, self._inputs[0], Path(folder), hardware)
            return runtime.load(Path(folder), hardware)


def quantize_within(
    deployment: Deployment, quantizer: Quantizer, keep: Sequence[str], max_drop: float, name: str
) -> Deployment:
    """Quantize as much as lets the accuracy fall by no more than `max_drop`: the most costly layers stay in float.

    Raises `PreparationError` where that is not reached with one layer left to quantize.
    """
    if not 0 <= max_drop < 1:
        raise SuiteError(f"{name}(max_drop={max_drop}): give the accuracy that may be lost, such as 0.01 for one point")
    probe, always = Probe(deployment), quantizer.named(keep)
    if not math.isfinite(probe.accuracy):
        raise PreparationError(
            f"{name}(max_drop={max_drop}): evaluate of {deployment.model.name} gives {probe.accuracy} for the network "
            "before it is quantized, from which nothing can fall; mend it, or leave out max_drop"
        )
    network = quantizer.network(always)
    kept, drop = always, probe.drop(network)
    if not drop <= max_drop + ROUNDING:
        kept, network, drop = _search(probe, quantizer, always, max_drop, drop, name)
    done = with_copies(deployment, network).promising(*quantizer.promises(kept))
    notes: dict[str, Scalar] = {"kept": ", ".join(kept), "kept.drop": drop}
    return done.noting(**notes)


def _search(
    probe: Probe, quantizer: Quantizer, always: tuple[str, ...], max_drop: float, first: float, name: str
) -> tuple[tuple[str, ...], Any, float]:
    """The fewest of the most costly layers to keep: steps that double, then halving, as if each one kept helped."""
    costs = probe.costs(quantizer, always)
    # Some layer with weights stays quantized, and it is the one that costs least; types without weights may cost less.
    weighted = [number for number, cost in enumerate(costs) if quantizer.takes(cost.layer.nodes)]
    costs.append(costs.pop(weighted[-1] if weighted else -1))

    def attempt(count: int) -> tuple[tuple[str, ...], Any, float]:
        kept = (*always, *(node for cost in costs[:count] for node in cost.layer.nodes))
        network = quantizer.network(kept)
        return kept, network, probe.drop(network)

    last = len(costs) - 1
    bad, good, tried = 0, min(1, last), first
    best: tuple[tuple[str, ...], Any, float] | None = None
    while best is None:
        if good <= bad:
            raise PreparationError(
                f"{name} can't keep the accuracy within {max_drop:g}: with everything quantized it falls by "
                f"{first:.4f}, and with all but {costs[last].layer.name} left in float still by {tried:.4f}; allow "
                "more, choose another way of calibrating, or leave the model in float"
            )
        result = attempt(good)
        tried = result[2]
        if tried <= max_drop + ROUNDING:
            best = result
        else:
            bad, good = good, min(2 * good, last)
    while good - bad > 1:
        middle = (good + bad) // 2
        result = attempt(middle)
        if result[2] <= max_drop + ROUNDING:
            good, best = middle, result
        else:
            bad = middle
    return best
