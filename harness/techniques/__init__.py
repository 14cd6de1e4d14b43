"""Techniques: functions `Deployment -> Deployment`, composable with `|`. Importing this package imports no torch."""

from harness.techniques.base import Pipeline, Technique, reference, technique
from harness.techniques.batch import batched
from harness.techniques.compile import aotinductor, compiled, onnxruntime, openvino
from harness.techniques.distill import distilled
from harness.techniques.graph import cuda_graph
from harness.techniques.precision import autocast, bf16, fp8, fp16
from harness.techniques.prune import pruned_n_m, pruned_weights
from harness.techniques.prune_channels import pruned_channels
from harness.techniques.prune_heads import pruned_heads
from harness.techniques.prune_layers import pruned_layers
from harness.techniques.quantize import int4_dynamic, int8_dynamic, int8_static
from harness.techniques.tensorrt import tensorrt, tensorrt_rtx
from harness.techniques.to_litert import litert
from harness.techniques.weights import int4_weights, int8_weights

__all__ = [
    "Pipeline",
    "Technique",
    "aotinductor",
    "autocast",
    "batched",
    "bf16",
    "compiled",
    "cuda_graph",
    "distilled",
    "fp8",
    "fp16",
    "int4_dynamic",
    "int4_weights",
    "int8_dynamic",
    "int8_static",
    "int8_weights",
    "litert",
    "onnxruntime",
    "openvino",
    "pruned_channels",
    "pruned_heads",
    "pruned_layers",
    "pruned_n_m",
    "pruned_weights",
    "reference",
    "technique",
    "tensorrt",
    "tensorrt_rtx",
]
