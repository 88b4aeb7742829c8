"""What a scan file holds, as plain records. Lengths in m, times in s, currents in A, voltages in V."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reflexarc.contract.packets import Channel, Direction

Attribute = str | int | float
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ScanGeometry:
    """The frame of a scan.

    ``width_m`` and ``height_m`` are measured from edge to edge: pixel ``k`` of a line has its centre at
    ``(k + 0.5) * width_m / pixels`` from the left edge. Line 0 is the lowest (smallest y in the frame). The frame is
    turned by ``angle_deg`` counter-clockwise about its centre. ``pixel_s`` is the time for one pixel. Lines of both
    directions are stored from left to right.
    """

    pixels: int
    lines: int
    width_m: float
    height_m: float
    center_x_m: float
    center_y_m: float
    pixel_s: float
    angle_deg: float = 0.0

    def __post_init__(self) -> None:
        if self.pixels < 1 or self.lines < 1:
            raise ValueError(f"a scan has at least one pixel and one line, not {self.pixels} x {self.lines}")
        for name in ("width_m", "height_m", "pixel_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, not {value}")
        for name in ("center_x_m", "center_y_m", "angle_deg"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be finite, not {getattr(self, name)}")

    @property
    def shape(self) -> tuple[int, int]:
        """(lines, pixels), the shape of each image."""
        return self.lines, self.pixels

    def to_frame_m(self, x_m: float, y_m: float) -> tuple[float, float]:
        """A point of the scanner, seen from the lower left corner of the frame, along its own axes."""
        angle = math.radians(self.angle_deg)
        dx, dy = x_m - self.center_x_m, y_m - self.center_y_m
        along = math.cos(angle) * dx + math.sin(angle) * dy
        across = -math.sin(angle) * dx + math.cos(angle) * dy
        return along + self.width_m / 2, across + self.height_m / 2


@dataclass(frozen=True)
class EventRow:
    """One event record in physical units, whoever made the event."""

    source: int
    class_id: int
    score: float
    x_m: float
    y_m: float
    time_s: float
    model_id: int
    sequence: int


@dataclass(frozen=True, eq=False)
class BlackBox:
    """The recorder's content about one trip: 1-D arrays of equal length, one entry a sample.

    ``time_s`` is relative to the trip (negative before it) and does not decrease; ``state`` holds the gateware's state bits. Of decimated
    entries ``current_low_A`` and ``current_high_A`` are the extremes of the samples between two; None where they are not known.
    ``attributes`` holds what was latched: ``cause``, ``value``, ``limit``, ``trip_time_cycles``...
    Raises `ValueError` if the arrays do not fit together.
    """

    time_s: Floats
    current_A: Floats
    z_m: Floats
    x_m: Floats
    y_m: Floats
    bias_V: Floats
    state: NDArray[np.uint32]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    monitor_V: Floats | None = None
    current_low_A: Floats | None = None
    current_high_A: Floats | None = None

    def __post_init__(self) -> None:
        arrays = self.arrays()
        shapes = {name: array.shape for name, array in arrays.items()}
        if any(array.ndim != 1 for array in arrays.values()) or len(set(shapes.values())) != 1:
            raise ValueError(f"the arrays of a black box are one-dimensional and equally long, not {shapes}")
        time_s = arrays["time_s"]
        if not np.all(np.isfinite(time_s)) or np.any(np.diff(time_s) < 0):
            raise ValueError("time_s of a black box must be finite and must not decrease")

    def __len__(self) -> int:
        return len(self.time_s)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that is known, by name."""
        found = {name: getattr(self, name) for name in (*BLACKBOX_DTYPES, *BLACKBOX_EXTRAS)}
        return {name: np.asarray(value) for name, value in found.items() if value is not None}


BLACKBOX_EXTRAS = ("monitor_V", "current_low_A", "current_high_A")  # older files do without
BLACKBOX_UNITS = {
    "time_s": "s", "current_A": "A", "z_m": "m", "x_m": "m", "y_m": "m", "bias_V": "V", "state": "", "monitor_V": "V",
    "current_low_A": "A", "current_high_A": "A",
}  # fmt: skip
BLACKBOX_DTYPES: dict[str, type[np.generic]] = {
    name: np.uint32 if name == "state" else np.float64 for name in BLACKBOX_UNITS if name not in BLACKBOX_EXTRAS
}


class ExtraChannel(NamedTuple):
    """Dataset of a channel that is recorded where asked for, and the field of `Channels` with the same name."""

    name: str
    unit: str
    dtype: type[np.generic]


EXTRA_CHANNELS: dict[Channel, ExtraChannel] = {
    Channel.MONITOR: ExtraChannel("monitor_V", "V", np.float64),
    Channel.COUNTER_0: ExtraChannel("counter_0", "pulses", np.int64),
    Channel.COUNTER_1: ExtraChannel("counter_1", "pulses", np.int64),
}


@dataclass(frozen=True, eq=False)
class Channels:
    """What was measured in one direction: images of shape (lines, pixels) and one time stamp a line.

    ``samples`` is the number of converter samples behind each pixel (0 where the pixel was lost), ``time_cycles``
    (lines,) the gateware's time of the line. ``monitor_V`` is a mean like z and current; ``counter_0`` and ``counter_1``
    are the pulses in each pixel (0 where it was lost). None where they were not recorded.
    """

    z_m: Floats
    current_A: Floats
    samples: NDArray[np.uint32]
    time_cycles: NDArray[np.uint64]
    monitor_V: Floats | None = None
    counter_0: NDArray[np.int64] | None = None
    counter_1: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class ScanData:
    """The content of a scan file.

    ``line_complete`` (lines, 2) is true where a line was written to its end; all other lines are NaN (and 0 samples and pulses)
    in `Channels`. ``blackboxes`` holds one entry a trip, oldest first; ``reference_surface_m`` (lines, pixels) is the true
    surface where it is known. ``second`` is what a second pass over each line measured, forward and backward.
    """

    geometry: ScanGeometry
    attributes: Mapping[str, Attribute]
    forward: Channels
    backward: Channels
    line_complete: NDArray[np.bool_]
    events: tuple[EventRow, ...]
    blackboxes: tuple[BlackBox, ...]
    reference_surface_m: Floats | None
    second: tuple[Channels, Channels] | None = None

    def channels(self, direction: Direction) -> Channels:
        """What was measured in one direction."""
        return self.forward if direction is Direction.FORWARD else self.backward
