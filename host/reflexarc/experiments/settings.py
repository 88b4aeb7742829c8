"""What a scan is to be; checked against calibration and limits before anything reaches the board."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks.interlock import Cause
from reflexarc.errors import BadInput
from reflexarc.safety import Limits, Rectangle
from reflexarc.safety.units import show

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

    def check(self, calibration: Calibration, with_limits: bool = True) -> None:
        """BadInput with one line for the first value that can't be used, and what can. ``with_limits``: and against ``limits``."""
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
        if not self.setpoint_A < calibration.current_range_A:
            raise BadInput(f"setpoint {self.setpoint_A:g} A is outside 0 to {calibration.current_range_A:g} A, the range of the converter")
        if with_limits:
            self._check_limits()
        # At the resonance of the twin's z piezo (60 kHz, Q 8) an integral loop is stable up to f0 / Q.
        if self.bandwidth_Hz > 7.5e3:
            raise BadInput(f"feedback bandwidth {self.bandwidth_Hz:g} Hz would ring at the z resonance; accepted: up to 7500 Hz")

    def _check_limits(self) -> None:
        """BadInput for a scan that the interlock would end."""
        limits = self.limits
        low_A, high_A = limits.current_low_A, limits.current_high_A
        if not low_A < self.setpoint_A < high_A:
            raise BadInput(f"setpoint {self.setpoint_A:g} A is outside the interlock's window, {low_A:g} to {high_A:g} A")
        x_m, y_m = self.center_x_m, self.center_y_m
        frame = Rectangle(x_m - self.width_m / 2, x_m + self.width_m / 2, y_m - self.height_m / 2, y_m + self.height_m / 2)
        for axis in "xy":
            low, high = getattr(limits, f"{axis}_low_m"), getattr(limits, f"{axis}_high_m")
            if (low is not None and getattr(frame, f"{axis}_low_m") < low) or (
                high is not None and getattr(frame, f"{axis}_high_m") > high
            ):
                ends = [show(end, "m") if end is not None else "the end of the scanner" for end in (low, high)]
                raise BadInput(f"the scan leaves the interlock's box in {axis}, {ends[0]} to {ends[1]}")
        for index, keep_out in enumerate(limits.keep_outs):
            if frame.overlaps(keep_out):
                raise BadInput(f"the scan enters keep-out {index} of the interlock")
        if Cause.BIAS_LOW in limits.conditions and abs(self.bias_V) < limits.bias_min_V:
            raise BadInput(f"bias {self.bias_V:g} V is below the least that the interlock allows under feedback, {limits.bias_min_V:g} V")
        fastest = max(self.slew_m_per_s, self.approach_m_per_s)
        if Cause.Z_VELOCITY in limits.conditions and limits.z_velocity_m_per_s is not None and fastest > limits.z_velocity_m_per_s:
            raise BadInput(f"z at {show(fastest, 'm/s')} is faster than the interlock allows, {show(limits.z_velocity_m_per_s, 'm/s')}")

    def pixel_samples(self, calibration: Calibration) -> int:
        return max(1, calibration.samples(self.pixel_s))

    def line_s(self, calibration: Calibration) -> float:
        """Board time of a line, there and back."""
        return 2 * self.pixels * self.pixel_samples(calibration) * calibration.sample_period_s + self.turn_s + self.settle_s
