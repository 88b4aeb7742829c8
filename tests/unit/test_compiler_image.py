"""Words of an image, memory of tensors, and the figures that the compiler shares with the gateware."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive_engine import ImageError, parse_image

from reflexarc.compiler import cycles, fit
from reflexarc.compiler.allocate import Tensor, allocate, fullest
from reflexarc.compiler.image import Image, pack_image, packed, unpack_image
from reflexarc.compiler.network import View
from reflexarc.compiler.tiling import cover, field_range, segments_of
from reflexarc.contract.blocks.detector import BankState
from reflexarc.contract.model import HEADER_LAYOUT, LAYER_LAYOUT, MEMORY_WORDS, RUN_LAYOUT, SETTINGS_LAYOUT, Memory, ViewSource
from reflexarc.contract.packets import Channel
from reflexarc.contract.words import to_bytes
from reflexarc.errors import BadInput
from reflexarc_hw.blocks.detector import control, view


def sealed(words: list[int]) -> list[int]:
    return [*words, zlib.crc32(to_bytes(words))]


SMALL = Image(8, 77, {Memory.RUNS: [1, 2, 3, 4], Memory.SETTINGS: list(range(16)), Memory.TABLES: [0xFFFFFFFF] * 64})


def test_there_and_back() -> None:
    words = pack_image(SMALL)
    assert unpack_image(words) == SMALL
    parsed = parse_image(words, 8)
    assert parsed.header == {"magic": 0x314D4152, "version": 1, "lanes": 8, "model_id": 77, "words": len(words)}
    for memory, held in parsed.memories.items():
        expected = list(SMALL.memories.get(memory, []))
        assert held == expected + [0] * (MEMORY_WORDS[memory] - len(expected))
    assert unpack_image(words).settings == SETTINGS_LAYOUT.unpack(list(range(16)))


def test_a_full_memory_takes_two_segments() -> None:
    """A segment counts up to one word less than there is room for weights."""
    image = Image(4, 1, {Memory.WEIGHTS: list(range(16384))})
    words = pack_image(image)
    assert len(words) == HEADER_LAYOUT.words + 2 + 16384 + 1
    assert parse_image(words, 4).memories[Memory.WEIGHTS] == list(range(16384))
    assert unpack_image(words) == image
    with pytest.raises(BadInput, match="weights: 16385 words; accepted: 16384"):
        pack_image(Image(4, 1, {Memory.WEIGHTS: [0] * 16385}))


def test_a_model_has_an_id() -> None:
    with pytest.raises(BadInput, match="the model's id is 0; accepted: 1 to 65535"):
        pack_image(Image(8, 0, {}))
    with pytest.raises(BadInput, match="header: model_id would be 65536; accepted: 0 to 65535"):
        pack_image(Image(8, 65536, {}))


@pytest.mark.parametrize("layout", [RUN_LAYOUT, LAYER_LAYOUT, SETTINGS_LAYOUT], ids=lambda layout: layout.name)
def test_no_field_is_masked(layout) -> None:
    for field in layout.fields:
        low, high = field_range(layout, field.name)
        values = {other.name: 0 for other in layout.fields}
        for value in (low, high):
            assert layout.unpack(packed(layout, values | {field.name: value}, "it"))[field.name] == value
        for value in (low - 1, high + 1):
            with pytest.raises(BadInput, match=f"it: {field.name} would be {value}; accepted: {low} to {high}"):
                packed(layout, values | {field.name: value}, "it")


def changed(place: int, value: int) -> list[int]:
    words = pack_image(SMALL)[:-1]
    words[place] = value
    return sealed(words)


BROKEN = {
    "nothing": ([], BankState.BAD_FORMAT, "too few"),
    "magic": (changed(0, 1), BankState.BAD_FORMAT, "no model image of version 1"),
    "version": (changed(1, 2 | 8 << 8 | 77 << 16), BankState.BAD_FORMAT, "no model image of version 1"),
    "length": (changed(2, 5), BankState.BAD_FORMAT, "its header says 5"),
    "short": (pack_image(SMALL)[:-1], BankState.BAD_FORMAT, "its header says"),
    "no memory": (changed(3, 4 | 7 << 28), BankState.BAD_FORMAT, "no whole segment at word 3"),
    "beyond its memory": (changed(3, 4 | 1021 << 14 | Memory.RUNS << 28), BankState.BAD_FORMAT, "1025 words for runs; accepted: 1024"),
    "beyond the image": (changed(3, 500 | Memory.RUNS << 28), BankState.BAD_FORMAT, "no whole segment at word 3"),
    "a bit": ([word ^ (1 << 9 if place == 5 else 0) for place, word in enumerate(pack_image(SMALL))], BankState.BAD_CRC, "is damaged"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_images(name: str) -> None:
    """Refused by the compiler and by the naive loader."""
    words, state, text = BROKEN[name]
    with pytest.raises(BadInput, match=text):
        unpack_image(words)
    with pytest.raises(ImageError) as caught:
        parse_image(words, 8)
    assert caught.value.state is state


def test_an_image_is_for_one_engine() -> None:
    with pytest.raises(ImageError, match="lanes"):
        parse_image(pack_image(SMALL), 4)


tensors_of = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 12), st.integers(0, 6)), max_size=12).map(
    lambda made: [Tensor(str(number), size, first, first + length) for number, (size, first, length) in enumerate(made)]
)


@given(tensors_of)
def test_no_two_tensors_share_a_byte_at_a_time(tensors: list[Tensor]) -> None:
    found = allocate(tensors)
    held: dict[tuple[int, int], str] = {}
    for tensor in tensors:
        for layer in range(tensor.first, tensor.last + 1):
            for byte in range(found.bases[tensor.name], found.bases[tensor.name] + tensor.size):
                assert held.setdefault((layer, byte), tensor.name) == tensor.name
                assert byte < found.size
    if tensors:
        assert found.size >= fullest(tensors)[0]


def test_a_chain_takes_what_its_widest_layer_needs() -> None:
    chain = [Tensor(str(number), size, number, number + 1) for number, size in enumerate([100, 60, 30, 80, 10])]
    assert allocate(chain).size == fullest(chain)[0] == 160
    assert fullest(chain) == (160, 1)
    assert allocate([]).size == 0


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.sampled_from([4, 8, 16]), st.booleans())
def test_vectors_cover_what_is_needed(needed: list[bool], lanes: int, from_end: bool) -> None:
    starts = cover(np.array(needed), lanes, from_end)
    covered = {start + lane for start in starts for lane in range(lanes)}
    assert {place for place, need in enumerate(needed) if need} <= covered
    assert all(second - first >= lanes for first, second in zip(starts, starts[1:], strict=False))
    if starts and from_end:
        assert needed[starts[-1] + lanes - 1], "it waits for more than it needs"
    segments = segments_of(starts, lanes, 0, 0)
    assert [segment.start + lanes * index for segment in segments for index in range(segment.count)] == starts


def test_a_long_run_is_two() -> None:
    assert [(segment.start, segment.count) for segment in segments_of(list(range(0, 8 * 600, 8)), 8, 0, 0)] == [(0, 511), (8 * 511, 89)]


def test_the_gatewares_figures() -> None:
    assert cycles.BEGIN_CYCLES == control.BEGIN_CYCLES
    assert cycles.LAYER_CYCLES == control.LAYER_CYCLES
    assert cycles.FINAL_CYCLES == control.FINAL_CYCLES
    assert cycles.TABLE_CYCLES == control.TABLE_CYCLES
    # Up to three idle steps stand behind a layer's last DRAIN, and cost nothing.
    assert control.RELOAD_CYCLES + 3 <= control.LAYER_CYCLES + 1


def test_what_the_view_has_room_for() -> None:
    assert fit.RING_MARGIN == view.MARGIN
    thresholds = np.zeros((3, 255), np.int32)
    wide = View(ViewSource.PIXEL, (Channel.Z, Channel.CURRENT, Channel.MONITOR), 5, 8, 1, thresholds)
    assert fit.line_pixels(wide) == view.LINE_FIT // 12
    assert fit.line_pixels(replace(wide, rows=1)) is None
