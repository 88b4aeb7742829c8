"""Specimens from Nanonis `.sxm` scans, read by the library nanonispy2.

The forward topography is used, in the scale of the header. Rows are stored in the order of scanning, so a scan taken downwards is turned
over to run from low to high y (as Gwyddion's reader does). The angle and the offset of the scan play no role: the specimen is centred and
upright. The library is handed a file only after its size agrees with its own header, because it takes both on trust.
"""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .channels import complete_rows
from .specimen import MOST_BYTES, Specimen, SpecimenError, check_shape, check_size, level_heights

MARKER_BYTES = 4  # between the end of the header and the data
HEADER_END = b":SCANIT_END:"
LONGEST_HEADER = 2**20  # bytes; some ten thousand are usual
_ACCEPTED = "a complete Nanonis .sxm file is needed"


@dataclass(frozen=True)
class _Channel:
    name: str
    unit: str
    direction: str


def load_sxm(path: Path, wanted: str | None = None) -> Specimen:
    """The topography, or the channel called `wanted`, which must be in metres.

    Raises `SpecimenError` for whatever is wrong with the file. An unfinished scan is cropped to its complete rows, if 16 remain.
    """
    name = path.name
    if path.suffix != ".sxm":
        raise SpecimenError(
            f"{name}: the library that reads Nanonis files wants the ending in small letters; rename the file to end in .sxm"
        )
    header, offset = _read_header(path)
    columns, rows = _scan_pixels(name, header)
    check_shape(name, (rows, columns))
    channels = _channels(name, header)
    found = f" (channels found: {', '.join(channel.name for channel in channels)})"
    channel = _topography(name, channels, found) if wanted is None else _named(name, channels, wanted, found)
    number_type, bytes_each = _number_type(name, header)
    one_way = [channel.name for channel in channels if channel.direction.lower() != "both"]
    if one_way:
        raise SpecimenError(f"{name}: channel {one_way[0]!r} was recorded in one direction only; scans with both directions are accepted")
    expected = offset + MARKER_BYTES + len(channels) * 2 * rows * columns * bytes_each
    present = path.stat().st_size
    if present != expected:
        state = "truncated" if present < expected else "too long"
        raise SpecimenError(f"{name}: {state}: {present} bytes where the header announces {expected}; {_ACCEPTED}")

    heights, (size_x_m, size_y_m), downwards = _read_topography(path, channel.name, number_type)
    if downwards:
        heights = heights[::-1]
    check_size(name, size_x_m, size_y_m)
    heights, cropped = complete_rows(name, heights, f"channel {channel.name!r}")
    size_x_m *= heights.shape[1] / columns
    size_y_m *= heights.shape[0] / rows
    levelled, note = level_heights(name, heights, f" in channel {channel.name!r}{found}", span_m=max(size_x_m, size_y_m))
    return Specimen(levelled, size_x_m, size_y_m, name, (), f"channel {channel.name!r} forward; {cropped}{note}")


def _read_header(path: Path) -> tuple[str, int]:
    """The text of the header and its length in bytes."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise SpecimenError(f"{path.name}: cannot be read ({error.strerror or error}); a readable .sxm file is needed") from error
    if size > MOST_BYTES:
        raise SpecimenError(f"{path.name}: {size // 2**20} MiB are too large; at most {MOST_BYTES // 2**20} MiB are accepted")
    if not start.lstrip().startswith(b":NANONIS_VERSION:"):
        raise SpecimenError(f"{path.name}: no Nanonis scan (it does not begin with :NANONIS_VERSION:); {_ACCEPTED}")
    # The library looks for the end line by line, through the whole file.
    with path.open("rb") as opened:
        if HEADER_END not in opened.read(LONGEST_HEADER):
            raise SpecimenError(f"{path.name}: the header has no end, the file is truncated or damaged; {_ACCEPTED}")
    import nanonispy2.read  # type: ignore[import-untyped]

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # characters outside UTF-8 in a comment do not matter
            file_ = nanonispy2.read.NanonisFile(str(path))
    except Exception as error:  # the library checks nothing, so damage surfaces as any exception
        raise SpecimenError(f"{path.name}: the header has no end, the file is truncated or damaged; {_ACCEPTED}") from error
    return file_.header_raw, file_.byte_offset


def _entry(header: str, key: str) -> list[str]:
    """The lines that follow `:key:` up to the next entry; empty when there is no such key."""
    found = re.search(rf"^:{re.escape(key)}:[^\n]*\n((?:(?!:)[^\n]*\n)*)", header, re.MULTILINE)
    return found.group(1).splitlines() if found else []


def _scan_pixels(name: str, header: str) -> tuple[int, int]:
    """Columns and rows."""
    words = " ".join(_entry(header, "SCAN_PIXELS")).split()
    if len(words) != 2 or not all(re.fullmatch(r"[0-9]{1,9}", word) for word in words):
        raise SpecimenError(f"{name}: the header has no usable SCAN_PIXELS entry ({' '.join(words)[:60]!r}); {_ACCEPTED}")
    return int(words[0]), int(words[1])


def _channels(name: str, header: str) -> list[_Channel]:
    table = [line.strip("\t\r").split("\t") for line in _entry(header, "DATA_INFO") if line.strip()]
    try:
        title, *rows = table
        at = [title.index(column) for column in ("Name", "Unit", "Direction")]
        channels = [_Channel(*(row[i] for i in at)) for row in rows]
    except (ValueError, IndexError) as error:
        raise SpecimenError(f"{name}: the header has no usable DATA_INFO table of channels; {_ACCEPTED}") from error
    if not channels:
        raise SpecimenError(f"{name}: the header lists no channels; {_ACCEPTED}")
    return channels


def _topography(name: str, channels: list[_Channel], found: str) -> _Channel:
    """The channel "Z"; else the first in metres whose name begins with Z, Topography or Height (capital or small)."""
    fitting = [c for c in channels if c.name.lower().startswith(("z", "topography", "height")) and c.unit == "m"]
    fitting.sort(key=lambda c: c.name.lower() != "z")  # stable: keeps the order of the file otherwise
    if not fitting:
        raise SpecimenError(f"{name}: no topography{found}; a channel in m whose name begins with Z, Topography or Height is needed")
    return fitting[0]


def _named(name: str, channels: list[_Channel], wanted: str, found: str) -> _Channel:
    fitting = [c for c in channels if c.name.lower() == wanted.strip().lower()]
    fitting.sort(key=lambda c: c.name != wanted)
    if not fitting:
        raise SpecimenError(f"{name}: there is no channel {wanted[:60]!r}{found}")
    if fitting[0].unit != "m":
        raise SpecimenError(f"{name}: channel {wanted[:60]!r} is in {fitting[0].unit[:12]!r}, not in m{found}; a topography is needed")
    return fitting[0]


def _number_type(name: str, header: str) -> tuple[str, int]:
    """The library's name for the type of the data, and its bytes a number."""
    kind = " ".join(" ".join(_entry(header, "SCANIT_TYPE")).split())
    if kind == "FLOAT MSBFIRST":
        return "big endian float 32", 4
    if kind == "FLOAT LSBFIRST":
        return "little endian float 32", 4
    raise SpecimenError(f"{name}: data of type {kind[:60]!r}; accepted: FLOAT MSBFIRST, FLOAT LSBFIRST")


def _read_topography(path: Path, channel: str, number_type: str) -> tuple[NDArray[np.float64], tuple[float, float], bool]:
    """Forward heights in metres in the order of the file, width and height in metres, whether scanned downwards."""
    import nanonispy2.read

    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            scan = nanonispy2.read.Scan(str(path), data_format=number_type)
            heights = scan.signals[channel]["forward"].astype(np.float64)
            size_x_m, size_y_m = (float(size) for size in scan.header["scan_range"])
            downwards = scan.header["scan_dir"].strip().lower() == "down"
    except Exception as error:  # see _read_header
        raise SpecimenError(
            f"{path.name}: damaged, the library that reads Nanonis files refuses it ({type(error).__name__}); {_ACCEPTED}"
        ) from error
    if not (math.isfinite(size_x_m) and math.isfinite(size_y_m)):
        raise SpecimenError(f"{path.name}: the header has no finite SCAN_RANGE; {_ACCEPTED}")
    return heights, (size_x_m, size_y_m), downwards
