"""torch eager: what is packed is what is served, and facts are true of it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._higher_order_ops.cond import cond_op
from torch._higher_order_ops.out_dtype import out_dtype

from harness import MeasurementError, PreparationError
from harness.grid import load_suite
from harness.hardware import cpu
from harness.runtimes.eager import Eager
from harness.runtimes.native import load_network
from harness.runtimes.predictor import Predictor
from harness.runtimes.torch_files import read_example, write_example
from harness.runtimes.torch_operators import OperatorTypes, is_product
from harness.runtimes.torch_session import TorchSession, named_outputs
from harness.techniques import pruned_channels
from harness.testing import check_technique, tiny_torch_model
from tests.torch_networks import Buffered, Frozen

TINY = tiny_torch_model()


def serve(network: Any, folder: Path) -> Any:
    Eager().pack(network, TINY.inputs(1, 0), folder, cpu)
    return Eager().load(folder, cpu)


def test_outputs_are_the_networks_and_float32(tmp_path: Path) -> None:
    network, inputs = TINY.load(), TINY.inputs(3, 0)
    session = serve(network, tmp_path)
    outputs = session.fetch(session(session.stage(inputs)))
    with torch.no_grad():
        wanted = network(torch.from_numpy(inputs["image"])).numpy()
    np.testing.assert_array_equal(outputs["output"], wanted)
    assert outputs["output"].dtype == np.float32


class Conjugate(torch.nn.Module):
    """A spectrum that torch keeps as a view with a mark that numpy does not know."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft(image.mean(dim=(1, 2))).conj()


def test_a_conjugate_is_an_output(tmp_path: Path) -> None:
    inputs = TINY.inputs(2, 0)
    session = serve(Conjugate(), tmp_path)
    wanted = np.fft.rfft(inputs["image"].mean(axis=(1, 2))).conj()
    np.testing.assert_allclose(session.fetch(session(session.stage(inputs)))["output"], wanted, atol=1e-5)


def test_a_network_left_in_training_mode_is_served_in_evaluation_mode(tmp_path: Path) -> None:
    inputs = TINY.inputs(4, 0)
    session = serve(TINY.load().train(), tmp_path)
    assert np.array_equal(*(session.fetch(session(session.stage(inputs)))["output"] for _ in range(2)))
    assert not session(session.stage(inputs)).requires_grad


def test_a_network_whose_train_gives_nothing_is_served(tmp_path: Path) -> None:
    """Its eval gives nothing either: it was refused as a NoneType."""
    network = load_network(dataclasses.replace(TINY, load=lambda: Frozen(12, 4)))
    session = serve(network, tmp_path)
    outputs = session.fetch(session(session.stage({"x": np.ones((1, 12), np.float32)})))
    assert outputs["output"].shape == (1, 4)


def test_facts_are_read_from_the_module(tmp_path: Path) -> None:
    network = TINY.load()
    with torch.no_grad():
        network[0].weight.zero_()
    facts = serve(network, tmp_path).facts(TINY.inputs(1, 0))
    weights = 16 * 9 + 32 * 16 * 9 + 4 * 288
    assert facts["parameters"] == weights
    assert facts["sparsity"] == pytest.approx(16 * 9 / weights)
    assert facts["weights.float32"] == 1.0
    assert facts["quantized"] == 0.0
    assert (facts["runtime"], facts["provider"], facts["precision"]) == ("eager", "cpu", "float32")
    assert facts["nodes"] >= len(network)


def test_products_of_integers_are_seen_as_a_gpu_makes_them() -> None:
    """Torchao calls an operator that calls the product, and computes in float32 where that fails."""
    numbers = torch.ones((32, 64), dtype=torch.int8)
    with OperatorTypes() as seen:
        out_dtype(torch.ops.aten.mm.default, torch.int32, numbers, numbers.t())
    assert seen.products == ["int8"]
    with OperatorTypes() as seen, contextlib.suppress(RuntimeError):
        torch._int_mm(numbers, numbers)  # sizes that don't fit
    assert seen.products == []


def test_products_are_known_by_the_names_of_their_kernels() -> None:
    kernels = ("_mkl_linear", "_trilinear", "_grouped_mm", "_scaled_grouped_mm", "_cudnn_rnn", "_addmm_activation")
    assert [name for name in kernels if not is_product(name)] == []
    assert not any(map(is_product, ("add", "_mkl_reorder_linear_weight", "_to_copy", "_softmax")))
    with torch.no_grad(), OperatorTypes() as seen:
        torch.nn.Bilinear(3, 4, 5)(torch.ones(2, 3), torch.ones(2, 4))
    assert seen.products == ["float32"]


@pytest.mark.parametrize("first", [True, False])
def test_products_of_the_branch_that_runs_are_seen(first: bool) -> None:
    """They were in no fact: what else a network does spoke for those in its branches, of an exported one too."""
    branches, chosen, values = [torch.nn.Linear(3, 3) for _ in range(2)], torch.tensor(first), torch.ones(2, 3)
    with torch.no_grad(), OperatorTypes() as seen:
        found = cond_op(chosen, *branches, (values,))
    assert seen.products == ["float32"]
    torch.testing.assert_close(found, branches[0 if first else 1](values))


class Spectral(torch.nn.Module):
    """A layer in the space of frequencies, as Fourier neural operators have them, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.head = torch.nn.Parameter(torch.eye(7, dtype=torch.complex64)), torch.nn.Linear(12, 4)

    def forward(self, image: Any) -> Any:
        return self.head(torch.fft.irfft(torch.fft.rfft(image.mean(dim=(1, 2))) @ self.weight, 12))


def test_products_of_complex_numbers_compute_in_the_type_of_their_parts(tmp_path: Path) -> None:
    """No network of float32 that has some could be measured: its reference promises float32 alone."""
    facts = serve(Spectral(), tmp_path).facts(TINY.inputs(1, 0))
    assert (facts["precision"], facts["arithmetic.float32"]) == ("float32", 1.0)
    numbers = torch.eye(2, dtype=torch.complex128)
    with OperatorTypes() as seen:
        torch.mm(numbers, numbers)
    assert seen.products == ["float64"]


def test_products_on_another_device_are_invalid(tmp_path: Path) -> None:
    session = serve(TINY.load(), tmp_path)
    session.stage = lambda inputs: tuple(map(torch.from_numpy, inputs.values()))
    session._device = torch.device("cuda")
    with pytest.raises(MeasurementError, match="network is on cuda, and computes products on cpu") as caught:
        session.facts(TINY.inputs(1, 0))
    assert caught.value.outcome == "invalid"


def test_shared_weights_count_once(tmp_path: Path) -> None:
    layer = torch.nn.Linear(12, 12)
    facts = serve(torch.nn.Sequential(layer, torch.nn.ReLU(), layer), tmp_path).facts({"x": np.ones((1, 12), "f4")})
    assert facts["parameters"] == 144


def test_precision_is_observed_and_not_read_from_the_weights(tmp_path: Path) -> None:
    facts = serve(_Upcast(), tmp_path).facts({"x": np.ones((1, 12), "f4")})
    assert facts["weights.bfloat16"] == 1.0
    assert facts["precision"] == "float32"


def test_outputs_get_names() -> None:
    one, two = torch.zeros(1), torch.ones(2)
    assert list(named_outputs(one)) == ["output"]
    assert list(named_outputs((one, two))) == ["output_0", "output_1"]
    assert list(named_outputs({"logits": one, "hidden": two})) == ["logits", "hidden"]
    with pytest.raises(PreparationError, match="output_1 of the network is a NoneType"):
        named_outputs((one, None))


def test_inputs_that_the_caller_changes_later_stay_as_staged(tmp_path: Path) -> None:
    session = serve(torch.nn.Identity(), tmp_path)
    array = np.zeros((1, 3), np.float32)
    staged = session.stage({"x": array})
    array += 1
    assert session.fetch(session(staged))["output"].sum() == 0


class _Recurrent(torch.nn.Module):
    """A linear layer behind an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = torch.nn.LSTM(12, 8), torch.nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        return self.head(self.lstm(x)[0])


def test_weights_of_recurrent_layers_are_put_together_when_they_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU cuDNN did it at each call, which a network that was moved there in the usual way does not pay for."""
    Eager().pack(_Recurrent(), {}, tmp_path, cpu)
    joined: list[Any] = []
    monkeypatch.setattr(torch.nn.RNNBase, "flatten_parameters", lambda layer: joined.append(layer))
    module = Eager().load(tmp_path, cpu)._module
    assert len(joined) == 1
    assert joined[0] is module.lstm


@pytest.mark.parametrize("batch_size", [1, None])
def test_what_a_network_answers_in_its_own_memory_is_kept_from_the_next_call(batch_size: int | None) -> None:
    """Each batch of an evaluation had the answers of the last one."""
    network, rows = Buffered(torch.nn.Identity(), (1, 12)), np.arange(36, dtype=np.float32).reshape(3, 12)
    predict = Predictor(TorchSession("eager", network, network, torch.device("cpu")), batch_size)
    examples = [rows] if batch_size else [row[None] for row in rows]
    found = [predict({"x": each})["output"] for each in examples]
    np.testing.assert_array_equal(np.concatenate(found), rows)


def test_a_network_of_another_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match=r"bytes instead of a torch\.nn\.Module"):
        Eager().pack(b"", {}, tmp_path, cpu)


def test_a_network_that_cannot_be_pickled_is_refused_with_the_cure(tmp_path: Path) -> None:
    class Local(torch.nn.Module):
        pass

    with pytest.raises(PreparationError, match="top level of a module"):
        Eager().pack(Local(), {}, tmp_path, cpu)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_a_network_of_torchscript_is_refused_with_the_cure(tmp_path: Path) -> None:
    """As torch.jit.load gives it: there are no classes that could be defined elsewhere."""
    network = torch.jit.script(torch.nn.Linear(2, 2))
    words = r"is TorchScript, .* load give the Python module, or .*form='onnx'"
    for each in (network, torch.nn.Sequential(network)):
        with pytest.raises(PreparationError, match=words):
            Eager().pack(each, {}, tmp_path, cpu)


def test_a_network_with_parametrized_layers_is_refused_with_the_cure(tmp_path: Path) -> None:
    """As the convolution of positions in wav2vec2 is."""
    network = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(12, 12)))
    words = r"can't write 1\.weight, which .*\.remove_parametrizations\(layer, 'weight'\) .*_pre_hooks\.clear\(\)"
    with pytest.raises(PreparationError, match=words):
        Eager().pack(network, {}, tmp_path, cpu)
    torch.nn.utils.parametrize.remove_parametrizations(network[1], "weight")
    network[1]._load_state_dict_pre_hooks.clear()
    Eager().pack(network, {}, tmp_path, cpu)


def test_a_network_whose_module_is_hidden_by_a_package_is_refused_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some packages install a folder `tests` beside their own, and suites may lie in one without an __init__.py."""
    root, installed = tmp_path / "project", tmp_path / "installed" / "hidden_suites"
    (root / "hidden_suites").mkdir(parents=True)
    (root / "hidden_suites" / "test_x.py").write_text("import torch\n\n\nclass Net(torch.nn.Module):\n    pass\n")
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [*sys.path, str(installed.parent)])
    network = load_suite(root, "hidden_suites/test_x.py").Net()
    with pytest.raises(PreparationError) as caught:
        Eager().pack(network, {}, tmp_path, cpu)
    assert f"{installed / '__init__.py'} has the name of {root / 'hidden_suites'}" in str(caught.value)
    (root / "hidden_suites" / "__init__.py").touch()
    importlib.invalidate_caches()
    Eager().pack(network, {}, tmp_path, cpu)


def test_a_network_whose_module_load_alone_makes_importable_is_refused_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that serves it unpickles it, and has called nothing of the suite."""
    (tmp_path / "fetched_network.py").write_text("import torch\n\n\nclass Net(torch.nn.Module):\n    pass\n")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        Eager().pack(importlib.import_module("fetched_network").Net(), {}, tmp_path, cpu)
    del sys.modules["fetched_network"]
    words = "No module named 'fetched_network'; the process that serves it does not call load, .* option `pythonpath`"
    with pytest.raises(PreparationError, match=words):
        Eager().load(tmp_path, cpu)


def pack_network_of_a_module(name: str, asks: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pack a network whose module of this name asks torch for something when it is imported."""
    (folder / f"{name}.py").write_text(f"import torch\n\n{asks}\n\n\nclass Net(torch.nn.Module):\n    pass\n")
    monkeypatch.syspath_prepend(folder)
    Eager().pack(importlib.import_module(name).Net(), {}, folder, cpu)


def test_products_stay_float32_whatever_the_networks_module_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that serves it imports it with the network: TF32 and bfloat16 were timed under float32's name."""
    asks = (
        "torch.set_float32_matmul_precision('medium')\ntorch.backends.fp32_precision = 'bf16'\n"
        "torch.backends.mkldnn.conv.fp32_precision = 'bf16'"
    )
    pack_network_of_a_module("hasty_network", asks, tmp_path, monkeypatch)
    assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    Eager().load(tmp_path, cpu)  # as where the suite was imported before
    assert torch.get_float32_matmul_precision() == "highest"
    del sys.modules["hasty_network"]
    Eager().load(tmp_path, cpu)
    assert "hasty_network" in sys.modules
    backends = torch.backends
    found = [backends.cuda.matmul, backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn, backends.cudnn]
    assert [one.fp32_precision for one in found] == ["ieee"] * len(found)
    assert torch.get_float32_matmul_precision() == "highest", "it raises where the settings disagree"
    assert not torch.backends.cudnn.allow_tf32


def test_threads_are_the_hardwares_whatever_the_networks_module_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that serves it imports it with the network, after torch was given its threads."""
    asks = "torch.set_num_threads(torch.get_num_threads() + 1)"
    pack_network_of_a_module("greedy_network", asks, tmp_path, monkeypatch)
    del sys.modules["greedy_network"]
    Eager().load(tmp_path, cpu)
    assert "greedy_network" in sys.modules
    assert torch.get_num_threads() == cpu.threads


def test_packing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Eager().pack(TINY.load(), TINY.inputs(1, 0), tmp_path / name, cpu)
    assert (tmp_path / "a" / "model.pt").read_bytes() == (tmp_path / "b" / "model.pt").read_bytes()


def test_a_network_whose_channels_were_removed_is_loaded_by_another_process(tmp_path: Path) -> None:
    from harness.techniques.prune_channels import _remove_channels

    network = TINY.load()
    _remove_channels(network, 0.5, (torch.zeros(1, 1, 12, 12),))
    session = serve(network.eval(), tmp_path)
    wanted = session.fetch(session(session.stage(TINY.inputs(1, 0))))["output"]
    code = (
        "import sys, numpy as np; from pathlib import Path; from harness.hardware import cpu; "
        "from harness.runtimes.eager import Eager; s = Eager().load(Path(sys.argv[1]), cpu); "
        "x = {'image': np.load(sys.argv[2])}; np.save(sys.argv[3], s.fetch(s(s.stage(x)))['output'])"
    )
    np.save(tmp_path / "x.npy", TINY.inputs(1, 0)["image"])
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(tmp_path / "x.npy"), str(tmp_path / "y.npy")], check=True
    )
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), wanted)
    assert check_technique(pruned_channels(0.5, False), TINY)[1]["parameters"] == 16 * 9 / 2 + 16 * 8 * 9 + 4 * 144


class _Upcast(torch.nn.Module):
    """Holds its weights in bfloat16 and computes in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(12, 12).to(torch.bfloat16)

    def forward(self, x: Any) -> Any:
        return torch.nn.functional.linear(x, self.layer.weight.float(), self.layer.bias.float())


class _Canary:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self._folder),)


def test_the_example_of_an_artefact_is_not_unpickled(tmp_path: Path) -> None:
    folder, canary = tmp_path / "model", tmp_path / "unpickled"
    folder.mkdir()
    write_example(TINY.inputs(1, 0), folder)
    (path,) = folder.iterdir()
    torch.save([_Canary(canary)], path)
    with pytest.raises(pickle.UnpicklingError, match="mkdir"):
        read_example(folder)
    assert not canary.exists()
