"""The image's words: each field within its range, segments, CRC; and back."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reflexarc.compiler.tiling import field_range
from reflexarc.contract.model import (
    HEADER_LAYOUT,
    LAYER_LAYOUT,
    LAYERS,
    MAGIC,
    MEMORY_WORDS,
    SEGMENT_LAYOUT,
    SETTINGS_LAYOUT,
    VERSION,
    Memory,
)
from reflexarc.contract.words import Layout, to_bytes
from reflexarc.errors import BadInput

SEGMENT_WORDS = (1 << 14) - 1


@dataclass(frozen=True)
class Image:
    """``memories``: the words of each from its first on, as many as there are."""

    lanes: int
    model_id: int
    memories: Mapping[Memory, Sequence[int]]

    @property
    def settings(self) -> dict[str, int]:
        return SETTINGS_LAYOUT.unpack(_filled(self.memories.get(Memory.SETTINGS, ()), SETTINGS_LAYOUT.words))

    @property
    def layers(self) -> list[dict[str, int]]:
        words = _filled(self.memories.get(Memory.LAYERS, ()), LAYERS * LAYER_LAYOUT.words)
        return [LAYER_LAYOUT.unpack(words[LAYER_LAYOUT.words * number :]) for number in range(min(self.settings["layers"], LAYERS))]


def _filled(words: Sequence[int], count: int) -> list[int]:
    return [*words, *[0] * (count - len(words))]


def packed(layout: Layout, values: Mapping[str, int], what: str) -> list[int]:
    """A layout's words; BadInput names the field that a value does not fit."""
    for field in layout.fields:
        low, high = field_range(layout, field.name)
        if not low <= values[field.name] <= high:
            raise BadInput(f"{what}: {field.name} would be {values[field.name]}; accepted: {low} to {high}")
    return layout.pack(values)


def pack_image(image: Image) -> list[int]:
    """All words of an image, in the order in which they are loaded."""
    body: list[int] = []
    for memory, words in image.memories.items():
        if len(words) > MEMORY_WORDS[memory]:
            raise BadInput(f"{memory.name.lower()}: {len(words)} words; accepted: {MEMORY_WORDS[memory]}")
        for start in range(0, len(words), SEGMENT_WORDS):
            part = words[start : start + SEGMENT_WORDS]
            body += packed(SEGMENT_LAYOUT, {"count": len(part), "start": start, "memory": memory}, "segment")
            body += part
    total = HEADER_LAYOUT.words + len(body) + 1
    if image.model_id == 0:
        raise BadInput("the model's id is 0; accepted: 1 to 65535")
    header = {"magic": MAGIC, "version": VERSION, "lanes": image.lanes, "model_id": image.model_id, "words": total}
    words = [*packed(HEADER_LAYOUT, header, "header"), *body]
    return [*words, zlib.crc32(to_bytes(words))]


def unpack_image(words: Sequence[int]) -> Image:
    """BadInput for what the gateware would refuse."""
    if len(words) <= HEADER_LAYOUT.words:
        raise BadInput(f"no model image: {len(words)} words are too few")
    header = HEADER_LAYOUT.unpack(words)
    if header["magic"] != MAGIC or header["version"] != VERSION:
        raise BadInput(f"no model image of version {VERSION}: it begins with {words[0]:#010x} {words[1]:#010x}")
    if header["words"] != len(words):
        raise BadInput(f"the model image has {len(words)} words, its header says {header['words']}")
    expected = zlib.crc32(to_bytes(words[:-1]))
    if words[-1] != expected:
        raise BadInput(f"the model image is damaged: CRC {words[-1]:#010x} instead of {expected:#010x}")
    memories: dict[Memory, list[int]] = {}
    place = HEADER_LAYOUT.words
    while place < len(words) - 1:
        segment = SEGMENT_LAYOUT.unpack(words[place:])
        start, count = segment["start"], segment["count"]
        place += 1
        if segment["memory"] not in list(Memory) or place + count > len(words) - 1:
            raise BadInput(f"the model image has no whole segment at word {place - 1}")
        memory = Memory(segment["memory"])
        if start + count > MEMORY_WORDS[memory]:
            raise BadInput(f"the model image has {start + count} words for {memory.name.lower()}; accepted: {MEMORY_WORDS[memory]}")
        held = memories.setdefault(memory, [])
        held += [0] * (start + count - len(held))
        held[start : start + count] = words[place : place + count]
        place += count
    return Image(header["lanes"], header["model_id"], memories)
