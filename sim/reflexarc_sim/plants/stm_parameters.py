"""The numbers of an STM, and what the compiled step makes of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..specimens import Specimen
from .stm_step import Parameter

# CODATA 2018: the first four are exact by the definition of the SI, the mass is measured.
ELEMENTARY_CHARGE_C = 1.602176634e-19
PLANCK_JS = 6.62607015e-34
BOLTZMANN_J_PER_K = 1.380649e-23
CONDUCTANCE_QUANTUM_S = 2 * ELEMENTARY_CHARGE_C**2 / PLANCK_JS  # 77.48 uS
ELECTRON_MASS_KG = 9.1093837015e-31

DAC_V = 10.0  # full scale
LOWEST_Z_RESONANCE_HZ = 30e3


def _number(default: float, low: float, high: float, unit: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "unit": unit})


@dataclass(frozen=True)
class StmParameters:
    """SI units. A value outside its range raises `ValueError` with the name, the value and the range in one line."""

    x_m_per_V: float = _number(50e-9, 1e-12, 1e-6, "m/V")
    y_m_per_V: float = _number(50e-9, 1e-12, 1e-6, "m/V")
    z_m_per_V: float = _number(10e-9, 1e-12, 1e-6, "m/V")
    xy_bandwidth_Hz: float = _number(10e3, 1.0, 1e6, "Hz")
    z_resonance_Hz: float = _number(60e3, LOWEST_Z_RESONANCE_HZ, 1e6, "Hz")
    z_quality: float = _number(8.0, 0.6, 1000.0, "")
    mean_height_m: float = _number(0.0, -1e-6, 1e-6, "m")
    drift_x_m_per_s: float = _number(20e-12, -1e-9, 1e-9, "m/s")
    drift_y_m_per_s: float = _number(-10e-12, -1e-9, 1e-9, "m/s")
    drift_z_m_per_s: float = _number(5e-12, -1e-9, 1e-9, "m/s")
    work_function_eV: float = _number(4.5, 0.1, 10.0, "eV")
    contact_release_m: float = _number(10e-12, 0.0, 1e-9, "m")
    preamp: str = "linear"  # or "logarithmic"
    preamp_gain_V_per_A: float = _number(1e9, 1e3, 1e13, "V/A")
    preamp_bandwidth_Hz: float = _number(50e3, 1.0, 1e8, "Hz")
    preamp_log_V_per_decade: float = _number(1.0, 0.01, 10.0, "V")
    preamp_log_reference_A: float = _number(1e-12, 1e-15, 1e-6, "A")
    preamp_rail_V: float = _number(5.0, 0.1, 15.0, "V")
    feedback_ohm: float = _number(1e9, 1e3, 1e13, "ohm")
    temperature_K: float = _number(300.0, 0.0, 1000.0, "K")
    noise: bool = True

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not entry.metadata:
                continue
            low, high, unit = entry.metadata["low"], entry.metadata["high"], entry.metadata["unit"]
            number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
            if not number or not low <= value <= high:  # false for NaN too
                why = ", because the twin compresses time" if entry.name == "z_resonance_Hz" else ""
                raise ValueError(f"{entry.name} = {value!r} is not possible; accepted: {low:g} to {high:g} {unit}".rstrip() + why)
        if self.preamp not in ("linear", "logarithmic"):
            raise ValueError(f"preamp = {self.preamp!r} is not possible; accepted: 'linear', 'logarithmic'")
        if self.noise not in (True, False):
            raise ValueError(f"noise = {self.noise!r} is not possible; accepted: True, False")

    @property
    def decay_per_m(self) -> float:
        """kappa: a wave function falls by exp(-kappa d) over the gap d, the current by exp(-2 kappa d)."""
        hbar = PLANCK_JS / (2 * math.pi)
        return math.sqrt(2 * ELECTRON_MASS_KG * self.work_function_eV * ELEMENTARY_CHARGE_C) / hbar

    def current_A(self, bias_V: float, gap_m: float) -> float:
        """The tunnelling current without noise; in contact (no gap) that of one conductance quantum."""
        return bias_V * CONDUCTANCE_QUANTUM_S * math.exp(-2 * self.decay_per_m * max(gap_m, 0.0))

    def gap_m(self, bias_V: float, current_A: float) -> float:
        """The gap at which `current_A` flows: the inverse of `current_A`. Raises `ValueError` if no gap gives it."""
        ratio = current_A / (bias_V * CONDUCTANCE_QUANTUM_S) if bias_V else 0.0
        if not 0.0 < ratio <= 1.0:
            raise ValueError(
                f"{current_A:g} A at {bias_V:g} V flows at no gap; accepted: the sign of the bias, at most one conductance quantum"
            )
        return -math.log(ratio) / (2 * self.decay_per_m)


def resonance_over_one_sample(frequency_Hz: float, quality: float, period_s: float) -> NDArray[np.float64]:
    """Transition matrix (2, 2) of (z, dz/dt) about its resting place, z'' + (w/Q) z' + w^2 z = 0 with w = 2 pi f, over `period_s`.

    The closed form of the matrix exponential for Q > 1/2 (any text on the damped oscillator). With an input that is constant over the
    period, the deviation from the new resting place evolves by the same matrix, so this is the exact zero-order-hold discretisation.
    """
    natural = 2 * math.pi * frequency_Hz
    damping = natural / (2 * quality)
    ringing = math.sqrt(natural**2 - damping**2)
    fall = math.exp(-damping * period_s)
    cosine, sine = fall * math.cos(ringing * period_s), fall * math.sin(ringing * period_s) / ringing
    return np.array([[cosine + damping * sine, sine], [-(natural**2) * sine, cosine - damping * sine]])


def parameters_array(parameters: StmParameters, specimen: Specimen, sample_period_s: float) -> NDArray[np.float64]:
    """The array (`len(Parameter)`,) that the compiled step reads, with no rise provoked."""
    p = parameters
    rate_Hz = 1 / sample_period_s
    resonance = resonance_over_one_sample(p.z_resonance_Hz, p.z_quality, sample_period_s)
    # White noise of the one-sided density S, sampled at the rate f, has the variance S f / 2.
    # Shot noise: S = 2 e |I| (Schottky, 1918); Johnson noise of a resistor: S = 4 k T / R (Nyquist, 1928).
    shot = 2 * ELEMENTARY_CHARGE_C * rate_Hz / 2
    johnson = 4 * BOLTZMANN_J_PER_K * p.temperature_K / p.feedback_ohm * rate_Hz / 2
    values = {
        Parameter.SAMPLE_PERIOD: sample_period_s,
        Parameter.X_M_PER_V: p.x_m_per_V,
        Parameter.Y_M_PER_V: p.y_m_per_V,
        Parameter.Z_M_PER_V: p.z_m_per_V,
        Parameter.XY_SHARE: -math.expm1(-2 * math.pi * p.xy_bandwidth_Hz * sample_period_s),
        Parameter.Z_FROM_Z: resonance[0, 0],
        Parameter.Z_FROM_VELOCITY: resonance[0, 1],
        Parameter.VELOCITY_FROM_Z: resonance[1, 0],
        Parameter.VELOCITY_FROM_VELOCITY: resonance[1, 1],
        Parameter.ROWS: specimen.heights_m.shape[0],
        Parameter.COLUMNS: specimen.heights_m.shape[1],
        Parameter.SIZE_X: specimen.size_x_m,
        Parameter.SIZE_Y: specimen.size_y_m,
        Parameter.MEAN_HEIGHT: p.mean_height_m,
        Parameter.DRIFT_X: p.drift_x_m_per_s,
        Parameter.DRIFT_Y: p.drift_y_m_per_s,
        Parameter.DRIFT_Z: p.drift_z_m_per_s,
        Parameter.TWO_KAPPA: 2 * p.decay_per_m,
        Parameter.CONTACT_CONDUCTANCE: CONDUCTANCE_QUANTUM_S,
        Parameter.CONTACT_RELEASE: p.contact_release_m,
        Parameter.SHOT_VARIANCE_PER_A: shot if p.noise else 0.0,
        Parameter.JOHNSON_VARIANCE: johnson if p.noise else 0.0,
        Parameter.LOGARITHMIC: 1.0 if p.preamp == "logarithmic" else 0.0,
        Parameter.GAIN_V_PER_A: p.preamp_gain_V_per_A,
        Parameter.LOG_V_PER_DECADE: p.preamp_log_V_per_decade,
        Parameter.LOG_REFERENCE_A: p.preamp_log_reference_A,
        Parameter.PREAMP_SHARE: -math.expm1(-2 * math.pi * p.preamp_bandwidth_Hz * sample_period_s),
        Parameter.RAIL_V: p.preamp_rail_V,
        Parameter.RISE_SPEED: 0.0,
        Parameter.RISE_LIMIT: 0.0,
    }
    return np.array([values[name] for name in Parameter], dtype=np.float64)
