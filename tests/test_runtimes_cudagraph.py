"""CUDA graphs, captured and replayed on a scripted device that runs torch's real operators on the CPU."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import Deployment, PreparationError
from harness.hardware import cpu, cuda
from harness.runtimes.cudagraph import CudaGraph
from harness.runtimes.cudagraph_session import CudaGraphSession
from harness.runtimes.eager import Eager
from harness.techniques import batched, bf16, cuda_graph, fp16, pruned_channels, pruned_weights, reference
from harness.techniques.base import as_pipeline
from harness.testing import check_technique, tiny_onnx_model, tiny_torch_model
from tests.fake_cuda import FakeDevice
from tests.fake_cuda_graph import KERNEL_NANOSECONDS
from tests.fake_nvml import fake_nvml

MODEL = tiny_torch_model(trained=False)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    device = FakeDevice()
    device.in_torch(monkeypatch)
    monkeypatch.setattr(CudaGraph, "unavailable", lambda self, hardware: None)
    return device


class Net(torch.nn.Module):
    """Two named outputs, of which one is a whole number, from two inputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x: Any, shift: Any) -> Any:
        logits = self.linear(x) + shift
        return {"logits": logits, "label": logits.argmax(-1)}


class Syncing(torch.nn.Module):
    """Asks for a value on the host."""

    def forward(self, x: Any) -> Any:
        return x * x.sum().item()


class Growing(torch.nn.Module):
    """Its output's shape depends on values."""

    def forward(self, x: Any) -> Any:
        return x[x > 0]


class Greedy(torch.nn.Module):
    def forward(self, x: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB.\nSee documentation")


class Numpy(torch.nn.Module):
    """Computes where the device sees nothing of it."""

    def forward(self, x: Any) -> Any:
        return self.kept

    kept = torch.ones(2)


def session_of(module: Any) -> CudaGraphSession:
    return CudaGraphSession("cudagraph", module.eval(), torch.device("cpu"))


def arrays(seed: int, batch: int = 2) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    return {name: generator.standard_normal((batch, size)).astype(np.float32) for name, size in (("x", 4), ("s", 3))}


def test_it_warms_up_on_a_stream_of_its_own_and_captures_there(device: FakeDevice) -> None:
    session = session_of(Net())
    session.capture(session.stage(arrays(0)))
    assert device.calls == ["wait", "side stream", "main stream", "wait", "capture"]
    session(session.stage(arrays(1)))
    assert device.calls[-1] == "replay"


def test_replays_give_what_the_module_gives_for_the_inputs_of_each_call(device: FakeDevice) -> None:
    net = Net()
    session = session_of(net)
    session.capture(session.stage(arrays(0)))
    for seed in (1, 2, 3):
        given = arrays(seed)
        wanted = net(*(torch.from_numpy(array) for array in given.values()))
        found = session.fetch(session(session.stage(given)))
        assert list(found) == ["logits", "label"]
        np.testing.assert_allclose(found["logits"], wanted["logits"].detach().numpy(), rtol=1e-6)
        assert found["label"].tolist() == wanted["label"].tolist()
    assert device.calls.count("capture") == 1


def test_inputs_are_copied_and_never_kept(device: FakeDevice) -> None:
    session = session_of(Net())
    example = session.stage(arrays(0))
    session.capture(example)
    before = [tensor.clone() for tensor in example]
    session(session.stage(arrays(1)))
    assert all(torch.equal(one, two) for one, two in zip(example, before, strict=True))


def test_fetched_outputs_outlive_the_next_call(device: FakeDevice) -> None:
    session = session_of(Net())
    static = session(session.stage(arrays(1)))
    kept = session.fetch(static)
    copy = kept["logits"].copy()
    assert session(session.stage(arrays(2))) is static
    assert not np.array_equal(session.fetch(static)["logits"], copy)
    assert np.array_equal(kept["logits"], copy)


def test_each_shape_has_a_graph_of_its_own(device: FakeDevice) -> None:
    session = session_of(Net())
    for batch in (2, 5, 2, 5):
        assert session.fetch(session(session.stage(arrays(batch, batch))))["logits"].shape == (batch, 3)
    assert device.calls.count("capture") == 2


def test_a_graph_is_timed_by_device_events(device: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the clock that arms are timed with: launching once, then every recorded kernel."""
    session = session_of(Net())
    staged = [session.stage(arrays(seed)) for seed in (0, 1)]
    session.capture(staged[0])
    nodes = session.facts(arrays(0))["graph_nodes"]
    assert isinstance(nodes, int)
    times, outputs = cuda.time_calls(session, staged)
    assert times == [1_000 + nodes * KERNEL_NANOSECONDS] * 2
    assert device.calls[-4:] == ["record", "replay", "record", "synchronize"]
    wanted = session.fetch(session(staged[1]))["logits"]
    assert np.array_equal(session.fetch(outputs)["logits"], wanted)


@pytest.mark.parametrize("module", [Syncing(), Growing()])
def test_what_cannot_be_captured_is_refused_with_cause_and_cure(device: FakeDevice, module: Any) -> None:
    session = session_of(module)
    with pytest.raises(PreparationError) as caught:
        session(session.stage({"x": np.ones((2, 4), np.float32)}))
    message = str(caught.value)
    assert "RuntimeError: CUDA error: operation not permitted when stream is capturing;" in message
    assert "previous error" not in message
    assert "item()" in message
    assert "leave cuda_graph out" in message


def test_running_out_of_memory_stays_that(device: FakeDevice) -> None:
    session = session_of(Greedy())
    with pytest.raises(torch.OutOfMemoryError, match="80 GiB"):
        session(session.stage({"x": np.ones((2, 4), np.float32)}))


def test_an_empty_graph_is_refused(device: FakeDevice) -> None:
    session = session_of(Numpy())
    with pytest.raises(PreparationError, match="The CUDA Graph is empty"):
        session(session.stage({"x": np.ones((2, 4), np.float32)}))


def test_a_graph_that_does_not_compute_is_found_out(device: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    assert session_of(Net()).facts(arrays(0))["cuda_graph"] is True
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda self: None)
    assert session_of(Net()).facts(arrays(0))["cuda_graph"] is False


def test_nodes_are_left_out_where_torch_does_not_tell(device: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    def untold(self: Any) -> Any:
        raise RuntimeError("get_graph_data requires the cuda.bindings package")

    monkeypatch.setattr(torch.cuda.CUDAGraph, "get_graph_data", untold)
    facts = session_of(Net()).facts(arrays(0))
    assert "graph_nodes" not in facts
    assert facts["cuda_graph"] is True


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        (cuda_graph, {"precision": "float32"}),
        (bf16 | cuda_graph, {"precision": "bfloat16", "weights.bfloat16": 1.0}),
        (fp16 | cuda_graph, {"precision": "float16", "weights.float16": 1.0}),
        (pruned_channels(0.5, finetune=False) | cuda_graph, {"parameters": 8 * 9 + 16 * 8 * 9 + 4 * 144}),
        (pruned_weights(0.5, finetune=False) | cuda_graph, {"sparsity": pytest.approx(0.5, abs=0.01)}),
        (cuda_graph | batched(4), {"batch": 4}),
    ],
    ids=lambda value: getattr(value, "id", ""),
)
def test_it_composes_and_keeps_every_promise(device: FakeDevice, pipeline: Any, expected: dict[str, Any]) -> None:
    evidence, facts = check_technique(pipeline, MODEL)
    assert all(item.kept for item in evidence)
    assert (facts["runtime"], facts["cuda_graph"]) == ("cudagraph", True)
    assert {name: facts[name] for name in expected} == expected


def test_a_later_runtime_breaks_the_promise(device: FakeDevice) -> None:
    with pytest.raises(AssertionError, match="promised runtime = eager"):
        check_technique(as_pipeline(reference) | cuda_graph, MODEL)


def test_inputs_that_name_entries_of_tables_are_never_made_up(device: FakeDevice) -> None:
    """Two columns, of three values and of seven: no other number may reach the second table's place in the first."""
    session = session_of(Columns())
    facts = session.facts({"columns": np.array([[2, 6]])})
    assert facts["cuda_graph"] is True


class Columns(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tables = torch.nn.ModuleList(torch.nn.Embedding(values, 2) for values in (3, 7))

    def forward(self, columns: Any) -> Any:
        return torch.cat([table(columns[:, place]) for place, table in enumerate(self.tables)], dim=1)


def test_packing_keeps_the_served_shape_and_loading_captures_it(device: FakeDevice, tmp_path: Path) -> None:
    deployment = as_pipeline(cuda_graph).apply(Deployment(MODEL, MODEL.load(), Eager(), cpu, tmp_path))
    deployment.runtime.pack(deployment.network, MODEL.inputs(3, 0), tmp_path, cpu)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["model.pt"]
    assert device.calls == []
    session = deployment.runtime.load(tmp_path, cpu)
    assert device.calls.count("capture") == 1
    eager = Eager().load(tmp_path, cpu)
    inputs = MODEL.inputs(3, 1)
    one, two = (runtime.fetch(runtime(runtime.stage(inputs)))["output"] for runtime in (session, eager))
    np.testing.assert_allclose(one, two, rtol=1e-5)
    assert device.calls.count("capture") == 1


def test_it_needs_a_gpu_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reason = as_pipeline(cuda_graph).unavailable(MODEL, cpu)
    assert reason is not None
    assert "cpu is none (put cuda on the hardware axis" in reason
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([FakeDevice().board]))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert as_pipeline(cuda_graph).unavailable(MODEL, cuda) is None
    assert "exists only as an ONNX network" in str(as_pipeline(cuda_graph).inapplicable(tiny_onnx_model(tmp_path)))


def test_real_torch_has_what_is_called() -> None:
    graph, manager = torch.cuda.CUDAGraph, torch.cuda.graph
    assert all(callable(getattr(graph, name)) for name in ("replay", "instantiate", "get_graph_data"))
    assert manager.__init__.__code__.co_varnames[1:4] == ("cuda_graph", "pool", "stream")
    assert all(callable(getattr(torch.cuda, name)) for name in ("Stream", "stream", "current_stream"))
    assert callable(torch.cuda.Stream.wait_stream)
