"""What a specimen is, and what every specimen must satisfy, wherever it comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .interpolate import bilinear_many

SCANNER_SPAN_M = 1e-6  # x and y reach +-500 nm
SMALLEST_SIZE_M = 0.1e-9
Z_RANGE_M = 100e-9  # z reaches +-100 nm
Z_MARGIN_M = 20e-9  # kept free on either side: gap, drift and room to withdraw
FLAT_M = 1e-12  # less than this from lowest to highest is no topography
FEWEST_POINTS = 8  # per side
MOST_POINTS = 16384  # per side
MOST_BYTES = 512 * 2**20  # of a file, and of the heights as float64


class SpecimenError(ValueError):
    """A specimen that cannot be used. The message is one line: what was wrong, and what would be accepted."""


class Feature(NamedTuple):
    """A feature whose place is known for certain, in the frame of the specimen (metres from its centre)."""

    x_m: float
    y_m: float
    kind: str


@dataclass(frozen=True, eq=False)
class Specimen:
    """A surface to scan.

    `heights_m`: shape (rows, columns), float64, C-contiguous, read-only; rows run from low to high y, columns from low to high x; the
    median is zero. `size_x_m`, `size_y_m`: the full width and height, centred on x = y = 0. `features`: the known truth, empty when
    nothing is known. `note`: what was done to the data on loading, for the record.
    """

    heights_m: NDArray[np.float64]
    size_x_m: float
    size_y_m: float
    name: str
    features: tuple[Feature, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        """Raises `SpecimenError` where the heights are no usable 2-D array or the size is beyond the scanner."""
        check_shape(self.name, self.heights_m.shape)
        check_size(self.name, self.size_x_m, self.size_y_m)
        if self.heights_m.dtype != np.float64 or not self.heights_m.flags.c_contiguous:
            raise SpecimenError(f"{self.name}: the heights must be a C-contiguous float64 array, not {self.heights_m.dtype}")
        if not np.isfinite(self.heights_m).all():
            raise SpecimenError(f"{self.name}: the heights contain NaN or infinity; each must be a finite number of metres")
        self.heights_m.setflags(write=False)

    @property
    def peak_to_peak_m(self) -> float:
        """From the lowest to the highest point, in metres."""
        return float(np.ptp(self.heights_m))

    def height_at(self, x_m: ArrayLike, y_m: ArrayLike) -> NDArray[np.float64]:
        """Heights in metres at points in the frame of the specimen; `x_m` and `y_m` broadcast, the result has their shape.

        This is the very interpolation that the plants use: see `interpolate.bilinear`, also for what lies outside the map.
        """
        x, y = np.broadcast_arrays(np.asarray(x_m, np.float64), np.asarray(y_m, np.float64))
        flat: NDArray[np.float64] = bilinear_many(self.heights_m, x.ravel(), y.ravel(), self.size_x_m, self.size_y_m)
        return flat.reshape(x.shape)


def check_shape(name: str, shape: tuple[int, ...]) -> None:
    """Refuse (`SpecimenError`) what is not 2-D or has too few or too many points."""
    text = " x ".join(str(n) for n in shape) or "a single number"
    if len(shape) != 2:
        raise SpecimenError(f"{name}: the heights are {len(shape)}-D ({text}); a 2-D array (rows x columns) is needed")
    if min(shape) < FEWEST_POINTS:
        raise SpecimenError(f"{name}: {text} points are too few; at least {FEWEST_POINTS} x {FEWEST_POINTS} are needed")
    if max(shape) > MOST_POINTS or 8 * shape[0] * shape[1] > MOST_BYTES:
        raise SpecimenError(
            f"{name}: {text} points are too many; at most {MOST_POINTS} per side and {MOST_BYTES // 2**20} MiB as float64 are accepted"
        )


def check_size(name: str, size_x_m: float, size_y_m: float) -> None:
    """Refuse (`SpecimenError`) a size that is not a number, not positive or beyond the reach of the scanner."""
    for axis, size in (("x", size_x_m), ("y", size_y_m)):
        if not math.isfinite(size) or not SMALLEST_SIZE_M <= size <= SCANNER_SPAN_M:
            raise SpecimenError(
                f"{name}: a size of {size * 1e9:.6g} nm in {axis} is not possible; "
                f"accepted: {SMALLEST_SIZE_M * 1e9:g} to {SCANNER_SPAN_M * 1e9:g} nm (the scanner reaches +-500 nm)"
            )


def level_heights(name: str, heights_m: NDArray[np.float64], found: str = "") -> tuple[NDArray[np.float64], str]:
    """Bring heights read from a file within reach of the z scanner.

    Takes metres, shape (rows, columns), all finite. Subtracts the median and nothing else, unless the surface then does not fit the z
    range less its margin: then the least-squares plane too. Returns the heights (float64, C-contiguous) and a note that says what was
    subtracted. Raises `SpecimenError` for a flat surface (`found` says what else the file holds) and for one that does not fit.
    """
    limit = Z_RANGE_M - Z_MARGIN_M
    low, high = float(heights_m.min()), float(heights_m.max())
    shape = f"{heights_m.shape[0]} x {heights_m.shape[1]} points"
    # Millimetres are no surface of this machine, and squares of huge numbers would overflow below.
    if max(abs(low), abs(high)) > 1e-3:
        raise SpecimenError(f"{name}: heights from {low:.3g} to {high:.3g} m; metres are expected, a surface within +-{limit * 1e9:g} nm")
    if high - low < FLAT_M:
        raise SpecimenError(
            f"{name}: the topography is flat: {shape}, {(high - low) * 1e12:.3g} pm from lowest to highest{found}; "
            f"at least {FLAT_M * 1e12:g} pm are needed"
        )
    median = float(np.median(heights_m))
    levelled = np.ascontiguousarray(heights_m - median, dtype=np.float64)
    note = f"median {median:.6g} m subtracted"
    if np.abs(levelled).max() > limit:
        before = high - low
        levelled = subtract_plane(levelled)
        note += "; plane subtracted"
        if np.ptp(levelled) < FLAT_M:
            raise SpecimenError(
                f"{name}: the topography is a bare plane: {shape}, {before * 1e9:.3g} nm from lowest to highest, "
                f"under {FLAT_M * 1e12:g} pm without its tilt{found}; a surface with structure is needed"
            )
    reach = float(np.abs(levelled).max())
    if reach > limit:
        raise SpecimenError(
            f"{name}: the surface reaches {reach * 1e9:.4g} nm from its median even without its tilt; "
            f"accepted: {limit * 1e9:g} nm (z range +-{Z_RANGE_M * 1e9:g} nm less a margin of {Z_MARGIN_M * 1e9:g} nm)"
        )
    return levelled, note


def subtract_plane(heights_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """`heights_m` (rows, columns) less its least-squares plane and then its median. On a regular grid centred on zero, x, y and the
    constant are orthogonal, so each slope is one projection."""
    rows, columns = heights_m.shape
    y = np.arange(rows) - (rows - 1) / 2
    x = np.arange(columns) - (columns - 1) / 2
    slope_x = float(heights_m.mean(axis=0) @ x / (x @ x))
    slope_y = float(heights_m.mean(axis=1) @ y / (y @ y))
    flat = heights_m - slope_x * x[None, :] - slope_y * y[:, None]
    return np.ascontiguousarray(flat - np.median(flat))
