"""What disturbed a launch, in words, from its record: other work, the hypervisor, a throttled or shared device."""

from __future__ import annotations

from collections.abc import Sequence

from harness.records import Launch

__all__ = ["PRESSURE", "circumstances", "disturbances"]

PRESSURE = 0.15
"""Share of a launch's time in which some task waited for a CPU. A quiet machine shows 0 to 2 %, a busy one 40 %."""

STEAL = 0.05
"""Share of processor time that the hypervisor gave to others."""

KEPT_AWAY = 0.25
"""Share of rounds in which an arm did not get the processor, and which could not be made again."""

CLOCK = 0.10
"""Relative change of a core's frequency between the first turn and the last."""


def disturbances(launch: Launch) -> tuple[str, ...]:
    """What was wrong with a launch; empty where nothing is known to have been."""
    found = []
    if (launch.pressure or 0.0) > PRESSURE:
        found.append("other work competed for the CPU")
    if (launch.steal or 0.0) > STEAL:
        found.append("the hypervisor gave the CPU to others")
    if launch.disturbed > KEPT_AWAY:
        found.append("an arm was kept from the CPU")
    before, after = launch.state.get("frequency_before"), launch.state.get("frequency")
    if isinstance(before, (int, float)) and isinstance(after, (int, float)) and abs(after - before) > CLOCK * before:
        found.append("the CPU's clock changed")
    if str(launch.state.get("slowdown", "none")) != "none":
        found.append(f"the device slowed down ({launch.state['slowdown']})")
    if launch.state.get("throttled_calls"):
        found.append("the device stayed below its clock")
    if str(launch.state.get("foreign_processes", "none")) not in ("none", "0"):
        found.append("other processes used the device")
    if launch.unsettled:
        found.append(f"calls of the {' and the '.join(launch.unsettled)} never came to a steady time")
    return tuple(found)


def circumstances(launches: Sequence[Launch]) -> str:
    """How many of the launches that count were disturbed, and by what, as the end of a sentence; "" for none."""
    counted = [launch for launch in launches if launch.counts]
    disturbed = [found for launch in counted if (found := disturbances(launch))]
    if not disturbed:
        return ""
    what = dict.fromkeys(text for found in disturbed for text in found)
    return f"; {len(disturbed)} of {len(counted)} launches were disturbed: {', '.join(what)}"
