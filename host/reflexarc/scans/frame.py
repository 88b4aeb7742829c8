"""Where a frame lies: size, place, rotation, shear, and the plane that z follows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reflexarc.errors import BadInput

PIXELS_MAX = 8192
SHEAR_MAX_DEG = 60.0
SLOPE_MAX = 1.0
REACH_MAX_M = 1e-3  # beyond any scanner

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """A grid of pixels on the specimen, in the scanner's metres.

    Lines run along the fast direction, which is turned by ``angle_deg`` counter-clockwise from x; line 0 is the lowest before the turn. With
    ``shear_deg`` the slow direction leans towards the fast one, so that a scanner's skew can be undone. ``slope_x`` and ``slope_y`` are the
    rise of z per way in x and y: the plane that z follows without feedback's help. BadInput for what can't be.
    """

    width_m: float
    height_m: float
    pixels: int
    lines: int
    center_x_m: float = 0.0
    center_y_m: float = 0.0
    angle_deg: float = 0.0
    shear_deg: float = 0.0
    slope_x: float = 0.0
    slope_y: float = 0.0

    def __post_init__(self) -> None:
        for name in ("width_m", "height_m"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise BadInput(f"{name} = {value:g} is not possible; accepted: a number above 0")
            if value > REACH_MAX_M:
                raise BadInput(f"{name} = {value:g} is not possible; accepted: above 0, up to {REACH_MAX_M:g} m and to the scanner's range")
        for name in ("pixels", "lines"):
            value = getattr(self, name)
            if not 1 <= value <= PIXELS_MAX:
                raise BadInput(f"{name} = {value} is not possible; accepted: 1 to {PIXELS_MAX}")
        for name, most in (
            ("center_x_m", math.inf), ("center_y_m", math.inf), ("angle_deg", 360.0), ("shear_deg", SHEAR_MAX_DEG), ("slope_x", SLOPE_MAX),
            ("slope_y", SLOPE_MAX),
        ):  # fmt: skip
            value = getattr(self, name)
            if not (math.isfinite(value) and abs(value) <= most):
                accepted = f"up to ±{most:g}" if math.isfinite(most) else "a finite number"
                raise BadInput(f"{name} = {value:g} is not possible; accepted: {accepted}")

    @property
    def along_m(self) -> Array:
        """From one pixel to the next, (x, y, z)."""
        angle = math.radians(self.angle_deg)
        return self._tilted(self.width_m / self.pixels * np.array([math.cos(angle), math.sin(angle)]))

    @property
    def across_m(self) -> Array:
        """From one line to the next, (x, y, z)."""
        angle, shear = math.radians(self.angle_deg), math.tan(math.radians(self.shear_deg))
        upwards = np.array([-math.sin(angle) + shear * math.cos(angle), math.cos(angle) + shear * math.sin(angle)])
        return self._tilted(self.height_m / self.lines * upwards)

    def _tilted(self, way_m: Array) -> Array:
        return np.array([*way_m, self.slope_x * way_m[0] + self.slope_y * way_m[1]])

    def place_m(self, line: ArrayLike, index: ArrayLike) -> Array:
        """(x, y, z) of the centre of a pixel, of fractions too; shape (..., 3). z is 0 at the frame's centre."""
        along = np.asarray(index, float)[..., None] - (self.pixels - 1) / 2
        across = np.asarray(line, float)[..., None] - (self.lines - 1) / 2
        return np.array([self.center_x_m, self.center_y_m, 0.0]) + along * self.along_m + across * self.across_m

    def corners_m(self) -> Array:
        """The four outer corners, (4, 3)."""
        low, right, top = -0.5, self.pixels - 0.5, self.lines - 0.5
        return self.place_m([low, low, top, top], [low, right, low, right])

    def window(self, first_pixel: int, first_line: int, pixels: int, lines: int) -> Frame:
        """A part of the frame on the same grid of pixels and in the same plane."""
        if not (0 <= first_pixel and 0 <= first_line and first_pixel + pixels <= self.pixels and first_line + lines <= self.lines):
            raise BadInput(
                f"a window of {pixels} x {lines} pixels at {first_pixel}, {first_line} is not within {self.pixels} x {self.lines}"
            )
        center = self.place_m(first_line + (lines - 1) / 2, first_pixel + (pixels - 1) / 2)
        return replace(
            self, width_m=self.width_m / self.pixels * pixels, height_m=self.height_m / self.lines * lines, pixels=pixels, lines=lines,
            center_x_m=float(center[0]), center_y_m=float(center[1]),
        )  # fmt: skip
