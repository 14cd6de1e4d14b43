"""Hardware: what it is, whether it is here, and how calls are timed on it."""

from harness.hardware.base import Hardware
from harness.hardware.cpu import Cpu, cpu
from harness.hardware.cuda import Cuda, cuda

__all__ = ["Cpu", "Cuda", "Hardware", "cpu", "cuda"]
