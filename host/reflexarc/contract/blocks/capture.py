"""Per-pixel sums of chosen channels, as packets."""

from reflexarc.contract.packets import Channel
from reflexarc.contract.registers import Access, Block, Register

BLOCK = Block(
    "capture",
    0x500,
    "Sums each pixel's samples exactly and sends one packet a line and direction.",
    (
        Register("pixels_sent", 0x00, Access.RO, "Pixels sent since reset.", unit="pixels"),
        Register("pixels_lost", 0x04, Access.RO, "Pixels for which there was no room or no time since reset.", unit="pixels"),
        Register("sample", 0x08, Access.RO, "Last sample of the current.", width=20, signed=True, unit="A", quantity="current"),
        Register(
            "channels",
            0x0C,
            Access.RW,
            "Channels that are sent, a bit each; a packet has those of its beginning.",
            width=len(Channel),
            reset=1 << Channel.Z | 1 << Channel.CURRENT,
            minimum=1,
        ),
        Register("monitor", 0x10, Access.RO, "Last sample of the monitor.", width=20, signed=True, unit="V", quantity="monitor"),
        Register("count_0", 0x14, Access.RO, "Pulses at counter 0 since reset.", unit="pulses"),
        Register("count_1", 0x18, Access.RO, "Pulses at counter 1 since reset.", unit="pulses"),
    ),
)
