"""A contract block that belongs to nothing and has a register of each kind."""

from reflexarc.contract.registers import Access, Block, Register

BLOCK = Block(
    "example",
    0x300,
    "One of each.",
    (
        Register("byte", 0x00, Access.RW, "Plain.", width=8, reset=5),
        Register("narrow", 0x04, Access.RW, "Signed, its range asymmetric.", width=12, signed=True, reset=-3, minimum=-100, maximum=1000),
        Register("word", 0x08, Access.RW, "All 32 bits, signed.", signed=True, reset=-1),
        Register("count", 0x0C, Access.RW, "A range within the width.", width=16, reset=1, minimum=1, maximum=8192),
        Register("limit", 0x10, Access.RW, "Locked.", width=20, signed=True, reset=-(1 << 19), locked=True),
        Register("step", 0x14, Access.RW, "Locked, without the 0.", width=24, reset=7, minimum=1, locked=True),
        Register("long", 0x20, Access.RO, "Two words.", width=64),
        Register("longish", 0x28, Access.RO, "Two words, not full, signed.", width=40, signed=True),
        Register("measured", 0x30, Access.RO, "One word, signed.", width=20, signed=True),
        Register("flags", 0x34, Access.W1C, "Flags.", width=9),
        Register("command", 0x38, Access.WO, "A command with a range.", width=3, minimum=0, maximum=4),
        Register("kick", 0x3C, Access.WO, "Any write counts."),
        Register("reset_count", 0x40, Access.WO, "A command that is locked.", width=2, locked=True),
        Register("mask", 0x44, Access.RW, "Locked, all 32 bits.", reset=0xFFFFFFFF, locked=True),
        Register("last", 0xFC, Access.RW, "In the window's last word.", width=31, maximum=(1 << 31) - 2),
    ),
)  # fmt: skip
