"""From an ONNX network to a serialized engine of TensorRT. With TensorRT for RTX this needs no GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import PreparationError
from harness.runtimes.base import absent_input
from harness.runtimes.tensorrt_package import log_of

__all__ = ["Shapes", "build_engine", "read_network"]

Shapes = Mapping[str, tuple[list[int], list[int], list[int]]]
"""For each input the least shape, the one to tune for, and the largest."""


def build_engine(trt: Any, network: bytes, shapes: Shapes, timings: bytes = b"") -> tuple[bytes, bytes]:
    """The serialized engine of a strongly typed network, and the timings of kernels that were taken for it.

    timings  those of an earlier build by the same version on the same GPU

    Products of fp32 numbers stay fp32: TensorRT rounds them to TF32 by default. Raises `PreparationError` with what
    TensorRT says where it can't parse the network or finds no kernels.
    """
    log = log_of(trt)
    try:
        builder = trt.Builder(log)
    except (RuntimeError, TypeError) as error:  # pybind11's ways to say that the constructor gave nothing
        raise PreparationError(f"{trt.__name__} can't build here: {error}: {log.said()}") from error
    # The parser holds the weights that the definition points to.
    definition, _parser = read_network(trt, builder, network, log)
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)
    _add_profile(trt, builder, definition, config, shapes)
    cache = _timing_cache(trt, config, timings)
    engine = builder.build_serialized_network(definition, config)
    if engine is None:
        raise PreparationError(f"{trt.__name__} can't build an engine of the network: {log.said()}")
    return bytes(engine), bytes(cache.serialize()) if cache is not None else b""


def read_network(trt: Any, builder: Any, network: bytes, log: Any) -> tuple[Any, Any]:
    """The strongly typed definition of an ONNX network, and the parser, which must live as long as the definition.

    Raises `PreparationError` with the parser's words where it can't be read.
    """
    definition = builder.create_network(_strongly_typed(trt))
    parser = trt.OnnxParser(definition, log)
    if not parser.parse(network):
        errors = "; ".join(parser.get_error(number).desc() for number in range(parser.num_errors))
        raise PreparationError(
            f"{trt.__name__} can't read the network: {errors or log.said()} (quantize and convert after "
            f"{trt.__name__}, which has a recipe of its own: {trt.__name__} | int8_static)"
        )
    return definition, parser


def _strongly_typed(trt: Any) -> int:
    """The flag for `create_network`; TensorRT 11 has no other networks."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _add_profile(trt: Any, builder: Any, definition: Any, config: Any, shapes: Shapes) -> None:
    inputs = [definition.get_input(number) for number in range(definition.num_inputs)]
    dynamic = [tensor for tensor in inputs if -1 in tuple(tensor.shape)]
    absent = [tensor.name for tensor in inputs if tensor.name not in shapes]
    if absent:
        raise absent_input(absent[0], shapes, "the .onnx file")
    if not dynamic:
        return
    profile = builder.create_optimization_profile()
    for tensor in dynamic:
        profile.set_shape(tensor.name, *shapes[tensor.name])
    if config.add_optimization_profile(profile) < 0:
        raise PreparationError(f"{trt.__name__} refuses the shapes {dict(shapes)} for the network")


def _timing_cache(trt: Any, config: Any, timings: bytes) -> Any:
    """The builder's timing cache, filled with what an earlier build learnt, where that is taken; None for RTX, which
    tries no kernels.
    """
    if trt.__name__ == "tensorrt_rtx":
        return None
    cache = config.create_timing_cache(timings)
    if not config.set_timing_cache(cache, False):  # of a GPU that differs in more than its name
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache
