"""`summary.md`: the run as a CI job summary, in GitHub's Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from harness.records import Comparison, Run, Verdict
from harness.report.batching import knees
from harness.report.commands import accept_command, acceptable, reproduce_command
from harness.report.gains import accuracy_slack, answers, subjects
from harness.report.numbers import estimate_text, limit_text
from harness.report.overview import GLYPHS, CaseView, Overview, counts, timed
from harness.report.reasons import MAX_NAMED, brief, in_numbers, measured_change, said, without_commands
from harness.report.text import commit_name, moment, one_line, shorten
from harness.report.trust import checks, tree_note
from harness.report.weight import comparisons_by_weight
from harness.units import duration, quantity

__all__ = ["MAX_BYTES", "comparison_rows", "escape", "render"]

MAX_BYTES = 900_000
"""GitHub drops a summary above 1 MiB whole."""
_CELL = 400
_MARKS = {"passed": "✅", "failed": "❌"}


def render(run: Run) -> str:
    """The summary: verdict, failures, what could not be decided, trust, answers, and a table of all cases.

    It stays below `MAX_BYTES`; rows that do not fit any more are counted in its last line.
    """
    seen = Overview(run)
    total = seen.headline
    lines = [
        f"## {_MARKS.get(total.state, '⚠️')} {escape(total.sentence)}",
        "",
        escape(total.detail),
        "",
        *([f"⚠️ {escape(note)}", ""] if (note := tree_note(run)) else []),
        " · ".join(f"{GLYPHS[word]} **{number}** {word}" for word, number in counts(seen.cases).items()),
    ]
    lines += ["", *_named(seen)] if seen.failing else []
    found = seen.failures
    if found:
        lines += ["", "### Why", "", *comparison_rows(seen, found)]
        # In strict mode what is undecided fails, and stands among these.
        settling = list(_reasons(seen, [c for c in found if c.verdict is Verdict.INCONCLUSIVE]))
        lines += ["", *settling] if settling else []
    failing = set(found)
    undecided = [c for c in run.comparisons if c.verdict is Verdict.INCONCLUSIVE and c not in failing]
    if undecided:
        rows = comparisons_by_weight(undecided)
        lines += ["", "### Could not be decided", "", *comparison_rows(seen, rows), "", *_reasons(seen, rows)]
    lines += ["", "### Can it be trusted?", ""]
    for c in checks(seen):
        lines.append(f"- {'✓' if c.fine else '**!**'} {escape(c.question)}: {escape(c.answer)}")
        lines += [f"  - {escape(line)}" for line in c.more]
    shipping = [(s, answers(s, accuracy_slack(run, s.suite, s.reference))) for s in subjects(seen.cases)]
    if any(said for _, said in shipping):
        lines += ["", "### What to ship", ""]
        lines += [
            f"- {escape(s.label)} on {escape(s.hardware)}: {' '.join(map(escape, said))}"
            for s, said in shipping
            if said
        ]
    swept = list(knees(seen))
    if swept:
        lines += ["", "### How large a batch", ""]
        lines += [
            f"- {escape(f'{s.label} on {s.hardware}, {each.pipeline}')}: {escape(said)}" for s, each, said in swept
        ]
    lines += ["", "### Each case", "", *_case_rows(seen.worst_first), "", *_footer(seen)]
    return _cut(lines)


def _named(seen: Overview) -> Iterable[str]:
    """The cases that failed, each with what is worst in it."""
    for one in seen.failing[:MAX_NAMED]:
        yield f"- {_word(one.worst)} **{escape(one.view.label)}**: {escape(brief(one.worst))}"
    if len(seen.failing) > MAX_NAMED:
        yield f"- and {len(seen.failing) - MAX_NAMED} more"


def _reasons(seen: Overview, rows: Sequence[Comparison]) -> Iterable[str]:
    """What a table has no room for: how small a change would have been found, and what would settle it."""
    told = [c for c in rows if in_numbers(c)]
    for c in told[:MAX_NAMED]:
        yield f"- **{escape(seen.label(c))}**: {escape(said(c), 2 * _CELL)}"
    if len(told) > MAX_NAMED:
        yield f"- and {len(told) - MAX_NAMED} more, which are in the report"


def escape(text: str, width: int = _CELL) -> str:
    """Any text as one line of Markdown that means just its characters: no markup, HTML, table cell, mention or link.

    Of more than `width` characters the middle is left out.
    """
    text = shorten(one_line(text), width)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_{}\[\]()#!|~$])", r"\\\1", text)
    # A word joiner can't be seen, and keeps a mention, or an address that would become a link, from being one.
    text = re.sub(r"@(?=\w)|:(?=//)|www(?=\.)", "\\g<0>\u2060", text, flags=re.IGNORECASE)
    return re.sub(r"^([-+=]|\d+[.)])(?=\s|$|[-+=])", r"\\\1", text)


def comparison_rows(seen: Overview, comparisons: Sequence[Comparison], *, commands: bool = True) -> Iterable[str]:
    """A table of comparisons of a run, line by line, with every cell escaped.

    What was not compared in numbers has its reason: with the commands that the reason hands on, or without `commands`.
    """
    yield "| verdict | case | metric | before | now | change | limit |"
    yield "|---|---|---|---:|---:|---:|---:|"
    for c in comparisons:
        before, now = estimate_text(c.baseline, c.unit), estimate_text(c.candidate, c.unit)
        reason = said(c) if commands else without_commands(said(c))
        if c.metric == "case":
            yield f"| {_word(c)} | {escape(seen.label(c))} | {escape(reason)} | | | | |"
        else:
            cells = " | ".join(escape(number) for number in (before, now, measured_change(c), limit_text(c)))
            yield f"| {_word(c)} | {escape(seen.label(c))} | {escape(_metric(c, reason))} | {cells} |"


def _metric(c: Comparison, reason: str) -> str:
    if in_numbers(c) or not reason:
        return c.metric
    return reason if reason.startswith(c.metric) else f"{c.metric}: {reason}"


def _case_rows(views: Iterable[CaseView]) -> Iterable[str]:
    yield "| verdict | case | speed-up | latency p50 | memory | accuracy |"
    yield "|---|---|---:|---:|---:|---:|"
    columns = (("speedup", "x"), ("latency.p50", "s"), ("memory.peak", "bytes"), ("accuracy", "share"))
    for view in views:
        estimates = [(view.estimate(metric), unit) for metric, unit in columns]
        values = " | ".join(quantity(estimate.point, unit) if estimate else "–" for estimate, unit in estimates)
        yield f"| {GLYPHS[view.word]} {view.word} | {escape(view.label)} | {values} |"


def _footer(seen: Overview) -> Iterable[str]:
    run = seen.run
    commit = commit_name(run.environment.commit, dirty=run.environment.dirty) or "no commit"
    took = [duration(run.seconds)] if timed(run) else []
    about = ", ".join(escape(text) for text in (run.id, commit, moment(run.started), *took, f"mode {run.mode}"))
    yield f"Run {about}. The whole report is index.html."
    first = next((one.view for one in seen.failing if one.view.result), None)
    if first is not None and first.result is not None:
        yield ""
        accept = acceptable(seen.run, first)
        yield f"To measure the worst failure again{', and to accept it if it is right' if accept else ''}:"
        yield ""
        yield f"    {shorten(one_line(reproduce_command(seen.run, first.result.nodeid)), 2 * _CELL)}"
        if accept:
            yield f"    {shorten(one_line(accept_command(seen.run, first.name)), 2 * _CELL)}"


def _word(comparison: Comparison) -> str:
    return f"{GLYPHS[comparison.verdict.value]} {comparison.verdict.value}"


def _cut(lines: Sequence[str]) -> str:
    size = 0
    for i, line in enumerate(lines):
        size += len(line.encode("utf-8")) + 1
        if size > MAX_BYTES:
            kept = "\n".join(lines[:i])
            return f"{kept}\n\n{len(lines) - i} further lines are left out here; the whole report is index.html.\n"
    return "\n".join(lines) + "\n"
