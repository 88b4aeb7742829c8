"""Comparisons whose answer comes out of the carry chain itself."""

from amaranth.hdl import Value


def greater(a: Value, b: Value) -> Value:
    """a > b as the sign of b - a, which is as wide as it must be: ``a > b`` would have a LUT behind the chain, for the signs and the overflow."""
    return (b - a)[-1]
