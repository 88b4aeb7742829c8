"""A register that stays where its loads are."""

from amaranth.hdl import Module, Signal, Value


def own_register(m: Module, value: Value, name: str) -> Value:
    """``value``, of any width and unsigned, a cycle later; 0 after reset.

    Synthesis makes one register of all that always hold the same, and one register can't stand beside loads all over the chip. This one is
    kept inverted, so it is not the same as another block's. A LUT behind it takes the inversion in; a multiplier or a memory has none.
    """
    inverse = Signal(len(value), name=f"{name}_inverse", init=(1 << len(value)) - 1)
    m.d.sync += inverse.eq(~value)
    return ~inverse
