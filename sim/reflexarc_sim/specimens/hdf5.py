"""Specimens from HDF5: the NSID layout, NetCDF-4, and plain data sets in groups. Read by the library h5py.

Sources: the NSID layout of pyNSID (a data set with `quantity` and `units`, its axes as dimension scales with `units`); the dimension scales
of the HDF5 specification; the attributes of the NetCDF users' guide. Nothing is read that lies outside the file.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np

from .channels import MOST_MAP_BYTES, Channel, Reading, choose
from .grid import Axis, reading, unpack
from .specimen import MOST_BYTES, MOST_POINTS, SpecimenError, check_shape
from .units import text_of, unit_of

MOST_OBJECTS = 10_000
LONGEST_ATTRIBUTE = 4096  # bytes; a unit or a title is shorter
# netCDF's own, for a variable that names none (netcdf.h)
DEFAULT_FILLS = {
    **dict.fromkeys(("f4", "f8"), 9.969209968386869e36),
    **{"i2": -(2**15) + 1, "i4": -(2**31) + 1, "i8": -(2**63) + 2, "u2": 2**16 - 1, "u4": 2**32 - 1, "u8": 2**64 - 2},
}


def read(path: Path, channel: str | None) -> Reading:
    """Raises `SpecimenError` for a file without a usable map; damage makes the library raise anything, or crash."""
    return read_hdf5(path, channel)


def read_hdf5(path: Path, channel: str | None, default_fills: bool = False) -> Reading:
    """`read`, with netCDF's own fill values if asked for."""
    if not h5py.is_hdf5(path):
        raise SpecimenError(f"{path.name}: no HDF5 file (its signature is missing), or truncated; a complete HDF5 file is needed")
    with h5py.File(path, "r", locking=False) as file:
        chosen = choose(path.name, _channels(file), channel)
        dataset = chosen.source
        sides = [i for i, n in enumerate(dataset.shape) if n != 1]
        shape = tuple(dataset.shape[i] for i in sides)
        check_shape(path.name, shape, MOST_MAP_BYTES)
        if (chunk := math.prod(dataset.chunks or ()) * dataset.dtype.itemsize) > MOST_BYTES:
            raise SpecimenError(
                f"{path.name}: chunks of {chunk // 2**20} MiB are too large; at most {MOST_BYTES // 2**20} MiB are accepted"
            )
        fill = DEFAULT_FILLS.get(dataset.dtype.str[1:]) if default_fills else None
        values = unpack(dataset[()].reshape(shape), _numbers(dataset), fill)
        first, second = _axes(dataset, sides, shape)
        return reading(values, (first, second), chosen.unit, f"channel {chosen.names[0]!r}")


def _channels(file: h5py.File) -> list[Channel]:
    """All arrays of two dimensions and more; links to other files are not followed."""
    channels: list[Channel] = []
    visited = 0

    def visit(_: str, found: h5py.Group | h5py.Dataset) -> bool | None:
        nonlocal visited
        visited += 1
        if isinstance(found, h5py.Dataset) and found.shape is not None and len(found.shape) > 1:
            channels.append(_channel(found))
        return True if visited >= MOST_OBJECTS else None  # anything but None ends the visit

    file.visititems(visit)
    return channels


def _channel(dataset: h5py.Dataset) -> Channel:
    path = str(dataset.name or "")
    titles = [text_of(_attribute(dataset, key)) for key in ("quantity", "long_name", "standard_name", "title")]
    names = [name for name in (*titles, path.rsplit("/", 1)[-1], path, path.lstrip("/")) if name]
    dimensions = sum(n != 1 for n in dataset.shape)
    unusable = ""
    if dimensions != 2:
        unusable = f"{dimensions}-D"
    elif dataset.dtype.kind not in "fiu":
        unusable = "complex numbers" if dataset.dtype.kind == "c" else "not real numbers"
    elif _elsewhere(dataset):
        unusable = "its data lie in another file"
    return Channel(tuple(names), _unit(dataset), dataset, unusable)


def _elsewhere(dataset: h5py.Dataset) -> bool:
    return bool(dataset.is_virtual) or bool(dataset.external)


def _axes(dataset: h5py.Dataset, sides: list[int], shape: tuple[int, ...]) -> tuple[Axis, Axis]:
    """By the dimension scales, or the arrays beside the data set that are called as its dimensions; where the dimensions have no names
    either, by arrays called x and y, if their lengths fit."""
    axes = [_dimension(dataset, i, n) for i, n in zip(sides, shape, strict=True)]
    if not any(axis.name for axis in axes):
        beside = {name.lower(): array for name in ("x", "X", "y", "Y") if (array := _array(dataset.parent, name)) is not None}
        for pair in (("y", "x"), ("x", "y")):
            if all(name in beside and beside[name].shape == (n,) for name, n in zip(pair, shape, strict=True)):
                axes = [_axis(name, beside[name]) for name in pair]
                break
    return axes[0], axes[1]


def _dimension(dataset: h5py.Dataset, i: int, points: int) -> Axis:
    dimension = dataset.dims[i]
    name = text_of(dimension.label)
    scale = dimension[0] if len(dimension) else _array(dataset.parent, name) if name else None
    if scale is None:
        return Axis(name)
    name = name or str(scale.name or "").rsplit("/", 1)[-1]
    # A dimension of netCDF without a coordinate variable is a scale without meaning.
    meaningless = text_of(_attribute(scale, "NAME")).startswith("This is a netCDF dimension but not")
    return Axis(name) if meaningless or scale.shape != (points,) else _axis(name, scale)


def _array(group: h5py.Group, name: str) -> h5py.Dataset | None:
    link = group.get(name, getlink=True)
    found = group[name] if isinstance(link, h5py.HardLink) else None
    return found if isinstance(found, h5py.Dataset) else None


def _axis(name: str, scale: h5py.Dataset) -> Axis:
    if scale.size is None or scale.size > MOST_POINTS or scale.dtype.kind not in "fiu" or _elsewhere(scale):
        return Axis(name)
    return Axis(name, unpack(scale[()], _numbers(scale)), _unit(scale))


def _unit(owner: h5py.Dataset) -> str:
    units = [unit_of(_attribute(owner, key)) for key in ("units", "unit", "Units", "Unit")]
    return next((unit for unit in units if unit), "")


def _attribute(owner: h5py.Dataset, key: str) -> Any:
    """A single value, or `None`; long ones are not read."""
    if key not in owner.attrs:
        return None
    about = owner.attrs.get_id(key)
    if math.prod(about.shape or ()) != 1 or about.get_storage_size() > LONGEST_ATTRIBUTE:
        return None
    value = owner.attrs[key]
    return value.item() if isinstance(value, np.ndarray | np.generic) else value


def _numbers(dataset: h5py.Dataset) -> dict[str, float]:
    keys = ("_FillValue", "missing_value", "scale_factor", "add_offset")
    found = {key: _attribute(dataset, key) for key in keys}
    return {key: float(value) for key, value in found.items() if isinstance(value, int | float)}
