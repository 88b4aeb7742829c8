"""Names for the places in an array of doubles, which is all that a plant shares with the C++ board process."""

from __future__ import annotations

from enum import IntEnum


class Places(IntEnum):
    """Counts from 0: each member is a place in an array, or in one block of it."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[int]) -> int:
        return count
