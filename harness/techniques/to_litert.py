"""LiteRT: a torch network becomes a .tflite file for the batch that is served."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

from harness.deployment import Deployment, Promise
from harness.runtimes.litert import LiteRt
from harness.runtimes.packages import missing
from harness.techniques.base import technique

if TYPE_CHECKING:
    from harness.hardware.base import Hardware

__all__ = ["litert"]


def _needs_litert(hardware: Hardware, form: str) -> str | None:
    reason = LiteRt().unavailable(hardware)
    if reason is None and form == "torch":
        reason = missing("litert-torch", "litert_torch")
        if reason and sys.platform == "linux" and platform.machine() == "aarch64":
            # pip refuses all of a line that asks for the extra: litert-torch needs a package that has no wheel there.
            reason = (
                "litert-torch has no converter for Linux on ARM (convert on an x86 machine or a Mac, and give the file "
                'to a Model(form="litert"))'
            )
    return reason


@technique(takes=("torch", "litert"), gives="litert", requires=_needs_litert)
def litert(deployment: Deployment, *, xnnpack: bool = True) -> Deployment:
    """LiteRT: a torch network is converted by litert-torch, for the shapes that are served, and checked.

    The file has the batch that it is converted for, so `batched` goes before. A network that is LiteRT already only
    changes who executes it: XNNPACK, and LiteRT's own kernels for what XNNPACK lacks, or with `xnnpack=False` these
    alone.
    """
    runtime = LiteRt(xnnpack)
    if deployment.form == "torch":
        from harness.techniques.export_litert import convert

        model = deployment.model
        examples = [model.inputs(deployment.batch_size, seed) for seed in range(2)]
        deployment = deployment.replace(network=convert(deployment.network, examples))
    return deployment.replace(runtime=runtime).promising(
        Promise("runtime", equals=runtime.name), Promise("provider", equals=runtime.provider)
    )
