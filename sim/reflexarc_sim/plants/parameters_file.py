"""The parameters of a plant as a TOML file: `key = value`, keys as the fields of `StmParameters`, values in SI units."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from .stm_parameters import StmParameters, parameter_faults

SIZE_MAX = 1 << 20  # bytes; a file of parameters has a few thousand


def load_parameters(path: str | Path, defaults: StmParameters | None = None) -> StmParameters:
    """Read a file; what it does not name is as in ``defaults``.

    Raises `ValueError` with one line for each fault (file, line of the file where it has one, what is wrong, what would be accepted): a file
    that can't be read or is not TOML, a key that is no field, a value of the wrong type or out of range.
    """
    text = _read(path)
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers with thousands of digits, and brackets nested as deep
        said = str(error)
        place = re.search(r" \(at line (\d+), column \d+\)", said)
        line = int(place[1]) if place else text.count("\n") + 1
        what = said.replace(place[0], "") if place else said.replace(" (at end of document)", "")
        raise ValueError(f"{path}:{line}: not TOML: {what}; accepted: lines like 'z_quality = 8.0'") from None
    known = {entry.name for entry in fields(StmParameters)}
    faults = [(key, _unknown(key, value, known)) for key, value in table.items() if key not in known]
    faults += parameter_faults({key: value for key, value in table.items() if key in known})
    if faults:
        placed = sorted((_line_of(key, text), fault) for key, fault in faults)
        raise ValueError("\n".join(f"{path}:{line}: {fault}" for line, fault in placed))
    return replace(defaults or StmParameters(), **{key: _value(value) for key, value in table.items()})


def _read(path: str | Path) -> str:
    try:
        if Path(path).is_fifo():  # opening it could wait for ever
            raise ValueError("is a pipe")
        with open(path, "rb") as file:
            data = file.read(SIZE_MAX + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        what = (error.strerror if isinstance(error, OSError) else None) or error
        raise ValueError(f"parameters file {path}: {what}; accepted: a TOML file with fields of StmParameters") from None
    if len(data) > SIZE_MAX:
        raise ValueError(f"parameters file {path}: longer than {SIZE_MAX} bytes; accepted: a TOML file with fields of StmParameters")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}:{line}: not UTF-8; accepted: a TOML file with fields of StmParameters") from None


def _unknown(key: str, value: object, known: set[str]) -> str:
    if isinstance(value, dict):
        return f"{key!r} is a table; accepted: keys at the top of the file, without tables"
    near = difflib.get_close_matches(key, sorted(known), 1)
    return f"{key!r} is unknown; accepted: {f'{near[0]!r} perhaps, or ' if near else ''}a field of StmParameters"


def _line_of(key: str, text: str) -> int:
    """Which line a key or the table of that name stands in: tomllib does not tell. The last line if it is not found."""
    name = rf"""(?:{re.escape(key)}|"{re.escape(key)}"|'{re.escape(key)}')"""
    pattern = re.compile(rf"\s*(?:{name}\s*[=.]|\[\[?\s*{name}\s*[\].])")
    lines = text.split("\n")
    return next((number for number, line in enumerate(lines, 1) if pattern.match(line)), len(lines))


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_value(entry) for entry in value)
    return value if isinstance(value, bool | str) else float(value)
