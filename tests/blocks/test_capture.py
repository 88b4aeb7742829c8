"""Sums, packets and their loss: under back-pressure, and where there is no time."""

from support import run_block

from reflexarc_hw.blocks.capture import Capture
from reflexarc_hw.lib.packet import PacketBuffer

PULSE_CYCLES = 2  # from a line's edge to where it is counted
# From a pixel's last sample to that of the next one, and from a line's only sample to the next line; and two for each channel.
PIXEL_CYCLES, LINE_CYCLES = 4, 12
WHOLE_PIXEL_CYCLES = 2  # from a pixel's last sample to its sums


def test_capture():
    run_block(
        Capture(), "cocotb_capture", name="capture", pulse_cycles=PULSE_CYCLES, pixel_cycles=PIXEL_CYCLES, line_cycles=LINE_CYCLES,
        whole_pixel_cycles=WHOLE_PIXEL_CYCLES,
    )  # fmt: skip


def test_packet_buffer():
    run_block(PacketBuffer(32), "cocotb_packet", name="packet_buffer", depth=32)
