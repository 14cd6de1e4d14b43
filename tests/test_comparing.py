"""What a session compares with: judged once where that is enough, and never otherwise than the judge does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from harness import comparing
from harness.baseline.store import Store
from harness.comparing import WithBaselines
from harness.judge import compare, fresh_launches
from harness.records import Result, Verdict
from tests.judge_samples import CASE, ENVIRONMENT, IDENTITY, METRICS, a_block, a_portable, a_result, some_times

SCREENS = {
    "unchanged": {"speedup": (2.0, 2.001, 2.002), "size": (4.0,)},
    "slower": {"speedup": (1.5, 1.501, 1.502), "size": (4.0,)},
    "doubtful": {"speedup": (1.7, 2.0, 2.1), "size": (4.0,)},
    "larger, which no launch settles": {"speedup": (2.0, 2.001, 2.002), "size": (8.0,)},
    "incomplete": {"size": (4.0,)},
}


@pytest.fixture
def with_baselines(tmp_path: Path) -> WithBaselines:
    store = Store(tmp_path)
    store.write(a_portable({"size": 4.0}))
    store.write(some_times([a_block({"speedup": [2.0, 2.001, 2.002]}), a_block({"speedup": [2.001, 2.003, 1.999]})]))
    return WithBaselines(store, ENVIRONMENT, 16)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[Result]:
    """The results that were judged."""
    found: list[Result] = []

    def counted(result: Result, *rest):
        found.append(result)
        return compare(result, *rest)

    monkeypatch.setattr(comparing, "compare", counted)
    return found


@pytest.mark.parametrize("name", SCREENS)
def test_as_many_launches_are_wanted_as_the_judge_wants(with_baselines: WithBaselines, name: str) -> None:
    result = a_result(SCREENS[name])
    baseline, prior = with_baselines.baseline("digits", CASE, "cpu"), with_baselines.prior("cpu")
    wanted = with_baselines.more(result, METRICS)
    assert wanted == fresh_launches(result, baseline, METRICS, prior, 16)
    assert bool(wanted) is (name in ("slower", "doubtful"))
    assert with_baselines.compare(result, None, METRICS) == compare(result, baseline, METRICS, prior, IDENTITY)


def test_what_its_screen_decides_is_judged_once(with_baselines: WithBaselines, judged: list[Result]) -> None:
    result = a_result(SCREENS["unchanged"])
    assert with_baselines.more(result, METRICS) == 0
    thinner = tuple(dataclasses.replace(launch, samples={}) for launch in result.launches)
    ended = dataclasses.replace(result, launches=thinner, seconds={"sample": 3.0}, warnings=("warm",))
    rows = with_baselines.compare(ended, None, METRICS)
    assert {row.verdict for row in rows} == {Verdict.UNCHANGED}
    assert len(judged) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"measurements": a_result(SCREENS["slower"]).measurements},
        {"launches": a_result(SCREENS["slower"], confirm=2).launches},
        {"workload": {"inputs": "others"}},
        {"cut_short": True},
        {"case_id": "digits/another/cpu"},
    ],
)
def test_what_changed_since_is_judged_anew(with_baselines: WithBaselines, judged: list[Result], change: dict) -> None:
    result = a_result(SCREENS["unchanged"])
    with_baselines.more(result, METRICS)
    changed = dataclasses.replace(result, **change)
    baseline = with_baselines.baseline(changed.suite, changed.case_id, "cpu")
    rows = with_baselines.compare(changed, None, METRICS)
    assert len(judged) == 2
    assert rows == compare(changed, baseline, METRICS, with_baselines.prior("cpu"), IDENTITY)


def test_what_ran_is_held_against_what_ran_when_the_baseline_was_accepted(tmp_path: Path) -> None:
    times = some_times([a_block({"speedup": [2.0, 2.001, 2.002]})])
    store = Store(tmp_path)
    store.write(a_portable({"size": 4.0}))
    store.write(dataclasses.replace(times, ran={"nodes": 19, "parameters": 10}))
    rows = []
    for nodes, said in ((19, None), (27, "nodes 19 -> 27")):
        found = WithBaselines(store, ENVIRONMENT, 16)
        result = dataclasses.replace(a_result(SCREENS["unchanged"]), facts={"nodes": nodes, "parameters": 10})
        rows.append(found.compare(result, None, METRICS))
        assert found.origins[f"digits/{CASE}"].get("ran") == said
    assert rows[0] == rows[1], "it judges nothing"
