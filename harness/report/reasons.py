"""What a verdict is said with: a few words, a sentence, and the rule that it follows from."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.records import Comparison, Verdict
from harness.report.numbers import change_text
from harness.report.text import one_line
from harness.units import quantity

__all__ = [
    "MAX_NAMED",
    "brief",
    "in_numbers",
    "measure",
    "measured_change",
    "rule",
    "rules",
    "said",
    "without_commands",
    "without_name",
]

MAX_NAMED = 5
"""Failing cases that stand right below the verdict."""

_RULES = {
    Verdict.MISSING: "a case with a baseline must have a result",
    Verdict.INVALID: "numbers count only for the artefact that was promised, with right outputs",
    Verdict.ERROR: "a case that can't be measured can't be shown not to have got worse",
    Verdict.INCONCLUSIVE: "in strict mode what can't be decided fails",
    Verdict.INCOMPARABLE: "in strict mode what can't be compared fails",
    Verdict.NEW: "in strict mode every case needs a baseline",
}
_WORDS = {"speedup": "speed-up", "latency.p50": "latency p50"}
_BRIEF = 150
_BROKEN = ": the technique did not do what its name says"
_NO_NUMBERS = "Gave no valid numbers: "
_COMMAND = re.compile(r"(?:^|: )(?:pytest|harness) ")
_PAIRS = re.compile(r"([1-9][\d,]*) examples?, (\d+) lost and (\d+) won")


def brief(c: Comparison) -> str:
    """A comparison in some words, for beside its case's name: `speed-up 1.35x -> 1.08x, -20.2 %`."""
    if in_numbers(c) and c.baseline and c.candidate:
        before, now = (quantity(one.point, c.unit) for one in (c.baseline, c.candidate))
        change = "" if c.change is None else f", {change_text(c).partition(' [')[0]}"
        text = f"{_WORDS.get(c.metric, c.metric)} {before} -> {now}{change}{measure(c)}"
    else:
        text = said(c).removeprefix(_NO_NUMBERS).partition(_BROKEN)[0]
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}…"


def in_numbers(c: Comparison) -> bool:
    """Whether the numbers of a comparison say what was found: those of other work, or that can't be, do not."""
    alike = c.verdict not in (Verdict.INVALID, Verdict.INCOMPARABLE)
    return c.metric != "case" and c.baseline is not None and c.candidate is not None and alike


def measure(c: Comparison) -> str:
    """What a change was measured by, where that is not the values shown with it, as words behind it; "" elsewhere."""
    if " relative to the anchor; " in c.reason:
        return " relative to the anchor"
    return " in turns" if " in turns; " in c.reason else ""


def measured_change(c: Comparison) -> str:
    """The change with its interval and what it was measured by: `+15.2 % [+13.4, +16.9] relative to the anchor`."""
    return f"{change_text(c)}{measure(c) if c.change else ''}"


def said(c: Comparison) -> str:
    """The reason of a comparison for beside its case's name and commands: without repeating either of them."""
    if c.metric != "case":
        return c.reason
    text = without_name(c.reason, c.case_id).partition("; reproduce: pytest ")[0]
    return text[:1].upper() + text[1:]


def without_commands(reason: str) -> str:
    """A reason in one line, up to the part of a sentence that hands on the first command."""
    text = one_line(reason)
    found = _COMMAND.search(text)
    if not found:
        return text
    before = text[: found.start()]
    return before[: max(before.rfind("; "), before.rfind(". "), 0)]


def without_name(text: str, case_id: str) -> str:
    """A sentence about a case as it stands beside the case's name."""
    return text.removeprefix(f"{case_id} ").replace(f"{case_id}: ", "") or text


def rule(c: Comparison) -> str:
    """Why these numbers are this verdict."""
    if c.verdict is not Verdict.REGRESSED:
        return _RULES.get(c.verdict, "")
    if c.change and c.change.low < c.change.high:
        if "anchor" in measure(c):
            return (
                "the whole interval of the change lies beyond the limit; the change is that of the time divided by the "
                "anchor's, which a slow hour of the machine moves less than the seconds"
            )
        return "the whole interval of the change lies beyond the limit"
    if c.metric == "accuracy":
        if "another machine class" in c.reason:
            words = (
                "its value was compared, on another class of machine, and the loss lies beyond five times the margin"
            )
        elif _of_answers(c):
            words = "the loss lies beyond the margin; answers are compared one by one and not sampled"
        else:
            words = "the loss lies beyond the margin; its value was compared, and no single answers"
        if "exact p " in c.reason:
            words += (
                ". p is the chance of so many losses among the examples that changed if each were a coin toss: "
                "it tells how surprising the loss is, and decides nothing. Examples are numbered from 0"
            )
        return words
    if c.limit == 0:
        return "it is counted and not sampled, and no change for the worse is accepted"
    return "it is counted or measured once, so it has no interval; the change lies beyond the limit"


def _of_answers(c: Comparison) -> bool:
    """Whether the answers that were lost and won make up the loss, as of a share of right ones and not of F1 or AUC."""
    found = _PAIRS.search(c.reason)
    if not (found and c.baseline and c.candidate):
        return False
    examples, lost, won = (int(number.replace(",", "")) for number in found.groups())
    # Both values have six digits.
    return abs((lost - won) / examples - (c.baseline.point - c.candidate.point)) < 1e-5


def rules(comparisons: Sequence[Comparison]) -> tuple[tuple[str, str], ...]:
    """The rules of a case's comparisons, each with the metrics (or the verdict) that it is about."""
    found: dict[str, list[str]] = {}
    for c in comparisons:
        found.setdefault(rule(c), []).append(c.verdict.value if c.metric == "case" else c.metric)
    return tuple((", ".join(names), text) for text, names in found.items() if text)
