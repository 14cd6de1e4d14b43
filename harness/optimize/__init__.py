"""The search for the best techniques of a model: one at a time, then what extends the good ones."""

from harness.optimize.goal import Goal, Limit
from harness.optimize.search import Found, Search
from harness.optimize.space import Space
from harness.optimize.trial import Trial

__all__ = ["Found", "Goal", "Limit", "Search", "Space", "Trial"]
