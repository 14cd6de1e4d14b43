"""One section a case, in as much detail as the size of the page allows: the worst cases get all of it."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from harness.disturbance import disturbances
from harness.metrics import calls_needed
from harness.names import slug
from harness.records import Comparison, Launch, Measurement, Run, Verdict
from harness.report.commands import accept_command, acceptable, reproduce_command
from harness.report.gains import batch_of, before
from harness.report.html.charts import ecdf, pooled, quantile, timeline
from harness.report.html.history import histories
from harness.report.numbers import estimate_text, limit_text, relative_text
from harness.report.overview import CaseView, Overview, other_tree
from harness.report.past import NO_PAST, Past
from harness.report.ran import facts_beside, references
from harness.report.reasons import measured_change, said, without_name
from harness.units import percent, plural, quantity

__all__ = ["Sections", "anchor", "render_cases"]

CHARTS_SHARE = 0.65
"""The part of what the lines leave that sections with pictures may take; the next worst cases get tables alone."""

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
_LOG_LINES = 40
_WIDE = 0.5
_RATIOS = {
    "speedup": "The speed-up",
    "anchored": "The ratio to the anchor",
    "against": "The ratio to the other tree",
}


@dataclass(frozen=True)
class Sections:
    """The rendered sections, and how many cases got less than everything."""

    html: Markup
    without_charts: int
    lines_only: int
    dropped: int


def anchor(suite: str, case_id: str) -> str:
    """The id of a case's section: readable, safe in a URL, and different for different cases."""
    digest = hashlib.sha256(f"{suite}\n{case_id}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"case-{slug(case_id).lower()[:80]}-{digest}"


def render_cases(
    seen: Overview, section: Callable[[Mapping[str, Any]], str], room: int, past: Past = NO_PAST
) -> Sections:
    """Sections of all cases, worst first, in at most `room` bytes.

    Every case gets its line first, and only past the room are cases left out. `section` renders one from its context,
    whose `level` says how much.
    """
    run, views, beside = seen.run, seen.worst_first, references(seen.cases)

    def rendered(view: CaseView, level: str) -> str:
        return section(_context(run, view, level, past, beside.get((view.suite, view.id))))

    parts: list[str] = []
    spent = 0
    for view in views:
        line = rendered(view, "line")
        spent += len(line.encode())
        if spent > room:
            break
        parts.append(line)
    charts = spent + CHARTS_SHARE * (room - spent)
    levels = {"full": 0, "tables": 0}
    for i, view in enumerate(views[: len(parts)]):
        level = "full" if spent < charts else "tables"
        text = rendered(view, level)
        added = len(text.encode()) - len(parts[i].encode())
        if spent + added > room:
            break
        parts[i] = text
        spent += added
        levels[level] += 1
    # The template escapes what it is given; its result is a piece of the page.
    html = Markup("".join(parts))
    return Sections(html, levels["tables"], len(parts) - sum(levels.values()), len(views) - len(parts))


def _row(view: CaseView) -> dict[str, str]:
    """The line of a case: what is to be seen without opening it."""

    def text(metric: str, unit: str) -> str:
        estimate = view.estimate(metric)
        return quantity(estimate.point, unit) if estimate else "–"

    return {
        "anchor": anchor(view.suite, view.id),
        "speedup": text("speedup", "x"),
        "latency": text("latency.p50", "s"),
        "memory": text("memory.peak", "bytes"),
        "accuracy": text("accuracy", "share"),
    }


def _context(run: Run, view: CaseView, level: str, past: Past, reference: CaseView | None) -> dict[str, Any]:
    row = _row(view)
    context: dict[str, Any] = {"level": level, "row": row, "view": view, "result": view.result}
    if level == "line":
        return context
    result = view.result
    declared = {str(m["name"]): m for m in run.metrics if m.get("suite") in (None, "", view.suite)}
    context |= {
        "measurements": [_measured(m, declared) for m in result.measurements] if result else [],
        "comparisons": [_compared(c) for c in view.comparisons],
        "baseline": run.baselines.get(view.name, {}),
        "other_tree": other_tree(run),
        "reproduce": reproduce_command(run, result.nodeid) if result else "",
        "accept": accept_command(run, view.name) if acceptable(run, view) else "",
        "reason": without_name(result.reason, view.id) if result else "",
        "facts": facts_beside(view, reference),
        "beside": anchor(reference.suite, reference.id) if reference and reference.result else "",
        "log_lines": _LOG_LINES,
        "histories": histories(view, past, row["anchor"], drawn=level == "full"),
    }
    launches = result.launches if result and level == "full" else ()
    samples = pooled(launches)
    context["apart"] = _apart(view, samples)
    context["launches"] = [
        {
            "number": i,
            "phase": launch.phase,
            "rounds": launch.rounds,
            "first": launch.started_first or "–",
            "p50": quantity(launch.latency["p50"], "s") if "p50" in launch.latency else "–",
            "anchored": quantity(launch.anchored, "x") if launch.anchored else "–",
            "speedup": "–" if launch.speedup is None else quantity(launch.speedup, "x"),
            "cpu": percent(launch.cpu_share, sign=False),
            "pressure": "–" if launch.pressure is None else percent(launch.pressure, sign=False),
            "state": "; ".join([*disturbances(launch), *(f"{name} {value}" for name, value in launch.state.items())]),
            "wall": quantity(launch.wall_seconds, "s"),
        }
        for i, launch in enumerate(launches, start=1)
    ]
    context["spreads"] = _spreads(launches)
    accepted = None if "previous" in samples else _accepted(view)
    unlike = _unlike(view, reference) if "reference" in samples else ""
    context["unlike"] = unlike
    context["ecdf"] = ecdf(f"{row['anchor']}-e", samples, accepted, unlike) if samples else None
    context["timeline"] = timeline(f"{row['anchor']}-s", launches) if samples else None
    context["quantiles"] = {
        arm: [quantity(quantile(values, share), "s") for share in _QUANTILES] for arm, values in samples.items()
    }
    if samples and accepted:
        context["quantiles"]["baseline"] = [quantity(accepted, "s") if share == 0.5 else "–" for share in _QUANTILES]
    context["quantile_names"] = [f"{share * 100:.0f} %" for share in _QUANTILES]
    return context


def _unlike(view: CaseView, reference: CaseView | None) -> str:
    """What keeps the times of calls from telling which is faster; "" where those of both hold as many items."""
    items, others = batch_of(view), batch_of(reference) if reference else 1
    if items == others:
        return ""
    return (
        f"A call of the candidate holds {plural(items, 'item')}, and one of the reference {others}: curves, times and "
        "quantiles of calls do not tell which is faster. The speed-up, which is that of an item, does."
    )


def _accepted(view: CaseView) -> float | None:
    """The baseline's median time (s) at this run's speed of the machine: today's, less the change that was judged."""
    now = view.estimate("latency.p50")
    change = next((c.change for c in view.comparisons if c.metric == "latency.p50"), None)
    return before(now.point, change) if now else None


def _measured(measurement: Measurement, declared: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    about = declared.get(measurement.metric, {})
    estimate = measurement.estimate
    return {
        "metric": measurement.metric,
        "value": estimate_text(estimate, str(about.get("unit", ""))) + _too_few(measurement),
        "better": str(about.get("better", "")),
        "launches": str(estimate.launches),
        "help": str(about.get("help", "")),
    }


def _too_few(measurement: Measurement) -> str:
    """What stands behind a percentile that so few calls can't tell."""
    calls, needed = measurement.estimate.samples, calls_needed(measurement.metric)
    return f" (too few calls: {calls} a launch of {needed})" if calls < needed else ""


def _apart(view: CaseView, samples: Mapping[str, Sequence[float]]) -> str:
    """Why the time of a call is not the same number everywhere in the section; "" where it is."""
    measured = view.result.measurement("latency.p50") if view.result else None
    judged = next((c.candidate for c in view.comparisons if c.metric == "latency.p50"), None)
    if measured is None:
        return ""
    places: list[tuple[str, str]] = []
    counted = measured.estimate.launches
    # Only a conviction leaves launches that count out of its estimate: those of the screen, where others confirm it.
    if judged and judged.launches != counted:
        where = f"against the baseline (the {judged.launches} launches that were made to confirm a first suspicion)"
        places.append((quantity(judged.point, "s"), where))
    places.append((quantity(measured.estimate.point, "s"), f"here (all {counted} launches that count, each once)"))
    if "candidate" in samples:
        middle = quantity(quantile(samples["candidate"], 0.5), "s")
        places.append((middle, "among the call times (the middle of all calls, whichever launch they are of)"))
    if len({value for value, _ in places}) < 2:
        return ""
    *first, last = (f"{value} {where}" for value, where in places)
    return f"latency.p50 is {', '.join(first)} and {last}."


def _spreads(launches: Sequence[Launch]) -> list[str]:
    """How far the launches lie apart, for each ratio that is judged, and how much of it their rounds explain."""
    counted = [launch for launch in launches if launch.counts]
    found = []
    for name, words in _RATIOS.items():
        logs = [math.log(ratio) for launch in counted if (ratio := getattr(launch, name))]
        if len(logs) > 1 and all(name in launch.within for launch in counted):
            rounds = math.sqrt(statistics.fmean(launch.within[name] ** 2 for launch in counted))
            apart, within = (percent(value, sign=False) for value in (statistics.stdev(logs), rounds))
            found.append(f"{words} differs by {apart} between launches (standard deviation); {within} come from rounds")
    return found


def _compared(comparison: Comparison) -> dict[str, Any]:
    detectable = comparison.detectable
    return {
        "c": comparison,
        "told": said(comparison) if _to_be_told(comparison) else "",
        "before": estimate_text(comparison.baseline, comparison.unit),
        "now": estimate_text(comparison.candidate, comparison.unit),
        "change": measured_change(comparison),
        "limit": limit_text(comparison),
        "detectable": "–" if detectable is None else relative_text(comparison, detectable).removeprefix("+"),
    }


def _to_be_told(comparison: Comparison) -> bool:
    """Whether the numbers alone do not explain the verdict.

    They do for what is unchanged within a narrow limit. A change beyond its limit that passes has to be explained, and
    so has a limit above the half of a value: it is an absolute one, and only its sentence says so.
    """
    change, limit = comparison.change, comparison.limit
    if comparison.verdict is not Verdict.UNCHANGED or change is None or limit is None:
        return comparison.verdict is not Verdict.UNCHANGED
    return abs(change.point) > limit or (limit > _WIDE and comparison.unit != "share")
