"""Counts of what ran, and what they say of a change."""

from __future__ import annotations

from harness.facts import counts, moved, uncompiled

FACTS = {
    "nodes": 27, "nodes.CPUExecutionProvider": 27, "parameters": 185_888, "graphs": True, "sparsity": 0.5,
    "runtime": "onnxruntime", "nodes.share": 0.5, "batch": 1,
}  # fmt: skip


def test_counts_are_whole_numbers_of_parts_of_a_network() -> None:
    assert counts(FACTS) == {"nodes": 27, "nodes.CPUExecutionProvider": 27, "parameters": 185_888}


def test_what_moved_is_told_with_both_numbers() -> None:
    assert moved({"nodes": 19, "parameters": 185_888}, FACTS) == "nodes 19 -> 27"
    assert moved({"parameters": 92_944, "nodes": 19}, FACTS) == "parameters 92,944 -> 185,888, nodes 19 -> 27"


def test_what_was_not_kept_or_is_not_known_any_more_moved_nowhere() -> None:
    assert moved({}, FACTS) == ""
    assert moved({"nodes.XNNPACK": 3}, FACTS) == ""


def test_where_torch_compile_gave_up_is_told() -> None:
    told = "and ran what lies there eagerly (with TORCH_LOGS=graph_breaks the case's logs beside the report say where)"
    assert uncompiled({"graphs": 1, "graph_breaks": 1}) == (f"torch.compile gave up in 1 place {told}",)
    assert uncompiled({"graphs": 4, "graph_breaks": 3}) == (f"torch.compile gave up in 3 places {told}",)
    assert uncompiled({"graphs": 1, "graph_breaks": 0}) == uncompiled(FACTS) == ()
