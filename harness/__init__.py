"""Harness: a benchmark and regression gate for optimised AI models."""

from __future__ import annotations

from harness.deployment import Deployment, Promise
from harness.errors import (
    BaselineError,
    EvidenceError,
    HarnessError,
    MeasurementError,
    PreparationError,
    RecordError,
    Regression,
    SuiteError,
    UnavailableError,
)
from harness.grid import Case, grid
from harness.metrics import Metric
from harness.model import Evaluation, Model, Training, classification, digest_arrays
from harness.plan import Plan
from harness.techniques.base import technique

__all__ = [
    "BaselineError",
    "Case",
    "Deployment",
    "Evaluation",
    "EvidenceError",
    "HarnessError",
    "MeasurementError",
    "Metric",
    "Model",
    "Plan",
    "PreparationError",
    "Promise",
    "RecordError",
    "Regression",
    "SuiteError",
    "Training",
    "UnavailableError",
    "classification",
    "digest_arrays",
    "grid",
    "technique",
]
