"""Reviewing what a run changed: what is pending, what was decided, and the page on which it is."""

from harness.review.acceptor import Acceptor
from harness.review.decisions import Decisions
from harness.review.pending import Pending, Review

__all__ = ["Acceptor", "Decisions", "Pending", "Review"]
