"""The models of the bundled suites. Importing them reads no data and imports neither numpy nor torch."""

from __future__ import annotations

from suites.models.digits import digits, digits_student
from suites.models.magika import magika
from suites.models.minilm import minilm
from suites.models.silero import silero

__all__ = ["digits", "digits_student", "magika", "minilm", "silero"]
