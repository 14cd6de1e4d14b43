"""The commits between a good and a bad one, and the search among them for the first bad one."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import SuiteError
from harness.measure.tree import commit_of, git

__all__ = ["Found", "History", "State", "first_bad"]


class State(enum.StrEnum):
    """What a commit is, compared with the good one."""

    GOOD = "good"
    BAD = "bad"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Found:
    """`bad` is the last commit that was found bad; `skipped` are those before it that might be the first, undecided.

    `forks` are commits that these come from, where they lie on a branch without the good commit, and that are not good
    either: where there is one, none of these need be to blame.
    """

    bad: str
    skipped: tuple[str, ...]
    forks: tuple[str, ...] = ()


class History:
    """The commits of the repository that holds a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def commit(self, revision: str) -> str:
        """The commit that a revision names. Raises `SuiteError` where it names none."""
        return commit_of(self._folder, revision)

    def subject(self, commit: str) -> str:
        """The first line of a commit's message."""
        return git(self._folder, "show", "--no-patch", "--format=%s", commit)

    def check(self, good: str, bad: str) -> None:
        """Raise `SuiteError` unless `bad` has `good` among its ancestors: else the first bad commit has no meaning."""
        if good == bad:
            raise SuiteError(f"--good and --bad are the same commit, {good[:12]}; give an older one that is good")
        # Not merge-base, which fails without a word where there is none.
        named = git(self._folder, "rev-parse", f"{good}...{bad}").splitlines()
        base = next((line[1:] for line in named if line.startswith("^")), "")
        if not base:
            raise SuiteError(
                f"{good[:12]} (--good) and {bad[:12]} (--bad) have no commit in common, so nothing lies between them; "
                "where the clone is shallow: git fetch --unshallow"
            )
        if base != good:
            raise SuiteError(
                f"{good[:12]} (--good) is no ancestor of {bad[:12]} (--bad), so nothing lies between them; "
                f"the newest commit that both come from is --good {base[:12]}"
            )

    def between(self, bad: str, good: Sequence[str]) -> list[str]:
        """The commits that `bad` comes from and no good one does, without `bad`, the best next one first.

        The best one splits the others most evenly, whatever merges there are (git-rev-list(1), `--bisect-all`).
        """
        listed = git(self._folder, "rev-list", "--bisect-all", bad, "--not", *good)
        commits = [line.split()[0] for line in listed.splitlines()]
        return [commit for commit in commits if commit != bad]

    def forks(self, good: str, bad: str, before: Sequence[str]) -> list[str]:
        """What `bad`, and these commits that it comes from, come from in turn; none where `bad` comes from `good`."""
        if not git(self._folder, "rev-list", "--max-count=1", good, "--not", bad):
            return []
        parents = git(self._folder, "rev-parse", *(f"{one}^@" for one in (bad, *before))).splitlines()
        return [one for one in dict.fromkeys(parents) if one not in before]


def first_bad(history: History, good: str, bad: str, state_of: Callable[[str, int], State]) -> Found:
    """Find the first bad commit by halving, where `good` is good and `bad` is bad.

    `state_of` is given a commit and about how many steps are left with it. A commit that it skips is not asked again,
    and may be the first bad one.

    A branch that forked before the good commit may lack what made that one good. So where the search ends on one, what
    it forked from is asked for as well.
    """
    goods, skipped = [good], set[str]()
    while True:
        left = history.between(bad, goods)
        commit = next((one for one in left if one not in skipped), None)
        if commit is None:
            forks = [one for one in history.forks(good, bad, left) if one not in goods]
            return Found(bad, tuple(left), tuple(one for one in forks if state_of(one, 1) is not State.GOOD))
        state = state_of(commit, len(left).bit_length())
        if state is State.BAD:
            bad = commit
        elif state is State.GOOD:
            goods.append(commit)
        else:
            skipped.add(commit)
