"""`harness review`: walk the changes that a run would make to the baseline, and accept or reject each with a key."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.baseline.store import Store
from harness.cli.keys import read_key
from harness.cli.options import add_baselines_option, add_source_option, followed, going_by
from harness.cli.output import fail, flush, say
from harness.errors import BaselineError, RecordError
from harness.report.commands import reproduce_command
from harness.report.numbers import estimate_text, limit_text
from harness.report.overview import GLYPHS
from harness.report.reasons import measured_change
from harness.report.record import read_run
from harness.report.text import one_line
from harness.review import Pending, Review
from harness.review.server import Server

__all__ = ["add", "review"]

DONE, LEFT = 0, 1
_KEYS = "[a]ccept  [r]eject  [s]kip  [d]iff  [q]uit"
_SHOWN = 8
"""Metrics of a case that are shown before the rest is counted."""


def add(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser = commands.add_parser(
        "review",
        help="accept or reject what a run would change in the baseline, one case after the other",
        description="Walk the cases whose baseline would change: accept (with a reason), reject or skip each. "
        "Decisions are kept in the run's folder, so a review can be left and gone on with. Exit code: 0 nothing is "
        "pending, 1 something is.",
        allow_abbrev=False,
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--list", action="store_true", help="print what is pending and ask nothing")
    way.add_argument("--html", action="store_true", help="review in the browser; served on this machine alone")
    parser.add_argument("--no-open", action="store_true", help="with --html: print the address and open no browser")
    add_source_option(parser)
    add_baselines_option(parser)
    parser.set_defaults(run=review, wrong=parser.error)


def review(arguments: argparse.Namespace) -> int:
    """Review one run; see the module."""
    if arguments.no_open and not arguments.html:
        arguments.wrong("--no-open can only be used with --html")
    if arguments.source.exists():
        # A run that starts meanwhile becomes the newest, and must not get the decisions on this one.
        arguments.source = followed(arguments.source)
    run = read_run(arguments.source)
    folder = arguments.source if arguments.source.is_dir() else arguments.source.parent
    found = Review(run, folder, Store(arguments.baselines))
    if arguments.html:
        return _in_browser(found, folder, show=not arguments.no_open)
    words = going_by(arguments)
    pending = found.pending()
    open_ones = [one for one in pending if not one.refused]
    refused = [one for one in pending if one.refused]
    say(line for one in refused for line in _refused(one))
    if arguments.list:
        say(line for one in open_ones for line in _lines(one))
    if not pending:
        say(f"run {run.id}: nothing is pending")
    elif arguments.list:
        say(_tally(len(open_ones), len(refused)))
    elif open_ones and not sys.stdin.isatty():
        raise BaselineError(
            "harness review asks for keys, and standard input is no terminal; see what is pending with: "
            f"{shlex.join(['harness', 'review', '--list', *words])}, and accept it with: harness accept --case GLOB "
            f"--reason … {shlex.join(words)}"
        )
    else:
        _Walk(found, shlex.join(["harness", "review", *words]), _answer, _reason).over(open_ones)
    return LEFT if found.pending() else DONE


class _Walk:
    """One pass over the pending cases.

    `again` is the command that goes on with it; `answer` gives a key, `reason` a sentence (its argument is the last
    one).
    """

    def __init__(self, found: Review, again: str, answer: Callable[[], str], reason: Callable[[str], str]) -> None:
        self._review = found
        self._again = again
        self._answer = answer
        self._ask_reason = reason
        self._last = ""

    def over(self, pending: list[Pending]) -> None:
        """Ask about each until all are answered, or the reviewer quits."""
        for number, one in enumerate(pending, 1):
            say(["", f"{number} of {len(pending)}"])
            now = self._now(one)
            if now is None:
                continue
            say(_lines(now))
            say(f"  measure it again: {reproduce_command(self._review.run, now.result.nodeid)}")
            if not self._decide(now):
                left = sum(self._review.still(other) is not None for other in pending[number - 1 :])
                say(f"{left} left; go on with: {self._again}")
                return

    def _now(self, one: Pending) -> Pending | None:
        """The case as it is now; None, and it is said, where another reviewer decided on it meanwhile."""
        now = self._review.still(one)
        if now is None:
            say(f"  {one_line(one.name)} was decided meanwhile")
        return now

    def _decide(self, one: Pending) -> bool:
        """Whether to go on with the next case."""
        while True:
            print(f"  {_KEYS} ", end="", flush=True)
            key = self._answer()
            print(key if key.isprintable() else "")
            if key in ("q", "\x04", ""):
                return False
            if key == "s":
                return True
            try:
                if self._done(key, one):
                    return True
            except RecordError as error:
                fail(str(error))

    def _done(self, key: str, one: Pending) -> bool:
        """Do what a key says; whether that decided the case."""
        if key in ("a", "r") and self._now(one) is None:
            return True
        if key == "d":
            say(self._review.diff(one) or ["  accepting changes no file"])
        elif key == "a":
            return self._accepted(one)
        elif key == "r":
            self._review.reject(one, "")
            fails = ", and the case fails until it is mended" if one.verdict.fails(strict=False) else ""
            say(f"  rejected: the baseline stays as it is{fails}")
            return True
        return False

    def _accepted(self, one: Pending) -> bool:
        reason = self._ask_reason(self._last)
        if not reason:
            say("  not accepted: it needs a reason, for whoever reads the baseline later")
            return False
        # Writing a reason is what takes longest.
        if self._now(one) is None:
            return True
        paths = self._review.accept(one, reason)
        self._last = reason
        say(f"  wrote {path}" for path in paths)
        return True


def _in_browser(found: Review, folder: Path, *, show: bool) -> int:
    with Server(found, folder) as server:
        say(f"review it at {server.address} (this machine only; Ctrl-C or the button Done ends it)")
        flush()
        with contextlib.suppress(KeyboardInterrupt):
            if show:
                # A text browser, or one that $BROWSER names, may keep the call until it ends, and needs answers before.
                threading.Thread(target=webbrowser.open, args=(server.address,), daemon=True).start()
            server.serve()
    left = found.pending()
    say(_tally(sum(not one.refused for one in left), sum(bool(one.refused) for one in left)))
    return LEFT if left else DONE


def _tally(waiting: int, refused: int) -> str:
    return f"{waiting} pending" + (f", and {refused} that can't be accepted" if refused else "")


def _lines(one: Pending) -> Iterator[str]:
    word = one.verdict.value
    head = f"{GLYPHS[word]} {word}  {one_line(one.name)}"
    yield head
    for change in one.changes[:_SHOWN]:
        before, now = estimate_text(change.baseline, change.unit), estimate_text(change.candidate, change.unit)
        judged = f"{measured_change(change)}  limit {limit_text(change)}"
        numbers = f"{before} -> {now}  {judged}" if change.candidate else ""
        yield f"  {change.metric:<14} {change.verdict.value:<12} {numbers}".rstrip()
    for metric, text in one.figures():
        yield f"  {metric:<14} {text}"
    if len(one.changes) > _SHOWN:
        yield f"  and {len(one.changes) - _SHOWN} further metrics"
    yield f"  {one_line(one.changes[0].reason)}"


def _refused(one: Pending) -> Iterator[str]:
    yield f"! {one_line(one.name)} can't be accepted: {one_line(one.refused)}"


def _answer() -> str:
    return read_key(sys.stdin)


def _reason(last: str) -> str:
    try:
        return input(f"  why is this right? [{last}] " if last else "  why is this right? ").strip() or last
    except EOFError:
        return ""
