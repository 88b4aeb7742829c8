"""The table of the logarithm: log2 on [1, 2), piecewise linear."""

import math

from reflexarc.contract.blocks.feedback import TABLE_BITS

# A magnitude of 19 bits, normalised to 1.f with 18 bits of f: the top TABLE_BITS choose the segment, the rest interpolate.
FRACTION_BITS = 18
REST_BITS = FRACTION_BITS - TABLE_BITS
# Values in the table have 4 bits more than the result (Q5.12), so that its rounding and not the table's bounds the error.
VALUE_BITS = 16
SLOPE_BITS = VALUE_BITS - TABLE_BITS + 1  # the first slope is 1/ln 2 > 1


def log2_table() -> list[tuple[int, int]]:
    """``2**TABLE_BITS`` pairs (value, slope): log2 at the segment's start, Q0.16, and its rise over the segment, Q0.16."""
    points = [round(math.log2(1 + index / (1 << TABLE_BITS)) * (1 << VALUE_BITS)) for index in range((1 << TABLE_BITS) + 1)]
    return [(points[index], points[index + 1] - points[index]) for index in range(1 << TABLE_BITS)]
