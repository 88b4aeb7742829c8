"""Capture packets: one a line and direction, or one a bundle of a list's pixels.

Header, then a record a pixel, then a trailer; all little-endian 32-bit words, closed by a CRC-32 (IEEE 802.3) of everything before it. A
record has the pixel's index and samples, then the sum of each channel that the header names, in the order of ``Channel``.
"""

from __future__ import annotations

import enum
import struct
import zlib
from dataclasses import dataclass

from reflexarc.contract.words import Field, Layout, to_words

PACKET_MAGIC = 0x5243  # "CR" in a little-endian dump: capture, raster


class Direction(enum.IntEnum):
    FORWARD = 0
    BACKWARD = 1


class Channel(enum.IntEnum):
    """What can be summed over a pixel; the number is its bit in a mask."""

    Z = 0  # Q20.12, DAC LSB
    CURRENT = 1  # codes of the first converter
    MONITOR = 2  # codes of the second converter
    COUNTER_0 = 3  # pulses
    COUNTER_1 = 4


HEADER_LAYOUT = Layout(
    "capture_header",
    6,
    (
        Field("magic", 0, 0, 16),
        Field("direction", 0, 16, 1),
        Field("second", 0, 17, 1),  # second pass over the line
        Field("channels", 0, 24, len(Channel)),  # a bit a channel
        Field("sequence", 1),  # counts packets, also those for which the buffer had no room
        Field("line", 2, 0, 16),
        Field("pixels", 2, 16, 16),  # pixels of a whole line
        Field("pixel_samples", 3, 0, 24),  # as set; a pixel may have had more, or its own
        Field("time", 4, width=64),  # cycle of the line's first sample
    ),
)
PIXEL_LAYOUT = Layout(
    "capture_pixel",
    2,
    (
        Field("index", 0, 0, 16),  # counts from the line's low end in both directions
        Field("samples", 1, 0, 24),
    ),
)
SUM_WORDS = 2  # of each channel: 64 bits, signed
TRAILER_LAYOUT = Layout(
    "capture_trailer",
    2,
    (
        Field("sent", 0, 0, 16),
        Field("lost", 0, 16, 15),  # pixels dropped because the buffer was full
        Field("aborted", 0, 31, 1),  # the line was stopped before its end
        Field("crc", 1),
    ),
)


class PacketError(ValueError):
    """A capture packet that fails its check."""


@dataclass(frozen=True)
class Packet:
    """One line in one direction. ``index``, ``samples`` and each of ``sums`` have one entry a pixel; sums are raw, see ``Channel``."""

    sequence: int
    direction: Direction
    second: bool
    line: int
    pixels: int
    pixel_samples: int
    time: int
    lost: int
    aborted: bool
    index: tuple[int, ...]
    samples: tuple[int, ...]
    sums: dict[Channel, tuple[int, ...]]

    @classmethod
    def from_bytes(cls, data: bytes) -> Packet:
        """Parse and check; PacketError says what is wrong."""
        fixed = HEADER_LAYOUT.size + TRAILER_LAYOUT.size
        if len(data) < fixed or len(data) % 4:
            raise PacketError(f"a capture packet can't have {len(data)} bytes: {fixed} or more in words of 4")
        words = to_words(data)
        header = HEADER_LAYOUT.unpack(words)
        trailer = TRAILER_LAYOUT.unpack(words[-TRAILER_LAYOUT.words :])
        if header["magic"] != PACKET_MAGIC:
            raise PacketError(f"capture packet starts with {header['magic']:#06x}, expected {PACKET_MAGIC:#06x}")
        expected = zlib.crc32(data[:-4])
        if trailer["crc"] != expected:
            raise PacketError(f"capture packet {header['sequence']}: CRC is {trailer['crc']:#010x}, its content gives {expected:#010x}")
        channels = [channel for channel in Channel if header["channels"] >> channel & 1]
        record = struct.Struct(f"<II{len(channels)}q")
        body = data[HEADER_LAYOUT.size : -TRAILER_LAYOUT.size]
        if len(body) % record.size:
            raise PacketError(
                f"capture packet {header['sequence']}: {len(body)} bytes are not a whole number of pixels of {record.size} bytes"
            )
        columns = list(zip(*record.iter_unpack(body), strict=True)) or [()] * (2 + len(channels))
        if trailer["sent"] != len(columns[0]):
            raise PacketError(f"capture packet {header['sequence']}: trailer says {trailer['sent']} pixels, {len(columns[0])} came")
        return cls(
            sequence=header["sequence"],
            direction=Direction(header["direction"]),
            second=bool(header["second"]),
            line=header["line"],
            pixels=header["pixels"],
            pixel_samples=header["pixel_samples"],
            time=header["time"],
            lost=trailer["lost"],
            aborted=bool(trailer["aborted"]),
            index=columns[0],
            samples=columns[1],
            sums=dict(zip(channels, columns[2:], strict=True)),
        )
