"""The interlock: each condition to the cycle, the latch, the lifecycle, and a long random run."""

from support import run_block

from reflexarc_hw.blocks.interlock import Interlock


def test_interlock():
    run_block(Interlock(), "cocotb_interlock", name="interlock")
