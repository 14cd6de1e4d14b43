"""How much is measured: launches, rounds, seconds and deadlines, as one value."""

from __future__ import annotations

from dataclasses import dataclass, fields

from harness.errors import SuiteError

__all__ = ["LOTS", "Plan"]

LOTS = (5, 5, 6)
"""How the fresh launches of a case are split into lots, in sixteenths. With fewer than five in the first, a few of them
speak too early: a machine with two modes then raises alarms (benchmarks/simulation.py)."""


@dataclass(frozen=True)
class Plan:
    """The sampling plan of a run.

    screen          launches that every case gets
    confirm         fresh launches, in lots, for as long as a case is undecided; only these may convict
    seconds         sampling time of a screen launch, all arms together; fresh launches may be up to three times as long
    rounds          rounds of turns that a launch has at least, even where they take longer than `seconds`
    turn            seconds that the timed calls of one turn aim at
    repeats         disturbed launches of a case that are made again, at most
    deadline        seconds after which a silent child counts as hung
    prepare_deadline  the same for training, export and compilation
    budget          seconds after a case's first launch began from which on it gets no further one, once it has those of
                    the first lot, and no disturbed one is made again
    seed            of every random order, so that a run can be repeated
    """

    screen: int = 3
    confirm: int = 16
    seconds: float = 0.8
    rounds: int = 10
    turn: float = 0.004
    repeats: int = 2
    deadline: float = 120.0
    prepare_deadline: float = 900.0
    budget: float = 120.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.screen < 1 or self.confirm < 0 or self.rounds < 1 or self.repeats < 0:
            raise SuiteError("a plan needs at least one launch and one round")
        for name in ("seconds", "turn", "deadline", "prepare_deadline", "budget"):
            if not 0 < getattr(self, name) < float("inf"):
                raise SuiteError(f"plan: {name} must be a positive number of seconds")

    @classmethod
    def quick(cls, seed: int = 0) -> Plan:
        """A smoke test: one short launch a case and no verdict."""
        return cls(screen=1, confirm=0, seconds=0.1, rounds=2, repeats=0, seed=seed)

    @property
    def lots(self) -> tuple[int, ...]:
        """How many fresh launches each lot has; they add up to `confirm`."""
        ends = [round(self.confirm * sum(LOTS[: number + 1]) / sum(LOTS)) for number in range(len(LOTS))]
        sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
        return tuple(size for size in sizes if size)

    def record(self) -> dict[str, int | float | bool]:
        """The plan as a run keeps it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
