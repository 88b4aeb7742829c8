"""Specimens from TIFF images, integer or float: brightness is height. Read by tifffile; what that leaves to other libraries (LZW and JPEG
compression, palettes) by Pillow, which in turn knows fewer kinds of numbers.

Source: TIFF revision 6.0 (Adobe 1992), for the orientation and for images in which zero is white.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .channels import MOST_MAP_BYTES, Reading
from .png import COLOUR_NOTE, from_pillow, luminance
from .specimen import MOST_BYTES, SpecimenError, check_shape

COMPRESSIONS = (1, 8, 32946, 32773)  # none, Deflate (two numbers), PackBits
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
ORIENTATION_TAG = 274


def read(path: Path, channel: str | None) -> Reading:
    """Raises `SpecimenError` for what is no TIFF image of a possible size; damage makes the libraries raise anything."""
    import tifffile

    with path.open("rb") as file:
        start = file.read(4)
    if start not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        raise SpecimenError(f"{path.name}: no TIFF image (its signature is missing); a complete TIFF image is needed")
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        check_shape(path.name, (page.imagelength, page.imagewidth), MOST_MAP_BYTES)
        if page.nbytes > MOST_BYTES:
            raise SpecimenError(f"{path.name}: {page.nbytes // 2**20} MiB are too large; at most {MOST_BYTES // 2**20} MiB are accepted")
        if page.compression not in COMPRESSIONS or page.photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB):
            return _by_pillow(path)
        if page.axes not in ("YX", "YXS", "SYX"):
            raise SpecimenError(f"{path.name}: an image with the axes {page.axes[:20]!r}; accepted: rows x columns, grey or RGB")
        if page.dtype is None or page.dtype.kind not in "fiub":
            raise SpecimenError(f"{path.name}: the image holds {page.dtype}, not real numbers; integers and floats are accepted")
        pixels = page.asarray()
        if page.axes == "SYX":
            pixels = np.moveaxis(pixels, 0, -1)
        tag = page.tags.get(ORIENTATION_TAG)
        return _grey(pixels, int(page.photometric), int(tag.value) if tag is not None else 1)


def _by_pillow(path: Path) -> Reading:
    """Pillow turns the image upright itself."""
    from PIL import Image

    with Image.open(path, formats=["TIFF"]) as image:
        return from_pillow(path.name, image)


def _grey(pixels: NDArray[np.generic], photometric: int, orientation: int) -> Reading:
    """Samples of a pixel beyond the colour, as transparency, are left out."""
    note = "brightness"
    if pixels.ndim == 3 and photometric == RGB and pixels.shape[2] >= 3:
        values = luminance(pixels)
        note = COLOUR_NOTE
    else:
        values = (pixels[:, :, 0] if pixels.ndim == 3 else pixels).astype(np.float64)
    if photometric == WHITE_IS_ZERO:
        values = -values
    return Reading(_upright(values, orientation)[::-1], None, metres=False, bare=False, note=note)


def _upright(stored: NDArray[np.float64], orientation: int) -> NDArray[np.float64]:
    """From the rows as stored to rows from the top down, columns from the left. The tag says where the first row and the first column
    lie: 1 top, left; 2 top, right; 3 bottom, right; 4 bottom, left; 5 left, top; 6 right, top; 7 right, bottom; 8 left, bottom."""
    seen = stored.T if orientation in (5, 6, 7, 8) else stored
    if orientation in (3, 4, 7, 8):
        seen = seen[::-1]
    return seen[:, ::-1] if orientation in (2, 3, 6, 7) else seen
