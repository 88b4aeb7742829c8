"""The instruction set of programs: one row an instruction, 64 bits.

A row is two words: ``value``, a constant, and ``control``: operation, destination, two operands and a place (a row to go to, or a register on
the bus). A row of zeros halts. What each operation does and how many cycles it takes stands in the sequencer's page; here is how it is written.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

BANKS = 2  # one is loaded while the other runs
BANK_ROWS = 512
REGISTERS = 16
ROW_WORDS = 2
PLACE_BITS = 12
MEASURED_FRACTION_BITS = 12  # of samples, means, positions: Q20.12
SCALE_FRACTION_BITS = 16  # of SCALE's factor


class Operation(enum.IntEnum):
    HALT = 0  # ends the program; value: the reason, which the program chooses
    JUMP = 1  # to place
    LESS = 2  # to place if a < b; these four compare signed
    NOT_LESS = 3
    EQUAL = 4
    NOT_EQUAL = 5
    LOOP = 6  # destination = a - b, held at the ends; to place if a > b
    ADD = 7  # destination = a + b, held at the ends of 32 bits
    SUBTRACT = 8  # destination = a - b, held at the ends
    SCALE = 9  # destination = a * b / 2**16, rounded down, held at the ends
    WRITE = 10  # b to the bus register at place
    READ = 11  # destination = the bus register at place
    RAMP = 12  # destination from a to b, a step each time, written to place; value: step (20 bits), samples from step to step (12 bits)
    WAIT_CYCLES = 13  # b cycles
    WAIT_SAMPLES = 14  # b samples
    WAIT_UNTIL = 15  # the program's clock is b; LATE where it is past that
    MARK = 16  # the program's clock begins anew
    DEADLINE = 17  # WAIT gives up b cycles from now
    WAIT = 18  # for a condition (destination); to place if the deadline comes first
    SAMPLE = 19  # destination = of b samples what place says; a is not used
    RAISE = 20  # requests (value)
    LOWER = 21
    PULSE = 22  # raise PULSE and PULSE_LIMITS with b as the bias
    MOVE = 23  # tip to (a, b) with the scan paused; value: greatest step in a sample and axis, Q19.12
    RETURN = 24  # tip back to where the scan is, with the last move's step
    EMIT = 25  # a record for the host: value's low 8 bits are its class, the next 16 its part; score = a, x = b


class Operand(enum.IntEnum):
    """What ``a`` and ``b`` name: 0 to 15 the registers, then these."""

    ZERO = 16
    VALUE = 17  # the row's own constant
    EVENT_SOURCE = 18  # of the event that WAIT took last
    EVENT_CLASS = 19
    EVENT_SCORE = 20
    EVENT_X = 21  # Q20.12, DAC LSB, as all positions
    EVENT_Y = 22
    EVENTS = 23  # since the program's start
    CURRENT = 24  # last sample, Q20.12
    MONITOR = 25
    X = 26  # of the tip, Q20.12
    Y = 27
    Z = 28
    BIAS = 29  # code
    CLOCK = 30  # cycles since MARK, held at 2**31 - 1
    LINE = 31  # of the scan


class Condition(enum.IntEnum):
    """What WAIT waits for."""

    EVENT = 0  # the first event since the last one that was taken
    NEXT_EVENT = 1  # the first event from now on
    SCAN_IDLE = 2
    LINE_DONE = 3  # the scan's next end of a line
    AT_REST = 4  # MOVE or RETURN has arrived
    CAMERA_READY = 8  # external lines, high
    PIXEL_CLOCK = 9
    LINE_TRIGGER = 10
    EXTERNAL_SCAN = 11
    CAMERA_BUSY = 12  # external lines, low
    PIXEL_CLOCK_LOW = 13
    LINE_TRIGGER_LOW = 14
    EXTERNAL_SCAN_LOW = 15


class Request(enum.IntFlag):
    """What RAISE asks for until LOWER or the program's end."""

    FEEDBACK_HELD = 1
    SCAN_PAUSED = 2
    BLANK = 4
    BEAM = 8  # unblanks without a scan
    TRIGGER = 16  # the line of the pixel trigger
    PULSE = 32  # the bias is the pulse's; raised by PULSE alone
    PULSE_LIMITS = 64  # the limits of a pulse count, as long as they may


class Statistic(enum.IntEnum):
    """Of SAMPLE, in bits 0 and 1 of its place."""

    MEAN = 0  # rounded down
    LEAST = 1
    GREATEST = 2


class SampleChannel(enum.IntEnum):
    """Of SAMPLE, in bits 2 and 3 of its place."""

    CURRENT = 0
    MONITOR = 1
    Z = 2


class StopReason(enum.IntEnum):
    """Why a program ended. From LATE on it trips the interlock, whose trip_value is this."""

    NONE = 0  # it runs, or none has run
    HALTED = 1
    STOPPED = 2  # by the command
    NOT_LIVE = 3  # by a trip or disarming
    LATE = 4  # a time had passed
    REFUSED = 5  # the bus refused an access
    ILLEGAL = 6  # no such operation, or past the last row


@dataclass(frozen=True)
class Row:
    """One instruction in raw units. ``value`` is signed 32 bits."""

    operation: int
    destination: int = 0
    a: int = Operand.ZERO
    b: int = Operand.ZERO
    place: int = 0
    value: int = 0

    def words(self) -> tuple[int, int]:
        """Value and control as unsigned words; ValueError for a field that does not fit."""
        fields = (("operation", 6), ("destination", 4), ("a", 5), ("b", 5), ("place", PLACE_BITS))
        control = shift = 0
        for name, width in fields:
            field = int(getattr(self, name))
            if not 0 <= field < 1 << width:
                raise ValueError(f"{name} = {field} does not fit into {width} bits")
            control |= field << shift
            shift += width
        if not -(1 << 31) <= self.value < 1 << 31:
            raise ValueError(f"value = {self.value} does not fit into 32 bits")
        return self.value & 0xFFFFFFFF, control

    @classmethod
    def from_words(cls, value: int, control: int) -> Row:
        """The row of two words; any two words are one."""
        return cls(
            control & 63, control >> 6 & 15, control >> 10 & 31, control >> 15 & 31, control >> 20, value - (value >> 31 << 32)
        )  # fmt: skip
