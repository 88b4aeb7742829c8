"""Bilinear interpolation of a height map: the one definition that the plants and the reports share."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(error_model="numpy")
def bilinear(heights: NDArray[np.float64], x: float, y: float, size_x: float, size_y: float) -> float:
    """Height at one point, in the unit of `heights`.

    `heights` has the shape (rows, columns), each at least 2; row 0 is the lowest y, column 0 the lowest x. The map is centred on
    x = y = 0 and spans `size_x` by `size_y` (same unit as x and y); a value belongs to the *centre* of its pixel. Beyond the outermost
    pixel centres the height of the nearest edge continues (edge clamp): no cliff, and no copies of features that do not exist.
    """
    rows, columns = heights.shape
    u = (x / size_x + 0.5) * columns - 0.5
    v = (y / size_y + 0.5) * rows - 0.5
    # Written as "not greater", so that a NaN lands on pixel 0 instead of reading outside the array.
    if not u > 0.0:
        u = 0.0
    if not v > 0.0:
        v = 0.0
    u = min(u, columns - 1.0)
    v = min(v, rows - 1.0)
    i = min(int(u), columns - 2)
    j = min(int(v), rows - 2)
    fu = u - i
    fv = v - j
    low = heights[j, i] + fu * (heights[j, i + 1] - heights[j, i])
    high = heights[j + 1, i] + fu * (heights[j + 1, i + 1] - heights[j + 1, i])
    return low + fv * (high - low)  # type: ignore[no-any-return]


@numba.njit(error_model="numpy")
def bilinear_many(
    heights: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64], size_x: float, size_y: float
) -> NDArray[np.float64]:
    """`bilinear` at each pair of the two 1-D arrays `x` and `y` of equal length; returns a 1-D array of that length."""
    result = np.empty(x.size)
    for k in range(x.size):
        result[k] = bilinear(heights, x[k], y[k], size_x, size_y)
    return result
