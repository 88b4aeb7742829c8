"""The STM that the twin scans: scanner, surface, tunnelling current and preamplifier. What it models and what not: docs/guide/plant.md."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..specimens import Specimen
from .noise import mix64
from .stm_parameters import DAC_V, StmParameters, parameters_array
from .stm_step import Parameter, State, callable_step, compiled_loop, compiled_step

__all__ = ["Parameter", "State", "StmParameters", "StmPlant"]

SAMPLE_PERIOD_S = 560e-9  # of an AD4020 read every 56 cycles at 100 MHz


class StmPlant:
    """One microscope with one specimen; begins at rest with the tip withdrawn (z at +10 V), x = y = bias = 0.

    The board process calls `step_address` with the addresses of `state`, `parameters_array`, `heights`, `dac_V` and `adc_V` once a sample;
    this object owns the arrays and must outlive the calls. Everything that changes lies in `state`, so any thread may make the calls (one
    at a time), and two plants with equal arguments give equal bits. Raising z volts retracts the tip.

    Raises `ValueError`, one line, for a sample period or seed out of range, a resonance or bandwidth too fast for the sample period, and a
    surface beyond the reach of z.
    """

    def __init__(
        self,
        specimen: Specimen,
        parameters: StmParameters | None = None,
        seed: int = 0,
        sample_period_s: float = SAMPLE_PERIOD_S,
    ) -> None:
        parameters = parameters or StmParameters()
        _check(specimen, parameters, sample_period_s)
        self.specimen = specimen
        self.parameters = parameters
        self.sample_period_s = sample_period_s
        self.heights: NDArray[np.float64] = specimen.heights_m
        self.parameters_array = parameters_array(parameters, specimen, sample_period_s)
        self.dac_V = np.array([0.0, 0.0, DAC_V, 0.0])
        self.adc_V = np.zeros(1)
        self.state = np.zeros(len(State))
        self.state[State.TIP_Z] = parameters.z_m_per_V * DAC_V
        self.state[State.HELD_Z_V] = DAC_V
        centre = float(specimen.height_at(0.0, 0.0)) + parameters.mean_height_m
        self.state[State.SURFACE] = centre
        self.state[State.GAP] = self.state[State.TIP_Z] - centre
        self.seed_noise(seed)
        self.step_address: int = compiled_step()
        self._step = callable_step()

    def seed_noise(self, seed: int) -> None:
        """Choose the noise from the next sample on: that of sample n depends on the seed and on n, and on nothing else."""
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**64:
            raise ValueError(f"seed = {seed!r} is not possible; accepted: a whole number from 0 to 2^64 - 1")
        # Mixed twice, so that neighbouring seeds are far apart in the sequence and 0 is as good as any other.
        key = int(mix64(np.uint64(int(mix64(np.uint64(seed))) ^ 0x9E3779B97F4A7C15)))
        self.state[State.NOISE_KEY_HIGH] = float(key >> 32)
        self.state[State.NOISE_KEY_LOW] = float(key & 0xFFFFFFFF)

    def step(self, dac_V: ArrayLike) -> float:
        """One sample: the four DAC volts (x, y, z, bias) at this instant; returns the preamplifier's volts at this instant.

        The bias acts at once, the scanner from this instant on: its effect shows in the next sample.
        """
        self.dac_V[:] = dac_V
        arrays = (self.state, self.parameters_array, self.heights, self.dac_V, self.adc_V)
        self._step(*(array.ctypes.data for array in arrays))
        return float(self.adc_V[0])

    def run(self, dac_V: ArrayLike) -> NDArray[np.float64]:
        """As many samples as `dac_V`, shape (n, 4), has rows: the same compiled function in a compiled loop. Returns volts, shape (n,)."""
        volts = np.ascontiguousarray(dac_V, dtype=np.float64)
        if volts.ndim != 2 or volts.shape[1] != 4:
            raise ValueError(f"DAC volts of shape {volts.shape} are not possible; accepted: (n, 4), for x, y, z and bias")
        out = np.zeros(volts.shape[0])
        if out.size:
            compiled_loop()(self.state, self.parameters_array, self.heights, volts, out)
            self.dac_V[:] = volts[-1]
            self.adc_V[0] = out[-1]
        return out

    def provoke_rise(self, speed_m_per_s: float, height_m: float) -> None:
        """Inject a fault: from the next sample on the surface moves at `speed_m_per_s` until it is `height_m` above where it belongs.

        A second call sets a new speed and a new total height; height 0 brings the surface down again, at the given speed.
        """
        if not 0.0 < speed_m_per_s <= 1.0:
            raise ValueError(f"speed_m_per_s = {speed_m_per_s!r} is not possible; accepted: above 0, up to 1 m/s")
        if not 0.0 <= height_m <= 1e-6:
            raise ValueError(f"height_m = {height_m!r} is not possible; accepted: 0 to 1e-06 m")
        self.parameters_array[Parameter.RISE_SPEED] = speed_m_per_s
        self.parameters_array[Parameter.RISE_LIMIT] = height_m

    def forget_contacts(self) -> None:
        """Count contacts from zero again. A contact that lasts is not counted a second time."""
        self.state[State.CONTACTS] = 0.0
        self.state[State.CONTACT_DEPTH] = 0.0

    @property
    def time_s(self) -> float:
        """Time of the last sample; the first is at one sample period."""
        return float(self.state[State.SAMPLES] * self.parameters_array[Parameter.SAMPLE_PERIOD])

    @property
    def contacts(self) -> int:
        """How often the tip has met the surface."""
        return int(self.state[State.CONTACTS])

    @property
    def contact_depth_m(self) -> float:
        """How deep the tip has been in the surface at most; 0 without contact."""
        return float(self.state[State.CONTACT_DEPTH])

    @property
    def gap_m(self) -> float:
        """From surface to tip at the last sample; negative within the surface."""
        return float(self.state[State.GAP])

    @property
    def surface_m(self) -> float:
        """Height of the surface under the tip at the last sample, drift and rise included."""
        return float(self.state[State.SURFACE])

    @property
    def current_A(self) -> float:
        """Current at the last sample, without noise."""
        return float(self.state[State.CURRENT])

    @property
    def tip_x_m(self) -> float:
        """Where the tip is, in the frame of the scanner."""
        return float(self.state[State.TIP_X])

    @property
    def tip_y_m(self) -> float:
        """Where the tip is, in the frame of the scanner."""
        return float(self.state[State.TIP_Y])

    @property
    def tip_z_m(self) -> float:
        """Where the tip is; larger is farther from the specimen."""
        return float(self.state[State.TIP_Z])


def _check(specimen: Specimen, parameters: StmParameters, sample_period_s: float) -> None:
    if not (math.isfinite(sample_period_s) and 1e-9 <= sample_period_s <= 1e-3):
        raise ValueError(f"sample_period_s = {sample_period_s!r} is not possible; accepted: 1e-09 to 0.001 s")
    rate_Hz = 1 / sample_period_s
    for name in ("z_resonance_Hz", "xy_bandwidth_Hz", "preamp_bandwidth_Hz"):
        if getattr(parameters, name) > rate_Hz / 4:
            raise ValueError(
                f"{name} = {getattr(parameters, name):g} is too fast for {rate_Hz:.4g} samples a second; accepted: up to a quarter of that"
            )
    reach = DAC_V * parameters.z_m_per_V
    low = float(specimen.heights_m.min()) + parameters.mean_height_m
    high = float(specimen.heights_m.max()) + parameters.mean_height_m
    if low <= -reach or high >= reach:
        raise ValueError(
            f"mean_height_m = {parameters.mean_height_m!r} puts the surface at {low * 1e9:.4g} to {high * 1e9:.4g} nm; "
            f"accepted: within the z range of +-{reach * 1e9:g} nm"
        )
