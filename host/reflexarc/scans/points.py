"""Point lists and free trajectories, as entries of the scan's queue."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS, STEP_FRACTION_BITS
from reflexarc.contract.blocks.trajectory import SAMPLES_BITS, PointKind
from reflexarc.errors import BadInput
from reflexarc.scans.frame import Frame

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
SAMPLES_MAX = (1 << SAMPLES_BITS) - 1
POINTS_MAX = 1 << 22
FINER = STEP_FRACTION_BITS - POSITION_FRACTION_BITS


class Travel(enum.Enum):
    """How the scan goes from one point to the next."""

    JUMP = "jump"  # at once: a beam
    GO = "go"  # in a straight line, at a speed, without a pixel
    SWEEP = "sweep"  # each pixel is the way to the next point


@dataclass(frozen=True)
class PointList:
    """Points in the scanner's metres, shape (n, 3): x, y and the offset of z; ``dwell_s`` one for all or (n,). BadInput for what can't be.

    With ``GO`` the way between two points takes ``speed_m_per_s``; a ``SWEEP`` has as many pixels as points less one.
    """

    points_m: Array
    dwell_s: Array
    travel: Travel = Travel.JUMP
    speed_m_per_s: float | None = None

    def __init__(self, points_m: ArrayLike, dwell_s: ArrayLike, travel: Travel = Travel.JUMP, speed_m_per_s: float | None = None) -> None:
        points = np.atleast_2d(np.asarray(points_m, float))
        if points.ndim != 2 or points.shape[1] not in (2, 3) or not 1 <= len(points) <= POINTS_MAX or not np.isfinite(points).all():
            raise BadInput(f"points of shape {points.shape} are not possible; accepted: 1 to {POINTS_MAX} finite (x, y) or (x, y, z)")
        if points.shape[1] == 2:
            points = np.column_stack([points, np.zeros(len(points))])
        dwell = np.asarray(dwell_s, float)
        if dwell.shape not in ((), (len(points),)) or not np.isfinite(dwell).all() or (dwell <= 0).any():
            raise BadInput(f"dwell times of shape {dwell.shape} are not possible; accepted: one, or one a point, above 0")
        if (travel is Travel.GO) != (speed_m_per_s is not None) or (speed_m_per_s is not None and not 0 < speed_m_per_s < math.inf):
            raise BadInput("a speed above 0 belongs to points with a way between them, and to no others")
        if travel is Travel.SWEEP and len(points) < 2:
            raise BadInput("a sweep needs two points or more")
        object.__setattr__(self, "points_m", points)
        object.__setattr__(self, "dwell_s", np.broadcast_to(dwell, (len(points),)).copy())
        object.__setattr__(self, "travel", travel)
        object.__setattr__(self, "speed_m_per_s", speed_m_per_s)

    @property
    def pixels(self) -> int:
        return len(self.points_m) - (self.travel is Travel.SWEEP)

    def entries(self, calibration: Calibration) -> Integers:
        """Entries of the queue, (m, 5): x, y, z, samples, kind. The first one starts from the first point.

        Steps are rounded so that no error adds up: each way begins where the one before really ended.
        """
        unit = np.array([calibration.x_m_per_code, calibration.y_m_per_code, calibration.z_m_per_code])
        places = np.rint(self.points_m / unit * (1 << POSITION_FRACTION_BITS)).astype(np.int64)
        reach = 1 << (19 + POSITION_FRACTION_BITS)
        if (places[:, :2] >= reach).any() or (places < -reach).any() or (places[:, 2] >= reach).any():
            raise BadInput(
                f"points beyond the scanner: it reaches ±{calibration.x_range_m * 1e9:g} nm in x, ±{calibration.y_range_m * 1e9:g} nm in y"
            )
        samples = np.rint(self.dwell_s / calibration.sample_period_s).astype(np.int64)
        if (samples < 1).any() or (samples > SAMPLES_MAX).any():
            raise BadInput(
                f"a dwell of {self.dwell_s.min():g} to {self.dwell_s.max():g} s is not possible; accepted: "
                f"{calibration.sample_period_s:g} to {SAMPLES_MAX * calibration.sample_period_s:g} s"
            )
        if self.travel is Travel.JUMP:
            rows = [(*place, count, int(PointKind.PIXEL)) for place, count in zip(places.tolist(), samples.tolist(), strict=True)]
        elif self.travel is Travel.GO:
            rows = self._with_ways(places, samples, unit, calibration)
        else:
            rows = self._swept(places, samples)
        rows[-1] = (*rows[-1][:4], rows[-1][4] | PointKind.LAST)
        return np.array(rows, np.int64)

    def _with_ways(self, places: Integers, samples: Integers, unit: Array, calibration: Calibration) -> list[tuple[int, ...]]:
        assert self.speed_m_per_s is not None
        most = self.speed_m_per_s * calibration.sample_period_s
        rows: list[tuple[int, ...]] = []
        for index, (place, count) in enumerate(zip(places, samples, strict=True)):
            if index:
                way = (place - places[index - 1]) << FINER
                n = max(1, math.ceil(float(np.linalg.norm(way / (1 << STEP_FRACTION_BITS) * unit)) / most))
                rows += _way(way, n, 0)
            rows.append((*place.tolist(), int(count), int(PointKind.PIXEL)))
        return rows

    def _swept(self, places: Integers, samples: Integers) -> list[tuple[int, ...]]:
        rows: list[tuple[int, ...]] = [(*places[0].tolist(), 1, 0)]
        here = places[0] << FINER
        for place, count in zip(places[1:], samples[:-1].tolist(), strict=True):
            step = np.rint(((place << FINER) - here) / count).astype(np.int64)
            if (np.abs(step) >= 1 << 31).any():
                raise BadInput("the points of a sweep are too far apart for its dwell")
            here = here + step * count
            rows.append((*step.tolist(), count, int(PointKind.PIXEL | PointKind.SEGMENT)))
        return rows


def _way(way: Integers, samples: int, kind: int) -> list[tuple[int, ...]]:
    """Segments over ``way`` (2^-20 LSB) in ``samples`` samples at least; the place itself follows as an entry of its own."""
    samples = max(samples, int(np.abs(way).max() >> 31) + 1)
    rows = []
    while samples > SAMPLES_MAX:
        part = np.rint(way * (SAMPLES_MAX / samples) / SAMPLES_MAX).astype(np.int64)
        rows.append((*part.tolist(), SAMPLES_MAX, kind | int(PointKind.SEGMENT)))
        way, samples = way - part * SAMPLES_MAX, samples - SAMPLES_MAX
    rows.append((*np.rint(way / samples).astype(np.int64).tolist(), samples, kind | int(PointKind.SEGMENT)))
    return rows


def spiral(center_m: Sequence[float], radius_m: float, spacing_m: float) -> Array:
    """Points of an Archimedean spiral from the centre outwards, (n, 2), about ``spacing_m`` apart along it and between its turns."""
    if not (math.isfinite(radius_m) and math.isfinite(spacing_m) and 0 < spacing_m <= radius_m):
        raise BadInput(
            f"a spiral of {radius_m:g} m with {spacing_m:g} m between its points is not possible; accepted: 0 < spacing <= radius"
        )
    count = int(math.pi * (radius_m / spacing_m) ** 2) + 1
    if count > POINTS_MAX:
        raise BadInput(f"a spiral of {count} points is too long; accepted: up to {POINTS_MAX}")
    # Equal areas a point: r = spacing sqrt(n / pi), turned by the angle that the turns' distance gives, 2 pi r / spacing.
    radius = spacing_m * np.sqrt(np.arange(count) / math.pi)
    angle = 2 * math.pi * radius / spacing_m
    return np.column_stack([center_m[0] + radius * np.cos(angle), center_m[1] + radius * np.sin(angle)])


def lissajous(frame: Frame, periods_x: int, periods_y: int, points: int) -> Array:
    """Points of a closed Lissajous figure that fills the frame, (n, 2): sines with whole numbers of periods without a common factor."""
    if not 1 <= points <= POINTS_MAX or periods_x < 1 or periods_y < 1 or math.gcd(periods_x, periods_y) != 1:
        raise BadInput(
            f"a figure of {periods_x} : {periods_y} periods in {points} points is not possible; accepted: numbers without a common factor"
        )
    phase = 2 * math.pi * np.arange(points) / points
    index = (frame.pixels - 1) / 2 * (1 + np.sin(periods_x * phase + math.pi / 4))
    line = (frame.lines - 1) / 2 * (1 + np.sin(periods_y * phase))
    return frame.place_m(line, index)


def sparse(frame: Frame, fraction: float, seed: int) -> tuple[Array, Integers]:
    """A random share of the frame's pixels, line by line, each second line from its end: (n, 3) and (n, 2) of line and index."""
    if not 0 < fraction <= 1:
        raise BadInput(f"fraction = {fraction:g} is not possible; accepted: above 0, up to 1")
    rng = np.random.default_rng(seed)
    chosen = rng.random((frame.lines, frame.pixels)) < fraction
    if not chosen.any():
        chosen[frame.lines // 2, frame.pixels // 2] = True
    grid = np.concatenate([np.argwhere(chosen[line : line + 1])[:: -1 if line % 2 else 1] + [line, 0] for line in range(frame.lines)])
    return frame.place_m(grid[:, 0], grid[:, 1]), grid.astype(np.int64)


def scattered(frame: Frame, count: int, seed: int) -> Array:
    """Random places in the frame, uniformly, ordered so that the way between them stays short: (n, 3)."""
    if not 1 <= count <= POINTS_MAX:
        raise BadInput(f"{count} points are not possible; accepted: 1 to {POINTS_MAX}")
    rng = np.random.default_rng(seed)
    line, index = rng.random(count) * frame.lines - 0.5, rng.random(count) * frame.pixels - 0.5
    strips = max(1, round(math.sqrt(count / 3)))
    strip = np.minimum((line + 0.5) / frame.lines * strips, strips - 1).astype(int)
    order = np.lexsort([np.where(strip % 2, -index, index), strip])
    return frame.place_m(line[order], index[order])
