"""Inputs out of a file of the user's: for calibration, validation, accuracy."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reflexarc.compiler.graph import Array, Model
from reflexarc.compiler.load import named, read_file
from reflexarc.compiler.network import Float32
from reflexarc.compiler.refusal import refuse, shown
from reflexarc.errors import BadInput

LARGEST_CALIBRATION = 256 * 2**20  # bytes, unpacked


def read_calibration(path: str | os.PathLike[str], model: Model) -> tuple[Float32, NDArray[np.int64] | None]:
    """Inputs [n, ...] and, where the file has an array `labels`, the number of each one's class."""
    try:
        return _calibration(Path(os.fspath(path)), model)
    except BadInput as error:
        raise named(path, error) from None


def _calibration(path: Path, model: Model) -> tuple[Float32, NDArray[np.int64] | None]:
    arrays: dict[str, Array] = {}
    read_file(path, LARGEST_CALIBRATION)  # refuses pipes and the like
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST_CALIBRATION:
                refuse("unpacks to too much", f"up to {LARGEST_CALIBRATION // 2**20} MiB are read")
        with np.load(path, allow_pickle=False) as file:
            for name in file.files[:16]:
                arrays[name] = file[name]
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, NotImplementedError, MemoryError, KeyError, SyntaxError):
        refuse("is no NumPy archive, or damaged", f"save it with numpy.savez(path, **{{'{model.input}': inputs}})")
    labels = arrays.pop("labels", None) if "labels" != model.input else None
    found = arrays.get(model.input)
    if found is None and len(arrays) == 1:
        (found,) = arrays.values()
    if found is None:
        names = ", ".join(shown(name) for name in list(arrays)[:4]) or "none"
        refuse(f"has no array called as the model's input, {shown(model.input)} (but {names})", "name the array so, or give only one")
    inputs = check_inputs(found, model)
    if labels is None:
        return inputs, None
    if labels.shape != (len(inputs),) or labels.dtype.kind not in "iu":
        refuse(f"has labels of shape {list(labels.shape)}", f"give {len(inputs)} whole numbers, the class of each input")
    return inputs, labels.astype(np.int64)


def check_inputs(values: Array, model: Model) -> Float32:
    """As [n, ...] of float32; a batch in front is needed, unless it is a single input of the model's shape."""
    shape = model.input_shape[1:]
    if values.dtype.kind not in "fiu":
        refuse(f"the inputs are of type {values.dtype}", "give numbers")
    if values.shape == shape:
        values = values[None]
    if values.ndim == len(shape) + 2 and values.shape[1] == 1 and values.shape[2:] == shape:
        values = values[:, 0]
    if values.shape[1:] != shape or len(values) == 0:
        refuse(f"the inputs have the shape {list(values.shape)}", f"give [n, {', '.join(str(size) for size in shape)}], with n from 1 up")
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        refuse("the inputs are not all finite", "leave out what is not a number")
    return values
