"""CUDA graphs: the kernels of a call, recorded once and launched together."""

from __future__ import annotations

from harness.deployment import Deployment, Promise
from harness.runtimes.cudagraph import CudaGraph
from harness.techniques.base import technique

__all__ = ["cuda_graph"]


@technique(takes="torch", requires=lambda hardware, _: CudaGraph().unavailable(hardware))
def cuda_graph(deployment: Deployment) -> Deployment:
    """The network captured as a CUDA graph, for the served shapes, and replayed.

    Kernels stay as they are; what falls away is the host's work of launching them one by one. So it pays where that
    sets the pace: small networks and small batches. A forward that reads values on the host can't be captured.
    Source: Nguyen et al., Accelerating PyTorch with CUDA Graphs, PyTorch blog, 2021.
    """
    return deployment.replace(runtime=CudaGraph()).promising(
        Promise("runtime", equals="cudagraph"), Promise("cuda_graph", equals=True)
    )
