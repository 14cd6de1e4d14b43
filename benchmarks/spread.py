"""How much of a case's drift an anchor takes out: pure functions of logarithms of times, one value a launch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

__all__ = ["Fit", "best_weights", "fit", "held_out", "spread"]

Group = tuple[Any, Any]
"""Logarithms of one case's times (n,) and of the anchors' in the same launches (n, k)."""


@dataclass(frozen=True)
class Fit:
    """The line `case = constant + slope * anchor` by least squares.

    slope  by how much the case moves where the anchor moves by one
    left   standard deviation that stays, n - 2 degrees of freedom
    ahead  the same of launches that were left out of the fit, one at a time
    """

    slope: float
    left: float
    ahead: float


def spread(values: Sequence[float] | Any) -> float:
    """Standard deviation with n - 1 degrees of freedom; NaN of fewer than two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def fit(case: Any, anchor: Any) -> Fit:
    """Fit a case on an anchor. NaN of fewer than four launches, and where the anchor never moves."""
    if len(case) < 4 or not np.ptp(anchor):
        return Fit(float("nan"), float("nan"), float("nan"))
    across = np.asarray(anchor) - np.mean(anchor)
    slope = float(across @ case / (across @ across))
    errors = np.asarray(case) - np.mean(case) - slope * across
    # A left-out launch's error follows from the whole fit: error / (1 - leverage).
    leverage = 1 / len(case) + across**2 / (across @ across)
    left = float(np.sqrt(errors @ errors / (len(case) - 2)))
    return Fit(slope, left, float(np.sqrt(np.mean((errors / (1 - leverage)) ** 2))))


def best_weights(groups: Sequence[Group]) -> Any:
    """Weights >= 0 with sum 1 that leave the least variance of `case - weights . anchors`, over all groups together.

    Each group has its own constant, and counts by its number of launches over the variance of its case alone, so that
    no noisy one decides for all. Non-negative least squares with the sum as a heavy row.
    """
    rows, wanted = [], []
    for case, anchors in groups:
        scale = spread(case)
        if len(case) > 1 and scale > 0:
            rows.append((anchors - np.mean(anchors, axis=0)) / scale)
            wanted.append((case - np.mean(case)) / scale)
    matrix, right = np.vstack(rows), np.concatenate(wanted)
    heavy = 1e4 * max(1.0, float(np.abs(matrix).max()))
    weights, _ = nnls(np.vstack([matrix, np.full(matrix.shape[1], heavy)]), np.append(right, heavy))
    return weights / weights.sum()


def held_out(groups: Sequence[Group]) -> list[float]:
    """Spread of each case against weights that were fitted on the other half of the launches, both ways round."""
    halves = [[(case[start::2], anchors[start::2]) for case, anchors in groups] for start in (0, 1)]
    errors: list[list[float]] = [[] for _ in groups]
    for fitted, tried in (halves, halves[::-1]):
        weights = best_weights(fitted)
        for (case, anchors), found in zip(tried, errors, strict=True):
            ratio = case - anchors @ weights
            found += list(ratio - np.mean(ratio))
    # Each half has its own mean, so two degrees of freedom are spent.
    return [float(np.sqrt(np.sum(np.square(found)) / max(1, len(found) - 2))) for found in errors]
