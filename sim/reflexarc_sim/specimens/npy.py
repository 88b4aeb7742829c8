"""Specimens from NumPy's `.npy` files: a 2-D array of heights in metres, or of any numbers whose range the user gives a height."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .channels import Reading
from .specimen import SpecimenError, check_shape


def read(path: Path) -> Reading:
    """Raises `SpecimenError` for whatever is wrong with the file; nothing large is read before its header is found good."""
    name = path.name
    offset, shape, dtype = _read_header(path)
    check_shape(name, shape)
    if dtype.hasobject or dtype.kind not in "fiu":
        raise SpecimenError(f"{name}: the array holds {dtype}, not real numbers; a 2-D array of floats or integers in metres is accepted")
    expected, present = offset + dtype.itemsize * shape[0] * shape[1], path.stat().st_size
    if present < expected:
        raise SpecimenError(f"{name}: truncated: {present} bytes where the header announces {expected}; a complete .npy file is needed")
    heights = _read_heights(path)
    if not np.isfinite(heights).all():
        bad = int(heights.size - np.isfinite(heights).sum())
        raise SpecimenError(f"{name}: {bad} of {heights.size} heights are NaN or infinite; each must be a finite number of metres")
    return Reading(heights, None, metres=False, bare=True, note="")


def _read_header(path: Path) -> tuple[int, tuple[int, ...], np.dtype[Any]]:
    """Offset of the data in bytes, shape and type."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers written by Python 2 are fine
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            return file.tell(), shape, dtype
    except OSError as error:
        raise SpecimenError(f"{path.name}: cannot be read ({error.strerror or error}); a readable .npy file is needed") from error
    except Exception as error:  # a damaged header makes NumPy raise nearly anything, tokenizer errors included
        raise SpecimenError(f"{path.name}: no valid .npy file ({_first_line(error)}); a file that numpy.save wrote is needed") from error


def _read_heights(path: Path) -> NDArray[np.float64]:
    try:
        with np.errstate(all="ignore"):  # a long double beyond float64 becomes infinite, which the caller refuses
            return np.ascontiguousarray(np.load(path, allow_pickle=False), dtype=np.float64)
    except Exception as error:
        raise SpecimenError(f"{path.name}: the data cannot be read ({_first_line(error)}); a complete .npy file is needed") from error


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return (lines[0] if lines else type(error).__name__)[:120]
