"""Reaction times, measured in the gateware's cycles on a true-rate twin."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from reflexarc.contract.blocks.events import EventChannel
from reflexarc.contract.blocks.interlock import InterlockState
from reflexarc.contract.blocks.scan import ScanFlags
from reflexarc.device.controller import AsyncController
from reflexarc.errors import BadInput
from reflexarc.safety import Limits

SAMPLE_MAX = (1 << 19) - 1


@dataclass(frozen=True)
class Timings:
    """Cycles of the 100 MHz clock; seconds include the converters' times from their datasheets."""

    sample_to_trip_cycles: int  # sample valid to the gate's safe codes
    event_to_output_cycles: int  # event to the gate's bias code
    convert_to_output_cycles: int  # start of the offending conversion to the response of the z converter
    time_to_safe_s: float  # the same in seconds
    time_to_safe_worst_s: float  # for a current that crosses its limit just after a conversion began
    cycles_per_sample: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


async def measure_timings(board: AsyncController) -> Timings:
    """Make a disarmed true-rate twin react once to an event and once to a crash, and read the cycles off the gateware."""
    calibration = board.calibration
    if calibration.cycles_per_sample != 56:
        raise BadInput(
            f"times are measured at 56 cycles a sample, this board has {calibration.cycles_per_sample}; start it with --rate true"
        )
    await board.set_limits(Limits())
    await board.arm()
    await board.set_bias(0.5)

    # An event: each pixel's mean lies below `on` until the threshold is moved below it.
    await board.registers.write_raw(
        {"events.enable": 1, "events.channel": EventChannel.CURRENT, "events.on": SAMPLE_MAX, "events.off": SAMPLE_MAX}
    )
    await board.registers.write(
        {
            "reaction.bias": 1.0,
            "reaction.pulse_samples": 8,
            "reaction.settle_samples": 8,
            "reaction.budget": 1,
            "reaction.enable": 1,
            "scan.flags": ScanFlags.BACKWARD,
            "scan.pixels": 64,
            "scan.lines": 4,
            "scan.pixel_samples": 4,
            "scan.step_x": 0.0,
            "scan.step_y": 0.0,
            "scan.line_x": 0.0,
            "scan.line_y": 0.0,
            "scan.turn_samples": 0,
            "scan.settle_samples": 0,
        }
    )
    await board.start_scan()
    await board.sleep(40e-6)
    await board.registers.write_raw({"events.on": -SAMPLE_MAX})
    await board.sleep(400e-6)
    pulses, latency = await board.registers.read_raw("reaction.count", "reaction.latency")
    if pulses != 1:
        raise BadInput(f"the event made {pulses} pulses where one was due")

    # A crash: the tip a little below its withdrawn place, so that it has somewhere to go, and the surface comes up to it.
    await board.set_feedback(setpoint_A=100e-12, bandwidth_Hz=4e3, slew_m_per_s=5e-6)
    await board.feedback_on()
    await board.sleep(1e-3)
    await board.feedback_hold()
    await board.inject("rise", speed_m_per_s=1e-3, height_m=140e-9)
    for _ in range(50):
        await board.sleep(20e-6)
        if await board.state() is InterlockState.TRIPPED:
            break
    await board.sleep(20e-6)
    cycles = (await board.truth())["trip_cycles"]
    if not cycles["output"]:
        raise BadInput("the crash did not trip the interlock")
    response = cycles["output"] - cycles["convert"]
    period = calibration.sample_period_s
    return Timings(
        sample_to_trip_cycles=cycles["gate"] - cycles["sample"],
        event_to_output_cycles=latency,
        convert_to_output_cycles=response,
        time_to_safe_s=calibration.seconds(response),
        time_to_safe_worst_s=calibration.seconds(response) + period,
        cycles_per_sample=calibration.cycles_per_sample,
    )
