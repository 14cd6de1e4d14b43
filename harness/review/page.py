"""The page of a review: a card for each pending change, with its numbers, its diff and two buttons."""

from __future__ import annotations

import hashlib

from markupsafe import Markup

from harness.report.commands import reproduce_command
from harness.report.html.page import asset, digest, environment
from harness.review.pending import Pending, Review

__all__ = ["content_policy", "key_of", "render"]

MAX_CARDS = 200
"""Changes on one page; the next ones appear when these are decided."""


def render(review: Review, said: str, *, base: str, done: bool, has_report: bool) -> bytes:
    """The page in UTF-8. `said` is the sentence on the last decision, `base` the address that forms are sent to."""
    pending = review.pending()
    waiting = [one for one in pending if not one.refused]
    page = (
        environment()
        .get_template("review.html")
        .render(
            run=review.run,
            style=Markup(asset("style.css")),
            script=Markup(asset("review.js")),
            base=base,
            said=said,
            done=done,
            has_report=has_report,
            total=len(waiting),
            cards=[(key_of(one), one, _diff(review, one)) for one in waiting[:MAX_CARDS]],
            refused=[one for one in pending if one.refused],
            decisions=review.decisions(),
            again=lambda one: reproduce_command(review.run, one.result.nodeid),
        )
    )
    return page.encode("utf-8")


def key_of(pending: Pending) -> str:
    """A word for a case that is safe in forms and addresses."""
    return hashlib.sha256(pending.name.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def content_policy() -> str:
    """The content security policy of the page: our style, our script, and forms that come back here."""
    return (
        f"default-src 'none'; style-src 'sha256-{digest(asset('style.css'))}'; "
        f"script-src 'sha256-{digest(asset('review.js'))}'; img-src data:; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


def _diff(review: Review, pending: Pending) -> list[tuple[str, str]]:
    """The lines of the diff, each with the word for what it is."""
    words = {"+": "added", "-": "removed", "@": "place"}
    return [(words.get(line[:1], "same"), line) for line in review.diff(pending)]
