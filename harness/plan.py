"""How much is measured: launches, rounds, seconds and deadlines, as one value."""

from __future__ import annotations

from dataclasses import dataclass, fields

from harness.errors import SuiteError

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """The sampling plan of a run.

    screen          launches that every case gets
    confirm         fresh launches that a case gets when the screen leaves it suspicious; only these may convict
    seconds         sampling time a launch, all arms together
    rounds          rounds of turns that a launch has at least, even where they take longer than `seconds`
    turn            seconds that the timed calls of one turn aim at
    deadline        seconds after which a silent child counts as hung
    prepare_deadline  the same for training, export and compilation
    budget          seconds of sampling after which a case gets no further launch
    seed            of every random order, so that a run can be repeated
    """

    screen: int = 3
    confirm: int = 5
    seconds: float = 1.0
    rounds: int = 10
    turn: float = 0.010
    deadline: float = 120.0
    prepare_deadline: float = 900.0
    budget: float = 120.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.screen < 1 or self.confirm < 0 or self.rounds < 1:
            raise SuiteError("a plan needs at least one launch and one round")
        for name in ("seconds", "turn", "deadline", "prepare_deadline", "budget"):
            if not 0 < getattr(self, name) < float("inf"):
                raise SuiteError(f"plan: {name} must be a positive number of seconds")

    @classmethod
    def quick(cls, seed: int = 0) -> Plan:
        """A smoke test: one short launch a case and no verdict."""
        return cls(screen=1, confirm=0, seconds=0.1, rounds=2, seed=seed)

    def record(self) -> dict[str, int | float | bool]:
        """The plan as a run keeps it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
