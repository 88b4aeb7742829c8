"""The latched trip in physical units."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks.dose import CHARGE_BITS, LARGE_DOSE_BITS
from reflexarc.contract.blocks.interlock import Cause, ReadyLine
from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS
from reflexarc.contract.blocks.signals import OSCILLATION_FRACTION_BITS
from reflexarc.contract.program import StopReason
from reflexarc.safety.units import show


@dataclass(frozen=True)
class Trip:
    """The first trip since the last acknowledgement.

    ``cause`` came first, ``causes`` are all flags since. ``value`` and ``limit`` are in ``unit``; without a unit they say nothing to people and
    ``detail`` does.
    """

    cause: str
    causes: tuple[str, ...]
    time_cycles: int
    value: float
    limit: float
    unit: str
    time_s: float = 0.0
    detail: str = ""

    @property
    def measured(self) -> str:
        """What was measured against what; empty where a cause has nothing to measure."""
        against = f"{show(self.value, self.unit, 4)} against a limit of {show(self.limit, self.unit, 4)}" if self.unit else ""
        return ", ".join(part for part in (against, self.detail) if part)

    def __str__(self) -> str:
        return f"{self.cause} in cycle {self.time_cycles}{': ' if self.measured else ''}{self.measured}"


def _unsigned(raw: int) -> int:
    """Counts and energies fill 32 bits of a register that is signed for the others."""
    return raw & 0xFFFFFFFF


Converted = Callable[[Calibration, int], float]


def _current(calibration: Calibration, code: int) -> float:
    return calibration.code_to_current_A(code)


def _converter(calibration: Calibration, code: int) -> float:
    return code * calibration.monitor_V_per_code


_ELECTRONS: Converted = lambda c, raw: float(_unsigned(raw))  # noqa: E731
_LARGE: Converted = lambda c, raw: float(_unsigned(raw) << LARGE_DOSE_BITS)  # noqa: E731
_CODES: Converted = lambda c, raw: float(raw)  # noqa: E731

_MEASURED: Mapping[Cause, tuple[Converted, str]] = {
    Cause.CURRENT_HIGH: (_current, "A"),
    Cause.CURRENT_LOW: (_current, "A"),
    Cause.CURRENT_SLEW: (_current, "A"),
    Cause.MONITOR_HIGH: (_converter, "V"),
    Cause.MONITOR_LOW: (_converter, "V"),
    Cause.MONITOR_SLEW: (_converter, "V"),
    Cause.SATURATED: (_converter, "V"),
    Cause.STUCK: (_CODES, "samples"),
    Cause.OSCILLATION: (lambda c, raw: _unsigned(raw) * 2.0**-OSCILLATION_FRACTION_BITS, "log2^2"),
    Cause.XY_RANGE: (lambda c, code: code * c.x_m_per_code, "m"),
    Cause.Z_HIGH: (lambda c, code: code * c.z_m_per_code, "m"),
    Cause.Z_LOW: (lambda c, code: code * c.z_m_per_code, "m"),
    Cause.Z_VELOCITY: (lambda c, raw: raw * 2.0**-POSITION_FRACTION_BITS * c.z_m_per_code / c.sample_period_s, "m/s"),
    Cause.BIAS_LOW: (lambda c, code: code * c.bias_V_per_code, "V"),
    Cause.READBACK: (_CODES, "codes"),
    Cause.DOSE_PIXEL: (_ELECTRONS, "e"),
    Cause.DOSE_REGION: (_LARGE, "e"),
    Cause.DOSE_FRAME: (_LARGE, "e"),
    Cause.PULSES: (_ELECTRONS, "pulses"),
    Cause.CHARGE: (lambda c, raw: (_unsigned(raw) << CHARGE_BITS) * c.current_A_per_code * c.sample_period_s, "C"),
    Cause.HEARTBEAT: (lambda c, cycles: c.seconds(cycles), "s"),
    Cause.CPU_HEARTBEAT: (lambda c, cycles: c.seconds(cycles), "s"),
}


def low_lines(seen: int, required: int) -> str:
    """Ready lines that are asked for and low, in words."""
    return ", ".join(f"ready line {line.name} is low" for line in ReadyLine if required & ~seen & line)


def decode_trip(
    calibration: Calibration, cause: Cause, flags: int, cycles: int, value: int, limit: int, y_limits: tuple[int, ...] = ()
) -> Trip:
    """A trip from the registers' raw values. ``y_limits``: codes of the limits of y that are none of x's, to tell the axes apart."""
    detail = ""
    convert, unit = _MEASURED.get(cause, (_CODES, ""))
    shown, allowed = convert(calibration, value), convert(calibration, limit)
    match cause:
        case Cause.SATURATED:
            allowed = math.copysign(calibration.adc_full_scale_V, value)
        case Cause.XY_RANGE if limit in y_limits:
            shown, allowed, detail = value * calibration.y_m_per_code, limit * calibration.y_m_per_code, "in y"
        case Cause.KEEP_OUT:
            detail = "in keep-out " + ", ".join(str(index) for index in range(8) if value >> index & 1)
        case Cause.READY:
            detail = low_lines(value, limit)
        case Cause.GAIN:
            detail = f"the gain lines read {value}, {limit} is expected"
        case Cause.EVENT:
            detail = f"an event of class {value}"
        case Cause.HOST if value:
            detail = f"a program: {StopReason(value).name}" if value in set(StopReason) else f"a program: {value}"
    causes = tuple(c.name for c in Cause if flags >> c & 1)
    return Trip(cause.name, causes, cycles, shown, allowed, unit, calibration.seconds(cycles), detail)
