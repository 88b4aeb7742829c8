"""A whole pixel, as the blocks that judge pixels take it."""

from amaranth.hdl import signed
from amaranth.lib import data

from reflexarc.contract.packets import Channel
from reflexarc_hw.lib.formats import POSITION

SAMPLES_BITS = 24  # a pixel has at most 2**24 - 1 samples
SUM = signed(POSITION.width + SAMPLES_BITS)  # holds the sum of that many positions, and so of that many samples

# ``valid`` is high for one cycle, and only then is the rest what it says; it can't be stalled, so there is no ready.
PIXEL = data.StructLayout(
    {
        "valid": 1,
        "line_first": 1,  # first pixel of its line and direction
        "line_last": 1,
        "direction": 1,  # Direction of the contract's packets
        "second": 1,  # second pass over the line
        "index": 16,  # counted from the line's low end
        "samples": SAMPLES_BITS,  # from 1 up
        "x": POSITION,  # of its last sample
        "y": POSITION,
        "sums": data.ArrayLayout(SUM, len(Channel)),  # in the order of packets.Channel
    }
)
