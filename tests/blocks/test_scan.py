"""Raster and moves against the naive model, tick by tick."""

from reflexarc_hw.blocks.scan import Scan
from support import run_block


def test_scan():
    run_block(Scan(), "cocotb_scan", name="scan")
