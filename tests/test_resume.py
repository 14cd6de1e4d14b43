"""What a run may take over from one that was interrupted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from harness.records import Run
from harness.report.record import write_run
from harness.resume import unfinished
from tests.report_samples import sample_run


def beside(run: Run, other: str) -> Run:
    """The run as one that took turns with another tree."""
    state = {**run.environment.state, "against": other}
    return dataclasses.replace(run, environment=dataclasses.replace(run.environment, state=state))


@pytest.mark.parametrize(
    ("before", "now", "taken"),
    [("", "", True), ("main", "", False), ("", "main", False), ("main", "v1", False), ("main", "main", True)],
)
def test_what_was_compared_with_something_else_is_measured_again(
    tmp_path: Path, before: str, now: str, taken: bool
) -> None:
    run = dataclasses.replace(sample_run(1, 2), complete=False)
    earlier, again = (beside(run, other) if other else run for other in (before, now))
    write_run(earlier, tmp_path)
    found, sentence = unfinished(tmp_path, again)
    assert bool(found) is taken
    assert ("what it is compared with differs" in sentence) is not taken
