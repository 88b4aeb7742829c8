"""Layouts of words, event records and capture packets."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc.contract.events import EVENT_LAYOUT, Event, EventError
from reflexarc.contract.packets import (
    HEADER_LAYOUT,
    PACKET_MAGIC,
    PIXEL_LAYOUT,
    SUM_WORDS,
    TRAILER_LAYOUT,
    Channel,
    Direction,
    Packet,
    PacketError,
)
from reflexarc.contract.registers import ContractError
from reflexarc.contract.words import Field, Layout, to_bytes, to_words

LAYOUTS = (EVENT_LAYOUT, HEADER_LAYOUT, PIXEL_LAYOUT, TRAILER_LAYOUT)


def values_of(layout: Layout, *without: str):
    """Any value for each field of a layout."""

    def values(field: Field):
        half = 1 << (field.width - 1)
        return st.integers(-half, half - 1) if field.signed else st.integers(0, 2 * half - 1)

    return st.fixed_dictionaries({field.name: values(field) for field in layout.fields if field.name not in without})


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@given(data=st.data())
def test_a_layout_gives_back_what_it_took(layout, data):
    values = data.draw(values_of(layout))
    words = layout.pack(values)
    assert len(words) == layout.words and all(0 <= word < 1 << 32 for word in words)
    assert layout.unpack(words) == values
    assert to_words(to_bytes(words)) == words
    assert len(to_bytes(words)) == layout.size


def test_a_wide_field_has_its_low_word_first():
    layout = Layout("x", 3, (Field("a", 0, 8, 8), Field("b", 1, width=64, signed=True)))
    assert layout.pack({"a": 0x12, "b": -2}) == [0x1200, 0xFFFFFFFE, 0xFFFFFFFF]
    assert to_bytes([0x04030201]) == bytes([1, 2, 3, 4])


def test_layouts_that_contradict_themselves_are_refused():
    with pytest.raises(ContractError, match="'b' overlaps another"):
        Layout("x", 1, (Field("a", 0, 0, 9), Field("b", 0, 8, 8)))
    with pytest.raises(ContractError, match="'a' overlaps another or reaches past word 0"):
        Layout("x", 1, (Field("a", 0, 1, 32),))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_a_field_left_out_is_an_error(layout):
    with pytest.raises(KeyError):
        layout.pack({})


def test_bytes_must_be_whole_words():
    with pytest.raises(ValueError, match="7 bytes are not a whole number"):
        to_words(bytes(7))


EVENTS = values_of(EVENT_LAYOUT, "crc").map(lambda values: Event(**values))


@given(EVENTS)
def test_an_event_is_what_it_was(event):
    assert Event.from_bytes(event.to_bytes()) == event


def test_an_event_record_is_as_documented():
    event = Event(source=1, class_id=2, model_id=0x0304, score=-1, x=5, y=-6, time=0x0123456789ABCDEF, sequence=7)
    words = [0x03040201, 0xFFFFFFFF, 5, 0xFFFFFFFA, 0x89ABCDEF, 0x01234567, 7]
    assert event.to_bytes() == to_bytes([*words, zlib.crc32(to_bytes(words))])


@settings(max_examples=30)
@given(EVENTS, st.integers(1, 255))
def test_a_corrupted_event_is_refused(event, flip):
    good = event.to_bytes()
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= flip
        with pytest.raises(EventError, match="event CRC is"):
            Event.from_bytes(bytes(bad))


@pytest.mark.parametrize("length", [0, 4, 28, 31, 33, 36])
def test_an_event_of_wrong_length_is_refused(length):
    with pytest.raises(EventError, match=f"32 bytes, got {length}"):
        Event.from_bytes(bytes(length))


@st.composite
def bodies(draw) -> tuple[tuple[Channel, ...], list[tuple[int, ...]]]:
    """Any channels, and records of them: index, samples, a sum a channel."""
    channels = tuple(channel for channel in Channel if draw(st.booleans()))
    sums = [st.integers(-(1 << 63), (1 << 63) - 1)] * len(channels)
    record = st.tuples(st.integers(0, (1 << 16) - 1), st.integers(0, (1 << 24) - 1), *sums)
    return channels, draw(st.lists(record, max_size=6))


def packet_bytes(header: dict[str, int], body, trailer: dict[str, int], *, crc: int | None = None) -> bytes:
    """A packet as the gateware makes it."""
    channels, records = body
    words = HEADER_LAYOUT.pack({"magic": PACKET_MAGIC, "channels": sum(1 << channel for channel in channels)} | header)
    for index, samples, *sums in records:
        words += PIXEL_LAYOUT.pack({"index": index, "samples": samples})
        for total in sums:
            words += [total >> 32 * word & 0xFFFFFFFF for word in range(SUM_WORDS)]
    words += TRAILER_LAYOUT.pack({"sent": len(records), "crc": 0} | trailer)[:-1]
    content = to_bytes(words)
    return content + to_bytes([zlib.crc32(content) if crc is None else crc])


HEADER = {"direction": 1, "second": 0, "sequence": 9, "line": 3, "pixels": 2, "pixel_samples": 5, "time": 1 << 40}
TRAILER = {"lost": 0, "aborted": 0}
TWO = (Channel.Z, Channel.CURRENT)


@given(values_of(HEADER_LAYOUT, "magic", "channels"), bodies(), values_of(TRAILER_LAYOUT, "sent", "crc"))
def test_a_packet_is_what_it_was(header, body, trailer):
    channels, records = body
    packet = Packet.from_bytes(packet_bytes(header, body, trailer))
    assert tuple(packet.sums) == channels
    assert list(zip(packet.index, packet.samples, *packet.sums.values(), strict=True)) == records
    assert all(len(each) == len(records) for each in (packet.index, packet.samples, *packet.sums.values()))
    assert {name: getattr(packet, name) for name in header} == header
    assert (packet.lost, packet.aborted) == (trailer["lost"], bool(trailer["aborted"]))
    assert isinstance(packet.direction, Direction) and isinstance(packet.aborted, bool) and isinstance(packet.second, bool)


def test_a_capture_packet_is_as_documented():
    body = (Channel.CURRENT, Channel.COUNTER_1), [(7, 3, -2, 1 << 40)]
    words = [0x12015243, 9, 0x00020003, 5, 0, 0x100, 7, 3, 0xFFFFFFFE, 0xFFFFFFFF, 0, 0x100, 0x80040001]
    data = packet_bytes(HEADER, body, {"lost": 4, "aborted": 1})
    assert data == to_bytes([*words, zlib.crc32(to_bytes(words))])
    assert Packet.from_bytes(data).sums == {Channel.CURRENT: (-2,), Channel.COUNTER_1: (1 << 40,)}


@settings(max_examples=20)
@given(bodies(), st.integers(1, 255))
def test_a_corrupted_packet_is_refused(body, flip):
    good = packet_bytes(HEADER, body, TRAILER)
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= flip
        with pytest.raises(PacketError):
            Packet.from_bytes(bytes(bad))


def test_a_packet_says_what_is_wrong_with_it():
    body = TWO, [(0, 1, 1, -1)]
    with pytest.raises(PacketError, match="CRC is 0x00000005, its content gives 0x"):
        Packet.from_bytes(packet_bytes(HEADER, body, TRAILER, crc=5))
    with pytest.raises(PacketError, match="starts with 0x1234, expected 0x5243"):
        Packet.from_bytes(packet_bytes(HEADER | {"magic": 0x1234}, body, TRAILER))
    with pytest.raises(PacketError, match="trailer says 2 pixels, 1 came"):
        Packet.from_bytes(packet_bytes(HEADER, body, TRAILER | {"sent": 2}))
    with pytest.raises(PacketError, match="24 bytes are not a whole number of pixels of 32 bytes"):
        Packet.from_bytes(packet_bytes(HEADER | {"channels": 0b111}, body, TRAILER))


@pytest.mark.parametrize("length", [0, 3, 28, 31, 33, 51, 53])
def test_a_packet_of_impossible_length_is_refused(length):
    with pytest.raises(PacketError, match=f"can't have {length} bytes"):
        Packet.from_bytes(bytes(length))


@given(st.binary(max_size=200))
def test_no_bytes_make_anything_but_the_documented_error(data):
    for kind, error in ((Packet, PacketError), (Event, EventError)):
        with pytest.raises(error):
            kind.from_bytes(data)
