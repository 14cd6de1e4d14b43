"""The page put together: templates with every value escaped, one style and one script, each allowed by its hash."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup, escape

from harness.records import Run
from harness.report.batching import speed_tolerance
from harness.report.commands import accept_command, accepted_by_all, of_revision
from harness.report.gains import accuracy_slack
from harness.report.html import outputs, sections
from harness.report.html.cases import anchor, render_cases
from harness.report.html.history import moved
from harness.report.html.why import not_decided, why
from harness.report.numbers import change_text, estimate_text, limit_text
from harness.report.overview import GLYPHS, MEANINGS, Overview, counts, other_tree, timed
from harness.report.past import LAST, NO_PAST, Past
from harness.report.reasons import measured_change
from harness.report.text import commit_name, moment, tail, visible
from harness.report.trust import checks, tree_note
from harness.units import duration, quantity

__all__ = ["asset", "digest", "environment", "policy", "render"]

PAGE_BYTES = 5_000_000
"""What the page takes at most. Cases get what the rest leaves of it, and a quarter even where the rest is longer with
the fewest rows in its tables, as a map of tens of thousands of cases makes it."""
MAX_LINES = (2000, 500, 100)
"""Rows of a table of what was found, further ones are counted: the first of these that leaves the cases a quarter."""
_HEADING = 2_000
"""Bytes of the section of cases above its lines."""
_CLAUSE = 48
_PLACE = "\0"
"""Where the cases come: no text of a run can have this character, since it is written out (see `visible`)."""


def render(run: Run, past: Past = NO_PAST) -> bytes:
    """The whole report as one HTML file in UTF-8; `past` is what is known of earlier runs."""
    style, script = asset("style.css"), asset("script.js")
    seen = Overview(run)
    undecided, better = not_decided(seen)
    accepts = accepted_by_all(run, seen.cases)
    shown: dict[str, Any] = {
        "why": why(seen),
        "maps": sections.gain_maps(seen),
        "fronts": sections.fronts(seen),
        "prunings": sections.prunings(seen),
        "batchings": outputs.batchings(seen),
    }
    draw = functools.partial(
        environment().get_template("page.html").render,
        run=run,
        policy=policy(style, script),
        # Both are ours, so they go in as they are; a browser runs them only if their hashes fit the policy.
        style=Markup(style),
        script=Markup(script),
        headline=seen.headline,
        note=tree_note(run),
        timed=timed(run),
        label=seen.label,
        counts=counts(seen.cases),
        accept=accept_command(run) if accepts else "",
        accepts=accepts,
        accept_some=accept_command(run, "*PART*", source="RUN"),
        checks=checks(seen),
        other_tree=other_tree(run),
        of_revision=of_revision(run),
        undecided=undecided,
        better=better,
        slack=accuracy_slack(run),
        **shown,
        pictures=_pictures(run, shown, drawn_past=bool(past.series)),
        fidelities=outputs.fidelities(seen),
        tolerance=speed_tolerance(run),
        moved=moved(past),
        last=LAST,
        past_notes=past.notes,
        total=len(seen.cases),
        cases=Markup(_PLACE),
        problems=sections.problems(seen),
        unreached=max(run.expected - len(run.results), 0),
    )
    above, below = _around(draw)
    room = max(PAGE_BYTES - len(above) - len(below) - _HEADING, PAGE_BYTES // 4)
    found = render_cases(seen, environment().get_template("case.html").render, room, past)
    cases = environment().get_template("cases.html").render(cases=found)
    return b"".join((above, cases.encode("utf-8"), below))


def _around(draw: Callable[..., str]) -> tuple[bytes, bytes]:
    """What stands above and below the cases, with as many rows in its tables as leave them a quarter of the page."""
    for most in MAX_LINES:
        above, below = (part.encode("utf-8") for part in draw(most=most).split(_PLACE))
        if len(above) + len(below) + _HEADING <= PAGE_BYTES - PAGE_BYTES // 4:
            break
    return above, below


def _pictures(run: Run, shown: Mapping[str, Any], *, drawn_past: bool) -> set[str]:
    """The kinds of pictures that this page has, and so has to explain."""
    has = {
        "change": shown["why"]["drawn"],
        "samples": any(launch.samples for result in run.results for launch in result.launches),
        "gains": any(not one.absent for one in shown["maps"]),
        "front": any(one["picture"] for one in shown["fronts"]),
        "removed": any(one["picture"] for one in shown["prunings"]),
        "batch": shown["batchings"],
        "past": drawn_past,
    }
    return {name for name, there in has.items() if there}


def policy(style: str, script: str) -> str:
    """The content security policy of the page: nothing may be loaded, and only this style and this script count."""
    return (
        f"default-src 'none'; style-src 'sha256-{digest(style)}'; script-src 'sha256-{digest(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def digest(text: str) -> str:
    """The SHA-256 of a text as content security policies write it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@functools.cache
def asset(name: str) -> str:
    """A style or script of the package."""
    text = (files("harness.report.html") / name).read_text(encoding="utf-8")
    return text + _signs() if name == "style.css" else text


def _signs() -> str:
    """The style that sets the sign before each verdict: a large page has tens of thousands of them.

    The second `content` says that the sign is not to be read out, since the word behind it is.
    """
    return "".join(
        f'.badge.v-{word}::before {{ content: "{sign}"; content: "{sign}" / ""; }}\n' for word, sign in GLYPHS.items()
    )


@functools.cache
def environment() -> jinja2.Environment:
    """The templates, with every value escaped and made visible on its way out."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report.html", "templates"),
        autoescape=True,
        auto_reload=False,  # each of ten thousand cases would look whether a file of the package had changed
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    made.filters |= {
        "num": _typeset,
        "name": _breakable,
        "kept": _kept,
        "clause": _clause,
        "moment": moment,
        "duration": duration,
        "tail": tail,
        "limit": limit_text,
        "change": change_text,
        "measured_change": measured_change,
    }
    made.globals |= {
        "glyphs": GLYPHS,
        "meanings": MEANINGS,
        "anchor": anchor,
        "commit_name": commit_name,
        "estimate": estimate_text,
        "quantity": quantity,
    }
    return made


def _finalize(value: Any) -> Any:
    """Every value that a template writes out passes here before it is escaped."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _breakable(name: str) -> Markup:
    """A case id or technique that may be broken into lines where its parts meet."""
    return Markup(re.sub("([/+])", r"\1<wbr>", str(escape(visible(name)))))


def _kept(sentence: str) -> str:
    """A sentence whose numbers are not torn from their units by a line break."""
    return re.sub(r"(?<=\d) (?=\S)", "\u00a0", sentence)


def _clause(text: str) -> str:
    """The start of a long text: what stands before its first colon, or some words."""
    head, colon, _ = text.partition(":")
    return head if colon and head.strip() and len(head) <= _CLAUSE else f"{text[:_CLAUSE]}…"


def _typeset(number: str) -> str:
    """A formatted number with a real minus sign, as wide as a plus."""
    return number.replace("-", "−").replace(" ", "\u00a0")
