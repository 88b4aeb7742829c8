"""Capture packets: one a line and direction.

Header, then a record a pixel, then a trailer; all little-endian 32-bit words, closed by a CRC-32 (IEEE 802.3) of everything before it.
"""

from __future__ import annotations

import enum
import zlib
from dataclasses import dataclass

from reflexarc.contract.words import Field, Layout, to_words

PACKET_MAGIC = 0x5243  # "CR" in a little-endian dump: capture, raster


class Direction(enum.IntEnum):
    FORWARD = 0
    BACKWARD = 1


HEADER_LAYOUT = Layout(
    "capture_header",
    6,
    (
        Field("magic", 0, 0, 16),
        Field("direction", 0, 16, 1),
        Field("sequence", 1),  # counts packets, also those for which the buffer had no room
        Field("line", 2, 0, 16),
        Field("pixels", 2, 16, 16),  # pixels of a whole line
        Field("pixel_samples", 3, 0, 24),
        Field("time", 4, width=64),  # cycle of the line's first sample
    ),
)
PIXEL_LAYOUT = Layout(
    "capture_pixel",
    5,
    (
        Field("index", 0, 0, 16),  # counts from the line's low end in both directions
        Field("z_sum", 1, width=64, signed=True),  # Q20.12 summed
        Field("current_sum", 3, width=64, signed=True),  # raw samples summed
    ),
)
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
class Pixel:
    index: int
    z_sum: int
    current_sum: int


@dataclass(frozen=True)
class Packet:
    """One line in one direction, raw sums."""

    sequence: int
    direction: Direction
    line: int
    pixels: int
    pixel_samples: int
    time: int
    lost: int
    aborted: bool
    records: tuple[Pixel, ...]

    @classmethod
    def from_bytes(cls, data: bytes) -> Packet:
        """Parse and check; PacketError says what is wrong."""
        fixed = HEADER_LAYOUT.size + TRAILER_LAYOUT.size
        if len(data) < fixed or (len(data) - fixed) % PIXEL_LAYOUT.size:
            raise PacketError(f"a capture packet can't have {len(data)} bytes: {fixed} and {PIXEL_LAYOUT.size} a pixel")
        words = to_words(data)
        header = HEADER_LAYOUT.unpack(words)
        trailer = TRAILER_LAYOUT.unpack(words[-TRAILER_LAYOUT.words :])
        if header["magic"] != PACKET_MAGIC:
            raise PacketError(f"capture packet starts with {header['magic']:#06x}, expected {PACKET_MAGIC:#06x}")
        expected = zlib.crc32(data[:-4])
        if trailer["crc"] != expected:
            raise PacketError(f"capture packet {header['sequence']}: CRC is {trailer['crc']:#010x}, its content gives {expected:#010x}")
        body = words[HEADER_LAYOUT.words : -TRAILER_LAYOUT.words]
        count = len(body) // PIXEL_LAYOUT.words
        if trailer["sent"] != count:
            raise PacketError(f"capture packet {header['sequence']}: trailer says {trailer['sent']} pixels, {count} came")
        records = tuple(
            Pixel(**PIXEL_LAYOUT.unpack(body[start : start + PIXEL_LAYOUT.words])) for start in range(0, len(body), PIXEL_LAYOUT.words)
        )
        return cls(
            sequence=header["sequence"],
            direction=Direction(header["direction"]),
            line=header["line"],
            pixels=header["pixels"],
            pixel_samples=header["pixel_samples"],
            time=header["time"],
            lost=trailer["lost"],
            aborted=bool(trailer["aborted"]),
            records=records,
        )
