"""Lines for a terminal: one for a case when it is done, and a table with its reasons at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.records import Comparison, Result, Run, Verdict
from harness.report.batching import knees
from harness.report.overview import CaseView, Overview, comparisons_by_weight, counts
from harness.report.text import one_line, shorten
from harness.units import quantity

__all__ = ["case_line", "closing_lines", "verdict_table"]

_COLOURS = {
    "improved": "32", "regressed": "31", "missing": "31", "invalid": "31", "error": "31", "inconclusive": "33",
    "incomparable": "33", "new": "36", "skipped": "2", "unchanged": "", "measured": "",
}  # fmt: skip
_STATES = {"passed": "1;32", "failed": "1;31"}
_COLUMNS = (
    ("speed-up", "speedup", "x"),
    ("p50", "latency.p50", "s"),
    ("accuracy", "accuracy", "share"),
    ("memory", "memory.peak", "bytes"),
    ("size", "size", "bytes"),
)
_NARROW_ID = 36
MAX_REASONS = 30
MAX_ROWS = 200


def case_line(result: Result, comparisons: Iterable[Comparison], verdict: Verdict | None = None) -> str:
    """One case in one line, without colour: `regressed digits/compiled/cpu  1.24x  1.70 ms  98.60 %`.

    `verdict` is shown where there are comparisons, or nothing but the outcome to go by.
    """
    view = CaseView(result.suite, result.case_id, result, tuple(comparisons))
    word = verdict.value if verdict is not None and view.comparisons else view.word
    if not view.completed:
        return f"{word:<12} {one_line(result.case_id)}  {shorten(one_line(result.reason), 160)}".rstrip()
    values = [value for value in _values(view)[:3] if value != "-"]
    return "  ".join([f"{word:<12} {one_line(result.case_id)}", *values])


def verdict_table(run: Run, width: int = 100, *, colour: bool = False) -> list[str]:
    """A row for each case, worst last so that it stands next to the prompt, in at most `width` columns.

    Where the terminal is narrow, metrics are left out from the right, and then ids are cut in their middle. Cases
    that can't run here, and in a run of more than 200 those that are unchanged, are only counted.
    """
    return _table(Overview(run), width, colour=colour)


def _table(seen: Overview, width: int, *, colour: bool) -> list[str]:
    every = sorted(seen.cases, key=lambda view: view.verdict.severity if view.verdict else -1)
    views = [view for view in every if view.word != "skipped"]
    shown = views if len(views) <= MAX_ROWS else [v for v in views if v.word not in ("unchanged", "measured")]
    shown = shown[-MAX_ROWS:]
    left_out = len(views) - len(shown)
    more = [f"{left_out} further cases are in the report"] if left_out else []
    if len(every) > len(views):
        more.append(f"{len(every) - len(views)} cases can't run here; the report has the reasons")
    if not shown:
        return more
    ids = max(len(one_line(view.id)) for view in shown)
    columns: Sequence[tuple[str, str, str]] = _COLUMNS
    while columns and 14 + min(ids, _NARROW_ID) + 11 * len(columns) > width:
        columns = columns[:-1]
    room = max(min(ids, width - 14 - 11 * len(columns)), 1)
    head = f"{'verdict':<12}  {'case':<{room}}" + "".join(f"{title:>11}" for title, _, _ in columns)
    lines = [_paint(head, "2", colour)]
    for view in shown:
        values = _values(view)[: len(columns)]
        word = _paint(f"{view.word:<12}", _COLOURS[view.word], colour)
        row = f"{shorten(one_line(view.id), room):<{room}}" + "".join(f"{value:>11}" for value in values)
        lines.append(f"{word}  {row}".rstrip())
    return [*lines, *more]


def closing_lines(run: Run, width: int = 100, *, colour: bool = False) -> list[str]:
    """The table, a sentence for each failure, each undecided comparison and each sweep of batches, and the verdict.

    Names and reasons come from files, and are made harmless here; with `colour` the lines hold sequences for
    colours, and nothing else that a terminal would act on.
    """
    seen = Overview(run)
    lines, found = _table(seen, width, colour=colour), seen.failures
    if found:
        lines += ["", *_reasons(found, colour)]
    undecided = comparisons_by_weight([c for c in run.comparisons if c.verdict is Verdict.INCONCLUSIVE])
    if undecided and not any(c.verdict is Verdict.INCONCLUSIVE for c in found):
        lines += ["", *_reasons(undecided, colour)]
    swept = [f"{s.model}/{s.hardware}, {sweep.pipeline}: {said}" for s, sweep, said in knees(seen)]
    if swept:
        lines += ["", *map(one_line, swept[:MAX_REASONS])]
        lines += [f"and {len(swept) - MAX_REASONS} more, which are in the report"] if len(swept) > MAX_REASONS else []
    total = seen.headline
    tally = ", ".join(_paint(f"{number} {word}", _COLOURS[word], colour) for word, number in counts(seen.cases).items())
    lines += ["", *([tally] if tally else [])]
    lines.append(f"{_paint(total.sentence, _STATES.get(total.state, '1;33'), colour)} {one_line(total.detail)}")
    return lines


def _reasons(comparisons: tuple[Comparison, ...], colour: bool) -> Iterator[str]:
    for c in comparisons[:MAX_REASONS]:
        name, reason = one_line(c.case_id), one_line(c.reason)
        sentence = reason if name in reason else f"{name}: {reason}"
        yield f"{_paint(f'{c.verdict.value:<12}', _COLOURS[c.verdict.value], colour)}  {sentence}"
    if len(comparisons) > MAX_REASONS:
        yield f"and {len(comparisons) - MAX_REASONS} more, which are in the report"


def _values(view: CaseView) -> list[str]:
    estimates = [(view.estimate(metric), unit) for _, metric, unit in _COLUMNS]
    return [quantity(estimate.point, unit) if estimate else "-" for estimate, unit in estimates]


def _paint(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code else text
