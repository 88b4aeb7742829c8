"""Frames arrive whole, in order and checked, however the bytes come."""

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc.contract import link
from reflexarc.contract.link import Frame, FrameCounter, FrameParser, Kind, LinkError

CONTENTS = st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=200), st.integers(0, (1 << 32) - 1)), max_size=8)


def framed(contents) -> bytes:
    counter = FrameCounter()
    return b"".join(counter.pack(kind, payload, request_id) for kind, payload, request_id in contents)


def frame_bytes(*, magic=link.MAGIC, version=link.VERSION, kind=2, sequence=0, length=None, payload=b"abc", crc=None) -> bytes:
    """A frame built by hand: 16 bytes of header, payload, CRC-32, all little-endian."""
    head = struct.pack("<2sBBIII", magic, version, kind, 7, sequence, len(payload) if length is None else length)
    return head + payload + struct.pack("<I", zlib.crc32(head + payload) if crc is None else crc)


@given(CONTENTS, st.data())
def test_frames_come_out_whatever_the_pieces(contents, data):
    stream = framed(contents)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    parser, frames = FrameParser(), []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        frames += parser.feed(stream[begin:end])
    assert [(f.kind, f.payload, f.request_id) for f in frames] == contents
    assert [f.sequence for f in frames] == list(range(len(contents)))
    assert all(isinstance(f.kind, Kind) for f in frames)


def test_byte_by_byte():
    stream = framed([(Kind.HELLO, b"", 1), (Kind.BUS, b"x" * 30, 2)])
    parser = FrameParser()
    arrivals = [position for position in range(len(stream)) if parser.feed(stream[position : position + 1])]
    # Not a byte earlier than its last, not a byte later.
    assert arrivals == [19, len(stream) - 1]


def test_the_layout_is_as_documented():
    assert framed([(Kind.BUS, b"abc", 7)]) == frame_bytes()


@settings(max_examples=30)
@given(st.binary(min_size=1, max_size=40), st.integers(1, 255))
def test_a_corrupted_byte_is_detected_at_each_position(payload, flip):
    good = framed([(Kind.CAPTURE, payload, 5)])
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= flip
        # A longer length makes the parser wait; what then comes can't fit.
        with pytest.raises(LinkError):
            FrameParser().feed(bytes(bad) + bytes(link.PAYLOAD_MAX + 100))


@settings(max_examples=50)
@given(st.binary(max_size=40), st.data())
def test_a_truncated_frame_is_never_taken_for_a_whole_one(payload, data):
    good = framed([(Kind.EVENT, payload, 0)])
    assert FrameParser().feed(good[: data.draw(st.integers(0, len(good) - 1))]) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"magic": b"HT"}, "starts with b'HT', expected b'RA'"),
        ({"version": link.VERSION + 1}, f"speaks link version {link.VERSION + 1}, this one {link.VERSION}"),
        ({"length": link.PAYLOAD_MAX + 1}, "announces 1048577 bytes, at most 1048576"),
        ({"sequence": 1}, "frame 1 came where 0 was due"),
        ({"kind": 99}, "frame kind 99 is unknown"),
        ({"crc": 0}, "frame CRC is 0x00000000"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_field_is_named(change, message):
    with pytest.raises(LinkError, match=message):
        FrameParser().feed(frame_bytes(**change))


def test_a_wrong_start_is_noticed_before_the_frame_is_whole():
    """A client of something else must not wait for a megabyte."""
    for change in ({"magic": b"HT"}, {"version": 9}, {"length": 1 << 31}):
        with pytest.raises(LinkError):
            FrameParser().feed(frame_bytes(**change)[: link.HEADER.size])


def test_lost_and_repeated_frames_show():
    counter = FrameCounter()
    first, second, third = (counter.pack(Kind.EVENT, bytes([number])) for number in range(3))
    with pytest.raises(LinkError, match="frame 2 came where 1 was due"):
        FrameParser().feed(first + third)
    with pytest.raises(LinkError, match="frame 1 came where 2 was due"):
        FrameParser().feed(first + second + second)


def test_the_longest_payload_passes_and_a_longer_one_does_not():
    payload = bytes(link.PAYLOAD_MAX)
    (frame,) = FrameParser().feed(FrameCounter().pack(Kind.CAPTURE, payload))
    assert frame.payload == payload
    with pytest.raises(LinkError, match="at most 1048576 bytes, this one has 1048577"):
        FrameCounter().pack(Kind.CAPTURE, payload + b"x")


def test_a_refused_frame_does_not_use_a_number():
    counter = FrameCounter()
    with pytest.raises(LinkError):
        counter.pack(Kind.CAPTURE, bytes(link.PAYLOAD_MAX + 1))
    assert [frame.sequence for frame in FrameParser().feed(counter.pack(Kind.EVENT, b""))] == [0]


def test_a_frame_is_what_it_was():
    frame = Frame(Kind.REPLY, 0xFFFFFFFF, 0, b"{}")
    assert FrameParser().feed(frame.to_bytes()) == [frame]


def test_an_operation_has_eight_bytes():
    assert link.OPERATION.size == 8
    assert link.OPERATION.unpack(link.OPERATION.pack(link.BusOperation.WRITE, 0x0304, 0xDEADBEEF)) == (1, 0x0304, 0xDEADBEEF)
    assert link.OPERATIONS_MAX * link.OPERATION.size <= link.PAYLOAD_MAX
