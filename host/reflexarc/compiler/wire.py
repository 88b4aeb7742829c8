"""How many parts a protobuf file has, before a library makes objects of them.

A part is a field: two bytes in a file can become some hundred in memory, so that a file of a few megabytes can fill a machine. Raw data are one part,
whatever their length. Numbers that are packed one by one take eight times their place, and long to unpack: of them there may be some megabytes.
"""

from __future__ import annotations

from typing import Any, NoReturn

from reflexarc.compiler.refusal import refuse

MOST_PARTS = 200_000
MOST_PACKED = 2**24  # bytes
DEEPEST = 24  # parts within parts
_VARINT, _EIGHT_BYTES, _PIECE, _FOUR_BYTES = 0, 1, 2, 5


def check_parts(content: bytes, descriptor: Any) -> None:
    """Refuse what is no message of ``descriptor``'s kind, is cut off, or has too many parts."""
    kinds: dict[str, dict[int, Any]] = {}  # of each message its fields that are messages themselves, and, as None, those of packed numbers
    parts = packed = 0
    todo = [(0, len(content), descriptor, 0)]
    while todo:
        at, end, kind, depth = todo.pop()
        inner = kinds.get(kind.full_name)
        if inner is None:
            inner = kinds[kind.full_name] = {f.number: f.message_type for f in kind.fields if f.type not in (f.TYPE_BYTES, f.TYPE_STRING)}
        while at < end:
            parts += 1
            if parts > MOST_PARTS:
                refuse(
                    f"it has more than {MOST_PARTS:,} parts",
                    "a model that is exported as usual has a few thousand, its numbers in one piece each",
                )
            key, at = _varint(content, at, end)
            wire, number = key & 7, key >> 3
            if number == 0:
                _damaged()
            if wire == _PIECE:
                length, at = _varint(content, at, end)
                if length > end - at:
                    _damaged()
                if number in inner and inner[number] is None:
                    packed += length
                    if packed > MOST_PACKED:
                        refuse(
                            f"it has more than {MOST_PACKED // 2**20} MiB of packed numbers",
                            "save its tensors as raw data, as exporters do",
                        )
                elif number in inner:
                    if depth == DEEPEST:
                        refuse(f"its parts lie more than {DEEPEST} deep in each other", "export the model without control flow")
                    todo.append((at, at + length, inner[number], depth + 1))
                at += length
            elif wire == _VARINT:
                _, at = _varint(content, at, end)
            elif wire in (_EIGHT_BYTES, _FOUR_BYTES):
                at += 8 if wire == _EIGHT_BYTES else 4
            else:
                _damaged()
        if at != end:
            _damaged()


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    _damaged()


def _damaged() -> NoReturn:
    refuse("no ONNX model, or one that is damaged or cut off", "export it again, or copy the whole file")
