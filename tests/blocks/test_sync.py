"""Handshakes with other instruments, cycle by cycle."""

from support import run_block

from reflexarc_hw.blocks.sync import Sync
from reflexarc_hw.blocks.sync.sync import LINE_CYCLES as DECLARED

LINE_CYCLES = 4  # from an edge of a line to may_end or may_start
EXTERNAL_CYCLES = 3  # from the column's consent to may_start
TRIGGER_CYCLES = 3  # from a pixel's first sample to the pulse


def test_sync():
    assert DECLARED == LINE_CYCLES
    run_block(Sync(), "cocotb_sync", name="sync", line_cycles=LINE_CYCLES, external_cycles=EXTERNAL_CYCLES, trigger_cycles=TRIGGER_CYCLES)
