"""Lines for a terminal: one that lives while a case is measured, one when it is done, and a table with reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from harness.records import Comparison, Result, Run, Verdict
from harness.report.batching import knees
from harness.report.overview import CaseView, Overview, counts
from harness.report.text import one_line, shorten
from harness.report.trust import tree_note
from harness.report.weight import comparisons_by_weight
from harness.units import plural, quantity

__all__ = ["case_line", "closing_lines", "live_line", "painted", "verdict_table"]

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
_LIVE_CASE = 20
MAX_REASONS = 30
MAX_ROWS = 200


def live_line(case: str, stage: str, left: str, tally: Mapping[str, int], width: int) -> str:
    """What goes on right now, in fewer than `width` columns: `[3/12] digits/onnxruntime/cpu: launch 2  (4 min left)`.

    `tally` are the verdicts so far. Where there is no room, first it goes, then the time left, then the middle of the
    case's name; a line that wraps could not be written over.
    """
    room = max(width - 1, 0)
    case = one_line(case)
    counted = ", ".join(f"{number} {word}" for word, number in tally.items())
    ends = [f": {stage}{left}{f'  [{counted}]' if counted else ''}", f": {stage}{left}", f": {stage}"]
    end = next((end for end in ends if len(case) + len(end) <= room), ends[-1])
    return f"{shorten(case, max(room - len(end), min(len(case), _LIVE_CASE)))}{end}"[:room]


def case_line(
    result: Result,
    comparisons: Iterable[Comparison],
    verdict: Verdict | None = None,
    *,
    width: int = 0,
    id: bool = True,
) -> str:
    """One case in one line, without colour: `regressed digits/compiled/cpu  1.24x  1.70 ms  98.60 %`.

    `verdict` is shown where there are comparisons, or nothing but the outcome to go by. With a `width`, values are left
    out from the right and the id is cut in its middle until it fits; without `id` the line does not name the case.
    """
    view = CaseView(result.suite, result.case_id, result, tuple(comparisons))
    word = verdict.value if verdict is not None and view.comparisons else view.word
    name = one_line(result.case_id) if id else ""
    values = [value for value in _values(view)[:3] if value != "-"]
    if not view.completed:
        values = [shorten(one_line(result.reason), 160)] if result.reason else []
    while width and values and len(_line(word, name, values)) > width:
        values = values[:-1]
    if width:
        name = shorten(name, max(width + 1 - len(_line(word, "x", values)), 1))
    return _line(word, name, values)


def _line(word: str, name: str, values: Sequence[str]) -> str:
    return "  ".join([f"{word:<12} {name}".rstrip() if name else word, *values])


def painted(line: str) -> str:
    """A line that begins with a verdict, as `case_line` gives it, with that word in its colour."""
    word, space, rest = line.partition(" ")
    return f"{_paint(word, _COLOURS.get(word, ''), True)}{space}{rest}"


def verdict_table(seen: Overview, width: int = 100, *, colour: bool = False) -> list[str]:
    """A row for each case, worst last so that it stands next to the prompt, in at most `width` columns.

    Where the terminal is narrow, metrics are left out from the right, and then ids are cut in their middle. Cases
    that can't run here are only counted, and so are in a run of more than 200 those that are unchanged and, of what is
    left, all but the 200 worst.
    """
    every = seen.by_verdict(worst_last=True)
    views = [view for view in every if view.word != "skipped"]
    shown = views if len(views) <= MAX_ROWS else [v for v in views if v.word not in ("unchanged", "measured")]
    shown = shown[-MAX_ROWS:]
    left_out = len(views) - len(shown)
    more = [f"{plural(left_out, 'further case')} {'is' if left_out == 1 else 'are'} in the report"] if left_out else []
    if len(every) > len(views):
        more.append(f"{plural(len(every) - len(views), 'case')} can't run here; the report has the reasons")
    if not shown:
        return more
    ids = max(len(one_line(view.label)) for view in shown)
    columns: Sequence[tuple[str, str, str]] = _COLUMNS
    while columns and 14 + min(ids, _NARROW_ID) + 11 * len(columns) > width:
        columns = columns[:-1]
    room = max(min(ids, width - 14 - 11 * len(columns)), 1)
    head = f"{'verdict':<12}  {'case':<{room}}" + "".join(f"{title:>11}" for title, _, _ in columns)
    lines = [_paint(head, "2", colour)]
    for view in shown:
        values = _values(view)[: len(columns)]
        word = _paint(f"{view.word:<12}", _COLOURS[view.word], colour)
        row = f"{shorten(one_line(view.label), room):<{room}}" + "".join(f"{value:>11}" for value in values)
        lines.append(f"{word}  {row}".rstrip())
    return [*lines, *more]


def closing_lines(run: Run, width: int = 100, *, colour: bool = False, verbosity: int = 0) -> list[str]:
    """The table, a sentence for each failure, each undecided comparison and each sweep of batches, and the verdict.

    `verbosity` is what pytest's `-v` and `-q` add up to: at 1 every comparison has its sentence, at -1 there is no
    table, at -2 nothing but the verdict on the run. Names and reasons come from files, and are made harmless here; with
    `colour` the lines hold sequences for colours, and nothing else that a terminal would act on.
    """
    seen = Overview(run)
    lines = verdict_table(seen, width, colour=colour) if verbosity >= 0 else []
    if verbosity >= -1:
        for group in _explained(seen, every=verbosity > 0):
            lines += [
                *([""] if lines else []),
                *_reasons(seen, group, colour, len(group) if verbosity > 0 else MAX_REASONS),
            ]
    swept = [f"{s.label}/{s.hardware}, {sweep.pipeline}: {said}" for s, sweep, said in knees(seen)]
    if swept and verbosity >= 0:
        lines += ["", *map(one_line, swept[:MAX_REASONS])]
        lines += [f"and {len(swept) - MAX_REASONS} more, which are in the report"] if len(swept) > MAX_REASONS else []
    total = seen.headline
    tally = ", ".join(_paint(f"{number} {word}", _COLOURS[word], colour) for word, number in counts(seen.cases).items())
    lines += [*([""] if lines else []), *([tally] if tally and verbosity >= -1 else [])]
    lines += [_paint(note, "1;33", colour)] if (note := tree_note(run)) and verbosity >= -1 else []
    lines.append(f"{_paint(total.sentence, _STATES.get(total.state, '1;33'), colour)} {one_line(total.detail)}")
    return lines


def _explained(seen: Overview, *, every: bool) -> Iterator[tuple[Comparison, ...]]:
    """The comparisons that get a sentence: what fails, then what is undecided; or all, mildest first."""
    run, found = seen.run, seen.failures
    undecided = comparisons_by_weight([c for c in run.comparisons if c.verdict is Verdict.INCONCLUSIVE])
    if every:
        # A case that ended without numbers may have no comparison but the one that is made of it for the failures.
        rest = [c for c in run.comparisons if c not in found]
        yield from (group for group in (comparisons_by_weight(rest)[::-1], found[::-1]) if group)
        return
    if found:
        yield found
    if undecided and not any(c.verdict is Verdict.INCONCLUSIVE for c in found):
        yield undecided


def _reasons(seen: Overview, comparisons: tuple[Comparison, ...], colour: bool, most: int) -> Iterator[str]:
    for c in comparisons[:most]:
        name, label, reason = one_line(c.case_id), one_line(seen.label(c)), one_line(c.reason)
        # Only where it begins with the name is it the sentence's: behind that it stands in commands and node ids.
        sentence = f"{label}{reason.removeprefix(name)}" if reason.startswith(name) else f"{label}: {reason}"
        yield f"{_paint(f'{c.verdict.value:<12}', _COLOURS[c.verdict.value], colour)}  {sentence}"
    if len(comparisons) > most:
        yield f"and {len(comparisons) - most} more, which are in the report"


def _values(view: CaseView) -> list[str]:
    estimates = [(view.estimate(metric), unit) for _, metric, unit in _COLUMNS]
    return [quantity(estimate.point, unit) if estimate else "-" for estimate, unit in estimates]


def _paint(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code else text
