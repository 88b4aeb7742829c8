"""The first reaction: an event starts a bias pulse."""

from reflexarc.contract.registers import Access, Block, Register

BLOCK = Block(
    "reaction",
    0x700,
    "An event starts a bias pulse; feedback is held and the scan pauses through the pulse and its settling.",
    (
        Register("enable", 0x00, Access.RW, "1: react to events.", width=1),
        Register("bias", 0x04, Access.RW, "Bias during the pulse.", width=20, signed=True, unit="V", quantity="bias"),
        Register("pulse_samples", 0x08, Access.RW, "Length of the pulse.", width=24, reset=1, minimum=1, unit="samples"),
        Register(
            "settle_samples",
            0x0C,
            Access.RW,
            "Rest after the pulse before feedback and scan go on.",
            width=24,
            reset=1,
            minimum=1,
            unit="samples",
        ),
        Register("budget", 0x10, Access.RW, "Number of pulses still allowed at the time of writing.", width=16, unit="pulses"),
        Register("remaining", 0x14, Access.RO, "Pulses still allowed.", width=16, unit="pulses"),
        Register("count", 0x18, Access.RO, "Pulses since reset.", unit="pulses"),
        Register("ignored", 0x1C, Access.RO, "Events that came while a pulse was under way, since reset.", unit="events"),
        Register(
            "latency",
            0x20,
            Access.RO,
            "Cycles from the last event that started a pulse to the gate's bias output.",
            width=16,
            unit="cycles",
        ),
        Register("x", 0x24, Access.RO, "Where the last pulse was given, x.", signed=True, unit="m", quantity="x", scale=2**-12),
        Register("y", 0x28, Access.RO, "Where the last pulse was given, y.", signed=True, unit="m", quantity="y", scale=2**-12),
    ),
)
