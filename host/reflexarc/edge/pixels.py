"""What a model looks at, out of capture packets: the same numbers in the same order as the gateware's view has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from reflexarc.contract.packets import Channel, Direction, Packet

FRACTION_BITS = 12  # of a value, Q20.12
VALUE_MIN, VALUE_MAX = -(1 << 31), (1 << 31) - 1

Int64 = NDArray[np.int64]
Encode = Callable[[Int64, int], NDArray[Any]]  # values of a channel, by its number, to what the model is given


def pixel_values(packet: Packet, channel: Channel) -> Int64:
    """Mean of each pixel in the order of its records, Q20.12, rounded down: what the gateware's mean is."""
    shift = 0 if channel is Channel.Z else FRACTION_BITS
    # Whole numbers of Python: a sum of 56 bits has no room for the fraction in 64.
    return np.array(
        [
            max(VALUE_MIN, min(VALUE_MAX, (total << shift) // count))
            for total, count in zip(packet.sums[channel], packet.samples, strict=True)
        ],
        np.int64,
    )


def less_line_mean(values: Int64) -> Int64:
    """Each value less the mean of its line up to and with it, rounded down, held at 32 bits; values in the order of time."""
    return np.clip(values - np.cumsum(values) // np.arange(1, len(values) + 1), VALUE_MIN, VALUE_MAX)


@dataclass(frozen=True)
class Origin:
    """Of the newest pixel of a window. ``count``: lines of this direction since the frame's start."""

    line: int
    index: int
    count: int
    time: int  # cycles, at the end of the pixel


class PixelView:
    """Takes packets, gives windows [channels, lines, records], the newest line and record last.

    A line that is not whole is not looked at, and those before it are not taken for its neighbours.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        rows: int,
        records: int,
        hop: int,
        encode: Encode,
        *,
        backward: bool = False,
        line_mean: bool = False,
    ) -> None:
        self.channels, self.rows, self.records, self.hop = tuple(channels), rows, records, hop
        self._encode = encode
        self._direction = Direction.BACKWARD if backward else Direction.FORWARD
        self._line_mean = line_mean
        self.broken_lines = 0
        self.start_frame()

    def start_frame(self) -> None:
        self._lines: list[NDArray[Any]] = []
        self._count = -1
        self._sequence: int | None = None

    def add(self, packet: Packet, cycles_per_sample: int) -> tuple[NDArray[Any], list[Origin]]:
        """Windows that this packet completes, and where each of them ends."""
        lost = self._sequence is not None and packet.sequence != (self._sequence + 1) & 0xFFFFFFFF
        self._sequence = packet.sequence
        if lost:
            self._lines.clear()
        if packet.second or packet.direction is not self._direction:
            return self._none()
        self._count += 1
        if packet.aborted or packet.lost or len(packet.index) != packet.pixels:
            self.broken_lines += 1
            self._lines.clear()
            return self._none()
        line = np.stack([self._encode(self._values(packet, channel), number) for number, channel in enumerate(self.channels)])
        if self._lines and self._lines[-1].shape != line.shape:
            self._lines.clear()
        self._lines = [*self._lines[max(0, len(self._lines) - self.rows + 1) :], line] if self.rows > 1 else [line]
        if len(self._lines) < self.rows or packet.pixels < self.records:
            return self._none()
        image = np.stack(self._lines, axis=1)  # [channels, lines, pixels]
        ends = range(self.records - 1, packet.pixels, self.hop)
        windows = np.moveaxis(sliding_window_view(image, self.records, axis=2)[:, :, :: self.hop], 2, 0)
        times = packet.time + cycles_per_sample * np.cumsum(np.array(packet.samples, np.int64))
        return windows, [Origin(packet.line, packet.index[end], self._count, int(times[end])) for end in ends]

    def _values(self, packet: Packet, channel: Channel) -> Int64:
        values = pixel_values(packet, channel)
        return less_line_mean(values) if self._line_mean else values

    def _none(self) -> tuple[NDArray[Any], list[Origin]]:
        return np.zeros((0, len(self.channels), self.rows, self.records)), []
