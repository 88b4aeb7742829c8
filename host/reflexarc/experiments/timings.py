"""Reaction times, measured in the gateware's cycles on a true-rate twin."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks.events import EventChannel
from reflexarc.contract.blocks.interlock import InterlockState
from reflexarc.contract.events import EventSource
from reflexarc.contract.program import Condition, Operand, Operation, Request, Row
from reflexarc.device.controller import AsyncController
from reflexarc.device.sequencer import load_rows, start_program
from reflexarc.errors import BadInput
from reflexarc.safety import Limits
from reflexarc.scans import standing_still

SAMPLE_MAX = (1 << 19) - 1
PIXELS, LINES = 64, 4  # of the raster with the shortest dwell
PULSE_S = 10e-6
CLASS = 5  # of the event
INSTRUCTIONS = 400
EVENT_S = 40e-6  # from a threshold that is lowered to the reaction to it, generously


@dataclass(frozen=True)
class Timings:
    """Cycles of the 100 MHz clock; seconds include the converters' times from their datasheets."""

    sample_to_trip_cycles: int  # sample valid to the gate's safe codes
    event_to_output_cycles: int  # event to the gate's bias code
    convert_to_output_cycles: int  # start of the offending conversion to the response of the z converter
    time_to_safe_s: float  # the same in seconds
    time_to_safe_worst_s: float  # for a current that crosses its limit just after a conversion began
    cycles_per_sample: int
    update_cycles: int  # sample valid to a new z code at the gate, feedback on
    update_s: float  # start of a conversion to the response of the z converter to it, at best
    minimum_dwell_s: float  # of a pixel, none lost
    program_event_to_output_cycles: int  # event to the gate's bias code, through a program that compares class, score and place
    program_instructions_per_cycle: float  # where nothing waits
    program_pause_s: float  # for which a pulse of PULSE_S kept the scan waiting

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

    # An event: each pixel's mean lies below `on` until the threshold is moved below it. The reaction counts its cycles itself; a program's are
    # counted from the event's record to the change of the bias, on the same scale.
    await board.registers.write(
        {
            "reaction.bias": 1.0,
            "reaction.pulse_samples": 2 * EVENT_S / calibration.sample_period_s,
            "reaction.settle_samples": 8,
            "reaction.budget": 1,
            "reaction.enable": 1,
        }
    )
    record_to_reaction = await _record_to_bias(board)
    pulses, latency = await board.registers.read_raw("reaction.count", "reaction.latency")
    if pulses != 1:
        raise BadInput(f"the event made {pulses} pulses where one was due")
    await board.registers.write_raw({"reaction.enable": 0})
    await start_program(board.registers, await load_rows(board.registers, _decide_and_pulse(calibration)))
    record_to_program = await _record_to_bias(board)
    await board.registers.write_raw(standing_still() | {"events.enable": 0, "scan.pixels": 64, "scan.lines": 64, "scan.pixel_samples": 4})
    await board.start_scan()
    await start_program(board.registers, await load_rows(board.registers, _pause_and_pulse(calibration)))
    await board.sleep(4 * PULSE_S)
    (pause,) = await board.registers.read("sequencer.longest_pause")
    await board.stop_scan()
    await start_program(board.registers, await load_rows(board.registers, _count()))
    await board.sleep((INSTRUCTIONS + 100) * calibration.sample_period_s / calibration.cycles_per_sample)
    (said,) = [event for event in board.take_events() if event.source == EventSource.PROGRAM]

    # Pixels of one sample, there and back, each line begun with a jump.
    await board.registers.write_raw({"events.enable": 0})
    await board.registers.write_raw(standing_still() | {"scan.pixels": PIXELS, "scan.lines": LINES})
    counters = ("capture.pixels_sent", "capture.pixels_lost")
    sent, lost = await board.registers.read_raw(*counters)
    await board.start_scan()
    await board.sleep((2 * PIXELS * LINES + 100) * calibration.sample_period_s)
    sent_then, lost_then = await board.registers.read_raw(*counters)
    if sent_then - sent != 2 * PIXELS * LINES or lost_then != lost:
        raise BadInput(f"of {2 * PIXELS * LINES} pixels of one sample {sent_then - sent} came and {lost_then - lost} were lost")

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
    truth = await board.truth()
    cycles, update = truth["trip_cycles"], truth["update_cycles"]
    if not cycles["output"]:
        raise BadInput("the crash did not trip the interlock")
    response = cycles["output"] - cycles["convert"]
    period = calibration.sample_period_s
    welcome = board.transport.welcome
    return Timings(
        sample_to_trip_cycles=cycles["gate"] - cycles["sample"],
        event_to_output_cycles=latency,
        convert_to_output_cycles=response,
        time_to_safe_s=calibration.seconds(response),
        time_to_safe_worst_s=calibration.seconds(response) + period,
        cycles_per_sample=calibration.cycles_per_sample,
        update_cycles=update,
        update_s=calibration.seconds(welcome["adc_cycles"] + 1 + update + welcome["dac_cycles"]),
        minimum_dwell_s=period,
        program_event_to_output_cycles=latency + record_to_program - record_to_reaction,
        program_instructions_per_cycle=(INSTRUCTIONS + 1) / (said.x - said.score),
        program_pause_s=calibration.seconds(pause),
    )


async def _record_to_bias(board: AsyncController) -> int:
    """Make one event in pixels that stand still; cycles from its record's time to the change of the bias, and a constant."""
    await board.registers.write_raw(
        {
            "events.enable": 0,
            "events.channel": EventChannel.CURRENT,
            "events.on": SAMPLE_MAX,
            "events.off": SAMPLE_MAX,
            "events.class_id": CLASS,
        }
    )
    await board.registers.write_raw(standing_still() | {"events.enable": 1, "scan.pixels": 64, "scan.lines": 64, "scan.pixel_samples": 4})
    await board.start_scan()
    await board.sleep(EVENT_S)
    board.take_events()
    await board.registers.write_raw({"events.on": -SAMPLE_MAX})
    await board.sleep(EVENT_S)
    (event,) = [one for one in board.take_events() if one.source == EventSource.THRESHOLD]
    cycle = int((await board.truth())["bias_cycle"])
    await board.stop_scan()
    await board.sleep(2 * EVENT_S)
    return cycle - event.time


def _decide_and_pulse(calibration: Calibration) -> list[Row]:
    """One decision on class, score and both positions, then a pulse."""
    lowest, bias = -(1 << 31), round(1.0 / calibration.bias_V_per_code)
    decisions = ((Operand.EVENT_SCORE, lowest), (Operand.EVENT_X, lowest), (Operand.EVENT_Y, lowest))
    end = 4 + len(decisions)
    return [
        Row(Operation.DEADLINE, b=Operand.VALUE, value=calibration.cycles(1e-3)),
        Row(Operation.WAIT, Condition.EVENT, place=end),
        Row(Operation.NOT_EQUAL, a=Operand.EVENT_CLASS, b=Operand.VALUE, place=end, value=CLASS),
        *(Row(Operation.LESS, a=operand, b=Operand.VALUE, place=end, value=least) for operand, least in decisions),
        Row(Operation.PULSE, b=Operand.VALUE, value=bias),
        Row(Operation.WAIT_CYCLES, b=Operand.VALUE, value=calibration.cycles(2 * EVENT_S)),
        Row(Operation.HALT),
    ]


def _pause_and_pulse(calibration: Calibration) -> list[Row]:
    return [
        Row(Operation.RAISE, value=Request.SCAN_PAUSED),
        Row(Operation.PULSE, b=Operand.VALUE, value=round(1.0 / calibration.bias_V_per_code)),
        Row(Operation.WAIT_CYCLES, b=Operand.VALUE, value=calibration.cycles(PULSE_S) - 1),
        Row(Operation.LOWER, value=Request.PULSE | Request.PULSE_LIMITS),
        Row(Operation.LOWER, value=Request.SCAN_PAUSED),
        Row(Operation.HALT),
    ]


def _count() -> list[Row]:
    """Says the clock before and after."""
    return [
        Row(Operation.MARK),
        Row(Operation.ADD, 1, a=Operand.CLOCK),
        *(Row(Operation.ADD, 0, a=Operand.VALUE, value=index) for index in range(INSTRUCTIONS)),
        Row(Operation.ADD, 2, a=Operand.CLOCK),
        Row(Operation.EMIT, a=1, b=2),
        Row(Operation.HALT),
    ]
