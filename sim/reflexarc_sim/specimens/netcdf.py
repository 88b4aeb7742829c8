"""Specimens from NetCDF: the classic formats by SciPy, NetCDF-4, which is HDF5, by h5py.

So netCDF's own library, with a second HDF5 and a client for the network in it, is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .channels import MOST_MAP_BYTES, Channel, Reading, choose
from .grid import Axis, reading, unpack
from .hdf5 import DEFAULT_FILLS, read_hdf5
from .specimen import SpecimenError, check_shape
from .units import text_of, unit_of


def read(path: Path, channel: str | None) -> Reading:
    """Raises `SpecimenError` for a file without a usable map; damage makes the libraries raise anything, or crash."""
    with path.open("rb") as file:
        start = file.read(8)
    if start[:4] in (b"CDF\x01", b"CDF\x02"):
        return _read_classic(path, channel)
    if start[:4] == b"CDF\x05":
        raise SpecimenError(f"{path.name}: NetCDF of the kind CDF-5; accepted: NetCDF-4, classic, 64-bit offset (nccopy -k nc4 converts)")
    if not start.startswith(b"\x89HDF"):
        raise SpecimenError(f"{path.name}: no NetCDF file (it begins with neither CDF nor HDF); a complete NetCDF file is needed")
    return read_hdf5(path, channel, default_fills=True)


def _read_classic(path: Path, channel: str | None) -> Reading:
    from scipy.io import netcdf_file  # type: ignore[import-untyped]

    with netcdf_file(str(path), "r", mmap=False) as file:
        channels = [_channel(name, variable) for name, variable in file.variables.items() if len(variable.shape) > 1]
        chosen = choose(path.name, channels, channel)
        variable = chosen.source
        sides = [i for i, n in enumerate(variable.shape) if n != 1]
        shape = tuple(variable.shape[i] for i in sides)
        check_shape(path.name, shape, MOST_MAP_BYTES)
        values = unpack(variable.data.reshape(shape), _numbers(variable), DEFAULT_FILLS.get(variable.data.dtype.str[1:]))
        first, second = (_axis(variable.dimensions[i], file.variables) for i in sides)
        return reading(values, (first, second), chosen.unit, f"channel {chosen.names[0]!r}")


def _channel(name: str, variable: Any) -> Channel:
    titles = [text_of(getattr(variable, key, "")) for key in ("long_name", "standard_name")]
    dimensions = sum(n != 1 for n in variable.shape)
    unusable = "" if dimensions == 2 else f"{dimensions}-D"
    if not unusable and variable.data.dtype.kind not in "fiu":
        unusable = "not real numbers"
    return Channel(tuple(title for title in (*titles, name) if title), _unit(variable), variable, unusable)


def _axis(name: str, variables: Mapping[str, Any]) -> Axis:
    """A coordinate variable is called as its dimension."""
    variable = variables.get(name)
    if variable is None or variable.data.ndim != 1 or variable.data.dtype.kind not in "fiu":
        return Axis(name)
    return Axis(name, unpack(variable.data, _numbers(variable)), _unit(variable))


def _unit(variable: Any) -> str:
    return unit_of(getattr(variable, "units", "")) or unit_of(getattr(variable, "unit", ""))


def _numbers(variable: Any) -> dict[str, float]:
    found = {key: np.asarray(getattr(variable, key, None)) for key in ("_FillValue", "missing_value", "scale_factor", "add_offset")}
    return {key: float(value.item()) for key, value in found.items() if value.size == 1 and value.dtype.kind in "fiu"}
