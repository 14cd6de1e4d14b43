"""Pruning: patterns of zeros, schedules, heads and layers, on real small networks, and what breaks each promise."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import Deployment, Model, PreparationError, SuiteError
from harness.hardware import cpu
from harness.runtimes.eager import Eager
from harness.runtimes.torch_operators import OperatorTypes
from harness.runtimes.torch_session import other_product_weights
from harness.techniques import (
    Pipeline,
    Technique,
    bf16,
    int4_weights,
    int8_dynamic,
    int8_static,
    int8_weights,
    onnxruntime,
    pruned_channels,
    pruned_heads,
    pruned_layers,
    pruned_n_m,
    pruned_weights,
)
from harness.techniques.base import as_pipeline
from harness.techniques.structure import EXAMPLES, change, multiply_accumulates, outputs_on, probes_of
from harness.testing import check_technique, tiny_torch_model
from tests.attention_networks import HEADS, TOKENS, WIDTH, Block, Constant, Fused, Turned, encoder_model
from tests.torch_networks import Buffered

TINY = tiny_torch_model()
ENCODER = encoder_model()
BLOCK = 4 * WIDTH * WIDTH
TORCHAO = pytest.mark.skipif(find_spec("torchao") is None, reason="needs torchao")


def deployed(technique: Technique | Pipeline, model: Model) -> Deployment:
    with tempfile.TemporaryDirectory() as folder:
        return as_pipeline(technique).apply(Deployment(model, model.load(), Eager(), cpu, Path(folder)))


def shares(network: torch.nn.Module) -> list[float]:
    """Of zeros in each weight of two or more axes."""
    return [float((p == 0).float().mean()) for p in network.parameters() if p.dim() > 1]


@pytest.mark.parametrize(
    ("pipeline", "least"),
    [
        (pruned_n_m(), 0.96),
        (pruned_n_m(1, 4, finetune=False), 0.96),
        (pruned_n_m(finetune=False) | bf16, 0.96),
        (pruned_n_m(finetune=False) | onnxruntime, 0.96),
        (pruned_n_m(finetune=False) | onnxruntime | int8_static, 0.96),
        # Without the last layer, whose weights are packed or lie in a tensor of torchao's, it would be less.
        (pruned_n_m(finetune=False) | onnxruntime | int8_weights, 0.97),
        (pruned_n_m(finetune=False) | onnxruntime | int4_weights, 0.97),
        pytest.param(pruned_n_m(finetune=False) | int8_dynamic, 0.97, marks=TORCHAO),
        pytest.param(pruned_n_m(finetune=False) | int8_weights, 0.97, marks=TORCHAO),
    ],
    ids=lambda value: getattr(value, "id", ""),
)
def test_patterns_are_read_from_what_runs(pipeline: Technique | Pipeline, least: float) -> None:
    """All but the first convolution, whose one input channel has no neighbours."""
    evidence, facts = check_technique(pipeline, TINY)
    assert evidence[0].promise.startswith("sparsity.1:4" if ":1" in pipeline.id else "sparsity.2:4")
    assert least < facts["sparsity.2:4"] < 1


@pytest.mark.parametrize("others", [{}, {"kdim": 8, "vdim": 12}], ids=["one projection", "three projections"])
@pytest.mark.parametrize("after", [bf16, onnxruntime], ids=["bf16", "onnxruntime"])
def test_the_projections_of_an_attention_are_pruned_too(others: dict[str, int], after: Technique) -> None:
    model = _with(ENCODER, Attending(**others))
    _, facts = check_technique(pruned_n_m(finetune=False) | after, model)
    assert facts["sparsity.2:4"] == 1.0
    assert facts["sparsity"] >= 0.5


def test_patterns_of_a_layer_that_is_called_twice_are_found_after_export() -> None:
    """Its weight stays before a transposition where it is large."""
    _, facts = check_technique(pruned_n_m(finetune=False) | onnxruntime, _with(ENCODER, Again()))
    assert facts["sparsity.2:4"] == 1.0


def test_two_of_four_are_the_largest_of_each_group() -> None:
    before, after = TINY.load(), deployed(pruned_n_m(finetune=False), TINY).network
    groups = before[4].weight.detach().movedim(1, -1).reshape(-1, 4)
    kept = after[4].weight.detach().movedim(1, -1).reshape(-1, 4)
    assert torch.equal((kept != 0).sum(1), torch.full((len(kept),), 2))
    assert torch.equal(kept.abs().sum(1), groups.abs().topk(2).values.sum(1))


def test_a_pattern_that_nobody_looks_for_is_refused() -> None:
    with pytest.raises(SuiteError, match="1:2, 1:4, 2:4, 4:8"):
        deployed(pruned_n_m(3, 4), TINY)


def test_a_network_without_groups_is_refused() -> None:
    with pytest.raises(PreparationError, match="0% of the weights"):
        deployed(pruned_n_m(4, 8), _with(ENCODER, torch.nn.Sequential(torch.nn.AvgPool1d(4), torch.nn.Linear(4, 2))))


def test_weights_that_code_multiplies_with_by_itself_are_counted_and_stay() -> None:
    """A parameter in a product of its own, before a linear layer with a quarter of the weights, or with four fifths."""
    with pytest.raises(PreparationError, match=r"20% of the weights .* half of them; 80% are read by other products"):
        deployed(pruned_n_m(finetune=False), _with(ENCODER, Multiplying(64, 4)))
    for after in (as_pipeline(pruned_n_m(finetune=False)), pruned_n_m(finetune=False) | onnxruntime):
        evidence, facts = check_technique(after, _with(ENCODER, Multiplying(4, 64)))
        assert evidence[0].promise.startswith("sparsity.2:4 >= 0.799")
        assert facts["sparsity.2:4"] == pytest.approx(0.8)


def test_learned_inputs_of_a_layer_are_no_weights_of_a_product() -> None:
    """In a batch of one they are read where the parameter lies: a network of these was refused, or promised less."""
    _, facts = check_technique(pruned_n_m(finetune=False), _with(ENCODER, Asking()))
    assert facts["parameters"] == 512 * WIDTH + 4 * WIDTH * WIDTH
    assert facts["sparsity.2:4"] == 1.0


def test_weights_of_recurrent_layers_and_transposed_convolutions_are_of_no_other_product() -> None:
    """Nor are their learned inputs, nor tables, which are looked up."""
    called = [
        (torch.nn.LSTM(WIDTH, 4, batch_first=True), torch.ones(1, 2, WIDTH)),
        (torch.nn.ConvTranspose1d(4, 4, 2), torch.ones(1, 4, 4)),
        (torch.nn.Linear(4, 4), torch.ones(1, 4)),
        (torch.nn.Embedding(4, 4), torch.ones(1, 4, dtype=torch.int64)),
        (Started(torch.nn.Linear(4, 4)), torch.ones(1, 4, 4)),
        (Started(torch.nn.ConvTranspose1d(4, 4, 2)), torch.ones(1, 4, 4)),
    ]
    for network, example in called:
        with torch.no_grad(), OperatorTypes() as operators:
            network(example)
        assert other_product_weights(network, operators.addresses) == []


def test_the_scope_says_where_the_share_is_counted() -> None:
    whole = shares(deployed(pruned_weights(0.5, finetune=False), TINY).network)
    each = shares(deployed(pruned_weights(0.5, finetune=False, scope="layer"), TINY).network)
    assert each == pytest.approx([0.5] * 3, abs=0.01)
    assert max(whole) - min(whole) > 0.05


@pytest.mark.parametrize(
    "pipeline",
    [
        pruned_weights(0.5, finetune=False),
        pruned_weights(0.5, finetune=False, scope="layer") | bf16,
        pruned_weights(0.5, finetune=False) | onnxruntime,
        pruned_channels(0.5, finetune=False),
    ],
    ids=lambda pipeline: pipeline.id,
)
def test_a_buffer_that_is_no_smaller_afterwards_breaks_no_promise(pipeline: Technique | Pipeline) -> None:
    """A table of positions, which counts as a weight and holds more numbers than the others together."""
    evidence, _ = check_technique(pipeline, _with(TINY, Positioned(torch.ones(60, 12, 12))))
    assert all(item.kept for item in evidence)


def test_what_is_promised_of_a_network_with_buffers_is_what_it_can_reach() -> None:
    weights = sum(p.numel() for p in TINY.load().parameters() if p.dim() > 1)
    for table, share in (
        (torch.ones(60, 12, 12), 0.5 * weights / (weights + 8640)),
        (torch.eye(144).reshape(144, 12, 12), 0.5),  # zeros of a buffer raise no promise: an exporter may fold them
    ):
        promise = deployed(pruned_weights(0.5, finetune=False), _with(TINY, Positioned(table))).promises[0][1]
        assert promise.at_least == pytest.approx(share - 0.001)


@pytest.mark.parametrize(("sparsity", "zeros"), [(0.9, 44), (0.75, 36), (0.1, 5)])
def test_few_weights_reach_the_share_too(sparsity: float, zeros: int) -> None:
    """43 of 48 are nearer to 0.9, and break the promise."""
    random = torch.Generator().manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 8), torch.nn.Linear(8, 1))
    for parameter in layers.parameters():
        parameter.data = torch.randn(parameter.shape, generator=random)
    few = dataclasses.replace(
        _with(TINY, layers), inputs=lambda size, seed: {"x": np.random.default_rng(seed).random((size, 6), np.float32)}
    )
    _, facts = check_technique(pruned_weights(sparsity, finetune=False), few)
    assert facts["sparsity"] == zeros / 48


def test_a_gradual_sparsity_rises_by_the_cubic_rule_and_keeps_its_zeros() -> None:
    from harness.techniques.prune import _gradually, _smallest

    network = TINY.load()
    after_step = _gradually(lambda share: _smallest(network, share, "global"), 0.8)
    found: list[float] = []
    zeros = torch.zeros(0)
    for step in range(1, 49):
        after_step(step / 48)
        weights = torch.cat([p.detach().flatten() for p in network.parameters() if p.dim() > 1])
        found.append(float((weights == 0).float().mean()))
        assert not len(zeros) or (weights[zeros] == 0).all()
        zeros = weights == 0
        for parameter in network.parameters():
            parameter.data += 0.1  # a step of training moves the removed ones as well, past some of the others
    assert found == sorted(found)
    assert found[17] == pytest.approx(0.8 * (1 - 0.5**3), abs=0.001)  # half of the ramp, which ends at 36 of 48
    assert found[35:] == pytest.approx([0.8] * 13, abs=0.001)


def test_a_gradual_schedule_keeps_its_promise_and_gives_other_weights_than_one_shot() -> None:
    evidence, facts = check_technique(pruned_weights(0.9, schedule="gradual"), TINY)
    assert all(item.kept for item in evidence)
    assert facts["sparsity"] == pytest.approx(0.9, abs=1e-3)
    gradual, at_once = (
        deployed(pruned_weights(0.9, schedule=schedule), TINY).network for schedule in ("gradual", "oneshot")
    )
    assert not torch.equal(gradual[4].weight == 0, at_once[4].weight == 0)


@pytest.mark.parametrize(
    "pipeline",
    [pruned_weights(0.8) | pruned_n_m(), pruned_n_m() | pruned_weights(0.8, schedule="gradual")],
    ids=lambda pipeline: pipeline.id,
)
def test_what_one_technique_removed_no_later_training_brings_back(pipeline: Pipeline) -> None:
    evidence, facts = check_technique(pipeline, TINY)
    assert len(evidence) == 2
    assert facts["sparsity"] >= 0.799
    assert facts["sparsity.2:4"] > 0.96


@pytest.mark.parametrize(
    "changes", [{"scope": "row"}, {"schedule": "slow"}, {"schedule": "gradual", "finetune": False}]
)
def test_what_pruning_can_not_do_is_a_mistake_in_the_suite(changes: dict[str, Any]) -> None:
    with pytest.raises(SuiteError, match="pruned_weights: "):
        deployed(pruned_weights(0.5, **changes), TINY)


@pytest.mark.parametrize("model", [ENCODER, encoder_model(Fused, Fused)], ids=["separate", "fused"])
def test_heads_are_cut_out_of_the_layers_around_the_attention(model: Model) -> None:
    blocks = len(model.load().blocks)
    evidence, facts = check_technique(pruned_heads(0.5, finetune=False), model)
    assert all(item.kept for item in evidence)
    assert facts["parameters"] == blocks * BLOCK // 2 + 2 * WIDTH
    notes = deployed(pruned_heads(0.5, finetune=False), model).notes
    assert (notes["heads.before"], notes["heads.after"]) == (blocks * HEADS, blocks * HEADS // 2)
    attention = 2 * TOKENS * TOKENS * WIDTH
    assert notes["macs.before"] == blocks * (TOKENS * BLOCK + attention) + 2 * WIDTH
    assert notes["macs.after"] == blocks * (TOKENS * BLOCK + attention) // 2 + 2 * WIDTH


def test_the_head_that_changes_least_goes_first() -> None:
    network = encoder_model(Fused).load()
    idle = 2
    with torch.no_grad():
        network.blocks[0].out.weight[:, idle * 4 : idle * 4 + 4] = 0.0
    batch = (torch.from_numpy(ENCODER.inputs(4, 0)["tokens"]),)
    pruned = deployed(pruned_heads(0.25, finetune=False), _with(ENCODER, network))
    assert pruned.notes["heads.after"] == 3
    assert change(outputs_on(pruned.network, [batch]), outputs_on(network, [batch])) < 1e-5


def test_outputs_of_no_fixed_count_rank_no_parts() -> None:
    """torch's error ended it, or one row was held against all."""
    words = r"an output of the shape \[1, 6\] where it gave \[9, 6\], so that its parts .* before it selects"
    with pytest.raises(PreparationError, match=words):
        change([torch.ones(2), torch.ones(1, 6)], [torch.ones(2), torch.ones(9, 6)])


def test_heads_run_in_onnx_runtime_after_fine_tuning() -> None:
    evidence, _ = check_technique(pruned_heads(0.5) | onnxruntime, ENCODER)
    assert all(item.kept for item in evidence)


def test_outputs_over_batches_are_those_of_each() -> None:
    outputs = outputs_on(Buffered(torch.nn.Identity(), (1, 2)), [(torch.full((1, 2), value),) for value in (1.0, 2.0)])
    assert [output.tolist() for output in outputs] == [[[1.0, 1.0]], [[2.0, 2.0]]]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Constant, r"can't run with fewer heads.*Model\.unsupported"),
        (Turned, "the query of an attention is not what one torch.nn.Linear"),
        (torch.nn.Identity, "there are no heads to remove"),
    ],
)
def test_attention_that_can_not_be_cut_is_refused_with_the_reason(kind: Callable[[], Any], words: str) -> None:
    with pytest.raises(PreparationError, match=words):
        deployed(pruned_heads(0.5, finetune=False), encoder_model(kind))


def test_nothing_to_rank_heads_or_layers_on_is_refused() -> None:
    used_up: Iterator[Any] = iter(())
    model = dataclasses.replace(ENCODER, calibration=lambda: used_up)
    for step in (pruned_heads(0.5, finetune=False), pruned_layers(1, finetune=False)):
        with pytest.raises(PreparationError, match=r"Model\.calibration of .* gives no batches"):
            deployed(step, model)


def test_no_more_calibration_data_is_read_than_heads_and_layers_are_ranked_on() -> None:
    def batches() -> Iterator[Any]:
        yield from (ENCODER.inputs(8, seed) for seed in range(4))
        raise AssertionError("there may be no end of it")

    model = dataclasses.replace(ENCODER, calibration=batches)
    assert deployed(pruned_heads(0.5, finetune=False), model).notes["heads.after"] == 3 * HEADS // 2
    assert deployed(pruned_layers(1, finetune=False), model).notes["layers.removed"] == "blocks.1"


def test_calls_that_are_no_batches_are_one_example_each() -> None:
    """The first axis counts no examples there, and the first input need not have one."""

    def probes(model: Model) -> int:
        with tempfile.TemporaryDirectory() as folder:
            return len(probes_of(Deployment(model, None, Eager(), cpu, Path(folder))))

    def batches() -> Iterator[Any]:
        yield from (ENCODER.inputs(40, seed) for seed in range(40))

    single = dataclasses.replace(ENCODER, batchable=False)
    assert probes(dataclasses.replace(single, calibration=batches)) == EXAMPLES
    assert probes(dataclasses.replace(single, inputs=lambda _, seed: {"x": np.full((), seed, np.float32)})) == EXAMPLES
    assert probes(dataclasses.replace(ENCODER, calibration=batches)) == 1
    assert probes(ENCODER) == EXAMPLES // 8


def test_a_share_that_removes_no_head_is_refused() -> None:
    with pytest.raises(PreparationError, match="none of the 4 heads"):
        deployed(pruned_heads(0.1, finetune=False), ENCODER)


def test_heads_that_the_code_shares_out_anew_are_noticed() -> None:
    """Its number of heads stays, so that each becomes smaller: it runs, and computes something else."""
    with pytest.raises(PreparationError, match="not those of the network with them muted"):
        deployed(pruned_heads(0.5, finetune=False), encoder_model(Sharing))


@pytest.mark.parametrize("amount", [1, 0.34])
def test_the_layer_that_changes_least_goes_first(amount: float) -> None:
    evidence, facts = check_technique(pruned_layers(amount, finetune=False), ENCODER)
    assert all(item.kept for item in evidence)
    assert facts["parameters"] == 2 * BLOCK + 2 * WIDTH
    pruned = deployed(pruned_layers(amount, finetune=False), ENCODER)
    assert pruned.notes["layers.removed"] == "blocks.1"
    assert pruned.notes["macs.after"] / pruned.notes["macs.before"] == pytest.approx(2 / 3, abs=0.01)
    batch = (torch.from_numpy(ENCODER.inputs(4, 0)["tokens"]),)
    assert change(outputs_on(pruned.network, [batch]), outputs_on(ENCODER.load(), [batch])) < 0.05


def test_blocks_are_ranked_by_scores_where_there_are_ids_beside_them() -> None:
    """One near tie outweighed all that a block does to the scores, since ids differ by their numbers."""

    def inputs(size: int, seed: int) -> dict[str, Any]:
        first = 1 + np.random.default_rng(seed).random((size, 1), np.float32)
        return {"tokens": np.concatenate([first, first + np.float32(0.001)], axis=1)}

    model = dataclasses.replace(_with(ENCODER, Deciding()), inputs=inputs)
    assert deployed(pruned_layers(1, finetune=False), model).notes["layers.removed"] == "blocks.1"


def test_the_layers_of_a_sequential_are_renumbered() -> None:
    layers = [torch.nn.Linear(WIDTH, WIDTH) for _ in range(4)]
    model = _with(ENCODER, torch.nn.Sequential(*layers, torch.nn.Linear(WIDTH, 2), Mean()))
    pruned = deployed(pruned_layers(2, finetune=False) | onnxruntime, model)
    assert pruned.notes["macs.after"] == TOKENS * (2 * WIDTH * WIDTH + 2 * WIDTH)


def test_what_a_layer_shares_with_the_others_stays() -> None:
    network = ENCODER.load()
    for block in network.blocks[1:]:
        block.query.weight = network.blocks[0].query.weight
    evidence, facts = check_technique(pruned_layers(1, finetune=False), _with(ENCODER, network))
    left = 2 * BLOCK - WIDTH * WIDTH + 2 * WIDTH
    assert facts["parameters"] == left
    assert evidence[0].promise == f"parameters >= 1 and <= {left}"


@pytest.mark.parametrize(
    ("rows", "steps"), [(100, onnxruntime), (600, onnxruntime | int8_dynamic)], ids=["exporter", "quantizer"]
)
def test_a_table_of_which_a_later_step_stores_a_transposed_copy_breaks_no_promise(
    rows: int, steps: Technique | Pipeline
) -> None:
    """The exporter writes one of a small table, and ONNX Runtime's preprocessing of any."""
    evidence, facts = check_technique(pruned_layers(1, finetune=False) | steps, tied_model(Tied(rows)))
    stored = 2 * rows * WIDTH + 2 * BLOCK
    assert (evidence[0].promise, facts["parameters"]) == (f"parameters >= 1 and <= {stored}", stored)


def test_a_table_that_torchao_leaves_beside_the_weight_of_the_last_layer_breaks_no_promise() -> None:
    pytest.importorskip("torchao")
    evidence, facts = check_technique(pruned_layers(1, finetune=False) | int8_dynamic, tied_model(Tied(100)))
    stored = 2 * 100 * WIDTH + 2 * BLOCK
    assert (evidence[0].promise, facts["parameters"]) == (f"parameters >= 1 and <= {stored}", stored)


@pytest.mark.parametrize(
    ("rows", "sparsity", "steps"),
    [(100, 0.5, onnxruntime), (600, 0.2, onnxruntime | int8_dynamic)],
    ids=["exporter", "quantizer"],
)
def test_a_copy_of_a_table_without_zeros_breaks_no_promise_of_zeros(
    rows: int, sparsity: float, steps: Technique | Pipeline
) -> None:
    """They are all in the blocks, whose weights are smaller, and the whole is larger by the table."""
    network = Tied(rows)
    torch.nn.init.uniform_(network.table.weight, 1, 2, torch.Generator().manual_seed(0))
    evidence, facts = check_technique(pruned_weights(sparsity, finetune=False) | steps, tied_model(network))
    held = rows * WIDTH + 3 * BLOCK
    assert facts["parameters"] == held + rows * WIDTH
    assert facts["sparsity"] == round(sparsity * held) / (held + rows * WIDTH)
    least = float(evidence[0].promise.removeprefix("sparsity >= "))
    assert least == pytest.approx((sparsity - 0.001) * held / (held + rows * WIDTH))


def test_a_table_that_is_the_last_layers_weight_too_loses_its_channels_once() -> None:
    """Nine tenths of the weights, which would break the promise if they were two tables afterwards."""
    model = tied_model(Tied(1200))
    _, facts = check_technique(pruned_channels(0.5, finetune=False), model)
    assert facts["parameters"] == 1200 * WIDTH // 2 + 3 * BLOCK // 4
    network = deployed(pruned_channels(0.5, finetune=False), model).network
    assert network.head.weight is network.table.weight


def whose(numbers: torch.Tensor) -> list[list[int]]:
    """Of channels that are shared out among heads in order, the heads that they were of: they are numbered."""
    return (numbers.detach().reshape(HEADS, -1) // (WIDTH // HEADS)).int().tolist()


def test_each_head_keeps_channels_of_its_own() -> None:
    """All of the smallest are those of two heads: without them the other two would be shared out among four."""
    network = Tied(100)
    with torch.no_grad():
        for block in network.blocks:
            block.out.weight[:, : WIDTH // 2] *= 0.01
            for layer in (block.query, block.key, block.value):
                layer.weight[: WIDTH // 2] *= 0.01
                layer.bias.copy_(torch.arange(WIDTH))
    pruned = deployed(pruned_channels(0.5, finetune=False), tied_model(network)).network
    layers = [layer for block in pruned.blocks for layer in (block.query, block.key, block.value)]
    assert [whose(layer.bias) for layer in layers] == [[[head] * 2 for head in range(HEADS)]] * 9


def test_each_head_of_torchs_own_attention_keeps_channels_of_its_own() -> None:
    first, last = torch.nn.Linear(WIDTH, WIDTH), torch.nn.Linear(WIDTH, 2)
    layer = torch.nn.TransformerEncoderLayer(WIDTH, HEADS, dim_feedforward=32, batch_first=True)
    small = slice(WIDTH // 2)
    with torch.no_grad():
        for weight in (first.weight, layer.linear2.weight, layer.norm1.weight, layer.norm2.weight):
            weight[small] *= 0.01
        for weight in (last.weight, layer.linear1.weight):
            weight[:, small] *= 0.01
        layer.self_attn.in_proj_bias.copy_(torch.arange(WIDTH).repeat(3))
    model = _with(ENCODER, torch.nn.Sequential(first, layer, last, Mean()))
    attention = deployed(pruned_channels(0.5, finetune=False), model).network[1].self_attn
    assert [whose(part) for part in attention.in_proj_bias.chunk(3)] == [[[head] * 2 for head in range(HEADS)]] * 3


@pytest.mark.parametrize("kind", ["Narrow", "Cosine"])
def test_channels_that_do_not_stay_with_their_heads_are_refused(kind: str) -> None:
    """Code that has more heads or fewer then, or an attention of which nobody can tell whose channels it reads."""
    blocks = {
        "Narrow": (Narrow, "heads of an attention are no longer made of their own: .* use pruned_heads"),
        "Cosine": (Cosine, r"heads of an attention can't be told from each other \(the query of an attention is not"),
    }
    network = Tied(100)
    network.blocks = torch.nn.ModuleList(blocks[kind][0](1.0) for _ in range(2))
    with pytest.raises(PreparationError, match=blocks[kind][1]):
        deployed(pruned_channels(0.5, finetune=False), tied_model(network))


def test_layers_that_share_everything_make_nothing_smaller() -> None:
    network = ENCODER.load()
    for block in network.blocks[1:]:
        for name in ("query", "key", "value", "out"):
            getattr(block, name).weight = getattr(network.blocks[0], name).weight
    with pytest.raises(AssertionError, match="promised parameters"):
        check_technique(pruned_layers(1, finetune=False), _with(ENCODER, network))


@pytest.mark.parametrize(("amount", "words"), [(3, "would remove 3 of 3 blocks"), (0.1, "would remove 0 of 3")])
def test_at_least_one_layer_goes_and_one_stays(amount: float, words: str) -> None:
    with pytest.raises(PreparationError, match=words):
        deployed(pruned_layers(amount, finetune=False), ENCODER)


@pytest.mark.parametrize("amount", [0, -1, 1.0, True])
def test_an_amount_of_layers_is_a_number_or_a_share(amount: float) -> None:
    with pytest.raises(SuiteError, match="give a number of blocks"):
        deployed(pruned_layers(amount, finetune=False), ENCODER)


def test_networks_that_are_pruned_are_copies() -> None:
    network = ENCODER.load()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        for step in (pruned_heads(0.5), pruned_layers(1), pruned_n_m()):
            step.apply(Deployment(ENCODER, network, Eager(), cpu, Path(folder)))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert len(network.blocks) == 3
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_the_work_before_is_that_of_the_first_network() -> None:
    notes = deployed(pruned_layers(1, finetune=False) | pruned_heads(0.5, finetune=False), ENCODER).notes
    assert notes["macs.before"] == multiply_accumulates(ENCODER.load(), (torch.zeros(1, TOKENS, WIDTH),))
    assert notes["macs.after"] < notes["macs.before"] / 2


def test_the_work_of_torchs_own_transformer_layers_is_counted() -> None:
    """Alone, without gradients, each of them is one operator that nobody counts."""
    layer = torch.nn.TransformerEncoderLayer(WIDTH, HEADS, dim_feedforward=32, batch_first=True)
    model = _with(ENCODER, torch.nn.TransformerEncoder(layer, 2))
    notes = deployed(pruned_layers(1, finetune=False), model).notes
    assert notes["macs.before"] == 2 * TOKENS * (BLOCK + 2 * 32 * WIDTH + 2 * TOKENS * WIDTH)
    assert notes["macs.after"] == notes["macs.before"] / 2
    assert torch.backends.mha.get_fastpath_enabled()


def test_channels_note_their_work() -> None:
    notes = deployed(pruned_channels(0.5, finetune=False), TINY).notes
    assert notes["macs.before"] == 16 * 9 * 144 + 32 * 16 * 9 * 36 + 4 * 288
    assert notes["macs.after"] == 8 * 9 * 144 + 16 * 8 * 9 * 36 + 4 * 144


SABOTAGES: list[tuple[Technique, str, Any, str]] = [
    (pruned_n_m(finetune=False), "harness.techniques.prune._remove", lambda *_, **__: None, r"sparsity\.2:4"),
    (pruned_heads(0.5, finetune=False), "harness.techniques.prune_heads._check", lambda *_: None, "parameters"),
    (pruned_layers(1, finetune=False), "harness.techniques.prune_layers._drop", lambda _: None, "parameters"),
]


@pytest.mark.parametrize(("technique", "target", "fake", "words"), SABOTAGES, ids=[row[0].id for row in SABOTAGES])
def test_pruning_that_does_nothing_breaks_its_promise(
    technique: Technique, target: str, fake: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, fake)
    monkeypatch.setattr("harness.techniques.attention_probe._cut", lambda *_: 256)
    monkeypatch.setattr("harness.techniques.prune_layers.check_same", lambda *_: None)
    with pytest.raises(AssertionError, match=f"promised {words}"):
        check_technique(technique, ENCODER)


def test_patterns_that_fine_tuning_forgets_break_the_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.techniques import prune, training

    monkeypatch.setattr(prune, "retrain", training.train)
    with pytest.raises(AssertionError, match=r"promised sparsity\.2:4"):
        check_technique(pruned_n_m(), TINY)


def tied_model(network: Tied) -> Model:
    """Six ids an item."""
    rows = network.table.num_embeddings

    def inputs(size: int, seed: int) -> dict[str, Any]:
        return {"ids": np.random.default_rng(seed).integers(0, rows, (size, TOKENS))}

    return dataclasses.replace(_with(ENCODER, network), inputs=inputs)


def _with(model: Model, network: torch.nn.Module) -> Model:
    return dataclasses.replace(model, load=lambda: network.eval())


class Deciding(torch.nn.Module):
    """Two scores, doubled twice, and the id of the larger one; the block in between moves the second by a little."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(3))
        with torch.no_grad():
            for block, factor, shift in zip(self.blocks, (2, 1, 2), (0.0, -0.01, 0.0), strict=True):
                block.weight.copy_(factor * torch.eye(2))
                block.bias.copy_(torch.tensor([0.0, shift]))

    def forward(self, scores: Any) -> Any:
        for block in self.blocks:
            scores = block(scores)
        return scores, scores.argmax(-1) * 10_000


class Mean(torch.nn.Module):
    """Over the tokens."""

    def forward(self, tokens: Any) -> Any:
        return tokens.mean(dim=1)


class Positioned(torch.nn.Module):
    """The tiny network, with a table that is added to the images."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.network = TINY.load()
        self.register_buffer("table", table)

    def forward(self, image: Any) -> Any:
        return self.network(image + 0.01 * self.table[:1])


class Attending(torch.nn.Module):
    """torch's own attention, to the tokens or to a part of each of them."""

    def __init__(self, **others: int) -> None:
        super().__init__()
        self.others = others
        self.attention = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, **others)

    def forward(self, tokens: Any) -> Any:
        key, value = (tokens[..., : self.others.get(name, WIDTH)] for name in ("kdim", "vdim"))
        return self.attention(tokens, key if self.others else tokens, value if self.others else tokens)[0].mean(1)


class Tied(torch.nn.Module):
    """Ids to rows of a table, three blocks, and what they make of them times the same table."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(rows, WIDTH)
        self.blocks = torch.nn.ModuleList(Block(1.0) for _ in range(3))
        self.head = torch.nn.Linear(WIDTH, rows, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids: Any) -> Any:
        hidden = self.table(ids)
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(hidden).mean(1)


class Sharing(Fused):
    """As `Fused`, with the channels shared out among a number of heads that is written into its code."""

    def forward(self, tokens: Any) -> Any:
        parts = self.joined(tokens).chunk(3, dim=-1)
        query, key, value = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in parts)
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Narrow(Block):
    """Heads of a width that is written into its code, as many as there are channels for."""

    def forward(self, tokens: Any) -> Any:
        split = (part(tokens).unflatten(2, (-1, WIDTH // HEADS)) for part in (self.query, self.key, self.value))
        mixed = torch.nn.functional.scaled_dot_product_attention(*(part.transpose(1, 2) for part in split))
        return tokens + self.out(mixed.transpose(1, 2).flatten(2))


class Cosine(Block):
    """With something done to the query between its layer and the attention."""

    def forward(self, tokens: Any) -> Any:
        split = (part(tokens).unflatten(2, (HEADS, -1)) for part in (self.query, self.key, self.value))
        query, key, value = (part.transpose(1, 2) for part in split)
        mixed = torch.nn.functional.scaled_dot_product_attention(query.cos(), key, value)
        return tokens + self.out(mixed.transpose(1, 2).flatten(2))


class Multiplying(torch.nn.Module):
    """A product with a parameter, and a linear layer, with `inner` channels between them."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(WIDTH, inner, generator=torch.Generator().manual_seed(0)))
        self.layer = torch.nn.Linear(inner, outer)

    def forward(self, tokens: Any) -> Any:
        return self.layer(tokens @ self.weight).mean(1)


class Asking(torch.nn.Module):
    """Learned queries, which are most of the parameters, attend to the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = torch.nn.Parameter(torch.randn(1, 512, WIDTH, generator=torch.Generator().manual_seed(0)))
        self.attention = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    def forward(self, tokens: Any) -> Any:
        return self.attention(self.queries.expand(len(tokens), -1, -1), tokens, tokens)[0].mean(1)


class Started(torch.nn.Module):
    """A layer of what was learned; the input tells how many items there are."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.start = torch.nn.Parameter(torch.ones(1, 4, 4))
        self.layer = layer

    def forward(self, inputs: Any) -> Any:
        return self.layer(self.start.expand(len(inputs), -1, -1))


class Again(torch.nn.Module):
    """One layer twice, which is large enough for the exporter to leave its transposition."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(6 * WIDTH, 6 * WIDTH)

    def forward(self, tokens: Any) -> Any:
        return self.layer(self.layer(tokens.repeat(1, 1, 6)).relu()).mean(1)


class Counting(torch.nn.Module):
    """Divides by how many blocks it has."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, tokens: Any) -> Any:
        for block in self.blocks:
            tokens = block(tokens)
        return tokens.mean(1) / len(self.blocks)


def test_blocks_on_whose_number_the_code_depends_are_noticed() -> None:
    """It runs with one less, and computes something else."""
    words = "without the blocks the outputs are not those of the network with them muted"
    with pytest.raises(PreparationError, match=words):
        deployed(pruned_layers(1, finetune=False), _with(ENCODER, Counting()))
