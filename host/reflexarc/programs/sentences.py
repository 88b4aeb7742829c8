"""What a statement of a program does, in words."""

from __future__ import annotations

from reflexarc.contract.program import Condition, SampleChannel
from reflexarc.programs.compile import TIMED_OUT
from reflexarc.programs.kinds import parameter
from reflexarc.programs.timeline import comparison_text, value_text
from reflexarc.programs.tree import (
    Block,
    During,
    Emit,
    Halt,
    Height,
    Hold,
    If,
    Leave,
    Let,
    Line,
    Mark,
    Move,
    Pause,
    ProgramTree,
    Pulse,
    Ramp,
    Repeat,
    Return,
    Sample,
    Set,
    StartScan,
    Statement,
    StopScan,
    Wait,
    WaitEvent,
    WaitFor,
    WaitSamples,
    WaitUntil,
)
from reflexarc.safety.units import show as quantity

CHANNELS = {SampleChannel.CURRENT: "the current", SampleChannel.MONITOR: "the monitor", SampleChannel.Z: "z"}
CONDITIONS = {
    Condition.EVENT: "an event", Condition.NEXT_EVENT: "the next event", Condition.SCAN_IDLE: "the end of the scan",
    Condition.LINE_DONE: "the end of a line of the scan", Condition.AT_REST: "the tip to be there", Condition.CAMERA_READY: "the camera to be ready",
    Condition.PIXEL_CLOCK: "the pixel clock to be high", Condition.LINE_TRIGGER: "the line trigger to be high",
    Condition.EXTERNAL_SCAN: "the column to have handed over", Condition.CAMERA_BUSY: "the camera to be busy",
    Condition.PIXEL_CLOCK_LOW: "the pixel clock to be low", Condition.LINE_TRIGGER_LOW: "the line trigger to be low",
    Condition.EXTERNAL_SCAN_LOW: "the column to have taken back",
}  # fmt: skip
DURING = {Line.BEAM: "Unblanks the beam", Line.BLANK: "Blanks the beam", Line.TRIGGER: "Raises the trigger"}


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def sentence(statement: Statement, tree: ProgramTree) -> str:
    """What a statement does, for someone who does not know the language."""
    match statement:
        case Sample(into, channel, statistic, count):
            return f"{into} becomes the {statistic.name.lower()} of the next {counted(count, 'sample')} of {CHANNELS[channel]}."
        case Let(into, value):
            return f"{into} becomes {value_text(value, tree)}, as it is now."
        case Set(name, value):
            return f"Sets {name} to {value_text(value, tree)} at once."
        case Ramp(name, to, rate):
            rate_text = quantity(rate, f"{parameter(name).unit}/s")
            return f"Ramps {name} from where it stands to {value_text(to, tree)} at {rate_text}; waits until it is there."
        case Wait(seconds):
            return f"Waits for {quantity(seconds, 's')}."
        case WaitSamples(count):
            return f"Waits for {counted(count, 'sample')}."
        case Mark():
            return "Sets the clock to 0, from which 'clock' and 'wait until' count."
        case WaitUntil(seconds):
            return f"Waits until {quantity(seconds, 's')} after the last mark. If it is later already the program ends and the interlock trips."
        case WaitEvent(into, event, conditions, timeout_s, otherwise):
            where = "".join(f" and {comparison_text(condition, tree)}" for condition in conditions).replace(" and ", " with ", 1)
            return f"Waits for the first {event}{where}, which is then {into}. After {quantity(timeout_s, 's')} {_late(otherwise)}."
        case WaitFor(condition, timeout_s, otherwise):
            return f"Waits for {CONDITIONS[condition]}. After {quantity(timeout_s, 's')} {_late(otherwise)}."
        case Move(x, y, speed):
            place = f"({value_text(x, tree)}, {value_text(y, tree)})"
            return f"Pauses the scan and moves the tip to {place}, no axis faster than {quantity(speed, 'm/s')}; waits until it is there."
        case Return():
            return "Moves the tip back to the scan's place, as fast as the last move, and lets the scan go on unless it is paused."
        case Hold(settle_s):
            rest = f", waits for {quantity(settle_s, 's')}" if settle_s else ""
            return f"Holds the feedback{rest} and does what stands below; then the feedback goes on."
        case Height(z, speed):
            where = f"{value_text(z, tree)} away from where the feedback was held (negative: nearer)"
            return f"Moves z to {where} at {quantity(speed, 'm/s')}; waits until it is there."
        case Pause():
            return "Pauses the scan and does what stands below; then the scan goes on."
        case Pulse(to, for_s, rise_s, settle_s):
            rise = f", reached and left within {quantity(rise_s, 's')} each" if rise_s else ""
            settle = f" The limits of a pulse count for {quantity(settle_s, 's')} more." if settle_s else ""
            return f"Gives a pulse of {value_text(to, tree)} for {quantity(for_s, 's')}{rise}; then the bias is as it was.{settle}"
        case During(line, for_s):
            return f"{DURING[line]} for {quantity(for_s, 's')}, counted in cycles."
        case StartScan():
            return "Starts the scan that the scan's registers say."
        case StopScan():
            return "Stops the scan."
        case Repeat(count, _, index):
            turns = "again and again until it is left" if count is None else f"{count} times"
            return f"Does what stands below {turns}{f'; {index} counts the turns from 0' if index is not None else ''}."
        case If(comparison, _, otherwise):
            other = ", else what stands under otherwise" if otherwise else ""
            return f"Does what stands below if {comparison_text(comparison, tree)}{other}."
        case Leave(comparison):
            when = f" if {comparison_text(comparison, tree)}" if comparison is not None else ""
            return f"Leaves the innermost repeat{when}."
        case Emit(tag, values):
            what = f" with {', '.join(value_text(value, tree) for value in values)}" if values else ""
            return f'Sends the record "{tag}"{what} to the host.'
        case Halt(reason):
            return f'Ends the program with the reason "{reason}".'


def _late(otherwise: Block | None) -> str:
    return f'the program ends with the reason "{TIMED_OUT}"' if otherwise is None else "what stands under otherwise is done"
