"""What a scan is to be; checked against calibration and limits before anything reaches the board."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reflexarc.calibration import Calibration
from reflexarc.device.controller import Limits
from reflexarc.errors import BadInput

PIXELS_MAX = 8192


@dataclass(frozen=True)
class ScanSettings:
    """A raster, its feedback and its limits. Lengths in metres, times in seconds of the board."""

    width_m: float = 50e-9
    height_m: float = 50e-9
    center_x_m: float = 0.0
    center_y_m: float = 0.0
    pixels: int = 128
    lines: int = 128
    pixel_s: float = 160e-6
    setpoint_A: float = 100e-12
    bias_V: float = 0.5
    bandwidth_Hz: float = 4e3
    approach_m_per_s: float = 0.5e-6
    slew_m_per_s: float = 20e-6
    move_m_per_s: float = 2e-6
    turn_s: float = 0.5e-3
    settle_s: float = 1e-3
    limits: Limits = Limits()

    def check(self, calibration: Calibration) -> None:
        """BadInput with one line for the first value that can't be used, and what can."""
        for name in ("width_m", "height_m", "pixel_s", "setpoint_A", "bandwidth_Hz", "approach_m_per_s", "slew_m_per_s", "move_m_per_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise BadInput(f"{name} = {value:g} is not possible; accepted: a number above 0")
        for name in ("pixels", "lines"):
            value = getattr(self, name)
            if not 1 <= value <= PIXELS_MAX:
                raise BadInput(f"{name} = {value} is not possible; accepted: 1 to {PIXELS_MAX}")
        for axis, extent, center, reach in (
            ("x", self.width_m, self.center_x_m, calibration.x_range_m),
            ("y", self.height_m, self.center_y_m, calibration.y_range_m),
        ):
            if not math.isfinite(center) or abs(center) + extent / 2 > reach:
                raise BadInput(
                    f"the scan reaches from {(center - extent / 2) * 1e9:g} to {(center + extent / 2) * 1e9:g} nm in {axis}; "
                    f"the scanner reaches from {-reach * 1e9:g} to {reach * 1e9:g} nm"
                )
        minimum = calibration.sample_period_s
        if self.pixel_s < 0.999 * minimum:
            raise BadInput(f"time per pixel {self.pixel_s:g} s is below the minimum of one sample, {minimum:g} s")
        if calibration.samples(self.pixel_s) >= 1 << 24:
            raise BadInput(f"time per pixel {self.pixel_s:g} s is above the maximum of {((1 << 24) - 1) * minimum:g} s")
        # A line's step per sample is a multiple of 2^-20 DAC LSB; on a smaller frame more than a hundredth of it would be lost.
        least = 100 * self.pixels * self.pixel_samples(calibration) * calibration.x_m_per_code * 2**-20
        if self.width_m < least or self.height_m < least:
            raise BadInput(
                f"a frame of {min(self.width_m, self.height_m):g} m is too small for its steps; accepted here: from {least:.3g} m"
            )
        if not math.isfinite(self.bias_V) or not 0 < abs(self.bias_V) < calibration.dac_full_scale_V:
            raise BadInput(f"bias {self.bias_V:g} V is not possible; accepted: up to ±{calibration.dac_full_scale_V:g} V, not 0")
        low, high = self.limits.current_low_A, self.limits.current_high_A
        if not low < self.setpoint_A < high:
            raise BadInput(f"setpoint {self.setpoint_A:g} A is outside the interlock's window, {low:g} to {high:g} A")
        # At the resonance of the twin's z piezo (60 kHz, Q 8) an integral loop is stable up to f0 / Q.
        if self.bandwidth_Hz > 7.5e3:
            raise BadInput(f"feedback bandwidth {self.bandwidth_Hz:g} Hz would ring at the z resonance; accepted: up to 7500 Hz")

    def pixel_samples(self, calibration: Calibration) -> int:
        return max(1, calibration.samples(self.pixel_s))

    def line_s(self, calibration: Calibration) -> float:
        """Board time of a line, there and back."""
        return 2 * self.pixels * self.pixel_samples(calibration) * calibration.sample_period_s + self.turn_s + self.settle_s
