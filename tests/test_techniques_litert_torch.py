"""Torch networks as LiteRT: converted for the batch that is served, and held against torch."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("litert_torch")

import litert_torch

from harness import Model, PreparationError
from harness.techniques import batched, int8_dynamic, int8_static, litert, pruned_weights
from harness.testing import check_technique, tiny_torch_model

CONVOLUTIONS, PRODUCT = 16 * 9 + 32 * 16 * 9, 1152


def test_a_network_is_converted() -> None:
    evidence, facts = check_technique(litert, tiny_torch_model())
    assert all(item.kept for item in evidence)
    assert facts["parameters"] == CONVOLUTIONS + PRODUCT
    assert (facts["runtime"], facts["provider"], facts["precision"]) == ("litert", "XNNPACK", "float32")


def test_for_the_batch_that_is_served() -> None:
    _, facts = check_technique(batched(4) | litert, tiny_torch_model())
    assert facts["batch"] == 4
    with pytest.raises(PreparationError, match="put batched before litert"):
        check_technique(litert | batched(4), tiny_torch_model())


def test_and_quantized_for_it() -> None:
    _, facts = check_technique(batched(4) | litert | int8_static, tiny_torch_model())
    assert (facts["batch"], facts["weights.int8"], facts["precision"]) == (4, 1.0, "int8")
    _, facts = check_technique(litert | int8_dynamic, tiny_torch_model())
    assert (facts["weights.int8"], facts["precision"]) == (1.0, "int8")


def test_zeros_survive() -> None:
    _, facts = check_technique(pruned_weights(0.8, finetune=False) | litert, tiny_torch_model())
    assert float(facts["sparsity"]) >= 0.799


class Several(torch.nn.Module):
    """Reads ids and numbers, and gives a mapping whose names are not in the order of the alphabet."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(8, 4)

    def forward(self, ids: Any, numbers: Any) -> dict[str, Any]:
        return {"sum": self.table(ids) + numbers, "difference": self.table(ids) - 2 * numbers}


def several() -> Model:
    def inputs(size: int, seed: int) -> dict[str, Any]:
        random = np.random.default_rng(seed)
        numbers = random.standard_normal((size, 3, 4)).astype(np.float32)
        return {"symbols": random.integers(0, 8, (size, 3)), "numbers": numbers}

    torch.manual_seed(0)
    network = Several().eval()
    return dataclasses.replace(tiny_torch_model("several"), load=lambda: network, inputs=inputs)


def test_inputs_and_outputs_keep_names_and_order(tmp_path: Any) -> None:
    from harness.deployment import Deployment
    from harness.hardware import cpu
    from harness.runtimes.eager import Eager
    from harness.techniques.base import as_pipeline

    model = several()
    deployment = as_pipeline(litert).apply(Deployment(model, model.load(), Eager(), cpu, tmp_path))
    deployment.runtime.pack(deployment.network, {}, tmp_path, cpu)
    session: Any = deployment.runtime.load(tmp_path, cpu)
    inputs = model.inputs(1, 7)
    found = session.fetch(session(session.stage(inputs)))
    wanted = model.load()(*(torch.from_numpy(array) for array in inputs.values()))
    assert list(found) == ["sum", "difference"]
    for name, tensor in wanted.items():
        np.testing.assert_allclose(found[name], tensor.detach().numpy(), atol=1e-6)


def test_a_conversion_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = litert_torch.convert

    def broken(module: Any, *args: Any, **options: Any) -> Any:
        with torch.no_grad():
            module.network[0].weight.mul_(1.1)
        return real(module, *args, **options)

    monkeypatch.setattr(litert_torch, "convert", broken)
    with pytest.raises(PreparationError, match=r"gives output .* away from torch's; the limit is 0.001"):
        check_technique(litert, tiny_torch_model())


class Undecided(torch.nn.Module):
    """What no tracer can follow."""

    def forward(self, image: Any) -> Any:
        return image if image.sum() > 0 else -image


def test_a_network_that_cannot_be_converted_is_refused() -> None:
    model = dataclasses.replace(tiny_torch_model(), load=lambda: Undecided().eval())
    with pytest.raises(PreparationError, match=r"litert_torch.convert failed"):
        check_technique(litert, model)
