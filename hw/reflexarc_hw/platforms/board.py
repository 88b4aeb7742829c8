"""What a platform has: its straps, constants of the gateware and never registers."""

from dataclasses import dataclass

from reflexarc.contract.blocks.interlock import Strap


@dataclass(frozen=True)
class Board:
    """``straps``: instrument and wiring, see ``Strap``. ``lanes``: of the detector's engine, 0 where there is none. ``paired``: a multiplier of the chip
    makes two of its products."""

    name: str
    straps: Strap
    lanes: int = 4
    paired: bool = False

    @property
    def channels(self) -> int:
        """Converters in use."""
        return 2 if Strap.MONITOR in self.straps else 1


# An STM with all that a board can have: what the twin is, and what timing is measured on.
FULL = Board(
    "full",
    Strap.RETRACT_POSITIVE
    | Strap.BLANK_ACTIVE_HIGH
    | Strap.ESTOP_NORMALLY_CLOSED
    | Strap.TIP
    | Strap.MOTOR
    | Strap.READBACK
    | Strap.MONITOR,
)
