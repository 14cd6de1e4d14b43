"""What the sections of the page above the single cases show, as values that the templates only lay out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.records import Verdict
from harness.report.gains import (
    REFERENCE,
    Gain,
    Subject,
    accuracy_slack,
    answers,
    front,
    gain,
    points_of,
    subjects,
)
from harness.report.html.cases import anchor
from harness.report.html.charts import removal
from harness.report.html.front import pareto, since
from harness.report.memory import memory_metric, memory_words
from harness.report.overview import CaseView, Overview
from harness.report.pruned import removals, verdict_on_speed
from harness.report.reasons import said, without_name
from harness.units import quantity, ratio

__all__ = ["MAX_FRONTS", "GainMap", "fronts", "gain_maps", "problems", "prunings"]

MAX_FRONTS = 12
MAX_POINTS = 500
"""Cases in the pictures and tables of all fronts, and again in those of what was removed. For a model with more than is
left of them the page says where its numbers are."""
MAX_CELLS = 1000
"""A map with more of them shows the speed-up alone."""


@dataclass(frozen=True)
class Cell:
    """One case in the gain map. `heat` grades the speed-up from -2 to 3; `kind` is `gain reference ended absent`;
    `memory` is what the memory of its model is called.
    """

    kind: str
    view: CaseView | None = None
    anchor: str = ""
    heat: int = 0
    gains: tuple[Gain, ...] = ()
    values: tuple[str, ...] = ()
    memory: str = ""


@dataclass(frozen=True)
class GainMap:
    """Models x techniques on one hardware; the longer axis goes down the page. `absent` says why nothing ran on it."""

    hardware: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    absent: str = ""
    brief: bool = False

    @property
    def single(self) -> bool:
        """Whether a speed-up is of one launch."""
        return any(gain.sense == "unknown" for _, row in self.rows for cell in row for gain in cell.gains)


def gain_maps(seen: Overview) -> tuple[GainMap, ...]:
    """A map for each hardware."""
    found = subjects(seen.cases)
    maps = []
    for hardware in dict.fromkeys(subject.hardware for subject in found):
        here = [subject for subject in found if subject.hardware == hardware]
        if not any(view.completed for subject in here for view in subject.cases):
            reasons = {view.result.reason: None for s in here for view in s.cases if view.result}
            maps.append(GainMap(hardware, "", (), (), " ".join(list(reasons)[:3]) or "no reason was given"))
            continue
        names = [s.label for s in here]
        techniques = tuple(dict.fromkeys(v.result.technique for s in here for v in s.cases if v.result))
        brief = len(here) * len(techniques) > MAX_CELLS
        cells = [_cells(s, techniques, accuracy_slack(seen.run, s.suite, s.reference), brief=brief) for s in here]
        if len(here) > len(techniques):
            rows = tuple(zip(names, (tuple(line) for line in cells), strict=True))
            maps.append(GainMap(hardware, "model", techniques, rows, brief=brief))
        else:
            lines = zip(techniques, zip(*cells, strict=True), strict=True)
            maps.append(GainMap(hardware, "technique", tuple(names), tuple(lines), brief=brief))
    return tuple(maps)


def _cells(subject: Subject, techniques: Sequence[str], slack: float, *, brief: bool) -> list[Cell]:
    views = {view.result.technique: view for view in subject.cases if view.result}
    reference = subject.reference
    memory = memory_metric(subject.cases)
    return [_cell(views.get(technique), reference, slack, memory, brief=brief) for technique in techniques]


def _cell(view: CaseView | None, reference: CaseView | None, slack: float, memory: str, *, brief: bool) -> Cell:
    if view is None or view.result is None:
        return Cell("absent")
    link = anchor(view.suite, view.id)
    if not view.completed:
        return Cell("ended", view, link)
    units = {"latency.p50": "s", memory: "bytes", "accuracy": "share"}
    values = tuple(quantity(e.point, unit) for name, unit in units.items() if (e := view.estimate(name)))
    if view.result.technique == REFERENCE:
        return Cell("reference", view, link, values=values)
    gains = gain(view, None if brief else reference, slack, memory)
    speed = next((g.factor for g in gains if g.name == "speed" and g.sense in ("better", "worse")), 1.0)
    steps = ((3.0, 3), (1.5, 2), (1.02, 1), (0.98, 0), (0.67, -1))
    heat = next((grade for least, grade in steps if speed >= least), -2)
    return Cell("gain", view, link, heat, gains, values, memory_words(memory))


def fronts(seen: Overview) -> list[dict[str, Any]]:
    """Accuracy against latency for each model: a picture, its table, and the answers."""
    total = 0
    found: list[dict[str, Any]] = []
    for i, subject in enumerate(subjects(seen.cases)):
        points = points_of(subject)
        if len(points) < 2:
            continue
        best = front(points)
        drawn = len(found) < MAX_FRONTS and total + len(points) <= MAX_POINTS
        total += len(points) if drawn else 0
        links = {p.view.id: anchor(p.view.suite, p.view.id) for p in points}
        found.append(
            {
                "subject": subject,
                "memory": memory_words(memory_metric(subject.cases)),
                "answers": answers(subject, accuracy_slack(seen.run, subject.suite, subject.reference)),
                "picture": pareto(f"front-{i}", subject.label, points, best, links) if drawn else None,
                "since": since(points) if drawn else "",
                "rows": [
                    {
                        "technique": p.technique,
                        "anchor": links[p.view.id],
                        "latency": quantity(p.latency, "s"),
                        "accuracy": quantity(p.accuracy, "share"),
                        "throughput": quantity(p.throughput, "items/s") if p.throughput else "–",
                        "memory": quantity(p.memory, "bytes") if p.memory else "–",
                        "best": p in best,
                    }
                    for p in points
                ]
                if drawn
                else [],
            }
        )
    return found


def prunings(seen: Overview) -> list[dict[str, Any]]:
    """Accuracy against removed weights for each model with two cases or more that removed some."""
    total = 0
    found: list[dict[str, Any]] = []
    for i, subject in enumerate(subjects(seen.cases)):
        pruned = removals(subject)
        reference = subject.reference and subject.reference.estimate("accuracy")
        if len(pruned) < 2 or not reference:
            continue
        if len(found) >= MAX_FRONTS or total + len(pruned) > MAX_POINTS:  # what names them all would be as long
            found.append({"subject": subject, "said": "", "picture": None, "rows": []})
            continue
        total += len(pruned)
        links = {item.view.id: anchor(item.view.suite, item.view.id) for item in pruned}
        said = verdict_on_speed(pruned)
        found.append(
            {
                "subject": subject,
                "said": said,
                "picture": removal(f"pruned-{i}", subject.label, pruned, reference.point, said, links),
                "rows": [
                    {
                        "technique": item.technique,
                        "anchor": links[item.view.id],
                        "removed": f"{item.removed * 100:.1f} %",
                        "accuracy": quantity(item.accuracy, "share"),
                        "factor": "–" if item.factor is None else ratio(item.factor),
                        "faster": item.faster,
                    }
                    for item in pruned
                ],
            }
        )
    return found


def problems(seen: Overview) -> dict[str, list[tuple[CaseView, str]]]:
    """The cases without numbers, with their reasons: those that failed, and those that can't run here."""
    views = [view for view in seen.cases if not view.completed]
    return {
        "failed": [(view, _why_not(view)) for view in views if view.verdict is not Verdict.SKIPPED],
        "skipped": [(view, _why_not(view)) for view in views if view.verdict is Verdict.SKIPPED],
    }


def _why_not(view: CaseView) -> str:
    if view.result and view.result.reason:
        return without_name(view.result.reason, view.id)
    return " ".join(said(c) for c in view.comparisons)
