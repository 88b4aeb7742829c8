"""The one object that converts between physical units and codes."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

from reflexarc.contract.registers import Register

CODES_PER_SIDE = 1 << 19  # of a signed 20-bit converter
PICO = 1e-12
ELEMENTARY_CHARGE_C = 1.602176634e-19


class PreampKind(enum.Enum):
    LINEAR = "linear"
    LOGARITHMIC = "logarithmic"


@dataclass(frozen=True)
class Preamp:
    """Current to volts. It is an input of the interlock: its gain changes what every current limit means.

    Linear: V = gain * I. Logarithmic: V = sign(I) * log_V_per_decade * log10(1 + |I| / log_reference_A). ``gain_lines`` is what the gain
    lines read at this gain: the interlock trips while they read anything else.
    """

    kind: PreampKind = PreampKind.LINEAR
    gain_V_per_A: float = 1e9
    log_V_per_decade: float = 1.0
    log_reference_A: float = 1e-12
    gain_lines: int = 0

    def volts(self, current_A: float) -> float:
        if self.kind is PreampKind.LINEAR:
            return self.gain_V_per_A * current_A
        return math.copysign(self.log_V_per_decade * math.log10(1 + abs(current_A) / self.log_reference_A), current_A)

    def current_A(self, volts: float) -> float:
        if self.kind is PreampKind.LINEAR:
            return volts / self.gain_V_per_A
        return math.copysign(self.log_reference_A * (10 ** (abs(volts) / self.log_V_per_decade) - 1), volts)


@dataclass(frozen=True)
class Calibration:
    """Scanner, converters, preamplifier and clock of one instrument.

    Codes are signed 20-bit; z codes grow as the tip retracts. ``sample_period_s`` and ``cycles_per_sample`` come from the board.
    """

    sample_period_s: float = 560e-9
    cycles_per_sample: int = 56
    dac_full_scale_V: float = 10.0  # AD5791 with references of +-10 V
    adc_full_scale_V: float = 5.0  # AD4020 with a reference of 5 V: +-5 V
    x_m_per_V: float = 50e-9
    y_m_per_V: float = 50e-9
    z_m_per_V: float = 10e-9
    preamp: Preamp = field(default_factory=Preamp)

    @property
    def x_m_per_code(self) -> float:
        return self.x_m_per_V * self.dac_full_scale_V / CODES_PER_SIDE

    @property
    def y_m_per_code(self) -> float:
        return self.y_m_per_V * self.dac_full_scale_V / CODES_PER_SIDE

    @property
    def z_m_per_code(self) -> float:
        return self.z_m_per_V * self.dac_full_scale_V / CODES_PER_SIDE

    @property
    def bias_V_per_code(self) -> float:
        return self.dac_full_scale_V / CODES_PER_SIDE

    @property
    def x_range_m(self) -> float:
        """Half of the scanner's range in x."""
        return self.x_m_per_V * self.dac_full_scale_V

    @property
    def y_range_m(self) -> float:
        return self.y_m_per_V * self.dac_full_scale_V

    @property
    def z_range_m(self) -> float:
        return self.z_m_per_V * self.dac_full_scale_V

    @property
    def current_range_A(self) -> float:
        """Greatest current that the converter can tell from saturation."""
        return self.code_to_current_A(CODES_PER_SIDE - 1)

    def current_to_code(self, current_A: float) -> float:
        return self.preamp.volts(current_A) / self.adc_full_scale_V * CODES_PER_SIDE

    def code_to_current_A(self, code: float) -> float:
        return self.preamp.current_A(code * self.adc_full_scale_V / CODES_PER_SIDE)

    @property
    def monitor_V_per_code(self) -> float:
        return self.adc_full_scale_V / CODES_PER_SIDE

    @property
    def current_A_per_code(self) -> float:
        """Of a linear preamplifier; NaN for a logarithmic one, whose codes can't be added up to a charge."""
        return self.code_to_current_A(1) if self.preamp.kind is PreampKind.LINEAR else math.nan

    def electrons_per_cycle(self, beam_A: float) -> float:
        return beam_A / ELEMENTARY_CHARGE_C * self.sample_period_s / self.cycles_per_sample

    def beam_A(self, electrons_per_cycle: float) -> float:
        return electrons_per_cycle * ELEMENTARY_CHARGE_C * self.cycles_per_sample / self.sample_period_s

    def samples(self, seconds: float) -> int:
        """Nearest whole number of samples."""
        return round(seconds / self.sample_period_s)

    def cycles(self, seconds: float) -> int:
        return round(seconds / self.sample_period_s * self.cycles_per_sample)

    def seconds(self, cycles: float) -> float:
        return cycles / self.cycles_per_sample * self.sample_period_s

    def _unit(self, quantity: str) -> float:
        """Value of one code."""
        units = {
            "x": self.x_m_per_code, "y": self.y_m_per_code, "z": self.z_m_per_code, "bias": self.bias_V_per_code,
            "monitor": self.monitor_V_per_code, "monitor_change": self.monitor_V_per_code, "charge": self.current_A_per_code,
        }  # fmt: skip
        return units[quantity]

    def to_raw(self, register: Register, value: float) -> int:
        """Physical value to the register's raw value; ValueError outside the allowed range, in the register's unit.

        A change of the current goes by its codes; for a logarithmic preamplifier it counts from no current.
        """
        if not math.isfinite(value):
            raise ValueError(f"{register.name}: {value} is not a number")
        if register.quantity in ("current", "current_change"):
            raw = round(self.current_to_code(value) / register.scale)
        elif register.quantity == "charge" and self.preamp.kind is not PreampKind.LINEAR:
            raise ValueError(f"{register.name}: a charge can't be counted behind a logarithmic preamplifier")
        elif register.quantity:
            raw = round(value / (self._unit(register.quantity) * register.scale))
        elif register.unit == "cycles":
            raw = round(value)
        else:
            raw = round(value / register.scale)
        if not register.low <= raw <= register.high:
            low, high = self.to_physical(register, register.low), self.to_physical(register, register.high)
            raise ValueError(
                f"{register.name}: {value:g} {register.unit} is outside {low:g} to {high:g} {register.unit}".replace("  ", " ")
            )
        return raw

    def to_physical(self, register: Register, raw: int) -> float:
        """Raw value to the register's unit; counts and flags stay whole numbers."""
        if register.quantity in ("current", "current_change"):
            return self.code_to_current_A(raw * register.scale)
        if register.quantity:
            return raw * register.scale * self._unit(register.quantity)
        if register.scale != 1.0:
            return raw * register.scale
        return raw
