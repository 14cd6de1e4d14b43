"""A package of AOTInductor, made and loaded. Imports torch: import this inside functions only."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree

from harness.errors import PreparationError
from harness.fidelity import beyond
from harness.records import Scalar
from harness.runtimes.aotinductor_source import Source, read_source
from harness.runtimes.base import check_form, decisive
from harness.runtimes.facts import (
    Weight,
    arithmetic_facts,
    is_weight_dtype,
    is_weight_shape,
    weight_facts,
)
from harness.runtimes.inductor import compiler
from harness.runtimes.packages import variable
from harness.runtimes.torch_operators import INTEGER, OperatorTypes, is_product
from harness.runtimes.torch_outputs import with_plain_outputs
from harness.runtimes.torch_session import (
    TorchSession,
    arrays_of,
    as_tensors,
    enter_torch,
    module_weights,
    named_outputs,
)

if TYPE_CHECKING:
    from harness.hardware.base import Hardware
    from harness.runtimes.base import Arrays

__all__ = ["AotInductorSession", "compile_package"]

_PACKAGE = "model.pt2"
_CACHE = "cache"
_PROGRAM = "program.pt2"
_DIGEST = "harness.program"
_INPUTS = "harness.inputs"
CLOSE = 0.05
"""Relative distance (L2) within which the package must agree with the program; bfloat16 fused otherwise gives 0.01."""
_INTEGER_CALLS = ("qlinear", "qconv", "int_mm", "int8")


def compile_package(network: Any, example: Arrays, folder: Path, hardware: Hardware, *, freezing: bool) -> None:
    """Export a network and compile it. Raises `PreparationError` where one fails."""
    # Here, since it imports the compiler, which an arm that loads a package has no use for.
    from harness.runtimes.inductor_session import configure

    device = enter_torch(hardware)
    check_form(network, torch.nn.Module, "AOTInductor", "a torch.nn.Module")
    inputs = as_tensors(example, device)
    network = network.to(device)
    network.eval()
    (folder / _CACHE).mkdir()
    program = folder / _CACHE / _PROGRAM
    with (
        warnings.catch_warnings(),
        torch.no_grad(),
        tempfile.TemporaryDirectory() as kernels,
        variable("TORCHINDUCTOR_CACHE_DIR", kernels),
    ):
        warnings.simplefilter("ignore")  # about the compiler's own use of deprecated functions of torch
        try:
            exported = torch.export.export(with_plain_outputs(network, inputs), inputs)
            torch.export.save(exported, program)
            configure(Path(kernels), freezing=freezing, compiler=compiler())
            torch._inductor.aoti_compile_and_package(
                exported,
                package_path=str(folder / _PACKAGE),
                inductor_configs={
                    "freezing": freezing,
                    # Else a GPU's memory of the weights would be in no counter of torch's.
                    "aot_inductor.weight_use_caching_allocator": True,
                    "aot_inductor.metadata": {_DIGEST: _digest(program), _INPUTS: _described(example)},
                },
            )
        except Exception as error:
            what = str(error).strip().partition("\n")[0]
            raise PreparationError(
                f"the network can't be compiled ahead of time: {type(error).__name__}: {what}; let forward compute "
                "with tensors alone, without ways that depend on their values, or use compiled"
            ) from error


class AotInductorSession(TorchSession):
    """A session whose calls run a shared library."""

    def __init__(self, name: str, folder: Path, device: Any) -> None:
        self._folder = folder
        if device.type == "cuda":
            torch.cuda.init()  # the library takes the memory for its weights from torch's allocator
        # As torch._inductor.aoti_load_package makes it: one runner, safe for threads, on the current device. That also
        # imports the compiler, and has it build and try each instruction set, to warn of another machine's package.
        self._loader = torch._C._aoti.AOTIModelPackageLoader(str(folder / _PACKAGE), "model", False, 1, -1)
        # A call of the package reads the structure of its outputs anew from text, each time.
        structure = _pytree.treespec_loads(self._loader.get_call_spec()[1])
        run = self._loader.boxed_run

        def function(*inputs: Any) -> Any:
            return _pytree.tree_unflatten(run(list(inputs)), structure)

        super().__init__(name, None, function, device)

    def stage(self, inputs: Arrays) -> tuple[Any, ...]:
        """The inputs on the device. Raises `PreparationError` for others than those that the package is for.

        The library itself does not look: it would read beyond the end of smaller ones, and take a part of larger ones.
        """
        wanted, given = self._loader.get_metadata().get(_INPUTS), _described(inputs)
        if given != wanted:
            raise PreparationError(
                f"the package is for inputs of {wanted}, and the call gives {given}; AOTInductor compiles for one "
                "shape, so let Model.evaluate pass inputs as Model.inputs gives them (padded to one length), or use "
                "compiled, which compiles for each shape that it meets"
            )
        return super().stage(inputs)

    def facts(self, example: Arrays) -> dict[str, Scalar]:
        """What the package's own source says; what it can't tell is read from the program, by a call of it.

        From the package: types and sizes of the weights, and the kernels for integers. From the program: zeros, and in
        which types the other products compute, which the compiler keeps. Raises `PreparationError` where the two give
        other outputs, which an example that the compiler has not seen shows.
        """
        module, staged = self._program().module(), self.stage(example)
        with warnings.catch_warnings(), torch.no_grad(), OperatorTypes() as operators:
            warnings.simplefilter("ignore")
            wanted = named_outputs(module(*staged))
        _check(named_outputs(self(staged)), wanted)
        source = read_source(self._folder / _PACKAGE)
        weights = held = module_weights(module)
        integers = operators.products.count(INTEGER)
        products = list(operators.products)
        if source is not None:
            weights = _packed_weights(source, held)
            calls = [call for call in source.calls if is_product(call)]
            integers = sum(any(word in call for word in _INTEGER_CALLS) for call in calls)
            others = [dtype for dtype in products if dtype != INTEGER]
            products = [INTEGER] * integers + others[: max(len(operators.products) - integers, 0)]
        # What the package holds more than the program are copies, as of a table that is looked up, and packed for a
        # product as well.
        parameters = min(sum(weight.elements for weight in each) for each in (weights, held))
        return {
            "runtime": self._name,
            "provider": self._loader.get_metadata()["AOTI_DEVICE_KEY"],
            **weight_facts(_with_patterns(weights, held)),
            "parameters": parameters,
            **arithmetic_facts(products, operators.others),
            "nodes.quantized": integers,
            "graphs": 1,
        }

    def _program(self) -> Any:
        """The program beside the package. Raises `PreparationError` where the package is of another one."""
        path = self._folder / _CACHE / _PROGRAM
        if _digest(path) != self._loader.get_metadata().get(_DIGEST):
            raise PreparationError(
                f"{_PACKAGE} was compiled from another program than the one in {_CACHE}/; prepare the artefact anew "
                "(--cold)"
            )
        return torch.export.load(path)


def _packed_weights(source: Source, weights: list[Weight]) -> list[Weight]:
    """The weights as the package holds them, with the zeros that the program has, as a share."""
    total = sum(weight.elements for weight in weights)
    share = sum(weight.zeros for weight in weights) / total if total else 0.0
    found = []
    for constant in source.constants:
        if is_weight_shape(constant.shape) and is_weight_dtype(constant.dtype):
            elements = torch.Size(constant.shape).numel()
            found.append(Weight(constant.dtype, elements, round(share * elements)))
    return found


def _with_patterns(weights: list[Weight], held: list[Weight]) -> list[Weight]:
    """The weights with the patterns that those of the program have in its products, as shares."""
    multiplied = [weight for weight in held if weight.patterns is not None]
    total = sum(weight.elements for weight in multiplied)
    kept = Counter[str]()
    for weight in multiplied:
        kept.update(weight.patterns or {})
    if not total:
        return weights
    return [
        dataclasses.replace(one, patterns={name: round(count / total * one.elements) for name, count in kept.items()})
        for one in weights
    ]


def _check(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Hold the outputs of the package against those of the program."""
    given = arrays_of(found)
    for name, expected in decisive(arrays_of(wanted)).items():
        if error := beyond(given[name], expected, CLOSE):
            raise PreparationError(
                f"the compiled package gives {name} {error:.2g} (relative) away from the exported program's; the limit "
                f"is {CLOSE}"
            )


def _described(inputs: Arrays) -> str:
    """Types and shapes of inputs in their order, which is how a torch network gets them: `float32 [8, 3]`."""
    return ", ".join(f"{array.dtype} {list(array.shape)}" for array in inputs.values())


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
