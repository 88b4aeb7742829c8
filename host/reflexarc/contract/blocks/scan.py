"""Raster scan: positions, pixel clock, flyback and settle."""

import enum

from reflexarc.contract.registers import Access, Block, Register

POSITION_FRACTION_BITS = 12  # positions are Q20.12, DAC LSB
STEP_FRACTION_BITS = 20  # steps per sample are Q12.20, DAC LSB per sample


class ScanCommand(enum.IntEnum):
    START = 1  # raster from the present position; refused (ignored) unless idle and armed
    STOP = 2  # finish at once, hold the position
    MOVE = 3  # go to target_x, target_y along each axis at move_step per sample


class ScanState(enum.IntEnum):
    IDLE = 0
    MOVING = 1
    FORWARD = 2
    TURN = 3
    BACKWARD = 4
    FLYBACK = 5
    SETTLE = 6
    READY = 7  # started, waits for the next sample


class ScanFlags(enum.IntFlag):
    BACKWARD = 1  # capture the way back too, pixel by pixel; otherwise fly back


BLOCK = Block(
    "scan",
    0x100,
    "Raster scan. Positions are signed Q20.12 in DAC LSB; steps per sample are signed Q12.20 in DAC LSB per sample.",
    (
        Register("command", 0x00, Access.WO, "Start, stop or move.", width=2, values=ScanCommand),
        Register("state", 0x04, Access.RO, "What the scan does now.", width=3, values=ScanState),
        Register("flags", 0x08, Access.RW, "Options of the raster.", width=1, values=ScanFlags, reset=1),
        Register("pixels", 0x0C, Access.RW, "Pixels in a line.", width=16, reset=1, minimum=1, maximum=8192, unit="pixels"),
        Register("lines", 0x10, Access.RW, "Lines in a frame.", width=16, reset=1, minimum=1, maximum=8192, unit="lines"),
        Register(
            "pixel_samples", 0x14, Access.RW, "Samples in a pixel, all of which are used.", width=24, reset=1, minimum=1, unit="samples"
        ),
        Register("turn_samples", 0x18, Access.RW, "Samples of rest at the end of each forward line.", width=24, unit="samples"),
        Register(
            "settle_samples",
            0x1C,
            Access.RW,
            "Samples of rest at the start of each line, before its first pixel.",
            width=24,
            unit="samples",
        ),
        Register(
            "flyback_samples",
            0x20,
            Access.RW,
            "Samples of the flyback when the way back is not captured.",
            width=24,
            reset=1,
            minimum=1,
            unit="samples",
        ),
        Register("step_x", 0x24, Access.RW, "Step in x per sample along a line.", signed=True, unit="m", quantity="x", scale=2**-20),
        Register("step_y", 0x28, Access.RW, "Step in y per sample along a line.", signed=True, unit="m", quantity="y", scale=2**-20),
        Register(
            "line_x", 0x2C, Access.RW, "Step in x from one line's start to the next.", signed=True, unit="m", quantity="x", scale=2**-12
        ),
        Register(
            "line_y", 0x30, Access.RW, "Step in y from one line's start to the next.", signed=True, unit="m", quantity="y", scale=2**-12
        ),
        Register("flyback_x", 0x34, Access.RW, "Step in x per sample of the flyback.", signed=True, unit="m", quantity="x", scale=2**-20),
        Register("flyback_y", 0x38, Access.RW, "Step in y per sample of the flyback.", signed=True, unit="m", quantity="y", scale=2**-20),
        Register("target_x", 0x3C, Access.RW, "Where MOVE goes, x.", signed=True, unit="m", quantity="x", scale=2**-12),
        Register("target_y", 0x40, Access.RW, "Where MOVE goes, y.", signed=True, unit="m", quantity="y", scale=2**-12),
        Register(
            "move_step",
            0x44,
            Access.RW,
            "Greatest step per sample and axis of MOVE.",
            width=31,
            reset=1 << 12,
            minimum=1,
            unit="m",
            quantity="x",
            scale=2**-20,
        ),
        Register("x", 0x48, Access.RO, "Present position, x.", signed=True, unit="m", quantity="x", scale=2**-12),
        Register("y", 0x4C, Access.RO, "Present position, y.", signed=True, unit="m", quantity="y", scale=2**-12),
        Register("line", 0x50, Access.RO, "Present line, counted from 0.", width=16, unit="lines"),
        Register("frames", 0x54, Access.RO, "Frames finished since reset.", unit="frames"),
    ),
)
