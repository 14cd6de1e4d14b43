"""Hardware: what it is, whether it is here, and how calls are timed on it."""

from harness.hardware.base import Hardware
from harness.hardware.cpu import Cpu, cpu
from harness.hardware.cuda import Cuda, cuda
from harness.hardware.edge import Edge, edge

__all__ = ["Cpu", "Cuda", "Edge", "Hardware", "cpu", "cuda", "edge"]
