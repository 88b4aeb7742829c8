"""Correlation of two lines, and which lines are compared."""

from __future__ import annotations

from math import isqrt

from reflexarc.contract.packets import Channel

PIXELS = 2048  # of a line


def value(total: int, samples: int, channel: Channel, shift: int) -> int:
    """The mean in Q20.12, in steps of 2**shift, held at 16 bits."""
    mean = (total if channel is Channel.Z else total << 12) // samples
    return max(-(1 << 15), min((1 << 15) - 1, mean >> shift))


def correlation(a: list[int], b: list[int]) -> int | None:
    """In 2**-15, rounded down; None where a line is flat.

    Pearson's: with x = common / sqrt(spread of a * spread of b) the greatest r with r <= x * 2**15.
    """
    n = len(a)
    common = sum(n * x * y for x, y in zip(a, b, strict=True)) - sum(a) * sum(b)
    spreads = (n * sum(x * x for x in a) - sum(a) ** 2) * (n * sum(y * y for y in b) - sum(b) ** 2)
    if not spreads:
        return None
    square = common * common << 30  # (x * 2**15)**2 * spreads
    root = isqrt(square // spreads)  # floor of the root of a quotient is that of its floor
    if common >= 0:
        return root
    return -root if root * root * spreads == square else -root - 1
