"""The table of docs/results.md: technique x runtime x model, as a run measured them.

    pytest suites/ -m full --baseline=off
    python benchmarks/results_table.py reports/latest [RUN ...] docs/results.md

One section for each model and hardware; the fastest first. A case that gave no numbers says why. A case that several
suites have is taken from the last of them; of several runs of one machine, later ones add what the earlier have not.
Runs of different hardware or packages are refused, since a page names those of the first.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

# The sources beside this file are measured, and not an installed copy's.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness.records import Outcome, Result, Run
from harness.report.overview import CaseView, cases
from harness.report.record import read_run
from harness.report.summary import escape
from harness.report.text import moment, shorten
from harness.units import quantity, ratio

__all__ = ["main", "text_of"]

REASON = 140
HOURS = (
    "An interval (95 %) is that of one run's launches, which share an hour: from one hour to another, speed-ups of the "
    "same artefacts differed by up to 24 % (digits in ONNX Runtime, [between the blocks of "
    "baselines](benchmarks.md#detection)). A p50 is of the minutes in which its own case was measured, and of several "
    "runs those are of different hours: compare cases by their speed-ups, not by their p50s."
)
"""The figure is that of `blocks` in benchmarks/results/detection.json."""


def text_of(runs: Sequence[Run]) -> str:
    """The page. Raises `ValueError` where two runs were not made on the same hardware with the same packages."""
    _check(runs)
    run = runs[0]
    first, *others = (moment(each.started) for each in runs)
    when = f"{first}{'; what it lacks is of ' if others else ''}{', '.join(others)}"
    hardware = "; ".join(sorted({str(one.get("model", name)) for name, one in run.environment.hardware.items()}))
    software = ", ".join(
        f"{name} {run.environment.software[name]}"
        for name in ("python", "torch", "onnxruntime", "openvino", "ai-edge-litert", "torchao", "nncf")
        if name in run.environment.software
    )
    lines = [
        "# What each technique brought",
        "",
        f"Made by `python benchmarks/results_table.py` from a run of {when} (on {escape(hardware)}, "
        f"{escape(software)}). Speed-up is against the model as it is, an item; *found* is what the runtime says of "
        "the network that ran. Figures of one machine: leads, not promises. What loses, and why, is told [with the "
        "techniques](techniques.md#what-loses-and-why).",
        "",
        HOURS,
    ]
    for (model, where), views in _grouped(runs).items():
        lines += ["", *_section(f"{model} on {where}", views)]
    return "\n".join(lines) + "\n"


def _check(runs: Sequence[Run]) -> None:
    first, *others = runs
    for run in others:
        pairs = (
            (first.environment.hardware, run.environment.hardware),
            (first.environment.software, run.environment.software),
        )
        wrong = list(itertools.chain.from_iterable(_differing(one, other) for one, other in pairs))
        if wrong:
            raise ValueError(
                f"{run.id} was not made as {first.id} was: {', '.join(wrong)}; give runs of one machine with the same "
                "packages, or make a page of each"
            )


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> Iterator[str]:
    """What both name and differ in: a run names the hardware that it measured on, and the packages that it found."""
    for name in sorted(one.keys() & other.keys()):
        if one[name] != other[name]:
            yield f"{name} is {_said(other[name], one[name])}, not {_said(one[name], other[name])}"


def _said(value: object, other: object) -> str:
    """A version as it is, and of a hardware's identity what the other one has differently."""
    if not isinstance(value, Mapping) or not isinstance(other, Mapping):
        return str(value)
    names = [name for name in {**value, **other} if value.get(name) != other.get(name)]
    return " ".join(f"{name} {value.get(name, 'unknown')}" for name in names)


def _grouped(runs: Sequence[Run]) -> dict[tuple[str, str], list[CaseView]]:
    """The cases that ran, or failed to, by model and hardware."""
    found: dict[str, CaseView] = {}
    for run in runs:
        known = {case_id for case_id, view in found.items() if view.completed}
        found |= {view.id: view for view in cases(run) if view.id not in known}
    grouped: dict[tuple[str, str], list[CaseView]] = {}
    for view in found.values():
        if view.result and view.result.outcome is not Outcome.UNAVAILABLE:
            grouped.setdefault((view.result.model, view.result.hardware), []).append(view)
    return dict(sorted(grouped.items()))


def _section(title: str, views: Sequence[CaseView]) -> Iterator[str]:
    yield f"## {escape(title)}"
    yield ""
    yield "| technique | runtime | speed-up | p50 | memory | size | accuracy | found |"
    yield "|---|---|---:|---:|---:|---:|---:|---|"
    measured = [view for view in views if view.completed]
    yield from (_row(view) for view in sorted(measured, key=_gain, reverse=True))
    failed = [view.result for view in views if not view.completed and view.result]
    if failed:
        yield ""
        yield from (f"* `{one.technique}`: {one.outcome}: {escape(shorten(one.reason, REASON))}" for one in failed)


def _row(view: CaseView) -> str:
    result = view.result
    assert result is not None
    speedup = view.estimate("speedup")
    alone = "1" if result.technique == "reference" else "–"
    gain = f"{ratio(speedup.point)} [{speedup.low:.2f}, {speedup.high:.2f}]" if speedup else alone
    cells = [
        _cell(view, metric, unit)
        for metric, unit in (("latency.p50", "s"), ("memory.peak", "bytes"), ("size", "bytes"), ("accuracy", "share"))
    ]
    words = [f"`{result.technique}`", str(result.facts.get("runtime", "")), gain, *cells, _found(result)]
    return f"| {' | '.join(words)} |"


def _cell(view: CaseView, metric: str, unit: str) -> str:
    found = view.estimate(metric)
    return quantity(found.point, unit) if found else "–"


def _found(result: Result) -> str:
    facts = result.facts
    words = [str(facts.get("precision", ""))]
    for fact, word in (("quantized", "quantized"), ("sparsity", "zero")):
        share = facts.get(fact)
        if isinstance(share, float) and share > 0.005:
            words.append(f"{share:.0%} {word}")
    parameters, before, after = (facts.get(name) for name in ("parameters", "macs.before", "macs.after"))
    if isinstance(parameters, (int, float)):
        words.append(f"{quantity(float(parameters), 'count')} weights")
    if isinstance(before, (int, float)) and isinstance(after, (int, float)) and 0 < after < before:
        words.append(f"{ratio(before / after)} less work")
    taught, alone = facts.get("student.distilled"), facts.get("student.alone")
    if isinstance(taught, float) and isinstance(alone, float):
        words.append(f"student {taught:.1%} taught, {alone:.1%} alone")
    return escape(", ".join(word for word in words if word))


def _gain(view: CaseView) -> float:
    speedup = view.estimate("speedup")
    return speedup.point if speedup else 1.0


def main(arguments: list[str]) -> int:
    """Read the runs, write the page."""
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    *runs, page = arguments
    try:
        text = text_of([read_run(run) for run in runs])
    except ValueError as error:
        print(f"results_table: {error}", file=sys.stderr)
        return 2
    Path(page).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
