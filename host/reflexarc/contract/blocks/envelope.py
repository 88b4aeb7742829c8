"""Conditions on what is about to be driven: box, keep-outs, z velocity, least bias."""

from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS
from reflexarc.contract.registers import Access, Block, Register

KEEP_OUTS = 8
KEEP_OUT_BASE = 0x50
KEEP_OUT_EDGES = ("x_low", "x_high", "y_low", "y_high")

_RAILS = {"high": (1 << 19) - 1, "low": -(1 << 19)}


def _box(prefix: str, base: int, locked: bool) -> tuple[Register, ...]:
    registers = []
    for index, (axis, side) in enumerate((axis, side) for axis in "xyz" for side in ("high", "low")):
        word = "Greatest" if side == "high" else "Least"
        registers.append(
            Register(
                f"{prefix}{axis}_{side}",
                base + 4 * index,
                Access.RW,
                f"{word} {axis} code that may be driven.",
                width=20,
                signed=True,
                reset=_RAILS[side],
                locked=locked,
                unit="m",
                quantity=axis,
            )  # fmt: skip
        )
    registers.append(
        Register(
            f"{prefix}z_velocity",
            base + 0x18,
            Access.RW,
            "Greatest change of z in one sample, Q20.12.",
            reset=0xFFFFFFFF,
            locked=locked,
            unit="m",
            quantity="z",
            scale=2**-POSITION_FRACTION_BITS,
        )  # fmt: skip
    )
    registers.append(
        Register(
            f"{prefix}bias_min",
            base + 0x1C,
            Access.RW,
            "Least magnitude of the bias while feedback drives z.",
            width=19,
            locked=locked,
            unit="V",
            quantity="bias",
        )  # fmt: skip
    )
    return tuple(registers)


def keep_out(index: int, edge: str) -> str:
    """Name of the register with one edge of a keep-out rectangle."""
    return f"keep_out_{index}_{edge}"


BLOCK = Block(
    "envelope",
    0xA00,
    "Where the outputs may go, judged before they go there. Of a limit and its soft twin the tighter counts.",
    (
        *_box("", 0x00, locked=True),
        *_box("soft_", 0x20, locked=False),
        Register("keep_out_enable", 0x40, Access.RW, "Keep-out rectangles that count, a bit each.", width=KEEP_OUTS, locked=True),
        *(
            Register(
                keep_out(index, edge),
                KEEP_OUT_BASE + 16 * index + 4 * place,
                Access.RW,
                f"Keep-out rectangle {index}: {'greatest' if edge.endswith('high') else 'least'} {edge[0]} code within it.",
                width=20,
                signed=True,
                locked=True,
                unit="m",
                quantity=edge[0],
            )  # fmt: skip
            for index in range(KEEP_OUTS)
            for place, edge in enumerate(KEEP_OUT_EDGES)
        ),
    ),
)
