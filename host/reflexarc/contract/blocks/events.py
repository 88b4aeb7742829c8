"""Events of all sources; registers of the one that is built in, a per-pixel threshold with hysteresis."""

import enum

from reflexarc.contract.registers import Access, Block, Register


class EventChannel(enum.IntEnum):
    Z = 0  # pixel sums of z, Q20.12
    CURRENT = 1  # pixel sums of the raw sample


BLOCK = Block(
    "events",
    0x600,
    "Fires once when a pixel's mean rises above `on`, and can fire again after it fell below `off`. Both are compared exactly, as sums.",
    (
        Register("enable", 0x00, Access.RW, "1: the threshold makes events.", width=1),
        Register("channel", 0x04, Access.RW, "Channel that is compared.", width=1, values=EventChannel),
        Register("on", 0x08, Access.RW, "Mean above which an event fires: z in Q20.12, current in LSB.", signed=True),
        Register("off", 0x0C, Access.RW, "Mean below which the source is ready again.", signed=True),
        Register("class_id", 0x10, Access.RW, "Class that its event records carry.", width=8),
        Register("count", 0x14, Access.RO, "Events of all sources since reset.", unit="events"),
        Register(
            "lost",
            0x18,
            Access.RO,
            "Records for which the buffer had no room, and events that came on the heels of one of the same source, since reset.",
            unit="records",
        ),
    ),
)
