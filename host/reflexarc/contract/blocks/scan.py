"""Scan: rasters, point lists and moves; drift and tilt; pixel clock."""

import enum

from reflexarc.contract.registers import Access, Block, Register

POSITION_FRACTION_BITS = 12  # positions are Q20.12, DAC LSB
STEP_FRACTION_BITS = 20  # steps per sample are Q12.20, DAC LSB per sample; those of STEPPED are positions, Q20.12
TURN_FRACTION_BITS = 28  # accelerations are Q4.28, DAC LSB per sample and sample
DRIFT_FRACTION_BITS = 40  # drift is a multiple of 2^-40 DAC LSB per sample

AXES = ("x", "y", "z")


class ScanCommand(enum.IntEnum):
    START = 1  # raster from the present position; refused (ignored) unless idle and armed
    STOP = 2  # finish at once, hold the position
    MOVE = 3  # go to target_x, target_y along each axis at move_step per sample
    LIST = 4  # take the points of the trajectory block, until one that says it is the last
    UPDATE = 5  # registers that wait for a line's start are taken at the next one, or now where no raster runs


class ScanState(enum.IntEnum):
    IDLE = 0
    MOVING = 1  # to a target, or to an interlaced raster's next field
    FORWARD = 2  # pixels from the line's low end to its high one
    TURN = 3  # between two lines
    BACKWARD = 4
    OVERSCAN = 5  # moving as in the line, before its first and behind its last pixel
    SETTLE = 6  # at rest before a line
    WAIT = 7  # started; for the next sample, for the line's trigger or for the external scan's relay
    LIST = 8
    STARVED = 9  # the list has no point


class ScanFlags(enum.IntFlag):
    BACKWARD = 1  # capture each line there and back
    SERPENTINE = 2  # capture each second line on the way back
    STEPPED = 4  # the position stands for a pixel and steps between two; otherwise it moves with each sample
    LIFT = 8  # each line twice, there and back; the second time the lift block drives z. Needs BACKWARD


class Blanking(enum.IntFlag):
    """Where the beam is blanked beside all states without a scan, in which it always is."""

    BETWEEN_LINES = 1
    BETWEEN_POINTS = 2  # entries of a list that are no pixel
    STARVED = 4  # no point in time, no ready line, clock or trigger in time


def _axes(name: str, offset: int, doc: str, scale: float) -> tuple[Register, ...]:
    return tuple(
        Register(f"{name}_{axis}", offset + 4 * index, Access.RW, doc.format(axis), signed=True, unit="m", quantity=axis, scale=scale)
        for index, axis in enumerate(AXES)
    )


BLOCK = Block(
    "scan",
    0x100,
    "Rasters, point lists, moves. Positions are signed Q20.12 in DAC LSB. What a line's start takes over: flags, all sizes, samples, steps, "
    "turns and drift.",
    (
        Register("command", 0x00, Access.WO, "Start, stop, move or update.", width=3, values=ScanCommand),
        Register("state", 0x04, Access.RO, "What the scan does now.", width=4, values=ScanState),
        Register("flags", 0x08, Access.RW, "Kind of raster.", width=4, values=ScanFlags, reset=1),
        Register("pixels", 0x0C, Access.RW, "Pixels in a line, or of a list in a packet.", width=16, reset=1, minimum=1, maximum=8192, unit="pixels"),
        Register("lines", 0x10, Access.RW, "Lines in a frame.", width=16, reset=1, minimum=1, maximum=8192, unit="lines"),
        Register("interlace", 0x14, Access.RW, "Fields of a frame: line 0, interlace, 2 interlace ..., then 1 ...", width=8, reset=1, minimum=1),
        Register("pixel_samples", 0x18, Access.RW, "Samples in a pixel, all of which are used.", width=24, reset=1, minimum=1, unit="samples"),
        Register("settle_samples", 0x1C, Access.RW, "Samples of rest before each line.", width=24, unit="samples"),
        Register("overscan_samples", 0x20, Access.RW, "Samples in motion before the first and behind the last pixel.", width=24, unit="samples"),
        Register("turn_samples", 0x24, Access.RW, "Samples of each half of the turn behind a forward line; 0: a jump.", width=24, unit="samples"),
        Register("next_samples", 0x28, Access.RW, "Samples of each half of the way to the next line; 0: a jump.", width=24, unit="samples"),
        *_axes("step", 0x2C, "Step in {} along a line: per sample; STEPPED: per pixel, and Q20.12.", 2**-20),
        *_axes("line", 0x38, "Step in {} from a line's start to that of the next in its field.", 2**-12),
        *_axes("field", 0x44, "Step in {} from a field's start to the next one's.", 2**-12),
        *_axes("turn_1", 0x50, "Acceleration in {} in the first half of the turn.", 2**-28),
        *_axes("turn_2", 0x5C, "Acceleration in {} in the second half of the turn.", 2**-28),
        *_axes("next_1", 0x68, "Acceleration in {} in the first half of the way to the next line.", 2**-28),
        *_axes("next_2", 0x74, "Acceleration in {} in the second half of the way to the next line.", 2**-28),
        *_axes("drift", 0x80, "Drift of {} per sample, added in every sample while live.", 2**-40),
        *_axes("target", 0x8C, "Where MOVE goes, {}.", 2**-12),
        Register(
            "move_step", 0x98, Access.RW, "Greatest step per sample and axis of MOVE.", width=31, reset=1 << 12, minimum=1, unit="m", quantity="x",
            scale=2**-20,
        ),
        Register("blanking", 0x9C, Access.RW, "Where the beam is blanked.", width=3, reset=7, values=Blanking),
        Register("x", 0xA0, Access.RO, "Present position, x, drift included.", signed=True, unit="m", quantity="x", scale=2**-12),
        Register("y", 0xA4, Access.RO, "Present position, y, drift included.", signed=True, unit="m", quantity="y", scale=2**-12),
        Register("z", 0xA8, Access.RO, "Present offset of z: tilt, drift.", signed=True, unit="m", quantity="z", scale=2**-12),
        Register("line", 0xAC, Access.RO, "Present line, counted from 0.", width=16, unit="lines"),
        Register("frames", 0xB0, Access.RO, "Frames and lists finished since reset.", unit="frames"),
        Register("starved", 0xB4, Access.RO, "How often a list had no point in time since reset."),
        Register("waiting", 0xB8, Access.RO, "1 while a line's start is awaited that takes over registers (UPDATE).", width=1),
    ),
)  # fmt: skip
