"""Conditions on the converters' raw samples and on the feedback's error."""

from reflexarc.contract.registers import Access, Block, Register

CHANNELS = 2  # converters: current (or deflection, or detector), and the monitor (photodiode sum, or beam current)
CURRENT, MONITOR = range(CHANNELS)

CODE_MAX = (1 << 19) - 1
CODE_MIN = -(1 << 19)
SLEW_MAX = (1 << 20) - 1  # between the rails: never violated

OSCILLATION_FRACTION_BITS = 20  # of the energy, Q12.20, log2 of the current squared


def _window(name: str, offset: int, what: str, *, high: bool, locked: bool, open_: bool, quantity: str) -> Register:
    rail = CODE_MAX if high else CODE_MIN
    word = "Greatest" if high else "Least"
    return Register(
        name, offset, Access.RW, f"{word} allowed {what}.", width=20, signed=True, reset=rail if open_ else 0, locked=locked,
        unit="A" if quantity == "current" else "V", quantity=quantity,
    )  # fmt: skip


def _slew(name: str, offset: int, what: str, *, locked: bool, quantity: str) -> Register:
    return Register(
        name, offset, Access.RW, f"Greatest allowed change of the {what} from one sample to the next.", width=20, reset=SLEW_MAX,
        locked=locked, unit="A" if quantity == "current" else "V", quantity=f"{quantity}_change",
    )  # fmt: skip


BLOCK = Block(
    "signals",
    0x900,
    "Windows, slew, saturation and stuck converters on each raw sample; oscillation of the feedback. Of a limit and its soft twin the "
    "tighter counts.",
    (
        _window("current_high", 0x00, "sample of the current", high=True, locked=True, open_=False, quantity="current"),
        _window("current_low", 0x04, "sample of the current", high=False, locked=True, open_=False, quantity="current"),
        _slew("current_slew", 0x08, "current", locked=True, quantity="current"),
        _window(
            "pulse_current_high", 0x0C, "sample during a pulse and its settling", high=True, locked=True, open_=False, quantity="current"
        ),
        _window(
            "pulse_current_low", 0x10, "sample during a pulse and its settling", high=False, locked=True, open_=False, quantity="current"
        ),
        _slew("pulse_current_slew", 0x14, "current during a pulse and its settling", locked=True, quantity="current"),
        Register(
            "pulse_samples_max",
            0x18,
            Access.RW,
            "Longest time that the pulse limits count; after it the normal ones do.",
            width=24,
            locked=True,
            unit="samples",
        ),
        _window("monitor_high", 0x1C, "sample of the monitor", high=True, locked=True, open_=False, quantity="monitor"),
        _window("monitor_low", 0x20, "sample of the monitor", high=False, locked=True, open_=False, quantity="monitor"),
        _slew("monitor_slew", 0x24, "monitor", locked=True, quantity="monitor"),
        Register(
            "stuck_samples",
            0x28,
            Access.RW,
            "Equal samples in a row that mean a stuck converter.",
            width=24,
            reset=64,
            minimum=2,
            locked=True,
            unit="samples",
        ),
        Register(
            "contact_current",
            0x2C,
            Access.RW,
            "Magnitude of the current from which on a trip counts as contact.",
            width=19,
            reset=CODE_MAX,
            locked=True,
            unit="A",
            quantity="current",
        ),
        Register(
            "oscillation_limit",
            0x30,
            Access.RW,
            "Greatest mean square of the error within the band, Q12.20.",
            locked=True,
            reset=0xFFFFFFFF,
            unit="log2^2",
            scale=2**-OSCILLATION_FRACTION_BITS,
        ),
        Register("oscillation_fast", 0x34, Access.RW, "Upper edge of the band: a low-pass of 2^n samples.", width=4, reset=2, locked=True),
        Register("oscillation_slow", 0x38, Access.RW, "Lower edge of the band: a low-pass of 2^n samples.", width=4, reset=7, locked=True),
        Register("oscillation_window", 0x3C, Access.RW, "Time over which the mean is taken: 2^n samples.", width=4, reset=12, locked=True),
        _window("soft_current_high", 0x40, "sample of the current, soft", high=True, locked=False, open_=True, quantity="current"),
        _window("soft_current_low", 0x44, "sample of the current, soft", high=False, locked=False, open_=True, quantity="current"),
        _slew("soft_current_slew", 0x48, "current, soft", locked=False, quantity="current"),
        _window("soft_monitor_high", 0x4C, "sample of the monitor, soft", high=True, locked=False, open_=True, quantity="monitor"),
        _window("soft_monitor_low", 0x50, "sample of the monitor, soft", high=False, locked=False, open_=True, quantity="monitor"),
        _slew("soft_monitor_slew", 0x54, "monitor, soft", locked=False, quantity="monitor"),
        Register("monitor", 0x58, Access.RO, "Last sample of the monitor.", width=20, signed=True, unit="V", quantity="monitor"),
        Register(
            "oscillation",
            0x5C,
            Access.RO,
            "Present mean square of the error within the band, Q12.20.",
            unit="log2^2",
            scale=2**-OSCILLATION_FRACTION_BITS,
        ),
    ),
)
