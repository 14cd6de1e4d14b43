"""How steadily this machine computes: the anchor workload, timed as a case is timed."""

from __future__ import annotations

import random
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.disturbance import STEAL, disturbances
from harness.hardware import cpu
from harness.measure.environment import PressureMeter
from harness.measure.launch import ArmSpec, launch
from harness.measure.tree import Tree
from harness.plan import Plan
from harness.units import percent, quantity

__all__ = ["Noise", "measure_noise"]

BUSY_PRESSURE = 0.05
"""Quiet machines were seen at 0 to 2 %, disturbed ones at 38 to 52 %."""
RESTLESS_PAIRED = 0.03
"""Launches of identical work were seen to differ by about 1 % (standard deviation) where a second was sampled."""


@dataclass(frozen=True)
class Noise:
    """Two processes did the same work in turns for `seconds`.

    call       median seconds of a call
    spread     standard deviation over mean of the calls of one process
    paired     how far the ratio of the two processes' times is from 1: what noise is left where arms take turns
    pressure   share of the time in which some task waited for a CPU, None where the kernel does not tell
    steal      share of processor time that the hypervisor gave to others, None where the kernel does not tell
    disturbed  what would make a run take this launch for a disturbed one, in words
    """

    seconds: float
    call: float
    spread: float
    paired: float
    pressure: float | None
    steal: float | None
    disturbed: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What was found, in sentences, and what to do about it."""
        found = [
            f"a call of the anchor workload takes {quantity(self.call, 's')}; its times spread by "
            f"{percent(self.spread, sign=False)} (standard deviation)",
            f"two processes doing the same work in turns differ by {percent(self.paired, sign=False)}",
        ]
        if self.pressure is not None:
            found.append(f"some task waited for a CPU in {percent(self.pressure, sign=False)} of the time")
        else:
            found.append("whether tasks wait for a CPU is not told by this kernel (boot with psi=1)")
        if self.steal is not None:
            found.append(f"the hypervisor gave {percent(self.steal, sign=False)} of the processors to others")
        return [*found, self.advice]

    @property
    def advice(self) -> str:
        """One sentence on whether to measure now."""
        if self.pressure is not None and self.pressure > BUSY_PRESSURE:
            return "busy: other programs compete for the processor; end them, or expect inconclusive verdicts"
        if self.steal is not None and self.steal > STEAL:
            return (
                "busy: the hypervisor gives the processor to others; take a machine of your own, or expect "
                "inconclusive verdicts"
            )
        if self.disturbed:
            return f"restless: {', '.join(self.disturbed)}; expect launches to be repeated, and inconclusive verdicts"
        if self.paired > RESTLESS_PAIRED:
            return (
                "restless: equal work takes different times although nothing is seen to wait, as on a shared or "
                "throttled host"
            )
        if self.pressure is None:
            return "quiet, as far as this kernel tells"
        return "quiet: good to measure on"


def measure_noise(seconds: float = 2.0) -> Noise:
    """Let two anchor processes take turns, pinned to the same core. Raises `MeasurementError`."""
    meter = PressureMeter()
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        anchor = ArmSpec(Tree(Path(folder)))
        result = launch(
            {"candidate": anchor, "anchor": anchor},
            hardware=cpu,
            plan=Plan(seconds=seconds),
            rng=random.Random(0),
            logs=Path(folder),
            phase="doctor",
        )
    times = result.samples["candidate"]
    return Noise(
        seconds=seconds,
        call=statistics.median(times),
        spread=statistics.pstdev(times) / statistics.fmean(times),
        paired=abs((result.anchored or 0.0) - 1),
        pressure=result.pressure,
        steal=meter.steal(),
        disturbed=disturbances(result),
    )
