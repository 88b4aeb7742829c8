"""Specimens from PNG images: brightness is height. Read by the library Pillow."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .channels import MOST_MAP_BYTES, Reading
from .specimen import SpecimenError, check_shape

if TYPE_CHECKING:
    from PIL.Image import Image

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: Recommendation ITU-R BT.601
COLOUR_NOTE = "colours as their luminance (0.299 R + 0.587 G + 0.114 B)"


def read(path: Path, channel: str | None) -> Reading:
    """Raises `SpecimenError` for what is no PNG image of a possible size; damage makes the library raise anything."""
    from PIL import Image

    with path.open("rb") as file:
        start = file.read(24)
    if not start.startswith(b"\x89PNG\r\n\x1a\n"):
        raise SpecimenError(f"{path.name}: no PNG image (its signature is missing); a complete PNG image is needed")
    if len(start) < 24:
        raise SpecimenError(f"{path.name}: truncated: {len(start)} bytes; a complete PNG image is needed")
    columns, rows = struct.unpack(">II", start[16:])
    check_shape(path.name, (rows, columns), MOST_MAP_BYTES)
    with Image.open(path, formats=["PNG"]) as image:
        return from_pillow(path.name, image)


def from_pillow(name: str, image: Image) -> Reading:
    """The first frame, rows from the top down turned over; transparency is left out."""
    check_shape(name, (image.height, image.width), MOST_MAP_BYTES)
    note = "brightness"
    if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image, np.float64)
    elif image.mode in ("LA", "La"):
        values = np.asarray(image, np.float64)[:, :, 0]
    else:
        values = luminance(np.asarray(image.convert("RGB")))
        note = COLOUR_NOTE
    return Reading(values[::-1], None, metres=False, bare=False, note=note)


def luminance(colours: NDArray[Any]) -> NDArray[np.float64]:
    """Shape (rows, columns, 3 or more) to (rows, columns); one colour after the other, which needs less memory."""
    values = np.zeros(colours.shape[:2])
    for i, weight in enumerate(LUMA):
        values += weight * colours[:, :, i].astype(np.float64)
    return values
