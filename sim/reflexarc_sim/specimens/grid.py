"""What HDF5 and NetCDF share: arrays whose axes have names and coordinates, and numbers that are packed or missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .channels import Reading
from .units import metres

_X = re.compile(r"x|col|width|fast", re.IGNORECASE)
_Y = re.compile(r"y|row|line|slow", re.IGNORECASE)


@dataclass(frozen=True)
class Axis:
    """One axis of an array. `coordinates`: of the centres of its points, `None` where the file has none; `unit`: theirs."""

    name: str = ""
    coordinates: NDArray[Any] | None = None
    unit: str = ""

    def length_m(self) -> float | None:
        """From edge to edge: points times spacing. `None` without coordinates in a unit of length, rising or falling evenly."""
        factor = metres(self.unit)
        spacing = self.spacing()
        return None if factor is None or spacing is None else abs(spacing) * factor * self.points

    @property
    def points(self) -> int:
        return 0 if self.coordinates is None else self.coordinates.size

    def spacing(self) -> float | None:
        """In the unit of the coordinates, negative where they fall."""
        if self.coordinates is None or self.coordinates.ndim != 1 or self.coordinates.dtype.kind not in "fiu":
            return None
        places = self.coordinates.astype(np.float64)
        if len(places) < 2 or not np.isfinite(places).all():
            return None
        step = float(places[-1] - places[0]) / (len(places) - 1)
        # Half a pixel off its place is the most that a map of equal pixels can take.
        even = places[0] + step * np.arange(len(places))
        return step if np.isfinite(step) and step != 0 and np.abs(places - even).max() <= 0.5 * abs(step) else None


def unpack(raw: NDArray[Any], attributes: Mapping[str, float], default_fill: float | None = None) -> NDArray[np.float64]:
    """Numbers as float64, after the conventions of NetCDF: what equals `_FillValue` or `missing_value` becomes NaN, the rest times
    `scale_factor` plus `add_offset`. `default_fill` counts where neither of the first two is there."""
    values = raw.astype(np.float64)
    fills = [attributes[key] for key in ("_FillValue", "missing_value") if key in attributes]
    if not fills and default_fill is not None:
        fills = [default_fill]
    for fill in fills:
        # In the type of the data: 1e20 as float32 is another number.
        values[values == (float(raw.dtype.type(fill)) if raw.dtype.kind == "f" else fill)] = np.nan
    if "scale_factor" in attributes:
        values *= attributes["scale_factor"]
    if "add_offset" in attributes:
        values += attributes["add_offset"]
    return values


def reading(values: NDArray[np.float64], axes: tuple[Axis, Axis], unit: str, note: str) -> Reading:
    """A map whose axes are `axes` in the order of the array: rows are y unless the names of the axes say x, and y and x rise."""
    first, second = axes
    if (_X.match(first.name) and not _X.match(second.name)) or (_Y.match(second.name) and not _Y.match(first.name)):
        values, first, second = values.T, second, first
    if (first.spacing() or 0) < 0:
        values = values[::-1]
    if (second.spacing() or 0) < 0:
        values = values[:, ::-1]
    width, height = second.length_m(), first.length_m()
    factor = metres(unit)
    return Reading(
        values=values if factor is None else values * factor,
        size_m=None if width is None or height is None else (width, height),
        metres=factor is not None,
        bare=not unit,
        note=note,
    )
