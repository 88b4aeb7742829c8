"""What a scan is to be; checked against calibration and limits before anything reaches the board."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks import feedback
from reflexarc.contract.blocks.interlock import Cause
from reflexarc.contract.blocks.sync import SyncMode
from reflexarc.contract.packets import Channel
from reflexarc.device.controller import DECAY_PER_M
from reflexarc.errors import BadInput
from reflexarc.safety import Limits, Rectangle
from reflexarc.safety.units import show
from reflexarc.scans import SAMPLES_MAX, Frame, Mode, Raster, RasterPlan, plan_raster

TURN_SHARE = 0.04  # of a line's time, for a turn
HALF_TURN_S = 100e-6
ALWAYS = (Channel.Z, Channel.CURRENT)  # are recorded
OPTIONAL = tuple(channel for channel in Channel if channel not in ALWAYS)


@dataclass(frozen=True)
class ScanSettings:
    """A raster, its feedback and its limits. Lengths in metres, times in seconds of the board.

    Without ``acceleration_m_per_s2`` half a turn takes 2 % of a line, 100 us at least, and so long that the way to the next line is no faster
    than the line. ``stepped`` is a beam's raster: the position stands for each pixel and jumps between two, without overscan and turns.
    Pixels, lines or the scan wait for the instruments of ``waits_for``, each time up to ``wait_s``. ``channels`` are recorded beside z and
    current, which always are.
    """

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
    angle_deg: float = 0.0
    shear_deg: float = 0.0
    slope_x: float = 0.0
    slope_y: float = 0.0
    drift_m_per_s: tuple[float, float, float] = (0.0, 0.0, 0.0)
    mode: Mode = Mode.TRACE_RETRACE
    interlace: int = 1
    lift_m: float | None = None
    stepped: bool = False
    waits_for: SyncMode = SyncMode(0)
    wait_s: float = 1.0
    channels: frozenset[Channel] = frozenset()
    overscan_s: float = 1e-3
    settle_s: float = 0.0
    acceleration_m_per_s2: float | None = None
    limits: Limits = Limits()

    @property
    def frame(self) -> Frame:
        return Frame(
            self.width_m, self.height_m, self.pixels, self.lines, self.center_x_m, self.center_y_m, self.angle_deg, self.shear_deg,
            self.slope_x, self.slope_y,
        )  # fmt: skip

    @property
    def raster(self) -> Raster:
        acceleration = self._gentle() if self.acceleration_m_per_s2 is None else self.acceleration_m_per_s2
        return Raster(
            self.frame, self.pixel_s, self.mode, self.interlace, self.stepped, self.lift_m is not None, settle_s=self.settle_s,
            overscan_s=0.0 if self.stepped else self.overscan_s, drift_m_per_s=self.drift_m_per_s,
            acceleration_m_per_s2=None if self.stepped else acceleration,
        )  # fmt: skip

    def _gentle(self) -> float:
        line_s = self.pixels * self.pixel_s
        across_m = self.height_m / self.lines * self.interlace
        half_s = max(TURN_SHARE / 2 * line_s, HALF_TURN_S, across_m / self.width_m * line_s)
        return self.width_m / line_s / half_s + across_m / half_s / half_s

    def check(self, calibration: Calibration, with_limits: bool = True) -> None:
        """BadInput with one line for the first value that can't be used, and what can. ``with_limits``: and against ``limits``."""
        plane_m = float(np.abs(self.frame.corners_m()[:, 2]).max())
        for name in ("pixel_s", "setpoint_A", "bandwidth_Hz", "approach_m_per_s", "slew_m_per_s", "move_m_per_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise BadInput(f"{name} = {value:g} is not possible; accepted: a number above 0")
        for axis, ends, reach in zip("xy", self.extent_m(calibration), (calibration.x_range_m, calibration.y_range_m), strict=True):
            if max(abs(end) for end in ends) > reach:
                raise BadInput(
                    f"the scan reaches from {ends[0] * 1e9:g} to {ends[1] * 1e9:g} nm in {axis}; "
                    f"the scanner reaches from {-reach * 1e9:g} to {reach * 1e9:g} nm"
                )
        if plane_m > calibration.z_range_m:
            raise BadInput(
                f"the plane reaches {plane_m * 1e9:g} nm up and down; the scanner reaches {calibration.z_range_m * 1e9:g} nm: "
                "give a smaller slope or a smaller scan"
            )
        self.plan(calibration)
        longest_s = SAMPLES_MAX * calibration.sample_period_s
        if not (math.isfinite(self.wait_s) and 0 < self.wait_s < longest_s):
            raise BadInput(f"wait_s = {self.wait_s:g} is not possible; accepted: above 0, below {longest_s:g} s")
        for channel in self.channels:
            if channel not in OPTIONAL:
                names = ", ".join(accepted.name for accepted in OPTIONAL)
                raise BadInput(f"{channel.name} can't be recorded beside z and current; accepted: {names}")
        if self.lift_m is not None and not abs(self.lift_m) < calibration.z_range_m:
            raise BadInput(f"lift_m = {self.lift_m:g} is not possible; accepted: within the range of z, ±{calibration.z_range_m:g} m")
        if not math.isfinite(self.bias_V) or not 0 < abs(self.bias_V) < calibration.dac_full_scale_V:
            raise BadInput(f"bias {self.bias_V:g} V is not possible; accepted: up to ±{calibration.dac_full_scale_V:g} V, not 0")
        if not self.setpoint_A < calibration.current_range_A:
            raise BadInput(f"setpoint {self.setpoint_A:g} A is outside 0 to {calibration.current_range_A:g} A, the range of the converter")
        if self.setpoint_A < calibration.code_to_current_A(1):
            raise BadInput(
                f"setpoint {self.setpoint_A:g} A is less than the converter can tell from 0, {calibration.code_to_current_A(1):.3g} A"
            )
        if with_limits:
            self._check_limits(calibration)
        # At the resonance of the twin's z piezo (60 kHz, Q 8) an integral loop is stable up to f0 / Q.
        if self.bandwidth_Hz > 7.5e3:
            raise BadInput(f"feedback bandwidth {self.bandwidth_Hz:g} Hz would ring at the z resonance; accepted: up to 7500 Hz")
        # Less would round to an integral gain of 0, with which z stands still.
        step_m = calibration.z_m_per_code * feedback.BLOCK["ki"].scale
        lowest_Hz = step_m * DECAY_PER_M / math.log(2) / math.pi / calibration.sample_period_s
        if self.bandwidth_Hz < lowest_Hz:
            raise BadInput(f"feedback bandwidth {self.bandwidth_Hz:g} Hz is less than a gain can be; accepted: from {lowest_Hz:.3g} Hz")

    def _check_limits(self, calibration: Calibration) -> None:
        """BadInput for a scan that the interlock would end."""
        limits = self.limits
        low_A, high_A = limits.current_low_A, limits.current_high_A
        if not low_A < self.setpoint_A < high_A:
            raise BadInput(f"setpoint {self.setpoint_A:g} A is outside the interlock's window, {low_A:g} to {high_A:g} A")
        (x_low, x_high), (y_low, y_high) = self.extent_m(calibration)
        frame = Rectangle(x_low, x_high, y_low, y_high)
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

    def plan(self, calibration: Calibration) -> RasterPlan:
        return plan_raster(self.raster, calibration)

    def extent_m(self, calibration: Calibration) -> tuple[tuple[float, float], tuple[float, float]]:
        """Lowest and highest x, and y, of the frame's corners. Overscan and turns go a little beyond."""
        corners = self.frame.corners_m()
        return (float(corners[:, 0].min()), float(corners[:, 0].max())), (float(corners[:, 1].min()), float(corners[:, 1].max()))

    def pixel_samples(self, calibration: Calibration) -> int:
        return max(1, calibration.samples(self.pixel_s))

    def line_s(self, calibration: Calibration) -> float:
        """Board time of a line, with all its passes and ways."""
        return self.plan(calibration).line_samples * calibration.sample_period_s
