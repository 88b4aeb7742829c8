"""Lift: the second pass over a line, at a height above what the first one found."""

from reflexarc.contract.registers import Access, Block, Register

DEPTH = 4096  # places of z that are kept of a line

BLOCK = Block(
    "lift",
    0xE00,
    "Keeps z of the first pass forward and drives it again, higher, in the second pass there and back.",
    (
        Register("height", 0x00, Access.RW, "Height above the first pass, Q20.12.", signed=True, unit="m", quantity="z", scale=2**-12),
        Register(
            "step", 0x04, Access.RW, "Greatest change of z per sample in the second pass, Q19.12.", width=31, reset=1 << 12, minimum=1, unit="m",
            quantity="z", scale=2**-12,
        ),
        Register("spacing", 0x08, Access.RW, "One place is kept of 2^spacing samples; between two z is interpolated.", width=4, maximum=12),
        Register("overrun", 0x0C, Access.RO, "1 if the last line had more samples than there are places: its end was not kept.", width=1),
    ),
)  # fmt: skip
