"""One entry of a point list, as the trajectory block hands it to the scan."""

from amaranth.hdl import signed
from amaranth.lib import data

POINT = data.StructLayout(
    {
        "x": signed(32),  # a place, Q20.12, DAC LSB; of a segment the step per sample, Q12.20
        "y": signed(32),
        "z": signed(32),
        "samples": 24,
        "pixel": 1,  # its samples are a pixel
        "segment": 1,  # moves by x, y, z with each sample; otherwise it is at x, y, z from its first sample on
        "last": 1,  # of the list
    }
)
