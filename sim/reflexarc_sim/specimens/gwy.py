"""Specimens from Gwyddion's native files (`.gwy`).

Source: "Format of Gwyddion Files" in the Gwyddion user guide: the objects `/N/data` with `xres`, `yres`, `xreal`, `yreal` (edge to edge),
`si_unit_xy`, `si_unit_z` and `data`, rows stored from the top down; volumes are `/brick/N`. Masks and presentations do not change the data
and are not looked at. No library reads these files here: gwyfile copies the rest of the file for each item in it and follows any depth, so
all sizes would have to be walked through before it may see a file, and with that nothing is left to do.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .channels import MOST_MAP_BYTES, Channel, Reading, choose
from .specimen import SpecimenError, check_shape
from .units import metres, text_of

MOST_ITEMS = 100_000
_ACCEPTED = "a complete Gwyddion file is needed"
_FIXED = {"b": 1, "c": 1, "i": 4, "q": 8, "d": 8}
_ARRAYS = {"C": 1, "I": 4, "Q": 8, "D": 8}


class _Damaged(Exception):
    """Sizes that do not fit the file."""


def read(path: Path, channel: str | None) -> Reading:
    """Raises `SpecimenError` for a file without a usable map."""
    name, size = path.name, path.stat().st_size
    with path.open("rb") as file:
        start = file.read(4)
        if start != b"GWYP":
            found = "of version 1" if start == b"GWYO" else "it does not begin with GWYP"
            raise SpecimenError(f"{name}: no Gwyddion file of version 2 ({found}); {_ACCEPTED}")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            try:
                chosen = choose(name, _channels(_Object(raw, 4, size)), channel)
                return _reading(name, chosen)
            except (_Damaged, IndexError, struct.error) as error:
                raise SpecimenError(f"{name}: truncated or damaged: sizes in it lead beyond its {size} bytes; {_ACCEPTED}") from error


class _Object:
    """One object in the file, from `begin`: its name, the size of its content, the content; it must end before `end`. Its items are found,
    not read; an item of the wrong kind counts as missing."""

    def __init__(self, raw: mmap.mmap, begin: int, end: int) -> None:
        self._raw = raw
        at, last = _content(raw, begin, end)
        self.items: dict[str, tuple[str, int, int]] = {}  # kind, begin and end by name
        while at < last:
            name_end = _zero(raw, at, last)
            name, kind = text_of(raw[at:name_end]), chr(raw[name_end + 1])
            value, at = name_end + 2, _end(raw, kind, name_end + 2, last)
            self.items[name] = (kind, value, at)
            if len(self.items) > MOST_ITEMS:
                raise _Damaged

    def object(self, name: str) -> _Object | None:
        kind, begin, end = self.items.get(name, ("", 0, 0))
        return _Object(self._raw, begin, end) if kind == "o" else None

    def text(self, name: str) -> str:
        kind, begin, end = self.items.get(name, ("", 0, 0))
        # gwyfile writes a text of one letter, as the title "Z", as a character.
        return text_of(self._raw[begin:end]) if kind in ("s", "c") else ""

    def number(self, name: str) -> float | int | None:
        kind, begin, _ = self.items.get(name, ("", 0, 0))
        value: float | int | None = struct.unpack_from(f"<{kind}", self._raw, begin)[0] if kind in ("i", "q", "d") else None
        return value

    def doubles(self, name: str) -> tuple[int, int]:
        """Place and number of an array's numbers."""
        kind, begin, end = self.items.get(name, ("", 0, 0))
        return (begin + 4, (end - begin - 4) // 8) if kind == "D" else (0, 0)

    def array(self, name: str, count: int) -> NDArray[np.float64]:
        """A copy of the first `count` numbers."""
        begin, _ = self.doubles(name)
        return np.frombuffer(self._raw[begin : begin + 8 * count], "<f8").astype(np.float64)


def _zero(raw: mmap.mmap, begin: int, end: int) -> int:
    """The place of the next zero byte."""
    found = raw.find(b"\0", begin, end)
    if found < 0:
        raise _Damaged
    return found


def _content(raw: mmap.mmap, begin: int, end: int) -> tuple[int, int]:
    """Begin and end of an object's content."""
    content = _zero(raw, begin, end) + 5
    last: int = content + struct.unpack_from("<I", raw, content - 4)[0]
    if last > end:
        raise _Damaged
    return content, last


def _end(raw: mmap.mmap, kind: str, begin: int, end: int) -> int:
    """Where a value of this kind ends."""
    if kind in _FIXED:
        last = begin + _FIXED[kind]
    elif kind == "s":
        last = _zero(raw, begin, end) + 1
    elif kind == "o":
        last = _content(raw, begin, end)[1]
    elif kind in _ARRAYS:
        last = begin + 4 + _ARRAYS[kind] * struct.unpack_from("<I", raw, begin)[0]
    elif kind in ("S", "O"):
        last, number = begin + 4, struct.unpack_from("<I", raw, begin)[0]
        if number > MOST_ITEMS:
            raise _Damaged
        for _ in range(number):
            last = _zero(raw, last, end) + 1 if kind == "S" else _content(raw, last, end)[1]
    else:
        raise _Damaged
    if last > end:
        raise _Damaged
    return last


def _channels(file: _Object) -> list[Channel]:
    channels = []
    for name in file.items:
        found = re.fullmatch(r"/([0-9]+)/data|/brick/([0-9]+)", name)
        field = file.object(name) if found else None
        if found and field:
            volume = found[2] is not None
            title = file.text(f"{name}/title") or (f"volume {found[2]}" if volume else f"image {found[1]}")
            channels.append(_channel((title, name), field, volume))
    return channels


def _channel(names: tuple[str, str], field: _Object, volume: bool) -> Channel:
    """`source` is the object and its shape, (planes, rows, columns)."""
    sides = [field.number(key) for key in ("zres", "yres", "xres")]
    shape = tuple(n for n in (sides if volume else [1, *sides[1:]]) if isinstance(n, int) and n > 0)
    fits = len(shape) == 3 and field.doubles("data")[1] == math.prod(shape)
    unit = _unit(field, "si_unit_w" if volume else "si_unit_z")
    return Channel(names, unit, (field, shape), "" if fits else "its size is not that of its data", volume)


def _unit(field: _Object, key: str) -> str:
    unit = field.object(key)
    return unit.text("unitstr") if unit else ""


def _reading(name: str, chosen: Channel) -> Reading:
    field, (planes, rows, columns) = chosen.source
    check_shape(name, (rows, columns), MOST_MAP_BYTES)
    values = field.array("data", rows * columns).reshape(rows, columns)[::-1]
    factor = metres(chosen.unit)
    sizes = []
    for axis in "xy":
        unit, side = metres(_unit(field, f"si_unit_{axis}" if chosen.volume else "si_unit_xy")), field.number(f"{axis}real")
        sizes.append(None if unit is None or side is None else unit * side)
    width, height = sizes
    return Reading(
        values=values if factor is None else values * factor,
        size_m=None if width is None or height is None else (width, height),
        metres=factor is not None,
        bare=not chosen.unit,
        note=f"channel {chosen.names[0]!r}" + (f", plane 1 of {planes}" if chosen.volume else ""),
    )
