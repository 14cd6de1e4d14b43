from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.baseline.records import Accepted, Portable, Times
from harness.baseline.text import _digest, dump, parse, rounded
from harness.errors import BaselineError
from tests.judge_samples import IDENTITY, a_block, a_portable, scores, some_times

TIMES = some_times(
    [
        a_block({"latency.p50": [0.0112, 0.0113], "memory.peak": [46830123.0]}, {"latency.p50": [1.12, 1.13]}),
        a_block({"latency.p50": [0.0111, 0.0112], "memory.peak": [46830123.0]}, {"latency.p50": [1.11, 1.12]}),
    ]
)
PORTABLE = a_portable({"size": 46830123.0, "accuracy": 0.9833333333, "quantized": 0.0}, scores=scores("1101"))


def test_the_layout_is_made_for_short_diffs() -> None:
    assert dump(TIMES) == (
        "{\n"
        '  "schema": 1,\n'
        '  "suite": "digits",\n'
        '  "case_id": "digits/onnxruntime/cpu",\n'
        '  "workload": {\n'
        '    "batch": "1",\n'
        '    "inputs": "1111"\n'
        "  },\n"
        '  "identity": {\n'
        '    "cores": 2,\n'
        '    "kind": "cpu",\n'
        '    "model": "Test CPU",\n'
        '    "threads": 1\n'
        "  },\n"
        '  "software": {\n'
        '    "numpy": "2.4.0",\n'
        '    "python": "3.11.9"\n'
        "  },\n"
        '  "blocks": [\n'
        "    {\n"
        '      "when": "2026-01-01T00:00:00+00:00",\n'
        '      "commit": "abc1234",\n'
        '      "values": {\n'
        '        "latency.p50": [0.0112, 0.0113],\n'
        '        "memory.peak": [46830123]\n'
        "      },\n"
        '      "relative": {\n'
        '        "latency.p50": [1.12, 1.13]\n'
        "      }\n"
        "    },\n"
        "    {\n"
        '      "when": "2026-01-01T00:00:00+00:00",\n'
        '      "commit": "abc1234",\n'
        '      "values": {\n'
        '        "latency.p50": [0.0111, 0.0112],\n'
        '        "memory.peak": [46830123]\n'
        "      },\n"
        '      "relative": {\n'
        '        "latency.p50": [1.11, 1.12]\n'
        "      }\n"
        "    }\n"
        "  ],\n"
        '  "accepted": {\n'
        '    "commit": "abc1234",\n'
        '    "when": "2026-01-01T00:00:00+00:00",\n'
        '    "reason": "first baseline",\n'
        '    "previous": {}\n'
        "  },\n"
        '  "ran": {},\n'
        f'  "digest": "{json.loads(dump(TIMES))["digest"]}"\n'
        "}\n"
    )


def test_numbers_have_six_digits_and_whole_ones_all_of_theirs() -> None:
    found: Portable = parse(Portable, dump(PORTABLE).encode(), "x.json")
    assert found.values == {"accuracy": 0.983333, "quantized": 0.0, "size": 46830123.0}
    assert rounded({"a": (0.123456789, 3.0)}) == {"a": (0.123457, 3.0)}


def test_the_numbers_of_an_identity_are_names_and_keep_their_digits() -> None:
    identity = {**IDENTITY, "gigahertz": 2.123456789012}
    found: Times = parse(Times, dump(some_times(TIMES.blocks, identity=identity)).encode(), "x.json")
    assert found.identity == identity


def test_a_file_is_the_same_however_its_mappings_were_filled() -> None:
    values = {"size": 1.0, "accuracy": 0.5}
    assert dump(a_portable(values)) == dump(a_portable(dict(reversed(values.items()))))


texts = st.text(st.characters(codec="utf-8"), max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: float(f"{value:.6g}"))


@given(st.dictionaries(texts, numbers, max_size=4), texts, texts, st.dictionaries(texts, texts, max_size=3))
def test_what_is_written_is_read_back(values: dict, case_id: str, reason: str, workload: dict) -> None:
    portable = a_portable(
        values, case_id=case_id, workload=workload, accepted=Accepted("c", "w", reason, values), scores=scores("101")
    )
    found: Portable = parse(Portable, dump(portable).encode(), "x.json")
    assert (found.values, found.case_id, found.workload, found.accepted.reason) == (values, case_id, workload, reason)
    assert dump(found) == dump(portable)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_number_no_baseline(value: float) -> None:
    with pytest.raises(BaselineError, match="can't be a baseline"):
        dump(a_portable({"accuracy": value}))


@pytest.mark.parametrize(("record", "cls"), [(PORTABLE, Portable), (TIMES, Times)], ids=["portable", "times"])
def test_a_file_cut_at_any_byte_is_an_error(record: Any, cls: Any) -> None:
    payload = dump(record).encode()
    for end in range(len(payload) - 1):  # without its last byte, the newline, the file is whole
        with pytest.raises(BaselineError, match=r"x\.json.*restore it from git"):
            parse(cls, payload[:end], "x.json")


@pytest.mark.parametrize(("record", "cls"), [(PORTABLE, Portable), (TIMES, Times)], ids=["portable", "times"])
def test_a_flipped_byte_never_changes_what_is_read(record: Any, cls: Any) -> None:
    payload = bytearray(dump(record).encode())
    whole = parse(cls, bytes(payload), "x.json")
    rng = random.Random(7)
    refused = 0
    for place in range(len(payload)):
        for mask in (1 << rng.randrange(8), rng.randrange(1, 256)):
            payload[place] ^= mask
            try:
                found = parse(cls, bytes(payload), "x.json")
            except BaselineError:
                refused += 1
            else:
                assert found == whole
            payload[place] ^= mask
    assert refused > 1.9 * len(payload)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text.replace("0.983333", "0.993333"), "does not match|do not match its digest"),
        (lambda text: "\n".join(line for line in text.split("\n") if "digest" not in line), "not valid JSON"),
        (lambda text: text.replace('"schema": 1', '"schema": 0'), "schema 0, this harness reads 1; restore it"),
        (lambda text: f"<<<<<<< ours\n{text}=======\n{text}>>>>>>> theirs\n", "conflict markers"),
        (lambda text: text.replace("0.983333", "NaN"), "NaN is not allowed"),
        (lambda text: text.replace("0.983333", "1e999"), "too large"),
        (lambda text: text.replace('"suite"', '"schema"'), "stands twice"),
        (lambda text: "[" * 100_000, "not valid JSON"),
        (lambda text: "[]", "no object"),
        (lambda text: "", "not valid JSON"),
    ],
)
def test_damage_is_named(damage: Any, words: str) -> None:
    with pytest.raises(BaselineError, match=words):
        parse(Portable, damage(dump(PORTABLE)).encode(), "x.json")


def test_a_newer_schema_asks_for_a_newer_harness() -> None:
    """It said to restore the file, or to delete it and accept the case anew."""
    with pytest.raises(BaselineError) as caught:
        parse(Portable, dump(PORTABLE).replace('"schema": 1', '"schema": 2').encode(), "x.json")
    assert str(caught.value) == (
        "x.json: written in schema 2 by a newer harness, and this one reads schema 1; "
        "upgrade with: pip install --upgrade inference-harness"
    )


@pytest.mark.parametrize(("record", "cls"), [(PORTABLE, Portable), (TIMES, Times)], ids=["portable", "times"])
@pytest.mark.parametrize(
    ("changes", "misfit"), [({"by": "x"}, "unknown field 'by'"), ({"when": 1}, "expected str, found int")]
)
def test_what_a_newer_harness_wrote_in_this_schema_asks_for_it(
    record: Any, cls: Any, changes: dict[str, Any], misfit: str
) -> None:
    """It was called damaged, with the advice to delete it, although its digest fits."""
    data = json.loads(dump(record))
    del data["digest"]
    data["accepted"] |= changes
    with pytest.raises(BaselineError) as caught:
        parse(cls, json.dumps({**data, "digest": _digest(data)}).encode(), "x.json")
    told = str(caught.value)
    assert misfit in told
    assert told.endswith("; upgrade with: pip install --upgrade inference-harness")
    assert told.count("upgrade with") == 1


def test_other_encodings_are_named() -> None:
    with pytest.raises(BaselineError, match="not UTF-8"):
        parse(Portable, dump(PORTABLE).encode("utf-16"), "x.json")


def test_other_line_ends_are_the_same_file() -> None:
    text = dump(PORTABLE)
    assert parse(Portable, text.replace("\n", "\r\n").encode(), "x") == parse(Portable, text.encode(), "x")


@pytest.mark.parametrize(("record", "cls"), [(PORTABLE, Portable), (TIMES, Times)], ids=["portable", "times"])
def test_a_file_whose_digest_was_taken_out_is_damaged(record: Any, cls: Any) -> None:
    """Whoever edits a baseline by hand would only have to delete a line."""
    data = json.loads(dump(record))
    del data["digest"]
    with pytest.raises(BaselineError, match="do not match its digest"):
        parse(cls, json.dumps(data).encode(), "x.json")
