"""Judging: from launch values to estimates, from a result and its baseline to verdicts. Pure functions of records."""

from harness.judge.compare import compare, fresh_launches
from harness.judge.estimate import estimate
from harness.judge.prior import Prior, Spread, fit_prior
from harness.judge.verdicts import case_verdict, missing
from harness.judge.words import advice

__all__ = [
    "Prior",
    "Spread",
    "advice",
    "case_verdict",
    "compare",
    "estimate",
    "fit_prior",
    "fresh_launches",
    "missing",
]
