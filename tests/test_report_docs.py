"""The format is documented whole, and so are the signs."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from harness.records import (
    Comparison,
    Environment,
    Estimate,
    Evidence,
    Launch,
    Measurement,
    Outcome,
    Result,
    Run,
    Scores,
    Verdict,
)
from harness.report.overview import GLYPHS
from harness.report.record import MODES

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize(
    "record", [Run, Environment, Result, Measurement, Launch, Evidence, Scores, Estimate, Comparison]
)
def test_every_field_of_the_record_is_documented(record: type) -> None:
    words = set(re.findall(r"`(\w+)`", (DOCS / "run-json.md").read_text(encoding="utf-8")))
    assert {field.name for field in dataclasses.fields(record)} <= words


@pytest.mark.parametrize(
    ("record", "section"),
    [
        (Run, "The run"),
        (Environment, "environment"),
        (Result, "results[]"),
        (Launch, "launches[]"),
        (Comparison, "comparisons[]"),
    ],
)
def test_fields_stand_in_their_order(record: type, section: str) -> None:
    text = (DOCS / "run-json.md").read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(cells)) == [field.name for field in dataclasses.fields(record)]


def test_every_word_of_the_record_is_documented() -> None:
    words = set(re.findall(r"\w+", (DOCS / "run-json.md").read_text(encoding="utf-8")))
    assert {*MODES, *(str(v) for v in Verdict), *(str(o) for o in Outcome)} <= words


def test_every_sign_is_documented() -> None:
    text = (DOCS / "reading-the-report.md").read_text(encoding="utf-8")
    for word, sign in GLYPHS.items():
        assert f"| {sign} | {word} |" in text
