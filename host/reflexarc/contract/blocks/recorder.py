"""The black box: a ring of the last samples, frozen by a trip."""

import enum

from reflexarc.contract.registers import Access, Block, Register

DEPTH = 1024  # entries of the short ring, one a sample
POST_TRIGGER = 256  # of them after the trip, so that the beginning of the withdrawal is on the record
LONG_DEPTH = 1024  # entries of the long ring, one each `decimation` samples
LONG_POST_TRIGGER = 64  # of them after the trip


class Ring(enum.IntEnum):
    SHORT = 0
    LONG = 1


class RecorderState(enum.IntEnum):
    RUNNING = 0
    TRIGGERED = 1  # a trip came, the post-trigger share is being written
    FROZEN = 2


# Bits of the state word of an entry
STATE_INTERLOCK_SHIFT = 0  # InterlockState, 2 bits
STATE_SCAN_SHIFT = 2  # ScanState, 4 bits
STATE_HOLD_BIT = 6
STATE_PULSE_BIT = 7
STATE_BLANK_BIT = 8
STATE_BITS = 9

BLOCK = Block(
    "recorder",
    0x800,
    "The last 1,024 samples with what the outputs did, and a second ring of decimated ones. Index 0 is the oldest entry.",
    (
        Register("state", 0x00, Access.RO, "Running, triggered or frozen.", width=2, values=RecorderState),
        Register("entries", 0x04, Access.RO, "Entries of the chosen ring that can be read while frozen.", width=11, unit="entries"),
        Register("after_trip", 0x08, Access.RO, "How many of them came after the trip.", width=11, unit="entries"),
        Register("index", 0x0C, Access.RW, "Entry to read, 0 is the oldest; valid two bus accesses later.", width=10),
        Register("current", 0x10, Access.RO, "Raw sample of the entry.", width=20, signed=True, unit="A", quantity="current"),
        Register("x", 0x14, Access.RO, "x code of the entry.", width=20, signed=True, unit="m", quantity="x"),
        Register("y", 0x18, Access.RO, "y code of the entry.", width=20, signed=True, unit="m", quantity="y"),
        Register("z", 0x1C, Access.RO, "z code of the entry.", width=20, signed=True, unit="m", quantity="z"),
        Register("bias", 0x20, Access.RO, "Bias code of the entry.", width=20, signed=True, unit="V", quantity="bias"),
        Register("flags", 0x24, Access.RO, "State word of the entry: interlock, scan, hold, pulse, blank.", width=STATE_BITS),
        Register("release", 0x28, Access.WO, "Any write lets a frozen recorder run again; ignored while tripped.", width=1),
        Register("ring", 0x2C, Access.RW, "Ring that is read.", width=1, values=Ring),
        Register("decimation", 0x30, Access.RW, "Samples for one entry of the long ring.", width=20, reset=1000, minimum=1, unit="samples"),
        Register("monitor", 0x34, Access.RO, "Raw sample of the monitor.", width=20, signed=True, unit="V", quantity="monitor"),
        Register(
            "current_low", 0x38, Access.RO, "Least sample since the entry before.", width=20, signed=True, unit="A", quantity="current"
        ),
        Register(
            "current_high", 0x3C, Access.RO, "Greatest sample since the entry before.", width=20, signed=True, unit="A", quantity="current"
        ),
    ),
)
