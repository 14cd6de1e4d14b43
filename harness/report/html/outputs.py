"""The sections on what cases answer and on how many items they take at once, as values for the templates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.report.batching import Sweep, sentence, speed_tolerance, sweeps
from harness.report.fidelity import Nearness, nearnesses
from harness.report.gains import subjects
from harness.report.html.cases import anchor
from harness.report.html.scaling import scaling, trade
from harness.report.html.sections import MAX_FRONTS
from harness.report.numbers import estimate_text
from harness.report.overview import Overview
from harness.units import quantity, ratio

__all__ = ["batchings", "fidelities"]

MAX_NEAR = 40
"""Rows about the outputs of a model's cases; what contradicts itself is never left out for what does not."""
MAX_SWEEPS = 6
"""Sweeps of a model that are drawn, each in a style of its own (`sweep0` on); more would be a tangle."""


def fidelities(seen: Overview) -> list[dict[str, Any]]:
    """How near the outputs of each model's cases are to its reference's; no rows for a model too many."""
    told = [(subject, near) for subject in subjects(seen.cases) if (near := nearnesses(subject))]
    first = sorted(range(len(told)), key=lambda i: not any(one.doubt for one in told[i][1]))[:MAX_FRONTS]
    found: list[dict[str, Any]] = []
    for i, (subject, near) in enumerate(told):
        shown = sorted(near, key=lambda one: not one.doubt)[:MAX_NEAR] if len(near) > MAX_NEAR else near
        rows = [_near_row(one) for one in shown] if i in first else []
        found.append({"subject": subject, "rows": rows, "dropped": len(near) - len(rows)})
    return found


def _near_row(near: Nearness) -> dict[str, Any]:
    def text(value: float | None, unit: str) -> str:
        return "–" if value is None else quantity(value, unit)

    return {
        "technique": near.technique,
        "anchor": anchor(near.view.suite, near.view.id),
        "precision": near.precision or "–",
        "sqnr": "infinite" if near.sqnr is not None and math.isinf(near.sqnr) else text(near.sqnr, "dB"),
        "cosine": text(near.cosine, "cosine"),
        "identical": text(near.identical, "share"),
        "agreement": text(near.agreement, "share"),
        "doubt": near.doubt,
    }


def batchings(seen: Overview) -> list[dict[str, Any]]:
    """Throughput and latency against the batch, for each model with a sweep; the first ones are drawn."""
    found: list[dict[str, Any]] = []
    for i, subject in enumerate(subjects(seen.cases)):
        swept = sweeps(subject, speed_tolerance(seen.run, subject.suite))
        if not swept:
            continue
        said = [f"{sweep.pipeline}: {sentence(sweep)}" for sweep in swept]
        paired = [sweep.paired for sweep in swept]
        if len(found) >= MAX_FRONTS:
            found.append({"subject": subject, "said": said, "paired": paired, "scaling": None})
            continue
        dropped = len(swept[MAX_SWEEPS:])
        swept = swept[:MAX_SWEEPS]
        links = {step.view.id: anchor(step.view.suite, step.view.id) for sweep in swept for step in sweep.steps}
        found.append(
            {
                "subject": subject,
                "said": said,
                "paired": paired,
                "dropped": dropped,
                "scaling": scaling(f"batch-{i}", subject.label, swept, " ".join(said), links),
                "trade": trade(f"trade-{i}", subject.label, swept, links),
                "rows": [row for sweep in swept for row in _batch_rows(sweep, links)],
            }
        )
    return found


def _batch_rows(sweep: Sweep, links: Mapping[str, str]) -> list[dict[str, Any]]:
    first = sweep.steps[0].speed.point
    return [
        {
            "pipeline": sweep.pipeline,
            "anchor": links[step.view.id],
            "batch": step.batch,
            "throughput": estimate_text(step.throughput, "items/s"),
            "latency": estimate_text(step.latency, "s"),
            "factor": ratio(step.speed.point / first),
            "knee": step is sweep.knee and not sweep.open_ended,
        }
        for step in sweep.steps
    ]
