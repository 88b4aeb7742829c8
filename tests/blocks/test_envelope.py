"""Conditions on what is about to be driven: box, keep-outs, change of z, least bias."""

from support import run_block

from reflexarc_hw.blocks.envelope import Envelope
from reflexarc_hw.blocks.envelope.envelope import BIAS_CYCLES, XY_CYCLES, Z_CYCLES


def test_envelope():
    assert (Z_CYCLES, BIAS_CYCLES, XY_CYCLES) == (1, 3, 4)  # the gate holds requests back by these and the verdict's way
    run_block(Envelope(), "cocotb_envelope", name="envelope")


def test_guard():
    run_block(Envelope(), "cocotb_guard", name="envelope", block="envelope")
