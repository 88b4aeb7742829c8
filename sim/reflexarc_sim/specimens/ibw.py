"""Specimens from Igor binary waves (`.ibw`), read by the library igor2.

Sources: WaveMetrics' Technical Note 003, "Igor Binary Format", for the layout; Gwyddion's module igorfile for what Asylum Research puts into
it: rows of the wave are x, columns are y from the bottom up, layers are channels with their names as labels, and the note tells units.
The library trusts all sizes in a file, so it is handed one only after they agree with each other and with the file's length.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .channels import MOST_MAP_BYTES, Channel, Reading, choose
from .grid import Axis, reading
from .specimen import SpecimenError, check_shape
from .units import text_of

HEADER_BYTES = 384  # of version 5, both its parts, up to the data
WAVE_HEADER_BYTES = 320
LABEL_BYTES = 32
MOST_TEXT_BYTES = 4 * 2**20  # note, labels and formula; the library makes an object of each character
# Bits of the type: 2 and 4 are floats, 8, 16 and 32 signed integers of so many bits, with 64 unsigned ones.
BYTES_EACH = {2: 4, 4: 8, 8: 1, 16: 2, 32: 4, 72: 1, 80: 2, 96: 4}
COMPLEX = 1
# Asylum writes one unit, m, for all channels of a file. These are in others, whatever the header says.
NOT_METRES = {"phase": "deg", "freq": "Hz", "current": "A", "potential": "V", "capacitance": "F", "user": "V", "lateral": "V", "count": "1"}
_ACCEPTED = "a complete Igor binary wave of version 5 is needed"


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    text_at: int  # in the file: formula, note, units, labels
    text_sizes: tuple[int, ...]


def read(path: Path, channel: str | None) -> Reading:
    """Raises `SpecimenError` for a file without a usable map; damage makes the library raise anything."""
    from igor2 import binarywave  # type: ignore[import-untyped]

    header = _read_header(path)
    with path.open("rb") as file:
        file.seek(header.text_at)
        text = file.read(sum(header.text_sizes))
    parts, at = [], 0
    for size in header.text_sizes:
        parts.append(text[at : at + size])
        at += size
    _, note, data_unit, *rest = parts
    axis_units, labels = rest[:4], rest[4:]

    wave = binarywave.load(str(path))["wave"]
    about = wave["wave_header"]
    values = wave["wData"].reshape(header.shape)
    parameters = _parameters(note)
    unit = text_of(data_unit) or text_of(about["dataUnits"].tobytes())
    names = _names(header.shape[2], labels[2], text_of(about["bname"]))
    channels = [Channel((name, f"layer {k}"), _unit(name, unit, parameters), k) for k, name in enumerate(names)]
    chosen = choose(path.name, channels, channel)
    x, y = (_axis(i, header.shape[i], about, axis_units[i], parameters) for i in (0, 1))
    heights = np.asarray(values[:, :, chosen.source].T, np.float64)
    return reading(heights, (y, x), chosen.unit, f"channel {chosen.names[0]!r}")


def _read_header(path: Path) -> _Header:
    """Raises `SpecimenError` unless what the header announces is an image and fits into the file."""
    name, size = path.name, path.stat().st_size
    with path.open("rb") as file:
        raw = file.read(HEADER_BYTES)
    if len(raw) < 2:
        raise SpecimenError(f"{name}: {size} bytes are no Igor binary wave; {_ACCEPTED}")
    order = "<" if raw[0] else ">"  # the version is small, so one of its two bytes is zero
    (version,) = struct.unpack_from(f"{order}h", raw)
    if version in (1, 2, 3):
        raise SpecimenError(f"{name}: an Igor wave of version {version}, which has one dimension; {_ACCEPTED}")
    if version != 5:
        raise SpecimenError(f"{name}: no Igor binary wave (version {version}); {_ACCEPTED}")
    if len(raw) < HEADER_BYTES:
        raise SpecimenError(f"{name}: truncated: {size} bytes, less than a header; {_ACCEPTED}")
    wave_bytes, formula, note, data_unit = struct.unpack_from(f"{order}4i", raw, 4)
    axis_units, labels = struct.unpack_from(f"{order}4i", raw, 20), struct.unpack_from(f"{order}4i", raw, 36)
    points, kind = struct.unpack_from(f"{order}ih", raw, 76)
    sides = struct.unpack_from(f"{order}4i", raw, 132)
    sides = sides[: sides.index(0)] if 0 in sides else sides
    text = " x ".join(str(n) for n in sides) or "0"
    if kind & COMPLEX or kind not in BYTES_EACH:
        what = "text" if kind == 0 else "complex numbers" if kind & COMPLEX else f"numbers of type {kind}"
        raise SpecimenError(f"{name}: the wave holds {what}; floats or integers of up to 32 bits are accepted")
    if len(sides) < 2 or any(n != 1 for n in sides[3:]):
        raise SpecimenError(
            f"{name}: the wave is {len(sides)}-D ({text}); an image is needed: rows x columns, or rows x columns x channels"
        )
    check_shape(name, (sides[1], sides[0]), MOST_MAP_BYTES)
    text_sizes = (formula, note, data_unit, *axis_units, *labels)
    data_bytes = math.prod(sides) * BYTES_EACH[kind]
    if min(*sides, *text_sizes) < 0 or points != math.prod(sides) or wave_bytes != WAVE_HEADER_BYTES + data_bytes:
        raise SpecimenError(f"{name}: damaged: the sizes in the header contradict each other; {_ACCEPTED}")
    expected = HEADER_BYTES + data_bytes + sum(text_sizes)
    if size < expected:
        raise SpecimenError(f"{name}: truncated: {size} bytes where the header announces {expected}; {_ACCEPTED}")
    if sum(text_sizes) > MOST_TEXT_BYTES:
        raise SpecimenError(f"{name}: {sum(text_sizes)} bytes of notes and labels are too many; up to {MOST_TEXT_BYTES} are accepted")
    return _Header((sides[0], sides[1], sides[2] if len(sides) > 2 else 1), HEADER_BYTES + data_bytes, text_sizes)


def _names(layers: int, labels: bytes, wave: str) -> list[str]:
    """Of the layers: their labels (the first field names the dimension), which the library runs into each other; else numbers."""
    fields = [text_of(labels[at : at + LABEL_BYTES]) for at in range(LABEL_BYTES, len(labels), LABEL_BYTES)]
    fields += [""] * layers
    if layers == 1:
        return [fields[0] or wave or "layer 0"]
    return [field or f"layer {k}" for k, field in enumerate(fields[:layers])]


def _parameters(note: bytes) -> dict[str, str]:
    """Asylum's note: lines "key:value" that end with a carriage return. Empty for the notes of others."""
    lines = re.split(r"[\r\n]+", text_of(note))
    found = {key.strip(): value.strip() for key, mark, value in (line.partition(":") for line in lines) if mark}
    return found if "ScanSize" in found or "FastScanSize" in found else {}


def _unit(name: str, unit: str, parameters: dict[str, str]) -> str:
    if not parameters:
        return unit
    quantity = re.sub(r"(Re)?[Tt]race$", "", name)
    stated = parameters.get(f"{quantity}Unit", "") or next((u for q, u in NOT_METRES.items() if quantity.lower().startswith(q)), "")
    return stated or unit or "m"


def _axis(i: int, points: int, about: Any, long_unit: bytes, parameters: dict[str, str]) -> Axis:
    step, start = float(about["sfA"][i]), float(about["sfB"][i])
    unit = text_of(long_unit) or text_of(about["dimUnits"][i].tobytes()) or ("m" if parameters else "")
    return Axis("xy"[i], start + step * np.arange(points), unit)
