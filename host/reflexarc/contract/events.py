"""The event record: one layout for every source of events, from the first day."""

from __future__ import annotations

import enum
import zlib
from dataclasses import dataclass

from reflexarc.contract.words import Field, Layout, to_bytes, to_words


class EventSource(enum.IntEnum):
    THRESHOLD = 1  # per-pixel threshold with hysteresis
    PROGRAM = 2  # EMIT of a program: model_id is the part, score and x its two operands
    DETECTOR = 3  # a network: score is its margin
    CORRELATOR = 4  # a line unlike its predecessor: score is their correlation, Q1.15


EVENT_LAYOUT = Layout(
    "event",
    8,
    (
        Field("source", 0, 0, 8),
        Field("class_id", 0, 8, 8),
        Field("model_id", 0, 16, 16),  # 0: no model, a fixed-function source
        Field(
            "score", 1, signed=True
        ),  # threshold source: (sum - on * n) >> floor(log2 n) for a pixel of n samples, saturated; z in Q20.12, current in LSB
        Field("x", 2, signed=True),  # Q20.12, DAC LSB
        Field("y", 3, signed=True),  # Q20.12, DAC LSB
        Field("time", 4, width=64),  # cycles since reset
        Field("sequence", 6),  # counts all events of the controller, so that a gap shows
        Field("crc", 7),  # CRC-32 (IEEE 802.3) of words 0 to 6 as little-endian bytes
    ),
)


class EventError(ValueError):
    """An event record that fails its check."""


@dataclass(frozen=True)
class Event:
    """An event in raw gateware units; see ``EVENT_LAYOUT``."""

    source: int
    class_id: int
    model_id: int
    score: int
    x: int
    y: int
    time: int
    sequence: int

    @classmethod
    def from_bytes(cls, data: bytes) -> Event:
        """Parse one record; EventError on a wrong length or CRC."""
        if len(data) != EVENT_LAYOUT.size:
            raise EventError(f"an event record has {EVENT_LAYOUT.size} bytes, got {len(data)}")
        values = EVENT_LAYOUT.unpack(to_words(data))
        crc = values.pop("crc")
        expected = zlib.crc32(data[:-4])
        if crc != expected:
            raise EventError(f"event CRC is {crc:#010x}, its content gives {expected:#010x}")
        return cls(**values)

    def to_bytes(self) -> bytes:
        """The record as the gateware would send it."""
        words = EVENT_LAYOUT.pack({**self.__dict__, "crc": 0})
        body = to_bytes(words[:-1])
        return body + to_bytes([zlib.crc32(body)])
