from __future__ import annotations

import random

import pytest

from harness.baseline.records import machine_class
from harness.judge.accuracy import compare_accuracy
from harness.metrics import Metric
from harness.records import Comparison, Scores, Verdict
from tests.judge_samples import ELSEWHERE, METRICS, a_portable, a_result, scores

ACCURACY = METRICS["accuracy"]


def answers(examples: int, wrong: set[int]) -> str:
    return "".join("0" if i in wrong else "1" for i in range(examples))


def judged(
    now: str, before: str, *, same_class: bool = True, weights: str = "aaaa", metric: Metric = ACCURACY
) -> Comparison:
    new, old = scores(now), scores(before)
    made_on = machine_class(ELSEWHERE)
    portable = a_portable({"accuracy": old.value}, scores=old, **({} if same_class else {"made_on": made_on}))
    result = a_result({"accuracy": [new.value]}, scores=new, weights=weights)
    return compare_accuracy(result, metric, new.value, portable, same_class=same_class)


@pytest.mark.parametrize(
    ("lost", "won", "verdict"),
    [
        (0, 0, Verdict.UNCHANGED),
        (2, 0, Verdict.UNCHANGED),
        (3, 0, Verdict.REGRESSED),
        (12, 10, Verdict.UNCHANGED),
        (13, 10, Verdict.REGRESSED),
        (0, 2, Verdict.UNCHANGED),
        (0, 3, Verdict.IMPROVED),
    ],
)
def test_on_the_same_class_the_net_loss_of_1000_examples_decides(lost: int, won: int, verdict: Verdict) -> None:
    """The limit is 0.2 points, which is 2 of 1,000 examples and inside."""
    row = judged(answers(1000, set(range(lost))), answers(1000, set(range(500, 500 + won))))
    assert row.verdict is verdict


def test_half_a_point_lost_names_the_examples() -> None:
    row = judged(answers(1000, {3, 14, 15, 92, 65}), answers(1000, set()))
    assert row.reason == (
        "accuracy (top-1 accuracy) 99.50 % against 100.00 %: -0.50 pt; limit -0.20 pt; 1,000 examples, 5 lost and 0 "
        "won, exact p = 0.031; lost: 3, 14, 15, 65, 92."
    )
    assert row.change is not None
    assert row.change.point == pytest.approx(-0.005)
    assert row.limit == pytest.approx(0.002)


def test_a_loss_just_beyond_its_limit_does_not_read_as_the_limit() -> None:
    """What regressed was said to have lost 0.20 points beside a limit of 0.20."""
    row = judged(answers(25_000, set(range(51))), answers(25_000, set()))
    assert row.verdict is Verdict.REGRESSED
    assert "99.80 % against 100.00 %: -0.204 pt; limit -0.200 pt; 25,000 examples" in row.reason


def test_no_more_than_ten_examples_are_named() -> None:
    row = judged(answers(1000, set(range(40))), answers(1000, set()))
    assert "lost: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …" in row.reason
    assert "p < 0.0001" in row.reason


def test_other_weights_on_the_same_class_are_no_excuse() -> None:
    row = judged(answers(1000, {1, 2, 3}), answers(1000, set()), weights="bbbb")
    assert row.verdict is Verdict.REGRESSED


@pytest.mark.parametrize(
    ("lost", "won", "verdict"),
    [
        (0, 0, Verdict.UNCHANGED),
        (20, 20, Verdict.UNCHANGED),
        (5, 0, Verdict.INCONCLUSIVE),
        (60, 40, Verdict.INCONCLUSIVE),
        (40, 0, Verdict.REGRESSED),
        (0, 30, Verdict.IMPROVED),
        (1, 30, Verdict.IMPROVED),
    ],
)
def test_on_another_class_the_interval_decides(lost: int, won: int, verdict: Verdict) -> None:
    now, before = answers(4000, set(range(lost))), answers(4000, set(range(1000, 1000 + won)))
    row = judged(now, before, same_class=False)
    assert row.verdict is verdict
    assert f"made on another machine class ({machine_class(ELSEWHERE)})" in row.reason
    assert "other weights" not in row.reason


def test_a_small_loss_of_very_many_examples_is_shown_to_be_small() -> None:
    rng = random.Random(1)
    flipped = set(rng.sample(range(100_000), 20))
    row = judged(answers(100_000, flipped), answers(100_000, set()), same_class=False)
    assert row.verdict is Verdict.UNCHANGED
    assert "-0.02 pt [-0.0" in row.reason


def test_other_weights_on_another_class_are_said() -> None:
    row = judged(answers(400, {1}), answers(400, set()), same_class=False, weights="bbbb")
    assert row.verdict is Verdict.INCONCLUSIVE
    assert "with other weights" in row.reason
    assert "the machine class that made the baseline can decide it" in row.reason


@pytest.mark.parametrize(
    ("now", "verdict"),
    [(0.955, Verdict.UNCHANGED), (0.954, Verdict.INCONCLUSIVE), (0.946, Verdict.REGRESSED), (0.99, Verdict.IMPROVED)],
)
def test_a_metric_that_is_no_share_of_right_answers_has_no_pairs(now: float, verdict: Verdict) -> None:
    """F1 over frames: the frames can be paired, the metric is not their mean; five times the limit convicts."""
    frames = scores("11110")
    portable = a_portable({"accuracy": 0.957}, scores=Scores("F1", 0.957, 5, frames.bits), made_on="other")
    result = a_result({"accuracy": [now]}, scores=Scores("F1", now, 5, frames.bits))
    assert compare_accuracy(result, ACCURACY, now, portable, same_class=False).verdict is verdict


def test_without_scores_the_value_decides() -> None:
    result = a_result({"accuracy": [0.95]})
    row = compare_accuracy(result, ACCURACY, 0.95, a_portable({"accuracy": 0.957}), same_class=True)
    assert row.verdict is Verdict.REGRESSED
    assert row.reason == "accuracy 95.00 % against 95.70 %: -0.70 pt; limit -0.20 pt."


def test_scores_that_cannot_be_paired_are_invalid() -> None:
    row = judged("111", "1111")
    assert row.verdict is Verdict.INVALID
    assert "3 examples now and 4 in the baseline" in row.reason


def test_a_suite_may_ask_for_more() -> None:
    strict = ACCURACY.with_tolerance(slack=0.0)
    assert judged(answers(1000, {1}), answers(1000, set()), metric=strict).verdict is Verdict.REGRESSED
    assert judged(answers(1000, set()), answers(1000, set()), metric=strict).verdict is Verdict.UNCHANGED
