"""From runs and baselines to the series that are drawn."""

from __future__ import annotations

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence

from harness.baseline.log import versions
from harness.baseline.records import Accepted, Block, Portable, Times, machine_class
from harness.baseline.store import Store
from harness.errors import BaselineError
from harness.history.changes import CURE, with_changes
from harness.history.entries import Entry, Kept, Value, Wanted, question_of
from harness.history.sources import Sources
from harness.judge.times import TIME_UNITS, _baseline_estimate
from harness.metrics import METRICS
from harness.records import Run, Verdict
from harness.report.overview import cases
from harness.report.past import LAST, Level, Past, Point, Series

__all__ = ["WATCHED", "baselines_of", "levels_of", "past_of", "series_of"]

WATCHED = ("latency.p50", "speedup", "memory.peak", "size", "accuracy")
"""What a report looks back at; of a run of very many cases at the first alone.

Not at the throughput: it has no ratio to the anchor, so that a slower machine would be told as a change of each case.
"""
MANY = 1000
WITH_LEVELS = 500
"""Cases of a report whose baselines are looked up in git."""


def past_of(run: Run, own: Entry, sources: Sources) -> Past:
    """What was measured before of the cases of a run, on the same machines and up to it, with this run as the last.

    `own` is its entry. There is a series for each watched metric with two runs or more. The accepted baselines are
    looked up where a change or a verdict calls for a picture.
    """
    here = {(one.suite, one.case_id): one.machine for one in own.cases}
    wanted = Wanted(here.keys(), metrics=WATCHED if len(here) <= MANY else WATCHED[:1])
    found = sources.entries(LAST, wanted, before=own.started, at_hand=own.run)
    earlier = [entry for entry in found.entries if entry.key != own.key]
    if not earlier:
        return Past(notes=found.notes)
    series = [
        with_changes(one)
        for one in series_of([*earlier, own], LAST, wanted)
        if one.machine == here[one.suite, one.case_id] and len(one.points) > 1 and one.points[-1].run == own.run
    ]
    calm = {(view.suite, view.id) for view in cases(run) if view.verdict in (None, Verdict.UNCHANGED)}
    drawn = [one for one in series if one.changes or (one.suite, one.case_id) not in calm]
    chosen = list(dict.fromkeys((one.suite, one.case_id) for one in drawn))[:WITH_LEVELS]
    by_case: dict[tuple[str, str], list[Series]] = defaultdict(list)
    for one in sorted(levels_of(series, sources, chosen), key=lambda one: WATCHED.index(one.metric)):
        by_case[one.suite, one.case_id].append(one)
    unsearched = (CURE,) if any(one.note == CURE for one in series) else ()
    return Past({key: tuple(several) for key, several in by_case.items()}, (*found.notes, *unsearched))


def series_of(entries: Iterable[Entry], last: int, wanted: Wanted) -> list[Series]:
    """A series for each wanted case and metric and class of machine, without its changes.

    `entries` are oldest first. A run that was asked another question than the newest one, or that declared the metric
    with another unit or direction, belongs to another series, and is left out. So is one without ratios to the anchor
    where others have them: with its seconds a machine that got slower would be a change of the case.
    """
    found: dict[tuple[str, str, str, str], list[tuple[Entry, Kept, Value]]] = defaultdict(list)
    for entry in entries:
        for kept in entry.cases:
            if wanted.case(kept.suite, kept.case_id):
                for value in kept.values:
                    if wanted.metric(value.metric):
                        key = (kept.suite, kept.case_id, value.metric, kept.machine)
                        found[key].append((entry, kept, value))
    return [
        Series(
            *(suite, case_id, metric, newest.unit, newest.better, machine),
            tuple(_point(*one) for one in several if _asked(one[2]) == _asked(newest))[-last:],
            question=newest.question,
        )
        for (suite, case_id, metric, machine), every in found.items()
        if (several := [one for one in every if one[2].relative is not None] or every) and (newest := several[-1][2])
    ]


def baselines_of(series: Iterable[Series], sources: Sources, wanted: Wanted) -> tuple[list[Series], list[str]]:
    """Series without runs, for the wanted cases that have a baseline and no series of their own; and what is wrong with
    each baseline that is damaged, of which nobody can tell whether it is wanted.
    """
    known = {(one.suite, one.case_id) for one in series}
    every = [one for _, one in Store(sources.baselines).each()] if sources.baselines.is_dir() else []
    damaged = [str(one) for one in every if isinstance(one, BaselineError)]
    portables = [one for one in every if not isinstance(one, BaselineError)]
    cases = [(one.suite, one.case_id) for one in portables if wanted.case(one.suite, one.case_id)]
    found = []
    for (suite, case_id), records in versions(sources.baselines, [case for case in cases if case not in known]).items():
        machines = {machine_class(record.identity) for record in records if isinstance(record, Times)}
        for metric in (metric for metric in METRICS if wanted.metric(metric.name)):
            found += [Series(suite, case_id, metric.name, metric.unit, metric.better, one) for one in sorted(machines)]
    return found, damaged


def levels_of(
    series: Sequence[Series], sources: Sources, chosen: Collection[tuple[str, str]] | None = None
) -> list[Series]:
    """The series, those of the chosen (suite, case id) pairs (all, if None) with the baselines accepted for them.

    Baselines of another question than the runs' are left out, as runs of another are.
    """
    if chosen is None:
        chosen = {(one.suite, one.case_id) for one in series}
    kept = versions(sources.baselines, chosen) if chosen else {}
    return [
        dataclasses.replace(one, levels=levels)
        if (levels := tuple(_levels(one, kept.get((one.suite, one.case_id), ()))))
        else one
        for one in series
    ]


def _levels(series: Series, records: Iterable[Portable | Times]) -> Iterator[Level]:
    """A level wherever something of this metric was accepted, with its own reason: anew, or as another block.

    Where another metric alone was accepted, or a test moved, the value stays, and is told once.
    """
    before: float | None = None
    seen: Accepted | None = None
    reason, held = "", frozenset[str]()
    for record in records:
        value = _value(series, record)
        if value is None:
            continue
        accepted = record.accepted
        parts: list[Accepted | Block] = [accepted]
        if isinstance(record, Times):
            parts = [block for block in record.blocks if series.metric in block.values]
        times = frozenset(part.when for part in parts)
        # Where a block stayed it is another one, however old the first that is left.
        if accepted != seen and times.isdisjoint(held):
            reason = accepted.reason if _is_own(series.metric, parts[0].when, accepted) else ""
        held, seen = times, accepted
        if value == before:
            continue
        before, newest, why = value, parts[-1], reason or "reason not known"
        yield Level(newest.when, newest.commit, why if len(parts) == 1 else f"another block ({why})", value)


def _is_own(metric: str, first: str, accepted: Accepted) -> bool:
    """Whether a record was accepted for this metric, whose first block is of that time, and not for another one.

    What was accepted anew begins there. A later one tells that older blocks are gone, and what was replaced is known.
    """
    if first <= accepted.when:
        return first == accepted.when
    return metric in accepted.previous or not accepted.previous


def _value(series: Series, record: Portable | Times) -> float | None:
    """What a record says of the metric, as the judge reads it: of what is sampled the mean of the blocks' means, else
    the median of their medians. None where nothing can be judged by it, or it is of another question, unit or machine.
    """
    if record.units.get(series.metric, series.unit) != series.unit:
        return None
    if series.question and series.question != question_of(record.workload, portable=isinstance(record, Portable)):
        return None
    if isinstance(record, Portable):
        return record.values.get(series.metric)
    if machine_class(record.identity) != series.machine:
        return None
    blocks = [block for block in record.blocks if block.values.get(series.metric)]
    values = [block.values[series.metric] for block in blocks]
    several = any(len(block.values[series.metric]) > 1 or block.relative.get(series.metric) for block in blocks)
    if not (several or series.unit in TIME_UNITS):
        return statistics.median(statistics.median(one) for one in values) if values else None
    usable = blocks and all(number > 0 for block in values for number in block)
    return _baseline_estimate(blocks, series.metric).point if usable else None


def _asked(value: Value) -> tuple[str, str, str]:
    """What two values must share to be compared."""
    return value.question, value.unit, value.better


def _point(entry: Entry, kept: Kept, value: Value) -> Point:
    about = (entry.run, entry.started, entry.commit, entry.dirty)
    return Point(*about, value.point, value.low, value.high, value.relative, kept.verdict)
