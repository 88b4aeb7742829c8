"""A register that takes nothing but a product of at most 18 by 18 bits."""

from amaranth.hdl import ShapeLike, Signal

ATTRIBUTE = "product_register"  # of its net, for platforms/multipliers.py


def product_register(shape: ShapeLike, name: str) -> Signal:
    """A register for ``a * b``, without a reset: an ECP5's multiplier has one, and `make timing` puts it there.

    A product whose register has to stand elsewhere, because what follows takes most of a cycle, is an ordinary signal.
    """
    # keep: without it synthesis may go by another name of the same net, and what the register asks for is lost with this one.
    return Signal(shape, name=name, reset_less=True, attrs={ATTRIBUTE: 1, "keep": 1})
