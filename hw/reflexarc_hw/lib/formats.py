"""Number formats that blocks share (fixed points are given as Q<integer bits>.<fraction bits>)."""

from amaranth.hdl import signed
from amaranth.lib import data

from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS
from reflexarc.contract.blocks.signals import CHANNELS

CODE = signed(20)  # converter code, left-aligned for narrower converters
POSITION = signed(20 + POSITION_FRACTION_BITS)  # Q20.12, DAC LSB
TIME = 64  # cycles since reset

# A sample as it comes from a converter; it can't be stalled, so there is no ready.
SAMPLE = data.StructLayout({"valid": 1, "code": CODE})
SAMPLES = data.ArrayLayout(SAMPLE, CHANNELS)  # of all converters, which convert together

# Codes of the four DACs.
OUTPUTS = data.StructLayout({"x": CODE, "y": CODE, "z": CODE, "bias": CODE})

# What the scan says of one sample; goes with the sample that was taken at (x, y).
MARKER = data.StructLayout(
    {
        "active": 1,  # the sample belongs to a pixel
        "first": 1,  # first sample of its pixel
        "last": 1,  # last sample of its pixel
        "line_first": 1,  # first sample of its line and direction
        "line_last": 1,  # last sample of its line and direction
        "direction": 1,  # Direction of the contract's packets
        "second": 1,  # second pass over the line
        "index": 16,  # pixel, counted from the line's low end
        "line": 16,
        "x": POSITION,
        "y": POSITION,
    }
)
