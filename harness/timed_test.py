"""A test written for pytest-benchmark, as a case: what it is called, and where it stands.

Such a test asks for the fixture `benchmark` and stands on no grid. It is measured as it is: by its node id, in
processes of its own (docs/pytest-benchmark.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.hardware import Cpu, cpu
from harness.names import slug

__all__ = ["TECHNIQUE", "TimedTest"]

TECHNIQUE = "pytest-benchmark"
"""The middle word of the id of every such case."""


@dataclass(frozen=True)
class TimedTest:
    """One test.

    nodeid  as pytest writes it, relative to the project
    config  the configuration file that pytest read, relative to the project, whole where it lies outside, "" for none
    """

    nodeid: str
    config: str = ""
    hardware: Cpu = cpu

    @property
    def name(self) -> str:
        """The test's class, function and parameters, in characters that an id can hold: `test_sort-1000`."""
        return ".".join(slug(part) for part in self.nodeid.split("::")[1:])

    @property
    def id(self) -> str:
        """`name/pytest-benchmark/cpu`."""
        return "/".join(self.words)

    @property
    def words(self) -> tuple[str, str, str]:
        """The three words of the id."""
        return self.name, TECHNIQUE, self.hardware.name

    def inapplicable(self) -> str | None:
        """Nothing is known of a test that would keep it from being tried."""
        return None

    def unavailable(self) -> str | None:
        """Why the hardware can't be used here, None where it can."""
        return self.hardware.available()

    def __repr__(self) -> str:
        return self.id
