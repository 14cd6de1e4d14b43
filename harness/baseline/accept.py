"""Making a result the baseline, and refusing what must not become one.

Launches that agree with the baseline become another block of it, so that it learns how much this machine's hours
differ; a metric that differs starts anew from them. What is within its limit on the portable side, and memory that has
three blocks, stays as it is, byte for byte: an accepted run must not move what nobody asked about.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.baseline.compare import compare_with_baseline
from harness.baseline.make import block_of, identity_of, make_portable, make_times, own_units, told
from harness.baseline.portable import new_portable
from harness.baseline.records import Accepted, Baseline, Block, Portable, Times, machine_class
from harness.baseline.store import TIMES, Store
from harness.baseline.text import rounded
from harness.errors import BaselineError
from harness.judge import Prior, estimate, fit_prior
from harness.judge.times import FULL_BASELINE
from harness.metrics import Metric, resolve
from harness.records import Comparison, Environment, Outcome, Result, Verdict

__all__ = ["accept", "baseline_of", "proposed", "refusal", "usual_prior"]

KEPT_BLOCKS = 8
"""The newest blocks of a metric that are kept: enough for its spread, few enough that it follows the machine."""


def refusal(
    result: Result,
    comparisons: Iterable[Comparison],
    baseline: Baseline,
    *,
    run_complete: bool = True,
    quick: bool = False,
    updating: bool = False,
) -> str | None:
    """Why a result must not become the baseline, as a sentence; None where it may.

    run_complete  whether its run came to its end
    quick         whether its run was a smoke test
    updating      whether the run was made to extend the baseline. Then a metric that could not be decided, but whose
                  estimate lies within the limit, may be added: leaving out the noisiest runs would teach the baseline
                  that there is less noise than there is. Otherwise this holds while the metric has fewer than three
                  blocks.
    """
    if any(launch.anchored is None for launch in result.launches if launch.counts):
        return (
            "it was measured without the anchor, as --against and harness optimize do, so that later runs could not be "
            "compared with it; measure it with pytest and without --against"
        )
    if not run_complete:
        # Without the 0 a run that -x ended, be it in addopts, ends at the same case for ever.
        return (
            "its run did not finish; finish it with the same command and --resume (pytest's with --maxfail=0 too), or "
            "measure it again"
        )
    if quick:
        return "a quick run measures too little to be a baseline; measure it without --quick"
    if result.outcome is not Outcome.COMPLETED:
        return f"it ended as {result.outcome.value}: {result.reason or 'no reason was recorded'}; nothing was measured"
    if not result.launches:
        return (
            "no times were taken of it, as harness optimize takes none of what loses too much accuracy, so that its "
            "baseline would lose or lack them; measure it with pytest"
        )
    blocks = baseline.times.blocks if baseline.times else ()
    for one in comparisons:
        if one.verdict in (Verdict.INVALID, Verdict.ERROR):
            return one.reason
        # A metric that was accepted as another one has fewer blocks than its case.
        extends = updating or sum(one.metric in block.values for block in blocks) < FULL_BASELINE
        undecided = one.verdict is Verdict.INCONCLUSIVE and one.detectable is not None
        if undecided and not (extends and _within_limit(one)):
            # What the judge advises is for a run that confirms, and an update does not.
            more = f" In an update, --plan screen={4 * len(result.launches)} makes more launches." if updating else ""
            return f"{one.metric} could not be decided, so it may hide a regression: {one.reason}{more}"
    return None


def accept(
    store: Store,
    result: Result,
    environment: Environment,
    reason: str,
    when: str,
    *,
    metrics: Mapping[str, Metric] | None = None,
    prior: Prior | None = None,
) -> list[Path]:
    """Make a completed result the baseline of its case, and give the files that were written; see `proposed`."""
    records = proposed(store, result, environment, reason, when, metrics=metrics, prior=prior)
    return [store.write(record) for record in records]


def proposed(
    store: Store,
    result: Result,
    environment: Environment,
    reason: str,
    when: str,
    *,
    metrics: Mapping[str, Metric] | None = None,
    prior: Prior | None = None,
) -> list[Portable | Times]:
    """What accepting a completed result would write.

    The result is judged once more, against the baseline as it is now. `metrics` are those of the case's suite (the
    built-in ones where they are not given), `prior` the usual spreads on this machine class (learnt from the store).
    Nothing is proposed for launches that are in the baseline already. On another machine class than the portable
    values' own, those are replaced, as a whole, only where one of them differs by more than its limit.
    Raises `BaselineError` for an empty reason, for a kind of hardware that makes no file name, for what `refusal` says,
    unless it only concerns the run, and where one of the portable values that would be replaced as a whole could not be
    decided.
    """
    if not reason.strip():
        raise BaselineError(
            f"{result.case_id}: accepting needs a reason; say in a sentence why these numbers are right"
        )
    metrics = _known(result, resolve() if metrics is None else metrics)
    identity = identity_of(result, environment)
    if TIMES.fullmatch(f"times.{machine_class(identity)}.json") is None:
        raise BaselineError(
            f"{result.case_id}: not accepted into the baseline: its hardware's kind is {identity.get('kind')!r}, and "
            "times under that name would never be read; let describe() give a kind of letters (a to z), digits and the "
            "characters _ . -"
        )
    baseline = store.read(result.suite, result.case_id, identity)
    prior = prior or fit_prior(store.times_of(machine_class(identity)))
    rows = compare_with_baseline(result, baseline, metrics, prior, identity)
    comparisons = {one.metric: one for one in rows}
    refused = refusal(result, comparisons.values(), baseline, updating=True)
    if refused:
        raise BaselineError(f"{result.case_id}: not accepted into the baseline: {refused}")
    commit = f"{environment.commit}-dirty" if environment.dirty else environment.commit
    accepted = Accepted(commit, when, reason.strip())
    portable = new_portable(result, environment, metrics, baseline, comparisons, accepted)
    times = _times(result, environment, metrics, baseline.times, comparisons, accepted)
    # What has no limit any more may have stayed, in the unit that it had.
    gating = [metric for metric in metrics.values() if metric.gates]
    records: list[Portable | Times] = []
    if portable:
        before = baseline.portable.units if baseline.portable else {}
        records.append(dataclasses.replace(portable, units=own_units(portable.values, gating, before)))
    if times:
        before = baseline.times.units if baseline.times else {}
        names = {name for block in times.blocks for name in block.values}
        records.append(dataclasses.replace(times, units=own_units(names, gating, before)))
    return records


def baseline_of(result: Result, environment: Environment, metrics: Iterable[Metric] = ()) -> Baseline:
    """A result as a baseline, so that two runs are compared by the same rules; empty where it has no numbers.

    A percentile that its launches had too few calls for is left out, as it is where a result is accepted. `metrics` are
    those of its suite, as its run declared them, where they may differ from the other run's.
    """
    if result.outcome is not Outcome.COMPLETED:
        return Baseline(None, None)
    names = [one.metric for one in result.measurements if told(result, one.metric)]
    accepted = Accepted(environment.commit, "", "an earlier run")
    units = own_units(names, metrics, {})
    times = make_times(result, environment, (block_of(result, names, environment.commit, ""),), accepted)
    portable = make_portable(result, environment, names, accepted)
    return Baseline(dataclasses.replace(portable, units=units), dataclasses.replace(times, units=units))


def usual_prior(store: Store, machine: str) -> Prior:
    """The usual spreads on a class of machine, for judging alone: the default ones where a baseline is damaged.

    The damaged case says so itself, and the others are judged all the same.
    """
    try:
        return fit_prior(store.times_of(machine))
    except BaselineError:
        return Prior()


def _known(result: Result, metrics: Mapping[str, Metric]) -> Mapping[str, Metric]:
    strange = [one.metric for one in result.measurements if one.metric not in metrics]
    if strange:
        raise BaselineError(f"{result.case_id}: has the metric {strange[0]}, and what it means was not given")
    return metrics


def _times(
    result: Result,
    environment: Environment,
    metrics: Mapping[str, Metric],
    old: Times | None,
    comparisons: Mapping[str, Comparison],
    accepted: Accepted,
) -> Times | None:
    """The new times; None where these launches are there already, or there are none."""
    local = [one.metric for one in result.measurements if not metrics[one.metric].portable]
    gating = [name for name in local if metrics[name].gates]
    names = [name for name in gating if told(result, name)]
    if not names:
        return None
    full = block_of(result, names, accepted.commit, accepted.when)
    if old is None:
        return make_times(result, environment, (full,), accepted)
    # Launches that are there in part, since what others showed restarted a metric, are there anew and not twice.
    others = [one for one in old.blocks if not _same_launches(one, full)]
    held = {name for name in names if _is_held(comparisons.get(name), others)}
    block = _restricted(full, set(names) - held)
    kept = {name for name in names if name in comparisons and _agrees(comparisons[name])}
    # What too few calls could not tell says nothing against the blocks that could.
    untold = {name for name in gating if name not in names}
    kept |= {name for name in untold if name in comparisons and comparisons[name].verdict is Verdict.INCONCLUSIVE}
    left = {name for one in old.blocks for name in one.values} - kept
    values = rounded(block.values)
    known = any(values == {n: found for n, found in one.values.items() if n not in held} for one in old.blocks)
    # Where all that was measured is held there is no block to add, and something may be gone all the same.
    settled = known if values else not left
    if settled:
        return None
    blocks = _newest([*(_restricted(one, kept) for one in others), block])
    came = set(names) - {name for one in old.blocks for name in one.values}
    if not left and not came:
        # The reason of the last change stays beside the values that it replaced.
        return make_times(result, environment, blocks, old.accepted)
    previous = {name: _point(old, name) for name in sorted(left)}
    return make_times(result, environment, blocks, dataclasses.replace(accepted, previous=previous))


def _is_held(row: Comparison | None, blocks: Sequence[Block]) -> bool:
    """Whether a metric that is counted keeps the blocks that it has, byte for byte, and gets no other: one that lies
    within its limit, and has the blocks that it should have. Small losses would be accepted with every block otherwise.
    """
    if row is None or row.verdict is not Verdict.UNCHANGED or row.detectable is not None:
        return False
    return sum(row.metric in block.values for block in blocks) >= FULL_BASELINE


def _same_launches(old: Block, new: Block) -> bool:
    """Whether two blocks are of one run: what both hold is equal, some value that varies between launches among it."""
    numbers = rounded(new.values)
    shared = old.values.keys() & numbers.keys()
    varying = any(len(set(numbers[name])) > 1 for name in shared)
    return varying and all(old.values[name] == numbers[name] for name in shared)


def _newest(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """The newest blocks of each metric, as many as are kept: a block that lacks one pushes none of its values out."""
    found: list[Block] = []
    seen: Counter[str] = Counter()
    for block in reversed(blocks):
        names = {name for name in block.values if seen[name] < KEPT_BLOCKS}
        seen.update(names)
        found += [_restricted(block, names)] if names else []
    return tuple(reversed(found))


def _agrees(one: Comparison) -> bool:
    """Whether launches may stand beside the baseline's; those of a speed-up that its reference lowered may not."""
    return one.verdict in (Verdict.UNCHANGED, Verdict.INCONCLUSIVE) and _within_limit(one)


def _within_limit(one: Comparison) -> bool:
    if one.change is None or one.limit is None:
        return one.verdict is Verdict.UNCHANGED
    worse = one.change.point if one.better == "lower" else -one.change.point
    return worse <= one.limit * (1 + 1e-9)


def _restricted(block: Block, names: set[str]) -> Block:
    values = {name: numbers for name, numbers in block.values.items() if name in names}
    relative = {name: numbers for name, numbers in block.relative.items() if name in names}
    return dataclasses.replace(block, values=values, relative=relative)


def _point(times: Times, metric: str) -> float:
    return estimate([value for block in times.blocks for value in block.values.get(metric, ())]).point
