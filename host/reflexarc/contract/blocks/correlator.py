"""Correlator: a line that is unlike the one before it."""

from reflexarc.contract.registers import Access, Block, Register

BLOCK = Block(
    "correlator",
    0x1200,
    "Compares each line with its predecessor and makes an event where they are less alike than `least`, as after a change of the tip.",
    (
        Register("enable", 0x00, Access.RW, "1: make events.", width=1),
        Register("channel", 0x04, Access.RW, "packets.Channel that is compared: z, current or monitor.", width=2, maximum=2),
        Register("backward", 0x08, Access.RW, "1: lines of the way back.", width=1),
        Register("shift", 0x0C, Access.RW, "Values are compared in steps of 2**shift, Q20.12, and held at 16 bits.", width=5),
        Register("least", 0x10, Access.RW, "Least correlation, Q1.15.", width=17, signed=True, minimum=-(1 << 15), maximum=1 << 15),
        Register("class_id", 0x14, Access.RW, "Class that the event record carries.", width=8),
        Register("lines", 0x18, Access.RO, "Lines compared since reset.", unit="lines"),
        Register("events", 0x1C, Access.RO, "Since reset.", unit="events"),
        Register("correlation", 0x20, Access.RO, "Of the last two lines, Q1.15, rounded down; 0 where one of them is flat.", width=17, signed=True),
        Register("missed", 0x24, Access.RO, "Lines that could not be compared: too long, or come before the last comparison was done.", unit="lines"),
    ),
)  # fmt: skip
