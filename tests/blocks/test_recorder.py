"""The black box: order, wrap, freeze and release."""

from reflexarc_hw.blocks.recorder import Recorder
from support import run_block


def test_recorder():
    run_block(Recorder(), "cocotb_recorder", name="recorder")
