"""Per-pixel sums of z and current, forward and backward, as packets."""

from reflexarc.contract.registers import Access, Block, Register

BLOCK = Block(
    "capture",
    0x500,
    "Sums each pixel's samples exactly and sends one packet a line and direction.",
    (
        Register("pixels_sent", 0x00, Access.RO, "Pixels sent since reset.", unit="pixels"),
        Register("pixels_lost", 0x04, Access.RO, "Pixels for which the buffer had no room since reset.", unit="pixels"),
        Register("sample", 0x08, Access.RO, "Last sample of the current.", width=20, signed=True, unit="A", quantity="current"),
    ),
)
