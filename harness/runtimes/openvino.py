"""OpenVINO on CPUs, in the precision that was asked for and no other."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from harness.errors import SuiteError
from harness.hardware.cpu import instruction_sets
from harness.runtimes.base import check_form
from harness.runtimes.packages import missing, variable

if TYPE_CHECKING:
    from harness.hardware.base import Hardware
    from harness.runtimes.base import Arrays
    from harness.runtimes.openvino_session import OpenVinoSession

__all__ = ["PRECISIONS", "OpenVino"]

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
"""What to compute in, with OpenVINO's names for it."""
_BFLOAT16 = ("avx512_bf16", "amx_bf16")
_FILE = "model.xml"


@dataclass(frozen=True)
class OpenVino:
    """An OpenVINO network, an `openvino.Model`, compiled for the shapes that are served when it is loaded.

    precision  in which what is not quantized computes: `float32` or `bfloat16`. It is always set, since OpenVINO's own
               choice is bfloat16 wherever the CPU has it.
    fusing     let OpenVINO fuse chains of operations into code that it generates (its Snippets)

    What is fused is checked when the network is packed, against the same network without: of OpenVINO 2026.4, the code
    for two quantized linear layers with a ReLU between them gives zeros on CPUs with AVX512.
    """

    precision: str = "float32"
    fusing: bool = True

    name = "openvino"
    form = "openvino"
    computes = MappingProxyType({"cpu": ("float32", "bfloat16", "int8")})

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise SuiteError(f"OpenVINO has no precision {self.precision!r} here; use {' or '.join(PRECISIONS)}")

    def unavailable(self, hardware: Hardware) -> str | None:
        if hardware.describe()["kind"] != "cpu":
            return f"OpenVINO runs on CPUs here, and {hardware.name} is none (put cpu on the hardware axis)"
        if self.precision == "bfloat16" and not {*_BFLOAT16} & {*instruction_sets()}:
            return (
                f"this CPU has no arithmetic in bfloat16 ({' or '.join(_BFLOAT16)}), and OpenVINO would emulate it "
                "(leave the precision at float32, or use another machine)"
            )
        return missing("openvino", "openvino")

    def pack(self, network: Any, example: Arrays, folder: Path, hardware: Hardware) -> None:
        """Write the network as `model.xml` and `model.bin`, in its own types and for the shapes of `example`.

        Raises `PreparationError` for a network that is no `openvino.Model`, for shapes that it does not take, and where
        fusing changes what it computes.
        """
        import openvino

        from harness.runtimes.openvino_session import check_fusing, shaped

        check_form(network, openvino.Model, "OpenVINO", "an openvino.Model")
        openvino.save_model(shaped(network, example), folder / _FILE, compress_to_fp16=False)
        if self.fusing:
            plain = dataclasses.replace(self, fusing=False)
            check_fusing(self.load(folder, hardware), plain.load(folder, hardware), example)

    def load(self, folder: Path, hardware: Hardware) -> OpenVinoSession:
        """Compile the network. Raises `PreparationError` where OpenVINO refuses it, and `MeasurementError` (outcome
        `invalid`) where it takes other threads or another precision than it was told.
        """
        # At each call oneTBB would give the calling thread the cores that this process had when it was loaded, whatever
        # it has been pinned to since. It does so by hwloc, which pins nothing on what it is told is another machine.
        with variable("HWLOC_THISSYSTEM", "0"):
            from harness.runtimes.openvino_session import OpenVinoSession

            threads = int(hardware.describe().get("threads", 1))
            return OpenVinoSession(
                folder / _FILE, precision=PRECISIONS[self.precision], threads=threads, fusing=self.fusing
            )
