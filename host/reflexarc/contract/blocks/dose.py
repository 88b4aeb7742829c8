"""Dose: electrons through the open blanker, pulses and charge through the tip, counted from what the outputs did."""

import enum

from reflexarc.contract.registers import Access, Block, Register

ELECTRON_FRACTION_BITS = 20  # rates are Q12.20 electrons a cycle, doses Q44.20 electrons
MONITOR_GAIN_SHIFT = 8  # beam rate = monitor code * monitor_gain / 2**8, in Q12.20
LARGE_DOSE_BITS = 8  # limits of region and frame count 256 electrons
CHARGE_BITS = 8  # the limit of the charge counts 256 codes times samples


class DoseCommand(enum.IntEnum):
    RESET_REGION = 1
    RESET_TIP = 2  # pulses and charge: a new tip


def _limit(name: str, offset: int, doc: str, unit: str, locked: bool, scale: float = 1.0, quantity: str = "") -> Register:
    reset = 0 if locked else 0xFFFFFFFF
    return Register(name, offset, Access.RW, doc, reset=reset, locked=locked, unit=unit, scale=scale, quantity=quantity)


def _edge(axis: str, side: str, offset: int) -> Register:
    word = "Greatest" if side == "high" else "Least"
    return Register(
        f"region_{axis}_{side}", offset, Access.RW, f"{word} {axis} code of the region.", width=20, signed=True, locked=True, unit="m",
        quantity=axis,
    )  # fmt: skip


def _count(name: str, offset: int, doc: str) -> Register:
    return Register(name, offset, Access.RO, doc, width=64, unit="electrons", scale=2**-ELECTRON_FRACTION_BITS)


_LARGE = float(1 << LARGE_DOSE_BITS)

BLOCK = Block(
    "dose",
    0xB00,
    "Beam: open time of the blanker, its delay included, times the beam current. Tip: pulses and their charge. Of a limit and its soft twin "
    "the tighter counts.",
    (
        Register(
            "beam_rate", 0x00, Access.RW, "Beam current, Q12.20 electrons a cycle; the least that is assumed where it is measured.",
            locked=True, unit="electrons/cycle", scale=2**-ELECTRON_FRACTION_BITS,
        ),
        Register(
            "monitor_gain", 0x04, Access.RW, "Electrons a cycle for one code of the monitor, Q.28; 0: the beam current is not measured.",
            width=18, locked=True, unit="electrons/cycle", scale=2**-(ELECTRON_FRACTION_BITS + MONITOR_GAIN_SHIFT),
        ),
        Register(
            "blanker_delay", 0x08, Access.RW, "Cycles for which the beam stays open after the blanker was closed.", width=16, locked=True,
            unit="cycles",
        ),
        _limit("pixel_limit", 0x0C, "Greatest dose of a pixel.", "electrons", True),
        _limit("region_limit", 0x10, "Greatest dose of the region.", "electrons", True, _LARGE),
        _limit("frame_limit", 0x14, "Greatest dose of a frame.", "electrons", True, _LARGE),
        _limit("soft_pixel_limit", 0x18, "Greatest dose of a pixel, soft.", "electrons", False),
        _limit("soft_region_limit", 0x1C, "Greatest dose of the region, soft.", "electrons", False, _LARGE),
        _limit("soft_frame_limit", 0x20, "Greatest dose of a frame, soft.", "electrons", False, _LARGE),
        _edge("x", "low", 0x24),
        _edge("x", "high", 0x28),
        _edge("y", "low", 0x2C),
        _edge("y", "high", 0x30),
        _limit("pulses_limit", 0x34, "Greatest number of pulses of this tip.", "pulses", True),
        _limit("charge_limit", 0x38, "Greatest charge through this tip in pulses.", "A*samples", True, float(1 << CHARGE_BITS), "charge"),
        _limit("soft_pulses_limit", 0x3C, "Greatest number of pulses of this tip, soft.", "pulses", False),
        _limit(
            "soft_charge_limit", 0x40, "Greatest charge through this tip in pulses, soft.", "A*samples", False, float(1 << CHARGE_BITS),
            "charge",
        ),
        Register("command", 0x44, Access.WO, "Begin a count anew.", width=2, locked=True, values=DoseCommand),
        _count("pixel_dose", 0x48, "Dose since the last pixel began."),
        _count("region_dose", 0x50, "Dose in the region since its reset."),
        _count("frame_dose", 0x58, "Dose since the last frame began."),
        Register("open_time", 0x60, Access.RO, "Time for which the beam was open since reset.", width=64, unit="cycles"),
        Register("pulses", 0x68, Access.RO, "Pulses of this tip.", unit="pulses"),
        Register("charge", 0x6C, Access.RO, "Charge through this tip in pulses.", width=64, unit="A*samples", quantity="charge"),
        Register(
            "beam", 0x74, Access.RO, "Beam current that counts now, Q12.20 electrons a cycle.", unit="electrons/cycle",
            scale=2**-ELECTRON_FRACTION_BITS,
        ),
    ),
)  # fmt: skip
