"""Can this run be believed? One line for each thing that a careful reader would ask, from the run alone."""

from __future__ import annotations

import math
import re
import shlex
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.disturbance import PRESSURE, disturbances
from harness.records import Comparison, Outcome, Result, Run, Verdict
from harness.report.fidelity import measured
from harness.report.overview import GATING, CaseView, Overview, other_tree, timed
from harness.report.reasons import without_name
from harness.report.text import commit_name, moment, one_line
from harness.units import duration, percent, plural, quantity

__all__ = ["Check", "checks", "tree_note"]

MAX_LINES = 6
MAX_FILES = 3
ANCHORED = "latency.p50"
_BASED = (Verdict.INCOMPARABLE, Verdict.MISSING)
"""Verdicts that tell of a baseline without its numbers."""


@dataclass(frozen=True)
class Check:
    """One question with its answer. `fine` is False where the reader should look twice; `more` are further lines."""

    question: str
    answer: str
    fine: bool
    more: tuple[str, ...] = ()


def checks(seen: Overview) -> tuple[Check, ...]:
    """All questions that this run has an answer to."""
    first = [check for question in (_source, _baseline, _differences, _quiet, _evidence) for check in question(seen)]
    last = [check for question in (_sensitivity, _together, _warnings) for check in question(seen)]
    return (_coverage(seen.run, seen.cases), *first, *_numbers(seen.cases), *last)


def tree_note(run: Run) -> str:
    """What stands beside the verdict of a run in turns that could not find what it seems to be for: where the other
    tree is the commit that is measured, and where files that pin packages differ from the other tree's, while one
    environment served both, so that an upgrade's cost was not seen; "" elsewhere.
    """
    if same := one_line(str(run.environment.state.get("same", ""))):
        return f"{same} is the commit that is measured, so nothing could be found."
    files = [one_line(name) for name in str(run.environment.state.get("pins", "")).splitlines()]
    if not files:
        return ""
    more = f" and {len(files) - MAX_FILES} more" if len(files) > MAX_FILES else ""
    named = f"{', '.join(files[:MAX_FILES])}{more} {'is' if len(files) == 1 else 'are'}"
    return (
        f"{named} not as in {one_line(other_tree(run))}, and both arms have the packages that are installed here: "
        "--against-with 'NAME==OLD' compares an upgrade."
    )


def _first(lines: Sequence[str]) -> tuple[str, ...]:
    """The first lines, and how many more there are."""
    return (*lines[:MAX_LINES], *([f"and {len(lines) - MAX_LINES} more"] if len(lines) > MAX_LINES else []))


def _coverage(run: Run, views: Sequence[CaseView]) -> Check:
    measured = sum(view.completed for view in views)
    expected = max(run.expected, len(views))
    words = [f"{measured:,} of {expected:,} cases were measured"]
    words.append("only a part of the suites was selected" if run.filtered else "the whole suites were selected")
    if run.reserved:
        words.append(f"{len(run.reserved)} more are left to the full selection (-m full)")
    if not run.complete:
        words.append("the run was cut short")
    whole = run.complete and len(run.results) >= run.expected
    accounted = all(view.completed or view.verdict is Verdict.SKIPPED for view in views)
    return Check("Cases", "; ".join(words) + ".", whole and accounted)


def _source(seen: Overview) -> Iterator[Check]:
    run = seen.run
    commit = commit_name(run.environment.commit, dirty=run.environment.dirty)
    when = f"started {moment(run.started)}{f', took {duration(run.seconds)}' if timed(run) else ''}"
    yield Check("What was measured", f"{f'Commit {commit}' if commit else 'No git commit'}; {when}.", bool(commit))


def _baseline(seen: Overview) -> Iterator[Check]:
    run = seen.run
    if run.mode not in GATING:
        return
    if tree := other_tree(run):
        commit = next((commit_name(b.get("commit", "")) for b in run.baselines.values()), "")
        yield Check("Compared in turns with", f"{tree}{f', commit {commit}' if commit else ''}.", True)
        return
    accepted = sorted((b.get("when", ""), b.get("commit", ""), b.get("reason", "")) for b in run.baselines.values())
    if not accepted and not run.complete and any(c.baseline or c.verdict in _BASED for c in run.comparisons):
        answer = (
            "When and why the baselines were accepted is known only at a run's end, which this one did not come to."
        )
        yield Check("Baseline", answer, False)
        return
    if not accepted:
        yield Check("Baseline", "No case has a baseline; there was nothing to compare with.", False)
        return
    # The last ones first. Cases are accepted one after the other: what looks the same is said once.
    groups = Counter((moment(when), commit, reason) for when, commit, reason in reversed(accepted))
    lines = [
        f"{plural(number, 'case')} accepted {when or 'at an unknown time'}"
        f"{f' at {commit_name(commit)}' if commit else ''}"
        f"{f', for this reason: “{reason}”' if reason else ', and no reason was given'}"
        for (when, commit, reason), number in groups.items()
    ]
    yield Check("Baseline", lines[0], True, _first(lines[1:]))


def _differences(seen: Overview) -> Iterator[Check]:
    run = seen.run
    differing = Counter(part for b in run.baselines.values() if (part := b.get("differs", "")))
    lines = [f"{text} ({plural(number, 'case')})" for text, number in differing.most_common()]
    if lines:
        question = f"Differs from the {'other tree' if other_tree(run) else 'baseline'}"
        yield Check(question, lines[0], False, _first(lines[1:]))
    apart = [c for c in run.comparisons if c.verdict is Verdict.INCOMPARABLE]
    if apart:
        # Most is said of several metrics alike.
        named: dict[str, dict[str, None]] = {}
        for c in apart:
            why = c.reason.removeprefix(f"{c.metric}: ")
            named.setdefault(why, {}).update({c.metric: None} if why != c.reason else {})
        reasons = [f"{', '.join(metrics)}: {why}" if metrics else why for why, metrics in named.items()]
        answer = f"{len(apart)} of {len(run.comparisons)} comparisons could not be made"
        yield Check("Comparable", answer + (":" if reasons else "."), False, _first(reasons))


def _quiet(seen: Overview) -> Iterator[Check]:
    run = seen.run
    launches = [
        (launch, seen.labels[r.suite, r.case_id]) for r in run.results for launch in r.launches if launch.counts
    ]
    waits = [(launch.pressure, case) for launch, case in launches if launch.pressure is not None]
    disturbed = Counter(text for launch, _ in launches for text in disturbances(launch))
    if not waits and not disturbed:
        return
    parts = []
    if waits:
        worst, where = max(waits)
        middle = percent(statistics.median(share for share, _ in waits), sign=False)
        parts.append(f"Tasks waited for a CPU in {middle} of the time (median of {len(waits)} launches)")
        if worst > PRESSURE:
            parts.append(f"the worst with {percent(worst, sign=False)} in {where}")
    parts += [f"in {number} of {len(launches)} launches {text}" for text, number in disturbed.most_common()]
    repeated = sum(not launch.counts for r in run.results for launch in r.launches)
    if repeated:
        parts.append(f"{plural(repeated, 'disturbed launch')} {_were(repeated)} made again")
    yield Check("Quiet machine", f"{'; '.join(parts)}.", not disturbed)


def _evidence(seen: Overview) -> Iterator[Check]:
    run = seen.run
    kept = sum(e.kept for r in run.results for e in r.evidence)
    broken = {seen.labels[r.suite, r.case_id]: _broken(r) for r in run.results}
    lines = [f"{case}: {said}" for case, every in broken.items() for said in every]
    if lines:
        cases = sum(map(bool, broken.values()))
        others = f"{plural(kept, 'other promise')} {_were(kept)} found kept in what ran"
        answer = f"{plural(cases, 'case')} broke a promise; {others}."
        yield Check("Techniques happened", answer, False, _first(lines))
    elif kept:
        promises = f"All {kept:,} promises of techniques were" if kept > 1 else "The one promise of a technique was"
        yield Check("Techniques happened", f"{promises} found kept in what ran.", True)


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _broken(result: Result) -> list[str]:
    """The promises that a case broke. One that was stopped for it while it was made has them in its reason alone."""
    broken = [f"{e.technique} promised {e.promise}, found {e.found}" for e in result.evidence if not e.kept]
    if not broken and result.outcome is Outcome.INVALID and " promised " in result.reason:
        broken = [without_name(result.reason, result.case_id)]
    return broken


def _numbers(views: Sequence[CaseView]) -> Iterator[Check]:
    """Promises are about what was read from a network; this is what its outputs say of the same."""
    every = [near for near in measured(views) if near.sqnr is not None]
    if not every:
        return
    odd, held = [near.doubt for near in every if near.doubt], sum(near.held for near in every)
    lowest = min(every, key=lambda near: near.sqnr or 0.0)
    whole = "1 case" if len(every) == 1 else f"all {len(every)} cases"
    loose = (
        f"In {plural(len(every) - held, 'case')} the outputs were held against nothing that was read: the reference is "
        "not in this run, or the runtime does not tell in which types it computes"
    )
    answer = f"In {f'{held} of {len(every)} cases' if held < len(every) else whole} the outputs fit what was read"
    if odd:
        answer = f"In {len(odd)} of {len(every)} cases the outputs contradict what was read"
    answer = f"{answer} from the network" if held else loose
    if lowest.sqnr is not None and math.isfinite(lowest.sqnr):
        answer += f"; the farthest is {lowest.view.label} with an SQNR of {quantity(lowest.sqnr, 'dB')}"
    if 0 < held < len(every):
        answer += f". {loose}"
    yield Check("Numbers fit", f"{answer}.", not odd, _first(odd))


def _sensitivity(seen: Overview) -> Iterator[Check]:
    run = seen.run
    known = [(c.detectable, c) for c in run.comparisons if c.detectable is not None]
    if not known:
        return
    middle = statistics.median(value for value, _ in known)
    worst, where = max(known, key=lambda pair: pair[0])
    shown = percent(middle, sign=False)
    answer = f"Half of the sampled comparisons could have shown a change of {shown} by the launches that they took"
    if worst > middle:
        answer += f"; the least sensitive one {percent(worst, sign=False)} ({where.metric} of {seen.label(where)})"
    # In turns, what is cleared or better is decided, mostly by the three launches of its screen. A case that they leave
    # open gets fresh ones, which find smaller changes: what these three could have convicted of is no measure of that.
    decided = (Verdict.UNCHANGED, Verdict.IMPROVED) if other_tree(run) else ()
    blind = any(_blind(c) for _, c in known if c.verdict not in decided)
    yield Check("Sensitive enough", f"{answer}.", not blind)


def _together(seen: Overview) -> Iterator[Check]:
    """What slows a case and its reference alike is seen by the anchor alone; where that can't, say what can."""
    run = seen.run
    anchored = {
        (r.suite, r.case_id) for r in run.results if (found := r.measurement(ANCHORED)) is not None and found.relative
    }
    rows = [c for c in run.comparisons if c.metric == ANCHORED and (c.suite, c.case_id) in anchored]
    blind = [c for c in rows if _blind(c)]
    if not blind:
        return
    origins = [run.baselines.get(f"{c.suite}/{c.case_id}", {}) for c in blind]
    accepted = (origin.get("times", origin.get("commit", "")) for origin in origins)
    # What was accepted with uncommitted changes (-dirty) is in no commit that git could check out, and what the clone
    # lacks has none here.
    commits = Counter(commit for commit in accepted if re.fullmatch("[0-9a-f]+", commit))
    commit = next((commit_name(commit) for commit, _ in commits.most_common(1)), "REV")
    # A run of a part of the suites does not keep what it was given.
    suites = shlex.join(str(run.environment.state.get("selected", "suites/")).splitlines())
    answer = (
        f"In {len(blind)} of {len(rows)} cases the anchor leaves so much of the machine's drift that a slow-down of "
        "model and reference together could pass. To rule it out, measure in turns with the commit that was accepted"
    )
    yield Check("Slower together", f"{answer}: pytest {suites} --against {commit}", False)


def _blind(comparison: Comparison) -> bool:
    """Whether a change of twice the limit could pass: then what did not change can't be told from what did."""
    known, limit = comparison.detectable, comparison.limit
    return known is not None and limit is not None and known > 2 * limit


def _warnings(seen: Overview) -> Iterator[Check]:
    every = [f"{seen.labels[r.suite, r.case_id]}: {warning}" for r in seen.run.results for warning in r.warnings]
    if every:
        answer = f"{plural(len(every), 'warning')} {_were(len(every))} given."
        yield Check("Warnings", answer, False, _first(every))
