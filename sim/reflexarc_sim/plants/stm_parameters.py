"""The numbers of an STM, and what the compiled step makes of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..specimens import Specimen
from . import adatoms, flicker, scanner
from .adatoms import Manipulation
from .motion import CoarseMotor
from .stm_layout import Parameter
from .tip import Odds

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


def _numbers(default: tuple[float, ...], most: int, low: float, high: float, unit: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "unit": unit, "most": most})


def _points(default: tuple[tuple[float, float], ...], most: int, low: float, high: float, unit: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "unit": unit, "most": most, "points": True})


def _choice(default: Any, *choices: Any) -> Any:
    return field(default=default, metadata={"choices": choices})


@dataclass(frozen=True)
class StmParameters:
    """SI units. A value outside its range raises `ValueError` with the name, the value and the range in one line.

    What each means, and where the defaults come from: docs/guide/plant.md.
    """

    # Scanner
    x_m_per_V: float = _number(50e-9, 1e-12, 2e-5, "m/V")
    y_m_per_V: float = _number(50e-9, 1e-12, 2e-5, "m/V")
    z_m_per_V: float = _number(10e-9, 1e-12, 2e-5, "m/V")
    xy_bandwidth_Hz: float = _number(10e3, 1.0, 1e6, "Hz")
    z_resonance_Hz: float = _number(60e3, LOWEST_Z_RESONANCE_HZ, 1e6, "Hz")
    z_quality: float = _number(8.0, 0.6, 1000.0, "")
    x_hysteresis: float = _number(0.0, 0.0, 0.25, "of the stroke")  # width of the full stroke's loop
    y_hysteresis: float = _number(0.0, 0.0, 0.25, "of the stroke")
    z_hysteresis: float = _number(0.0, 0.0, 0.25, "of the stroke")
    x_creep_per_decade: float = _number(0.0, 0.0, 0.1, "of the step")  # of time
    y_creep_per_decade: float = _number(0.0, 0.0, 0.1, "of the step")
    z_creep_per_decade: float = _number(0.0, 0.0, 0.1, "of the step")
    # Surface, drift, coarse motor
    mean_height_m: float = _number(0.0, -2e-5, 2e-5, "m")
    drift_x_m_per_s: float = _number(20e-12, -1e-9, 1e-9, "m/s")
    drift_y_m_per_s: float = _number(-10e-12, -1e-9, 1e-9, "m/s")
    drift_z_m_per_s: float = _number(5e-12, -1e-9, 1e-9, "m/s")
    first_drift_x_m_per_s: float = _number(0.0, -1e-7, 1e-7, "m/s")  # besides, at the start; dies away
    first_drift_y_m_per_s: float = _number(0.0, -1e-7, 1e-7, "m/s")
    first_drift_z_m_per_s: float = _number(0.0, -1e-7, 1e-7, "m/s")
    drift_time_constant_s: float = _number(600.0, 1e-3, 1e6, "s")
    coarse_gap_m: float = _number(0.0, 0.0, 1e-3, "m")  # at the start, on top of what z has to reach
    coarse_step_m: float = _number(80e-9, 0.0, 1e-6, "m")  # away from the specimen
    coarse_step_towards_m: float = _number(60e-9, 0.0, 1e-6, "m")
    coarse_scatter: float = _number(0.1, 0.0, 0.5, "of a step")  # standard deviation
    coarse_jitter_m: float = _number(3e-9, 0.0, 100e-9, "m")  # sideways, standard deviation of a step
    # Junction and tip
    work_function_eV: float = _number(4.5, 0.1, 10.0, "eV")
    contact_release_m: float = _number(10e-12, 0.0, 1e-9, "m")
    tip_changes_per_s: float = _number(0.0, 0.0, 1e4, "1/s")
    tip_change_on_contact: float = _number(0.0, 0.0, 1.0, "")  # probability
    tip_change_height_m: float = _number(100e-12, 0.0, 1e-9, "m")  # at most, either way
    tip_change_lateral_m: float = _number(500e-12, 0.0, 10e-9, "m")  # at most, along x and along y
    tip_change_work_function_eV: float = _number(0.5, 0.0, 2.0, "eV")  # at most, either way, and within 3.5 to 5.5 eV
    double_tip_probability: float = _number(0.2, 0.0, 1.0, "")  # of a change that leaves a second apex
    double_tip_distance_m: float = _number(2e-9, 0.0, 100e-9, "m")  # at most; at least half of it
    # Adatoms that the tip can move
    adatoms_m: tuple[tuple[float, float], ...] = _points((), adatoms.MOST, -1e-4, 1e-4, "m")  # from the specimen's centre
    adatom_height_m: float = _number(0.1e-9, 1e-12, 1e-9, "m")
    adatom_radius_m: float = _number(0.4e-9, 0.05e-9, 5e-9, "m")  # where half of the height is left
    adatom_lattice_m: float = _number(0.288e-9, 0.1e-9, 2e-9, "m")  # distance of neighbouring sites
    adatom_capture_m: float = _number(0.25e-9, 0.05e-9, 5e-9, "m")  # greatest lateral distance from tip to adatom for a move
    adatom_move_current_A: float = _number(2e-9, 1e-12, 1e-3, "A")  # least
    adatom_move_gap_m: float = _number(0.45e-9, 0.0, 2e-9, "m")  # greatest
    # Preamplifier
    preamp: str = _choice("linear", "linear", "logarithmic")
    preamp_gain_V_per_A: float = _number(1e9, 1e3, 1e13, "V/A")  # of gain code 0
    preamp_bandwidth_Hz: float = _number(50e3, 1.0, 1e8, "Hz")
    preamp_gains_V_per_A: tuple[float, ...] = _numbers((1e7, 1e8, 1e10), 15, 1e3, 1e13, "V/A")  # of gain codes 1, 2, ...
    preamp_bandwidths_Hz: tuple[float, ...] = _numbers((400e3, 200e3, 7e3), 15, 1.0, 1e8, "Hz")
    preamp_log_V_per_decade: float = _number(1.0, 0.01, 10.0, "V")
    preamp_log_reference_A: float = _number(1e-12, 1e-15, 1e-6, "A")
    preamp_rail_V: float = _number(5.0, 0.1, 15.0, "V")
    feedback_ohm: float = _number(1e9, 1e3, 1e13, "ohm")  # of gain code 0; goes with the gain
    # Noise
    temperature_K: float = _number(300.0, 0.0, 1000.0, "K")
    current_flicker_per_sqrtHz: float = _number(1e-3, 0.0, 1.0, "1/sqrt(Hz)")  # 1/f noise: density at 1 Hz, of the current
    preamp_flicker_A_per_sqrtHz: float = _number(12e-15, 0.0, 1e-9, "A/sqrt(Hz)")
    z_flicker_m_per_sqrtHz: float = _number(0.33e-12, 0.0, 1e-9, "m/sqrt(Hz)")
    noise: bool = _choice(True, True, False)

    def __post_init__(self) -> None:
        for _, text in parameter_faults({entry.name: getattr(self, entry.name) for entry in fields(self)}):
            raise ValueError(text)

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


def _within(value: object, low: float, high: float) -> bool:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return number and bool(low <= value <= high)  # type: ignore[operator]  # false for NaN too


def _are_points(value: object, most: int, low: float, high: float) -> bool:
    pairs = value if isinstance(value, tuple | list) else None
    return (
        pairs is not None
        and len(pairs) <= most
        and all(isinstance(pair, tuple | list) and len(pair) == 2 and all(_within(n, low, high) for n in pair) for pair in pairs)
    )


def parameter_faults(values: Mapping[str, object]) -> list[tuple[str, str]]:
    """What is wrong with values of `StmParameters` fields: pairs of a field and one line that says what would be accepted.

    Fields that are not among `values` have their defaults. Raises `KeyError` for a name that is no field.
    """
    entries = {entry.name: entry for entry in fields(StmParameters)}
    found = []
    for name, value in values.items():
        about = entries[name].metadata
        shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "..."
        if "choices" in about:
            good = any(type(value) is type(choice) and value == choice for choice in about["choices"])
            accepted = ", ".join(repr(choice) for choice in about["choices"])
        else:
            accepted = f"{about['low']:g} to {about['high']:g} {about['unit']}".rstrip()
            if "points" in about:
                good = _are_points(value, about["most"], about["low"], about["high"])
                accepted = f"up to {about['most']} pairs [x, y], each number {accepted}"
            elif "most" in about:
                numbers = value if isinstance(value, tuple | list) else None
                good = (
                    numbers is not None and len(numbers) <= about["most"] and all(_within(n, about["low"], about["high"]) for n in numbers)
                )
                accepted = f"up to {about['most']} numbers, each {accepted}"
            else:
                good = _within(value, about["low"], about["high"])
        if not good:
            why = ", because the twin compresses time" if name == "z_resonance_Hz" else ""
            found.append((name, f"{name} = {shown} is not possible; accepted: {accepted}{why}"))
    gains, bandwidths = (values.get(name, entries[name].default) for name in ("preamp_gains_V_per_A", "preamp_bandwidths_Hz"))
    if isinstance(gains, tuple | list) and isinstance(bandwidths, tuple | list) and len(gains) != len(bandwidths):
        name = "preamp_gains_V_per_A" if "preamp_gains_V_per_A" in values else "preamp_bandwidths_Hz"
        counts = f"preamp_gains_V_per_A has {len(gains)} and preamp_bandwidths_Hz {len(bandwidths)} numbers"
        found.append((name, f"{counts}; accepted: a bandwidth for each gain"))
    points, lattice_m = (values.get(name, entries[name].default) for name in ("adatoms_m", "adatom_lattice_m"))
    if not {"adatoms_m", "adatom_lattice_m"} & {name for name, _ in found}:
        if pair := adatoms.on_one_site(points, lattice_m):  # type: ignore[arg-type]
            numbered = f"adatoms_m puts adatoms {pair[0] + 1} and {pair[1] + 1} of {len(points)} on one site"  # type: ignore[arg-type]
            found.append(("adatoms_m", f"{numbered}; accepted: each on a site of its own, {lattice_m:g} m from the next"))
    return found


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


def preamp_of_gain_code(parameters: StmParameters, code: int, sample_period_s: float) -> dict[Parameter, float]:
    """What the preamplifier is with a gain code: gain, share of the way in a sample, variance of its Johnson noise.

    The feedback resistor is what sets the gain, so it goes with it. Raises `ValueError`, one line, for a code that the preamplifier has not.
    """
    p = parameters
    gains = (p.preamp_gain_V_per_A, *(p.preamp_gains_V_per_A if p.preamp == "linear" else ()))
    if isinstance(code, bool) or not isinstance(code, int) or not 0 <= code < len(gains):
        last = f" to {len(gains) - 1}" if len(gains) > 1 else ""
        raise ValueError(f"gain code {code!r} is not possible; accepted: 0{last}, for {', '.join(f'{gain:g}' for gain in gains)} V/A")
    bandwidth_Hz = (p.preamp_bandwidth_Hz, *p.preamp_bandwidths_Hz)[code]
    feedback_ohm = p.feedback_ohm * (gains[code] / gains[0])
    # White noise of the one-sided density S, sampled at the rate f, has the variance S f / 2.
    # Johnson noise of a resistor: S = 4 k T / R (Nyquist, 1928).
    johnson = 4 * BOLTZMANN_J_PER_K * p.temperature_K / feedback_ohm * (1 / sample_period_s) / 2
    return {
        Parameter.GAIN_V_PER_A: gains[code],
        Parameter.PREAMP_SHARE: -math.expm1(-2 * math.pi * bandwidth_Hz * sample_period_s),
        Parameter.JOHNSON_VARIANCE: johnson if p.noise else 0.0,
    }


def parameters_array(parameters: StmParameters, specimen: Specimen, sample_period_s: float) -> NDArray[np.float64]:
    """The array (`PARAMETER_SIZE`,) that the compiled step reads, with gain code 0 and no rise provoked."""
    p = parameters
    rate_Hz = 1 / sample_period_s
    resonance = resonance_over_one_sample(p.z_resonance_Hz, p.z_quality, sample_period_s)
    # Shot noise: S = 2 e |I| (Schottky, 1918), with the variance S f / 2.
    shot = 2 * ELEMENTARY_CHARGE_C * rate_Hz / 2
    hysteresis = (p.x_hysteresis, p.y_hysteresis, p.z_hysteresis)
    creep = (p.x_creep_per_decade, p.y_creep_per_decade, p.z_creep_per_decade)
    flickers = (p.current_flicker_per_sqrtHz, p.preamp_flicker_A_per_sqrtHz, p.z_flicker_m_per_sqrtHz) if p.noise else (0.0, 0.0, 0.0)
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
        Parameter.LOGARITHMIC: 1.0 if p.preamp == "logarithmic" else 0.0,
        Parameter.LOG_V_PER_DECADE: p.preamp_log_V_per_decade,
        Parameter.LOG_REFERENCE_A: p.preamp_log_reference_A,
        Parameter.RAIL_V: p.preamp_rail_V,
        Parameter.RISE_SPEED: 0.0,
        Parameter.RISE_LIMIT: 0.0,
        Parameter.FIRST_DRIFT_X: p.first_drift_x_m_per_s,
        Parameter.FIRST_DRIFT_Y: p.first_drift_y_m_per_s,
        Parameter.FIRST_DRIFT_Z: p.first_drift_z_m_per_s,
        Parameter.DRIFT_TIME: p.drift_time_constant_s,
        Parameter.HYSTERETIC: any(hysteresis),
        Parameter.CREEPING: any(creep),
        Parameter.FLICKERING: any(flickers),
        **preamp_of_gain_code(p, 0, sample_period_s),
    }
    motor = {
        CoarseMotor.AWAY: p.coarse_step_m,
        CoarseMotor.TOWARDS: p.coarse_step_towards_m,
        CoarseMotor.SCATTER: p.coarse_scatter,
        CoarseMotor.JITTER: p.coarse_jitter_m,
    }
    odds = {
        Odds.PER_SAMPLE: -math.expm1(-p.tip_changes_per_s * sample_period_s),
        Odds.ON_CONTACT: p.tip_change_on_contact,
        Odds.HEIGHT: p.tip_change_height_m,
        Odds.LATERAL: p.tip_change_lateral_m,
        Odds.DOUBLE: p.double_tip_probability,
        Odds.DISTANCE: p.double_tip_distance_m,
        Odds.WORK_FUNCTION: p.work_function_eV,
        Odds.WORK_FUNCTION_CHANGE: p.tip_change_work_function_eV,
    }
    manipulation = {
        Manipulation.COUNT: len(p.adatoms_m),
        Manipulation.HEIGHT: p.adatom_height_m,
        Manipulation.SHARPNESS: math.log(2) / p.adatom_radius_m**2,
        Manipulation.LATTICE: p.adatom_lattice_m,
        Manipulation.CAPTURE: p.adatom_capture_m,
        Manipulation.CURRENT: p.adatom_move_current_A,
        Manipulation.GAP: p.adatom_move_gap_m,
    }
    # The blocks in the order of stm_layout.
    return np.concatenate(
        [
            [values[name] for name in Parameter],
            flicker.coefficients(flickers, sample_period_s),
            scanner.play_thresholds(DAC_V),
            *(scanner.play_weights(width) for width in hysteresis),
            scanner.relaxation_shares(sample_period_s),
            *(scanner.creep_weights(per_decade) for per_decade in creep),
            [motor[name] for name in CoarseMotor],
            [odds[name] for name in Odds],
            [manipulation[name] for name in Manipulation],
        ]
    )
