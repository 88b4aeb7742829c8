"""Identity and time of the controller."""

from reflexarc.contract.registers import Access, Block, Register

MAGIC = 0x52465841  # "RFXA"

BLOCK = Block(
    "system",
    0x000,
    "Identity, platform constants and time.",
    (
        Register("magic", 0x00, Access.RO, "Constant 0x52465841, 'RFXA': tells a ReflexArc core from anything else."),
        Register("fingerprint", 0x04, Access.RO, "CRC-32 of the contract that this gateware was made from; the host refuses another."),
        Register(
            "cycles_per_sample",
            0x08,
            Access.RO,
            "Cycles of the sync clock between two conversions: 56 at true rate, fewer on a time-compressed twin.",
            unit="cycles",
        ),
        Register("sample_period", 0x0C, Access.RO, "Time between two conversions in the instrument's seconds.", unit="s", scale=1e-12),
        Register("time", 0x10, Access.RO, "Cycles of the sync clock since reset.", width=64, unit="cycles"),
        Register("samples", 0x18, Access.RO, "Samples received since reset.", width=64, unit="samples"),
    ),
)
