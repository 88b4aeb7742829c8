"""Frames between a board and its one client.

A frame is a header, a payload and a CRC-32 (IEEE 802.3) of both. Each side counts its frames, so that a lost or repeated one shows.
A reply carries the id of its request; frames that nobody asked for (streams) carry id 0.
"""

from __future__ import annotations

import enum
import struct
import zlib
from dataclasses import dataclass

VERSION = 1
MAGIC = b"RA"
HEADER = struct.Struct("<2sBBIII")  # magic, version, kind, request id, sequence, payload length
CRC = struct.Struct("<I")
PAYLOAD_MAX = 1 << 20  # bytes; the longest capture packet (8,192 pixels) has 164 kB
OPERATION = struct.Struct("<BxHI")  # BusOperation or BusStatus, address, value
OPERATIONS_MAX = 8192  # in one frame


class Kind(enum.IntEnum):
    HELLO = 1  # client: JSON, who it is. Board answers REPLY with JSON: platform, rate, cycles, specimen, contract
    BUS = 2  # client: bus operations, done in order, each answered
    PACE = 3  # client: u8, Pace
    ADVANCE = 4  # client, in lockstep: u64 cycles to run; answered when they have run, with the u64 time
    INJECT = 5  # client, twin only: JSON, a fault of the plant
    TRUTH = 6  # client, twin only: JSON of what only the plant knows
    TRIP = 7  # anyone, also beside the one client, as first and only frame: trip now; answered with one line of text
    REPLY = 16
    ERROR = 17  # one line of text; the request did nothing
    CAPTURE = 32  # board: a capture packet
    EVENT = 33  # board: an event record


class Pace(enum.IntEnum):
    FREE = 0  # gateware time runs on by itself, as on a bench
    LOCKSTEP = 1  # twin only: time runs only in ADVANCE and for bus accesses, so that a run repeats to the bit; a lost client sets it free


class BusOperation(enum.IntEnum):
    READ = 0
    WRITE = 1


class BusStatus(enum.IntEnum):
    OK = 0
    UNMAPPED = 1  # no register at this address, or not readable or writable
    LOCKED = 2  # a locked register while armed
    RANGE = 3  # the value does not fit the register's allowed range


class LinkError(ConnectionError):
    """A broken frame or a broken link."""


@dataclass(frozen=True)
class Frame:
    kind: Kind
    request_id: int
    sequence: int
    payload: bytes

    def to_bytes(self) -> bytes:
        if len(self.payload) > PAYLOAD_MAX:
            raise LinkError(f"a frame's payload is at most {PAYLOAD_MAX} bytes, this one has {len(self.payload)}")
        head = HEADER.pack(MAGIC, VERSION, self.kind, self.request_id, self.sequence, len(self.payload))
        return head + self.payload + CRC.pack(zlib.crc32(self.payload, zlib.crc32(head)))


class FrameParser:
    """Bytes in, whole checked frames out.

    Feed it whatever arrives; a frame that fails a check raises LinkError, after which the stream has no known boundary and must be closed.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._sequence = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Add bytes, return the frames that are now complete, in order."""
        self._buffer += data
        frames = []
        while len(self._buffer) >= HEADER.size:
            magic, version, kind, request_id, sequence, length = HEADER.unpack_from(self._buffer)
            if magic != MAGIC:
                raise LinkError(f"frame starts with {magic!r}, expected {MAGIC!r}: is the other side a ReflexArc board?")
            if version != VERSION:
                raise LinkError(f"the other side speaks link version {version}, this one {VERSION}")
            if length > PAYLOAD_MAX:
                raise LinkError(f"frame announces {length} bytes, at most {PAYLOAD_MAX} are allowed")
            total = HEADER.size + length + CRC.size
            if len(self._buffer) < total:
                break
            (crc,) = CRC.unpack_from(self._buffer, total - CRC.size)
            expected = zlib.crc32(memoryview(self._buffer)[: total - CRC.size])
            if crc != expected:
                raise LinkError(f"frame CRC is {crc:#010x}, its content gives {expected:#010x}")
            if sequence != self._sequence:
                raise LinkError(f"frame {sequence} came where {self._sequence} was due: frames were lost or repeated")
            if kind not in Kind.__members__.values():
                raise LinkError(f"frame kind {kind} is unknown")
            frames.append(Frame(Kind(kind), request_id, sequence, bytes(self._buffer[HEADER.size : HEADER.size + length])))
            del self._buffer[:total]
            self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        return frames


class FrameCounter:
    """Numbers and packs the frames of one sender."""

    def __init__(self) -> None:
        self._sequence = 0

    def pack(self, kind: Kind, payload: bytes, request_id: int = 0) -> bytes:
        data = Frame(kind, request_id, self._sequence, payload).to_bytes()
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        return data
