"""Sums, packets and their loss under back-pressure."""

from support import run_block

from reflexarc_hw.blocks.capture import Capture
from reflexarc_hw.lib.packet import PacketBuffer


def test_capture():
    run_block(Capture(), "cocotb_capture", name="capture")


def test_packet_buffer():
    run_block(PacketBuffer(32), "cocotb_packet", name="packet_buffer", depth=32)
