"""From what a user writes to a specimen."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import au111, graphene, npy
from .apart import read_apart
from .channels import Reading, complete_rows
from .specimen import FLAT_M, LARGEST_HEIGHT_M, LARGEST_SIZE_M, MOST_BYTES, Specimen, SpecimenError, check_size, length, level_heights
from .sxm import load_sxm

GENERATED = {"au111": au111.generate, "graphene": graphene.generate}
# The module that reads files of an ending, in another process.
READERS = {
    ".ibw": "ibw",
    ".gwy": "gwy",
    ".nc": "netcdf",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".nsid": "hdf5",
    ".png": "png",
    ".tif": "tiff",
    ".tiff": "tiff",
}
IMAGES = (".png", ".tif", ".tiff")
ACCEPTED = "accepted: 'au111', 'graphene' (generated), or a file .sxm, .ibw, .gwy, .nc, .h5, .hdf5, .nsid, .npy, .png, .tif, .tiff"
_SIZE = f"its size in metres, a width or width and height, each up to {length(LARGEST_SIZE_M)}"
_HEIGHT = "its height in metres, from the darkest to the brightest pixel"


def load(
    text: str,
    *,
    size_m: float | tuple[float, float] | None = None,
    seed: int = 0,
    channel: str | None = None,
    height_m: float | None = None,
) -> Specimen:
    """The specimen that `text` names.

    "au111", "graphene": generated, 50 nm and 20 nm wide unless `size_m` says otherwise; `seed` chooses what is random in them.
    A path: by its ending a Nanonis scan (.sxm), an Igor wave (.ibw), a Gwyddion file (.gwy), NetCDF (.nc), HDF5 (.h5, .hdf5, .nsid), a
    NumPy array (.npy) or an image (.png, .tif, .tiff).

    `size_m`: metres, a width (the pixels are square) or a pair of width and height. For files without a lateral scale, and only for them.
    `height_m`: metres, what lies between the lowest and the highest value. For files without a unit of height, and only for them: images
    need it, other numbers without a unit are metres where it is not given.
    `channel`: the name of one of the channels of a file; without it the topography is taken.

    Raises `SpecimenError`, one line, for anything that does not give a usable surface.
    """
    if not isinstance(seed, int) or not 0 <= seed < 2**64:
        raise SpecimenError(f"seed {seed!r} is not possible; accepted: a whole number from 0 to 2^64 - 1")
    kind = text.strip().lower()
    if kind in GENERATED:
        if channel is not None or height_m is not None:
            raise SpecimenError(f"{kind}: a generated specimen has no channels and its own height; leave channel and height out")
        if size_m is None:
            return GENERATED[kind](seed=seed)
        size_x_m, size_y_m = _width_and_height(kind, size_m)
        return GENERATED[kind](size_x_m, size_x_m if size_y_m is None else size_y_m, seed=seed)
    path = Path(text)
    ending = path.suffix.lower()
    if ending not in (".npy", ".sxm", *READERS):
        raise SpecimenError(f"specimen {text[:200]!r} is not known; {ACCEPTED}")
    _check_file(path)
    if ending == ".sxm":
        if size_m is not None:
            raise SpecimenError(f"{path.name}: a Nanonis scan brings its own size; leave the size out")
        if height_m is not None:
            raise SpecimenError(f"{path.name}: a Nanonis scan brings its own heights; leave the height out")
        return load_sxm(path, channel)
    return _load(path, ending, size_m, channel, height_m)


def _load(path: Path, ending: str, size_m: float | tuple[float, float] | None, channel: str | None, height_m: float | None) -> Specimen:
    """A file whose reader returns a `Reading`."""
    name = path.name
    image = ending in IMAGES
    if channel is not None and (image or ending == ".npy"):
        raise SpecimenError(f"{name}: {'an image' if image else 'a .npy file'} has no channels; leave the channel out")
    # Before anything is read: what is missing in any case.
    if size_m is None and (image or ending == ".npy"):
        raise SpecimenError(f"{name}: {'an image' if image else f'a {ending} file'} needs {_SIZE}{f'; and {_HEIGHT}' if image else ''}")
    if height_m is None and image:
        raise SpecimenError(f"{name}: an image needs {_HEIGHT}")
    sides = None if size_m is None else _width_and_height(name, size_m)
    if sides is not None:
        check_size(name, sides[0], sides[0] if sides[1] is None else sides[1])
    height_m = None if height_m is None else _height(name, height_m)
    found = npy.read(path) if ending == ".npy" else read_apart(f"{__package__}.{READERS[ending]}", path, channel)

    rows, columns = found.values.shape
    if found.size_m is not None:
        if sides is not None:
            raise SpecimenError(f"{name}: the file brings its own size; leave the size out")
        size_x_m, size_y_m = found.size_m
    elif sides is None:
        raise SpecimenError(f"{name}: the file has no lateral scale in a unit of length; it needs {_SIZE}")
    else:
        size_x_m, size_y_m = sides[0], sides[0] * rows / columns if sides[1] is None else sides[1]
    check_size(name, size_x_m, size_y_m)
    values, cropped = complete_rows(name, found.values, "the image" if image else found.note)
    size_x_m, size_y_m = size_x_m * (values.shape[1] / columns), size_y_m * (values.shape[0] / rows)
    heights, scaled = _in_metres(name, found, values, height_m)
    levelled, levelling = level_heights(name, heights, f" in {found.note}" if found.note else "", span_m=max(size_x_m, size_y_m))
    note = f"{found.note}; {cropped}{scaled}{levelling}" if found.note else f"{scaled}{levelling}"
    return Specimen(levelled, size_x_m, size_y_m, name, (), note)


def _in_metres(name: str, found: Reading, values: NDArray[np.float64], height_m: float | None) -> tuple[NDArray[np.float64], str]:
    """Heights, and a note on how they came about."""
    if found.metres:
        if height_m is not None:
            raise SpecimenError(f"{name}: the file brings its own heights; leave the height out")
        return values, ""
    if height_m is not None:
        low, high = float(values.min()), float(values.max())
        if not high > low or not math.isfinite(high - low):
            raise SpecimenError(f"{name}: from {low:.6g} to {high:.6g} there is no range to scale; an image with structure is needed")
        return (values - low) * (height_m / (high - low)), f"{low:.6g} to {high:.6g} scaled to {length(height_m)}; "
    if not found.bare:
        raise SpecimenError(f"{name}: {found.note} is not in a unit of length; name another channel, or give the height in metres")
    return values, "no unit in the file, taken as metres; " if found.note else ""


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise SpecimenError(f"{path} is a folder; {ACCEPTED}")
        if not path.exists():
            raise SpecimenError(f"{path} does not exist; {ACCEPTED}")
        if not path.is_file():
            raise SpecimenError(f"{path} is no ordinary file; {ACCEPTED}")
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        if isinstance(error, SpecimenError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SpecimenError(f"{path!s:.200} cannot be read ({reason}); {ACCEPTED}") from error
    if size > MOST_BYTES:
        raise SpecimenError(f"{path.name}: {size // 2**20} MiB are too large; at most {MOST_BYTES // 2**20} MiB are accepted")


def _height(name: str, height_m: float) -> float:
    try:
        height = float(height_m)
    except (TypeError, ValueError) as error:
        raise SpecimenError(f"{name}: height {height_m!r} is not possible; accepted: one number, in metres") from error
    if not FLAT_M <= height <= 2 * LARGEST_HEIGHT_M:
        raise SpecimenError(f"{name}: a height of {length(height)} is not possible; accepted: 1 pm to {length(2 * LARGEST_HEIGHT_M)}")
    return height


def _width_and_height(name: str, size_m: float | tuple[float, float]) -> tuple[float, float | None]:
    """In metres, the height `None` where a single number was given; their range is checked where the specimen is made."""
    try:
        if isinstance(size_m, tuple | list):
            width_m, height_m = size_m
            return float(width_m), float(height_m)
        return float(size_m), None
    except (TypeError, ValueError) as error:
        raise SpecimenError(f"{name}: size {size_m!r} is not possible; accepted: one number or a pair of numbers, in metres") from error
