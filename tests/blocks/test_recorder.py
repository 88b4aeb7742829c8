"""The black box: order, wrap, freeze and release."""

from support import run_block

from reflexarc_hw.blocks.recorder import Recorder


def test_recorder():
    run_block(Recorder(), "cocotb_recorder", name="recorder")
