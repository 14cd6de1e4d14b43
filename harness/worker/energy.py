"""The energy pass, in a process of its own, so that waiting and long series of calls disturb no timing.

What a call costs is all that the counter went up while calls were made one after the other, over their number: what
the device draws for being on is in it, as in MLPerf Power (Tschand et al., arXiv 2410.12032), for a call that ends
sooner saves that as well. What it draws when nothing is called is measured just before, and told beside it.
Counters are renewed every millisecond (RAPL) to every tenth of a second (NVML): the time is long against both.
"""

from __future__ import annotations

import time

from harness.hardware.base import Hardware

from .protocol import EnergyMeasured, MeasureEnergy
from .serve import Loading

__all__ = ["measure_energy"]


def measure_energy(request: MeasureEnergy) -> EnergyMeasured:
    """Joules of a call. Raises `MeasurementError`, and `UnavailableError` where the counter can't be read."""
    from harness.hardware.energy import energy_meter

    hardware: Hardware = request.hardware.build()
    loading = Loading(request.folder, request.root, hardware)
    session, staged = loading.session, loading.staged
    for number, value in enumerate(staged):
        loading.check(session(value), number)
    hardware.settle()
    meter = energy_meter(hardware)

    # The clock after the counter, as at the end, so that what a reading takes is in joules and seconds alike.
    before, began = meter.read(), time.perf_counter()
    time.sleep(request.idle_seconds)
    idle = meter.joules(before, meter.read()) / (time.perf_counter() - began)

    calls = 0
    before, began = meter.read(), time.perf_counter()
    while not calls or time.perf_counter() - began < request.seconds:
        for value in staged:
            output = session(value)
        session.fetch(output)  # waits for a device that computes by itself
        calls += len(staged)
    joules, seconds = meter.joules(before, meter.read()), time.perf_counter() - began
    loading.check(output, len(staged) - 1)
    return EnergyMeasured(joules / calls, calls, seconds, joules / seconds, idle, meter.source)
