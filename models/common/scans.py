"""Scans without the gateware: the twin's plant under a plain feedback, some hundred times as fast as the twin.

The plant is the very one of the twin, sample by sample, with its noise, drift, tip and preamplifier. In place of the gateware's loop stands the
shortest one that does the same: z integrates the logarithm of current over setpoint, with a given unity gain. What it writes to z is what
is averaged over a pixel, as the gateware does; the line's way back is scanned as well.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from reflexarc_sim.plants.stm import SAMPLE_PERIOD_S, StmParameters, StmPlant
from reflexarc_sim.plants.stm_step import callable_step
from reflexarc_sim.specimens import Specimen

Array = NDArray[np.float64]
SETTLE_SAMPLES = 3000  # before the first line
OVERSCAN_SAMPLES = 300  # before each line, in motion; the twin takes 1 ms, most of which the loop does not need
BIAS_V = 0.5
SETPOINT_A = 100e-12


@dataclass(frozen=True)
class Plan:
    """A frame of ``pixels`` by ``lines``, ``pitch_m`` apart, about a centre. The default loop is that of the main job."""

    pixels: int
    lines: int
    pitch_m: float
    center_x_m: float = 0.0
    center_y_m: float = 0.0
    pixel_samples: int = 286
    bandwidth_Hz: float = 4e3
    setpoint_A: float = SETPOINT_A

    @property
    def lag_pixels(self) -> float:
        """By how much a feature appears late in its line: lag of the loop and of the lateral piezo."""
        return (1 / (2 * math.pi * self.bandwidth_Hz) + 1 / (2 * math.pi * 10e3)) / (self.pixel_samples * SAMPLE_PERIOD_S)


@dataclass(frozen=True)
class Scan:
    """``z_m`` and ``current_A`` [direction, line, pixel], in the order of time: the first pixel of the way back is the rightmost one.

    ``sample`` [direction, line]: number of the plant's sample with which a line began.
    """

    plan: Plan
    z_m: Array
    current_A: Array
    sample: Array

    def place_m(self, direction: int, line: Array | int, pixel: Array | float) -> tuple[Array, Array]:
        """Where the scanner was, x and y, on average over a pixel (fractions too) counted in time."""
        plan = self.plan
        along = np.asarray(pixel, float) - (plan.pixels - 1) / 2
        x = plan.center_x_m + (along if direction == 0 else -along) * plan.pitch_m
        return x, plan.center_y_m + (np.asarray(line, float) - (plan.lines - 1) / 2) * plan.pitch_m

    def pixel_at(self, direction: int, x_m: Array, y_m: Array) -> tuple[Array, Array]:
        """The inverse: line and pixel, with fractions."""
        plan = self.plan
        along = (np.asarray(x_m) - plan.center_x_m) / plan.pitch_m
        line = (np.asarray(y_m) - plan.center_y_m) / plan.pitch_m + (plan.lines - 1) / 2
        return line, (along if direction == 0 else -along) + (plan.pixels - 1) / 2


@functools.cache
def _compiled() -> Callable[..., None]:
    step = callable_step()

    @numba.njit
    def run(
        state: Any, par: Any, heights: Any, dac_V: Any, adc_V: Any, drive: Any, start: int, pixel_samples: int, z_m: Any, current_A: Any
    ) -> None:
        """From where the tip is, by ``drive[0]`` volts in x a sample: ``start`` samples, then the pixels of ``z_m``."""
        along_V, gain_V, setpoint_V, z_m_per_V, gain_V_per_A = drive
        for k in range(-start, z_m.size * pixel_samples):
            dac_V[0] += along_V
            step(state.ctypes, par.ctypes, heights.ctypes, dac_V.ctypes, adc_V.ctypes)
            read_V = max(adc_V[0], 1e-3 * setpoint_V)
            dac_V[2] += gain_V * math.log(read_V / setpoint_V)
            if k >= 0:
                pixel = k // pixel_samples
                z_m[pixel] += dac_V[2] * z_m_per_V / pixel_samples
                current_A[pixel] += adc_V[0] / gain_V_per_A / pixel_samples

    return run  # type: ignore[no-any-return]


def scan(plant: StmPlant, plan: Plan, between: Callable[[int, int], None] | None = None) -> Scan:
    """Scan a frame, both ways. ``between(direction, line)`` is called before each line, and may change the tip."""
    parameters = plant.parameters
    run = _compiled()
    period_s = plant.sample_period_s
    two_kappa = 2 * parameters.decay_per_m
    half = (plan.pixels - 1) / 2 * plan.pitch_m
    step_m = plan.pitch_m / plan.pixel_samples
    drive = np.array(
        [
            0.0,
            2 * math.pi * plan.bandwidth_Hz * period_s / (two_kappa * parameters.z_m_per_V),
            plan.setpoint_A * parameters.preamp_gain_V_per_A,
            parameters.z_m_per_V,
            parameters.preamp_gain_V_per_A,
        ]
    )
    z_m = np.zeros((2, plan.lines, plan.pixels))
    current_A = np.zeros((2, plan.lines, plan.pixels))
    sample = np.zeros((2, plan.lines))
    spread = (plan.pixel_samples - 1) / 2 / plan.pixel_samples
    lead_m = OVERSCAN_SAMPLES * step_m + spread * plan.pitch_m + step_m  # before the first sample of the first pixel
    nothing = np.zeros(0)

    def go(x_m: float, y_m: float) -> None:
        plant.dac_V[0], plant.dac_V[1] = x_m / parameters.x_m_per_V, y_m / parameters.y_m_per_V

    def sweep(speed_m: float, start: int, z: Array, current: Array) -> None:
        drive[0] = speed_m / parameters.x_m_per_V
        arrays = (plant.state, plant.parameters_array, plant.heights, plant.dac_V, plant.adc_V)
        run(*arrays, drive, start, plan.pixel_samples, z, current)

    def y_of(line: int) -> float:
        return plan.center_y_m + (line - (plan.lines - 1) / 2) * plan.pitch_m

    go(plan.center_x_m - half - lead_m, y_of(0))
    surface_m = float(plant.surface_at(plan.center_x_m - half - lead_m, y_of(0), plant.time_s))
    plant.dac_V[2] = (surface_m + parameters.gap_m(BIAS_V, plan.setpoint_A) + 1e-9) / parameters.z_m_per_V
    plant.dac_V[3] = BIAS_V
    sweep(0.0, SETTLE_SAMPLES, nothing, nothing)
    for line in range(plan.lines):
        for direction, sign in ((0, 1), (1, -1)):
            go(plan.center_x_m - sign * (half + lead_m), y_of(line))
            if between is not None:
                between(direction, line)
            sample[direction, line] = plant.state[0]
            sweep(sign * step_m, OVERSCAN_SAMPLES, z_m[direction, line], current_A[direction, line])
    return Scan(plan, z_m, current_A, sample)


def microscope(specimen: Specimen, parameters: StmParameters | None = None, seed: int = 0) -> StmPlant:
    return StmPlant(specimen, parameters or StmParameters(), seed=seed)
