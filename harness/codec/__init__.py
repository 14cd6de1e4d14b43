"""Frozen dataclasses to JSON and back, strictly.

One codec serves `run.json`, the journal, the baselines and the messages between processes, so that a field is declared
once, as a typed attribute. Reading refuses what writing would not give: unknown or missing fields, wrong types, NaN,
duplicate keys, excessive depth or size. Nothing here knows what the records mean.
"""

from harness.codec.reading import MAX_BYTES, UPGRADE, decode, loads
from harness.codec.writing import dumps, pieces

__all__ = ["MAX_BYTES", "UPGRADE", "decode", "dumps", "loads", "pieces"]
