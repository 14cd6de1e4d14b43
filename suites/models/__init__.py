"""The models of the bundled suites. Importing them reads no data and imports neither numpy nor torch."""

from __future__ import annotations

from suites.models.basic_pitch import basic_pitch, basic_pitch_litert
from suites.models.diamonds import diamonds, diamonds_student
from suites.models.digits import digits, digits_student
from suites.models.gpt import gpt_decode, gpt_prefill, gpt_student
from suites.models.magika import magika
from suites.models.minilm import minilm
from suites.models.silero import silero

__all__ = [
    "basic_pitch",
    "basic_pitch_litert",
    "diamonds",
    "diamonds_student",
    "digits",
    "digits_student",
    "gpt_decode",
    "gpt_prefill",
    "gpt_student",
    "magika",
    "minilm",
    "silero",
]
