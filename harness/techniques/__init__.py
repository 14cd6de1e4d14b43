"""Techniques: functions `Deployment -> Deployment`, composable with `|`. Importing this package imports no torch."""

from harness.techniques.base import Pipeline, Technique, reference, technique

__all__ = ["Pipeline", "Technique", "reference", "technique"]
