"""Children of several threads, which an interrupt ends at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from pathlib import Path

from harness.errors import HarnessError
from harness.measure.child import Child
from harness.measure.tree import Tree
from harness.records import Outcome

__all__ = ["Starter", "at_once", "lacked_memory"]

Starter = Callable[[str, Path, Mapping[str, str], Tree], Child]
"""What starts a child: `Child`, or what keeps an account of those that it started."""


def lacked_memory(error: BaseException | None) -> bool:
    """Whether a child ended as one does for which the memory did not reach. Where others took of it, alone it may."""
    return isinstance(error, HarnessError) and error.outcome in (Outcome.OOM, Outcome.KILLED)


def at_once(tasks: Sequence[Callable[[Starter], object]], jobs: int, told: Callable[[int], None]) -> None:
    """Do these tasks, `jobs` at a time; each starts its children by what it is given.

    `told` gets the number of those that are done. What a task raises gets out, and ends the others, as an interrupt
    does: their children are ended, and the tasks that have not begun never do.
    """
    crew = _Crew()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            futures = [pool.submit(task, crew.start) for task in tasks]
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                told(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            crew.end()
            raise


class _Member(Child):
    """A child that another thread than its own may end. What it was started for is cancelled then, and has not failed:
    what pytest-timeout ends in one case would be remembered against the others.
    """

    _cancelled = False

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        if self._cancelled and any(isinstance(error, HarnessError) for error in raised):
            raise CancelledError(f"{self.name}: ended with the others")

    def end(self) -> None:
        """End it if it lives; the number of a process that is gone may be another's."""
        if self._process.poll() is None:
            self._cancelled = True
            self._signal(signal.SIGKILL)


class _Crew:
    """The children of all threads. Their own threads see them end, and tidy up."""

    def __init__(self) -> None:
        self._members: list[_Member] = []
        self._ended = False

    def start(self, name: str, log: Path, env: Mapping[str, str], tree: Tree) -> Child:
        member = _Member(name, log, env, tree)
        self._members.append(member)
        if self._ended:
            member.end()
        return member

    def end(self) -> None:
        self._ended = True
        for member in self._members:
            member.end()
