"""Which part of the suites a run of pytest selects."""

from __future__ import annotations

from pathlib import Path

import pytest

__all__ = ["FULL", "SELECTIONS", "is_filtered"]

FULL = "full"
SELECTIONS = {
    FULL: "every case of the suites; on a test function: its cases are left to this selection",
    "default": "the cases that are run where no -m is given",
}
"""Marks that the cases of grids carry, and what pytest says of them."""


def is_filtered(config: pytest.Config, *, deselected: bool) -> bool:
    """Whether a part was selected: by deselecting or ignoring, by a file or an item, or by an error in one."""
    option = config.option
    names = ("keyword", "lf", "deselect", "stepwise", "ignore", "ignore_glob")
    broken = getattr(option, "continue_on_collection_errors", False)
    chosen = deselected or broken or any(getattr(option, name, None) for name in names)
    chosen = chosen or option.markexpr.strip() not in ("", FULL)
    return chosen or any("::" in argument or not Path(argument).is_dir() for argument in config.args)
