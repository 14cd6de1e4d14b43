"""The commands that a report hands on, quoted for a shell: how to measure again, and what may be accepted."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import PurePosixPath

from harness.records import Comparison, Outcome, Result, Run, Verdict
from harness.report.overview import GATING, CaseView, counts

__all__ = [
    "NO_TIME",
    "accept_command",
    "acceptable",
    "accepted_by_all",
    "allow_command",
    "go_on_command",
    "in_turns",
    "measuring_options",
    "of_revision",
    "of_search",
    "prune_command",
    "reproduce_command",
    "review_command",
    "runs_own_tests",
]

_CHANGED = (Verdict.REGRESSED, Verdict.IMPROVED, Verdict.NEW, Verdict.INCOMPARABLE, Verdict.MISSING)
_ENVIRONMENT = ("--against-python", "--against-with")
_MEASURING = ("--plan", "--against", "--at", *_ENVIRONMENT, "--against-tolerance")
_JUDGING = ("--baselines", "--baseline-rev")
_ONCE = {"--suite-file", "--export"}
NO_TIME = ("--budget", "1ms")
"""The option by which a search whose time was over is shipped: what is known takes none of it."""
_BROKEN = (Verdict.INVALID, Verdict.ERROR)


def reproduce_command(run: Run, nodeid: str) -> str:
    """The command that measures one case again as this run did, by the same baselines, quoted for a shell.

    What a search tried is no test that pytest could find: it is measured again by the search.
    """
    if search := _search(run):
        return shlex.join(search)
    gates = run.mode in GATING
    judging = _options(run, _JUDGING) if gates else []
    words = ["pytest", nodeid, f"--baseline={run.mode if gates else 'off'}", *judging, *measuring_options(run)]
    return shlex.join(words)


def go_on_command(run: Run) -> str:
    """The command that goes on with a run that did not finish, quoted for a shell.

    "" where there is none: for a run in turns, and where what the record has is no command of pytest or of a search.
    """
    if search := _search(run):
        return shlex.join([*search, "--resume"])
    words = [word for word in _words(run) if word != "--resume"]
    if words[:1] != ["pytest"] or in_turns(run):
        return ""
    # Without the 0 a run that -x ended, be it in addopts, ends at the same case for ever.
    return shlex.join([*words, "--resume", "--maxfail=0"])


def runs_own_tests(run: Run, nodeid: str) -> bool:
    """Whether `reproduce_command` runs the project's own tests and nothing more, whoever left the record.

    Otherwise it installs packages, names an interpreter or another commit, searches, or has an option or another file,
    such as one that came with the record, in the place of a test or of an option's value.
    """
    file = PurePosixPath(nodeid.partition("::")[0])
    came = [part.casefold() for part in file.parts[:1]] == ["reports"]  # some file systems know no case
    if nodeid.startswith(("-", "@")) or file.is_absolute() or ".." in file.parts or came:
        return False
    words = _options(run, (*_JUDGING, *_MEASURING))
    # pytest takes a value that begins with - for an option of its own, and reads arguments from the file after an @.
    given = {word.partition("=")[0] for word in words if word.startswith(("-", "@"))}
    return not _search(run) and given <= {*_JUDGING, *_MEASURING} - {"--at", *_ENVIRONMENT}


def allow_command(run: Run, result: Result) -> str:
    """The same for a case that may be unavailable where that command is given, although it has a baseline."""
    return f"{reproduce_command(run, result.nodeid)} --allow-unavailable={shlex.quote(result.case_id)}"


def measuring_options(run: Run) -> tuple[str, ...]:
    """The options of a run's command that say with which plan it measured, and beside what: another one can tell other
    changes.
    """
    return tuple(_options(run, _MEASURING))


def accept_command(run: Run, name: str = "", *, source: str = "") -> str:
    """The command that makes a case of a run (or all of it) the baseline, quoted for a shell.

    It names the run, since another one may be the newest by the time it is given. `name` is `suite/case_id`: the id
    alone may be that of another suite's case too. `source` stands for the run, "" for where it was written.
    """
    words = ["harness", "accept", *(["--case", name] if name else [])]
    words += ["--from", source or str(PurePosixPath(_option(run, "--reports") or "reports", run.id))]
    return f'{shlex.join([*words, *_baselines(run)])} --reason "why this is right"'


def prune_command(run: Run) -> str:
    """The command that lists the baselines whose cases are gone, quoted for a shell.

    It goes by the newest run where this one was written: a case may have come back since.
    """
    found = _option(run, "--reports")
    source = ["--from", str(PurePosixPath(found, "latest"))] if found else []
    return shlex.join(["harness", "prune", *source, *_baselines(run)])


def review_command(run: Run) -> str:
    """The command that shows what another run of the same would change in the baseline, quoted for a shell."""
    return shlex.join(["harness", "review", *_baselines(run)])


def _baselines(run: Run) -> list[str]:
    found = _option(run, "--baselines")
    return ["--baselines", found] if found else []


def _search(run: Run) -> list[str]:
    """The words of the search that made a run; none for a run of tests.

    Without `--resume`, which would take what was measured, the files to write, which are there and so refused, and the
    time of `NO_TIME`, in which nothing can be measured.
    """
    if not of_search(run):
        return []
    words = _words(run)
    return [
        word
        for before, word, after in zip(["", *words[:-1]], words, [*words[1:], ""], strict=True)
        if not {before, word.partition("=")[0]} & _ONCE and word != "--resume"
        if NO_TIME not in ((before, word), (word, after))
    ]


def _option(run: Run, name: str) -> str:
    """What an option was set to in a run's command, the last time counting; "" where it was not."""
    found = _options(run, (name,))
    return found[-1].removeprefix(f"{name}=") if found else ""


def _options(run: Run, names: Sequence[str]) -> list[str]:
    """The words of a run's command that are these options and their values."""
    found: list[str] = []
    for word, value in pairwise([*_words(run), ""]):
        if word in names and value:
            found += [word, value]
        elif "=" in word and word.partition("=")[0] in names:
            found.append(word)
    return found


def _words(run: Run) -> list[str]:
    """The words of a run's command; none where they are no shell's, as something else than pytest may have left it."""
    return [*_split(run.command)]


@functools.lru_cache(maxsize=8)
def _split(command: str) -> tuple[str, ...]:
    # Every case of a report asks for its run's.
    try:
        return tuple(shlex.split(command))
    except ValueError:
        return ()


def acceptable(run: Run, view: CaseView) -> bool:
    """Whether accepting a case would change the baseline: its run came to its end, has not updated it itself, took
    turns with no other tree and was held to no commit's baselines, and the case has numbers that count and were all
    decided.
    """
    changed = _may_be_a_baseline(view) and any(c.verdict in _CHANGED for c in view.comparisons)
    alone = "against" not in run.environment.state and view.result is not None and not _beside(view.result)
    return changed and alone and run.complete and run.mode != "update" and not of_revision(run)


def of_revision(run: Run) -> bool:
    """Whether a run was held to the baselines of a commit, which stay as they are whatever is accepted."""
    return bool(_option(run, "--baseline-rev"))


def of_search(run: Run) -> bool:
    """Whether a search made a run: what it tried is no test of a suite."""
    return _words(run)[:2] == ["harness", "optimize"]


def in_turns(run: Run) -> bool:
    """Whether a run took turns with another tree: it was judged by no baseline, and becomes none.

    Where that tree lacks every case no launch shows it, and the numbers become none all the same.
    """
    return "against" in run.environment.state or any(_beside(result) for result in run.results)


def _beside(result: Result) -> bool:
    return any(launch.against is not None for launch in result.launches)


def accepted_by_all(run: Run, views: Sequence[CaseView]) -> str:
    """What accepting the whole run would do, as a sentence; "" where there is nothing to accept."""
    if not any(acceptable(run, view) for view in views):
        return ""
    kept: dict[str, list[CaseView]] = {"taken": [], "undecided": [], "refused": []}
    for view in views:
        if view.result is None or view.result.outcome is Outcome.UNAVAILABLE:
            continue
        broken = not view.completed or any(c.verdict in _BROKEN for c in view.comparisons)
        word = "refused" if broken else "undecided" if any(map(_may_hide, view.comparisons)) else "taken"
        kept[word].append(view)
    said = f"Accepts {_tally(kept['taken'])}"
    if undecided := len(kept["undecided"]):
        those = "those whose estimate lies within its limit, while their baseline has fewer than three blocks of it"
        said += f"; of {undecided} inconclusive {those}"
    refused = kept["refused"]
    return f"{said}; refuses {_tally(refused)}." if refused else f"{said}."


def _may_hide(comparison: Comparison) -> bool:
    """Whether a comparison is one of those that may keep numbers from becoming a baseline since it was not decided."""
    return comparison.verdict is Verdict.INCONCLUSIVE and comparison.detectable is not None


def _may_be_a_baseline(view: CaseView) -> bool:
    return view.completed and not any(c.verdict in (*_BROKEN, Verdict.INCONCLUSIVE) for c in view.comparisons)


def _tally(views: Sequence[CaseView]) -> str:
    return ", ".join(f"{number} {word}" for word, number in counts(tuple(views)).items())
