"""Mixed precision: layers by name or by what they cost stay in float, and the costs are told."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness import Deployment, Evaluation, Model, PreparationError, SuiteError
from harness.hardware import cpu
from harness.runtimes.onnxruntime import OnnxRuntime
from harness.runtimes.predictor import Predictor
from harness.sensitivity import _of_onnx, sensitivity
from harness.techniques import compiled, int8_dynamic, int8_static, onnxruntime
from harness.techniques.base import Technique
from harness.techniques.mixed import LayerCost, Probe, _search
from harness.techniques.quantize_onnx import Layer
from harness.testing import check_technique, tiny_torch_model


@pytest.fixture
def outliers(onnx_model: Model) -> Model:
    """The tiny network with a layer before it, and activations between its two, of which one range can't be held.

    Quantizing `turn` alone costs little; quantizing `features` or `classes` costs the accuracy.
    """

    def load() -> Path:
        import onnx
        from onnx import helper, numpy_helper

        path: Path = onnx_model.load()
        network = onnx.load(str(path))
        arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in network.graph.initializer}
        turn = np.linalg.qr(np.random.default_rng(0).standard_normal((144, 144)))[0].astype(np.float32)
        sizes = np.where(np.arange(48) % 8 == 0, 1e5, 1).astype(np.float32)
        arrays |= {
            "turn_weight": turn,
            "first": turn.T @ arrays["first"] * sizes,
            "second": arrays["second"] / sizes[:, None],
        }
        del network.graph.initializer[:]
        network.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
        network.graph.node.insert(1, helper.make_node("MatMul", ["flat", "turn_weight"], ["turned"], name="turn"))
        network.graph.node[2].input[0] = "turned"
        onnx.save(network, str(path))
        return path

    return dataclasses.replace(onnx_model, name="outliers", load=load)


def applied(technique: Technique, model: Model, folder: Path) -> Deployment:
    import onnx

    network = onnx.load(str(model.load()))
    return technique.apply(Deployment(model, network, OnnxRuntime(), cpu, folder))


@pytest.mark.parametrize("technique", [int8_static, int8_dynamic])
@pytest.mark.parametrize("keep", ["classes*", ["clas*"]])
def test_what_keep_names_stays_in_float(technique: Technique, keep: Any, onnx_model: Model) -> None:
    evidence, facts = check_technique(technique(keep=keep), onnx_model)
    assert facts["weights.float32"] == pytest.approx(4 / 148)
    assert facts["nodes.quantized"] == 1
    assert "weights.float32 >= 0.027" in [item.promise for item in evidence]


def test_a_type_of_operator_can_be_kept() -> None:
    _, facts = check_technique(onnxruntime | int8_static(keep="Conv"), tiny_torch_model())
    assert facts["precision"] == "float32+int8"
    assert facts["quantized"] == pytest.approx(1152 / (16 * 9 + 32 * 16 * 9 + 1152))


def test_what_keep_names_must_be_there_and_must_not_be_all(onnx_model: Model) -> None:
    with pytest.raises(
        SuiteError, match=r"keep='layer7' names no node of the network; there are .*features, .*classes"
    ):
        check_technique(int8_static(keep="layer7"), onnx_model)
    with pytest.raises(PreparationError, match="keep leaves nothing to quantize"):
        check_technique(int8_static(keep="*"), onnx_model)


def test_a_quantizer_that_ignores_keep_breaks_the_promise(onnx_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxruntime import quantization

    real: Callable[..., None] = quantization.quantize_static

    @functools.wraps(real)
    def ignoring(*args: Any, nodes_to_exclude: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)

    monkeypatch.setattr(quantization, "quantize_static", ignoring)
    with pytest.raises(AssertionError, match=r"promised weights\.float32 >= 0\.027"):
        check_technique(int8_static(keep="classes"), onnx_model)


def test_the_most_costly_layers_stay_in_float_until_the_accuracy_holds(outliers: Model, tmp_path: Path) -> None:
    plain = applied(int8_static, outliers, tmp_path)
    assert Probe(applied(int8_static(max_drop=0.99), outliers, tmp_path)).accuracy < 0.8
    assert plain.notes == {}
    deployment = applied(int8_static(max_drop=0.02), outliers, tmp_path)
    assert set(str(deployment.notes["kept"]).split(", ")) >= {"features", "classes"}
    assert "turn" not in str(deployment.notes["kept"]).split(", ")
    assert float(deployment.notes["kept.drop"]) <= 0.02
    assert Probe(deployment).accuracy > 0.9


def test_a_type_without_weights_that_leaves_no_number_costs_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that changes nothing when it is quantized is no layer that could be kept."""
    wanted = np.ones(4, np.float32)
    outputs = {"fc": wanted * 1.01, "Where": wanted * np.nan, "Reshape": wanted}
    quantizer: Any = SimpleNamespace(
        layers={name: Layer(name, name, (name,), 8 if name == "fc" else 0) for name in outputs},
        network=lambda only: outputs[only[0]],
    )
    monkeypatch.setattr(Probe, "_outputs", lambda self, network: {"output": network})
    probe = Probe.__new__(Probe)
    probe._wanted = {"output": wanted}
    assert [cost.layer.name for cost in probe.costs(quantizer)] == ["Where", "fc"]


def test_outputs_of_no_fixed_count_rank_no_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numpy's error ended it, or one number was held against all."""
    monkeypatch.setattr(Probe, "_outputs", lambda self, network: network)
    probe = Probe.__new__(Probe)
    probe._wanted = {"labels": np.ones(255, np.int64), "boxes": np.ones(1530, np.float32)}
    words = r"gives boxes with 1,512 numbers where the float network gives 1,530, .* with keep=\.\.\., or let the"
    with pytest.raises(PreparationError, match=words):
        probe.sqnr({"labels": np.ones(252, np.int64), "boxes": np.ones(1512, np.float32)})
    labels = {"labels": np.full(255, 7), "boxes": np.full(1530, 1.1, np.float32)}
    assert probe.sqnr(labels) == pytest.approx(20, abs=0.01), "labels have no size of which a difference is a share"
    probe._wanted = {"labels": np.ones(4, np.int64)}
    assert probe.sqnr({"labels": np.array([1, 1, 1, 3])}) == pytest.approx(0), "there is nothing else"


def test_a_layer_with_weights_stays_quantized_where_a_type_without_any_costs_less() -> None:
    """With all weights in float nothing would be quantized, and the error spoke of a `keep` that nobody wrote."""
    elements = {"first": 8, "second": 8, "Clip": 0}
    costs = [LayerCost(Layer(name, name, (name,), size), sqnr=i) for i, (name, size) in enumerate(elements.items())]
    quantizer: Any = SimpleNamespace(network=lambda kept: kept, takes=lambda names: names != ("Clip",))

    def search(*cured: str) -> tuple[str, ...]:
        drop = lambda kept: 0.0 if {*cured} <= {*kept} else 0.5  # noqa: E731
        probe: Any = SimpleNamespace(costs=lambda *_: [*costs], drop=drop)
        return _search(probe, quantizer, (), 0.01, 0.5, "int8_static")[0]

    assert search("first") == ("first",)
    assert search("Clip") == ("first", "Clip")
    with pytest.raises(PreparationError, match="with all but second left in float still by"):
        search("second")


def test_nothing_is_kept_where_nothing_is_lost(onnx_model: Model, tmp_path: Path) -> None:
    deployment = applied(int8_static(max_drop=0.02), onnx_model, tmp_path)
    assert deployment.notes["kept"] == ""
    assert deployment.notes["kept.drop"] <= 0.02


@pytest.mark.parametrize(
    ("drop", "searched"), [(math.nan, True), (0.988 - 0.978, False)], ids=["no number", "exactly the limit"]
)
def test_a_drop_that_is_no_number_is_searched_for_and_one_of_exactly_the_limit_is_kept(
    onnx_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drop: float, searched: bool
) -> None:
    """No comparison with NaN holds: it passed. The other one is more than 0.01 by its rounding alone."""
    drops = iter([drop])
    monkeypatch.setattr(Probe, "drop", lambda self, network: next(drops, 0.0))
    deployment = applied(int8_static(max_drop=0.01), onnx_model, tmp_path)
    assert bool(deployment.notes["kept"]) is searched
    assert deployment.notes["kept.drop"] == (0.0 if searched else drop)


class Answering:
    """A session that gives one array whatever it is asked."""

    def __init__(self, output: Any) -> None:
        self._output = output

    def stage(self, inputs: Any) -> Any:
        return inputs

    def __call__(self, staged: Any) -> Any:
        return staged

    def fetch(self, called: Any) -> dict[str, Any]:
        return {"output": self._output}


@pytest.mark.parametrize("raises", [False, True], ids=["gives NaN", "fails"])
def test_a_network_whose_outputs_are_no_numbers_loses_all(monkeypatch: pytest.MonkeyPatch, raises: bool) -> None:
    """The first had a drop that was kept, and scikit-learn's metrics, which fail on NaN, ended the search."""

    def evaluate(predict: Any) -> Evaluation:
        found = predict({"x": np.ones((4, 1), np.float32)})["output"]
        if raises and (np.isnan(found).any() or found.max() > 1):
            raise ValueError("Input contains NaN.")
        return Evaluation(float(found.mean()), np.ones(4), "data")

    monkeypatch.setattr(Probe, "_session", lambda self, network: Answering(network))
    probe, model = Probe.__new__(Probe), SimpleNamespace(evaluate=evaluate, batchable=False)
    probe._deployment = SimpleNamespace(model=model, batch_size=1)  # type: ignore[assignment]
    probe.accuracy = 0.75
    assert probe.drop(np.full(4, 0.5)) == 0.25
    assert probe.drop(np.full(4, np.nan)) == 0.75
    if raises:
        with pytest.raises(ValueError, match="Input contains"):  # of an evaluation that fails for its own reasons
            probe.drop(np.full(4, 2.0))


def test_an_evaluation_that_samples_finds_no_drop_between_a_network_and_itself(
    onnx_model: Model, tmp_path: Path
) -> None:
    def sampled(predict: Any) -> Evaluation:
        return Evaluation(np.random.random(), np.ones(4), "sampled")

    deployment = applied(int8_static, dataclasses.replace(onnx_model, evaluate=sampled), tmp_path)
    assert Probe(deployment).drop(deployment.network) == 0


def test_no_output_of_an_evaluation_is_kept_for_its_value(
    onnx_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Predictor] = []

    class Watched(Predictor):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr("harness.techniques.mixed.Predictor", Watched)
    Probe(applied(int8_static, onnx_model, tmp_path))
    assert made[-1].elements == {"output": 200 * 4}
    assert made[-1].outputs()["output"].size == 0


def test_an_accuracy_that_can_not_be_kept_is_told(
    onnx_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Probe, "drop", lambda self, network: 0.5)
    with pytest.raises(PreparationError, match=r"within 0\.01: with everything .* falls by 0\.5000, and with "):
        applied(int8_static(max_drop=0.01), onnx_model, tmp_path)
    with pytest.raises(SuiteError, match=r"max_drop=1\.5"):
        applied(int8_static(max_drop=1.5), onnx_model, tmp_path)


def test_sensitivity_puts_the_costly_layers_first(outliers: Model) -> None:
    said: list[str] = []
    found = sensitivity(outliers, evaluated=2, say=said.append)
    names = [cost.layer.name for cost in found.layers]
    assert set(names) >= {"turn", "features", "classes"}
    assert names.index("turn") > max(names.index("features"), names.index("classes"))
    assert [cost.drop is not None for cost in found.layers] == [True, True] + [False] * (len(names) - 2)
    assert [cost.sqnr for cost in found.layers] == sorted(cost.sqnr for cost in found.layers)
    assert found.drop > 0.1
    assert found.accuracy > 0.9
    assert any("layer 1 of " in sentence for sentence in said)


def test_sensitivity_draws_what_a_case_draws(onnx_model: Model) -> None:
    """Each call had weights of its own where load draws them, and other calibration data than the technique."""
    asked: list[str] = []

    def load() -> Path:
        import onnx
        from onnx import numpy_helper

        path: Path = onnx_model.load()
        network = onnx.load(str(path))
        drawn = np.random.standard_normal((48, 4)).astype(np.float32)
        network.graph.initializer[1].CopyFrom(numpy_helper.from_array(drawn, "second"))
        onnx.save(network, str(path))
        return path

    def calibration() -> Any:
        asked.append("calibration")
        return onnx_model.calibration() if onnx_model.calibration else []

    def evaluate(predict: Any) -> Evaluation:
        asked.append("evaluation")
        return onnx_model.evaluate(predict)

    model = dataclasses.replace(onnx_model, load=load, calibration=calibration, evaluate=evaluate)
    found = []
    for seed in (1, 2):
        np.random.seed(seed)
        found.append(sensitivity(model, evaluated=0).sqnr)
    assert found[0] == pytest.approx(found[1])
    assert asked == ["calibration", "evaluation", "evaluation"] * 2


def test_sensitivity_exports_a_torch_model(tmp_path: Path) -> None:
    found = sensitivity(tiny_torch_model(), int8_dynamic(ops=["MatMul", "Conv"]), evaluated=0)
    assert sorted(cost.layer.elements for cost in found.layers) == [144, 1152, 4608]
    assert all(20 < cost.sqnr < 80 for cost in found.layers)


def test_sensitivity_is_of_quantization_alone(onnx_model: Model) -> None:
    with pytest.raises(SuiteError, match="the sensitivity of compiled"):
        sensitivity(tiny_torch_model(), compiled)
    with pytest.raises(SuiteError, match="calibration"):
        sensitivity(dataclasses.replace(onnx_model, calibration=None))
    with pytest.raises(PreparationError, match=r"Model\.calibration of tiny_onnx gives no batches"):
        sensitivity(dataclasses.replace(onnx_model, calibration=lambda: []), int8_static)


@pytest.mark.parametrize(
    ("technique", "words"),
    [
        (int8_static(transformer=False), "of int8_static:transformer-False .* as ONNX here, .* no transformer; leave"),
        (int8_static("histogram"), "of int8_static:histogram .* as ONNX here, .* no method 'histogram'; use minmax"),
    ],
    ids=lambda value: getattr(value, "id", ""),
)
def test_what_other_networks_alone_have_is_refused_before_anything_is_computed(
    technique: Technique, words: str
) -> None:
    model = dataclasses.replace(tiny_torch_model(), load=lambda: pytest.fail("it was loaded"))
    with pytest.raises(SuiteError, match=words):
        sensitivity(model, technique)


def test_a_parameter_that_says_nothing_is_of_no_other_network() -> None:
    assert _of_onnx(int8_static("entropy", transformer=None, keep="fc")) == {"method": "entropy", "keep": "fc"}
