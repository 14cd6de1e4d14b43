"""From a torch module to an ONNX network that computes the same."""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import PreparationError
from harness.fidelity import beyond
from harness.runtimes.base import decisive
from harness.runtimes.packages import missing
from harness.signatures import signature_of

if TYPE_CHECKING:
    import numpy as np

    from harness.deployment import Deployment

    Arrays = Mapping[str, "np.ndarray[Any, Any]"]

__all__ = ["check_output", "dynamic_shapes", "export", "exported", "tolerance_of", "unavailable"]

OPSET = 18
"""The oldest opset that is accepted: layer normalisation came with 17, quantization per channel with 13."""

TOLERANCE = {"float32": 1e-3, "float16": 3e-2, "bfloat16": 0.1}
"""Relative L2 distance of the exported network's outputs from torch's, by the least precise type of the weights, or of
the products under `autocast`.

Exports that were right came within 1e-5 in float32; a lost layer or a wrong constant gives 0.1 and more. What is
bfloat16 is run in float32, and differs by what torch rounds between the layers.
"""


def unavailable(form: str) -> str | None:
    """Why a network of this form can't be made ONNX here, and the cure; None where it can, or is ONNX already."""
    return missing("onnx", "onnx", "onnxruntime", *(("onnxscript",) if form == "torch" else ()))


def exported(deployment: Deployment) -> Deployment:
    """The deployment with its torch network exported, for a batch of any size where the model has one.

    One whose network is ONNX already stays as it is. Where the exporter stores more weights than the network has, as
    the transposed copy of a small table that is looked up too, earlier promises allow it.
    """
    if deployment.form != "torch":
        return deployment
    from harness.runtimes.onnx_graph import elements
    from harness.runtimes.torch_session import elements as elements_of_module

    model = deployment.model
    sizes = (2, 1, deployment.batch_size) if model.batchable else (deployment.batch_size,)
    examples = [model.inputs(size, seed) for seed, size in enumerate(dict.fromkeys(sizes))]
    network = export(deployment.network, examples, batchable=model.batchable)
    return deployment.allowing(elements_of_module(deployment.network), elements(network)).replace(network=network)


def export(network: Any, examples: Sequence[Arrays], *, batchable: bool) -> Any:
    """The `onnx.ModelProto` of a module, checked against it in ONNX Runtime on every example.

    examples   batches of inputs, name -> array. The first one is traced and gives the inputs their names.
    batchable  make the first axis of every input and output of any length. The first example must then hold two items
               or more, since a tracer takes an axis of length one for a constant.

    Raises `PreparationError` where an output has the name of an input or is complex, and where the export fails, keeps
    the batch fixed, or computes something else.
    """
    import torch
    from onnx_ir.passes.common import NameFixPass

    from harness.runtimes.torch_session import arrays_of, as_tensors, kept_outputs

    network.eval()
    staged = [as_tensors(example) for example in examples]
    with torch.inference_mode():
        wanted = [kept_outputs(network(*inputs)) for inputs in staged]
    names = list(wanted[0])
    if both := [name for name in names if name in examples[0]]:
        raise PreparationError(
            f"{', '.join(both)}: the same name for an input and an output, and an ONNX network has each name once; let "
            "forward name its output otherwise, or the Model its input, which a torch network gets by position"
        )
    if unreal := [name for name, tensor in wanted[0].items() if tensor.is_complex()]:
        raise PreparationError(
            f"{', '.join(unreal)}: complex numbers, and ONNX Runtime gives none; let forward give torch.view_as_real "
            "of them, which the reference and every case then give alike"
        )
    # The exporter reports its stages on standard output, and warns about functions of its own that are deprecated.
    chatter = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(chatter):
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                network,
                staged[0],
                dynamo=True,
                input_names=list(examples[0]),
                output_names=names,
                dynamic_shapes=dynamic_shapes(network, staged[0]) if batchable else None,
                verbose=False,
            )
        except Exception as error:
            # The outer message is pages of general advice; the reason is the cause of its causes.
            reason: BaseException = error
            while reason.__cause__ is not None:
                reason = reason.__cause__
            # The network itself has run above, so what can't be imported is the exporter's.
            cure = " (pip install --upgrade onnxscript onnx-ir)" if isinstance(reason, ImportError) else ""
            raise PreparationError(f"torch.onnx.export failed: {type(reason).__name__}: {reason}{cure}") from error
    # The exporter names inputs and outputs last: what is inside may have the same name, and gets another.
    NameFixPass()(program.model)
    model = program.model_proto
    _without_origins(model)
    _narrow_folded(model, network)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < OPSET:
        raise PreparationError(f"the exporter wrote opset {opset}; {OPSET} or newer is needed (upgrade torch)")
    _check(
        model,
        examples,
        [arrays_of(outputs) for outputs in wanted],
        tolerance_of(network),
        batchable=batchable,
    )
    return model


def dynamic_shapes(network: Any, inputs: tuple[Any, ...]) -> dict[str, Any]:
    """The first axis of every input as one symbol, in the structure of the arguments of `forward`."""
    import torch

    axis = {0: torch.export.Dim("batch")}
    signature = signature_of(network.forward)
    shapes: dict[str, Any] = {}
    for name, value in signature.bind(*inputs).arguments.items():
        several = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
        shapes[name] = tuple(axis for _ in value) if several else axis
    return shapes


def _without_origins(model: Any) -> None:
    """Drop the notes about where each node came from: they name files of this machine, and outweigh small networks."""
    from harness.runtimes.onnx_graph import nodes

    graph = model.graph
    for entry in (graph, *nodes(graph), *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        del entry.metadata_props[:]
        entry.doc_string = ""


def _narrow_folded(model: Any, network: Any) -> None:
    """Give weights of a bfloat16 network that type again.

    The exporter folds a normalisation into the convolution before it, in float32, and leaves the weights so: beside an
    input in bfloat16 that is no valid network.
    """
    import torch
    from onnx import TensorProto, helper, numpy_helper

    from harness.runtimes.onnx_graph import constants

    if {parameter.dtype for parameter in network.parameters()} != {torch.bfloat16}:
        return
    narrow = helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16)
    for constant in constants(model.graph):
        folded = any(node.op_type in ("Conv", "ConvTranspose", "Gemm") for node, _ in constant.readers)
        if folded and constant.tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(constant.tensor).astype(narrow)
            constant.tensor.CopyFrom(numpy_helper.from_array(values, constant.tensor.name))


def tolerance_of(network: Any) -> float:
    """How far an exported module may be off: what `TOLERANCE` says of the least precise type that it computes in."""
    from harness.techniques.torch_modules import AutocastNetwork

    casts = [part.dtype for part in network.modules() if isinstance(part, AutocastNetwork)]
    types = {str(dtype).removeprefix("torch.") for dtype in (*casts, *(one.dtype for one in network.parameters()))}
    return max((TOLERANCE[name] for name in types if name in TOLERANCE), default=TOLERANCE["float32"])


def _in_float32(model: Any) -> Any:
    """A network that computes in float32 with the weights that bfloat16 has rounded, since ONNX Runtime's CPU provider
    has no kernels to run it otherwise; the network itself where nothing of it is bfloat16.
    """
    from onnx import TensorProto, numpy_helper

    if not any(_in_bfloat16(model.graph)):
        return model
    model = copy.deepcopy(model)
    tensors, casts = _in_bfloat16(model.graph)
    for tensor in tensors:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float32"), tensor.name))
    for attribute in casts:
        attribute.i = TensorProto.FLOAT
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.BFLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    return model


def _in_bfloat16(graph: Any) -> tuple[list[Any], list[Any]]:
    """The constants of a graph in bfloat16, and the attributes of its nodes that ask for the type."""
    from onnx import TensorProto

    from harness.runtimes.onnx_graph import constants, nodes

    attributes = (attribute for node in nodes(graph) for attribute in node.attribute)
    return (
        [constant.tensor for constant in constants(graph) if constant.tensor.data_type == TensorProto.BFLOAT16],
        [one for one in attributes if one.name in ("to", "dtype") and one.i == TensorProto.BFLOAT16],
    )


def _check(
    model: Any, examples: Sequence[Arrays], wanted: Sequence[Arrays], tolerance: float, *, batchable: bool
) -> None:
    import onnxruntime as ort

    from harness.runtimes.onnx_graph import check_size

    options = ort.SessionOptions()
    options.log_severity_level = 3
    runnable = _in_float32(model)
    check_size(runnable)
    try:
        session = ort.InferenceSession(runnable.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = [session.run(list(wanted[0]), dict(example)) for example in examples]
    except Exception as error:
        raise PreparationError(f"ONNX Runtime can't run the exported network: {error}") from error
    for arrays, outputs in zip(found, wanted, strict=True):
        given = dict(zip(outputs, arrays, strict=True))
        for name, array in given.items():
            expected = outputs[name]
            if array.shape != expected.shape:
                fixed = batchable and array.shape[:1] != expected.shape[:1]
                why = (
                    "its batch axis did not stay variable"
                    if fixed
                    else "its length depends on the values of the inputs; let the network end before it selects (NMS)"
                )
                raise PreparationError(
                    f"the exported network gives {name} the shape {list(array.shape)} instead of "
                    f"{list(expected.shape)}: {why}"
                )
        for name, array in decisive(given).items():
            check_output(name, array, outputs[name], tolerance)


def check_output(name: str, found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], tolerance: float) -> None:
    """Raise `PreparationError` where an output is further than `tolerance` (relative L2) from torch's.

    Whole numbers pass also where no more than that share of them are others: of two classes that are as near as numbers
    are rounded either one may be the largest, and the distance is that of their numbers.
    """
    import numpy as np

    error = beyond(found, wanted, tolerance)
    if not error:
        return
    if wanted.dtype.kind in "iub":
        share = np.count_nonzero(found != wanted) / wanted.size
        if share > tolerance:
            raise PreparationError(
                f"the exported network gives {name} with {share:.2g} of its whole numbers other than torch's; the "
                f"limit is {tolerance}"
            )
        return
    raise PreparationError(
        f"the exported network gives {name} {error:.2g} (relative) away from torch's; the limit is {tolerance}"
    )
