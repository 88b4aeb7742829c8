"""What a specimen is, and what every specimen must satisfy, wherever it comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

SMALLEST_SIZE_M = 0.1e-9
LARGEST_SIZE_M = 200e-6  # what scanners reach; which one suits a specimen is decided where the microscope is put together
LARGEST_HEIGHT_M = 8e-6  # from the median, either way: a range of +-10 um less room for gap, drift and withdrawal
FINE_SIZE_M = 1e-6  # up to this size a fine scanner of +-500 nm suffices,
FINE_HEIGHT_M = 80e-9  # if the surface stays within this in z (+-100 nm less that room)
FLAT_M = 1e-12  # less than this from lowest to highest is no topography
FEWEST_POINTS = 8  # per side
MOST_POINTS = 16384  # per side
MOST_BYTES = 512 * 2**20  # of a file, and of the heights as float64


class SpecimenError(ValueError):
    """A specimen that cannot be used. The message is one line: what was wrong, and what would be accepted."""

    def __init__(self, message: str) -> None:
        # Names of files and channels go into messages, and may hold anything.
        super().__init__("".join(c if c.isprintable() else "?" for c in message))


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
        """Raises `SpecimenError` where the heights are no usable 2-D array or the size is beyond any scanner."""
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
        from .interpolate import bilinear_many  # here: Numba takes long to import, and who only reads a file does without

        x, y = np.broadcast_arrays(np.asarray(x_m, np.float64), np.asarray(y_m, np.float64))
        flat: NDArray[np.float64] = bilinear_many(self.heights_m, x.ravel(), y.ravel(), self.size_x_m, self.size_y_m)
        return flat.reshape(x.shape)


def check_shape(name: str, shape: tuple[int, ...], most_bytes: int = MOST_BYTES) -> None:
    """Refuse (`SpecimenError`) what is not 2-D or has too few or too many points."""
    text = " x ".join(str(n) for n in shape) or "a single number"
    if len(shape) != 2:
        raise SpecimenError(f"{name}: the heights are {len(shape)}-D ({text}); a 2-D array (rows x columns) is needed")
    if min(shape) < FEWEST_POINTS:
        raise SpecimenError(f"{name}: {text} points are too few; at least {FEWEST_POINTS} x {FEWEST_POINTS} are needed")
    if max(shape) > MOST_POINTS or 8 * shape[0] * shape[1] > most_bytes:
        raise SpecimenError(
            f"{name}: {text} points are too many; at most {MOST_POINTS} per side and {most_bytes // 2**20} MiB as float64 are accepted"
        )


def length(metres: float) -> str:
    """For messages: in nm below a micrometre, else in um."""
    return f"{metres * 1e6:.6g} um" if abs(metres) >= 1e-6 else f"{metres * 1e9:.6g} nm"


def check_size(name: str, size_x_m: float, size_y_m: float) -> None:
    """Refuse (`SpecimenError`) a size that is not a number, not positive or beyond the reach of any scanner."""
    for axis, size in (("x", size_x_m), ("y", size_y_m)):
        if not math.isfinite(size) or not SMALLEST_SIZE_M <= size <= LARGEST_SIZE_M:
            raise SpecimenError(
                f"{name}: a size of {length(size)} in {axis} is not possible; accepted: {length(SMALLEST_SIZE_M)} to "
                f"{length(LARGEST_SIZE_M)} (the largest scanner reaches +-{length(LARGEST_SIZE_M / 2)})"
            )


def level_heights(name: str, heights_m: NDArray[np.float64], found: str = "", *, span_m: float = 0.0) -> tuple[NDArray[np.float64], str]:
    """Bring heights read from a file within reach of a z scanner.

    Takes metres, shape (rows, columns), all finite, and the larger of width and height of the specimen, `span_m`. Subtracts the median and
    nothing else, unless the least-squares plane stands in the way: where the surface reaches beyond `LARGEST_HEIGHT_M`, and where a
    specimen of up to `FINE_SIZE_M` fits `FINE_HEIGHT_M`, and so a fine scanner, only without it. Returns the heights (float64,
    C-contiguous) and a note that says what was subtracted. Raises `SpecimenError` for a flat surface (`found` says what else the file
    holds) and for one that does not fit.
    """
    low, high = float(heights_m.min()), float(heights_m.max())
    shape = f"{heights_m.shape[0]} x {heights_m.shape[1]} points"
    # Millimetres are no surface of this machine, and squares of huge numbers would overflow below.
    if max(abs(low), abs(high)) > 1e-3:
        raise SpecimenError(
            f"{name}: heights from {low:.3g} to {high:.3g} m; metres are expected, a surface within +-{length(LARGEST_HEIGHT_M)}"
        )
    if high - low < FLAT_M:
        raise SpecimenError(
            f"{name}: the topography is flat: {shape}, {(high - low) * 1e12:.3g} pm from lowest to highest{found}; "
            f"at least {FLAT_M * 1e12:g} pm are needed"
        )
    median = float(np.median(heights_m))
    levelled = np.ascontiguousarray(heights_m - median, dtype=np.float64)
    note = f"median {median:.6g} m subtracted"
    reach = _reach(levelled)
    fine = span_m <= FINE_SIZE_M
    if reach > (FINE_HEIGHT_M if fine else LARGEST_HEIGHT_M):
        without_plane = subtract_plane(levelled)
        if np.ptp(without_plane) < FLAT_M:
            raise SpecimenError(
                f"{name}: the topography is a bare plane: {shape}, {length(high - low)} from lowest to highest, "
                f"under {FLAT_M * 1e12:g} pm without its tilt{found}; a surface with structure is needed"
            )
        # A rough small specimen needs the large scanner either way, and may then keep its tilt.
        if reach > LARGEST_HEIGHT_M or _reach(without_plane) <= FINE_HEIGHT_M:
            levelled, reach = without_plane, _reach(without_plane)
            note += "; plane subtracted"
    if reach > LARGEST_HEIGHT_M:
        raise SpecimenError(
            f"{name}: the surface reaches {length(reach)} from its median even without its tilt; accepted: {length(LARGEST_HEIGHT_M)}"
        )
    return levelled, note


def _reach(heights_m: NDArray[np.float64]) -> float:
    return float(max(heights_m.max(), -heights_m.min()))


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
