"""Comparing accuracy example by example.

On the machine class that made the baseline an evaluation repeats exactly, so a net loss beyond the limit is a
regression, and the paired test says how surprising it is. On another class arithmetic differs a little, so the loss is
an estimate: its score interval must lie beyond the limit, or inside.
"""

from __future__ import annotations

from harness.baseline.records import Portable
from harness.judge.exact import as_kept, beyond
from harness.judge.looks import ALPHA, BETA
from harness.judge.paired import Pairs, exact_p, pair, tango_bound
from harness.judge.words import limit_words, plural, probability, ratio_to
from harness.metrics import Metric
from harness.records import Comparison, Estimate, Result, Verdict
from harness.units import decimals_apart, points, quantity

__all__ = ["compare_accuracy"]

NAMED = 10
"""Examples that changed from right to wrong which a sentence names."""

UNPAIRED_FACTOR = 5.0
"""A loss on another class without paired answers convicts only beyond this multiple of the limit."""

UNDECIDED = (
    "This can't be told from the arithmetic of another machine; the machine class that made the baseline can decide it."
)


def compare_accuracy(result: Result, metric: Metric, now: float, portable: Portable, *, same_class: bool) -> Comparison:
    """Hold the accuracy of a result against its baseline's; both in 0..1. A rise never fails."""
    baseline, now = as_kept(portable.values[metric.name]), as_kept(now)
    limit = metric.limit(baseline)
    loss = baseline - now
    try:
        pairs = pair(result.scores, portable.scores) if result.scores and portable.scores else None
    except ValueError as error:
        reason = f"{metric.name}: the answers can't be paired with the baseline's: {error}."
        return Comparison(result.suite, result.case_id, metric.name, Verdict.INVALID, reason, unit=metric.unit)
    least = most = loss
    if same_class:
        verdict = _by_limit(loss, limit)
    elif pairs is not None and abs(pairs.right / pairs.examples - now) < 1e-5:
        # Only where the metric is the share of right answers are pairs of answers pairs of its terms.
        verdict, least, most = _by_interval(pairs, limit)
    else:
        verdict = _by_limit(loss, limit)
        if verdict is Verdict.REGRESSED and not beyond(loss, UNPAIRED_FACTOR * limit):
            verdict = Verdict.INCONCLUSIVE
    more = decimals_apart((-most, -least), -limit, lambda value, more: points(value, more=more))
    interval = f" [{points(-most, more=more)}, {points(-least, more=more)}]" if least < most else ""
    label = result.scores.label if result.scores else ""
    parts = [
        f"{f'{metric.name} ({label})' if label else metric.name} {quantity(now, metric.unit)} against "
        f"{quantity(baseline, metric.unit)}: {points(-loss, more=more)}{interval}",
        limit_words(metric, baseline, limit, more),
        *(_examples(pairs) if pairs else ()),
        *(() if same_class else _elsewhere(result, portable)),
    ]
    return Comparison(
        result.suite,
        result.case_id,
        metric.name,
        verdict,
        f"{'; '.join(parts)}.{f' {UNDECIDED}' if verdict is Verdict.INCONCLUSIVE else ''}",
        baseline=Estimate.exact(baseline),
        candidate=Estimate.exact(now),
        change=Estimate(-loss / baseline, -most / baseline, -least / baseline) if baseline else None,
        limit=ratio_to(baseline, limit),
        unit=metric.unit,
        better=metric.better,
    )


def _by_limit(loss: float, limit: float) -> Verdict:
    if beyond(loss, limit):
        return Verdict.REGRESSED
    return Verdict.IMPROVED if beyond(-loss, limit) else Verdict.UNCHANGED


def _by_interval(pairs: Pairs, limit: float) -> tuple[Verdict, float, float]:
    """The verdict on paired answers of another machine class, and the ends of the interval of the loss."""
    least, _ = tango_bound(len(pairs.lost), len(pairs.won), pairs.examples, 1 - ALPHA)
    _, most = tango_bound(len(pairs.lost), len(pairs.won), pairs.examples, 1 - BETA)
    if beyond(least, limit):
        verdict = Verdict.REGRESSED
    elif beyond(-most, limit):
        verdict = Verdict.IMPROVED
    elif pairs.loss <= 0 or not beyond(most, limit):
        # Without a net loss on the very examples that are asked there is nothing to doubt, however few they are: the
        # score interval of no change at all among 300 examples reaches 0.9 points.
        verdict = Verdict.UNCHANGED
    else:
        verdict = Verdict.INCONCLUSIVE
    return verdict, least, most


def _examples(pairs: Pairs) -> list[str]:
    lost, won = len(pairs.lost), len(pairs.won)
    words = [f"{plural(pairs.examples, 'example')}, {lost} lost and {won} won, exact {probability(exact_p(lost, won))}"]
    if lost:
        words.append(f"lost: {', '.join(map(str, pairs.lost[:NAMED]))}{', …' if lost > NAMED else ''}")
    return words


def _elsewhere(result: Result, portable: Portable) -> list[str]:
    words = [f"the baseline was made on another machine class ({portable.made_on})"]
    if result.weights != portable.weights:
        words.append("with other weights")
    return words
