"""How well a topography agrees with the surface that it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class TopographyMetrics:
    """The agreement of a measured topography with the true surface.

    ``rms_m`` is the root mean square of the difference after its mean was removed; ``peak_to_peak_m`` is the range of the true
    surface and ``rms_fraction`` their ratio. ``correlation`` is Pearson's coefficient, 0 where the measurement is constant.
    """

    rms_m: float
    peak_to_peak_m: float
    rms_fraction: float
    correlation: float


def topography_metrics(measured_m: ArrayLike, true_m: ArrayLike) -> TopographyMetrics:
    """Compare two surfaces of the same shape, heights in m.

    Pixels that are NaN in either are ignored, for all four numbers. Only an offset is removed: neither tilt nor drift is
    forgiven. Raises `ValueError` for different shapes, infinite heights, fewer than two pixels to compare, or a true surface
    that is flat over these pixels.
    """
    measured, true = np.asarray(measured_m, np.float64), np.asarray(true_m, np.float64)
    if measured.shape != true.shape:
        raise ValueError(f"the measured topography has the shape {measured.shape}, the true surface {true.shape}")
    both = ~(np.isnan(measured) | np.isnan(true))
    if np.count_nonzero(both) < 2:
        raise ValueError("there are not two pixels that are both measured and known")
    measured, true = measured[both], true[both]
    if not (np.all(np.isfinite(measured)) and np.all(np.isfinite(true))):
        raise ValueError("a height is infinite")
    peak_to_peak_m = float(np.ptp(true))
    if peak_to_peak_m == 0:
        raise ValueError("the true surface is flat: there is no range to compare with")
    difference = measured - true
    # About the mean first: heights of some pm far from zero would lose their digits in the squares.
    rms_m = float(np.sqrt(np.mean((difference - difference.mean()) ** 2)))
    # Scaled by the range, because squares of heights below 1e-154 m are zero.
    a = (measured - measured.mean()) / peak_to_peak_m
    b = (true - true.mean()) / peak_to_peak_m
    norm = float(np.sqrt(np.sum(a * a)) * np.sqrt(np.sum(b * b)))
    correlation = float(np.clip(np.sum(a * b) / norm, -1.0, 1.0)) if np.ptp(measured) > 0 and norm > 0 else 0.0
    return TopographyMetrics(rms_m, peak_to_peak_m, rms_m / peak_to_peak_m, correlation)
