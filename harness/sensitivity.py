"""Which layers cost the accuracy when a model is quantized: one at a time, by what that does to the outputs."""

from __future__ import annotations

import dataclasses
import inspect
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.deployment import Deployment
from harness.errors import SuiteError, UnavailableError
from harness.hardware import cpu
from harness.hardware.base import Hardware
from harness.model import Model
from harness.runtimes.native import load_network, native_runtime
from harness.runtimes.predictor import seed_generators
from harness.techniques import int8_static, onnxruntime
from harness.techniques.base import Technique, as_pipeline
from harness.techniques.mixed import LayerCost, Probe
from harness.techniques.quantize import onnx_quantizer
from harness.techniques.quantize_onnx import METHODS

__all__ = ["LayerCost", "Sensitivity", "sensitivity"]

TECHNIQUES = ("int8_static", "int8_dynamic")
EVALUATED = 5
"""Layers whose accuracy is measured where nobody says how many."""


@dataclass(frozen=True)
class Sensitivity:
    """What quantizing costs a model, layer by layer.

    model, technique   their names
    accuracy           of the float network, by the model's own evaluation
    sqnr, drop         of everything quantized together: decibels of the outputs, and what the accuracy falls by
    layers             the most costly first
    """

    model: str
    technique: str
    accuracy: float
    sqnr: float
    drop: float
    layers: tuple[LayerCost, ...]


def sensitivity(
    model: Model,
    technique: Technique = int8_static,
    hardware: Hardware = cpu,
    *,
    evaluated: int = EVALUATED,
    say: Callable[[str], None] | None = None,
) -> Sensitivity:
    """Quantize one layer after the other as `technique` does it, `int8_static` or `int8_dynamic` with its parameters.

    A torch model is exported to ONNX first. Every layer gets its SQNR, and the `evaluated` ones with the lowest, where
    the accuracy is in danger, what the accuracy falls by. A layer is a node with weights, or all nodes of a type that
    has none; `keep=[…]` of the technique takes these names. `say` is called with a sentence after each layer.

    Raises `SuiteError` for another technique, for parameters that ONNX networks do not have, and for a model that is
    neither torch nor ONNX, and `UnavailableError` where something it needs is not here.
    """
    if technique.name not in TECHNIQUES:
        raise SuiteError(f"the sensitivity of {technique.name} can't be measured; take {' or '.join(TECHNIQUES)}")
    if model.form not in ("torch", "onnx"):
        raise SuiteError(
            f"the sensitivity of {model.name} can't be measured: layers are quantized as ONNX, and it exists only as "
            f"{model.form}; try its layers with keep=[…] of {technique.name}"
        )
    given = _of_onnx(technique)
    export = as_pipeline(onnxruntime)
    pipeline = export if model.form == "torch" else None
    whole = export | technique if pipeline else as_pipeline(technique)
    reason = whole.inapplicable(model)
    if reason:
        raise SuiteError(reason)
    missing = hardware.available() or whole.unavailable(model, hardware)
    if missing:
        raise UnavailableError(missing)
    with tempfile.TemporaryDirectory() as folder:
        seed_generators()  # as before an artefact is made: what load or calibration draws is what a case has
        deployment = Deployment(model, load_network(model), native_runtime(model.form), hardware, Path(folder))
        if pipeline:
            if say:
                say(f"exporting {model.name} to ONNX")
            deployment = pipeline.apply(deployment)
        return _measured(deployment, technique, given, evaluated, say or (lambda _: None))


def _of_onnx(technique: Technique) -> dict[str, Any]:
    """Its parameters by name, without those that are None. Raises `SuiteError` for what other networks alone have."""
    given = {name: value for name, value in technique.parameters if value is not None}
    accepted = {*inspect.signature(onnx_quantizer).parameters, "keep", "max_drop"}
    foreign = [name for name in given if name not in accepted]
    cure = f"no {foreign[0]}; leave it out" if foreign else ""
    if given.get("method", "minmax") not in METHODS:
        cure = f"no method {given['method']!r}; use {', '.join(METHODS)}"
    if cure:
        raise SuiteError(
            f"the sensitivity of {technique.id} can't be measured: layers are quantized as ONNX here, which has {cure}"
        )
    return given


def _measured(
    deployment: Deployment, technique: Technique, given: dict[str, Any], evaluated: int, say: Callable[[str], None]
) -> Sensitivity:
    patterns = given.pop("keep", ())
    given.pop("max_drop", None)
    # First, as in a case: an evaluation draws from the generators too, and seeds them.
    quantizer = onnx_quantizer(deployment, technique.name, **given)
    say("measuring the float network")
    probe = Probe(deployment)
    say(f"accuracy {probe.accuracy:.4f}; calibrating and quantizing everything")
    kept = quantizer.named([patterns] if isinstance(patterns, str) else list(patterns))
    network = quantizer.network(kept)
    together, drop = probe.sqnr(network), probe.drop(network)
    say(f"everything quantized: SQNR {together:.1f} dB, accuracy {-drop:+.4f}")
    costs = probe.costs(quantizer, kept, say)
    for number, cost in enumerate(costs[:evaluated]):
        costs[number] = dataclasses.replace(cost, drop=probe.drop(quantizer.network(only=cost.layer.nodes)))
        say(f"accuracy without {cost.layer.name} in float: {-(costs[number].drop or 0.0):+.4f}")
    return Sensitivity(deployment.model.name, technique.id, probe.accuracy, together, drop, tuple(costs))
