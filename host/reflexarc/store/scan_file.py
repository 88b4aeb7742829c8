"""The scan file: HDF5, written line by line so that a killed process loses nothing that was complete.

Layout, format version 1:

- ``/`` attributes ``format``, ``format_version``
- ``geometry``, ``attributes``: groups whose attributes are the fields of `ScanGeometry` and those given by the user
- ``forward/``, ``backward/``: ``z_m``, ``current_A`` (lines, pixels) float64, NaN until written; ``samples`` (lines, pixels);
  ``time_cycles`` (lines,); where they were recorded ``monitor_V`` (lines, pixels) float64, NaN until written, and
  ``counter_0``, ``counter_1`` (lines, pixels) int64, 0 until written
- ``line_complete`` (lines, 2) uint8: 1 where the line of that direction (forward, backward) is in the file
- ``second/``: of a scan with a second pass over each line the same once more, ``forward/``, ``backward/`` and ``line_complete``
- ``events``: table with the fields of `EventRow` (``class_id`` is named ``class``)
- ``blackbox/0``, ``1``...: one group a trip, with the arrays of `BlackBox` and its attributes
- ``reference/surface_m`` (lines, pixels), where the true surface is known

Each dataset has its unit in the attribute ``unit``. What a file may have or not, as ``second/`` and the channels beside z
and current, has come without a new version: readers take a file for what is in it.

Two things here are less simple than HDF5 would allow, and both are needed:

- *Space first.* If the disk is full when HDF5 lets the file grow, the file cannot be opened any more, and the process
  dies when it ends. So all images get their place when the file is created, and `ScanWriter` asks the filesystem for
  room before whatever grows later (events, black box). A refusal leaves the file whole.
- *Mark last.* A line is flushed before it is marked as complete, so that the mark never promises more than there is.

A flush hands the data to the operating system: they outlive the process, not a power cut.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import h5py  # type: ignore[import-untyped,unused-ignore]
import numpy as np
from numpy.typing import ArrayLike, NDArray

from reflexarc.contract.packets import Channel, Direction
from reflexarc.store.errors import StoreError, one_line
from reflexarc.store.records import (
    BLACKBOX_DTYPES,
    BLACKBOX_EXTRAS,
    BLACKBOX_UNITS,
    EXTRA_CHANNELS,
    Attribute,
    BlackBox,
    Channels,
    EventRow,
    ScanData,
    ScanGeometry,
)

FORMAT = "reflexarc-scan"
FORMAT_VERSION = 1

EVENT_DTYPE = np.dtype(
    [
        ("source", "<u4"),
        ("class", "<u4"),
        ("score", "<f8"),
        ("x_m", "<f8"),
        ("y_m", "<f8"),
        ("time_s", "<f8"),
        ("model_id", "<u4"),
        ("sequence", "<u4"),
    ]
)
EVENT_UNITS = "source: 1, class: 1, score: 1, x_m: m, y_m: m, time_s: s, model_id: 1, sequence: 1"
EVENTS_PER_CHUNK = 256

# For group headers, chunk indices and alignment: a few kB are used, and what is left over is given back.
METADATA_ROOM_BYTES = 1 << 17
INDEX_BYTES_PER_CHUNK = 128

# h5py turns the errors of HDF5, also those of the disk, into any of these.
HDF5_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError)


class ScanWriter:
    """Writes one scan file; a context manager.

    Raises `StoreError` where the disk refuses (the file exists, no space, input/output errors) and `ValueError` where an
    argument does not fit the scan. Without space for events or a black box the writer goes on with lines, whose place is
    taken already; after an input/output error it takes nothing more.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        geometry: ScanGeometry,
        attributes: Mapping[str, Attribute],
        second: bool = False,
        channels: Collection[Channel] = (),
    ) -> None:
        """Create the file ``path``, which must not exist, with room for all lines of ``geometry``, twice with a ``second`` pass.

        ``channels`` are those of `EXTRA_CHANNELS` that are recorded beside z and current.
        """
        self.path = Path(path)
        if not EXTRA_CHANNELS.keys() >= set(channels):
            raise ValueError(f"channels {_names(channels)} are not all among {_names(EXTRA_CHANNELS)}")
        self._extra = [channel for channel in EXTRA_CHANNELS if channel in channels]
        self._passes = ("", "second/") if second else ("",)
        self.geometry = geometry
        self._broken = False
        # Kept open: a dataset that is closed after each access writes then, where h5py drops the errors and the data with them.
        self._datasets: dict[str, Any] = {}
        checked = checked_attributes(attributes)
        if self.path.exists():
            raise StoreError(f"{self.path}: exists already and is not overwritten; give another name")
        try:
            self._file: Any = h5py.File(self.path, "x")
        except HDF5_ERRORS as error:
            raise StoreError(f"{self.path}: cannot be created ({one_line(error)})") from error
        try:
            text_bytes = sum(len(str(value).encode()) for value in checked.values())
            lines, pixels = geometry.shape
            extra = len(self._extra)
            line_bytes = pixels * (8 + 8 + 4 + 8 * extra) + 8 + 1 + (3 + extra) * INDEX_BYTES_PER_CHUNK
            with self._growing("the empty scan", 2 * len(self._passes) * lines * line_bytes + text_bytes):
                self._create(checked)
        except StoreError:
            self._let_go()
            # Created a moment ago and empty: nothing is lost, and the same name can be tried again.
            self.path.unlink(missing_ok=True)
            raise

    def write_line(
        self,
        line: int,
        direction: Direction,
        z_m: ArrayLike,
        current_A: ArrayLike,
        samples: ArrayLike,
        time_cycles: int,
        second: bool = False,
        extra: Mapping[Channel, ArrayLike] | None = None,
    ) -> None:
        """Append one line and flush it.

        ``z_m`` and ``current_A`` have one value a pixel, left to right; ``samples`` is the number of samples in each
        pixel, or one number for all. ``time_cycles`` is the gateware's time of the line. ``extra`` has one value a pixel for
        each of the file's further channels: volts, whole pulses. A line is written once.
        """
        lines, pixels = self.geometry.shape
        direction = Direction(direction)
        if not 0 <= line < lines:
            raise ValueError(f"line {line} is outside the scan: 0 to {lines - 1}")
        if not 0 <= time_cycles < 1 << 64:
            raise ValueError(f"time_cycles {time_cycles} is not a 64-bit count")
        if second >= len(self._passes):
            raise ValueError("this scan has no second pass")
        prefix, complete = self._passes[int(second)], self._complete[int(second)]
        if complete[line, direction]:
            raise ValueError(f"line {line} {direction.name.lower()} is written already")
        counts = np.asarray(samples)
        if not np.issubdtype(counts.dtype, np.integer) or np.any(counts < 0) or np.any(counts >= 1 << 32):
            raise ValueError("samples must be 32-bit counts")
        extra = extra or {}
        if set(extra) != set(self._extra):
            raise ValueError(f"this scan records the channels {_names(self._extra)} beside z and current, not {_names(extra)}")
        rows = {
            "z_m": _shaped(z_m, (pixels,), "z_m"),
            "current_A": _shaped(current_A, (pixels,), "current_A"),
            "samples": _shaped(np.broadcast_to(counts, (pixels,)) if counts.ndim == 0 else counts, (pixels,), "samples", np.uint32),
            "time_cycles": np.uint64(time_cycles),
        }
        for channel, values in extra.items():
            name, _, dtype = EXTRA_CHANNELS[channel]
            given = np.asarray(values)
            if issubclass(dtype, np.integer) and not (np.issubdtype(given.dtype, np.integer) and np.all(given >= 0)):
                raise ValueError(f"{name} must be whole numbers from 0")
            rows[name] = _shaped(given, (pixels,), name, dtype)
        with self._writing(f"line {line} {direction.name.lower()}"):
            for name, row in rows.items():
                self._datasets[f"{prefix}{direction.name.lower()}/{name}"][line] = row
            self._file.flush()
            self._datasets[f"{prefix}line_complete"][line, direction] = 1
            self._file.flush()
        complete[line, direction] = True

    def append_events(self, events: Sequence[EventRow]) -> None:
        """Append events to the table and flush.

        Raises `ValueError`, with nothing written, for a number that does not fit its field or a time that is not finite.
        """
        if not events:
            return
        table = np.empty(len(events), EVENT_DTYPE)
        for index, event in enumerate(events):
            if not math.isfinite(event.time_s):
                raise ValueError(f"event {event.sequence}: time_s must be finite, not {event.time_s}")
            try:
                table[index] = tuple(getattr(event, f.name) for f in fields(EventRow))
            except OverflowError as error:
                raise ValueError(f"event {event.sequence}: {error}") from error
        what = f"{len(events)} events"
        with self._growing(what, table.nbytes + 2 * EVENTS_PER_CHUNK * EVENT_DTYPE.itemsize):
            dataset = self._datasets["events"]
            count = dataset.shape[0]
            dataset.resize((count + len(table),))
            dataset[count:] = table

    def write_blackbox(self, blackbox: BlackBox) -> None:
        """Add the recording of one trip and flush; each call adds one."""
        attributes = checked_attributes(blackbox.attributes)
        arrays = blackbox_arrays(blackbox)
        text_bytes = sum(len(str(value).encode()) for value in attributes.values())
        with self._growing("the black box", sum(array.nbytes for array in arrays.values()) + text_bytes):
            parent = self._file["blackbox"]
            group = parent.create_group(str(len(parent)))
            store_attributes(group, attributes)
            store_arrays(group, arrays)

    def write_reference(self, true_surface_m: ArrayLike) -> None:
        """Store the true surface, (lines, pixels) in m, where it is known. Once a file."""
        surface_m = _shaped(true_surface_m, self.geometry.shape, "true_surface_m")
        self._check_open("the reference surface")
        if "reference" in self._file:
            raise ValueError("the reference surface is written already")
        with self._growing("the reference surface", surface_m.nbytes):
            dataset = self._file.create_dataset("reference/surface_m", data=surface_m)
            dataset.attrs["unit"] = "m"

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        if self._broken or not self._file:
            return
        try:
            self._file.flush()
            self._file.close()
        except HDF5_ERRORS as error:
            self._let_go()
            raise StoreError(f"{self.path}: cannot be closed ({one_line(error)})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _create(self, attributes: Mapping[str, Attribute]) -> None:
        lines, pixels = self.geometry.shape
        self._file.attrs["format"] = FORMAT
        self._file.attrs["format_version"] = FORMAT_VERSION
        store_attributes(self._file.create_group("geometry"), asdict(self.geometry))
        store_attributes(self._file.create_group("attributes"), attributes)
        for group in (f"{prefix}{direction.name.lower()}" for prefix in self._passes for direction in Direction):
            self._allocate(f"{group}/z_m", (lines, pixels), "<f8", math.nan, "m", (1, pixels))
            self._allocate(f"{group}/current_A", (lines, pixels), "<f8", math.nan, "A", (1, pixels))
            self._allocate(f"{group}/samples", (lines, pixels), "<u4", 0, "samples", (1, pixels))
            self._allocate(f"{group}/time_cycles", (lines,), "<u8", 0, "cycles")
            for name, unit, dtype in (EXTRA_CHANNELS[channel] for channel in self._extra):
                fill = 0 if issubclass(dtype, np.integer) else math.nan
                self._allocate(f"{group}/{name}", (lines, pixels), np.dtype(dtype).newbyteorder("<").str, fill, unit, (1, pixels))
        for prefix in self._passes:
            self._allocate(f"{prefix}line_complete", (lines, 2), "u1", 0, "")
        empty = np.zeros((), EVENT_DTYPE)
        empty["time_s"] = math.nan  # tells a row that a killed process reserved but did not fill
        chunks = (EVENTS_PER_CHUNK,)
        events = self._file.create_dataset("events", (0,), EVENT_DTYPE, maxshape=(None,), chunks=chunks, fillvalue=empty[()])
        events.attrs["unit"] = EVENT_UNITS
        self._datasets["events"] = events
        self._file.create_group("blackbox")
        self._complete = np.zeros((len(self._passes), lines, 2), bool)

    def _allocate(
        self, name: str, shape: tuple[int, ...], dtype: str, fill: float, unit: str, chunks: tuple[int, ...] | None = None
    ) -> None:
        """A dataset whose place in the file is taken at once, so that writing to it changes no index and needs no space."""
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        dataset = self._file.create_dataset(name, shape, dtype, chunks=chunks, fillvalue=fill, dcpl=plist)
        dataset.attrs["unit"] = unit
        self._datasets[name] = dataset

    @contextmanager
    def _growing(self, what: str, grow_bytes: int) -> Iterator[None]:
        """Room for ``grow_bytes`` and their headers before, a flush after, and the room that was not used given back."""
        self._reserve(what, grow_bytes)
        with self._writing(what):
            yield
            self._file.flush()
            os.ftruncate(self._file.id.get_vfd_handle(), self._file.id.get_filesize())

    def _reserve(self, what: str, grow_bytes: int) -> None:
        """Have the filesystem set aside room beyond the end of the file.

        If it has none, raises `StoreError` and leaves file and writer as they were.
        """
        self._check_open(what)
        if not hasattr(os, "posix_fallocate"):
            return
        descriptor, end = self._file.id.get_vfd_handle(), self._file.id.get_filesize()
        try:
            os.posix_fallocate(descriptor, end, grow_bytes + METADATA_ROOM_BYTES)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(descriptor, end)  # a filesystem may have set aside a part
            raise StoreError(f"{self.path}: {what} not written ({one_line(error)})") from error

    def _check_open(self, what: str) -> None:
        if self._broken:
            raise StoreError(f"{self.path}: {what} not written, because an earlier write failed")
        if not self._file:
            raise StoreError(f"{self.path}: {what} not written, because the file is closed")

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        self._check_open(what)
        try:
            yield
        except HDF5_ERRORS as error:
            self._let_go()
            raise StoreError(f"{self.path}: {what} not written ({one_line(error)})") from error

    def _let_go(self) -> None:
        """Leave the file as the last good write left it.

        HDF5 cannot close a file that it cannot write to: it tries at every turn and takes the process down in the end. So it
        is given memory to write to instead of the file.
        """
        self._broken = True
        with suppress(*HDF5_ERRORS):
            sink = os.memfd_create("discarded") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDWR)
            os.dup2(sink, self._file.id.get_vfd_handle(), inheritable=False)
            os.close(sink)
        with suppress(*HDF5_ERRORS):
            self._file.close()
        self._datasets.clear()


def read_scan(path: str | os.PathLike[str]) -> ScanData:
    """Read a scan file, also one whose writer was killed.

    Raises `StoreError` for a file that is missing, damaged, still being written, or not a scan file of this format.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise StoreError(f"{path}: there is no such file")
        if not path.is_file():
            raise StoreError(f"{path}: is not a file")
        if not h5py.is_hdf5(path):
            path.open("rb").close()  # an unreadable file has its own message
            raise StoreError(f"{path}: is not a scan file (not HDF5)")
        with h5py.File(path, "r") as file:
            return _read(path, file)
    except BlockingIOError as error:
        raise StoreError(f"{path}: is still being written by another process") from error
    except (*HDF5_ERRORS, AttributeError, IndexError) as error:
        raise StoreError(f"{path}: cannot be read, damaged or incomplete ({one_line(error)})") from error


def _read(path: Path, file: Any) -> ScanData:
    if plain(file.attrs.get("format")) != FORMAT:
        raise StoreError(f"{path}: is HDF5, but not a scan file (its attribute 'format' is not '{FORMAT}')")
    version = plain(file.attrs.get("format_version"))
    if version != FORMAT_VERSION:
        raise StoreError(f"{path}: has format version {version}; this program reads version {FORMAT_VERSION}")
    geometry = ScanGeometry(**{f.name: plain(file["geometry"].attrs[f.name]) for f in fields(ScanGeometry)})
    forward, backward, complete = _read_pass(file, geometry)
    table = file["events"][()]
    table = table[np.isfinite(table["time_s"])]
    boxes = file["blackbox"]
    reference = file["reference/surface_m"][()] if "reference/surface_m" in file else None
    return ScanData(
        geometry=geometry,
        attributes=read_attributes(file["attributes"]),
        forward=forward,
        backward=backward,
        line_complete=complete,
        second=_read_pass(file["second"], geometry)[:2] if "second" in file else None,
        events=tuple(EventRow(*row) for row in table.tolist()),
        blackboxes=tuple(read_blackbox_group(boxes[name]) for name in sorted(boxes, key=int)),
        reference_surface_m=None if reference is None else _shaped(reference, geometry.shape, "reference/surface_m"),
    )


def _read_pass(group: Any, geometry: ScanGeometry) -> tuple[Channels, Channels, NDArray[np.bool_]]:
    complete = _shaped(group["line_complete"][()], (geometry.lines, 2), "line_complete", np.uint8) == 1
    forward, backward = (_read_channels(group[way.name.lower()], geometry, complete[:, way]) for way in Direction)
    return forward, backward, complete


def _read_channels(group: Any, geometry: ScanGeometry, complete: NDArray[np.bool_]) -> Channels:
    z_m = _shaped(group["z_m"][()], geometry.shape, "z_m")
    current_A = _shaped(group["current_A"][()], geometry.shape, "current_A")
    samples = _shaped(group["samples"][()], geometry.shape, "samples", np.uint32)
    time_cycles = _shaped(group["time_cycles"][()], (geometry.lines,), "time_cycles", np.uint64)
    z_m[~complete] = np.nan  # half a line is no line
    current_A[~complete] = np.nan
    samples[~complete] = 0
    time_cycles[~complete] = 0
    extra: dict[str, NDArray[Any]] = {}
    for name, _, dtype in EXTRA_CHANNELS.values():
        if name in group:
            extra[name] = _shaped(group[name][()], geometry.shape, name, dtype)
            extra[name][~complete] = 0 if issubclass(dtype, np.integer) else np.nan
    return Channels(z_m, current_A, samples, time_cycles, **extra)


def read_blackbox_group(group: Any) -> BlackBox:
    names = [*BLACKBOX_DTYPES, *(name for name in BLACKBOX_EXTRAS if name in group)]
    return BlackBox(**{name: group[name][()] for name in names}, attributes=read_attributes(group))


def blackbox_arrays(blackbox: BlackBox) -> dict[str, NDArray[Any]]:
    """As they go into a file."""
    return {name: np.asarray(array, BLACKBOX_DTYPES.get(name, np.float64)) for name, array in blackbox.arrays().items()}


def store_arrays(group: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    for name, array in arrays.items():
        group.create_dataset(name, data=array).attrs["unit"] = BLACKBOX_UNITS[name]


def read_attributes(group: Any) -> dict[str, Attribute]:
    return {name: cast(Attribute, plain(group.attrs[name])) for name in group.attrs}


def plain(value: Any) -> Any:
    """A Python str, int or float for what h5py returns."""
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value


def checked_attributes(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    checked: dict[str, Attribute] = {}
    for name, value in attributes.items():
        if isinstance(value, np.generic):
            value = value.item()
        if not isinstance(value, str | int | float):
            raise ValueError(f"attribute '{name}' must be a text or a number, not {type(value).__name__}")
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
            raise ValueError(f"attribute '{name}' does not fit in 64 bits: {value}")
        # HDF5 ends a text at the first NUL and keeps attributes in a header of at most 64 kB.
        if isinstance(value, str) and ("\0" in value or len(value.encode()) > 60_000):
            raise ValueError(f"attribute '{name}' is a text with a NUL or of more than 60,000 bytes")
        checked[name] = value
    return checked


def store_attributes(group: Any, attributes: Mapping[str, Attribute]) -> None:
    for name, value in attributes.items():
        group.attrs[name] = value


def _names(channels: Collection[Channel]) -> str:
    return ", ".join(Channel(channel).name for channel in channels) or "none"


def _shaped(values: ArrayLike, shape: tuple[int, ...], name: str, dtype: Any = np.float64) -> NDArray[Any]:
    array = np.asarray(values, dtype)
    if array.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}, not {array.shape}")
    return array
