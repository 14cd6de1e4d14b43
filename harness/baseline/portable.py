"""What becomes of the portable part of a baseline when a result is accepted.

What is within its limit stays as it is, byte for byte: a slow slide of small losses would be accepted otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence

from harness.baseline.make import identity_of, make_portable
from harness.baseline.records import Accepted, Baseline, Portable, machine_class
from harness.errors import BaselineError
from harness.judge import Prior, compare
from harness.judge.exact import as_kept
from harness.judge.scope import changed_parts
from harness.metrics import Metric
from harness.records import Comparison, Environment, Result, Scalar, Verdict

__all__ = ["home_of", "new_portable", "one_differs"]

STAYING = (Verdict.UNCHANGED, Verdict.INCONCLUSIVE)
"""What leaves a value as it is."""
UPGRADED = ("anchor", "protocol", "driver")
"""What of a machine's identity an upgrade changes while the machine stays: numpy's version is in `anchor`."""


def new_portable(
    result: Result,
    environment: Environment,
    metrics: Mapping[str, Metric],
    baseline: Baseline,
    comparisons: Mapping[str, Comparison],
    accepted: Accepted,
) -> Portable | None:
    """What accepting a result makes of the portable part of its case's baseline; None where that stays as it is.

    `comparisons` are those of the result with the baseline, by metric. On the class of machine that made the values
    only those that differ beyond their limits are replaced, on another one all of them together; what is only new or
    gone touches none of the others. A fidelity that the result can't have, since outputs have another length than the
    reference's, stays. Raises `BaselineError` where one that would be replaced could not be decided, and where such a
    fidelity would become that of another class, which has not measured it.
    """
    old = baseline.portable
    names = [one.metric for one in result.measurements if metrics[one.metric].portable and metrics[one.metric].gates]
    if old is None:
        return make_portable(result, environment, names, accepted)
    kept = {name: old.values[name] for name, one in comparisons.items() if _can_not_have(result, metrics, one, old)}
    asked = dataclasses.replace(old, values={name: one for name, one in old.values.items() if name not in kept})
    new = _replaced(result, environment, metrics, baseline, asked, names, comparisons, accepted, kept)
    return dataclasses.replace(new, values={**new.values, **kept}) if new else None


def one_differs(
    result: Result, metrics: Mapping[str, Metric], comparisons: Iterable[Comparison], old: Portable
) -> bool:
    """Whether some portable value differs and is not only new or gone: then accepting the result on another class of
    machine than that of the `old` ones takes all of them, the new ones too. `comparisons` are all of the result's.
    """
    portable = {name for name, metric in metrics.items() if metric.portable}
    concerned = [one for one in comparisons if one.metric in portable and one.verdict not in STAYING]
    return any(not (_only_new_or_gone(one) or _can_not_have(result, metrics, one, old)) for one in concerned)


def _can_not_have(result: Result, metrics: Mapping[str, Metric], row: Comparison, old: Portable) -> bool:
    """Whether a result has no value of a metric and says nothing against the baseline's, which answers its question."""
    name = row.metric
    if row.verdict is not Verdict.INCOMPARABLE or name not in old.values or result.measurement(name) is not None:
        return False
    return name in metrics and not changed_parts(metrics[name], result.workload, old.workload)


def _replaced(
    result: Result,
    environment: Environment,
    metrics: Mapping[str, Metric],
    baseline: Baseline,
    old: Portable,
    names: Sequence[str],
    comparisons: Mapping[str, Comparison],
    accepted: Accepted,
    kept: Collection[str],
) -> Portable | None:
    """The portable part with what is replaced of the `old` one; None where nothing is. `names` are those measured,
    `kept` those that stay beside it.
    """
    concerned = [one for name, one in comparisons.items() if name in names or name in old.values]
    moved = [one for one in concerned if one.verdict not in STAYING]
    home = home_of(result, identity_of(result, environment), metrics, baseline, old)
    if moved:
        new = make_portable(result, environment, names, accepted)
        changed = {one.metric for one in moved}
        if new.made_on == old.made_on:
            new = _with_the_unmoved(new, old, changed)
        elif all(_only_new_or_gone(one) for one in moved):
            if home != new.made_on:
                # At home they would be held to its own strict limit, which is not for values of other machines.
                changed -= {one.metric for one in moved if _is_of_the_class(one)}
                if not changed:
                    return _renamed(result, old, home)
            new = dataclasses.replace(_with_the_new(new, old, changed), made_on=home)
        else:
            _refuse_undecided(result, old, concerned, moved[0].metric)
            if kept and home != new.made_on:
                # Another class would be held to its own strict limit by a value that it has not measured.
                raise BaselineError(
                    f"{result.case_id}: not accepted into the baseline: {moved[0].metric} differs, and what this run "
                    f"can't have ({', '.join(kept)}) is of {old.made_on} and would go to another class with it; accept "
                    f"the change on {old.made_on}, or, where there is no such machine any more, delete the folder of "
                    "the case and accept it anew"
                )
            changed = {name for name, value in old.values.items() if _differs(new.values.get(name), value)}
        previous = {name: value for name, value in old.values.items() if name in changed}
        return dataclasses.replace(new, accepted=dataclasses.replace(accepted, previous=previous))
    return _renamed(result, old, home)


def _renamed(result: Result, old: Portable, home: str) -> Portable | None:
    """A test that moved takes its baseline along, values and all, and why they were accepted; so does a machine whose
    class was renamed. None where neither did.
    """
    named = dataclasses.replace(old, nodeid=result.nodeid, made_on=home)
    return named if named != old else None


def _refuse_undecided(result: Result, old: Portable, rows: Iterable[Comparison], differing: str) -> None:
    """On another class all values are replaced together; one of which nobody knows whether it is a loss must not be."""
    for one in rows:
        if one.verdict is Verdict.INCONCLUSIVE:
            raise BaselineError(
                f"{result.case_id}: not accepted into the baseline: {differing} differs, and {one.metric}, which would "
                f"be replaced with it, could not be decided: {one.reason} Accept the change on {old.made_on}, or give "
                "the evaluation more examples; where there is no such machine any more, delete the folder of the case "
                "and accept it anew"
            )


def _only_new_or_gone(row: Comparison) -> bool:
    """Whether a metric came or went, and none got another value. Accuracy brings its class along, with its examples."""
    return row.verdict is Verdict.MISSING or (row.verdict is Verdict.NEW and row.metric != "accuracy")


def _is_of_the_class(row: Comparison) -> bool:
    return row.verdict is Verdict.NEW and row.metric.startswith("fidelity.")


def _differs(new: float | None, old: float) -> bool:
    return new is None or as_kept(new) != as_kept(old)


def home_of(
    result: Result, identity: Mapping[str, Scalar], metrics: Mapping[str, Metric], baseline: Baseline, old: Portable
) -> str:
    """The machine class that the portable values, which stay as they are, belong to from now on.

    Only there are losses judged to the last example. So it is this machine's class where no machine can be of the old
    one any more: it is this machine before an upgrade, or its times were deleted. But nothing may be worse by the
    strict limits either, which let less pass than those of another class; what is only new or gone is no loss.
    """
    here = machine_class(identity)
    known = [*([baseline.times.identity] if baseline.times else []), *baseline.others]
    home = next((one for one in known if machine_class(one) == old.made_on), None)
    timed = any(one.gates and not one.portable and result.measurement(name) for name, one in metrics.items())
    if here == old.made_on or not (timed if home is None else _hardware(home) == _hardware(identity)):
        return old.made_on
    portable = {name: metric for name, metric in metrics.items() if metric.portable}
    at_home = Baseline(dataclasses.replace(old, made_on=here), None)
    rows = compare(result, at_home, portable, Prior(), identity)
    harmless = (Verdict.UNCHANGED, Verdict.IMPROVED, Verdict.NEW, Verdict.MISSING)
    return here if all(one.verdict in harmless for one in rows) else old.made_on


def _hardware(identity: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {key: value for key, value in identity.items() if key not in UPGRADED}


def _with_the_unmoved(new: Portable, old: Portable, moved: set[str]) -> Portable:
    """The new values of what moved beside the old ones of what did not, so that nothing creeps within its limit."""
    kept = {name: value for name, value in old.values.items() if name in new.values and name not in moved}
    new = dataclasses.replace(new, values={**new.values, **kept})
    return new if "accuracy" in moved else dataclasses.replace(new, scores=old.scores, weights=old.weights)


def _with_the_new(new: Portable, old: Portable, changed: set[str]) -> Portable:
    """The old values, of which none differs, without those that are gone, and beside them what is only new.

    `made_on` stays the class that made them: only there is a loss of accuracy judged to the last example.
    """
    kept = {name: value for name, value in old.values.items() if name not in changed}
    added = {name: value for name, value in new.values.items() if name in changed}
    new = _with_the_unmoved(new, old, changed)
    return dataclasses.replace(new, made_on=old.made_on, weights=old.weights, values={**kept, **added})
