"""The commands that a report hands on do what they say, wherever and whenever they are given."""

from __future__ import annotations

import dataclasses

import pytest

from harness.report.commands import accept_command
from harness.report.html import render
from harness.report.summary import render as summary
from tests.report_samples import sample_run
from tests.test_report_html import Page, plain


@pytest.mark.parametrize(
    ("command", "source"),
    [
        ("pytest suites/", "--from reports/ID"),
        ("pytest suites/ --reports nightly/", "--from nightly/ID"),
        ("pytest --reports=a --reports 'my runs'", "--from 'my runs/ID'"),
        ("pytest --baselines=golden --reports /runs", "--from /runs/ID --baselines golden"),
        ("pytest 'unclosed --reports a", "--from reports/ID"),
        ("pytest --reports '$(reboot)'", "--from '$(reboot)/ID'"),
    ],
)
def test_the_run_that_is_shown_is_accepted_and_not_the_newest(command: str, source: str) -> None:
    run = dataclasses.replace(sample_run(1, 4, samples=2), id="ID", command=command)
    assert accept_command(run) == f'harness accept {source} --reason "why this is right"'
    one = f'harness accept --case test_digits/digits/compiled/cpu {source} --reason "why this is right"'
    assert accept_command(run, "test_digits/digits/compiled/cpu") == one
    text = plain(Page(render(run)).text)
    assert text.count(one) == 2, "in the card and in the section of the case"
    assert text.count(f"harness accept {source} ") == 1, "all of it"
    assert one in summary(run)
