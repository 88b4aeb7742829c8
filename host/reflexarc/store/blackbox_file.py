"""The black box as a file of its own: HDF5, written whole or not at all.

Layout, format version 1:

- ``/`` attributes ``format``, ``format_version``, and what was latched: ``cause``, ``causes``, ``value``, ``limit``, ``unit``...
- ``short``, ``long``: the two rings, each with the arrays of `BlackBox`; the long one's attribute ``decimation`` says how many samples make
  an entry
- ``limits/hard``, ``limits/soft``: attributes, as text where a limit is no number

Each dataset has its unit in the attribute ``unit``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped,unused-ignore]

from reflexarc.store.errors import StoreError, one_line
from reflexarc.store.records import Attribute, BlackBox
from reflexarc.store.scan_file import (
    HDF5_ERRORS,
    blackbox_arrays,
    checked_attributes,
    plain,
    read_attributes,
    read_blackbox_group,
    store_arrays,
    store_attributes,
)

FORMAT = "reflexarc-blackbox"
FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class BlackBoxFile:
    """Both rings of one trip and the limits that were in force."""

    short: BlackBox
    long: BlackBox
    attributes: Mapping[str, Attribute]
    hard: Mapping[str, Attribute]
    soft: Mapping[str, Attribute]


def as_attributes(values: Mapping[str, Any]) -> dict[str, Attribute]:
    """Numbers and texts as they are, the rest as JSON; None as "none"."""
    return {
        name: "none" if value is None else value if isinstance(value, str | int | float) else json.dumps(value)
        for name, value in values.items()
    }


def write_blackbox_file(path: str | os.PathLike[str], content: BlackBoxFile) -> None:
    """Raises `StoreError` if it can't be written; then there is no file, or the one that was there before."""
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    try:
        with h5py.File(part, "w") as file:
            file.attrs["format"] = FORMAT
            file.attrs["format_version"] = FORMAT_VERSION
            store_attributes(file, checked_attributes(content.attributes))
            for name, ring in (("short", content.short), ("long", content.long)):
                group = file.create_group(name)
                store_attributes(group, checked_attributes(ring.attributes))
                store_arrays(group, blackbox_arrays(ring))
            for name, limits in (("hard", content.hard), ("soft", content.soft)):
                store_attributes(file.create_group(f"limits/{name}"), checked_attributes(limits))
        os.replace(part, path)
    except HDF5_ERRORS as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written ({one_line(error)})") from error


def read_blackbox_file(path: str | os.PathLike[str]) -> BlackBoxFile:
    """Raises `StoreError` for a file that is missing, damaged, or no black box of this format."""
    path = Path(path)
    try:
        if not path.exists():
            raise StoreError(f"{path}: there is no such file")
        with h5py.File(path, "r") as file:
            if plain(file.attrs.get("format")) != FORMAT:
                raise StoreError(f"{path}: is HDF5, but no black box (its attribute 'format' is not '{FORMAT}')")
            if plain(file.attrs.get("format_version")) != FORMAT_VERSION:
                raise StoreError(
                    f"{path}: has format version {plain(file.attrs.get('format_version'))}; this program reads {FORMAT_VERSION}"
                )
            attributes = {name: value for name, value in read_attributes(file).items() if name not in ("format", "format_version")}
            return BlackBoxFile(
                read_blackbox_group(file["short"]),
                read_blackbox_group(file["long"]),
                attributes,
                read_attributes(file["limits/hard"]),
                read_attributes(file["limits/soft"]),
            )
    except (*HDF5_ERRORS, AttributeError, IndexError) as error:
        raise StoreError(f"{path}: cannot be read, damaged or incomplete ({one_line(error)})") from error
