"""Layouts of 32-bit words: how a record is packed for a stream."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reflexarc.contract.registers import ContractError


@dataclass(frozen=True)
class Field:
    """``width`` bits at ``bit`` of word ``word``; a 64-bit field starts at bit 0 and takes the next word as its high half."""

    name: str
    word: int
    bit: int = 0
    width: int = 32
    signed: bool = False


@dataclass(frozen=True)
class Layout:
    """A record of ``words`` little-endian 32-bit words."""

    name: str
    words: int
    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        taken = 0
        for field in self.fields:
            first = 32 * field.word + field.bit
            mask = ((1 << field.width) - 1) << first
            if first + field.width > 32 * self.words or taken & mask:
                raise ContractError(f"layout {self.name!r}: field {field.name!r} overlaps another or reaches past word {self.words - 1}")
            taken |= mask

    @property
    def size(self) -> int:
        """Bytes of the record."""
        return 4 * self.words

    def pack(self, values: Mapping[str, int]) -> list[int]:
        """Values by field name to words; every field must be given."""
        total = 0
        for field in self.fields:
            total |= (values[field.name] & ((1 << field.width) - 1)) << (32 * field.word + field.bit)
        return [(total >> (32 * word)) & 0xFFFFFFFF for word in range(self.words)]

    def unpack(self, words: Sequence[int]) -> dict[str, int]:
        """Words to values by field name."""
        total = sum(word << (32 * index) for index, word in enumerate(words[: self.words]))
        values = {}
        for field in self.fields:
            value = (total >> (32 * field.word + field.bit)) & ((1 << field.width) - 1)
            if field.signed and value >> (field.width - 1):
                value -= 1 << field.width
            values[field.name] = value
        return values

    def describe(self) -> dict[str, object]:
        return {"name": self.name, "words": self.words, "fields": [[f.name, f.word, f.bit, f.width, f.signed] for f in self.fields]}


def to_words(data: bytes) -> list[int]:
    """Little-endian bytes to 32-bit words; ValueError where the length is not a multiple of four."""
    if len(data) % 4:
        raise ValueError(f"{len(data)} bytes are not a whole number of 32-bit words")
    return list(struct.unpack(f"<{len(data) // 4}I", data))


def to_bytes(words: Sequence[int]) -> bytes:
    """32-bit words to little-endian bytes."""
    return struct.pack(f"<{len(words)}I", *words)
