"""Trajectory: a queue of points for the scan's list mode."""

import enum

from reflexarc.contract.blocks.scan import AXES
from reflexarc.contract.registers import Access, Block, Register

DEPTH = 512  # entries
SAMPLES_BITS = 24  # of the word that pushes an entry; the kind stands above


class PointKind(enum.IntFlag):
    """What an entry is, in bits 24 to 26 of ``push``."""

    PIXEL = 1  # its samples are one pixel
    SEGMENT = 2  # x, y, z are steps per sample, Q12.20; otherwise it stands at x, y, z, Q20.12
    LAST = 4  # the list ends here; on a pixel, so that its packet is closed


BLOCK = Block(
    "trajectory",
    0xC00,
    "Points for the scan's LIST command. Write x, y and z, then push; they keep their values for the next entry.",
    (
        *(
            Register(axis, 4 * index, Access.RW, f"Place in {axis} (Q20.12) or step per sample (Q12.20).", signed=True)
            for index, axis in enumerate(AXES)
        ),
        Register("push", 0x0C, Access.WO, "Samples (24 bits; 0 counts as 1), PointKind (3 bits): enters a point.", width=27),
        Register("free", 0x10, Access.RO, "Entries that the queue has room for.", width=10, reset=DEPTH, unit="entries"),
        Register("refused", 0x14, Access.RO, "Points that came when the queue was full and were lost, since reset.", unit="entries"),
        Register("clear", 0x18, Access.WO, "Any write empties the queue; a scan that is cut short does it too.", width=1),
    ),
)
